//! Streamable HTTP against a scripted server on a loopback socket.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use mcp_core::*;
use mcp_transport::{Session, SessionOptions, TransportKind};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::support::*;

#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Request {
    fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }
}

/// Status line's end, headers, body.
struct Response(&'static str, Vec<(&'static str, String)>, String);

fn status(status: &'static str) -> Response {
    Response(status, Vec::new(), String::new())
}

fn answer(request: &Request, result: Value) -> Response {
    let body = json!({"jsonrpc": "2.0", "id": request.body["id"], "result": result}).to_string();
    Response("200 OK", vec![("content-type", "application/json".into())], body)
}

fn refuse(request: &Request, code: i64) -> Response {
    let error = json!({"code": code, "message": "no"});
    let body = json!({"jsonrpc": "2.0", "id": request.body["id"], "error": error}).to_string();
    Response("200 OK", vec![("content-type", "application/json".into())], body)
}

struct Web {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    /// Told when a connection was closed from the other side before it was answered.
    left: Arc<Notify>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves what `script` says; `None`: never answers.
async fn web(script: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
    let left: Arc<Notify> = Arc::default();
    let script = Arc::new(script);
    let (log, gone) = (seen.clone(), left.clone());
    let task = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (script, log, gone) = (script.clone(), log.clone(), gone.clone());
            connections.spawn(async move {
                let mut stream = BufReader::new(stream);
                while let Some(request) = read(&mut stream).await {
                    log.lock().unwrap().push(request.clone());
                    let Some(Response(status, headers, body)) = script(&request) else {
                        let _ = stream.read(&mut [0]).await;
                        gone.notify_one();
                        return;
                    };
                    let mut head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n", body.len());
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    let response = format!("{head}\r\n{body}");
                    if stream.get_mut().write_all(response.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Web { port, seen, left, task }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(Request { method, path, headers, body })
}

fn events(body: String) -> Response {
    Response("200 OK", vec![("content-type", "text/event-stream".into())], body)
}

/// A server of before 2026-07-28, without sessions.
fn legacy(request: &Request) -> Option<Response> {
    Some(match (request.method.as_str(), request.rpc()) {
        ("POST", "initialize") => answer(
            request,
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                   "serverInfo": {"name": "web", "version": "1"}}),
        ),
        ("POST", "tools/list") => answer(
            request,
            json!({"tools": [{"name": "echo", "inputSchema": {"type": "object"}}, {"name": "bad"},
                             {"name": "hang", "inputSchema": {"type": "object"}}]}),
        ),
        ("POST", "tools/call") => match request.body["params"]["name"].as_str() {
            Some("hang") => return None,
            Some("limit") => {
                Response("429 Too Many Requests", vec![("retry-after", "7".into())], String::new())
            }
            Some("broken") => status("502 Bad Gateway"),
            Some("login") => status("401 Unauthorized"),
            Some("challenge") => {
                Response("401 Unauthorized", vec![("www-authenticate", "Bearer".into())], String::new())
            }
            Some("forbidden") => status("403 Forbidden"),
            Some("scope") => {
                let challenge = r#"Bearer error="insufficient_scope", scope="tools:write""#;
                Response("403 Forbidden", vec![("www-authenticate", challenge.into())], String::new())
            }
            Some("page") => {
                Response("200 OK", vec![("content-type", "text/html".into())], "<html>hello</html>".into())
            }
            Some("stream") => {
                let message = json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {"content": []}});
                events(format!(": hello\n\nevent: message\ndata: {message}\n\n"))
            }
            Some("cut") => events(": hello\n\n".into()),
            Some("half") => events("event: message\ndata: {\"jsonrpc\":\"2.0\",\"id".into()),
            Some("huge") => {
                answer(request, json!({"content": [{"type": "text", "text": "x".repeat(200_000)}]}))
            }
            Some("odd") => answer(request, json!({"content": [{"type": "hologram", "x": 1}]})),
            _ => answer(
                request,
                json!({"content": [{"type": "text", "text": request.body["params"]["arguments"].to_string()}]}),
            ),
        },
        ("POST", _) if request.body.get("id").is_some() => refuse(request, -32601),
        ("POST", _) => status("202 Accepted"),
        _ => status("405 Method Not Allowed"),
    })
}

fn remote(web: &Web, host: &str, headers: &[(&str, &str)]) -> Admitted<RemoteSpec> {
    let url = format!("http://{host}:{}/mcp?key=hush-hush", web.port).parse().unwrap();
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Admitted::by_guard(RemoteSpec { url, headers })
}

async fn dial(web: &Web) -> Result<Session, ToolError> {
    let guard = Arc::new(Gatekeeper::default());
    soon(Session::http(name(), remote(web, "127.0.0.1", &[]), guard, SessionOptions::default())).await
}

#[tokio::test]
async fn a_legacy_server_lists_and_answers() {
    let web = web(legacy).await;
    let guard = Arc::new(Gatekeeper::default());
    let spec = remote(&web, "localhost", &[("Authorization", "Bearer sk-hush"), ("X-Team", "red")]);
    let session = soon(Session::http(name(), spec, guard, SessionOptions::default())).await.unwrap();
    assert_eq!(session.peer().transport, TransportKind::Http);
    assert_eq!(session.peer().protocol_version, "2025-11-25");
    let list = soon(session.list_tools()).await.unwrap();
    assert_eq!(list.tools.len(), 2);
    assert_eq!(list.dropped[0].name, "bad");
    let answer = soon(session.call_tool(&tool("echo"), object(json!({"b": 1, "a": 2})), None)).await.unwrap();
    assert_eq!(answer.to_text(), r#"{"b":1,"a":2}"#);
    let odd = soon(session.call_tool(&tool("odd"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(odd.content, [Content::Unknown(json!({"type": "hologram", "x": 1}))]);
    soon(session.close()).await;
    let seen = web.seen.lock().unwrap();
    assert!(seen.iter().all(|request| request.headers["authorization"] == "Bearer sk-hush"));
    assert!(seen.iter().all(|request| request.headers["x-team"] == "red"));
}

#[tokio::test]
async fn the_status_says_what_went_wrong() {
    let web = web(legacy).await;
    let session = dial(&web).await.unwrap();
    let cases = [
        ("limit", "server scripted asks to be left alone (HTTP status 429); try again in 7 s"),
        ("broken", "server scripted answered with HTTP status 502"),
        ("login", "server scripted requires authentication"),
        ("challenge", "server scripted requires authentication"),
        ("forbidden", "server scripted forbids this"),
        ("scope", "server scripted forbids this; it needs the scope \"tools:write\""),
    ];
    for (name, expected) in cases {
        let error = soon(session.call_tool(&tool(name), JsonObject::new(), None)).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = soon(session.call_tool(&tool("page"), JsonObject::new(), None)).await.unwrap_err();
    assert!(matches!(error, ToolError::NotMcp { .. }), "{error:?}");
    // None of it ended the session.
    soon(session.call_tool(&tool("echo"), JsonObject::new(), None)).await.unwrap();
}

#[tokio::test]
async fn a_login_is_asked_for_at_the_handshake_too() {
    let web = web(|_| {
        Some(Response("401 Unauthorized", vec![("www-authenticate", "Bearer".into())], String::new()))
    })
    .await;
    let error = dial(&web).await.unwrap_err();
    assert!(matches!(error, ToolError::AuthRequired { .. }), "{error:?}");
}

#[tokio::test]
async fn addresses_are_asked_about_however_they_are_written() {
    let web = web(legacy).await;
    let loopback = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
    for host in ["127.0.0.1", "localhost"] {
        let mut refusals = 0;
        for refused in loopback {
            let guard = Arc::new(Gatekeeper { refused: Some(refused) });
            match soon(Session::http(name(), remote(&web, host, &[]), guard, SessionOptions::default())).await
            {
                Err(ToolError::Refused { refusal, .. }) => {
                    assert_eq!(refusal.rule, "private-address");
                    refusals += 1;
                }
                // The name may have another address, where nothing listens.
                Err(ToolError::Connection { .. }) => refusals += 1,
                Err(other) => panic!("{other:?}"),
                Ok(_) => {}
            }
        }
        assert_eq!(refusals, 1, "{host}");
    }
    assert!(web.seen.lock().unwrap().iter().all(|request| request.method != "GET" || request.path != "/"));
}

#[tokio::test]
async fn nobody_listening_is_said_without_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("http://127.0.0.1:{port}/mcp?key=hush-hush").parse().unwrap();
    let spec = Admitted::by_guard(RemoteSpec { url, headers: BTreeMap::new() });
    let error = soon(Session::http(name(), spec, Arc::new(Gatekeeper::default()), SessionOptions::default()))
        .await
        .unwrap_err();
    assert!(matches!(error, ToolError::Connection { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}

#[tokio::test]
async fn headers_that_are_none_are_named_without_their_value() {
    let web = web(legacy).await;
    for (header, value) in [("x y", "v"), ("x-key", "hush\nhush")] {
        let guard = Arc::new(Gatekeeper::default());
        let spec = remote(&web, "127.0.0.1", &[(header, value)]);
        let error = soon(Session::http(name(), spec, guard, SessionOptions::default())).await.unwrap_err();
        assert!(error.to_string().contains(header) && !format!("{error:?}").contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn dropping_a_call_tells_a_legacy_server() {
    let web = web(legacy).await;
    let session = dial(&web).await.unwrap();
    {
        let hang = tool("hang");
        let call = session.call_tool(&hang, JsonObject::new(), None);
        tokio::pin!(call);
        // Asking for something else lets the server run.
        let sent = soon(async {
            while !web.seen.lock().unwrap().iter().any(|request| request.rpc() == "tools/call") {
                session.list_tools().await.unwrap();
            }
        });
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            () = sent => {}
        }
    }
    let seen = web.seen.clone();
    soon(async {
        while !seen.lock().unwrap().iter().any(|request| request.rpc() == "notifications/cancelled") {
            session.list_tools().await.unwrap();
        }
    })
    .await;
}

/// A server of 2026-07-28.
fn modern(request: &Request) -> Option<Response> {
    match request.rpc() {
        "server/discover" => Some(answer(
            request,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                   "ttlMs": 0, "cacheScope": "private"}),
        )),
        "initialize" => Some(refuse(request, -32022)),
        _ => legacy(request),
    }
}

#[tokio::test]
async fn a_modern_server_is_spoken_to_without_a_handshake() {
    let web = web(modern).await;
    let session = dial(&web).await.unwrap();
    assert_eq!(session.peer().protocol_version, "2026-07-28");
    soon(session.list_tools()).await.unwrap();
    let answer = soon(session.call_tool(&tool("echo"), object(json!({"a": 1})), None)).await.unwrap();
    assert_eq!(answer.to_text(), r#"{"a":1}"#);
    {
        let seen = web.seen.lock().unwrap();
        let call = seen.iter().find(|request| request.rpc() == "tools/call").unwrap();
        assert_eq!(call.headers["mcp-method"], "tools/call");
        assert_eq!(call.headers["mcp-name"], "echo");
        assert_eq!(call.headers["mcp-protocol-version"], "2026-07-28");
    }
    // A call is cancelled by closing its connection.
    let hang = tool("hang");
    {
        let call = session.call_tool(&hang, JsonObject::new(), None);
        tokio::pin!(call);
        let sent = soon(async {
            let hanging = |request: &Request| request.body["params"]["name"] == "hang";
            while !web.seen.lock().unwrap().iter().any(hanging) {
                session.list_tools().await.unwrap();
            }
        });
        tokio::select! {
            answer = &mut call => panic!("{answer:?}"),
            () = sent => {}
        }
    }
    soon(web.left.notified()).await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_its_call() {
    for script in [legacy, modern] {
        let web = web(script).await;
        let session = dial(&web).await.unwrap();
        soon(session.call_tool(&tool("stream"), JsonObject::new(), None)).await.unwrap();
        for name in ["cut", "half"] {
            let error = soon(session.call_tool(&tool(name), JsonObject::new(), None)).await.unwrap_err();
            assert!(matches!(error, ToolError::Connection { phase: Phase::Call, .. }), "{name}: {error:?}");
        }
        soon(session.call_tool(&tool("stream"), JsonObject::new(), None)).await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_too_long_costs_its_own_call_only() {
    let web = web(legacy).await;
    let mut options = SessionOptions::default();
    options.max_message_bytes = 100_000;
    let guard = Arc::new(Gatekeeper::default());
    let session = soon(Session::http(name(), remote(&web, "127.0.0.1", &[]), guard, options)).await.unwrap();
    let error = soon(session.call_tool(&tool("huge"), JsonObject::new(), None)).await.unwrap_err();
    assert!(matches!(error, ToolError::TooLarge { limit: 100_000, .. }), "{error:?}");
    soon(session.call_tool(&tool("echo"), JsonObject::new(), None)).await.unwrap();
}

#[tokio::test]
async fn a_session_that_expired_is_opened_again() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let web = web(move |request| {
        use std::sync::atomic::Ordering;
        if request.rpc() == "initialize" {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let mut response = legacy(request)?;
            response.1.push(("mcp-session-id", format!("session-{number}")));
            return Some(response);
        }
        let session = request.headers.get("mcp-session-id").map(String::as_str);
        if request.rpc() == "tools/call" && session == Some("session-1") {
            return Some(status("404 Not Found"));
        }
        legacy(request)
    })
    .await;
    let session = dial(&web).await.unwrap();
    let answer = soon(session.call_tool(&tool("echo"), object(json!({"a": 1})), None)).await.unwrap();
    assert_eq!(answer.to_text(), r#"{"a":1}"#);
    soon(session.close()).await;
    let seen = web.seen.lock().unwrap();
    let ended = seen.iter().find(|request| request.method == "DELETE").expect("the session is ended");
    assert_eq!(ended.headers["mcp-session-id"], "session-2");
}

#[tokio::test]
async fn redirects_elsewhere_are_not_followed() {
    let elsewhere = web(legacy).await;
    let port = elsewhere.port;
    let web = web(move |_| {
        let location = format!("http://127.0.0.1:{port}/mcp");
        Some(Response("307 Temporary Redirect", vec![("location", location)], String::new()))
    })
    .await;
    dial(&web).await.unwrap_err();
    assert!(elsewhere.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn redirects_at_home_are_followed() {
    let web = web(|request| {
        if request.path.starts_with("/mcp/") {
            return legacy(request);
        }
        Some(Response("307 Temporary Redirect", vec![("location", "/mcp/".into())], String::new()))
    })
    .await;
    let session = dial(&web).await.unwrap();
    soon(session.list_tools()).await.unwrap();
}
