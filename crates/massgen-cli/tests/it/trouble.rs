//! Runs in which something goes wrong: they end well-formed, with the right exit code, and leave nothing behind.

use massgen_testkit::{
    CallReply, ModelEndpoint, ModelScript, Outcome, PATIENCE, Quirk, Reply, ServerScript, ToolScript, Turn,
    process,
};
use serde_json::json;

use crate::support::{Place, assert_well_formed, of_type};
use crate::team::agent;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_call_costs_its_call_only() {
    let server = ServerScript::new()
        .tool(ToolScript::new("wait").read_only().replies(CallReply::new(Outcome::Hang)))
        .launch();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| {
        if request.has_results() {
            Reply::call("new_answer", json!({"content": "the server is gone, but here is an answer"}))
        } else {
            Reply::call("mcp__frail__wait", json!({}))
        }
    }));
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [server.config("frail")],
        "agents": [agent("only", "openai", &endpoint, "/v1")],
    }));
    let running = place.spawn(&["--config", "team.yaml", "wait for it"]);
    let journal = server.journal();
    journal.await_method("tools/call").await;
    for pid in journal.pids() {
        process::signal(pid, process::Signal::Kill);
    }
    let ended = running.wait().expect_code(0);
    assert!(ended.stdout.contains("here is an answer"), "{}", ended.stdout);
    let events = place.events();
    assert_well_formed(&events);
    assert_eq!(of_type(&events, "tool_finished")[0]["status"], "failed");
    assert!(journal.all_gone(PATIENCE).await, "{:?}", journal.alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_children_and_leaves_a_readable_log() {
    let server = ServerScript::new()
        .tool(ToolScript::new("wait").replies(CallReply::new(Outcome::Hang)))
        .quirk(Quirk::NeverExitsOnEof)
        .launch();
    let endpoint =
        ModelEndpoint::start(ModelScript::new().otherwise(Reply::call("mcp__slow__wait", json!({}))));
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [server.config("slow")],
        "agents": [agent("a", "claude", &endpoint, "/v1"), agent("b", "chatcompletion", &endpoint, "/v1")],
    }));
    let running = place.spawn(&["--config", "team.yaml", "wait for ever"]);
    let journal = server.journal();
    journal.await_method("tools/call").await;
    running.signal(process::Signal::Interrupt);
    running.wait().expect_code(130);
    let events = place.events();
    assert_well_formed(&events);
    assert_eq!(events.last().unwrap()["outcome"], "interrupted");
    assert!(journal.all_gone(PATIENCE).await, "{:?}", journal.alive());
}

/// On a file system of its own without room, where there may be one.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_is_told_once_for_each_thing_that_suffers() {
    let server = ServerScript::new().tool(ToolScript::echo("wipe")).launch();
    let place = Place::new();
    place.write("play.yaml", "turns: [{ calls: [{ tool: mcp__s__wipe }] }, { answer: done }]");
    place.config(&json!({
        "mcp_servers": [server.config("s")],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    // Folders take no room there.
    std::fs::create_dir(place.path().join("massgen_logs")).unwrap();
    let full = "mount -t tmpfs -o size=4k none massgen_logs && head -c 4096 /dev/zero > massgen_logs/filler && exec \"$0\" \"$@\"";
    let apart = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", full];
    let possible = std::process::Command::new("unshare")
        .args(&apart[1..6])
        .arg("mount -t tmpfs none massgen_logs")
        .current_dir(place.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        println!("skipped: no file system of its own can be had here");
        return;
    }
    let ended = place.run_by(&apart, &["--config", "team.yaml", "Go on."]).expect_code(0);
    let is_told =
        |line: &&str| line.trim_start().starts_with("WARN") || line.trim_start().starts_with("ERROR");
    let told: Vec<&str> = ended.stderr.lines().filter(is_told).collect();
    assert_eq!(told.len(), 3, "{}", ended.stderr);
    for what in [
        "log folder cannot be written",
        "the record of the run stops here",
        "the audit log cannot be written",
    ] {
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {}", ended.stderr);
    }
    assert!(ended.stdout.contains("done"), "{}", ended.stdout);
}

/// The first thing that a command reads is a pipe here: it waits there until the signal was sent.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_in_the_first_moment_is_an_interruption_too() {
    let server = ServerScript::new().tool(ToolScript::new("wait")).quirk(Quirk::HandshakeSilent).launch();
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: done }]");
    place.config(&json!({
        "mcp_servers": [server.config("s")],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let variables = place.path().join(".env");
    assert!(std::process::Command::new("mkfifo").arg(&variables).status().unwrap().success());
    for signal in [process::Signal::Interrupt, process::Signal::Terminate] {
        let running = place.spawn(&["mcp", "list", "--config", "team.yaml"]);
        // This takes until it is opened to be read.
        let pipe = std::fs::OpenOptions::new().write(true).open(&variables).unwrap();
        running.signal(signal);
        drop(pipe);
        running.wait().expect_code(130);
    }
    assert!(server.journal().all_gone(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_for_ever_is_given_up_and_the_others_go_on() {
    let broken = ModelEndpoint::start(ModelScript::new().otherwise(Reply::status(500).retry_after(0)));
    let sound = ModelEndpoint::start(ModelScript::from_fn(|request| {
        if request.offers("vote") {
            Reply::call("vote", json!({"agent_id": "agent2", "reason": "it is there"}))
        } else if request.offers("new_answer") {
            Reply::call("new_answer", json!({"content": "one answer is enough"}))
        } else {
            Reply::text("one answer is enough")
        }
    }));
    let place = Place::new();
    place.config(&json!({"agents": [
        agent("broken", "openai", &broken, "/v1"),
        agent("sound", "openai", &sound, "/v1"),
    ]}));
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    let events = place.events();
    assert_well_formed(&events);
    let given_up = of_type(&events, "agent_failed");
    assert!(given_up.last().unwrap()["retry_in_ms"].is_null(), "{given_up:?}");
    assert_eq!(events.last().unwrap()["outcome"], "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_left_is_exit_code_3_with_the_reasons() {
    let broken = ModelEndpoint::start(
        ModelScript::new().otherwise(Reply::status(401).message("no such key").code("invalid_api_key")),
    );
    let place = Place::new();
    place.config(
        &json!({"agents": [agent("a", "openai", &broken, "/v1"), agent("b", "claude", &broken, "/v1")]}),
    );
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(3);
    assert!(ended.stderr.contains("no such key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("test-key-of-nobody") && !ended.stdout.contains("test-key-of-nobody"));
    let events = place.events();
    assert_well_formed(&events);
    assert_eq!(events.last().unwrap()["outcome"], "no_answer");
    // A refused key is not tried again.
    assert_eq!(broken.http().requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_that_runs_out_leaves_the_best_answer() {
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| {
        match (request.model.as_str(), request.offers("vote")) {
            ("model-of-quick", false) => Reply::call("new_answer", json!({"content": "the best so far"})),
            _ => Reply::hang(),
        }
    }));
    let place = Place::new();
    place.config(&json!({"agents": [
        agent("quick", "openai", &endpoint, "/v1"),
        agent("slow", "gemini", &endpoint, "/v1beta"),
    ]}));
    let ended = place.run(&["--config", "team.yaml", "--orchestrator-timeout", "3", "q"]).expect_code(4);
    assert!(ended.stdout.contains("the best so far"), "{}", ended.stdout);
    let events = place.events();
    assert_well_formed(&events);
    assert_eq!(events.last().unwrap()["outcome"], "timed_out");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_break_the_protocol_are_told_and_come_round() {
    let step = std::sync::atomic::AtomicUsize::new(0);
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(move |request| {
        if request.offers("vote") && !request.offers("new_answer") {
            return Reply::text("unexpected");
        }
        match step.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Turn::call("mcp__nowhere__tool", json!({})).into(),
            1 => Turn::new().and_broken_call("new_answer", "{\"content\": ").into(),
            2 => Turn::call("vote", json!({"agent_id": "nobody", "reason": "?"})).into(),
            _ => Turn::call("new_answer", json!({"content": "at last"})).into(),
        }
    }));
    let place = Place::new();
    place.config(&json!({"agents": [agent("clumsy", "chatcompletion", &endpoint, "/v1")]}));
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    assert!(ended.stdout.contains("at last"), "{}", ended.stdout);
    assert_eq!(endpoint.refusals(), Vec::<String>::new(), "every call was answered in the wire's form");
    assert_well_formed(&place.events());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_says_nothing_is_no_answer() {
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("")));
    let place = Place::new();
    place.config(&json!({
        "agents": [agent("mute", "chatcompletion", &endpoint, "/v1")],
        "limits": {"max_rounds": 1},
    }));
    place.run(&["--config", "team.yaml", "q"]).expect_code(3);
    assert_well_formed(&place.events());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_speaks_through_the_run() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: fine without it }]");
    let server = ServerScript::new()
        .quirk(Quirk::ExitAtStart { code: 3, stderr: "ModuleNotFoundError: fastmcp".into() })
        .launch();
    place.config(&json!({
        "mcp_servers": [server.config("papers"), {"name": "gone", "command": "no-such-program-anywhere"}],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    assert!(ended.stdout.contains("ModuleNotFoundError: fastmcp"), "{}", ended.stdout);
    assert!(ended.stdout.contains("no-such-program-anywhere"), "{}", ended.stdout);
    let failed: Vec<_> = of_type(&place.events(), "server")
        .into_iter()
        .filter(|event| event["state"] == "unreachable")
        .cloned()
        .collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_told_when_tools_leave_and_when_they_are_back() {
    let frail = ServerScript::new().tool(ToolScript::new("die").replies(Outcome::Exit(3))).launch();
    let steady = ServerScript::new().tool(ToolScript::echo("look").read_only()).launch();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| {
        let told = |what: &str| request.messages.iter().any(|message| message.text.contains(what));
        if told("These tools are available now: mcp__frail__die.") {
            Reply::call("new_answer", json!({"content": "it is back"}))
        } else if !told("not available any more: mcp__frail__die.") && request.offers("mcp__frail__die") {
            Reply::call("mcp__frail__die", json!({}))
        } else if request.offers("mcp__steady__look") {
            // Not the same call twice, and no faster than a server comes back.
            let look = Reply::call("mcp__steady__look", json!({"at": request.number}));
            look.delay(std::time::Duration::from_millis(100))
        } else {
            Reply::text("it is back")
        }
    }));
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [frail.config("frail"), steady.config("steady")],
        "agents": [agent("only", "claude", &endpoint, "/v1")],
    }));
    let ended = place.run(&["--config", "team.yaml", "--changes", "allow", "is it there?"]).expect_code(0);
    assert!(ended.stdout.contains("it is back"), "{}", ended.stdout);
    assert_eq!(endpoint.refusals(), Vec::<String>::new(), "the line fits into the wire");
    let events = place.events();
    assert_well_formed(&events);
    // The user is told each change of state once.
    let states: Vec<_> = of_type(&events, "server")
        .into_iter()
        .filter(|event| event["server"] == "frail")
        .map(|event| event["state"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        states.contains(&"unreachable".to_owned()) && states.windows(2).all(|two| two[0] != two[1]),
        "{states:?}"
    );
}

#[test]
fn required_servers_that_are_missing_end_the_run_early_with_their_list() {
    let place = Place::new();
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("nobody asks me")));
    let broken = ServerScript::new()
        .quirk(Quirk::ExitAtStart { code: 3, stderr: "ModuleNotFoundError: fastmcp".into() })
        .launch();
    let mut papers = broken.config("papers");
    papers["required"] = json!(true);
    place.config(&json!({
        "mcp_servers": [papers, {"name": "gone", "command": "no-such-program-anywhere", "required": true}],
        "agents": [agent("a", "openai", &endpoint, "/v1")],
    }));
    place.run(&["--config", "team.yaml", "q"]).expect_code(3);
    assert!(endpoint.http().requests().is_empty(), "no model was asked");
    let events = place.events();
    assert_well_formed(&events);
    let warnings = of_type(&events, "warning");
    let message = warnings.last().unwrap()["message"].as_str().unwrap();
    assert!(message.starts_with("the run ends, because servers it requires are missing:"), "{message}");
    assert!(message.contains("\n  papers: ") && message.contains("\n  gone: "), "{message}");
}

/// Twenty servers, each of them killed while the model thinks, and none comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_servers_all_die_goes_on_and_says_so_in_one_line() {
    let gone = ServerScript::new().quirk(Quirk::ExitAtStart { code: 3, stderr: "gone".into() });
    let server =
        || ServerScript::new().tool(ToolScript::echo("look").read_only()).after_restart(gone.clone());
    let servers: Vec<_> = (0..20).map(|_| server().launch()).collect();
    let journals: Vec<_> = servers.iter().map(|server| server.journal()).collect();
    let killed = journals.clone();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(move |request| {
        if request.number == 0 {
            let all = killed.iter().flat_map(|journal| journal.pids());
            all.for_each(|pid| process::signal(pid, process::Signal::Kill));
            Reply::call("mcp__s0__look", json!({}))
        } else if request.offers("mcp__s0__look")
            || (0..20).any(|number| request.offers(&format!("mcp__s{number}__look")))
        {
            Reply::call("mcp__s1__look", json!({"at": request.number}))
                .delay(std::time::Duration::from_millis(100))
        } else {
            Reply::call("new_answer", json!({"content": "without any tool"}))
        }
    }));
    let place = Place::new();
    let configs: Vec<_> =
        servers.iter().enumerate().map(|(number, server)| server.config(&format!("s{number}"))).collect();
    place.config(&json!({"mcp_servers": configs, "agents": [agent("only", "openai", &endpoint, "/v1")]}));
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    assert!(ended.stdout.contains("without any tool"), "{}", ended.stdout);
    let events = place.events();
    assert_well_formed(&events);
    let summaries = of_type(&events, "warning");
    let summaries =
        summaries.iter().filter(|event| event["message"].as_str().unwrap().contains("servers can be used"));
    let told: Vec<_> = summaries.map(|event| event["message"].as_str().unwrap()).collect();
    assert_eq!(told, ["none of the 20 servers can be used; the run goes on without their tools"]);
    for journal in journals {
        assert!(journal.all_gone(PATIENCE).await, "{:?}", journal.alive());
    }
}

#[test]
fn twenty_required_servers_that_are_missing_are_one_list() {
    let place = Place::new();
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("nobody asks me")));
    let configs: Vec<_> = (0..20)
        .map(|number| json!({"name": format!("s{number}"), "command": "no-such-program-anywhere", "required": true}))
        .collect();
    place.config(&json!({"mcp_servers": configs, "agents": [agent("a", "openai", &endpoint, "/v1")]}));
    place.run(&["--config", "team.yaml", "q"]).expect_code(3);
    assert!(endpoint.http().requests().is_empty(), "no model was asked");
    let events = place.events();
    let lists: Vec<_> = of_type(&events, "warning")
        .into_iter()
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .filter(|message| message.contains("servers"))
        .collect();
    assert_eq!(lists.len(), 1, "{lists:?}");
    assert!((0..20).all(|number| lists[0].contains(&format!("\n  s{number}: "))), "{lists:?}");
}
