//! Answers that come compressed.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use massgen_testkit::http::{Body, HttpReply, HttpServer, Part};
use mcp_core::*;
use mcp_transport::{Session, SessionOptions};
use serde_json::{Value, json};

use crate::posts::{open, result, server};
use crate::support::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// Pieces of a compressed stream, each of which can be unpacked when it arrives.
fn flushed(pieces: &[String]) -> Vec<Part> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let mut parts = Vec::new();
    for piece in pieces {
        encoder.write_all(piece.as_bytes()).unwrap();
        encoder.flush().unwrap();
        parts.push(Part::Bytes(std::mem::take(encoder.get_mut())));
    }
    parts
}

fn packed(kind: &str, body: Body) -> HttpReply {
    let mut reply = HttpReply::new(200, kind, "").header("content-encoding", "gzip");
    reply.body = body;
    reply
}

/// A server that answers as the argument `case` says.
fn squeezing() -> HttpServer {
    server(|request, message| {
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        let case = message["params"]["arguments"]["case"].as_str().unwrap_or_default();
        let bytes = message["params"]["arguments"]["bytes"].as_u64().unwrap_or_default() as usize;
        let text = |text: &str| result(message, text).to_string();
        let json = |bytes: Vec<u8>| packed("application/json", Body::Whole(bytes));
        // A body of just so many bytes.
        let exactly = |length: usize| text(&"x".repeat(length - text("").len()));
        let event = |message: Value| format!("data: {message}\n\n");
        match case {
            "json" => json(gzip(text("unpacked").as_bytes())),
            "exactly" => json(gzip(exactly(bytes).as_bytes())),
            "events" => {
                let more = json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": "info", "data": "first"}});
                let mut parts = flushed(&[event(more), event(result(message, "unpacked"))]);
                // The answer is there: the end need not be.
                parts.push(Part::Hang);
                packed("text/event-stream", Body::Parts(parts))
            }
            "bomb" => json(gzip(&vec![b' '; bytes])),
            "bomb of events" => packed("text/event-stream", Body::Whole(gzip(&vec![b'\n'; bytes]))),
            "cut" => {
                let mut whole = gzip(text("unpacked").as_bytes());
                whole.truncate(whole.len() - 3);
                json(whole)
            }
            "error" => {
                let error = json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": "no"}});
                let mut reply = json(gzip(error.to_string().as_bytes()));
                reply.head.as_mut().unwrap().0 = 400;
                reply
            }
            "other" => HttpReply::json(200, &result(message, "x")).header("content-encoding", "br"),
            other => panic!("{other}"),
        }
    })
}

async fn call(session: &Session, case: &str, bytes: usize) -> Result<ToolOutput, ToolError> {
    let arguments = object(json!({"case": case, "bytes": bytes}));
    soon(session.call_tool(&tool("do"), arguments, None)).await
}

#[tokio::test]
async fn bodies_and_streams_are_unpacked() {
    let server = squeezing();
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    for case in ["json", "events"] {
        assert_eq!(call(&session, case, 0).await.unwrap().to_text(), "unpacked", "{case}");
    }
    let error = call(&session, "error", 0).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32000, .. }), "{error:?}");
    let posted = server.requests().into_iter().find(|r| r.json()["method"] == "tools/call").unwrap();
    assert_eq!(posted.header("accept-encoding"), Some("identity"), "nothing is packed on one machine");
}

#[tokio::test]
async fn the_limit_counts_what_is_unpacked() {
    const LIMIT: usize = 100_000;
    let server = squeezing();
    let mut options = SessionOptions::default();
    options.max_message_bytes = LIMIT;
    let session = open(&server.url("/mcp"), options).await;
    assert!(call(&session, "exactly", LIMIT).await.is_ok());
    let error = call(&session, "exactly", LIMIT + 1).await.unwrap_err();
    assert!(matches!(&error, ToolError::TooLarge { limit: LIMIT, .. }), "{error:?}");
}

#[tokio::test]
async fn what_swells_is_cut_or_is_packed_otherwise_is_refused() {
    const MEGABYTE: usize = 1024 * 1024;
    let server = squeezing();
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    for (case, expected) in [
        ("bomb", "200 times"),
        ("bomb of events", "200 times"),
        ("cut", "cannot be unpacked"),
        ("other", "\"br\""),
    ] {
        match call(&session, case, 4 * MEGABYTE).await {
            Err(ToolError::Malformed { reason: what, .. } | ToolError::TooLarge { what, .. }) => {
                assert!(what.contains(expected), "{case}: {what}")
            }
            other => panic!("{case}: {other:?}"),
        }
        let calls = |r: &massgen_testkit::http::HttpRequest| r.json()["params"]["arguments"]["case"] == case;
        assert_eq!(server.requests().iter().filter(|r| calls(r)).count(), 1, "{case}");
    }
    // The session is none the worse for it.
    assert_eq!(call(&session, "json", 0).await.unwrap().to_text(), "unpacked");
}
