//! What a run leaves behind when it is cut off, what is made of that, and a proxy that makes trouble.

use std::path::PathBuf;

use massgen_testkit::{
    CallReply, Journal, ModelEndpoint, ModelScript, Outcome, PATIENCE, Reply, ScriptedServer, ServerScript,
    ToolScript, process,
};
use serde_json::{Value, json};

use crate::support::Place;
use crate::team::agent;

/// How many calls of the tool arrived at the server, all its processes together.
fn posts(journal: &Journal) -> usize {
    journal.method("tools/call").iter().filter(|call| call["params"]["name"] == "post").count()
}

fn logs(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path().join("massgen_logs")).unwrap();
    let mut logs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    logs.sort();
    logs
}

fn board() -> ScriptedServer {
    let hang = CallReply::new(Outcome::Hang);
    ServerScript::new()
        .tool(ToolScript::new("post").replies(hang))
        .tool(ToolScript::new("look").read_only().text("one message"))
        .launch()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_run_is_resumed_and_posts_nothing_again() {
    let server = board();
    // Told that a post may have happened, the model looks; told nothing, it posts.
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| {
        let told = request.body.to_string().contains("may or may not have taken effect");
        if request.has_results() {
            Reply::call("new_answer", json!({"content": "it was posted once"}))
        } else if told {
            Reply::call("mcp__board__look", json!({}))
        } else {
            Reply::call("mcp__board__post", json!({"text": "hello"}))
        }
    }));
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [server.config("board")],
        "agents": [agent("poster", "openai", &endpoint, "/v1")],
    }));
    let running = place.spawn(&["--config", "team.yaml", "post hello"]);
    let journal = server.journal();
    journal.await_method("tools/call").await;
    running.signal(process::Signal::Kill);
    assert_eq!(running.wait().code, None);
    assert!(journal.all_gone(PATIENCE).await, "{:?}", journal.alive());

    let cut_off = place.log();
    let name = cut_off.to_str().unwrap().to_owned();
    let resumed = place.run(&["resume", &name]).expect_code(0);
    assert!(resumed.stdout.contains("post on server board by poster"), "{}", resumed.stdout);
    assert!(resumed.stdout.contains(r#"{"text":"hello"}"#), "{}", resumed.stdout);
    assert!(resumed.stdout.contains("it was posted once"), "{}", resumed.stdout);
    assert_eq!(posts(&journal), 1);

    // The run that took it up is over: there is nothing to do, and the call of before is still told.
    let second = logs(&place).into_iter().find(|log| *log != cut_off).unwrap();
    let again = place.run(&["resume", second.to_str().unwrap()]).expect_code(0);
    assert!(again.stdout.contains("post on server board by poster"), "{}", again.stdout);
    assert!(again.stdout.contains("The run was answered"), "{}", again.stdout);
    assert_eq!((posts(&journal), logs(&place).len()), (1, 2));

    let stats = place.run(&["mcp", "stats", "--all", "--json"]).expect_code(0).json();
    let rows = stats["tools"].as_array().unwrap();
    let looks = rows.iter().find(|row| row["tool"] == "look").unwrap();
    assert_eq!(
        (&looks["server"], &looks["agent"], &looks["calls"]),
        (&json!("board"), &json!("poster"), &json!(1))
    );
    let table = place.run(&["mcp", "stats", second.to_str().unwrap()]).expect_code(0).stdout;
    assert!(table.starts_with("SERVER") && table.contains("look"), "{table}");
}

#[test]
fn a_record_that_was_cut_off_is_told_with_its_call() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ calls: [{ tool: mcp__board__look }] }, { answer: done }]");
    let server = board();
    place.config(&json!({
        "mcp_servers": [server.config("board")],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    place.run(&["--config", "team.yaml", "look"]).expect_code(0);
    let log = place.log();
    let intent = r#"{"kind":"intent","seq":2,"read_only":false,"server":"board","tool":"post","ke"#;
    for (torn, told, lists) in [
        (intent, "taken for unknown", true),
        (r#"{"kind":"intent","seq":2,"read_only":false,"ser"#, "cannot be told any more", false),
    ] {
        let ledger = log.join("ledger.jsonl");
        let whole = std::fs::read_to_string(&ledger).unwrap();
        std::fs::write(&ledger, format!("{whole}{torn}")).unwrap();
        let resumed = place.run(&["resume", log.to_str().unwrap()]).expect_code(0);
        std::fs::write(&ledger, whole).unwrap();
        assert!(
            resumed.stderr.contains("warning: the last record") && resumed.stderr.contains(told),
            "{}",
            resumed.stderr
        );
        assert_eq!(resumed.stdout.contains("post on server board"), lists, "{}", resumed.stdout);
    }
    assert_eq!(posts(&server.journal()), 0);
}

#[test]
fn what_is_no_run_is_not_resumed() {
    let place = Place::new();
    let ended = place.run(&["resume", "nowhere"]).expect_code(1);
    assert!(ended.stderr.contains("no log folder of a run"), "{}", ended.stderr);
    let ended = place.run(&["mcp", "stats"]).expect_code(1);
    assert!(ended.stderr.contains("massgen_logs"), "{}", ended.stderr);
}

/// The entry of a server behind the proxy.
fn behind_chaos(server: &ScriptedServer, options: &[&str]) -> Value {
    let mut args: Vec<String> = ["mcp", "chaos"].iter().chain(options).map(|&arg| arg.to_owned()).collect();
    args.extend(["--".to_owned(), server.command()]);
    args.extend(server.args());
    json!({"name": "tried", "type": "stdio", "command": env!("CARGO_BIN_EXE_massgen"), "args": args})
}

fn call(server: &ScriptedServer, options: &[&str]) -> crate::support::Ended {
    let place = Place::new();
    place.config(&json!({"mcp_servers": [behind_chaos(server, options)], "agents": [
        {"id": "nobody", "backend": {"type": "openai", "model": "m", "api_key": "k"}},
    ]}));
    place.run(&["mcp", "call", "--config", "team.yaml", "tried", "look", "--json"])
}

#[test]
fn chaos_without_options_changes_nothing() {
    let server = board();
    let ended = call(&server, &[]).expect_code(0);
    assert_eq!(ended.json()["content"][0]["text"], "one message");
    assert!(process::until_blocking(PATIENCE, || server.journal().alive().is_empty()));
}

#[test]
fn chaos_between_client_and_server_is_what_it_says() {
    let server = board();
    // Noise before each message, and each one late: the client copes.
    let ended = call(&server, &["--garbage", "1", "--delay", "5", "--seed", "1"]).expect_code(0);
    assert_eq!(ended.json()["content"][0]["text"], "one message");

    let failing = board();
    let ended = call(&failing, &["--error", "-32000"]).expect_code(3);
    assert!(ended.stderr.contains("trouble made by massgen mcp chaos"), "{}", ended.stderr);
    assert_eq!(failing.journal().method("tools/call").len(), 0);

    // Whatever the handshake takes: the server dies before it is through.
    let dying = board();
    let ended = call(&dying, &["--crash-after", "1"]);
    assert_ne!(ended.code, Some(0));
    for server in [&server, &failing, &dying] {
        assert!(process::until_blocking(PATIENCE, || server.journal().alive().is_empty()));
    }
}
