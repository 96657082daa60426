//! Death, return and the end of child processes.

use massgen_testkit::{Grandchild, Outcome as Plays, PATIENCE, Quirk, ServerScript, ToolScript};
use mcp_client::{CircuitState, ClientOptions, ServerState};
use mcp_core::{ToolError, ToolService};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_server_that_dies_takes_its_tools_and_brings_them_back() {
    let script = ServerScript::new()
        .tool(ToolScript::echo("echo"))
        .tool(ToolScript::new("die").replies(Plays::Exit(7)))
        .launch();
    let other = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let (client, recorder) = start([child("srv", &script), child("other", &other)], restarts(100_000));
    client.ready(PATIENCE).await;

    // Without its script the program cannot start again, until we say so.
    let (there, away) = (script.folder().join("script.json"), script.folder().join("away.json"));
    std::fs::rename(&there, &away).unwrap();
    let error = client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::OutcomeUnknown { .. }), "{error}");
    let one = client.client("srv").unwrap();
    until(one, is_failed).await;
    assert_eq!(tools(&client), ["mcp__other__echo"]);
    let error = client.call(call("mcp__srv__echo", json!({}))).await.unwrap_err();
    assert!(matches!(&error, ToolError::Unavailable { server, .. } if server.as_str() == "srv"), "{error}");
    client.call(call("mcp__other__echo", json!({}))).await.unwrap();

    std::fs::rename(&away, &there).unwrap();
    until(one, is_ready).await;
    assert_eq!(tools(&client), ["mcp__srv__echo", "mcp__srv__die", "mcp__other__echo"]);
    client.call(call("mcp__srv__echo", json!({}))).await.unwrap();
    assert_eq!(one.status().restarts, 1);
    assert_eq!(recorder.states("other"), ["starting", "ready"]);
    client.close().await;
    assert!(script.journal().all_gone(PATIENCE).await);
}

#[tokio::test]
async fn a_server_killed_from_outside_is_noticed_without_a_call() {
    let script = ServerScript::new().tool(ToolScript::new("pid").replies(Plays::ProcessId)).launch();
    let (client, _) = start([child("srv", &script)], restarts(100));
    client.ready(PATIENCE).await;
    let pid = |answer: mcp_core::ToolOutput| answer.to_text().parse::<u32>().unwrap();
    let first = pid(client.call(call("mcp__srv__pid", json!({}))).await.unwrap());
    let mut state = client.client("srv").unwrap().state();
    state.borrow_and_update();
    kill(first);
    tokio::time::timeout(PATIENCE, state.wait_for(|state| !is_ready(state))).await.unwrap().unwrap();
    until(client.client("srv").unwrap(), is_ready).await;
    let second = pid(client.call(call("mcp__srv__pid", json!({}))).await.unwrap());
    assert_ne!(first, second);
    client.close().await;
}

/// Kills one process of ours, by its id.
#[allow(clippy::disallowed_methods, reason = "a test plays the kernel's out-of-memory killer")]
fn kill(pid: u32) {
    assert!(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn restarts_are_bounded_and_the_last_words_stay() {
    let dead = ServerScript::new().quirk(Quirk::ExitAtStart { code: 1, stderr: "out of luck\n".into() });
    let script =
        ServerScript::new().tool(ToolScript::new("die").replies(Plays::Exit(7))).after_restart(dead).launch();
    let (client, recorder) = start([child("srv", &script)], restarts(2));
    client.ready(PATIENCE).await;
    client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    let given_up = |state: &ServerState| matches!(state, ServerState::Unreachable { retry_in: None, .. });
    let state = until(client.client("srv").unwrap(), given_up).await;
    assert_eq!(
        recorder.states("srv"),
        ["starting", "ready", "failed", "starting", "failed", "starting", "given up"]
    );
    assert!(state.to_string().contains("out of luck"), "{state}");
    let error = client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    assert!(matches!(&error, ToolError::Unavailable { retry_at: None, .. }), "{error}");
    client.close().await;
}

#[tokio::test]
async fn a_server_that_ends_while_it_starts_is_tried_again_and_told_of_once() {
    let late = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let never =
        ServerScript::new().quirk(Quirk::ExitAtStart { code: 1, stderr: "no registry\n".into() }).launch();
    // Without its script the program cannot start.
    let (there, away) = (late.folder().join("script.json"), late.folder().join("away.json"));
    std::fs::rename(&there, &away).unwrap();
    let (client, recorder) = start([child("late", &late), child("never", &never)], restarts(20));
    // Nobody waits for the further tries.
    client.ready(PATIENCE).await;
    std::fs::rename(&away, &there).unwrap();
    until(client.client("late").unwrap(), is_ready).await;
    client.call(call("mcp__late__echo", json!({}))).await.unwrap();
    assert_eq!(recorder.states("late"), ["starting", "failed", "ready"]);

    let given_up = |state: &ServerState| matches!(state, ServerState::Unreachable { retry_in: None, .. });
    let state = until(client.client("never").unwrap(), given_up).await;
    assert_eq!(recorder.states("never"), ["starting", "failed", "given up"]);
    assert!(state.to_string().contains("no registry"), "{state}");
    client.close().await;
    assert!(late.journal().all_gone(PATIENCE).await && never.journal().all_gone(PATIENCE).await);
}

#[tokio::test]
async fn a_program_whose_list_does_not_end_is_given_up_for_that_and_not_for_its_end() {
    let script = (0..=10_000)
        .fold(ServerScript::new(), |script, number| script.tool(ToolScript::echo(format!("t{number}"))));
    let script = script.launch();
    let (client, _) = start([child("srv", &script)], restarts(1));
    let one = client.client("srv").unwrap();
    until(one, |state| matches!(state, ServerState::Unreachable { retry_in: None, .. })).await;
    let CircuitState::ForcedOpen { reason } = one.status().circuit else {
        panic!("its circuit is {:?}", one.status().circuit)
    };
    let words = "its list of tools does not end: the server has more than 10000 tools";
    assert!(reason.contains(words) && !reason.contains("it ended"), "{reason}");
    client.close().await;
    assert!(script.journal().all_gone(PATIENCE).await);
}

#[tokio::test]
async fn closing_ends_every_process_however_stubborn() {
    let stubborn = ServerScript::new()
        .tool(ToolScript::echo("echo"))
        .quirk(Quirk::NeverExitsOnEof)
        .quirk(Quirk::IgnoresSigterm)
        .quirk(Quirk::Grandchild(Grandchild { ignores_sigterm: true, ..Grandchild::default() }))
        .launch();
    let polite = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let mut options = ClientOptions::default();
    options.session.close_grace = std::time::Duration::from_millis(100);
    let (client, recorder) = start([child("stubborn", &stubborn), child("polite", &polite)], options);
    client.ready(PATIENCE).await;
    assert_eq!(stubborn.journal().alive().len(), 2);
    client.close().await;
    assert!(stubborn.journal().all_gone(PATIENCE).await && polite.journal().all_gone(PATIENCE).await);
    assert_eq!(recorder.states("polite"), ["starting", "ready", "stopped"]);
    assert!(client.catalogue().is_empty());
    // Closing what is closed does no harm.
    client.close().await;
}

#[tokio::test]
async fn dropping_the_client_ends_every_process() {
    let grandchild = Quirk::Grandchild(Grandchild::default());
    let ready = ServerScript::new()
        .tool(ToolScript::echo("echo"))
        .quirk(Quirk::NeverExitsOnEof)
        .quirk(grandchild)
        .launch();
    let starting = ServerScript::new().quirk(Quirk::HandshakeSilent).quirk(Quirk::NeverExitsOnEof).launch();
    let (client, _) = start([child("ready", &ready), child("starting", &starting)], ClientOptions::default());
    until(client.client("ready").unwrap(), is_ready).await;
    starting.journal().await_entry(|entry| entry["kind"] == "started").await;
    // A scope keeps all of it alive.
    let scope = client.scoped(None, Default::default());
    drop(client);
    scope.call(call("mcp__ready__echo", json!({}))).await.unwrap();
    drop(scope);
    assert!(ready.journal().all_gone(PATIENCE).await && starting.journal().all_gone(PATIENCE).await);
}

#[tokio::test]
async fn closing_does_not_wait_for_a_start() {
    let starting = ServerScript::new().quirk(Quirk::HandshakeSilent).launch();
    let mut config = child("starting", &starting);
    config.startup_timeout = std::time::Duration::from_secs(3600);
    let (client, _) = start([config], ClientOptions::default());
    starting.journal().await_entry(|entry| entry["kind"] == "started").await;
    tokio::time::timeout(PATIENCE, client.close()).await.unwrap();
    assert!(starting.journal().all_gone(PATIENCE).await);
}
