//! What a server has besides tools, what it asks for, and results that take several rounds. Over HTTP and over stdio,
//! where tools take another road.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use massgen_testkit::{CallReply, Era, McpHttpServer, Outcome, ScriptedServer, ServerScript, ToolScript};
use mcp_core::*;
use mcp_transport::host::{
    Abilities, Elicitation, ElicitationReply, Host, Root, SamplingRefusal, SamplingReply, SamplingRequest,
};
use mcp_transport::oauth::{FileTokens, LoginKey, MemoryTokens, OAuthOptions, TokenStore};
use mcp_transport::{CompletionTarget, Session, SessionOptions};
use serde_json::{Value, json};

use crate::support::*;

fn script(era: Era) -> ServerScript {
    let mut script = ServerScript { era, ..ServerScript::default() };
    let results = json!({
        "resources/list": {"resources": [
            {"uri": "file:///a", "name": "a", "mimeType": "text/plain", "size": 3},
            {"name": "no address"},
            7,
            {"uri": "file:///b"},
        ]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///{name}", "name": "any"}]},
        "resources/read": {"contents": [
            {"uri": "file:///a", "mimeType": "text/plain", "text": "abc"},
            {"uri": "file:///a", "blob": "aGk="},
        ]},
        "prompts/list": {"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": true}, 3]}],
                         "nextCursor": "again"},
        "prompts/get": {"description": "d", "messages": [
            {"role": "user", "content": {"type": "text", "text": "Hello"}},
            {"role": "user", "content": {"type": "hologram"}},
        ]},
        "completion/complete": {"completion": {"values": ["Ada", "Alan"], "total": 12, "hasMore": true}},
    });
    script.results = object(results);
    script.capabilities = Some(json!({"tools": {}, "resources": {}, "prompts": {}, "completions": {}}));
    script
}

async fn over_http(server: &McpHttpServer, options: SessionOptions) -> Session {
    let spec = RemoteSpec { url: server.url().parse().unwrap(), headers: BTreeMap::new() };
    let spec = Admitted::by_guard(spec);
    soon(Session::http(name(), spec, Arc::new(Gatekeeper::default()), options)).await.unwrap()
}

async fn over_stdio(server: &ScriptedServer, options: SessionOptions) -> Session {
    let launch = LaunchSpec {
        program: server.program().display().to_string(),
        args: server.args(),
        ..LaunchSpec::default()
    };
    soon(start(launch, options)).await.unwrap()
}

#[tokio::test]
async fn resources_and_prompts_are_read_in_both_eras_and_bad_items_cost_themselves() {
    for era in [Era::Legacy, Era::Modern] {
        let server = ScriptedServer::new(&script(era));
        let session = over_stdio(&server, SessionOptions::default()).await;
        let resources = soon(session.list_resources()).await.unwrap();
        let found: Vec<_> =
            resources.items.iter().map(|r| (r.uri.as_str(), r.name.as_str(), r.size)).collect();
        assert_eq!(found, [("file:///a", "a", Some(3)), ("file:///b", "file:///b", None)]);
        let dropped: Vec<_> =
            resources.dropped.iter().map(|d| (d.name.as_str(), d.reason.as_str())).collect();
        assert_eq!(dropped, [("#2", "it has no uri"), ("#3", "it is not an object")]);

        let templates = soon(session.list_resource_templates()).await.unwrap();
        assert_eq!(templates.items[0].uri_template, "file:///{name}");
        let contents = soon(session.read_resource("file:///a")).await.unwrap();
        assert_eq!(contents[0].body, ResourceBody::Text("abc".into()));
        assert_eq!(contents[1].body, ResourceBody::Blob("aGk=".into()));

        let prompts = soon(session.list_prompts()).await.unwrap();
        // The same page for ever: it is taken twice, and no further.
        assert_eq!(prompts.items.len(), 2);
        assert!(prompts.truncated.is_some());
        assert!(prompts.items[0].arguments[0].required);
        let text =
            soon(session.prompt("greet", BTreeMap::from([("who".into(), "Ada".into())]))).await.unwrap();
        assert_eq!(text.messages[0].content, Content::text("Hello"));
        assert!(matches!(text.messages[1].content, Content::Unknown(_)));

        let target = CompletionTarget::Prompt("greet".into());
        let completion = soon(session.complete(&target, ("who", "A"), BTreeMap::new())).await.unwrap();
        assert_eq!((completion.values.len(), completion.total, completion.has_more), (2, Some(12), true));
        soon(session.close()).await;
    }
}

#[tokio::test]
async fn a_result_of_another_shape_is_malformed_and_an_error_stays_one() {
    let mut script = script(Era::Legacy);
    script.results.insert("resources/read".into(), json!({"content": []}));
    script.results.remove("prompts/get");
    let server = McpHttpServer::start(script);
    let session = over_http(&server, SessionOptions::default()).await;
    let error = soon(session.read_resource("file:///a")).await.unwrap_err();
    assert!(matches!(error, ToolError::Malformed { .. }), "{error}");
    let error = soon(session.prompt("greet", BTreeMap::new())).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32601, .. }), "{error}");
    soon(session.close()).await;
}

#[tokio::test]
async fn a_watched_resource_tells_of_itself_and_is_let_go() {
    let mut script = script(Era::Legacy);
    script.results.insert("resources/subscribe".into(), json!({}));
    script.results.insert("resources/unsubscribe".into(), json!({}));
    let server = McpHttpServer::start(script);
    let session = over_http(&server, SessionOptions::default()).await;
    let mut first = soon(session.watch_resource("file:///a")).await.unwrap();
    let second = soon(session.watch_resource("file:///a")).await.unwrap();
    drop(second);
    for uri in ["file:///b", "file:///a"] {
        server.announce(
            &json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}),
        );
    }
    assert!(soon(first.changed()).await);
    assert!(server.method("resources/unsubscribe").is_empty(), "one of two still watches");
    drop(first);
    let farewell = server.await_method("resources/unsubscribe").await;
    assert_eq!(farewell["params"]["uri"], json!("file:///a"));

    let mut last = soon(session.watch_resource("file:///a")).await.unwrap();
    soon(session.close()).await;
    assert!(!soon(last.changed()).await);
}

/// Answers everything, and keeps what it was asked.
#[derive(Default)]
struct Clerk {
    asked: Mutex<Vec<String>>,
    wrong: bool,
}

impl Host for Clerk {
    fn abilities(&self, _: &ServerName) -> Abilities {
        let mut abilities = Abilities::forms();
        (abilities.sampling, abilities.roots) = (true, true);
        abilities
    }

    fn elicit<'a>(&'a self, server: &'a ServerName, asked: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        self.asked.lock().unwrap().push(format!("{server}: {}", asked.message()));
        let mut values = asked.defaults();
        if self.wrong {
            values.insert("size".into(), json!("huge"));
        }
        Box::pin(std::future::ready(ElicitationReply::Accept(values)))
    }

    fn sample<'a>(
        &'a self,
        _: &'a ServerName,
        asked: SamplingRequest,
    ) -> BoxFuture<'a, Result<SamplingReply, SamplingRefusal>> {
        self.asked.lock().unwrap().push(format!("sample {:?}", asked.max_tokens));
        let reply = SamplingReply { content: Content::text("yes"), model: "m".into(), stop_reason: None };
        Box::pin(std::future::ready(Ok(reply)))
    }

    fn roots(&self, _: &ServerName) -> Vec<Root> {
        ["file:///work", "https://example.org"].map(|uri| Root { uri: uri.into(), name: None }).to_vec()
    }
}

fn with_host(host: Arc<Clerk>) -> SessionOptions {
    let mut options = SessionOptions::default();
    options.host = Some(host);
    options
}

fn asks(state: Option<&str>) -> CallReply {
    let mut result = json!({
        "resultType": "input_required",
        "inputRequests": {
            "form": {"method": "elicitation/create", "params": {
                "message": "Which size?",
                "requestedSchema": {"type": "object", "properties": {
                    "size": {"type": "string", "enum": ["s", "m"], "default": "m"}}},
            }},
            "words": {"method": "sampling/createMessage", "params": {
                "messages": [{"role": "user", "content": {"type": "text", "text": "?"}}], "maxTokens": 5}},
            "folders": {"method": "roots/list"},
        },
    });
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    CallReply::new(Outcome::Result(result))
}

fn asking(replies: impl IntoIterator<Item = CallReply>) -> ServerScript {
    let mut tool = ToolScript::new("order");
    for reply in replies {
        tool = tool.replies(reply);
    }
    ServerScript { era: Era::Modern, tools: vec![tool], ..ServerScript::default() }
}

#[tokio::test]
async fn a_server_that_asks_first_is_answered_and_asked_again() {
    let state = "opaque =?\u{e9} {\"x\":1}";
    let done = CallReply::new(Outcome::Text("ordered".into()));
    let script = asking([asks(Some(state)), asks(None), done]);
    let arguments = object(json!({"pizza": 1}));

    let server = McpHttpServer::start(script.clone());
    let host = Arc::new(Clerk::default());
    let session = over_http(&server, with_host(host.clone())).await;
    let output = soon(session.call_tool(&tool("order"), arguments.clone(), None)).await.unwrap();
    assert_eq!(output.to_text(), "ordered");
    let calls = server.method("tools/call");
    let ids: std::collections::BTreeSet<_> = calls.iter().map(|call| call["id"].to_string()).collect();
    assert_eq!((calls.len(), ids.len()), (3, 3), "each round has an id of its own");
    let expected = json!({
        "form": {"action": "accept", "content": {"size": "m"}},
        "words": {"role": "assistant", "content": {"type": "text", "text": "yes"}, "model": "m"},
        "folders": {"roots": [{"uri": "file:///work"}]},
    });
    assert_eq!(calls[0]["params"].get("inputResponses"), None);
    for call in &calls[1..] {
        assert_eq!(call["params"]["inputResponses"], expected);
        assert_eq!(call["params"]["arguments"], json!({"pizza": 1}));
    }
    assert_eq!(calls[1]["params"]["requestState"], json!(state));
    assert_eq!(calls[2]["params"].get("requestState"), None);
    assert_eq!(
        *host.asked.lock().unwrap(),
        ["scripted: Which size?", "sample Some(5)", "scripted: Which size?", "sample Some(5)"]
    );
    soon(session.close()).await;

    let server = ScriptedServer::new(&script);
    let session = over_stdio(&server, with_host(Arc::default())).await;
    let output = soon(session.call_tool(&tool("order"), arguments, None)).await.unwrap();
    assert_eq!(output.to_text(), "ordered");
    soon(session.close()).await;
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_not_sent() {
    let server = McpHttpServer::start(asking([asks(None), CallReply::new(Outcome::Text("ordered".into()))]));
    let host = Arc::new(Clerk { wrong: true, ..Clerk::default() });
    let session = over_http(&server, with_host(host)).await;
    soon(session.call_tool(&tool("order"), JsonObject::new(), None)).await.unwrap();
    let calls = server.method("tools/call");
    assert_eq!(calls[1]["params"]["inputResponses"]["form"], json!({"action": "cancel"}));
    soon(session.close()).await;
}

#[tokio::test]
async fn a_server_that_asks_for_what_was_not_offered_or_without_end_is_malformed() {
    let server = McpHttpServer::start(asking([asks(None)]));
    let session = over_http(&server, SessionOptions::default()).await;
    let error = soon(session.call_tool(&tool("order"), JsonObject::new(), None)).await.unwrap_err();
    assert!(error.to_string().contains("asks for input, which was not offered"), "{error}");
    assert_eq!(server.method("tools/call").len(), 1);
    soon(session.close()).await;

    let session = over_http(&server, with_host(Arc::default())).await;
    let error = soon(session.call_tool(&tool("order"), JsonObject::new(), None)).await.unwrap_err();
    assert!(error.to_string().contains("asked for input 10 times"), "{error}");
    assert_eq!(server.method("tools/call").len(), 11);
    soon(session.close()).await;
}

fn task(state: Value) -> ServerScript {
    let begun = json!({"resultType": "task", "taskId": "t-1", "status": "working", "pollIntervalMs": 1});
    let mut script = asking([CallReply::new(Outcome::Result(begun))]);
    script.results.insert("tasks/get".into(), state);
    script.results.insert("tasks/cancel".into(), json!({"resultType": "complete"}));
    script
}

#[tokio::test]
async fn a_promised_result_is_asked_for_until_it_is_there() {
    let result = json!({"content": [{"type": "text", "text": "at last"}], "isError": false});
    let cases = [
        (json!({"taskId": "t-1", "status": "completed", "result": result}), Ok("at last")),
        (
            json!({"taskId": "t-1", "status": "failed", "error": {"code": -32000, "message": "it broke"}}),
            Err("it broke"),
        ),
        (json!({"taskId": "t-1", "status": "cancelled"}), Err("it cancelled its task")),
        (json!({"taskId": "t-1", "status": "levitating"}), Err("not known")),
    ];
    for (state, expected) in cases {
        let server = McpHttpServer::start(task(state.clone()));
        let session = over_http(&server, SessionOptions::default()).await;
        let outcome = soon(session.call_tool(&tool("order"), JsonObject::new(), None)).await;
        match (outcome, expected) {
            (Ok(output), Ok(text)) => assert_eq!(output.to_text(), text),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{state}: {error}"),
            (outcome, _) => panic!("{state}: {outcome:?}"),
        }
        assert_eq!(server.method("tasks/get")[0]["params"]["taskId"], json!("t-1"));
        assert!(server.method("tasks/cancel").is_empty());
        soon(session.close()).await;
    }
}

#[tokio::test]
async fn a_task_that_nobody_waits_for_is_cancelled() {
    let server =
        McpHttpServer::start(task(json!({"taskId": "t-1", "status": "working", "pollIntervalMs": 1})));
    let session = over_http(&server, SessionOptions::default()).await;
    let name = tool("order");
    {
        let call = session.call_tool(&name, JsonObject::new(), None);
        tokio::pin!(call);
        tokio::select! {
            outcome = &mut call => panic!("{outcome:?}"),
            _ = server.await_method("tasks/get") => {}
        }
    }
    let cancelled = server.await_method("tasks/cancel").await;
    assert_eq!(cancelled["params"]["taskId"], json!("t-1"));
    soon(session.close()).await;
}

#[tokio::test]
async fn without_anybody_to_log_in_a_challenge_is_an_error_and_nobody_else_is_asked() {
    let options = massgen_testkit::McpHttpOptions { token: Some("t".into()), ..Default::default() };
    let server = McpHttpServer::with_options(script(Era::Legacy), options);
    let mut options = SessionOptions::default();
    options.oauth = Some(OAuthOptions::new(Arc::new(MemoryTokens::default())));
    let spec = RemoteSpec { url: server.url().parse().unwrap(), headers: BTreeMap::new() };
    let spec = Admitted::by_guard(spec);
    let opened = soon(Session::http(name(), spec, Arc::new(Gatekeeper::default()), options)).await;
    assert!(matches!(opened, Err(ToolError::AuthRequired { .. })), "{opened:?}");
}

#[tokio::test]
async fn a_login_that_was_kept_is_used() {
    let options = massgen_testkit::McpHttpOptions { token: Some("kept-token".into()), ..Default::default() };
    let server = McpHttpServer::with_options(script(Era::Legacy), options);
    let store = MemoryTokens::default();
    let key = LoginKey { issuer: None, resource: server.url().parse().unwrap() };
    let record = json!({"issuer": null, "client_id": "c", "client_secret": null, "redirect_uri": null,
        "scopes": [], "access_token": "kept-token", "refresh_token": null, "expires_at": null});
    store.save(&key, Some(record.to_string())).await.unwrap();
    let mut options = SessionOptions::default();
    options.oauth = Some(OAuthOptions::new(Arc::new(store)));
    let session = over_http(&server, options).await;
    soon(session.ping()).await.unwrap();
    soon(session.close()).await;
}

#[tokio::test]
async fn tokens_are_kept_in_files_of_the_user_alone() {
    let folder = std::env::temp_dir().join(format!("massgen-tokens-{}", std::process::id()));
    let deep = folder.join("deep");
    let store = FileTokens::new(&deep);
    let key = |issuer: &str, resource: &str| LoginKey {
        issuer: Some(issuer.to_owned()),
        resource: resource.parse().unwrap(),
    };
    let (here, there) = (key("https://one.example", "https://a.example/mcp"), "https://b.example/mcp");
    let files =
        || -> Vec<_> { std::fs::read_dir(&deep).unwrap().map(|entry| entry.unwrap().path()).collect() };
    assert_eq!(store.load(&here.resource).await.unwrap(), None);
    store.save(&here, Some("first".into())).await.unwrap();
    store.save(&here, Some("second".into())).await.unwrap();
    assert_eq!(store.load(&here.resource).await.unwrap().as_deref(), Some("second"));
    assert_eq!(store.load(&there.parse().unwrap()).await.unwrap(), None, "a server that moved");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&deep), 0o700);
        assert_eq!(mode(&files()[0]), 0o600);
    }
    // A login of another issuer takes its place, and so does one that was kept by a server's name.
    let named = json!({"resource": "https://a.example/mcp", "record": "older"});
    std::fs::write(deep.join("scripted.json"), named.to_string()).unwrap();
    store.save(&key("https://two.example", "https://a.example/mcp"), Some("third".into())).await.unwrap();
    assert_eq!((store.load(&here.resource).await.unwrap().as_deref(), files().len()), (Some("third"), 1));
    store.save(&here, None).await.unwrap();
    assert!(files().is_empty(), "{:?}", files());
    std::fs::write(deep.join("scripted.json"), named.to_string()).unwrap();
    assert_eq!(store.load(&here.resource).await.unwrap().as_deref(), Some("older"));
    // One that another program took away between the look at the folder and the look at the file.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("gone", deep.join("gone.json")).unwrap();
        assert_eq!(store.load(&here.resource).await.unwrap().as_deref(), Some("older"));
    }
    std::fs::write(deep.join("scripted.json"), "{").unwrap();
    let error = store.load(&here.resource).await.unwrap_err();
    assert!(error.to_string().contains("damaged") && !error.to_string().contains("older"), "{error}");
    std::fs::remove_dir_all(&folder).unwrap();
}
