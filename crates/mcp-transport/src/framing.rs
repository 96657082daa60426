//! Newline-delimited JSON-RPC over a byte stream, bounded and forgiving (MCP basic/transports, "stdio").
//!
//! rmcp's own framing drops a line that is too long and lets its caller wait for ever; here the request that the
//! line answers fails instead. What a line says is for [`Decoder`].

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::breach::{Breach, Breaches};
use crate::decoder::{Decoder, Verdict, number};
use crate::raw::{Direct, Failure, Outbox, TooLarge};

/// How much is kept of both ends of a line that is too long: enough to find the id in it.
const ENDS: usize = 160;
/// The least that is skipped of a line too long before it counts as one without end.
const SKIPPED: usize = 1024 * 1024;
/// How long the end of a line too long may take to come.
const OVERDUE: Duration = Duration::from_secs(2);
/// The room for one read: as much as a pipe usually holds.
const READ: usize = 64 * 1024;
/// The least room for one read.
const SHORT: usize = 4 * 1024;
/// The most room that is made at once because the line before was as long.
const AS_BEFORE: usize = 4 * 1024 * 1024;

pub(crate) struct LineTransport<R, W> {
    read: R,
    /// What was read and is not a whole line yet, or is more than one.
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of line.
    scanned: usize,
    /// How long the last line was that was not short: whoever sends one such line sends another.
    long: usize,
    limit: usize,
    oversized: Option<Oversized>,
    /// What was too large. The stream ends once nobody waits for an answer by it.
    spoilt: Option<TooLarge>,
    outbox: Arc<Outbox<W>>,
    closed: watch::Receiver<bool>,
    decoder: Decoder,
}

#[derive(Debug)]
struct Oversized {
    since: Instant,
    length: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Oversized {
    fn begin() -> Self {
        Self { since: Instant::now(), length: 0, head: Vec::new(), tail: Vec::new() }
    }

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
    fn id(&self) -> Option<i64> {
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
        first.or_else(last).and_then(|id| serde_json::from_str::<Value>(&id).ok()).and_then(|id| number(&id))
    }
}

/// Resolves then; without a time, never.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

enum Line {
    Whole(BytesMut),
    TooLong(Oversized),
    /// So long that its end is not waited for.
    Endless(Oversized),
    End,
}

impl<R, W> LineTransport<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(crate) fn new(read: R, write: W, limit: usize) -> Self {
        let decoder = Decoder::default();
        let outbox = Outbox::new(write, decoder.calls());
        let closed = outbox.closed();
        Self {
            read,
            buffer: BytesMut::new(),
            scanned: 0,
            long: 0,
            limit,
            oversized: None,
            spoilt: None,
            outbox,
            closed,
            decoder,
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.decoder.verdict()
    }

    /// Where breaches of the protocol go.
    pub(crate) fn breaches(&self) -> &Breaches {
        self.decoder.breaches()
    }

    /// The short road through this stream.
    pub(crate) fn direct(&self) -> Direct {
        Direct::new(self.outbox.clone(), self.decoder.calls())
    }

    /// Reads up to the next end of line. Dropping the future loses nothing: what was read stays in `self`.
    async fn read_line(&mut self) -> Line {
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[self.scanned..]).map(|at| self.scanned + at);
            let length = newline.unwrap_or(self.buffer.len());
            if self.oversized.is_some() || length > self.limit {
                let oversized = self.oversized.get_or_insert_with(Oversized::begin);
                oversized.push(&self.buffer[..length]);
                let _ = self.buffer.split_to(newline.map_or(length, |at| at + 1));
                self.scanned = 0;
                if newline.is_some() {
                    return self.oversized.take().map_or(Line::End, Line::TooLong);
                }
                if oversized.length > self.limit.saturating_add(self.limit.max(SKIPPED)) {
                    return self.oversized.take().map_or(Line::End, Line::Endless);
                }
            } else if let Some(at) = newline {
                // The line keeps its part of the buffer: nothing is copied.
                let mut line = self.buffer.split_to(at + 1);
                line.truncate(at);
                self.scanned = 0;
                if at > READ {
                    self.long = at;
                }
                return Line::Whole(line);
            } else {
                self.scanned = length;
            }
            // Short lines use up the room before there is new; a line that grows is worth larger reads.
            let begun = self.buffer.len();
            let wanted = if begun > SHORT { READ.max(begun).min(16 * READ) } else { SHORT };
            if self.buffer.capacity() - begun < wanted {
                // Growing step by step would copy what is there with each step.
                let rest = if begun > SHORT { self.long.saturating_sub(begun).min(AS_BEFORE) } else { 0 };
                self.buffer.reserve(READ.max(wanted).max(rest));
            }
            let due = self.oversized.as_ref().map(|oversized| oversized.since + OVERDUE);
            let read = self.read.read_buf(&mut self.buffer);
            let read = match due {
                Some(due) => match timeout_at(due, read).await {
                    Ok(read) => read,
                    Err(_) => return self.oversized.take().map_or(Line::End, Line::Endless),
                },
                None => read.await,
            };
            match read {
                Ok(0) => return Line::End,
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "reading from the server failed");
                    return Line::End;
                }
            }
        }
    }

    /// Fails the request that a line too long answers; `false` where it cannot be told, which ends the stream.
    fn fail_oversized(&mut self, oversized: &Oversized) -> bool {
        let too_large = self.too_large(format!("a message of {} bytes", oversized.length));
        tracing::warn!(
            length = oversized.length,
            limit = self.limit,
            "the server sent a message that is too long"
        );
        self.spoilt = Some(too_large.clone());
        self.decoder.fail(oversized.id(), Failure::TooLarge(too_large))
    }

    fn too_large(&self, what: String) -> TooLarge {
        TooLarge { limit: self.limit, what }
    }

    /// Ends the stream: what is behind such a line may never come.
    fn refuse_endless(&mut self, oversized: &Oversized) {
        let too_large =
            self.too_large(format!("a line of which {} bytes have come, and no end", oversized.length));
        tracing::warn!(length = oversized.length, limit = self.limit, "the server sent a line without end");
        if oversized.id().is_none() {
            self.decoder.breaches().note(Breach::EndlessLine);
        }
        self.decoder.end_too_large(&too_large);
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
        self.decoder.note(&message);
        let line = serde_json::to_vec(&message).map(|mut line| {
            line.push(b'\n');
            line
        });
        let outbox = self.outbox.clone();
        let opens = matches!(&message, JsonRpcMessage::Request(request) if matches!(
            request.request,
            ClientRequest::DiscoverRequest(_) | ClientRequest::InitializeRequest(_)
        ));
        async move {
            match outbox.send(&line?).await {
                // A program that ended at once, as one that only prints how it is used: what it said is still to be read, and
                // `receive` finds the end behind it.
                Err(error) if opens => {
                    tracing::debug!(%error, "the server took no first request");
                    Ok(())
                }
                sent => sent,
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.decoder.next() {
                return Some(message);
            }
            if let Some(too_large) = &self.spoilt
                && self.decoder.end_if_idle(too_large)
            {
                return None;
            }
            let mut closed = self.closed.clone();
            let crash = self.decoder.crash_due();
            let line = tokio::select! {
                // What the server still said is read first.
                biased;
                line = self.read_line() => line,
                _ = closed.wait_for(|closed| *closed) => Line::End,
                () = until(crash) => {
                    self.decoder.give_up_crashed();
                    continue;
                }
            };
            let goes_on = match line {
                Line::Whole(line) => {
                    self.decoder.line(line);
                    true
                }
                Line::TooLong(oversized) => self.fail_oversized(&oversized),
                Line::Endless(oversized) => {
                    self.refuse_endless(&oversized);
                    false
                }
                Line::End => {
                    self.decoder.verdict().set_partial(self.buffer.len());
                    false
                }
            };
            if !goes_on {
                self.decoder.end();
                return None;
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.outbox.close();
        self.decoder.end();
        Ok(())
    }
}

impl<R, W> Drop for LineTransport<R, W> {
    fn drop(&mut self) {
        self.decoder.end();
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequest, CallToolRequestParams, NumberOrString};
    use serde_json::json;
    use tokio::io::AsyncWriteExt;

    use super::*;
    use crate::decoder::{TOO_LARGE, UNREADABLE};

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
    async fn what_a_program_said_that_takes_no_first_request_is_read() {
        for (method, rest) in [
            (
                "initialize",
                json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}),
            ),
            ("tools/call", json!({"name": "t"})),
        ] {
            // Whose other end is gone, as that of a pipe to a process that ended.
            let (write, _) = tokio::io::duplex(1);
            let line: &[u8] = b"{\"jsonrpc\":\"2.0\",\"method\":\"log\",\"params\":{\"m\":1}}\n";
            let mut transport = LineTransport::new(line, write, 1000);
            let request = json!({"jsonrpc": "2.0", "id": 0, "method": method, "params": rest});
            let sent = transport.send(serde_json::from_value(request).unwrap()).await;
            assert_eq!(sent.is_ok(), method == "initialize", "{method}: {sent:?}");
            assert!(transport.receive().await.is_some(), "{method}");
            assert!(transport.receive().await.is_none(), "{method}");
        }
    }

    /// Opens the session in a revision, then reads an array that answers two calls.
    async fn array(version: &str) -> Vec<Value> {
        let greeting = json!({"jsonrpc": "2.0", "id": 9, "result": {
            "protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "s", "version": "1"},
        }});
        let answers = r#"[{"jsonrpc":"2.0","id":1,"result":{"a":1}},{"jsonrpc":"2.0","id":0,"error":{"code":-1,"message":"m"}}]"#;
        let input = format!("{greeting}\n{answers}\n");
        let mut transport = transport(input.as_bytes(), 1000);
        let initialize = json!({"jsonrpc": "2.0", "id": 9, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "c", "version": "1"},
        }});
        transport.send(serde_json::from_value(initialize).unwrap()).await.unwrap();
        asked(&mut transport, 2).await;
        all(&mut transport).await.split_off(1)
    }

    #[tokio::test]
    async fn an_array_is_several_messages_in_the_one_revision_that_knows_it() {
        let messages = array("2025-03-26").await;
        assert_eq!((&messages[0]["result"], &messages[1]["error"]["code"]), (&json!({"a": 1}), &json!(-1)));
        assert!(array("2025-06-18").await.is_empty());
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
            assert_eq!((&messages[0]["id"], &messages[0]["error"]["code"]), (&json!(1), &json!(TOO_LARGE.0)));
            assert_eq!((&messages[0]["error"]["data"], &messages[1]["id"]), (&json!(1000), &json!(0)));
        }
    }

    #[tokio::test]
    async fn after_a_line_too_long_the_stream_ends_when_nobody_waits_any_more() {
        let answer = |id: u64, text: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"text":"{text}"}}}}"#) + "\n"
        };
        let (mut far, near) = tokio::io::duplex(8000);
        let mut transport = LineTransport::new(near, tokio::io::sink(), 1000);
        let calls = transport.decoder.calls();
        let (large, _, refused) = calls.open(None).unwrap();
        let (small, _, answered) = calls.open(None).unwrap();
        far.write_all((answer(large, &"x".repeat(5000)) + &answer(small, "kept")).as_bytes()).await.unwrap();
        // The far end does not close it.
        assert!(transport.receive().await.is_none());
        assert!(matches!(refused.await.unwrap(), Err(Failure::TooLarge(TooLarge { limit: 1000, .. }))));
        assert!(answered.await.unwrap().unwrap().ends_with(b"\"kept\"}}"));
        assert!(calls.open(None).is_none(), "what is asked now is certainly not sent");
    }

    #[tokio::test]
    async fn a_line_too_long_that_nobody_waits_for_any_more_fails_no_other() {
        let (mut far, near) = tokio::io::duplex(8000);
        let mut transport = LineTransport::new(near, tokio::io::sink(), 1000);
        let calls = transport.decoder.calls();
        let ((late, ..), (other, _, answered)) = (calls.open(None).unwrap(), calls.open(None).unwrap());
        assert!(calls.forget(late));
        let answer = |id: u64, size: usize| {
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"text\":\"{}\"}}}}\n", "x".repeat(size))
        };
        far.write_all((answer(late, 5000) + &answer(other, 5)).as_bytes()).await.unwrap();
        assert!(transport.receive().await.is_none());
        assert!(answered.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_line_too_long_is_not_waited_for() {
        let (mut far, near) = tokio::io::duplex(8000);
        let mut transport = LineTransport::new(near, tokio::io::sink(), 1000);
        let calls = transport.decoder.calls();
        let (id, _, refused) = calls.open(None).unwrap();
        let begun = Instant::now();
        far.write_all(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{}"#, "x".repeat(1500)).as_bytes())
            .await
            .unwrap();
        assert!(transport.receive().await.is_none());
        assert!(matches!(refused.await.unwrap(), Err(Failure::TooLarge(TooLarge { limit: 1000, .. }))));
        assert_eq!(begun.elapsed(), OVERDUE);
    }

    #[tokio::test]
    async fn a_line_too_long_that_answers_nobody_ends_the_stream_with_the_reason() {
        let input = format!("{}\n{{\"id\":0,\"jsonrpc\":\"2.0\",\"result\":{{}}}}\n", "x".repeat(5000));
        let mut transport = transport(input.as_bytes(), 1000);
        asked(&mut transport, 2).await;
        assert!(all(&mut transport).await.is_empty());
        let reason = transport.verdict().reason().unwrap();
        assert_eq!(reason, "the server sent a message of 5000 bytes; at most 1000 bytes are accepted");
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
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(async {
                let mut transport = transport(&input, limit);
                asked(&mut transport, 2).await;
                all(&mut transport).await;
            });
        }
    }
}
