//! Connections without a pool's tasks: when one is used again, and when it must not be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use massgen_testkit::http::{Body, HttpReply, Part};
use mcp_core::*;
use mcp_transport::SessionOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::posts::{call, open, result, server};

#[tokio::test]
async fn a_stream_that_has_not_ended_costs_nobody_a_wait() {
    let streams: Arc<Mutex<Vec<mpsc::UnboundedSender<Part>>>> = Arc::default();
    let kept = streams.clone();
    let server = server(move |request, message| {
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let event = format!("data: {}\n\n", result(message, "here"));
        sender.send(Part::Bytes(event.into_bytes())).unwrap();
        let mut kept = kept.lock().unwrap();
        // The first answer's stream stays open; those after it end with the answer.
        if kept.is_empty() {
            kept.push(sender);
        }
        HttpReply::sse(Body::Channel(receiver))
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    for _ in 0..20 {
        assert_eq!(call(&session).await.unwrap().to_text(), "here");
    }
    let calls: Vec<u64> = server
        .requests()
        .iter()
        .filter(|r| r.json()["method"] == "tools/call")
        .map(|r| r.connection)
        .collect();
    assert!(!calls[1..].contains(&calls[0]), "an answer is still coming by it: {calls:?}");
    // It ends: whoever comes next may have the connection again.
    streams.lock().unwrap().clear();
}

/// Serves the handshake and calls over raw connections, each of which ends after so many requests without saying so before.
async fn forgetful(requests_each: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                for _ in 0..requests_each {
                    let Some(message) = request(&mut stream).await else { return };
                    let reply = reply(&message);
                    let head = format!("HTTP/1.1 {}\r\ncontent-length: {}\r\n", reply.0, reply.1.len());
                    let whole = format!("{head}content-type: application/json\r\n\r\n{}", reply.1);
                    if stream.get_mut().write_all(whole.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, connections)
}

async fn request(stream: &mut BufReader<tokio::net::TcpStream>) -> Option<Value> {
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.ok()?;
            return Some(serde_json::from_slice(&body).unwrap_or_default());
        }
    }
}

fn reply(message: &Value) -> (&'static str, String) {
    match message["method"].as_str() {
        Some("initialize") => {
            let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "forgetful", "version": "1"}});
            ("200 OK", json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
        }
        Some("tools/call") => ("200 OK", result(message, "here").to_string()),
        _ if message.is_null() => ("405 Method Not Allowed", String::new()),
        _ if message.get("id").is_none() => ("202 Accepted", String::new()),
        _ => {
            let error = json!({"code": -32601, "message": "no"});
            ("200 OK", json!({"jsonrpc": "2.0", "id": message["id"], "error": error}).to_string())
        }
    }
}

#[tokio::test]
async fn a_connection_that_ended_is_not_written_to() {
    let (url, connections) = forgetful(1).await;
    let session = open(&url, SessionOptions::default()).await;
    let before = connections.load(Ordering::SeqCst);
    for _ in 0..5 {
        assert_eq!(call(&session).await.unwrap().to_text(), "here");
        // The server is a task of this thread: it gets its turn, and so does whoever looks at the sockets.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(connections.load(Ordering::SeqCst) - before, 5);
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_and_only_so_far() {
    let server = server(|request, message| match (request.method.as_str(), request.path.as_str()) {
        ("POST", "/mcp") => HttpReply::empty(307).header("location", "/next?a=b"),
        ("POST", "/next") if request.query == "a=b" => HttpReply::json(200, &result(message, "moved")),
        _ => HttpReply::empty(405),
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    assert_eq!(call(&session).await.unwrap().to_text(), "moved");
    let round = crate::posts::server(|request, _| match request.method.as_str() {
        "POST" => HttpReply::empty(308).header("location", "/mcp"),
        _ => HttpReply::empty(405),
    });
    let session = open(&round.url("/mcp"), SessionOptions::default()).await;
    let error = call(&session).await.unwrap_err();
    assert!(matches!(error, ToolError::Http { status: 308, .. }), "{error:?}");
    let calls = round.requests().iter().filter(|r| r.json()["method"] == "tools/call").count();
    assert_eq!(calls, 5, "the call and four redirects");
}
