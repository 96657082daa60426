//! How a server is, walked through each of its states: the watch and the events say the same, each change once.

use std::sync::Arc;
use std::time::Duration;

use massgen_testkit::http::{HttpReply, HttpServer};
use massgen_testkit::{
    CallReply, HttpFault, McpHttpServer, Outcome as Plays, PATIENCE, ReplyId, ServerScript, ToolScript,
};
use mcp_client::{ClientOptions, McpClient, RuleOptions, ServerConfig, ServerState, Target};
use mcp_core::{
    BoxFuture, Catalogue, MissingCredential, RemoteSpec, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::*;

/// Follows the watch until the server is stopped.
fn follow(client: &McpClient) -> JoinHandle<Vec<&'static str>> {
    let mut state = client.state();
    let mut seen = vec![state.borrow_and_update().name()];
    tokio::spawn(async move {
        while *seen.last().unwrap() != "stopped" && state.changed().await.is_ok() {
            seen.push(state.borrow_and_update().name());
        }
        seen
    })
}

async fn until_named(client: &McpClient, state: &str) -> ServerState {
    until(client, |now| now.name() == state).await
}

fn remote(url: &str) -> ServerConfig {
    let target = Target::Http(RemoteSpec { url: url.parse().unwrap(), headers: Default::default() });
    let mut config = ServerConfig::new(name("srv"), target);
    config.retry.attempts = 1;
    config
}

/// Both told the same, and each change once.
async fn walked(
    client: mcp_client::MultiMcpClient,
    follower: JoinHandle<Vec<&'static str>>,
    recorder: &Recorder,
    expected: &[&str],
) {
    client.close().await;
    {
        let events = recorder.states.lock().unwrap();
        let told: Vec<_> = events.iter().map(|(_, state)| state.name()).collect();
        assert_eq!(told, expected);
        assert!(events.windows(2).all(|pair| pair[0].1 != pair[1].1), "{events:?}");
    }
    assert_eq!(follower.await.unwrap(), expected, "the watch");
}

#[tokio::test]
async fn a_circuit_and_a_login_are_part_of_it() {
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let mut config = remote(&server.url());
    config.breaker = RuleOptions {
        failures_in_a_row: 2,
        failure_rate: 1.1,
        open_base: Duration::from_millis(20),
        open_jitter: 0.0,
        ..RuleOptions::default()
    };
    let (client, recorder) = start([config], ClientOptions::default());
    let one = client.client("srv").unwrap();
    let follower = follow(one);
    client.ready(PATIENCE).await;
    let post = || client.call(call("mcp__srv__post", json!({})));

    server.fail_method("tools/call", 2, HttpFault::status(500));
    for _ in 0..2 {
        post().await.unwrap_err();
    }
    let state = until_named(one, "degraded").await;
    assert!(state.is_usable() && state.tools() == 1, "{state:?}");
    assert!(state.reason().unwrap().contains("2 times in a row"), "{state:?}");
    until_named(one, "ready").await;

    server.fail_method("tools/call", 2, HttpFault::status(401).header("www-authenticate", "Bearer"));
    for _ in 0..2 {
        assert!(matches!(post().await, Err(ToolError::AuthRequired { .. })));
    }
    let state = one.status().state;
    assert!(matches!(&state, ServerState::AuthRequired { tools: 1, .. }), "{state:?}");
    assert!(state.hint().unwrap().contains("massgen mcp auth srv"), "{state:?}");
    post().await.unwrap();
    until_named(one, "ready").await;

    let expected = ["starting", "ready", "degraded", "ready", "auth_required", "ready", "stopped"];
    walked(client, follower, &recorder, &expected).await;
}

#[tokio::test]
async fn a_death_and_a_breach_are_part_of_it() {
    let forged = CallReply::new(Plays::Echo).id(ReplyId::Neighbour);
    let scripted = ServerScript::new()
        .tool(ToolScript::new("die").replies(Plays::Exit(3)))
        .tool(ToolScript::new("forge").replies(forged))
        .launch();
    let mut config = child("srv", &scripted);
    config.call_timeout = Duration::from_millis(100);
    let (client, recorder) = start([config], restarts(3));
    let one = client.client("srv").unwrap();
    let follower = follow(one);
    client.ready(PATIENCE).await;

    client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    until(one, |state| !state.is_usable()).await;
    until_named(one, "ready").await;
    for number in 0..3 {
        client.call(call("mcp__srv__forge", json!({"n": number}))).await.unwrap_err();
    }
    let state = until_named(one, "quarantined").await;
    assert!(!state.is_usable() && state.reason().unwrap().contains("3 times"), "{state:?}");
    one.approve();
    until_named(one, "ready").await;

    let expected =
        ["starting", "ready", "unreachable", "starting", "ready", "quarantined", "ready", "stopped"];
    walked(client, follower, &recorder, &expected).await;
}

#[tokio::test]
async fn a_server_that_wants_a_login_at_once_or_a_credential_that_is_away_says_so() {
    let server = HttpServer::start(Arc::new(|_| HttpReply::empty(401).header("www-authenticate", "Bearer")));
    let missing = MissingCredential {
        name: "token".into(),
        store: "the keyring".into(),
        reason: "it is locked".into(),
    };
    let mut away = remote(&server.url("/mcp"));
    away.missing_credential = Some(missing);
    for (config, hint) in
        [(remote(&server.url("/mcp")), "massgen mcp auth srv"), (away, "massgen secrets set token")]
    {
        let (client, recorder) = start([config], ClientOptions::default());
        let one = client.client("srv").unwrap();
        let follower = follow(one);
        client.ready(PATIENCE).await;
        let state = one.status().state;
        assert!(matches!(&state, ServerState::AuthRequired { tools: 0, .. }), "{state:?}");
        assert!(state.hint().unwrap().contains(hint), "{state:?}");
        walked(client, follower, &recorder, &["starting", "auth_required", "stopped"]).await;
    }
}

/// A server whose tool takes as many seconds as it is told.
struct Slow(Arc<Catalogue>);

impl ToolService for Slow {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.0.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(call.arguments["seconds"].as_u64().unwrap())).await;
            Ok(ToolOutput::text("done"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn slowness_is_part_of_it_and_is_forgotten_as_time_passes() {
    let tool = ToolSpec::new(name("memory"), ToolName::new("wait").unwrap());
    let catalogue = Catalogue::build([(name("memory"), vec![tool], ToolFilter::default())]).catalogue;
    let mut config = ServerConfig::new(name("srv"), Target::InMemory(Arc::new(Slow(Arc::new(catalogue)))));
    config.call_timeout = Duration::from_secs(600);
    let (client, recorder) = start([config], ClientOptions::default());
    let one = client.client("srv").unwrap();
    let follower = follow(one);
    client.ready(PATIENCE).await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let client = client.clone();
        calls
            .spawn(async move { client.call(call("mcp__srv__wait", json!({"seconds": 31}))).await.unwrap() });
    }
    calls.join_all().await;
    let state = one.status().state;
    assert!(matches!(&state, ServerState::Degraded { tools: 1, .. }), "{state:?}");
    assert!(state.reason().unwrap().contains("too slowly"), "{state:?}");
    let begun = tokio::time::Instant::now();
    let mut watch = one.state();
    watch.wait_for(|state| state.name() == "ready").await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(72), "{:?}", begun.elapsed());
    walked(client, follower, &recorder, &["starting", "ready", "degraded", "ready", "stopped"]).await;
}
