//! What a round tells while it runs: events, figures, and the draft that is kept should the run end before the answer.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use massgen_backends::{CallStatus, Event, LoopEvent};
use mcp_core::AgentId;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::verdict::partial_content;
use crate::budget::Meter;
use crate::prompt::NEW_ANSWER;
use crate::{Emitter, EventKind, ToolStatus};

/// What an agent is writing. Shared with the driver, which reads it when the run has to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft(Arc<Mutex<Drafted>>);

#[derive(Debug, Default)]
struct Drafted {
    text: String,
    /// The call that submits the answer, and its arguments as far as they have come.
    answer: Option<(usize, String)>,
    /// The next piece begins a new text; the old one is kept until then.
    stale: bool,
}

impl Draft {
    /// The best there is: the answer being submitted, else the text.
    pub(crate) fn best(&self) -> Option<String> {
        let drafted = self.lock();
        let submitted = drafted.answer.as_ref().and_then(|(_, raw)| partial_content(raw));
        submitted.or_else(|| Some(drafted.text.clone()).filter(|text| !text.trim().is_empty()))
    }

    fn lock(&self) -> MutexGuard<'_, Drafted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drafted {
    fn begin_if_stale(&mut self) {
        if self.stale {
            *self = Self::default();
        }
    }
}

/// Turns what the tool loop says into events of the run.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) agent: AgentId,
    pub(crate) emitter: Emitter,
    pub(crate) meter: Meter,
    pub(crate) draft: Draft,
    /// Once this fires, nothing is told any more: the run has gone on without this round.
    pub(crate) cancel: CancellationToken,
}

impl Feed {
    pub(crate) fn emit(&self, kind: EventKind) {
        if !self.cancel.is_cancelled() {
            self.emitter.emit(kind);
        }
    }

    /// Takes in one event of the loop.
    pub(crate) fn take(&mut self, event: LoopEvent) {
        let agent = self.agent.clone();
        match event {
            LoopEvent::Model(event) => self.take_model(event),
            LoopEvent::ToolStarted { call } => {
                self.meter.tool_call();
                let arguments = match call.arguments {
                    Ok(arguments) => Value::Object(arguments),
                    Err(text) => Value::String(text),
                };
                self.emit(EventKind::ToolStarted { agent, call: call.id, tool: call.name, arguments });
            }
            LoopEvent::ToolFinished { id, name, duration, status, text } => {
                let status = match status {
                    CallStatus::Ok => ToolStatus::Ok,
                    CallStatus::ToolError => ToolStatus::ToolError,
                    _ => ToolStatus::Failed,
                };
                let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                self.emit(EventKind::ToolFinished {
                    agent,
                    call: id,
                    tool: name,
                    status,
                    duration_ms,
                    result: text,
                });
            }
            LoopEvent::TurnFinished { reason, usage } => {
                self.meter.turn_over();
                self.draft.lock().stale = true;
                self.emit(EventKind::TurnFinished { agent, reason, usage });
            }
            _ => {}
        }
    }

    fn take_model(&mut self, event: Event) {
        let agent = self.agent.clone();
        match event {
            Event::Text(delta) | Event::Refusal(delta) => {
                {
                    let mut draft = self.draft.lock();
                    draft.begin_if_stale();
                    draft.text.push_str(&delta);
                }
                self.emit(EventKind::Text { agent, delta });
            }
            Event::Reasoning(delta) => self.emit(EventKind::Reasoning { agent, delta }),
            Event::Builtin { kind, phase, detail, .. } => {
                self.emit(EventKind::Builtin { agent, tool: kind, phase, detail });
            }
            Event::Usage(usage) => self.meter.turn_so_far(usage),
            Event::ToolCallStart { index, name, .. } if name == NEW_ANSWER => {
                let mut draft = self.draft.lock();
                draft.begin_if_stale();
                draft.answer = Some((index, String::new()));
            }
            Event::ToolCallArguments { index, delta } => {
                if let Some((_, raw)) = self.draft.lock().answer.as_mut().filter(|(at, _)| *at == index) {
                    raw.push_str(&delta);
                }
            }
            Event::RateLimit(headers) => tracing::debug!(agent = %self.agent, ?headers, "rate limit"),
            Event::Unknown(event) => tracing::debug!(agent = %self.agent, %event, "unknown provider event"),
            _ => {}
        }
    }
}

impl Drop for Feed {
    /// The round's next successor begins a new draft, but until it has written something this one stays.
    fn drop(&mut self) {
        self.draft.lock().stale = true;
    }
}
