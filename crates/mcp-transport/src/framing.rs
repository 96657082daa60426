//! Newline-delimited JSON-RPC over a byte stream, bounded and forgiving (MCP basic/transports, "stdio").
//!
//! rmcp's own framing drops a line that is too long and lets its caller wait for ever; here the request that the
//! line answers fails instead. Results of tool requests are handed on undecoded, so that one malformed item of a
//! result does not cost the whole.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, ErrorCode, ErrorData,
    JsonRpcMessage, NumberOrString, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{Mutex as AsyncMutex, watch};

/// How much is kept of both ends of a line that is too long: enough to find the id in it.
const ENDS: usize = 160;

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

pub(crate) struct LineTransport<R, W> {
    read: BufReader<R>,
    line: Vec<u8>,
    limit: usize,
    oversized: Option<Oversized>,
    /// Messages read and not yet handed on: an array of messages is one line.
    ready: VecDeque<ServerJsonRpcMessage>,
    write: Arc<AsyncMutex<Option<W>>>,
    closed: watch::Sender<bool>,
    /// Requests in flight whose results are handed on undecoded.
    undecoded: HashSet<RequestId>,
    /// All requests in flight.
    pending: HashSet<RequestId>,
    verdict: Verdict,
}

#[derive(Debug, Default)]
struct Oversized {
    length: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Oversized {
    fn push(&mut self, bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        let room = ENDS.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..room]);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(ENDS)..]);
        let excess = self.tail.len().saturating_sub(ENDS);
        self.tail.drain(..excess);
    }

    /// The id of the message, where the first or the last members show it. The first members are those of the
    /// outermost object; the last `}` closes it, so a member right before it is of the outermost object too.
    fn id(&self) -> Option<RequestId> {
        let squeeze = |bytes: &[u8]| {
            String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_whitespace()).collect::<String>()
        };
        let head = squeeze(&self.head);
        let first = head
            .strip_prefix(r#"{"jsonrpc":"2.0","id":"#)
            .or_else(|| head.strip_prefix(r#"{"id":"#))
            .and_then(|rest| rest.split(',').next().map(str::to_owned));
        let tail = squeeze(&self.tail);
        let last = || {
            let (rest, id) = tail.strip_suffix('}')?.rsplit_once(r#""id":"#)?;
            rest.ends_with(',').then(|| id.to_owned())
        };
        first
            .or_else(last)
            .and_then(|id| serde_json::from_str::<Value>(&id).ok())
            .and_then(|id| request_id(&id))
    }
}

enum Line {
    Whole,
    TooLong(Oversized),
    End,
}

/// The members of a message that say what it is.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<&'a RawValue>,
    #[serde(default, borrow)]
    result: Option<&'a RawValue>,
}

fn request_id(value: &Value) -> Option<RequestId> {
    match value {
        Value::Number(number) => number.as_i64().map(NumberOrString::Number),
        // Some servers answer with the id as text.
        Value::String(text) => Some(match text.parse() {
            Ok(number) => NumberOrString::Number(number),
            Err(_) => NumberOrString::String(text.as_str().into()),
        }),
        _ => None,
    }
}

impl<R, W> LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(crate) fn new(read: R, write: W, limit: usize) -> Self {
        Self {
            read: BufReader::new(read),
            line: Vec::new(),
            limit,
            oversized: None,
            ready: VecDeque::new(),
            write: Arc::new(AsyncMutex::new(Some(write))),
            closed: watch::Sender::new(false),
            undecoded: HashSet::new(),
            pending: HashSet::new(),
            verdict: Verdict::default(),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    /// Reads up to the next end of line. Dropping the future loses nothing: what was read stays in `self`.
    async fn read_line(&mut self) -> Line {
        loop {
            let available = match self.read.fill_buf().await {
                Ok(available) => available,
                Err(error) => {
                    tracing::debug!(%error, "reading from the server failed");
                    return Line::End;
                }
            };
            if available.is_empty() {
                return Line::End;
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let bytes = &available[..newline.unwrap_or(available.len())];
            let taken = newline.map_or(bytes.len(), |at| at + 1);
            match &mut self.oversized {
                Some(oversized) => oversized.push(bytes),
                None if self.line.len() + bytes.len() > self.limit => {
                    let mut oversized = Oversized::default();
                    oversized.push(&self.line);
                    oversized.push(bytes);
                    self.line = Vec::new();
                    self.oversized = Some(oversized);
                }
                None => self.line.extend_from_slice(bytes),
            }
            self.read.consume(taken);
            if newline.is_some() {
                return match self.oversized.take() {
                    Some(oversized) => Line::TooLong(oversized),
                    None => Line::Whole,
                };
            }
        }
    }

    fn settle(&mut self, id: &RequestId) -> bool {
        self.pending.remove(id);
        self.undecoded.remove(id)
    }

    /// Fails the request that a line too long answers; `None` where it cannot be told, which ends the stream.
    fn fail_oversized(&mut self, oversized: &Oversized) -> Option<ServerJsonRpcMessage> {
        let reason = format!("a message of {} bytes; at most {} are accepted", oversized.length, self.limit);
        tracing::warn!(
            length = oversized.length,
            limit = self.limit,
            "the server sent a message that is too long"
        );
        let only = || match self.pending.len() {
            1 => self.pending.iter().next().cloned(),
            _ => None,
        };
        let id = oversized.id().filter(|id| self.pending.contains(id)).or_else(only);
        match id {
            Some(id) => {
                self.settle(&id);
                Some(JsonRpcMessage::error(ErrorData::new(UNREADABLE, reason, None), Some(id)))
            }
            None => {
                self.verdict.set(format!("the server sent {reason}"));
                None
            }
        }
    }

    fn decode_line(&mut self, line: &[u8]) {
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return;
        }
        if line.starts_with(b"[") {
            // Revision 2025-03-26 allows several messages in one array.
            if let Ok(messages) = serde_json::from_slice::<Vec<&RawValue>>(line) {
                for message in messages {
                    self.decode(message.get().as_bytes());
                }
                return;
            }
        }
        self.decode(line);
    }

    fn decode(&mut self, message: &[u8]) {
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
        if let (true, Some(id)) = (answers, &id) {
            let undecoded = self.settle(id);
            if let (true, Some(result)) = (undecoded, envelope.result)
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

impl<R, W> Transport<RoleClient> for LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        match &message {
            JsonRpcMessage::Request(request) => {
                self.pending.insert(request.id.clone());
                if matches!(
                    request.request,
                    ClientRequest::ListToolsRequest(_) | ClientRequest::CallToolRequest(_)
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
        let line = serde_json::to_vec(&message).map(|mut line| {
            line.push(b'\n');
            line
        });
        let write = self.write.clone();
        let mut closed = self.closed.subscribe();
        async move {
            let line = line?;
            let gone = || io::Error::new(io::ErrorKind::NotConnected, "the session is closed");
            let sending = async {
                let mut write = write.lock().await;
                let write = write.as_mut().ok_or_else(gone)?;
                write.write_all(&line).await?;
                write.flush().await
            };
            // A server that stops reading must not keep the session from closing.
            tokio::select! {
                result = sending => result,
                _ = closed.wait_for(|closed| *closed) => Err(gone()),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            match self.read_line().await {
                Line::Whole => {
                    let line = std::mem::take(&mut self.line);
                    self.decode_line(&line);
                    self.line = line;
                    self.line.clear();
                    // One huge message must not cost its memory for the rest of the session.
                    self.line.shrink_to(64 * 1024);
                }
                Line::TooLong(oversized) => return self.fail_oversized(&oversized),
                Line::End => return None,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.closed.send_replace(true);
        self.write.lock().await.take();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequest, CallToolRequestParams};
    use serde_json::json;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn transport(input: &[u8], limit: usize) -> LineTransport<&[u8], tokio::io::Sink> {
        LineTransport::new(input, tokio::io::sink(), limit)
    }

    /// Waits for the answers to calls with the ids 0 and up.
    async fn asked<R: AsyncRead + Send + Unpin>(
        transport: &mut LineTransport<R, tokio::io::Sink>,
        calls: i64,
    ) {
        for id in 0..calls {
            let call = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new("t")));
            transport.send(JsonRpcMessage::request(call, NumberOrString::Number(id))).await.unwrap();
        }
    }

    async fn all<R: AsyncRead + Send + Unpin>(
        transport: &mut LineTransport<R, tokio::io::Sink>,
    ) -> Vec<Value> {
        let mut messages = Vec::new();
        while let Some(message) = transport.receive().await {
            messages.push(serde_json::to_value(message).unwrap());
        }
        messages
    }

    #[tokio::test]
    async fn results_of_tools_pass_undecoded() {
        let line = br#"{"jsonrpc":"2.0","id":0,"result":{"content":[{"type":"hologram"}],"resultType":7,"z":1,"a":1.5}}"#;
        let input = [line.as_slice(), b"\r\n"].concat();
        let mut transport = transport(&input, 1000);
        asked(&mut transport, 1).await;
        let messages = all(&mut transport).await;
        assert_eq!(messages.len(), 1);
        assert_eq!(
            messages[0]["result"],
            json!({"content":[{"type":"hologram"}],"resultType":7,"z":1,"a":1.5})
        );
    }

    #[tokio::test]
    async fn what_is_no_message_is_passed_over() {
        let input = concat!(
            "Server listening\n\n   \n\u{feff}\n{\"half\": \n[1,2]\n[\n7\nnull\n{}\n",
            "{\"jsonrpc\":\"2.0\",\"method\":\"log\",\"params\":{\"m\":1}}\n",
            "\u{feff}{\"jsonrpc\":\"2.0\",\"id\":\"0\",\"result\":{}}\n",
            "{\"jsonrpc\":\"2.0\",\"id\":9,\"result\":{}} and the rest of a line that never ends",
        );
        let mut transport = transport(input.as_bytes(), 1000);
        asked(&mut transport, 1).await;
        let messages = all(&mut transport).await;
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0]["method"], "log");
        assert_eq!(messages[1]["id"], 0);
    }

    #[tokio::test]
    async fn an_array_is_several_messages() {
        let input = br#"[{"jsonrpc":"2.0","id":1,"result":{"a":1}},{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"m"}}]
"#;
        let mut transport = transport(input, 1000);
        asked(&mut transport, 2).await;
        let messages = all(&mut transport).await;
        assert_eq!((&messages[0]["result"], &messages[1]["error"]["code"]), (&json!({"a": 1}), &json!(-1)));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_json_rpc_still_ends_its_request() {
        for answer in [r#"{"id":0}"#, r#"{"id":0,"result":null}"#, r#"{"id":0,"error":"text"}"#] {
            let input = format!("{answer}\n");
            let mut transport = transport(input.as_bytes(), 1000);
            asked(&mut transport, 1).await;
            let messages = all(&mut transport).await;
            assert_eq!(messages.len(), 1, "{answer}");
            assert_eq!(messages[0]["error"]["code"], UNREADABLE.0, "{answer}");
        }
    }

    #[tokio::test]
    async fn a_line_too_long_fails_the_request_it_answers() {
        let text = "x".repeat(5000);
        let first = format!(r#"{{"jsonrpc":"2.0", "id": 1, "result":{{"text":"{text}"}}}}"#);
        let last = format!(r#"{{"result":{{"text":"{text}","id":0}},"jsonrpc":"2.0","id":1}}"#);
        for line in [first, last] {
            let input = format!("{line}\n{{\"id\":0,\"jsonrpc\":\"2.0\",\"result\":{{}}}}\n");
            let mut transport = transport(input.as_bytes(), 1000);
            asked(&mut transport, 2).await;
            let messages = all(&mut transport).await;
            assert_eq!(messages.len(), 2);
            assert_eq!(
                (&messages[0]["id"], &messages[0]["error"]["code"]),
                (&json!(1), &json!(UNREADABLE.0))
            );
            assert_eq!(messages[1]["id"], 0);
        }
    }

    #[tokio::test]
    async fn a_line_too_long_that_answers_nobody_ends_the_stream_with_the_reason() {
        let input = format!("{}\n{{\"id\":0,\"jsonrpc\":\"2.0\",\"result\":{{}}}}\n", "x".repeat(5000));
        let mut transport = transport(input.as_bytes(), 1000);
        asked(&mut transport, 2).await;
        assert!(all(&mut transport).await.is_empty());
        let reason = transport.verdict().reason().unwrap();
        assert_eq!(reason, "the server sent a message of 5000 bytes; at most 1000 are accepted");
    }

    #[tokio::test]
    async fn it_does_not_matter_where_the_stream_is_cut() {
        let mut input = Vec::new();
        for id in 0..20 {
            let message = json!({"jsonrpc": "2.0", "id": id, "result": {"text": "ä".repeat(id), "n": id}});
            input.extend_from_slice(message.to_string().as_bytes());
            input.push(b'\n');
        }
        for chunk in [1, 2, 3, 7, 64] {
            let (mut far, near) = tokio::io::duplex(chunk);
            let mut transport = LineTransport::new(near, tokio::io::sink(), 1000);
            asked(&mut transport, 20).await;
            let writing = input.clone();
            let writer = tokio::spawn(async move { far.write_all(&writing).await });
            let mut texts = Vec::new();
            // Dropping a receive that is under way must lose nothing: the service does so all the time.
            while texts.len() < 20 {
                tokio::select! {
                    biased;
                    () = tokio::task::yield_now() => {}
                    message = transport.receive() => {
                        texts.push(serde_json::to_value(message.unwrap()).unwrap()["result"]["n"].clone());
                    }
                }
            }
            assert_eq!(texts, (0..20).map(|n| json!(n)).collect::<Vec<_>>());
            writer.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn closing_ends_the_far_side_s_input_and_a_write_that_is_stuck() {
        let (mut far, near) = tokio::io::duplex(8);
        let (read, write) = tokio::io::split(near);
        let mut transport = LineTransport::new(read, write, 1000);
        let call = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new(
            "long".repeat(99),
        )));
        let stuck = tokio::spawn(transport.send(JsonRpcMessage::request(call, NumberOrString::Number(0))));
        far.read_exact(&mut [0; 4]).await.unwrap();
        transport.close().await.unwrap();
        assert_eq!(stuck.await.unwrap().unwrap_err().kind(), io::ErrorKind::NotConnected);
        drop(transport);
        far.read_to_end(&mut Vec::new()).await.unwrap();
    }

    proptest::proptest! {
        /// Whatever a server writes: no panic, and the stream ends when it does.
        #[test]
        fn no_input_is_fatal(
            pieces in proptest::collection::vec(
                proptest::prop_oneof![
                    proptest::collection::vec(proptest::num::u8::ANY, 0..40),
                    proptest::sample::select(vec![
                        b"{\"jsonrpc\":\"2.0\",".to_vec(), b"\"id\":0".to_vec(), b"\"id\":null".to_vec(), b",".to_vec(),
                        b"\"result\":{}".to_vec(), b"\"error\":{\"code\":1e99}".to_vec(), b"\"method\":\"m\"".to_vec(),
                        b"}".to_vec(), b"[".to_vec(), b"]".to_vec(), b"\n".to_vec(), b"\r\n".to_vec(), b"\xEF\xBB\xBF".to_vec(),
                    ]),
                ],
                0..60,
            ),
            limit in 1usize..200,
        ) {
            let input = pieces.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let mut transport = transport(&input, limit);
                asked(&mut transport, 2).await;
                all(&mut transport).await;
            });
        }
    }
}
