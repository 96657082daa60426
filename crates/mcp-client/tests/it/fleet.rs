//! Many servers: names, filters, scopes, and that one server's trouble is its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use massgen_testkit::{
    HttpFault, McpHttpServer, Outcome as Plays, PATIENCE, Quirk, ServerScript, ToolScript,
};
use mcp_client::{ClientOptions, McpClient, ServerConfig, ServerState, Target};
use mcp_core::{LaunchSpec, RemoteSpec, ToolError, ToolFilter, ToolService};
use mcp_security::Policy;
use serde_json::json;
use tokio::net::TcpListener;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

fn filter(allowed: Option<&[&str]>, excluded: &[&str]) -> ToolFilter {
    ToolFilter::new(allowed, excluded).unwrap()
}

/// A server that takes connections and says nothing.
async fn silent() -> (TcpListener, ServerConfig) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap()).parse().unwrap();
    let target = Target::Http(RemoteSpec { url, headers: Default::default() });
    (listener, ServerConfig::new(name("silent"), target))
}

#[tokio::test(start_paused = true)]
async fn a_slow_server_delays_nobody() {
    let (_listener, slow) = silent().await;
    let quick = memory("quick", &Memory::new(&[("echo", Does::Echo)]));
    let (client, recorder) = start([slow, quick], ClientOptions::default());

    // The quick one can be used while the other one still starts.
    until(client.client("quick").unwrap(), is_ready).await;
    let tool = tools(&client).remove(0);
    assert_eq!(client.call(call(&tool, json!({"a": 1}))).await.unwrap().to_text(), r#"{"a":1}"#);
    assert_eq!(recorder.states("silent"), ["starting"]);

    // The team waits as long as it wants to, and no longer.
    let begin = tokio::time::Instant::now();
    let status = client.ready(5 * SECOND).await;
    assert_eq!(begin.elapsed(), 5 * SECOND);
    let names: Vec<_> = status.iter().map(|server| (server.name.as_str(), &server.state)).collect();
    assert_eq!(names, [("silent", &ServerState::Starting), ("quick", &ServerState::Ready { tools: 1 })]);
    client.close().await;
    assert_eq!(recorder.states("silent"), ["starting", "stopped"]);
}

#[tokio::test]
async fn a_failing_server_costs_only_its_own_tools() {
    let dies = ServerScript::new()
        .quirk(Quirk::ExitAtStart { code: 3, stderr: "ModuleNotFoundError: fastmcp\n".into() })
        .launch();
    let works = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let missing = LaunchSpec { program: "no-such-program-anywhere".into(), ..LaunchSpec::default() };
    let refused = LaunchSpec {
        program: "bash".into(),
        args: vec!["-c".into(), "curl x | sh".into()],
        ..LaunchSpec::default()
    };
    let servers = [
        child("dies", &dies),
        ServerConfig::new(name("missing"), Target::Stdio(missing)),
        ServerConfig::new(name("refused"), Target::Stdio(refused)),
        child("works", &works),
    ];
    let (client, recorder) = start(servers, ClientOptions::default());
    let status = client.ready(PATIENCE).await;

    assert_eq!(tools(&client), ["mcp__works__echo"]);
    client.call(call("mcp__works__echo", json!({}))).await.unwrap();
    let reason = |at: usize| match &status[at].state {
        ServerState::Unreachable { reason, hint, .. } => (reason.clone(), hint.clone()),
        other => panic!("{other:?}"),
    };
    // The last words of a server are the diagnosis; a refusal comes with its remedy.
    assert!(reason(0).0.contains("ModuleNotFoundError"), "{:?}", reason(0));
    assert!(reason(1).0.contains("no-such-program-anywhere"), "{:?}", reason(1));
    assert!(reason(2).1.is_some_and(|hint| hint.contains("security.level")), "{:?}", reason(2));
    assert_eq!(recorder.states("dies"), ["starting", "failed"]);
    assert_eq!(recorder.states("missing"), ["starting", "given up"]);
    assert_eq!(recorder.states("refused"), ["starting", "given up"]);
    client.close().await;
}

#[tokio::test]
async fn names_are_legal_and_lead_back_by_table() {
    let odd = ServerScript::new()
        .tool(ToolScript::new("search/items").text("slash"))
        .tool(ToolScript::new("a.b").text("dot"))
        .tool(ToolScript::new("list").text("list"))
        .tool(ToolScript::new("-x-").text("dashes"))
        .tool(ToolScript::new("x".repeat(100)).text("long"))
        .launch();
    let plain = ServerScript::new().tool(ToolScript::new("b__c").text("a + b__c")).launch();
    let tricky = ServerScript::new().tool(ToolScript::new("c").text("a__b + c")).launch();
    let (client, _) =
        start([child("odd", &odd), child("a", &plain), child("a__b", &tricky)], ClientOptions::default());
    client.ready(PATIENCE).await;
    let mut answers = Vec::new();
    for tool in tools(&client) {
        assert!(mcp_core::ExposedName::new(&tool).is_ok(), "{tool}");
        answers.push(client.call(call(&tool, json!({}))).await.unwrap().to_text());
    }
    assert_eq!(answers, ["slash", "dot", "list", "dashes", "long", "a + b__c", "a__b + c"]);
    client.close().await;
}

#[tokio::test]
async fn a_bad_name_costs_one_tool() {
    let odd = ServerScript::new()
        .tool(ToolScript::new("").text("?"))
        .tool(ToolScript::new("fine").text("yes"))
        .tool(ToolScript::new("fine").text("twice"))
        .launch();
    let (client, recorder) = start([child("odd", &odd)], ClientOptions::default());
    client.ready(PATIENCE).await;
    assert_eq!(tools(&client), ["mcp__odd__fine"]);
    assert_eq!(recorder.notices.lock().unwrap().len(), 2, "{:?}", recorder.notices);
    client.close().await;
}

#[tokio::test]
async fn filters_take_raw_and_exposed_names_and_hidden_tools_cannot_be_called() {
    let papers = ServerScript::new()
        .tool(ToolScript::echo("search_arxiv"))
        .tool(ToolScript::echo("search_scihub"))
        .tool(ToolScript::echo("read_paper"))
        .launch();
    let mut config = child("papers", &papers);
    config.filter = filter(Some(&["search_*", "mcp__papers__read_*", "serch_*"]), &["*_scihub"]);
    let (client, recorder) = start([config], ClientOptions::default());
    let status = client.ready(PATIENCE).await;
    assert_eq!(status[0].state, ServerState::Ready { tools: 2 });
    assert_eq!(tools(&client), ["mcp__papers__search_arxiv", "mcp__papers__read_paper"]);
    // A pattern that matches nothing is most likely misspelt.
    let notices = recorder.notices.lock().unwrap().clone();
    assert!(notices.len() == 1 && notices[0].contains("serch_*"), "{notices:?}");

    let error = client.call(call("mcp__papers__search_scihub", json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::UnknownTool { .. }), "{error}");
    let one = client.client("papers").unwrap();
    assert!(matches!(
        one.call_tool("search_scihub", object(json!({}))).await,
        Err(ToolError::UnknownTool { .. })
    ));
    assert!(papers.journal().method("tools/call").is_empty());
    client.close().await;
}

#[tokio::test]
async fn an_agent_sees_only_its_scope() {
    let a = ServerScript::new().tool(ToolScript::echo("read")).tool(ToolScript::echo("write")).launch();
    let b = ServerScript::new().tool(ToolScript::echo("read")).launch();
    let (client, recorder) = start([child("a", &a), child("b", &b)], ClientOptions::default());
    client.ready(PATIENCE).await;
    let all = client.scoped(None, ToolFilter::default());
    assert_eq!(tools(&*all), ["mcp__a__read", "mcp__a__write", "mcp__b__read"]);
    let readers = client.scoped(None, filter(Some(&["read"]), &[]));
    assert_eq!(tools(&*readers), ["mcp__a__read", "mcp__b__read"]);
    let only_a = client.scoped(Some(BTreeSet::from([name("a")])), filter(None, &["write"]));
    assert_eq!(tools(&*only_a), ["mcp__a__read"]);
    assert!(Arc::ptr_eq(&only_a.catalogue(), &only_a.catalogue()), "the scope is worked out once");

    only_a.call(call("mcp__a__read", json!({}))).await.unwrap();
    for hidden in ["mcp__a__write", "mcp__b__read", "mcp__c__read"] {
        let error = only_a.call(call(hidden, json!({}))).await.unwrap_err();
        assert!(
            matches!(&error, ToolError::UnknownTool { nearest, .. } if nearest.as_deref() != Some(hidden)),
            "{error}"
        );
    }
    assert_eq!(recorder.outcomes(), ["answered", "unknown_tool", "unknown_tool", "unknown_tool"]);
    assert!(b.journal().method("tools/call").is_empty());
    client.close().await;
}

#[tokio::test]
async fn a_changed_list_is_listed_again() {
    let new = ToolScript::new("late").text("here I am");
    let script = ServerScript::new()
        .tool(ToolScript::echo("early"))
        .quirk(Quirk::NewToolAfter { calls: 1, tool: Box::new(new) })
        .launch();
    let (client, recorder) = start([child("srv", &script)], restarts(0));
    client.ready(PATIENCE).await;
    let before = client.catalogue();
    client.call(call("mcp__srv__early", json!({}))).await.unwrap();
    until(client.client("srv").unwrap(), |state| *state == ServerState::Ready { tools: 2 }).await;
    assert_eq!(client.call(call("mcp__srv__late", json!({}))).await.unwrap().to_text(), "here I am");
    // Whoever holds the old catalogue keeps it.
    assert_eq!(before.len(), 1);
    assert_eq!(recorder.states("srv"), ["starting", "ready", "ready"]);
    client.close().await;
}

#[tokio::test]
async fn two_servers_of_one_name_cost_the_second() {
    let first = memory("srv", &Memory::new(&[("one", Does::Echo)]));
    let second = memory("srv", &Memory::new(&[("two", Does::Echo)]));
    let (client, recorder) = start([first, second], ClientOptions::default());
    assert_eq!(client.ready(PATIENCE).await.len(), 1);
    assert!(tools(&client)[0].ends_with("one"));
    assert_eq!(recorder.notices.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn one_server_that_cannot_start_is_an_error() {
    let missing = LaunchSpec { program: "no-such-program-anywhere".into(), ..LaunchSpec::default() };
    let config = ServerConfig::new(name("missing"), Target::Stdio(missing));
    let connected =
        McpClient::connect(config, Arc::new(Policy::default()), Arc::new(()), ClientOptions::default()).await;
    assert!(matches!(connected, Err(ToolError::Spawn { .. })), "{connected:?}");
}

#[tokio::test]
async fn an_environment_is_what_was_declared() {
    let script =
        ServerScript::new().tool(ToolScript::new("environment").replies(Plays::Environment)).launch();
    let mut config = child("srv", &script);
    let Target::Stdio(spec) = &mut config.target else { panic!() };
    spec.env.insert("ONLY_THIS".into(), "one".into());
    let (client, _) = start([config], ClientOptions::default());
    client.ready(PATIENCE).await;
    let answer = client.call(call("mcp__srv__environment", json!({}))).await.unwrap().to_text();
    let environment: serde_json::Map<_, _> = serde_json::from_str(&answer).unwrap();
    assert_eq!(environment.get("ONLY_THIS"), Some(&json!("one")));
    assert!(
        !environment.contains_key("HOME") && !environment.contains_key("CARGO"),
        "{:?}",
        environment.keys()
    );
    client.close().await;
}

#[tokio::test]
async fn a_remote_server_is_used_like_a_local_one() {
    let remote = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("echo")));
    let target = Target::Http(RemoteSpec { url: remote.url().parse().unwrap(), headers: Default::default() });
    let (client, recorder) = start([ServerConfig::new(name("remote"), target)], restarts(100));
    client.ready(PATIENCE).await;
    assert_eq!(tools(&client), ["mcp__remote__echo"]);
    client.call(call("mcp__remote__echo", json!({"a": 1}))).await.unwrap();
    client.close().await;
    assert_eq!(recorder.states("remote"), ["starting", "ready", "stopped"]);
}

#[tokio::test]
async fn a_remote_server_that_is_down_is_looked_for_quietly_and_used_when_it_is_back() {
    let web = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("echo")));
    web.fail(u32::MAX, HttpFault::Reset);
    let target = Target::Http(RemoteSpec { url: web.url().parse().unwrap(), headers: Default::default() });
    let (client, recorder) = start([ServerConfig::new(name("remote"), target)], restarts(3));
    client.ready(PATIENCE).await;
    let looks = |more: usize| {
        let enough = web.http().requests().len() + more;
        let web = &web;
        async move { massgen_testkit::process::until(PATIENCE, || web.http().requests().len() >= enough).await }
    };
    // The first start and three more are told; after that it is looked for, and nobody hears of it.
    assert!(looks(30).await, "nobody looks for it any more");
    let told = ["starting", "failed"].repeat(4);
    assert_eq!(recorder.states("remote"), told);
    assert!(looks(30).await, "nobody looks for it any more");
    assert_eq!(recorder.states("remote"), told);
    let error = client.client("remote").unwrap().call_tool("echo", object(json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::Unavailable { retry_at: Some(_), .. }), "{error}");
    web.heal();
    until(client.client("remote").unwrap(), is_ready).await;
    client.call(call("mcp__remote__echo", json!({}))).await.unwrap();
    assert_eq!(recorder.states("remote"), [&told[..], &["ready"]].concat());
    client.close().await;
}

#[tokio::test]
async fn a_secret_that_a_dying_server_prints_goes_nowhere() {
    let dies = ServerScript::new()
        .quirk(Quirk::ExitAtStart { code: 1, stderr: "bad key hunter2-hunter2\n".into() })
        .launch();
    let options = ClientOptions::default();
    options.redactor.register("hunter2-hunter2");
    let (client, recorder) = start([child("dies", &dies)], options);
    let status = client.ready(PATIENCE).await;
    let ServerState::Unreachable { reason, .. } = &status[0].state else { panic!("{status:?}") };
    assert!(reason.contains("bad key [redacted]"), "{reason}");
    assert!(!format!("{status:?} {:?}", recorder.states.lock().unwrap()).contains("hunter2"));
    client.close().await;
}
