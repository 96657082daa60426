//! Ask the model, run the tools it calls, give it the results, until it stops.

mod calls;
mod roster;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use mcp_core::{AgentId, Envelope, JsonObject, ToolService};
use tokio_util::sync::CancellationToken;

use crate::{
    Backend, BackendError, Event, FinishReason, Message, Request, ToolChoice, ToolDefinition, ToolInvocation,
    ToolReply, Turn, Usage,
};
use roster::Roster;

/// The limits of a [`ToolLoop`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolLoopOptions {
    /// How often the model may be asked before the loop ends with [`LoopStop::TurnLimit`]. At least 1.
    pub max_turns: u32,
    /// The longest tool result a model is given, bytes. Of a longer one it reads the beginning and the end.
    pub max_result_bytes: usize,
    /// The longest a single call may take. It travels with the call, so that every layer below knows it.
    pub call_timeout: Duration,
    /// After so many failures of the same call (same tool, same arguments) the model is told to stop repeating it.
    pub max_identical_failures: u32,
    /// After so many turns in a row with the same calls and the same results, the next turn offers only the caller's
    /// own tools, where there are any: small models ask for ever. At least 2.
    pub max_identical_turns: u32,
}

impl Default for ToolLoopOptions {
    fn default() -> Self {
        Self {
            max_turns: 25,
            max_result_bytes: 64 * 1024,
            call_timeout: Duration::from_secs(600),
            max_identical_failures: 3,
            max_identical_turns: 3,
        }
    }
}

/// A model and the tools it may use.
///
/// ```
/// use std::sync::Arc;
/// use massgen_backends::{Backend, LoopError, Message, Request, ToolLoop, ToolLoopOptions};
/// use tokio_util::sync::CancellationToken;
///
/// async fn ask(backend: Arc<dyn Backend>, question: &str) -> Result<String, Box<LoopError>> {
///     let agent = ToolLoop {
///         backend,
///         tools: Arc::new(()), // no tools at all
///         options: ToolLoopOptions::default(),
///         caller: mcp_core::AgentId::new("alpha").expect("a legal name"),
///     };
///     let request = Request { messages: vec![Message::User(question.into())], ..Request::default() };
///     let end = agent.run(request, &[], &mut |_event| {}, &CancellationToken::new()).await?;
///     Ok(end.text)
/// }
/// ```
#[derive(Clone)]
pub struct ToolLoop {
    /// The model.
    pub backend: Arc<dyn Backend>,
    /// The tools it may use beside the request's own; asked anew before every turn, as servers come and go.
    pub tools: Arc<dyn ToolService>,
    /// The limits.
    pub options: ToolLoopOptions,
    /// In whose name tools are called.
    pub caller: AgentId,
}

impl std::fmt::Debug for ToolLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolLoop")
            .field("model", self.backend.model())
            .field("options", &self.options)
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

/// One step of a loop.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum LoopEvent {
    /// Something the model's stream says; never [`Event::Done`], whose place [`LoopEvent::TurnFinished`] takes.
    Model(Event),
    /// A call begins.
    ToolStarted {
        /// The call as the model wrote it.
        call: ToolInvocation,
    },
    /// A call ends.
    ToolFinished {
        /// The call's id.
        id: String,
        /// The tool's name as the model wrote it.
        name: String,
        /// How long it took.
        duration: Duration,
        /// How it ended.
        status: CallStatus,
        /// What the model reads.
        text: String,
    },
    /// The model's turn is over. Its calls, if any, begin after it.
    TurnFinished {
        /// Why it stopped.
        reason: FinishReason,
        /// What the turn used.
        usage: Usage,
    },
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallStatus {
    /// The tool answered.
    Ok,
    /// The tool ran and says that it failed.
    ToolError,
    /// The tool did not answer, or was not run.
    Failed,
}

/// Why a loop ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoopStop {
    /// The model stopped without calling a tool.
    Finished(FinishReason),
    /// The model called tools that the caller answers itself; see [`LoopEnd::pending`].
    Intercepted,
    /// The model still called tools in its last turn. Those calls are answered.
    TurnLimit,
}

/// What a loop has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct LoopEnd {
    /// The whole conversation: that of the request, and what was added. Only where `pending` holds calls does it
    /// lack their answers; see [`LoopEnd::answered_by`].
    pub messages: Vec<Message>,
    /// The text of the last turn.
    pub text: String,
    /// The text of all turns, with a blank line between them.
    pub all_text: String,
    /// The calls of the last turn that the caller has to answer, in order.
    pub pending: Vec<ToolInvocation>,
    /// The answers to the other calls of that turn, in order.
    pub answered: Vec<ToolReply>,
    /// What all turns used together.
    pub usage: Usage,
    /// How often the model was asked.
    pub turns: u32,
    /// Why it ended.
    pub stop: LoopStop,
}

/// A model that did not answer, and what the loop had come to before. The conversation in it may be sent again.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub struct LoopError {
    /// What happened.
    #[source]
    pub error: BackendError,
    /// What there was before. `text` holds what the broken turn said until it broke; `messages` leaves that turn out.
    pub partial: LoopEnd,
}

impl LoopEnd {
    /// The conversation with every pending call answered by `answer`, which says what the model reads and whether
    /// that is an error. Answers stand in the order of the calls.
    pub fn answered_by(&self, mut answer: impl FnMut(&ToolInvocation) -> (String, bool)) -> Vec<Message> {
        let mut messages = self.messages.clone();
        let Some(Message::Assistant(turn)) = messages.last() else { return messages };
        if turn.calls.is_empty() {
            return messages;
        }
        let mut known = self.answered.iter();
        let mut pending = self.pending.iter().peekable();
        let replies = turn
            .calls
            .iter()
            .filter_map(|call| {
                if pending.next_if(|waiting| waiting.id == call.id && waiting.name == call.name).is_some() {
                    let (text, is_error) = answer(call);
                    Some(ToolReply { id: call.id.clone(), name: call.name.clone(), text, is_error })
                } else {
                    known.next().cloned()
                }
            })
            .collect();
        messages.push(Message::ToolReplies(replies));
        messages
    }
}

impl ToolLoop {
    /// Asks the model until it stops.
    ///
    /// The request's own tools come first; the service's are added before every turn, and one line of the user says so
    /// where they are others than in the turn before, unless
    /// [`ToolChoice::None`] says that no tool may be used. Calls of the tools named in `intercept` are not run: they
    /// end the loop and are the caller's to answer. Every other call gets an answer, whatever happens to it.
    ///
    /// # Errors
    ///
    /// [`LoopError`] where the model did not answer (boxed, as it carries the conversation). A failing tool is not an
    /// error: the model reads what happened.
    pub async fn run(
        &self,
        request: Request,
        intercept: &[&str],
        on_event: &mut (dyn FnMut(LoopEvent) + Send),
        cancel: &CancellationToken,
    ) -> Result<LoopEnd, Box<LoopError>> {
        let mut request = request;
        let own_tools = std::mem::take(&mut request.tools);
        let mut end = LoopEnd {
            messages: std::mem::take(&mut request.messages),
            text: String::new(),
            all_text: String::new(),
            pending: Vec::new(),
            answered: Vec::new(),
            usage: Usage::default(),
            turns: 0,
            stop: LoopStop::TurnLimit,
        };
        let mut failures = HashMap::new();
        let mut repetition = Repetition::default();
        let mut roster = Roster::default();
        while end.turns < self.options.max_turns.max(1) {
            end.turns += 1;
            let stuck = repetition.turns >= self.options.max_identical_turns.max(2) && !own_tools.is_empty();
            let offered = if stuck {
                tracing::debug!(caller = %self.caller, "the same calls again and again; only its own tools are offered");
                own_tools.clone()
            } else {
                let offered = self.offered(&own_tools, request.tool_choice);
                let foreign = offered.iter().skip(own_tools.len()).map(|tool| tool.name.as_str());
                if let Some(news) = roster.update(foreign, &end.messages) {
                    end.messages.push(Message::User(news));
                }
                offered
            };
            let asked = Request { messages: end.messages.clone(), tools: offered.clone(), ..request.clone() };
            let reason = match self.turn(asked, &mut end, on_event, cancel).await {
                Ok(reason) => reason,
                Err(error) => return Err(Box::new(LoopError { error, partial: end })),
            };
            let calls = match end.messages.last() {
                Some(Message::Assistant(turn)) => turn.calls.clone(),
                _ => Vec::new(),
            };
            if calls.is_empty() {
                if reason == FinishReason::Pause {
                    continue;
                }
                end.stop = LoopStop::Finished(reason);
                return Ok(end);
            }
            let (pending, own): (Vec<_>, Vec<_>) =
                calls.into_iter().partition(|call| intercept.contains(&call.name.as_str()));
            let running = self.answer_all(own, &offered, request.tool_choice, &mut failures, on_event);
            let replies = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                replies = running => Some(replies),
            };
            let Some(replies) = replies else {
                // Without its answers the turn could not be sent again.
                end.messages.pop();
                return Err(Box::new(LoopError { error: BackendError::Cancelled, partial: end }));
            };
            if pending.is_empty() {
                repetition.count(&end.messages, &replies);
                end.messages.push(Message::ToolReplies(replies));
                continue;
            }
            end.pending = pending;
            end.answered = replies;
            end.stop = LoopStop::Intercepted;
            return Ok(end);
        }
        end.stop = LoopStop::TurnLimit;
        Ok(end)
    }

    fn offered(&self, own: &[ToolDefinition], choice: ToolChoice) -> Vec<ToolDefinition> {
        let mut tools = own.to_vec();
        if choice != ToolChoice::None {
            let catalogue = self.tools.catalogue();
            tools.extend(catalogue.iter().map(|entry| ToolDefinition {
                name: entry.exposed.as_str().to_owned(),
                description: entry.spec.description.clone().unwrap_or_default(),
                schema: Arc::new(entry.spec.input_schema.to_value().unwrap_or_default()),
            }));
        }
        tools
    }

    /// One question to the model. What it says is added to `end` even where it breaks off.
    async fn turn(
        &self,
        request: Request,
        end: &mut LoopEnd,
        on_event: &mut (dyn FnMut(LoopEvent) + Send),
        cancel: &CancellationToken,
    ) -> Result<FinishReason, BackendError> {
        let mut said = String::new();
        let mut usage = Usage::default();
        let turn_cancel = cancel.child_token();
        let mut stream = self.backend.stream(request, turn_cancel.clone());
        // Fires when this future is dropped, too, and before the stream is: a backend's own tasks end with the turn.
        let _ends_with_the_turn = turn_cancel.drop_guard();
        let mut cancelled = std::pin::pin!(cancel.cancelled());
        let outcome = loop {
            let next = tokio::select! {
                biased;
                () = &mut cancelled => Some(Err(BackendError::Cancelled)),
                next = stream.next() => next,
            };
            match next {
                None => {
                    break Err(BackendError::Truncated { provider: self.backend.model().provider.clone() });
                }
                Some(Err(error)) => break Err(error),
                Some(Ok(Event::Done { reason, turn })) => break Ok((reason, turn)),
                Some(Ok(event)) => {
                    match &event {
                        Event::Text(text) | Event::Refusal(text) => said.push_str(text),
                        Event::Usage(latest) => usage = *latest,
                        _ => {}
                    }
                    on_event(LoopEvent::Model(event));
                }
            }
        };
        end.usage.add(&usage);
        match outcome {
            Ok((reason, turn)) => {
                end.add_text(if turn.text.is_empty() { &said } else { &turn.text });
                end.push_turn(turn);
                on_event(LoopEvent::TurnFinished { reason: reason.clone(), usage });
                Ok(reason)
            }
            Err(error) => {
                end.add_text(&said);
                Err(error)
            }
        }
    }
}

/// Counts turns in a row with the same calls and the same results.
#[derive(Default)]
struct Repetition {
    turns: u32,
    calls: Vec<(String, Result<JsonObject, String>)>,
    results: Vec<String>,
}

impl Repetition {
    fn count(&mut self, messages: &[Message], replies: &[ToolReply]) {
        let calls = match messages.last() {
            Some(Message::Assistant(turn)) => {
                turn.calls.iter().map(|call| (call.name.clone(), call.arguments.clone())).collect()
            }
            _ => Vec::new(),
        };
        let results: Vec<_> = replies.iter().map(|reply| Envelope::open(&reply.text).to_owned()).collect();
        self.turns = if calls == self.calls && results == self.results { self.turns + 1 } else { 1 };
        self.calls = calls;
        self.results = results;
    }
}

impl LoopEnd {
    fn add_text(&mut self, text: &str) {
        self.text = text.to_owned();
        if !text.is_empty() {
            if !self.all_text.is_empty() {
                self.all_text.push_str("\n\n");
            }
            self.all_text.push_str(text);
        }
    }

    fn push_turn(&mut self, turn: Turn) {
        // A turn that says nothing at all is refused by some providers when it is sent back.
        if !turn.text.is_empty() || !turn.calls.is_empty() || !turn.items.is_empty() {
            self.messages.push(Message::Assistant(turn));
        }
    }
}

#[cfg(test)]
mod tests;
