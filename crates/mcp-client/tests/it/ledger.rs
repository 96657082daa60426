//! What is written down about calls, and what a disk that is full means.

use std::path::Path;

use massgen_testkit::{CallReply, Outcome as Plays, ServerScript, ToolScript};
use mcp_client::{ClientOptions, Ledger, MultiMcpClient, read_ledger};
use mcp_core::{AgentId, ToolError, ToolService};
use serde_json::{Value, json};

use crate::support::*;

fn options(path: &Path) -> (ClientOptions, Ledger) {
    let ledger = Ledger::new();
    ledger.write_to(Some(path.to_owned()));
    let mut options = restarts(3);
    options.ledger = Some(ledger.clone());
    (options, ledger)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn desk() -> ServerScript {
    ServerScript::new()
        .tool(ToolScript::echo("look").read_only())
        .tool(ToolScript::echo("post"))
        .tool(ToolScript::new("die").replies(Plays::Exit(3)))
        .tool(ToolScript::new("hang").replies(Plays::Hang))
        .tool(
            ToolScript::new("refuse")
                .replies(CallReply::new(Plays::RpcError { code: -32602, message: "no".into() })),
        )
}

async fn ready(client: &MultiMcpClient) {
    until(client.client("desk").unwrap(), is_ready).await;
}

#[tokio::test]
async fn each_call_is_written_before_it_is_sent_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let (options, ledger) = options(&path);
    let scripted = desk().launch();
    let (client, _) = start([child("desk", &scripted)], options);
    ready(&client).await;
    let secret = json!({"key": "hunter2-hunter2"});
    client.call(call("mcp__desk__post", secret.clone()).by(AgentId::new("scout").unwrap())).await.unwrap();
    client.call(call("mcp__desk__look", secret.clone())).await.unwrap();
    client.call(call("mcp__desk__refuse", secret.clone())).await.unwrap_err();
    // Dropped while the server works on it: it may have done it.
    let hanging = client.clone();
    let task = tokio::spawn(async move { hanging.call(call("mcp__desk__hang", json!({}))).await });
    scripted.journal().await_message(|m| m["params"]["name"] == "hang").await;
    task.abort();
    let _ = task.await;
    client.call(call("mcp__desk__die", json!({}))).await.unwrap_err();
    client.close().await;
    ledger.flush().await;

    let lines = lines(&path);
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let what = line["tool"].as_str().or(line["class"].as_str()).unwrap_or_default();
            format!("{} {what}", line["kind"].as_str().unwrap()).trim().to_owned()
        })
        .collect();
    assert_eq!(told[..4], ["opened", "intent post", "sent", "done answered"]);
    assert_eq!(told[4..7], ["intent look", "sent", "done answered"]);
    assert_eq!(told[7..10], ["intent refuse", "sent", "done server"]);
    assert_eq!(told[10..13], ["intent hang", "sent", "done dropped"]);
    assert_eq!(lines[1]["caller"], "scout");
    assert_eq!(lines[1]["args_hash"], lines[4]["args_hash"]);
    assert_eq!((&lines[1]["retry_safe"], &lines[4]["retry_safe"]), (&json!(false), &json!(true)));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));

    let reading = read_ledger(&path).unwrap();
    let unknown: Vec<_> = reading.unknown.iter().map(|call| call.tool.as_str()).collect();
    assert_eq!(unknown, ["hang", "die"]);
    assert_eq!((reading.calls, reading.damaged), (5, 0));
}

/// Every write to this device says that the disk is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_stops_what_changes_the_world_and_nothing_else() {
    let (options, _ledger) = options(Path::new("/dev/full"));
    let scripted = desk().launch();
    let (client, recorder) = start([child("desk", &scripted)], options);
    ready(&client).await;
    client.call(call("mcp__desk__look", json!({}))).await.unwrap();
    let error = client.call(call("mcp__desk__post", json!({}))).await.unwrap_err();
    let ToolError::Refused { refusal, .. } = &error else { panic!("{error}") };
    assert_eq!(refusal.rule, "ledger");
    client.call(call("mcp__desk__look", json!({}))).await.unwrap();
    client.close().await;

    let sent = scripted.journal().method("tools/call");
    let names: Vec<_> = sent.iter().map(|message| message["params"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["look", "look"]);
    assert_eq!(recorder.outcomes(), ["answered", "refused", "answered"]);
}

#[tokio::test]
async fn room_on_the_disk_brings_the_calls_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("away").join("ledger.jsonl");
    let (options, ledger) = options(&path);
    let scripted = desk().launch();
    let (client, _) = start([child("desk", &scripted)], options);
    ready(&client).await;
    client.call(call("mcp__desk__post", json!({}))).await.unwrap_err();
    std::fs::create_dir(folder.path().join("away")).unwrap();
    client.call(call("mcp__desk__post", json!({}))).await.unwrap();
    client.close().await;
    ledger.flush().await;
    let reading = read_ledger(&path).unwrap();
    assert_eq!((reading.calls, reading.unknown.len(), reading.damaged), (1, 0, 0));
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let begun = r#"{"kind":"intent","seq":1,"at_ms":1,"key":"old","server":"desk","tool":"post"}"#;
    std::fs::write(&path, format!("{begun}\n{{\"kind\":\"se")).unwrap();
    let (options, ledger) = options(&path);
    let scripted = desk().launch();
    let (client, _) = start([child("desk", &scripted)], options);
    ready(&client).await;
    client.call(call("mcp__desk__post", json!({}))).await.unwrap();
    client.close().await;
    ledger.flush().await;
    let reading = read_ledger(&path).unwrap();
    let unknown: Vec<_> = reading.unknown.iter().map(|call| call.key.as_str()).collect();
    assert_eq!(unknown, ["old"]);
    assert_eq!((reading.calls, reading.damaged), (2, 1));
}
