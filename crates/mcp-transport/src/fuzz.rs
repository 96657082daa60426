//! Doors for fuzz targets: what a server writes, without a server. For nothing else.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_util::FutureExt;
use rmcp::model::{CallToolRequest, CallToolRequestParams, ClientRequest, JsonRpcMessage, NumberOrString};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, ReadBuf, Sink};

use crate::decoder::Decoder;
use crate::framing::LineTransport;
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
/// on, and why the stream ended early, where it did. `None`: it did not end, which must not be.
#[must_use]
pub fn stream(input: &[u8], piece: usize, limit: usize) -> Option<(Vec<String>, Option<String>)> {
    let read = Pieces { rest: input, size: piece };
    let mut transport: LineTransport<_, Sink> = LineTransport::new(read, tokio::io::sink(), limit);
    for id in 0..2 {
        let call = ClientRequest::CallToolRequest(CallToolRequest::new(CallToolRequestParams::new("t")));
        let _ = transport.send(JsonRpcMessage::request(call, NumberOrString::Number(id))).now_or_never()?;
    }
    let mut messages = Vec::new();
    while let Some(message) = transport.receive().now_or_never()? {
        messages.extend(serde_json::to_string(&message).ok());
    }
    Some((messages, transport.verdict().reason()))
}

/// Decodes one line, as what the protocol library gets and as each kind of answer that goes past it.
pub fn line(line: &[u8]) {
    let mut decoder = Decoder::default();
    decoder.line(BytesMut::from(line));
    while decoder.next().is_some() {}
    let _ = raw::read::<CallOutput>(line);
    let _ = raw::read::<ListPage>(line);
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
}
