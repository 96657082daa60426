//! One round of one agent: it works with its tools until it submits an answer or votes.

mod direct;
mod feed;
mod present;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use massgen_backends::{
    BackendError, FinishReason, LoopEnd, LoopStop, Message, Request, RequestContext, RequestPhase,
    ToolChoice, ToolLoop, ToolLoopOptions,
};
use mcp_core::AgentId;
use tokio_util::sync::CancellationToken;

pub(crate) use self::direct::run_direct;
pub(crate) use self::feed::{Draft, Feed};
pub(crate) use self::present::{Presentation, present};
pub(crate) use self::verdict::{Problem, Verdict};
use crate::EventKind;
use crate::prompt::{self, Offer};
use crate::state::Failure;
use crate::team::{Agent, Task};

/// How often an agent may end its turn in one round before the round ends.
const ATTEMPTS: u32 = 3;

/// An answer that can be voted for, as one voter sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its place in the team.
    pub(crate) seat: usize,
    /// The name under which models know it.
    pub(crate) name: String,
    /// Its real name, which a voter may know from a tool.
    pub(crate) id: AgentId,
    pub(crate) answer: Arc<str>,
}

/// What a round needs.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) agent: Agent,
    pub(crate) number: u32,
    /// In this agent's order.
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) may_answer: bool,
    pub(crate) task: Arc<Task>,
    pub(crate) tool_loop: ToolLoopOptions,
    /// The longest the round may take.
    pub(crate) limit: Duration,
    /// When the run began, for people.
    pub(crate) now: Arc<str>,
    /// The conversation of a round on the same snapshot that a provider's error ended.
    pub(crate) resumed: Option<Vec<Message>>,
}

/// How a round ended.
#[derive(Debug)]
pub(crate) enum RoundEnd {
    /// With an answer or a vote.
    Done(Verdict),
    /// With nothing. The conversation, where there is one, can be gone on with.
    Failed(Failure, Option<Vec<Message>>),
    /// It was stopped from outside.
    Cancelled,
}

impl Round {
    pub(crate) fn offer(&self) -> Offer {
        Offer { may_answer: self.may_answer, may_vote: !self.candidates.is_empty() }
    }

    fn context(&self, phase: RequestPhase) -> RequestContext {
        RequestContext {
            agent: self.agent.id.as_str().to_owned(),
            question: self.task.question.clone(),
            round: self.number,
            phase,
            candidates: self
                .candidates
                .iter()
                .map(|candidate| (candidate.name.clone(), candidate.answer.as_ref().to_owned()))
                .collect(),
        }
    }

    fn tool_loop(&self) -> ToolLoop {
        ToolLoop {
            backend: self.agent.backend.clone(),
            tools: self.agent.tools.clone(),
            options: self.tool_loop.clone(),
            caller: self.agent.id.clone(),
        }
    }
}

/// Runs a round within its limit of time.
pub(crate) async fn run_round(round: Round, feed: Feed, cancel: CancellationToken, mode: Mode) -> RoundEnd {
    let limit = round.limit;
    let work = async {
        match mode {
            Mode::Coordinated => attempts(round, feed, &cancel).await,
            Mode::Direct => run_direct(round, feed, &cancel).await,
        }
    };
    tokio::select! {
        // A round that ends in the moment in which it is stopped has its result counted.
        biased;
        ended = tokio::time::timeout(limit, work) => ended.unwrap_or_else(|_| {
            RoundEnd::Failed(
                Failure {
                    error: format!("its round took longer than {} s", limit.as_secs_f32()),
                    hint: Some("a smaller task, a faster model or a longer limit per round may help".into()),
                    retryable: true,
                    retry_after: None,
                },
                None,
            )
        }),
        () = cancel.cancelled() => RoundEnd::Cancelled,
    }
}

/// How an agent works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By the protocol of the coordination.
    Coordinated,
    /// On its own: what it says is the answer.
    Direct,
}

async fn attempts(mut round: Round, mut feed: Feed, cancel: &CancellationToken) -> RoundEnd {
    let offer = round.offer();
    let forced = round.agent.backend.capabilities().forced_tool_use;
    let mut tool_loop = round.tool_loop();
    let mut messages = round
        .resumed
        .take()
        .unwrap_or_else(|| vec![Message::User(prompt::user(&round.task, &round.candidates))]);
    let system =
        prompt::system(round.agent.system_message.as_deref(), &round.task, offer, round.now.as_ref());
    let mut said = String::new();
    let mut attempt = 1;
    loop {
        let request = Request {
            system: Some(system.clone()),
            messages,
            tools: prompt::tools(&round.candidates, offer),
            // At first it is free to think aloud and to use its tools; later it has to come to an end.
            tool_choice: if attempt > 1 && forced { ToolChoice::Required } else { ToolChoice::Auto },
            max_tokens: None,
            context: round.context(RequestPhase::Coordination),
        };
        let intercept = [prompt::NEW_ANSWER, prompt::VOTE];
        let end = tool_loop.run(request, &intercept, &mut |event| feed.take(event), cancel).await;
        let end = match end {
            Ok(end) => end,
            Err(error) if matches!(error.error, BackendError::Cancelled) => return RoundEnd::Cancelled,
            Err(error) => {
                return RoundEnd::Failed(failure(&error.error), Some(error.partial.messages));
            }
        };
        if let Some(text) = text_of(&end) {
            said = text.to_owned();
        }
        let problem = match verdict::judge(&end, &round) {
            Ok(verdict) => return RoundEnd::Done(verdict),
            Err(problem) => problem,
        };
        let final_attempt = attempt == ATTEMPTS;
        feed.emit(EventKind::Enforced {
            agent: round.agent.id.clone(),
            attempt,
            problem: problem.to_string(),
        });
        if final_attempt {
            return match verdict::last_resort(&end, &round, &problem, &said) {
                Some((verdict, note)) => {
                    feed.emit(EventKind::Warning { message: format!("{}: {note}", round.agent.id) });
                    RoundEnd::Done(verdict)
                }
                None => RoundEnd::Failed(fruitless(&end, &problem), None),
            };
        }
        let correction = prompt::correction(&problem, offer);
        messages = end.answered_by(|_| (correction.clone(), true));
        if end.pending.is_empty() {
            messages.push(Message::User(correction));
        }
        if end.stop == LoopStop::TurnLimit {
            // More of its own tools would only lead here again.
            tool_loop.tools = Arc::new(());
        }
        attempt += 1;
    }
}

/// What the attempt said: its last words, else anything.
fn text_of(end: &LoopEnd) -> Option<&str> {
    [&end.text, &end.all_text].into_iter().map(String::as_str).find(|text| !text.trim().is_empty())
}

fn fruitless(end: &LoopEnd, problem: &Problem) -> Failure {
    let hint = match (&end.stop, problem) {
        (LoopStop::Finished(FinishReason::Length), _) => {
            Some("it reached its limit of output tokens; raise max_tokens for this agent")
        }
        (LoopStop::Finished(FinishReason::ContentFilter), _) => Some("the provider's filter stopped it"),
        (_, Problem::Silent) => Some("try another model, or look at the provider's status"),
        _ => Some("a model that follows tool calls more reliably may help"),
    };
    Failure {
        error: format!("{problem}, {ATTEMPTS} times in a row"),
        hint: hint.map(str::to_owned),
        retryable: true,
        retry_after: None,
    }
}

/// A provider's error as the failure of a round.
fn failure(error: &BackendError) -> Failure {
    let hint = match error {
        BackendError::Auth { hint, .. } => Some(hint.clone()),
        _ => None,
    };
    Failure {
        error: error.to_string(),
        hint,
        retryable: error.is_retryable(),
        retry_after: error.retry_after(),
    }
}
