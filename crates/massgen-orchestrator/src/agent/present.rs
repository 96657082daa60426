//! The winner writes the final answer.

use std::sync::Arc;

use massgen_backends::{
    LoopStop, Message, Request, RequestContext, RequestPhase, ToolChoice, ToolLoop, ToolLoopOptions,
};
use tokio_util::sync::CancellationToken;

use super::{Candidate, Feed, verdict};
use crate::prompt;
use crate::team::{Agent, Task};

/// What a presentation rests on.
#[derive(Debug)]
pub(crate) struct Presentation<'a> {
    pub(crate) agent: &'a Agent,
    /// The winner's place in the team.
    pub(crate) seat: usize,
    pub(crate) round: u32,
    /// In the winner's order.
    pub(crate) candidates: Vec<Candidate>,
    /// Votes for the winner, and all votes.
    pub(crate) votes: (u32, u32),
    pub(crate) tie: bool,
    pub(crate) reasons: Vec<&'a str>,
    pub(crate) task: &'a Task,
    pub(crate) now: &'a str,
}

/// Asks the winner, without tools, for the final answer.
///
/// # Errors
///
/// Why there is none that could be used, in words.
pub(crate) async fn present(
    presentation: Presentation<'_>,
    mut feed: Feed,
    cancel: &CancellationToken,
) -> Result<String, String> {
    let Presentation { agent, seat, round, candidates, votes, tie, reasons, task, now } = presentation;
    let user = prompt::presentation_user(task, &candidates, seat, votes, tie, &reasons);
    let request = Request {
        system: Some(prompt::presentation_system(agent.system_message.as_deref(), now)),
        messages: vec![Message::User(user)],
        tools: Vec::new(),
        tool_choice: ToolChoice::None,
        max_tokens: None,
        context: RequestContext {
            agent: agent.id.as_str().to_owned(),
            question: task.question.clone(),
            round,
            phase: RequestPhase::Presentation,
            candidates: candidates
                .into_iter()
                .map(|candidate| (candidate.name, candidate.answer.as_ref().to_owned()))
                .collect(),
        },
    };
    let tool_loop = ToolLoop {
        backend: agent.backend.clone(),
        tools: Arc::new(()),
        // More than one for a provider that pauses, or a model that tries a tool nevertheless.
        options: ToolLoopOptions { max_turns: 4, ..ToolLoopOptions::default() },
        caller: agent.id.clone(),
    };
    let end = tool_loop
        .run(request, &[], &mut |event| feed.take(event), cancel)
        .await
        .map_err(|error| error.error.to_string())?;
    if verdict::is_cut_off(&end) {
        return Err("the provider cut it off".into());
    }
    if end.stop == LoopStop::TurnLimit {
        return Err("the model called tools instead of writing it".into());
    }
    if end.text.trim().is_empty() {
        return Err("the model wrote nothing".into());
    }
    Ok(end.text)
}
