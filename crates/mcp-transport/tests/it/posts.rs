//! Requests over streamable HTTP: what a response brings, what a broken one costs, and which headers go out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::http::{Body, HttpReply, HttpRequest, HttpServer, Part};
use massgen_testkit::{
    CallReply, Era, HttpFault, McpHttpOptions, McpHttpServer, Outcome, Progress, ServerScript, ToolScript,
};
use mcp_core::*;
use mcp_transport::{Breach, BreachSink, Notice, Session, SessionOptions, TraceContext, TraceSource};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::*;

/// The stream that answers a call, and the call.
type Open = (mpsc::UnboundedSender<Part>, Value);

fn script(era: Era, reply: impl Into<CallReply>) -> ServerScript {
    ServerScript::new().era(era).tool(ToolScript::new("do").replies(reply))
}

pub(crate) async fn open(url: &str, options: SessionOptions) -> Session {
    let spec = RemoteSpec { url: url.parse().unwrap(), headers: BTreeMap::new() };
    soon(Session::http(name(), Admitted::by_guard(spec), Arc::new(Gatekeeper::default()), options))
        .await
        .unwrap()
}

pub(crate) async fn call(session: &Session) -> Result<ToolOutput, ToolError> {
    soon(session.call_tool(&tool("do"), JsonObject::new(), None)).await
}

#[tokio::test]
async fn a_list_of_32_mib_is_taken_and_one_byte_more_is_told() {
    const LIST: usize = 32 * 1024 * 1024;
    let length = Arc::new(AtomicUsize::new(LIST));
    let wanted = length.clone();
    // Each of its two pages is of half the length.
    let server = server(move |_, message| {
        if message["method"] != "tools/list" {
            return HttpReply::empty(405);
        }
        let is_second = message["params"]["cursor"] == "2";
        let page = |description: &str| {
            let name = if is_second { "b" } else { "a" };
            let mut result =
                json!({"tools": [{"name": name, "description": description, "inputSchema": {}}]});
            if !is_second {
                result["nextCursor"] = "2".into();
            }
            json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
        };
        let length = wanted.load(Ordering::SeqCst);
        let length = if is_second { length / 2 } else { length - length / 2 };
        let text = "x".repeat(length - page("").len());
        HttpReply::new(200, "application/json", page(&text))
    });
    let mut options = SessionOptions::default();
    options.max_message_bytes = LIST;
    let session = open(&server.url("/mcp"), options).await;
    let list = soon(session.list_tools()).await.unwrap();
    assert_eq!((list.tools.len(), list.truncated), (2, None));
    length.store(LIST + 1, Ordering::SeqCst);
    let list = soon(session.list_tools()).await.unwrap();
    assert_eq!(list.truncated.as_deref(), Some("the server's tools take more than 33554432 bytes"));
}

/// A server of 2025-11-25 that answers the handshake, and calls and lists as the test says.
pub(crate) fn server(
    calls: impl Fn(&HttpRequest, &Value) -> HttpReply + Send + Sync + 'static,
) -> HttpServer {
    server_of("2025-11-25", calls)
}

fn server_of(
    version: &'static str,
    calls: impl Fn(&HttpRequest, &Value) -> HttpReply + Send + Sync + 'static,
) -> HttpServer {
    HttpServer::start(Arc::new(move |request| {
        let message = request.json();
        match (request.method.as_str(), message["method"].as_str()) {
            ("POST", Some("initialize")) => HttpReply::json(
                200,
                &json!({"jsonrpc": "2.0", "id": message["id"], "result": {
                    "protocolVersion": version, "capabilities": {"tools": {}},
                    "serverInfo": {"name": "web", "version": "1"}}}),
            )
            .header("mcp-session-id", "s-1"),
            ("POST", Some("tools/call" | "tools/list")) | ("GET", _) => calls(request, &message),
            ("POST", _) if message.get("id").is_none() => HttpReply::empty(202),
            ("POST", _) => HttpReply::json(
                200,
                &json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}),
            ),
            _ => HttpReply::empty(405),
        }
    }))
}

/// A notice and an answer together.
fn array(message: &Value) -> Value {
    let notice =
        json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1}});
    json!([notice, result(message, "one of many")])
}

pub(crate) fn result(message: &Value, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [{"type": "text", "text": text}]}})
}

#[tokio::test]
async fn a_stream_brings_progress_questions_and_the_answer() {
    let open_call: Arc<Mutex<Option<Open>>> = Arc::default();
    let server = HttpServer::start(Arc::new(move |request| {
        let message = request.json();
        let event = |message: Value| Part::Bytes(format!("data: {message}\n\n").into_bytes());
        match message["method"].as_str() {
            Some("initialize") => HttpReply::json(
                200,
                &json!({"jsonrpc": "2.0", "id": message["id"], "result": {
                    "protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                    "serverInfo": {"name": "web", "version": "1"}}}),
            ),
            Some("tools/call") => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let token = &message["params"]["_meta"]["progressToken"];
                for progress in [1, 2] {
                    let params = json!({"progressToken": token, "progress": progress});
                    let report =
                        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                    sender.send(event(report)).unwrap();
                }
                sender.send(event(json!({"jsonrpc": "2.0", "id": "q1", "method": "roots/list"}))).unwrap();
                *open_call.lock().unwrap() = Some((sender, message.clone()));
                HttpReply::sse(Body::Channel(receiver))
            }
            None if message["id"] == "q1" => {
                let (sender, call) = open_call.lock().unwrap().take().unwrap();
                sender.send(event(result(&call, &message["error"]["code"].to_string()))).unwrap();
                HttpReply::empty(202)
            }
            _ if message["id"].is_null() => HttpReply::empty(202),
            _ => HttpReply::empty(405),
        }
    }));
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    let (sender, mut reports) = mpsc::channel(8);
    let output = soon(session.call_tool(&tool("do"), JsonObject::new(), Some(std::sync::Arc::new(sender))))
        .await
        .unwrap();
    // Nothing was offered, and the server is told so while it is at work.
    assert_eq!(output.to_text(), "-32601");
    let mut seen = Vec::new();
    while let Some(report) = soon(reports.recv()).await {
        seen.push(report.progress);
    }
    assert_eq!(seen, [1.0, 2.0], "and then nobody reports any longer");
}

#[tokio::test]
async fn one_after_the_other_use_one_connection_and_many_at_once_wait_for_nobody() {
    const MANY: usize = 128;
    let waiting: Arc<Mutex<Vec<Open>>> = Arc::default();
    let server = server({
        let waiting = waiting.clone();
        move |request, message| {
            if request.method != "POST" {
                return HttpReply::empty(405);
            }
            if message["params"]["arguments"].get("together").is_none() {
                return HttpReply::json(200, &result(message, "alone"));
            }
            // Nobody is answered before all have asked.
            let (sender, receiver) = mpsc::unbounded_channel();
            let mut waiting = waiting.lock().unwrap();
            waiting.push((sender, message.clone()));
            if waiting.len() == MANY {
                for (sender, message) in waiting.drain(..) {
                    sender.send(Part::Bytes(result(&message, "together").to_string().into_bytes())).unwrap();
                }
            }
            let mut reply = HttpReply::json(200, &Value::Null);
            reply.body = Body::Channel(receiver);
            reply
        }
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    call(&session).await.unwrap();
    let before = server.connections();
    for _ in 0..20 {
        call(&session).await.unwrap();
    }
    assert_eq!(server.connections(), before, "a connection is used again");

    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..MANY {
        let session = session.clone();
        calls.spawn(async move {
            session.call_tool(&tool("do"), object(json!({"together": true})), None).await.unwrap()
        });
    }
    let outputs = soon(calls.join_all()).await;
    assert!(outputs.iter().all(|output| output.to_text() == "together"));
    soon(session.close()).await;
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke_and_the_call_made_once() {
    let reply = CallReply::new(Outcome::Text("whole".into())).progress(Progress { count: 3, every_ms: 1 });
    let options = McpHttpOptions { resumable: true, retry_ms: Some(0), ..McpHttpOptions::default() };
    for cut in [1, 2] {
        let server = McpHttpServer::with_options(script(Era::Legacy, reply.clone()), options.clone());
        let session = open(&server.url(), SessionOptions::default()).await;
        server.fail_method("tools/call", 1, HttpFault::Cut(cut));
        let (sender, _reports) = mpsc::channel(8);
        let output =
            soon(session.call_tool(&tool("do"), JsonObject::new(), Some(std::sync::Arc::new(sender))))
                .await
                .unwrap();
        assert_eq!((output.to_text().as_str(), server.executed()), ("whole", 1));
        let requests = server.http().requests();
        let resumed: Vec<_> = requests.iter().filter_map(|r| r.header("last-event-id")).collect();
        assert_eq!(resumed.len(), 1, "{resumed:?}");
        let posted = requests.iter().filter(|r| r.json()["method"] == "tools/call").count();
        assert_eq!(posted, 1);
    }
}

#[tokio::test]
async fn an_answer_that_comes_by_another_stream_is_an_answer() {
    let call_id: Arc<Mutex<Option<Value>>> = Arc::default();
    let (asked, known) = (Arc::new(tokio::sync::Notify::new()), call_id.clone());
    let notify = asked.clone();
    let (stream, receiver) = mpsc::unbounded_channel();
    let receiver = Mutex::new(Some(receiver));
    let server = server(move |request, message| {
        if request.method == "GET" {
            // The stream for what is said unasked; a broken one is not taken up.
            return match receiver.lock().unwrap().take() {
                Some(receiver) if request.header("last-event-id").is_none() => {
                    HttpReply::sse(Body::Channel(receiver))
                }
                _ => HttpReply::sse(Body::Parts(vec![Part::Hang])),
            };
        }
        *known.lock().unwrap() = Some(message.clone());
        notify.notify_one();
        HttpReply::sse(Body::Whole(b"id: 1\nretry: 250\ndata:\n\n".to_vec()))
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    server.await_request(|request| request.method == "GET").await;
    let calling = tokio::spawn({
        let session = session.clone();
        async move { call(&session).await }
    });
    soon(asked.notified()).await;
    let answer = result(call_id.lock().unwrap().as_ref().unwrap(), "by another way");
    stream.send(Part::Bytes(format!("data: {answer}\n\n").into_bytes())).unwrap();
    assert_eq!(soon(calling).await.unwrap().unwrap().to_text(), "by another way");
}

#[tokio::test]
async fn a_stream_that_breaks_again_and_again_without_news_is_given_up() {
    let server = server(|request, _| {
        if request.method == "GET" && request.header("last-event-id").is_none() {
            return HttpReply::empty(405);
        }
        HttpReply::sse(Body::Whole(b"id: 1\nretry: 0\ndata:\n\n".to_vec()))
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    let begun = std::time::Instant::now();
    let error = call(&session).await.unwrap_err();
    assert!(matches!(error, ToolError::Connection { phase: Phase::Call, .. }), "{error:?}");
    let requests = server.requests();
    let resumed = requests.iter().filter(|r| r.header("last-event-id") == Some("1")).count();
    assert_eq!(resumed, 8);
    // However little the server wants to be left alone, it is left alone for a quarter of a second.
    assert!(begun.elapsed() >= Duration::from_millis(8 * 250));
}

/// Hands on what is no breach.
struct Notices(mpsc::UnboundedSender<Notice>);

impl BreachSink for Notices {
    fn breach(&self, _: &ServerName, breach: Breach) {
        panic!("{breach}");
    }

    fn notice(&self, _: &ServerName, notice: Notice) {
        self.0.send(notice).unwrap();
    }
}

#[tokio::test]
async fn a_time_to_wait_that_is_not_kept_to_is_told_once_whichever_stream_names_it() {
    const LEAST: Duration = Duration::from_millis(250);
    const MOST: Duration = Duration::from_secs(30);
    for (asked, kept) in
        [(0, LEAST), (249, LEAST), (250, LEAST), (30_000, MOST), (30_001, MOST), (u64::MAX, MOST)]
    {
        for listening in [false, true] {
            let stream = move || {
                HttpReply::sse(Body::Parts(vec![
                    Part::Bytes(format!("id: 1\nretry: {asked}\ndata:\n\n").into_bytes()),
                    Part::Hang,
                ]))
            };
            let server = server(move |request, message| match request.method.as_str() {
                "GET" if listening => stream(),
                "GET" => HttpReply::empty(405),
                _ if listening => HttpReply::json(200, &result(message, "well")),
                _ => {
                    let mut answer = format!("id: 1\nretry: {asked}\ndata:\n\n").into_bytes();
                    answer.extend(format!("data: {}\n\n", result(message, "well")).into_bytes());
                    HttpReply::sse(Body::Whole(answer))
                }
            });
            let (notices, mut told) = mpsc::unbounded_channel();
            let mut options = SessionOptions::default();
            options.breaches = Some(Arc::new(Notices(notices)));
            let session = open(&server.url("/mcp"), options).await;
            for _ in 0..2 {
                assert_eq!(call(&session).await.unwrap().to_text(), "well");
            }
            let asked = Duration::from_millis(asked);
            if asked != kept {
                assert_eq!(soon(told.recv()).await, Some(Notice::Retry { asked, kept }), "{listening}");
            }
            assert!(told.try_recv().is_err(), "{asked:?}, {listening}");
        }
    }
}

#[tokio::test]
async fn a_broken_stream_of_the_later_era_is_lost() {
    let options = McpHttpOptions { resumable: true, ..McpHttpOptions::default() };
    let server = McpHttpServer::with_options(script(Era::Modern, Outcome::Text("never".into())), options);
    let session = open(&server.url(), SessionOptions::default()).await;
    server.fail_method("tools/call", 1, HttpFault::Cut(0));
    let error = call(&session).await.unwrap_err();
    assert!(matches!(error, ToolError::Connection { phase: Phase::Call, .. }), "{error:?}");
    assert!(server.http().requests().iter().all(|r| r.header("last-event-id").is_none()));
    // The session is none the worse for it.
    call(&session).await.unwrap();
    assert!(server.method("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn many_calls_that_meet_a_lost_session_open_one_and_are_made_once() {
    let server = McpHttpServer::start(script(Era::Legacy, Outcome::Text("done".into())));
    let session = open(&server.url(), SessionOptions::default()).await;
    let mut changed = session.tools_changed();
    changed.mark_unchanged();
    server.forget_sessions();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let session = session.clone();
        calls.spawn(async move { call(&session).await.unwrap() });
    }
    let outputs = soon(calls.join_all()).await;
    assert!(outputs.iter().all(|output| output.to_text() == "done"));
    assert_eq!((server.executed(), server.sessions()), (8, 1));
    assert_eq!(server.method("initialize").len(), 2);
    // A server that lost its sessions may have other tools by now.
    soon(changed.changed()).await.unwrap();
    // From here on the new session is used directly.
    let before = server.http().requests().len();
    call(&session).await.unwrap();
    assert_eq!(server.http().requests().len(), before + 1);
}

#[tokio::test]
async fn a_response_that_is_no_answer_says_why() {
    let big = "x".repeat(2000);
    let server = server(move |request, message| {
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        let id = &message["id"];
        let sse = |text: String| HttpReply::sse(Body::Whole(text.into_bytes()));
        match message["params"]["arguments"]["case"].as_str().unwrap_or_default() {
            "taken" => HttpReply::empty(202),
            "squeezed" => HttpReply::json(200, &result(message, "x")).header("content-encoding", "gzip"),
            "foreign" => HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": 7, "result": {"content": []}})),
            "prose" => HttpReply::new(200, "application/json", "Hello there"),
            "nothing" => HttpReply::new(200, "application/json", ""),
            "large" => HttpReply::json(200, &result(message, &big)),
            "endless" => sse(format!("data: {}", "x".repeat(2000))),
            "both" => HttpReply::json(
                200,
                &json!({"jsonrpc": "2.0", "id": id, "result": {}, "error": {"code": 1, "message": "m"}}),
            ),
            "error" => HttpReply::json(
                500,
                &json!({"jsonrpc": "2.0", "id": null,
                "error": {"code": -32000, "message": "no room"}}),
            ),
            "array" => HttpReply::json(200, &array(message)),
            "arrays" => sse(format!("data: {}\n\n", array(message))),
            "noise" => sse(format!(": hello\n\ndata: noise\n\ndata: {}\n\n", result(message, "after noise"))),
            "spaced" => HttpReply::new(
                200,
                "application/json; charset=utf-8",
                serde_json::to_string_pretty(&result(message, "pretty")).unwrap(),
            ),
            other => panic!("{other}"),
        }
    });
    let mut options = SessionOptions::default();
    options.max_message_bytes = 1000;
    let session = open(&server.url("/mcp"), options).await;
    for (case, expected) in [
        ("taken", "answers nothing"),
        ("squeezed", "gzip"),
        ("foreign", "does not answer"),
        ("prose", "does not answer"),
        ("nothing", "does not answer"),
        ("large", "1000 bytes"),
        ("endless", "1000 bytes"),
        ("both", "both result and error"),
        ("array", "does not answer"),
        ("arrays", "does not answer"),
    ] {
        match soon(session.call_tool(&tool("do"), object(json!({"case": case})), None)).await {
            Err(error @ (ToolError::Malformed { .. } | ToolError::TooLarge { limit: 1000, .. })) => {
                assert!(error.to_string().contains(expected), "{case}: {error}")
            }
            other => panic!("{case}: {other:?}"),
        }
    }
    for (case, expected) in [("noise", "after noise"), ("spaced", "pretty")] {
        let output = soon(session.call_tool(&tool("do"), object(json!({"case": case})), None)).await.unwrap();
        assert_eq!(output.to_text(), expected);
    }
    let error =
        soon(session.call_tool(&tool("do"), object(json!({"case": "error"})), None)).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32000, .. }), "{error:?}");
}

#[tokio::test]
async fn an_array_is_several_messages_in_the_one_revision_that_knows_it() {
    let server = server_of("2025-03-26", |request, message| match request.method.as_str() {
        "POST" if message["params"]["arguments"]["streams"] == true => {
            HttpReply::sse(Body::Whole(format!("data: {}\n\n", array(message)).into_bytes()))
        }
        "POST" => HttpReply::json(200, &array(message)),
        _ => HttpReply::empty(405),
    });
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    for streams in [false, true] {
        let arguments = object(json!({"streams": streams}));
        let output = soon(session.call_tool(&tool("do"), arguments, None)).await.unwrap();
        assert_eq!(output.to_text(), "one of many");
    }
}

#[tokio::test]
async fn an_answer_that_stops_halfway_is_not_waited_for() {
    let server = server(|request, _| {
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        HttpReply::sse(Body::Parts(vec![Part::Bytes(b"data: {\"jsonrpc\"".to_vec()), Part::Hang]))
    });
    let mut options = SessionOptions::default();
    options.read_timeout = Some(Duration::from_millis(20));
    let session = open(&server.url("/mcp"), options).await;
    let error = call(&session).await.unwrap_err();
    assert!(matches!(error, ToolError::Connection { phase: Phase::Call, .. }), "{error:?}");
}

#[tokio::test]
async fn a_call_ends_with_its_session() {
    let server = McpHttpServer::start(script(Era::Legacy, Outcome::Hang));
    let session = open(&server.url(), SessionOptions::default()).await;
    let calling = tokio::spawn({
        let session = session.clone();
        async move { call(&session).await }
    });
    server.await_method("tools/call").await;
    soon(session.close()).await;
    let error = soon(calling).await.unwrap().unwrap_err();
    assert!(matches!(error, ToolError::Connection { .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused_and_nothing_arrives_there() {
    let elsewhere = server(|_, message| HttpReply::json(200, &result(message, "stolen")));
    let place = elsewhere.url("/mcp");
    let server = server(move |_, _| HttpReply::empty(307).header("location", &place));
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    match call(&session).await {
        Err(ToolError::Refused { refusal, .. }) => assert_eq!(refusal.rule, "url-origin"),
        other => panic!("{other:?}"),
    }
    assert!(elsewhere.requests().is_empty());
}

/// A tool whose argument is repeated in a header, and one that wants it wrongly.
fn mirrored(header: &str) -> Value {
    json!([
        {"name": "do", "inputSchema": {"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": header}}}},
        {"name": "wrong", "inputSchema": {"type": "object", "x-mcp-header": "Root"}},
    ])
}

/// A server of 2026-07-28 that insists on its headers, and wants another one after the first list.
fn strict(lists: Arc<Mutex<u32>>) -> HttpServer {
    HttpServer::start(Arc::new(move |request| {
        let message = request.json();
        let answer = |result: Value| {
            HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
        };
        match message["method"].as_str() {
            Some("server/discover") => answer(json!({
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete",
                "ttlMs": 0, "cacheScope": "private"})),
            Some("tools/list") => {
                let mut lists = lists.lock().unwrap();
                *lists += 1;
                let header = if *lists == 1 { "Region" } else { "Area" };
                answer(
                    json!({"tools": mirrored(header), "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}),
                )
            }
            Some("tools/call") if request.header("mcp-param-area") == Some("north") => {
                answer(json!({"content": [{"type": "text", "text": "moved"}], "resultType": "complete"}))
            }
            Some("tools/call") => HttpReply::json(
                400,
                &json!({"jsonrpc": "2.0", "id": message["id"],
                "error": {"code": -32020, "message": "Mcp-Param-Area is missing"}}),
            ),
            _ => HttpReply::empty(405),
        }
    }))
}

#[tokio::test]
async fn headers_repeat_what_the_schema_wants_and_a_stale_schema_is_read_again_once() {
    let lists = Arc::default();
    let server = strict(Arc::clone(&lists));
    let session = open(&server.url("/mcp"), SessionOptions::default()).await;
    let list = soon(session.list_tools()).await.unwrap();
    let names: Vec<_> = list.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!((names.as_slice(), list.dropped[0].name.as_str()), (["do"].as_slice(), "wrong"));
    let mut changed = session.tools_changed();
    changed.mark_unchanged();
    let arguments = object(json!({"region": "north"}));
    let output = soon(session.call_tool(&tool("do"), arguments.clone(), None)).await.unwrap();
    assert_eq!(output.to_text(), "moved");
    assert!(changed.has_changed().unwrap(), "whoever keeps the list learns that it is out of date");
    assert_eq!(*lists.lock().unwrap(), 2);
    let calls: Vec<_> =
        server.requests().into_iter().filter(|r| r.json()["method"] == "tools/call").collect();
    assert_eq!(calls.len(), 2);
    for call in &calls {
        assert_eq!(call.header("mcp-method"), Some("tools/call"));
        assert_eq!(call.header("mcp-name"), Some("do"));
        assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
    }
    assert_eq!(calls[0].header("mcp-param-region"), Some("north"));
    // A server that is never satisfied is asked no third time.
    let south = object(json!({"region": "south"}));
    let error = soon(session.call_tool(&tool("do"), south, None)).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32020, .. }), "{error:?}");
    let calls = server.requests().iter().filter(|r| r.json()["method"] == "tools/call").count();
    assert_eq!(calls, 4);
}

struct Trace;

impl TraceSource for Trace {
    fn current(&self) -> Option<TraceContext> {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned();
        Some(TraceContext { parent, state: Some("massgen=\"1\"".to_owned()) })
    }
}

#[tokio::test]
async fn trace_and_log_level_go_with_each_call() {
    for era in [Era::Legacy, Era::Modern] {
        let server = McpHttpServer::start(script(era, Outcome::Text("ok".into())));
        let mut options = SessionOptions::default();
        options.trace = Some(Arc::new(Trace));
        let session = open(&server.url(), options).await;
        if era == Era::Modern {
            soon(session.set_log_level("warning")).await.unwrap();
        }
        call(&session).await.unwrap();
        let meta = &server.method("tools/call")[0]["params"]["_meta"];
        assert_eq!(meta["traceparent"], "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!(meta["tracestate"], "massgen=\"1\"");
        if era == Era::Modern {
            assert_eq!(meta["io.modelcontextprotocol/logLevel"], "warning");
            assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        }
    }
}

#[tokio::test]
async fn a_watched_resource_of_the_later_era_tells_of_itself() {
    let mut script = script(Era::Modern, Outcome::Echo);
    script.capabilities = Some(json!({"tools": {}, "resources": {"subscribe": true}}));
    let server = McpHttpServer::start(script);
    let session = open(&server.url(), SessionOptions::default()).await;
    let mut watch = soon(session.watch_resource("file:///a")).await.unwrap();
    let listen = server.await_method("subscriptions/listen").await;
    let id = &listen["id"];
    server.announce(&json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {
        "uri": "file:///a", "_meta": {"io.modelcontextprotocol/subscriptionId": id}}}));
    assert!(soon(watch.changed()).await);
    drop(watch);
    let listening =
        server.http().requests().into_iter().find(|r| r.json()["method"] == "subscriptions/listen");
    assert!(soon(listening.unwrap().until_abandoned()).await, "its stream is closed");
}
