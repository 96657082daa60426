//! The scripted server over HTTP.

use massgen_testkit::{
    Answers, CallReply, HttpFault, LEGACY, MODERN, McpHttpOptions, McpHttpServer, Outcome, Progress, Quirk,
    ServerScript, ToolScript,
};
use serde_json::{Value, json};

use crate::client::{Answer, receive, send};

/// A client with a session.
struct Client<'a> {
    server: &'a McpHttpServer,
    session: Option<String>,
    more: Vec<(&'static str, String)>,
}

impl<'a> Client<'a> {
    fn new(server: &'a McpHttpServer) -> Self {
        Self { server, session: None, more: Vec::new() }
    }

    fn ready(server: &'a McpHttpServer) -> Self {
        let mut client = Self::new(server);
        let answer = client.request(1, "initialize", json!({"protocolVersion": LEGACY}));
        assert_eq!(answer.status, 200, "{answer:?}");
        client.session = answer.header("mcp-session-id").map(str::to_owned);
        client
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        let mut headers =
            vec![("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
        headers.extend(self.session.iter().map(|id| ("mcp-session-id", id.as_str())));
        headers.extend(self.more.iter().map(|(name, value)| (*name, value.as_str())));
        headers
    }

    fn open(&self, message: &Value) -> std::net::TcpStream {
        send(self.server.http(), "POST", "/mcp", &self.headers(), message.to_string().as_bytes())
    }

    fn request(&self, id: u64, method: &str, params: Value) -> Answer {
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        receive(self.open(&message)).expect("an answer")
    }

    fn call(&self, name: &str) -> Answer {
        self.request(7, "tools/call", json!({"name": name, "_meta": {"progressToken": "p"}}))
    }

    /// A modern request with its headers.
    fn modern(&mut self, method: &str, mut params: Value) -> Answer {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        self.more = vec![("mcp-protocol-version", MODERN.into()), ("mcp-method", method.into())];
        if let Some(name) = params["name"].as_str() {
            self.more.push(("mcp-name", name.into()));
        }
        self.request(9, method, params)
    }
}

/// The messages of a stream of events.
fn messages(answer: &Answer) -> Vec<Value> {
    let events = answer.events();
    events.iter().filter_map(|(_, data)| serde_json::from_str(data).ok()).collect()
}

fn script() -> ServerScript {
    let progress = CallReply::default().progress(Progress { count: 2, every_ms: 1 });
    ServerScript::new()
        .tool(ToolScript::new("slow").replies(progress))
        .tool(ToolScript::new("hang").replies(Outcome::Hang))
        .tool(ToolScript::new("die").replies(Outcome::Exit(1)))
}

#[test]
fn sessions_are_given_wanted_and_forgotten() {
    let server = McpHttpServer::start(script());
    let mut client = Client::ready(&server);
    assert!(client.session.is_some());
    let list = client.request(2, "tools/list", json!({}));
    assert_eq!(messages(&list)[0]["result"]["tools"].as_array().unwrap().len(), 3);
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(receive(client.open(&note)).unwrap().status, 202);
    server.forget_sessions();
    assert_eq!(client.request(3, "tools/list", json!({})).status, 404);
    assert_eq!(Client::new(&server).request(3, "tools/list", json!({})).status, 400);
    client = Client::ready(&server);
    assert_eq!(server.sessions(), 1);
    let bye = || receive(send(server.http(), "DELETE", "/mcp", &client.headers(), b"")).unwrap().status;
    assert_eq!((bye(), bye(), server.sessions()), (200, 404, 0));
    assert_eq!(server.method("initialize").len(), 2);

    let no_accept = [("content-type", "application/json"), ("accept", "application/json")];
    assert_eq!(receive(send(server.http(), "POST", "/mcp", &no_accept, b"{}")).unwrap().status, 406);
    assert_eq!(receive(send(server.http(), "POST", "/other", &no_accept, b"{}")).unwrap().status, 404);
}

#[test]
fn answers_are_streams_or_bodies() {
    let server = McpHttpServer::start(script());
    let answer = Client::ready(&server).call("slow");
    let all = messages(&answer);
    assert!(answer.complete);
    assert_eq!(all.len(), 3, "two of progress and the answer");
    assert_eq!(all[0]["params"], json!({"progressToken": "p", "progress": 1}));
    assert_eq!(all[2]["id"], 7);

    let options = McpHttpOptions { answers: Answers::Json, ..McpHttpOptions::default() };
    let server = McpHttpServer::with_options(script(), options);
    let answer = Client::ready(&server).call("slow");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.json()["result"]["isError"], false);
    assert_eq!(server.executed(), 1);
}

#[test]
fn faults_meet_the_requests_they_are_for() {
    let server = McpHttpServer::start(script());
    let client = Client::ready(&server);
    server.fail_method("tools/call", 1, HttpFault::status(429).retry_after(5));
    assert_eq!(client.request(2, "tools/list", json!({})).status, 200);
    let limited = client.call("slow");
    assert_eq!((limited.status, limited.header("retry-after")), (429, Some("5")));
    assert_eq!(client.call("slow").status, 200);
    assert_eq!(server.executed(), 1);
    server.fail(u32::MAX, HttpFault::status(503));
    for _ in 0..3 {
        assert_eq!(client.call("slow").status, 503);
    }
    server.heal();
    server.fail(1, HttpFault::html());
    assert_eq!(client.call("slow").header("content-type"), Some("text/html"));
    for (fault, executed) in [(HttpFault::Close, 1), (HttpFault::Reset, 1), (HttpFault::ResetAfterwards, 2)] {
        server.fail(1, fault);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "slow"}});
        assert!(receive(client.open(&message)).is_none());
        assert_eq!(server.executed(), executed);
    }
    server.fail(1, HttpFault::Cut(1));
    let cut = client.call("slow");
    assert_eq!((cut.complete, messages(&cut).len()), (false, 1));
    let died = client.call("die");
    assert_eq!((died.complete, messages(&died).len()), (false, 0));
}

#[test]
fn a_cut_stream_can_be_resumed() {
    let options = McpHttpOptions { resumable: true, retry_ms: Some(10), ..McpHttpOptions::default() };
    let server = McpHttpServer::with_options(script(), options);
    let mut client = Client::ready(&server);
    server.fail(1, HttpFault::Cut(1));
    let cut = client.call("slow");
    let text = String::from_utf8(cut.body.clone()).unwrap();
    assert!(text.starts_with("retry: 10\n\n"), "{text}");
    let last = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned();
    client.more = vec![("last-event-id", last)];
    let rest = receive(send(server.http(), "GET", "/mcp", &client.headers(), b"")).unwrap();
    let rest = messages(&rest);
    assert_eq!(rest.len(), 2);
    assert_eq!(rest[1]["id"], 7);
}

#[tokio::test]
async fn listeners_hear_of_changes_and_those_who_leave_are_seen() {
    let new = Quirk::NewToolAfter { calls: 1, tool: Box::new(ToolScript::new("late")) };
    let server = McpHttpServer::start(script().quirk(new));
    let client = Client::ready(&server);
    let stream = send(server.http(), "GET", "/mcp", &client.headers(), b"");
    let get = server.http().await_request(|r| r.method == "GET").await;
    client.call("slow");
    drop(stream);
    assert!(get.until_abandoned().await);

    let hanging =
        client.open(&json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "hang"}}));
    let post = server.http().await_request(|r| r.json()["id"] == 5).await;
    assert!(!post.is_abandoned());
    drop(hanging);
    assert!(post.until_abandoned().await);
}

#[test]
fn open_streams_end_with_the_server() {
    let new = Quirk::NewToolAfter { calls: 1, tool: Box::new(ToolScript::new("late")) };
    let server = McpHttpServer::start(script().quirk(new));
    let stream = {
        let client = Client::ready(&server);
        let stream = send(server.http(), "GET", "/mcp", &client.headers(), b"");
        assert!(massgen_testkit::process::until_blocking(massgen_testkit::PATIENCE, || {
            server.http().requests().iter().any(|r| r.method == "GET")
        }));
        client.call("slow");
        stream
    };
    drop(server);
    let heard = receive(stream).unwrap();
    assert!(String::from_utf8_lossy(&heard.body).contains("notifications/tools/list_changed"));
}

#[test]
fn a_cancelled_call_is_not_answered() {
    let slow = CallReply::default().delay_ms(60_000);
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::new("slow").replies(slow)));
    let client = Client::ready(&server);
    let stream =
        client.open(&json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "slow"}}));
    assert!(massgen_testkit::process::until_blocking(massgen_testkit::PATIENCE, || server.executed() == 1));
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}});
    receive(client.open(&cancel)).unwrap();
    assert!(messages(&receive(stream).unwrap()).is_empty());
}

#[test]
fn modern_requests_repeat_themselves_in_headers() {
    let server = McpHttpServer::start(script().modern());
    let mut client = Client::new(&server);
    let found = client.modern("server/discover", json!({}));
    assert_eq!(messages(&found)[0]["result"]["supportedVersions"], json!([MODERN]));
    let answer = client.modern("tools/call", json!({"name": "slow"}));
    assert_eq!(messages(&answer).last().unwrap()["result"]["resultType"], "complete");
    assert_eq!(client.modern("ping", json!({})).status, 404);
    // The headers of the call before do not fit this one.
    let stale = client.request(
        1,
        "tools/list",
        json!({"_meta": {"io.modelcontextprotocol/protocolVersion": MODERN}}),
    );
    assert_eq!((stale.status, stale.json()["error"]["code"].clone()), (400, json!(-32020)));
    client.more.clear();
    let old = client.request(1, "initialize", json!({"protocolVersion": LEGACY}));
    assert_eq!((old.status, old.json()["error"]["code"].clone()), (400, json!(-32022)));

    let server = McpHttpServer::start(script());
    let probe = Client::new(&server).modern("server/discover", json!({}));
    assert_eq!(probe.status, 404, "a legacy server knows no such method: {probe:?}");
}

#[test]
fn a_token_is_wanted() {
    let options = McpHttpOptions { token: Some("t0".into()), ..McpHttpOptions::default() };
    let server = McpHttpServer::with_options(script(), options);
    let mut client = Client::new(&server);
    let refused = client.request(1, "initialize", json!({"protocolVersion": LEGACY}));
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    client.more = vec![("authorization", "Bearer t0".into())];
    assert_eq!(client.request(1, "initialize", json!({"protocolVersion": LEGACY})).status, 200);
}
