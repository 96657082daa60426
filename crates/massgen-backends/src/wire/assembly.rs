//! What the four decoders share: collecting a turn while telling of it.

use std::collections::HashSet;

use serde_json::Value;

use super::{Origin, beginning, parse_arguments};
use crate::{BackendError, Event, FinishReason, Message, Request, ToolInvocation, Turn, Usage, classify};

/// A turn in the making.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) origin: Origin,
    ids: HashSet<String>,
    out: Vec<Result<Event, BackendError>>,
    started: bool,
    ended: bool,
    text: String,
    calls: Vec<ToolInvocation>,
    refused: bool,
    usage: Usage,
}

impl Assembly {
    /// For an answer to `request`, whose call ids are taken.
    pub(super) fn new(origin: Origin, request: &Request) -> Self {
        let ids = request
            .messages
            .iter()
            .filter_map(|message| match message {
                Message::Assistant(turn) => Some(turn.calls.iter().map(|call| call.id.clone())),
                _ => None,
            })
            .flatten()
            .collect();
        Self {
            origin,
            ids,
            out: Vec::new(),
            started: false,
            ended: false,
            text: String::new(),
            calls: Vec::new(),
            refused: false,
            usage: Usage::default(),
        }
    }

    /// The answer is over: nothing more is to be told.
    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    /// Reads an event's data as JSON; `None` where there is nothing in it, or it ended the answer.
    pub(super) fn parse(&mut self, data: &str) -> Option<Value> {
        if data.trim().is_empty() {
            return None;
        }
        match serde_json::from_str(data) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(BackendError::Decode {
                    provider: self.origin.provider.to_string(),
                    reason: format!("an event is not JSON ({error}): {}", beginning(data)),
                });
                None
            }
        }
    }

    /// The provider took the request; only the first time counts.
    pub(super) fn start(&mut self, model: Option<&str>, id: Option<&str>) {
        if !self.started {
            self.started = true;
            let some = |text: Option<&str>| text.filter(|t| !t.is_empty()).map(str::to_owned);
            self.push(Event::Start { model: some(model), id: some(id) });
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        if !self.ended {
            self.out.push(Ok(event));
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.text.push_str(text);
            self.push(Event::Text(text.to_owned()));
        }
    }

    /// Text that is not to be told as such (yet).
    pub(super) fn set_text(&mut self, text: String) {
        self.text = text;
    }

    pub(super) fn reasoning(&mut self, text: &str) {
        if !text.is_empty() {
            self.push(Event::Reasoning(text.to_owned()));
        }
    }

    pub(super) fn refusal(&mut self, text: &str) {
        self.refused = true;
        if !text.is_empty() {
            self.text.push_str(text);
            self.push(Event::Refusal(text.to_owned()));
        }
    }

    pub(super) fn builtin(&mut self, kind: &str, id: Option<&str>, phase: &str, detail: Value) {
        let (kind, phase) = (kind.to_owned(), phase.to_owned());
        self.push(Event::Builtin { kind, id: id.map(str::to_owned), phase, detail });
    }

    pub(super) fn usage(&mut self, usage: Usage) {
        if usage != self.usage {
            self.usage = usage;
            self.push(Event::Usage(usage));
        }
    }

    /// The provider's id for a call if it can be used, else one of ours: unique within the conversation.
    pub(super) fn claim_id(&mut self, wanted: Option<&str>) -> String {
        if let Some(id) = wanted.filter(|id| !id.is_empty())
            && self.ids.insert(id.to_owned())
        {
            return id.to_owned();
        }
        let mut n = self.ids.len();
        loop {
            n += 1;
            let id = format!("call_{n}");
            if self.ids.insert(id.clone()) {
                return id;
            }
        }
    }

    pub(super) fn call_start(&mut self, index: usize, id: &str, name: &str) {
        self.push(Event::ToolCallStart { index, id: id.to_owned(), name: name.to_owned() });
    }

    pub(super) fn call_arguments(&mut self, index: usize, delta: &str) {
        if !delta.is_empty() {
            self.push(Event::ToolCallArguments { index, delta: delta.to_owned() });
        }
    }

    /// A call is whole; `arguments` is its JSON text.
    pub(super) fn call(&mut self, id: String, name: String, arguments: &str) {
        self.invocation(ToolInvocation { id, name, arguments: parse_arguments(arguments) });
    }

    pub(super) fn invocation(&mut self, call: ToolInvocation) {
        self.calls.push(call.clone());
        self.push(Event::ToolCall(call));
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Puts the calls into the order their indices had, where they were completed in another.
    pub(super) fn order_calls(&mut self, ids: &[String]) {
        let place = |call: &ToolInvocation| ids.iter().position(|id| *id == call.id).unwrap_or(usize::MAX);
        self.calls.sort_by_key(place);
    }

    /// The stream carries an error.
    pub(super) fn error(&mut self, code: Option<&str>, message: &str) {
        self.fail(classify::in_stream(&self.origin, code, message));
    }

    pub(super) fn fail(&mut self, error: BackendError) {
        if !self.ended {
            self.ended = true;
            self.out.push(Err(error));
        }
    }

    pub(super) fn truncated(&mut self) {
        self.fail(BackendError::Truncated { provider: self.origin.provider.to_string() });
    }

    /// The end. A turn with calls waits for their answers, and a declined one declines, whatever the provider says
    /// beyond "stop".
    pub(super) fn done(&mut self, reason: FinishReason, items: Vec<Value>) {
        if self.ended {
            return;
        }
        self.start(None, None);
        let reason = match reason {
            FinishReason::Stop | FinishReason::ToolCalls if self.has_calls() => FinishReason::ToolCalls,
            FinishReason::Stop | FinishReason::ToolCalls if self.refused => FinishReason::Refusal,
            FinishReason::ToolCalls => FinishReason::Stop,
            other => other,
        };
        let turn = Turn {
            origin: Some(self.origin.wire.clone()),
            items,
            text: std::mem::take(&mut self.text),
            calls: std::mem::take(&mut self.calls),
        };
        self.push(Event::Done { reason, turn });
        self.ended = true;
    }

    /// Takes what is to be told.
    pub(super) fn drain(&mut self) -> Vec<Result<Event, BackendError>> {
        std::mem::take(&mut self.out)
    }
}
