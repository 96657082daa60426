//! What becomes of a call.

use std::sync::atomic::Ordering;
use std::time::Duration;

use massgen_testkit::{CallReply, Outcome as Plays, Progress, ServerScript, ToolScript};
use mcp_client::{ClientOptions, McpClient};
use mcp_core::{AgentId, Phase, ToolError, ToolService};
use mcp_security::Policy;
use serde_json::json;
use tokio::time::Instant;

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);
const ALL: &[(&str, Does)] =
    &[("echo", Does::Echo), ("fail", Does::Fail), ("hang", Does::Hang), ("checked", Does::Echo)];

#[tokio::test(start_paused = true)]
async fn the_observer_sees_every_outcome_and_no_argument() {
    let service = Memory::new(ALL);
    let mut config = memory("srv", &service);
    config.call_timeout = SECOND;
    let (client, recorder) = start([config], ClientOptions::default());
    client.ready(SECOND * 30).await;
    let secret = json!({"text": "hunter2-hunter2"});

    let scout = AgentId::new("scout").unwrap();
    let answer = client.call(call("mcp__srv__echo", secret.clone()).by(scout.clone())).await.unwrap();
    assert_eq!(answer.to_text(), r#"{"text":"hunter2-hunter2"}"#);
    assert!(client.call(call("mcp__srv__fail", secret.clone())).await.unwrap().is_error);
    for (tool, arguments) in [
        ("mcp__srv__hang", secret.clone()),
        ("mcp__srv__checked", json!({"count": "hunter2-hunter2"})),
        ("mcp__srv__nothing", secret.clone()),
    ] {
        client.call(call(tool, arguments)).await.unwrap_err();
    }
    let hang = "mcp__srv__hang";
    tokio::select! {
        biased;
        _ = client.call(call(hang, secret.clone())) => unreachable!(),
        () = std::future::ready(()) => {}
    }
    client.close().await;
    client.call(call(hang, secret)).await.unwrap_err();

    assert_eq!(
        recorder.outcomes(),
        ["answered", "tool failed", "timeout", "invalid_arguments", "unknown_tool", "dropped", "unavailable"]
    );
    let records = recorder.records.lock().unwrap();
    assert_eq!(records[0].caller, Some(scout));
    assert_eq!(records[0].server, Some(name("srv")));
    assert_eq!(records[2].duration, SECOND);
    assert_eq!(records[4].server, None);
    assert!(!format!("{records:?}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn invalid_arguments_never_reach_the_server() {
    let service = Memory::new(ALL);
    let (client, _) = start([memory("srv", &service)], ClientOptions::default());
    client.ready(SECOND * 30).await;
    let tool = "mcp__srv__checked";
    let error = client.call(call(tool, json!({"count": "five"}))).await.unwrap_err();
    assert!(
        matches!(&error, ToolError::InvalidArguments { problems, .. } if problems[0].contains("/count")),
        "{error}"
    );
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    client.call(call(tool, json!({"count": 5}))).await.unwrap();
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_lesser_limit_ends_an_attempt_and_the_server_hears_of_it() {
    // (attempt, total, the caller's) -> the limit that ran out
    for (attempt, total, callers, expected) in
        [(2, 300, None, 2), (60, 3, None, 3), (60, 300, Some(4), 4), (60, 300, Some(0), 0)]
    {
        let service = Memory::new(ALL);
        let mut config = memory("srv", &service);
        (config.call_timeout, config.total_timeout) = (attempt * SECOND, total * SECOND);
        let (client, _) = start([config], ClientOptions::default());
        client.ready(SECOND * 30).await;
        let mut request = call("mcp__srv__hang", json!({}));
        if let Some(seconds) = callers {
            request = request.until((Instant::now() + seconds * SECOND).into_std());
        }
        let error = client.call(request).await.unwrap_err();
        let ToolError::Timeout { limit, phase: Phase::Call, .. } = error else { panic!("{error}") };
        assert_eq!(limit, expected * SECOND);
        if expected == 0 {
            assert_eq!(service.calls.load(Ordering::SeqCst), 0, "a call that came too late was sent");
        } else {
            service.dropped.notified().await;
        }
    }
}

#[tokio::test]
async fn a_child_is_told_that_nobody_waits_any_more() {
    let script = ServerScript::new().tool(ToolScript::new("hang").replies(Plays::Hang));
    let scripted = script.launch();
    let mut config = child("srv", &scripted);
    config.call_timeout = Duration::from_millis(500);
    let (client, _) = start([config], ClientOptions::default());
    client.ready(massgen_testkit::PATIENCE).await;
    let error = client.call(call("mcp__srv__hang", json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::Timeout { .. }), "{error}");
    let sent = scripted.journal().await_method("tools/call").await;
    let cancelled = scripted.journal().await_method("notifications/cancelled").await;
    assert_eq!(cancelled["params"]["requestId"], sent["id"]);
    client.close().await;
}

#[tokio::test]
async fn progress_pushes_the_attempt_timeout_back() {
    // 1.2 s with reports outlast a limit of 1 s.
    let reports =
        CallReply::new(Plays::Text("at last".into())).progress(Progress { count: 24, every_ms: 50 });
    let silence = CallReply::new(Plays::Text("too late".into())).delay_ms(60_000);
    let script = ServerScript::new()
        .tool(ToolScript::new("reports").replies(reports))
        .tool(ToolScript::new("silence").replies(silence));
    let scripted = script.launch();
    let mut config = child("srv", &scripted);
    config.call_timeout = SECOND;
    let (client, _) = start([config], ClientOptions::default());
    client.ready(massgen_testkit::PATIENCE).await;
    assert_eq!(client.call(call("mcp__srv__reports", json!({}))).await.unwrap().to_text(), "at last");
    let error = client.call(call("mcp__srv__silence", json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::Timeout { .. }), "{error}");
    client.close().await;
}

#[tokio::test]
async fn a_protocol_error_is_the_servers_answer() {
    let outcome = Plays::RpcError { code: -32001, message: "broken".into() };
    let scripted = ServerScript::new().tool(ToolScript::new("break").replies(outcome)).launch();
    let (client, recorder) = start([child("srv", &scripted)], ClientOptions::default());
    client.ready(massgen_testkit::PATIENCE).await;
    let error = client.call(call("mcp__srv__break", json!({}))).await.unwrap_err();
    assert!(matches!(&error, ToolError::Server { code: -32001, .. }), "{error}");
    assert_eq!(recorder.outcomes(), ["server"]);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_cancels_it() {
    let service = Memory::new(ALL);
    let (client, recorder) = start([memory("srv", &service)], ClientOptions::default());
    client.ready(SECOND * 30).await;
    let request = call("mcp__srv__hang", json!({}));
    tokio::select! {
        _ = client.call(request) => unreachable!(),
        () = service.begun.notified() => {}
    }
    service.dropped.notified().await;
    assert_eq!(recorder.outcomes(), ["dropped"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_is_met_with_the_nearest_name() {
    let (client, _) = start([memory("srv", &Memory::new(ALL))], ClientOptions::default());
    client.ready(SECOND * 30).await;
    let right = "mcp__srv__checked";
    let error = client.call(call(&right.replace("checked", "cheked"), json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::UnknownTool { nearest: Some(nearest), .. } if nearest == right));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_one_server_calls_by_raw_names() {
    let service = Memory::new(ALL);
    let (guard, observer) =
        (std::sync::Arc::new(Policy::default()), std::sync::Arc::new(Recorder::default()));
    let config = memory("srv", &service);
    let client = McpClient::connect(config, guard, observer.clone(), ClientOptions::default()).await.unwrap();
    let tool = client.tools().into_iter().find(|tool| tool.name.as_str().ends_with("echo")).unwrap();
    let answer = client.call_tool(tool.name.as_str(), object(json!({"a": 1}))).await.unwrap();
    assert_eq!(answer.to_text(), r#"{"a":1}"#);
    assert!(matches!(
        client.call_tool("nothing", object(json!({}))).await,
        Err(ToolError::UnknownTool { .. })
    ));
    client.close().await;
    let error = client.call_tool(tool.name.as_str(), object(json!({}))).await.unwrap_err();
    assert!(matches!(error, ToolError::Unavailable { .. }), "{error}");
    assert_eq!(observer.outcomes(), ["answered", "unknown_tool", "unavailable"]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_once_are_all_answered() {
    let service = Memory::new(ALL);
    let (client, _) = start([memory("srv", &service)], ClientOptions::default());
    client.ready(SECOND * 30).await;
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let client = client.clone();
        calls.spawn(async move { client.call(call("mcp__srv__echo", json!({"n": n}))).await });
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(service.calls.load(Ordering::SeqCst), 1000);
}
