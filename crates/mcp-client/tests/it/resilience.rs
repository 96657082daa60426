//! What becomes of calls while servers fail, over real sockets and pipes: nothing is sent twice that must not be, a dead
//! server answers at once, and the others never notice.

use std::sync::atomic::Ordering;
use std::time::Duration;

use massgen_testkit::{HttpFault, McpHttpServer, Outcome as Plays, PATIENCE, ServerScript, ToolScript};
use mcp_client::{CircuitState, ClientOptions, MultiMcpClient, RuleOptions, ServerConfig, Target};
use mcp_core::{AgentId, RemoteSpec, ToolError, ToolFilter, ToolService};
use serde_json::json;
use tokio::time::Instant;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);
const SENTENCE: &str = "may or may not have taken effect";

fn remote(server: &McpHttpServer) -> ServerConfig {
    let target = Target::Http(RemoteSpec { url: server.url().parse().unwrap(), headers: Default::default() });
    ServerConfig::new(name("srv"), target)
}

/// Opens after so many failures in a row, for so long.
fn rules(failures: u32, open: Duration) -> RuleOptions {
    RuleOptions {
        failures_in_a_row: failures,
        connects_in_a_row: failures,
        failure_rate: 1.1,
        open_base: open,
        open_jitter: 0.0,
        ..RuleOptions::default()
    }
}

fn quick(mut config: ServerConfig) -> ServerConfig {
    config.retry.base = Duration::from_millis(1);
    config.retry.cap = Duration::from_millis(5);
    config.retry.asked.0 = Duration::from_millis(1);
    config
}

fn circuit(client: &MultiMcpClient) -> CircuitState {
    client.client("srv").unwrap().status().circuit
}

/// Waits for a state of the circuit, in one word.
async fn until_circuit(client: &MultiMcpClient, word: &str) {
    let came = massgen_testkit::process::until(PATIENCE, || circuit(client).name() == word).await;
    assert!(came, "it is {:?}, not {word}", circuit(client));
}

#[tokio::test]
async fn an_unsafe_call_is_sent_once_whatever_fails() {
    // The fault, and the error's class afterwards.
    let faults = [
        ("close", HttpFault::Close, "outcome_unknown"),
        ("reset", HttpFault::Reset, "outcome_unknown"),
        ("reset afterwards", HttpFault::ResetAfterwards, "outcome_unknown"),
        ("500", HttpFault::status(500), "http"),
        ("502", HttpFault::status(502), "outcome_unknown"),
        ("503", HttpFault::status(503), "outcome_unknown"),
        ("504", HttpFault::status(504), "outcome_unknown"),
        ("400", HttpFault::status(400), "http"),
        ("409", HttpFault::status(409), "http"),
        ("html", HttpFault::html(), "malformed"),
        ("hang", HttpFault::Hang, "timeout"),
    ];
    for (what, fault, class) in faults {
        let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
        let mut config = quick(remote(&server));
        config.call_timeout = if what == "hang" { SECOND / 2 } else { PATIENCE };
        let (client, recorder) = start([config], ClientOptions::default());
        client.ready(PATIENCE).await;
        server.fail_method("tools/call", 1, fault);
        let error = client.call(call("mcp__srv__post", json!({"a": 1}))).await.unwrap_err();
        assert_eq!(recorder.outcomes(), [class], "{what}: {error}");
        assert_eq!(server.method("tools/call").len(), 1, "{what}: sent more than once");
        if class == "outcome_unknown" {
            assert!(error.to_string().contains(SENTENCE), "{what}: {error}");
        }
        client.close().await;
    }
}

#[tokio::test]
async fn a_child_that_dies_in_a_call_leaves_its_outcome_unknown() {
    for dies in [Plays::Exit(3), Plays::Abort, Plays::CloseStdout] {
        let what = format!("{dies:?}");
        let scripted = ServerScript::new().tool(ToolScript::new("post").replies(dies)).launch();
        let (client, _) = start([quick(child("srv", &scripted))], restarts(5));
        client.ready(PATIENCE).await;
        let error = client.call(call("mcp__srv__post", json!({}))).await.unwrap_err();
        assert!(matches!(error, ToolError::OutcomeUnknown { .. }), "{what}: {error}");
        assert!(error.to_string().contains(SENTENCE), "{what}: {error}");
        // It comes back, and the call is not among what the new one is asked.
        until(client.client("srv").unwrap(), is_ready).await;
        assert_eq!(scripted.journal().method("tools/call").len(), 1, "{what}");
        client.close().await;
    }
}

#[tokio::test]
async fn a_safe_call_is_made_again() {
    // By the operator's word, and by a believed hint.
    for by_hint in [false, true] {
        let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("read").read_only()));
        let mut config = quick(remote(&server));
        config.trust_hints = by_hint;
        config.retry_safe = (!by_hint).then(|| ToolFilter::new(Some(&["read"]), &[] as &[&str]).unwrap());
        let (client, recorder) = start([config], ClientOptions::default());
        client.ready(PATIENCE).await;
        server.fail_method("tools/call", 2, HttpFault::Reset);
        client.call(call("mcp__srv__read", json!({}))).await.unwrap();
        assert_eq!(server.method("tools/call").len(), 3);
        assert_eq!(recorder.outcomes(), ["answered"]);
        client.close().await;
    }
}

#[tokio::test]
async fn a_hint_that_is_not_believed_makes_nothing_safe() {
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("read").read_only()));
    let (client, _) = start([quick(remote(&server))], ClientOptions::default());
    client.ready(PATIENCE).await;
    server.fail_method("tools/call", 1, HttpFault::Reset);
    client.call(call("mcp__srv__read", json!({}))).await.unwrap_err();
    assert_eq!(server.method("tools/call").len(), 1);
    client.close().await;
}

#[tokio::test]
async fn what_was_certainly_not_processed_is_made_again_whatever_it_is() {
    for fault in [HttpFault::status(429), HttpFault::status(408), HttpFault::status(503).retry_after(0)] {
        let what = format!("{fault:?}");
        let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
        let mut config = quick(remote(&server));
        config.retry.asked.1 = SECOND;
        let (client, _) = start([config], ClientOptions::default());
        client.ready(PATIENCE).await;
        server.fail_method("tools/call", 1, fault);
        client
            .call(call("mcp__srv__post", json!({})))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((server.method("tools/call").len(), server.executed()), (2, 1), "{what}");
        client.close().await;
    }
}

#[tokio::test]
async fn retry_after_is_honoured_and_holds_for_everybody() {
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let (client, _) = start([remote(&server)], ClientOptions::default());
    client.ready(PATIENCE).await;
    server.fail_method("tools/call", 1, HttpFault::status(429).retry_after(1));
    let begun = Instant::now();
    let first = {
        let client = client.clone();
        tokio::spawn(async move { client.call(call("mcp__srv__post", json!({}))).await })
    };
    server.await_method("tools/call").await;
    // The answer may take a moment to be seen; from then on nobody else is let through.
    let asked = || client.client("srv").unwrap().status().retry_at.is_some();
    assert!(massgen_testkit::process::until(PATIENCE, asked).await);
    let error = client.call(call("mcp__srv__post", json!({}))).await.unwrap_err();
    assert!(matches!(&error, ToolError::Unavailable { retry_at: Some(_), .. }), "{error}");
    first.await.unwrap().unwrap();
    assert!(begun.elapsed() >= SECOND, "it asked for a second and got {:?}", begun.elapsed());
    assert_eq!(server.method("tools/call").len(), 2);

    // Where there is no time for that, the answer is the server's own.
    server.fail_method("tools/call", 1, HttpFault::status(429).retry_after(50));
    let hurry = call("mcp__srv__post", json!({})).until((Instant::now() + 5 * SECOND).into_std());
    let error = client.call(hurry).await.unwrap_err();
    assert!(matches!(error, ToolError::Throttled { status: 429, .. }), "{error}");
    assert_eq!(server.method("tools/call").len(), 3);
    client.close().await;
}

#[tokio::test]
async fn an_open_circuit_answers_at_once_and_a_ping_closes_it() {
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let mut config = quick(remote(&server));
    config.breaker = rules(3, SECOND);
    let other = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let mut well = remote(&other);
    well.name = name("well");
    let (client, recorder) = start([config, well], ClientOptions::default());
    client.ready(PATIENCE).await;

    server.fail(u32::MAX, HttpFault::status(500));
    for _ in 0..3 {
        client.call(call("mcp__srv__post", json!({}))).await.unwrap_err();
    }
    assert_eq!(circuit(&client).name(), "open");
    let sent = server.method("tools/call").len();
    let error = client.call(call("mcp__srv__post", json!({}))).await.unwrap_err();
    let ToolError::Unavailable { retry_at: Some(retry_at), reason, .. } = &error else { panic!("{error}") };
    assert!(*retry_at > Instant::now().into_std() - SECOND, "{error}");
    assert!(reason.starts_with("its circuit is open: it failed 3 times in a row; try again in"), "{reason}");
    assert_eq!(server.method("tools/call").len(), sent, "an open circuit sends nothing");
    // The other server knows nothing of it.
    client.call(call("mcp__well__post", json!({}))).await.unwrap();

    server.heal();
    until_circuit(&client, "closed").await;
    client.call(call("mcp__srv__post", json!({}))).await.unwrap();
    assert_eq!(server.method("tools/call").len(), sent + 1, "no call was the probe");
    let changes = recorder.circuits.lock().unwrap().clone();
    assert!(
        changes.starts_with(&["srv closed>open".to_owned(), "srv open>half_open".to_owned()]),
        "{changes:?}"
    );
    assert_eq!(changes.last().unwrap(), "srv half_open>closed");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_a_server_that_answers_is_its_tools_fault() {
    let service = Memory::new(&[("hang", Does::Hang), ("echo", Does::Echo)]);
    let mut config = memory("srv", &service);
    config.call_timeout = 10 * SECOND;
    config.breaker = rules(3, 5 * SECOND);
    let (client, recorder) = start([config], ClientOptions::default());
    client.ready(30 * SECOND).await;
    for _ in 0..3 {
        let error = client.call(call("mcp__srv__hang", json!({}))).await.unwrap_err();
        assert!(matches!(error, ToolError::Timeout { .. }), "{error}");
        tokio::time::sleep(SECOND / 10).await;
    }
    let error = client.call(call("mcp__srv__hang", json!({}))).await.unwrap_err();
    assert!(error.to_string().contains("the circuit of its tool hang is open"), "{error}");
    assert_eq!(circuit(&client), CircuitState::Closed);
    client.call(call("mcp__srv__echo", json!({}))).await.unwrap();
    assert_eq!(*recorder.circuits.lock().unwrap(), ["srv/hang closed>open"]);
    assert_eq!(service.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn the_one_probe_of_a_tool_that_is_dropped_is_given_back() {
    let service = Memory::new(&[("hang", Does::Hang)]);
    let mut config = memory("srv", &service);
    config.call_timeout = 10 * SECOND;
    config.breaker = rules(1, 5 * SECOND);
    let (client, _) = start([config], ClientOptions::default());
    client.ready(30 * SECOND).await;
    client.call(call("mcp__srv__hang", json!({}))).await.unwrap_err();
    tokio::time::sleep(6 * SECOND).await;
    service.begun.notified().await;
    for probes in 2..5 {
        tokio::select! {
            _ = client.call(call("mcp__srv__hang", json!({}))) => unreachable!(),
            () = service.begun.notified() => {}
        }
        assert_eq!(service.calls.load(Ordering::SeqCst), probes, "each time it is free again");
    }
    // While one is under way, nobody else gets in.
    let probe = {
        let client = client.clone();
        tokio::spawn(async move { client.call(call("mcp__srv__hang", json!({}))).await })
    };
    service.begun.notified().await;
    let error = client.call(call("mcp__srv__hang", json!({}))).await.unwrap_err();
    assert!(matches!(&error, ToolError::Unavailable { retry_at: Some(_), .. }), "{error}");
    assert_eq!(service.calls.load(Ordering::SeqCst), 5);
    probe.abort();
}

#[tokio::test]
async fn many_timeouts_of_a_silent_server_cost_one_ping_and_are_the_servers_fault() {
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let mut config = remote(&server);
    config.call_timeout = SECOND / 2;
    config.breaker = rules(10, 60 * SECOND);
    let (client, _) = start([config], ClientOptions::default());
    client.ready(PATIENCE).await;
    server.fail(u32::MAX, HttpFault::Hang);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let client = client.clone();
        calls.spawn(async move { client.call(call("mcp__srv__post", json!({}))).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_err));
    until_circuit(&client, "open").await;
    assert_eq!(server.method("ping").len(), 1);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn two_agents_take_turns_at_a_full_server() {
    let service = Memory::new(&[("hang", Does::Hang), ("echo", Does::Echo)]);
    let mut config = memory("srv", &service);
    config.bulkhead.in_flight = 1;
    config.bulkhead.queue = 8;
    let (client, recorder) = start([config], ClientOptions::default());
    client.ready(30 * SECOND).await;
    let by = |tool: &str, agent: &str| {
        let (client, request) = (client.clone(), call(tool, json!({})).by(AgentId::new(agent).unwrap()));
        tokio::spawn(async move { client.call(request).await })
    };
    let first = by("mcp__srv__hang", "greedy");
    service.begun.notified().await;
    let mut waiting = Vec::new();
    for agent in ["greedy", "greedy", "greedy", "modest"] {
        waiting.push(by("mcp__srv__echo", agent));
        tokio::task::yield_now().await;
    }
    first.abort();
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    let callers: Vec<_> = recorder.records.lock().unwrap().iter().filter_map(|r| r.caller.clone()).collect();
    let callers: Vec<_> = callers.iter().map(|caller| caller.as_str()).collect();
    assert_eq!(callers, ["greedy", "greedy", "modest", "greedy", "greedy"]);
}

#[tokio::test]
async fn a_tool_that_says_no_never_opens_anything() {
    let failed = ToolScript::new("no").replies(Plays::Failed("no".into()));
    let server = McpHttpServer::start(ServerScript::new().tool(failed));
    let mut config = remote(&server);
    config.breaker = rules(3, 60 * SECOND);
    let (client, recorder) = start([config], ClientOptions::default());
    client.ready(PATIENCE).await;
    for _ in 0..20 {
        assert!(client.call(call("mcp__srv__no", json!({}))).await.unwrap().is_error);
    }
    assert!(recorder.circuits.lock().unwrap().is_empty());
    client.close().await;
}
