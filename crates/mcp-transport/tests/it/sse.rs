//! The HTTP transport of revision 2024-11-05.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::http::{Body, HttpReply, HttpServer, Part};
use massgen_testkit::{McpSseServer, Outcome, PATIENCE, ServerScript, SseOptions, ToolScript};
use mcp_core::*;
use mcp_transport::oauth::{LoginKey, MemoryTokens, OAuthOptions, TokenStore};
use mcp_transport::{Session, SessionOptions, TransportKind};
use serde_json::json;
use tokio::sync::mpsc;

use crate::support::*;

fn script() -> ServerScript {
    ServerScript::new()
        .tool(ToolScript::new("greet").text("Hello, {name}!"))
        .tool(ToolScript::new("hang").replies(Outcome::Hang))
        .result(
            "tools/list",
            json!({"tools": [
                {"name": "greet", "inputSchema": {"type": "object"}},
                {"name": "bad"},
                {"name": "hang", "inputSchema": {"type": "object"}},
            ]}),
        )
}

async fn open_as(
    server: &McpSseServer,
    guard: Gatekeeper,
    headers: &[(&str, &str)],
    options: SessionOptions,
) -> Result<Session, ToolError> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let spec = RemoteSpec { url: server.url().parse().unwrap(), headers };
    let admitted = guard.admit_url(&name(), spec).unwrap();
    Session::sse(name(), admitted, Arc::new(guard), options).await
}

async fn open(server: &McpSseServer) -> Result<Session, ToolError> {
    open_as(server, Gatekeeper::default(), &[], SessionOptions::default()).await
}

#[tokio::test]
async fn a_login_that_was_kept_goes_with_the_stream_and_with_every_message() {
    let options = SseOptions { token: Some("kept-token".into()), ..SseOptions::default() };
    let server = McpSseServer::with_options(script(), options);
    let store = MemoryTokens::default();
    let mut options = SessionOptions::default();
    options.oauth = Some(OAuthOptions::new(Arc::new(MemoryTokens::default())));
    let opened = soon(open_as(&server, Gatekeeper::default(), &[], options.clone())).await;
    assert!(matches!(opened, Err(ToolError::AuthRequired { .. })), "{opened:?}");

    let record = json!({"issuer": null, "client_id": "c", "client_secret": null, "redirect_uri": null,
        "scopes": [], "access_token": "kept-token", "refresh_token": null, "expires_at": null});
    let key = LoginKey { issuer: None, resource: server.url().parse().unwrap() };
    store.save(&key, Some(record.to_string())).await.unwrap();
    options.oauth = Some(OAuthOptions::new(Arc::new(store)));
    let session = soon(open_as(&server, Gatekeeper::default(), &[], options)).await.unwrap();
    let answer = soon(session.call_tool(&tool("greet"), object(json!({"name": "Ada"})), None)).await.unwrap();
    assert_eq!(answer.to_text(), "Hello, Ada!");
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let server = McpSseServer::start(script());
    let session = open(&server).await.unwrap();
    assert_eq!(session.peer().transport, TransportKind::Sse);
    let list = session.list_tools().await.unwrap();
    assert_eq!(list.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["greet", "hang"]);
    assert_eq!(list.dropped[0].name, "bad", "a bad tool costs itself only here too");
    let before = session.received();
    let answer = session.call_tool(&tool("greet"), object(json!({"name": "Ada"})), None).await.unwrap();
    assert!(before > 0 && session.received() >= before + answer.to_text().len() as u64);
    assert_eq!(answer.to_text(), "Hello, Ada!");
    assert!(server.method("server/discover").is_empty(), "no server of this transport knows it");
    session.close().await;
    let stream = server.http().requests().into_iter().find(|request| request.method == "GET").unwrap();
    assert!(stream.until_abandoned().await, "closing the session closes its stream");
}

#[tokio::test]
async fn a_dropped_call_is_taken_back() {
    let server = McpSseServer::start(script());
    let session = open(&server).await.unwrap();
    let hang = tool("hang");
    let call = session.call_tool(&hang, JsonObject::new(), None);
    let asked = massgen_testkit::process::until(PATIENCE, || !server.method("tools/call").is_empty());
    tokio::select! {
        answer = call => panic!("{answer:?}"),
        asked = asked => assert!(asked),
    }
    let told = || !server.method("notifications/cancelled").is_empty();
    assert!(massgen_testkit::process::until(PATIENCE, told).await);
}

#[tokio::test]
async fn headers_go_with_the_stream_and_with_every_message() {
    let options = SseOptions { token: Some("open sesame".into()), ..SseOptions::default() };
    let server = McpSseServer::with_options(script(), options);
    let refused = open(&server).await.unwrap_err();
    assert!(matches!(refused, ToolError::AuthRequired { .. }), "{refused:?}");
    let headers = [("Authorization", "Bearer open sesame")];
    let session = open_as(&server, Gatekeeper::default(), &headers, SessionOptions::default()).await.unwrap();
    session.list_tools().await.unwrap();
}

#[tokio::test]
async fn messages_go_to_no_other_origin() {
    let elsewhere = McpSseServer::start(script());
    let other_port = elsewhere.url().replace("/sse", "/messages?session=s1");
    for endpoint in [other_port.as_str(), "//evil.example/messages", "https://127.0.0.1/messages", "http://"]
    {
        let options = SseOptions { endpoint: Some(endpoint.to_owned()), ..SseOptions::default() };
        let server = McpSseServer::with_options(script(), options);
        let error = open(&server).await.unwrap_err();
        assert!(
            matches!(&error, ToolError::Malformed { reason, .. } if reason.contains("address it gives")),
            "{endpoint}: {error:?}"
        );
        assert!(server.messages().is_empty() && elsewhere.http().requests().is_empty());
    }
}

#[tokio::test]
async fn the_whole_address_of_its_own_origin_is_as_good_as_a_path() {
    let stream: Arc<Mutex<Option<mpsc::UnboundedSender<Part>>>> = Arc::default();
    let server = HttpServer::start(Arc::new(move |request| {
        let mut stream = stream.lock().unwrap();
        let send = |stream: &mpsc::UnboundedSender<Part>, event: String| {
            stream.send(Part::Bytes(event.into_bytes())).unwrap();
        };
        if request.method == "GET" {
            let (sender, receiver) = mpsc::unbounded_channel();
            let host = request.header("host").unwrap();
            send(&sender, format!("event: endpoint\ndata: http://{host}/told\n\n"));
            *stream = Some(sender);
            return HttpReply::sse(Body::Channel(receiver));
        }
        let message = request.json();
        if let (Some(stream), "initialize") = (&*stream, message["method"].as_str().unwrap_or_default()) {
            let result = json!({"protocolVersion": "2024-11-05", "capabilities": {},
                "serverInfo": {"name": "whole", "version": "1"}});
            let answer = json!({"jsonrpc": "2.0", "id": message["id"], "result": result});
            send(stream, format!("data: {answer}\n\n"));
        }
        HttpReply::empty(if request.path == "/told" { 202 } else { 404 })
    }));
    let spec = RemoteSpec { url: server.url("/sse").parse().unwrap(), headers: BTreeMap::new() };
    let admitted = Admitted::by_guard(spec);
    let opened = Session::sse(name(), admitted, Arc::new(Gatekeeper::default()), SessionOptions::default());
    let session = soon(opened).await.unwrap();
    assert_eq!(session.peer().name.as_deref(), Some("whole"));
}

#[tokio::test]
async fn a_refused_address_is_never_dialled() {
    let server = McpSseServer::start(script());
    let guard = Gatekeeper { refused: Some([127, 0, 0, 1].into()) };
    let error = open_as(&server, guard, &[], SessionOptions::default()).await.unwrap_err();
    assert!(matches!(error, ToolError::Refused { .. }), "{error:?}");
    assert!(server.http().requests().is_empty());
}

#[tokio::test]
async fn what_is_no_stream_or_names_no_address_is_said_so() {
    let server = McpSseServer::start(script());
    let wrong = server.url().replace("/sse", "/mcp").parse().unwrap();
    let spec = RemoteSpec { url: wrong, headers: BTreeMap::new() };
    let guard = Gatekeeper::default();
    let admitted = guard.admit_url(&name(), spec).unwrap();
    let error = Session::sse(name(), admitted, Arc::new(guard), SessionOptions::default()).await.unwrap_err();
    assert!(matches!(error, ToolError::Http { status: 404, .. }), "{error:?}");

    let options = SseOptions { no_endpoint: true, ..SseOptions::default() };
    let server = McpSseServer::with_options(script(), options);
    let mut limits = SessionOptions::default();
    limits.startup_timeout = Duration::from_millis(50);
    let error = open_as(&server, Gatekeeper::default(), &[], limits).await.unwrap_err();
    assert!(matches!(error, ToolError::Timeout { phase: Phase::Handshake, .. }), "{error:?}");
}

#[tokio::test]
async fn the_end_of_the_stream_ends_the_session_and_its_calls() {
    let server = McpSseServer::start(script());
    let session = open(&server).await.unwrap();
    let hang = tool("hang");
    let ending = async {
        massgen_testkit::process::until(PATIENCE, || !server.method("tools/call").is_empty()).await;
        server.end_streams();
    };
    let (answer, ()) = tokio::join!(session.call_tool(&hang, JsonObject::new(), None), ending);
    assert!(matches!(answer, Err(ToolError::Connection { .. })), "{answer:?}");
    assert_eq!(session.closed().await, "the connection was lost");
}

#[tokio::test]
async fn an_event_without_end_ends_the_session() {
    let server = McpSseServer::start(script());
    let mut options = SessionOptions::default();
    options.max_message_bytes = 10_000;
    let session = open_as(&server, Gatekeeper::default(), &[], options).await.unwrap();
    server.write(&vec![b'x'; 20_000]);
    session.closed().await;
}

#[tokio::test]
async fn a_message_that_is_not_taken_fails_its_request() {
    let options = SseOptions { post_status: Some(503), ..SseOptions::default() };
    let server = McpSseServer::with_options(script(), options);
    let error = open(&server).await.unwrap_err();
    assert!(matches!(error, ToolError::Http { status: 503, .. }), "{error:?}");
}
