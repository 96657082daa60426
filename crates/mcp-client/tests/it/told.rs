//! What the client learns from an answer that is an error: that an address is none of a server, that a list is out of date.
//! And what servers do to each other that share a limit.

use std::time::Duration;

use massgen_testkit::{
    CallReply, HttpFault, McpHttpOptions, McpHttpServer, Outcome as Plays, PATIENCE, ServerScript, ToolScript,
};
use mcp_client::{CircuitState, ClientOptions, InFlightLimit, InFlightOptions, ServerConfig, Target};
use mcp_core::{RemoteSpec, ToolError, ToolService};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::*;

fn remote(server: &str, at: &McpHttpServer) -> ServerConfig {
    let target = Target::Http(RemoteSpec { url: at.url().parse().unwrap(), headers: Default::default() });
    ServerConfig::new(name(server), target)
}

#[tokio::test]
async fn an_address_that_is_no_server_is_not_asked_a_fourth_time() {
    for status in [404, 405, 415] {
        let script = ServerScript::new().tool(ToolScript::echo("echo"));
        // Without a session: with one, 404 means that it is gone.
        let options = McpHttpOptions { sessions: false, ..McpHttpOptions::default() };
        let web = McpHttpServer::with_options(script, options);
        let (client, recorder) = start([remote("srv", &web)], ClientOptions::default());
        client.ready(PATIENCE).await;
        let made = || web.http().requests().iter().filter(|request| request.method == "POST").count();
        web.fail_method("tools/call", u32::MAX, HttpFault::status(status));
        for number in 0..3 {
            let error = client.call(call("mcp__srv__echo", json!({"n": number}))).await.unwrap_err();
            assert!(matches!(error, ToolError::Http { status: told, .. } if told == status), "{error}");
        }
        let circuit = client.client("srv").unwrap().status().circuit;
        let CircuitState::ForcedOpen { reason } = circuit else { panic!("{status}: {circuit:?}") };
        assert!(reason.starts_with("config: ") && reason.contains(&status.to_string()), "{reason}");
        let before = made();
        let error = client.call(call("mcp__srv__echo", json!({"n": 3}))).await.unwrap_err();
        assert!(matches!(error, ToolError::Unavailable { retry_at: None, .. }), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
        assert_eq!(made(), before, "{status}: it was asked");
        assert_eq!(*recorder.circuits.lock().unwrap(), ["srv closed>forced_open"]);
        client.close().await;
    }
}

#[tokio::test]
async fn a_tool_that_the_server_does_not_know_has_the_list_refreshed_once() {
    let unknown = Plays::RpcError { code: -32602, message: "Unknown tool: gone".into() };
    let wrong = Plays::RpcError { code: -32602, message: "Invalid params: count must be positive".into() };
    for (reply, listings) in [(unknown, 2), (wrong, 1)] {
        let script = ServerScript::new()
            .tool(ToolScript::new("gone").replies(reply))
            .tool(ToolScript::echo("echo"))
            .launch();
        let (client, recorder) = start([child("srv", &script)], restarts(1));
        client.ready(PATIENCE).await;
        let listed = || script.journal().method("tools/list").len();
        assert_eq!(listed(), 1);
        let error = client.call(call("mcp__srv__gone", json!({}))).await.unwrap_err();
        assert!(matches!(error, ToolError::Server { code: -32602, .. }), "{error}");
        assert!(massgen_testkit::process::until(PATIENCE, || listed() >= listings).await);
        // Whatever else was on its way has come before this is answered, and the answer after it.
        for _ in 0..2 {
            client.call(call("mcp__srv__echo", json!({}))).await.unwrap();
        }
        assert_eq!(listed(), listings);
        assert!(recorder.circuits.lock().unwrap().is_empty());
        assert_eq!(script.journal().method("tools/call").len(), 3, "it was called again");
        client.close().await;
    }
}

#[tokio::test]
async fn three_servers_that_hang_leave_places_for_the_fourth() {
    let hanging = ServerScript::new().tool(ToolScript::new("do").replies(Plays::Hang));
    let servers: Vec<_> = (0..3).map(|_| hanging.clone().launch()).collect();
    let reply = CallReply::new(Plays::Echo);
    let healthy = ServerScript::new().tool(ToolScript::new("do").replies(reply)).launch();
    let mut configs: Vec<_> = servers
        .iter()
        .enumerate()
        .map(|(number, script)| child(&format!("hangs-{number}"), script))
        .collect();
    configs.push(child("healthy", &healthy));
    let limit = InFlightLimit::new(&InFlightOptions { places: 64, wait: Duration::from_secs(60) });
    let mut options = restarts(1);
    options.in_flight = Some(limit.clone());
    options.session.close_grace = Duration::from_millis(100);
    let (client, _) = start(configs, options);
    client.ready(PATIENCE).await;
    let mut calls = JoinSet::new();
    for server in 0..3 {
        for number in 0..60 {
            let client = client.clone();
            let tool = format!("mcp__hangs-{server}__do");
            calls.spawn(async move { client.call(call(&tool, json!({"n": number}))).await });
        }
        // 32, then half of the rest, and half of that.
        let held = 64 - (64 >> (server + 1));
        let taken = massgen_testkit::process::until(PATIENCE, || limit.in_flight() == held).await;
        assert!(taken, "{} calls are in flight, not {held}", limit.in_flight());
    }
    // None of these waits: a wait would have no end before the test has one.
    for number in 0..50 {
        let answer = client.call(call("mcp__healthy__do", json!({"n": number}))).await.unwrap();
        assert!(!answer.is_error);
    }
    assert!(calls.try_join_next().is_none(), "a call that hangs has ended");
    calls.shutdown().await;
    let none = massgen_testkit::process::until(PATIENCE, || limit.in_flight() == 0).await;
    assert!(none, "places were lost");
    client.close().await;
}
