//! What a server's message is, and whom it is for: a caller on the short road, or rmcp.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::BytesMut;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData,
    JsonRpcMessage, NumberOrString, RequestId, ServerJsonRpcMessage, ServerResult,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::raw::{self, Calls, Failure};

/// Why a stream ended by our decision; shared with whoever composes the error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Option<String>>>);

impl Verdict {
    fn set(&self, reason: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
    }

    pub(crate) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The code of the error that stands in for an answer that was too long or not JSON-RPC. It is of the range that
/// JSON-RPC leaves to implementations.
pub(crate) const UNREADABLE: ErrorCode = ErrorCode(-32_099);

/// Reads the messages of one session.
#[derive(Default)]
pub(crate) struct Decoder {
    /// The requests of the short road.
    calls: Arc<Calls>,
    /// Messages read and not yet handed on: an array of messages is one line.
    ready: VecDeque<ServerJsonRpcMessage>,
    /// rmcp's requests in flight whose results are handed on undecoded, so that one malformed item of a result does
    /// not cost the whole.
    undecoded: HashSet<RequestId>,
    /// All of rmcp's requests in flight.
    pending: HashSet<RequestId>,
    verdict: Verdict,
}

/// The members of a message that say what it is. One that is there twice is an error.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<&'a RawValue>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// An id as a number. Some servers answer with the id as text.
pub(crate) fn number(id: &Value) -> Option<i64> {
    match id {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn request_id(id: &Value) -> Option<RequestId> {
    match (number(id), id) {
        (Some(number), _) => Some(NumberOrString::Number(number)),
        (None, Value::String(text)) => Some(NumberOrString::String(text.as_str().into())),
        _ => None,
    }
}

/// The id of a message that begins the way most servers write their answers, without looking at the rest.
fn leading_id(message: &[u8]) -> Option<i64> {
    let rest =
        message.strip_prefix(br#"{"jsonrpc":"2.0","id":"#).or_else(|| message.strip_prefix(br#"{"id":"#))?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(b',') if (1..=16).contains(&digits) => std::str::from_utf8(&rest[..digits]).ok()?.parse().ok(),
        _ => None,
    }
}

/// The id as the short road knows it.
fn ours(id: i64) -> Option<u64> {
    if raw::is_ours(id) { u64::try_from(id).ok() } else { None }
}

impl Decoder {
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    pub(crate) fn calls(&self) -> Arc<Calls> {
        self.calls.clone()
    }

    /// Looks at a message of rmcp's that is about to be sent.
    pub(crate) fn note(&mut self, message: &ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => {
                self.pending.insert(request.id.clone());
                if matches!(
                    request.request,
                    ClientRequest::ListToolsRequest(_)
                        | ClientRequest::CallToolRequest(_)
                        | ClientRequest::CustomRequest(_)
                ) {
                    self.undecoded.insert(request.id.clone());
                }
            }
            JsonRpcMessage::Notification(notification) => {
                if let ClientNotification::CancelledNotification(cancelled) = &notification.notification
                    && let Some(id) = cancelled.params.request_id.clone()
                {
                    self.settle(&id);
                }
            }
            _ => {}
        }
    }

    /// The next message for rmcp.
    pub(crate) fn next(&mut self) -> Option<ServerJsonRpcMessage> {
        self.ready.pop_front()
    }

    /// The stream is over.
    pub(crate) fn end(&self) {
        self.calls.end();
    }

    fn settle(&mut self, id: &RequestId) -> bool {
        self.pending.remove(id);
        self.undecoded.remove(id)
    }

    /// Fails the request with this id, or the only one there is. `false`, with a verdict: it cannot be told which.
    pub(crate) fn fail(&mut self, id: Option<i64>, reason: String) -> bool {
        if let Some(id) = id.and_then(ours).filter(|id| self.calls.waits(*id)) {
            return self.calls.answer(id, Err(Failure::Unreadable(reason)));
        }
        let asked = id.map(NumberOrString::Number).filter(|id| self.pending.contains(id));
        let only = || match (self.pending.len(), self.calls.len()) {
            (1, 0) => self.pending.iter().next().cloned(),
            _ => None,
        };
        if let Some(id) = asked.or_else(only) {
            self.settle(&id);
            self.ready.push_back(JsonRpcMessage::error(ErrorData::new(UNREADABLE, reason, None), Some(id)));
            return true;
        }
        if self.pending.is_empty()
            && let Some(id) = self.calls.only()
        {
            return self.calls.answer(id, Err(Failure::Unreadable(reason)));
        }
        self.verdict.set(format!("the server sent {reason}"));
        false
    }

    /// Takes a line, without its end.
    pub(crate) fn line(&mut self, line: BytesMut) {
        // The answer to a call, as it mostly looks: its caller decodes it, and finds out whether it holds.
        if let Some(id) = leading_id(&line).and_then(ours) {
            if !self.calls.answer(id, Ok(line)) {
                tracing::debug!("an answer to nothing that is waited for");
            }
            return;
        }
        let bare = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line).trim_ascii();
        if bare.is_empty() {
            return;
        }
        if bare.starts_with(b"[") {
            // Revision 2025-03-26 allows several messages in one array.
            if let Ok(messages) = serde_json::from_slice::<Vec<&RawValue>>(bare) {
                for message in messages {
                    self.message(message.get().as_bytes());
                }
                return;
            }
        }
        self.message(bare);
    }

    /// Takes one message.
    pub(crate) fn message(&mut self, message: &[u8]) {
        let envelope = match serde_json::from_slice::<Envelope<'_>>(message) {
            Ok(envelope) => envelope,
            Err(error) => {
                let start: String = String::from_utf8_lossy(message).chars().take(80).collect();
                tracing::warn!(%error, ?start, "the server wrote something to its output that is not a message");
                return;
            }
        };
        let id = envelope.id.as_ref().and_then(request_id);
        let answers = envelope.method.is_none();
        if answers
            && let Some(NumberOrString::Number(id)) = id
            && let Some(id) = ours(id)
        {
            if !self.calls.answer(id, Ok(BytesMut::from(message))) {
                tracing::debug!("an answer to nothing that is waited for");
            }
            return;
        }
        if envelope.method.is_some_and(|method| method.get() == r#""notifications/progress""#)
            && envelope.params.is_some_and(|params| raw::progressed(&self.calls, params.get()))
        {
            return;
        }
        if let (true, Some(id)) = (answers, &id) {
            let undecoded = self.settle(id);
            if let (true, Some(result), None) = (undecoded, envelope.result, envelope.error)
                && let Ok(result) = serde_json::from_str(result.get())
            {
                let result = ServerResult::CustomResult(CustomResult(result));
                self.ready.push_back(JsonRpcMessage::response(result, id.clone()));
                return;
            }
        }
        match serde_json::from_slice::<ServerJsonRpcMessage>(message) {
            Ok(message) => self.ready.push_back(message),
            Err(error) => {
                tracing::warn!(%error, "the server sent a message that is not MCP");
                if let (true, Some(id)) = (answers, id) {
                    let error =
                        ErrorData::new(UNREADABLE, format!("an answer that is not JSON-RPC: {error}"), None);
                    self.ready.push_back(JsonRpcMessage::error(error, Some(id)));
                }
            }
        }
    }
}
