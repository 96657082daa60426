//! What a server's message is, and whom it is for: a caller on the short road, or rmcp.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData,
    JsonRpcMessage, NumberOrString, RequestId, ServerJsonRpcMessage, ServerResult,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::breach::{Breach, Breaches, Notice};
use crate::raw::{self, Calls, Failure, TooLarge};

/// Why a stream ended by our decision; shared with whoever composes the error.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verdict(Arc<Mutex<Ending>>);

#[derive(Debug, Default)]
struct Ending {
    reason: Option<String>,
    /// Bytes of a message whose end never came.
    partial: usize,
}

impl Verdict {
    fn lock(&self) -> std::sync::MutexGuard<'_, Ending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, reason: String) {
        self.lock().reason.get_or_insert(reason);
    }

    pub(crate) fn set_partial(&self, bytes: usize) {
        self.lock().partial = bytes;
    }

    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().reason.clone()
    }

    /// Why the stream ended, with what is known of a message that was cut off.
    pub(crate) fn with_partial(&self, reason: String) -> String {
        match self.lock().partial {
            0 => reason,
            bytes => format!("{reason}, {bytes} bytes into a message"),
        }
    }
}

/// The code of the error that stands in for an answer that was too long or not JSON-RPC. It is of the range that
/// JSON-RPC leaves to implementations.
pub(crate) const UNREADABLE: ErrorCode = ErrorCode(-32_099);

/// The code of the error that stands in for an answer that was too large; its data is the limit in bytes.
pub(crate) const TOO_LARGE: ErrorCode = ErrorCode(-32_098);

/// How long after a report of its own crash a server may still answer.
const GRACE: Duration = Duration::from_secs(2);
/// Notices in a second, and seconds in a row, beyond which they are a flood.
const FLOOD: (u32, u32) = (1000, 5);

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
    /// The highest id that rmcp gave out.
    highest: Option<i64>,
    /// A crash that was reported where the answer to the only call should be.
    crash: Option<Crash>,
    notices: Notices,
    /// The request that settles the revision, while it is in flight.
    handshake: Option<RequestId>,
    /// The revision is one whose messages may come several in one array.
    arrays: bool,
    verdict: Verdict,
}

/// What a program prints when it fails, on the stream that is for messages.
struct Crash {
    /// The call that was open then.
    id: u64,
    since: Instant,
    /// First and last line.
    first: String,
    last: String,
}

/// Whether this begins what a language's runtime prints when a program fails.
fn reports_crash(line: &str) -> bool {
    const BEGINNINGS: [&str; 5] =
        ["Traceback (most recent call last)", "panic: ", "fatal error: ", "Exception in thread", "Uncaught "];
    const MARKS: [&str; 3] = ["panicked at", "UnhandledPromiseRejection", "Unhandled exception"];
    BEGINNINGS.iter().any(|beginning| line.starts_with(beginning))
        || MARKS.iter().any(|mark| line.contains(mark))
}

/// Counts notices by the second.
#[derive(Default)]
struct Notices {
    second: Option<Instant>,
    count: u32,
    /// Seconds in a row with too many.
    flooded: u32,
}

impl Notices {
    /// Takes one in; true: now they are a flood.
    fn note(&mut self, now: Instant) -> bool {
        let begun = *self.second.get_or_insert(now);
        let passed = now.saturating_duration_since(begun);
        if passed >= Duration::from_secs(1) {
            let quiet = passed >= Duration::from_secs(2) || self.count <= FLOOD.0;
            self.flooded = if quiet { 0 } else { self.flooded + 1 };
            (self.second, self.count) = (Some(now), 0);
            if self.flooded == FLOOD.1 {
                self.flooded = 0;
                return true;
            }
        }
        self.count += 1;
        false
    }
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

/// The only revision that knows several messages in one array.
pub(crate) const WITH_ARRAYS: &str = "2025-03-26";

/// What the answer to the handshake says about the revision.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Handshake {
    protocol_version: String,
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
pub(crate) fn leading_id(message: &[u8]) -> Option<i64> {
    let rest =
        message.strip_prefix(br#"{"jsonrpc":"2.0","id":"#).or_else(|| message.strip_prefix(br#"{"id":"#))?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(b',') if (1..=16).contains(&digits) => std::str::from_utf8(&rest[..digits]).ok()?.parse().ok(),
        _ => None,
    }
}

/// The error that stands in for an answer that cannot be used.
pub(crate) fn stand_in(failure: Failure) -> ErrorData {
    match failure {
        Failure::TooLarge(TooLarge { limit, what }) => ErrorData::new(TOO_LARGE, what, Some(limit.into())),
        Failure::Unreadable(reason) => ErrorData::new(UNREADABLE, reason, None),
        other => ErrorData::new(UNREADABLE, format!("{other:?}"), None),
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
                if let NumberOrString::Number(id) = request.id {
                    self.highest = self.highest.max(Some(id));
                }
                self.pending.insert(request.id.clone());
                if matches!(request.request, ClientRequest::InitializeRequest(_)) {
                    self.handshake = Some(request.id.clone());
                }
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

    /// Where breaches of this session's go.
    pub(crate) fn breaches(&self) -> &Breaches {
        &self.calls.breaches
    }

    /// Until when the call that was open when the server reported a crash may still be answered.
    pub(crate) fn crash_due(&self) -> Option<Instant> {
        self.crash.as_ref().map(|crash| crash.since + GRACE)
    }

    /// No answer came: the report was it.
    pub(crate) fn give_up_crashed(&mut self) {
        let Some(Crash { id, first, last, .. }) = self.crash.take() else { return };
        if self.calls.waits(id) {
            let reason = format!("a report of a crash in place of an answer: {first} … {last}");
            self.calls.give_up(id, Failure::Unreadable(reason));
        }
    }

    /// The stream is ended because of what the server sent.
    pub(crate) fn end_too_large(&self, too_large: &TooLarge) {
        self.calls.end_too_large(too_large);
        self.verdict.set(format!("the server sent {too_large}"));
    }

    /// Ends the stream where nobody waits for an answer. `false`: somebody does.
    pub(crate) fn end_if_idle(&self, too_large: &TooLarge) -> bool {
        let ends = self.pending.is_empty() && self.calls.end_if_idle();
        if ends {
            self.verdict.set(format!("the server sent {too_large}"));
        }
        ends
    }

    /// Takes in a line that is no message.
    fn noise(&mut self, line: &str) {
        match &mut self.crash {
            Some(crash) => crash.last = line.to_owned(),
            None if reports_crash(line) => {
                self.crash = self.calls.only().map(|id| Crash {
                    id,
                    since: Instant::now(),
                    first: line.to_owned(),
                    last: String::new(),
                });
            }
            None => {}
        }
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
    pub(crate) fn fail(&mut self, id: Option<i64>, failure: Failure) -> bool {
        if let Some(id) = id.and_then(ours) {
            // One that nobody waits for any more costs nobody anything.
            self.calls.answer(id, Err(failure));
            return true;
        }
        let asked = id.map(NumberOrString::Number).filter(|id| self.pending.contains(id));
        let only = || match (self.pending.len(), self.calls.len()) {
            (1, 0) => self.pending.iter().next().cloned(),
            _ => None,
        };
        if let Some(id) = asked.or_else(only) {
            self.settle(&id);
            self.ready.push_back(JsonRpcMessage::error(stand_in(failure), Some(id)));
            return true;
        }
        if self.pending.is_empty()
            && let Some(id) = self.calls.only()
        {
            return self.calls.answer(id, Err(failure));
        }
        let reason = match failure {
            Failure::TooLarge(too_large) => too_large.to_string(),
            other => stand_in(other).message.into_owned(),
        };
        self.verdict.set(format!("the server sent {reason}"));
        false
    }

    /// Takes a line, without its end.
    pub(crate) fn line(&mut self, line: BytesMut) {
        // The answer to a call, as it mostly looks: its caller decodes it, and finds out whether it holds.
        if let Some(id) = leading_id(&line).and_then(ours) {
            self.answer(id, line);
            return;
        }
        let bare = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&line).trim_ascii();
        if bare.is_empty() {
            return;
        }
        if bare.starts_with(b"[")
            && let Ok(messages) = serde_json::from_slice::<Vec<&RawValue>>(bare)
            && messages.iter().all(|message| message.get().starts_with('{'))
        {
            self.array(&messages);
            return;
        }
        self.message(bare);
    }

    /// Several messages in one line, which one revision of the protocol knew.
    fn array(&mut self, messages: &[&RawValue]) {
        if self.arrays {
            messages.iter().for_each(|message| self.message(message.get().as_bytes()));
            return;
        }
        tracing::warn!("the server sent several messages in one array, which its revision does not know");
        if self.pending.len() + self.calls.len() == 1 {
            let reason = "its answer in an array, which its revision does not know".to_owned();
            self.fail(None, Failure::Unreadable(reason));
        }
    }

    fn answer(&mut self, id: u64, line: BytesMut) {
        if self.crash.as_ref().is_some_and(|crash| crash.id == id) {
            self.crash = None;
        }
        self.calls.answer(id, Ok(line));
    }

    /// Takes one message.
    pub(crate) fn message(&mut self, message: &[u8]) {
        let envelope = match serde_json::from_slice::<Envelope<'_>>(message) {
            Ok(envelope) => envelope,
            Err(_) => {
                let start: String = String::from_utf8_lossy(message).chars().take(80).collect();
                self.noise(&start);
                self.breaches().notice(Notice::Chatter { line: start });
                return;
            }
        };
        let id = envelope.id.as_ref().and_then(request_id);
        let answers = envelope.method.is_none();
        if answers
            && let Some(NumberOrString::Number(id)) = id
            && let Some(id) = ours(id)
        {
            // Whoever was asked knows the id to the letter.
            if matches!(envelope.id, Some(Value::String(_))) {
                self.breaches().note(Breach::IdType);
            } else {
                self.answer(id, BytesMut::from(message));
            }
            return;
        }
        if envelope.id.is_none() && self.notices.note(Instant::now()) {
            self.breaches().note(Breach::Flood);
        }
        if envelope.method.is_some_and(|method| method.get() == r#""notifications/progress""#)
            && envelope.params.is_some_and(|params| raw::progressed(&self.calls, params.get()))
        {
            return;
        }
        if answers && id.is_some() && id == self.handshake {
            self.handshake = None;
            self.arrays = envelope.result.is_some_and(|result| {
                let version = serde_json::from_str::<Handshake>(result.get());
                version.is_ok_and(|handshake| handshake.protocol_version == WITH_ARRAYS)
            });
        }
        if let (true, Some(id)) = (answers, &id) {
            if let NumberOrString::Number(number) = id
                && !self.highest.is_some_and(|highest| (0..=highest).contains(number))
            {
                let pending = self.pending.len() + self.calls.len();
                self.breaches().note(Breach::foreign_id(number, pending));
                return;
            }
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
