//! Doors for fuzz targets: what a server writes, without a server. For nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest, JsonRpcMessage, NumberOrString};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, ReadBuf, Sink};

use crate::decoder::Decoder;
use crate::framing::LineTransport;
use crate::http::heard::{self, Heard};
use crate::http::{Events, Unpack};
use crate::raw::{self, CallOutput, ListPage};

/// Input that arrives in pieces of one size.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.rest.len().min(self.size.max(1)).min(buffer.remaining());
        let (piece, rest) = self.rest.split_at(length);
        buffer.put_slice(piece);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

/// Reads a whole stream that arrives in pieces of `piece` bytes, while two requests wait for answers: what is passed
/// on, and why the stream ended early, where it did. `None`: there is no runtime to be had.
#[must_use]
pub fn stream(input: &[u8], piece: usize, limit: usize) -> Option<(Vec<String>, Option<String>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    Some(runtime.block_on(async {
        let read = Pieces { rest: input, size: piece };
        let mut transport: LineTransport<_, Sink> = LineTransport::new(read, tokio::io::sink(), limit);
        for id in 0..2 {
            let call = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new("t")));
            // What is written goes nowhere.
            let _ = transport.send(JsonRpcMessage::request(call, NumberOrString::Number(id))).await;
        }
        let mut messages = Vec::new();
        while let Some(message) = transport.receive().await {
            messages.extend(serde_json::to_string(&message).ok());
        }
        (messages, transport.verdict().reason())
    }))
}

/// Decodes one line, as what the protocol library gets and as each kind of answer that goes past it.
pub fn line(line: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.line(BytesMut::from(line));
    while decoder.next().is_some() {}
    let _ = raw::read::<CallOutput>(line);
    let _ = raw::read::<ListPage>(line);
}

/// Reads a stream of events that arrives in pieces of `piece` bytes: kind and data of each, and whether it was given up for
/// an event of more than `limit` bytes.
#[must_use]
pub fn events(input: &[u8], piece: usize, limit: usize) -> (Vec<(String, Vec<u8>)>, bool) {
    let mut events = Events::new(limit);
    let mut found = Vec::new();
    for piece in input.chunks(piece.max(1)) {
        events.push(piece);
        loop {
            match events.take() {
                Ok(Some(event)) => found.push((event.kind, event.data.to_vec())),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// Reads a body as what answers a request over HTTP, and decodes the answer.
pub fn body(body: &[u8]) {
    for heard in heard::all(Bytes::copy_from_slice(body), 7) {
        if let Heard::Answer(answer) = heard {
            let _ = raw::read::<CallOutput>(&answer);
            let _ = raw::read::<ListPage>(&answer);
        }
    }
}

/// Unpacks a body that arrives in pieces of `piece` bytes; `None` where it is given up.
#[must_use]
pub fn unpack(packed: &[u8], piece: usize) -> Option<Vec<u8>> {
    let (mut unpack, mut found) = (Unpack::default(), Vec::new());
    for piece in packed.chunks(piece.max(1)) {
        unpack.push(Bytes::copy_from_slice(piece));
        while let Some(bytes) = unpack.next().ok()? {
            found.extend_from_slice(&bytes);
        }
    }
    while let Some(bytes) = unpack.end().ok()? {
        found.extend_from_slice(&bytes);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_to_its_end_in_pieces() {
        let input =
            b"noise\n{\"jsonrpc\":\"2.0\",\"id\":0,\"result\":{}}\n{\"jsonrpc\":\"2.0\",\"method\":\"m\"}\n";
        let whole = stream(input, usize::MAX, 1000).unwrap();
        assert_eq!(whole.0.len(), 2);
        assert_eq!(stream(input, 1, 1000).unwrap(), whole);
        let (messages, reason) = stream(&[b'x'; 200], 7, 100).unwrap();
        assert!(messages.is_empty() && reason.is_none());
        line(input);
    }

    #[test]
    fn events_are_the_same_wherever_they_are_cut() {
        let input = b"id: 1\ndata: a\n\nevent: x\rdata: b\r\rdata: lost";
        let whole = events(input, usize::MAX, 100);
        assert_eq!(whole.0, [(String::new(), b"a".to_vec()), ("x".to_owned(), b"b".to_vec())]);
        assert_eq!(events(input, 1, 100), whole);
        assert!(events(&[b'x'; 200], 7, 100).1);
        body(input);
        assert_eq!((unpack(input, 3), unpack(b"", 1)), (None, Some(Vec::new())));
    }
}
