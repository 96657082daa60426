//! What servers in use were seen to do. None of it may cost a call, or another server's tools.

use std::time::Duration;

use massgen_testkit::{
    Grandchild, HandshakeVersion, Outcome as Plays, PATIENCE, Quirk, ServerScript, ToolScript,
};
use mcp_client::{ClientOptions, RestartPolicy, ServerState};
use mcp_core::{ToolFilter, ToolService};
use serde_json::json;

use crate::support::*;

/// A start, a list, two calls and an end.
async fn check(what: &str, script: ServerScript) {
    let script = script.tool(ToolScript::echo("echo")).launch();
    let mut options = ClientOptions::default();
    // What does not end by itself need not be waited for.
    options.session.close_grace = Duration::from_millis(100);
    let (client, _) = start([child("srv", &script)], options);
    let status = client.ready(PATIENCE).await;
    assert_eq!(status[0].state, ServerState::Ready { tools: 1 }, "{what}");
    for number in 1..=2 {
        let answer = client.call(call("mcp__srv__echo", json!({"number": number}))).await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(answer.to_text(), json!({"number": number}).to_string(), "{what}");
        assert!(!answer.is_error, "{what}");
    }
    assert_eq!(client.client("srv").unwrap().status().restarts, 0, "{what}");
    client.close().await;
    assert!(script.journal().all_gone(PATIENCE).await, "{what}: {:?}", script.journal().alive());
}

#[tokio::test]
async fn notifications_of_an_unknown_method_before_the_handshake() {
    check("log", ServerScript::new().quirk(Quirk::LogBeforeHandshake(3))).await;
}

#[tokio::test]
async fn print_statements_on_the_protocols_stream() {
    let lines = ["Error parsing entry: time data '' does not match", "", "{not json}", "42", "[1, 2"];
    let chatter = Quirk::Chatter(lines.map(String::from).to_vec());
    let replies = Quirk::ChatterBeforeReply("Failed to fetch page 2".into());
    check("chatter", ServerScript::new().quirk(chatter).quirk(replies)).await;
}

#[tokio::test]
async fn empty_lines_around_messages() {
    check("blank lines", ServerScript::new().quirk(Quirk::BlankLines)).await;
}

#[tokio::test]
async fn a_server_that_knows_the_first_version_only() {
    let first = HandshakeVersion::Fixed("2024-11-05".into());
    check("2024-11-05", ServerScript::new().handshake_version(first)).await;
}

#[tokio::test]
async fn a_launcher_with_a_child_neither_of_which_ends_with_its_input() {
    let child = Quirk::Grandchild(Grandchild { holds_stdout: true, ..Grandchild::default() });
    check("never ends", ServerScript::new().quirk(Quirk::NeverExitsOnEof).quirk(child)).await;
}

#[tokio::test]
async fn a_handshake_that_takes_a_while() {
    check("300 ms", ServerScript::new().quirk(Quirk::HandshakeDelay(300))).await;
}

/// A server was seen to try its own provider for a minute before it says hello.
#[tokio::test]
async fn a_handshake_of_a_minute_ends_at_its_limit_and_delays_nobody() {
    let script = ServerScript::new().quirk(Quirk::HandshakeDelay(60_000)).quirk(Quirk::NeverExitsOnEof);
    let script = script.tool(ToolScript::echo("echo")).launch();
    let other = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let mut slow = child("slow", &script);
    slow.startup_timeout = Duration::from_millis(500);
    let mut options = ClientOptions::default();
    options.restart = RestartPolicy::never();
    let (client, _) = start([slow, child("other", &other)], options);
    until(client.client("other").unwrap(), is_ready).await;
    client.call(call("mcp__other__echo", json!({}))).await.unwrap();
    let state = until(client.client("slow").unwrap(), is_failed).await;
    assert!(state.to_string().contains("longer than 0.5 s"), "{state}");
    assert_eq!(tools(&client), ["mcp__other__echo"]);
    assert!(script.journal().all_gone(PATIENCE).await, "a start that was given up leaves nothing");
    client.close().await;
}

#[tokio::test]
async fn an_error_that_says_so_in_the_wrong_place_is_an_error() {
    let script = ServerScript::new()
        .tool(ToolScript::new("post").replies(Plays::MisplacedError("Rate limit exceeded".into())))
        .launch();
    let (client, recorder) = start([child("srv", &script)], ClientOptions::default());
    client.ready(PATIENCE).await;
    let answer = client.call(call("mcp__srv__post", json!({}))).await.unwrap();
    assert!(answer.is_error);
    assert_eq!(answer.to_text(), "Rate limit exceeded");
    assert_eq!(recorder.outcomes(), ["tool failed"]);
    client.close().await;
}

#[tokio::test]
async fn fifty_seven_tools_of_45_kilobytes_and_a_list_that_lets_three_through() {
    let script = ServerScript::new().many_tools(57, 45_000).launch();
    let all = child("all", &script);
    let mut some = child("some", &script);
    let wanted = ["search_source_00[0-2]"];
    some.filter = ToolFilter::new(Some(&wanted), &[] as &[&str]).unwrap();
    let (client, _) = start([all, some], ClientOptions::default());
    client.ready(PATIENCE).await;
    let names = tools(&client);
    assert_eq!(names.len(), 57 + 3);
    let cost = |server: &str| -> usize {
        let catalogue = client.catalogue();
        let entries = catalogue.iter().filter(|entry| entry.spec.server.as_str() == server);
        entries.map(|entry| entry.spec.description.as_deref().unwrap_or_default().len()).sum()
    };
    assert!(cost("all") > 30_000 && cost("some") < 3_000, "{} {}", cost("all"), cost("some"));
    client.call(call("mcp__some__search_source_002", json!({"query": "x"}))).await.unwrap();
    // What was left out cannot be called either.
    client.call(call("mcp__some__search_source_003", json!({"query": "x"}))).await.unwrap_err();
    client.close().await;
}
