//! A team of one that answers on its own: no coordination, what it says is the answer.

use std::sync::Arc;

use massgen_backends::{BackendError, LoopStop, Message, Request, RequestPhase, ToolChoice, Turn};
use tokio_util::sync::CancellationToken;

use super::{Feed, Round, RoundEnd, Verdict, failure, text_of, verdict};
use crate::EventKind;
use crate::prompt;
use crate::state::Failure;

pub(crate) async fn run_direct(mut round: Round, mut feed: Feed, cancel: &CancellationToken) -> RoundEnd {
    let mut tool_loop = round.tool_loop();
    let mut request = Request {
        system: round.agent.system_message.clone(),
        messages: round.resumed.take().unwrap_or_else(|| conversation(&round)),
        context: round.context(RequestPhase::Coordination),
        ..Request::default()
    };
    // Once with its tools; where it does not stop calling them, once more without.
    for last in [false, true] {
        let end = match tool_loop.run(request.clone(), &[], &mut |event| feed.take(event), cancel).await {
            Ok(end) => end,
            Err(error) if matches!(error.error, BackendError::Cancelled) => return RoundEnd::Cancelled,
            Err(error) => return RoundEnd::Failed(failure(&error.error), Some(error.partial.messages)),
        };
        if end.stop == LoopStop::TurnLimit && !last {
            request.messages = end.messages;
            request.messages.push(Message::User(prompt::ANSWER_NOW.into()));
            request.tool_choice = ToolChoice::None;
            tool_loop.tools = Arc::new(());
            continue;
        }
        let Some(text) = text_of(&end) else { break };
        if verdict::is_cut_off(&end) {
            let message = format!("{}: the provider cut its answer off", round.agent.id);
            feed.emit(EventKind::Warning { message });
        }
        return RoundEnd::Done(Verdict::Answer(text.to_owned()));
    }
    let error = "the model answered nothing".to_owned();
    let hint = Some("try another model, or raise max_tokens for this agent".to_owned());
    RoundEnd::Failed(Failure { error, hint, retryable: true, retry_after: None }, None)
}

fn conversation(round: &Round) -> Vec<Message> {
    let mut messages = Vec::new();
    for exchange in &round.task.history {
        messages.push(Message::User(exchange.user.clone()));
        messages.push(Message::Assistant(Turn { text: exchange.assistant.clone(), ..Turn::default() }));
    }
    messages.push(Message::User(round.task.question.clone()));
    messages
}
