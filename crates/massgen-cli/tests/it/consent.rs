//! Whoever sits at a terminal is shown what a folder's configuration would start, and says whether it may; whatever the
//! command is, there is no other way.

use massgen_testkit::process::{self, Signal};
use massgen_testkit::{
    ModelEndpoint, ModelScript, PATIENCE, Reply, ScriptedServer, ServerScript, ToolScript,
};
use serde_json::{Value, json};

use crate::seat::Seat;
use crate::support::{Place, of_type};
use crate::team::agent;

const PROMPT: &str = "use it? [a] always, as it is  [y] this time  [n] no: ";

fn looking() -> ScriptedServer {
    ServerScript::new().tool(ToolScript::echo("look").read_only()).launch()
}

fn starts(server: &ScriptedServer) -> usize {
    server.journal().method("initialize").len()
}

/// A folder whose configuration has this server, and a team of one that calls `mcp__s__look`.
fn folder(server: &Value) -> Place {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ calls: [{ tool: mcp__s__look }] }, { answer: done }]");
    write(&place, "massgen.yaml", server);
    place
}

fn write(place: &Place, name: &str, server: &Value) {
    let team = json!({
        "mcp_servers": [server],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    });
    place.write(name, team.to_string());
}

#[test]
fn a_folders_server_is_shown_whole_and_used_as_long_as_it_is_that() {
    let (server, other) = (looking(), looking());
    let mut config = server.config("s");
    config["args"].as_array_mut().unwrap().push(json!("a, \"b\"\u{1b}[2J\u{202e}c"));
    config["env"]["HELLO"] = json!("there");
    let place = folder(&config);
    let run = ["--no-logs", "Go on."];

    let mut seat = Seat::take(&place, &run);
    let shown = seat.see(PROMPT);
    let program = config["command"].as_str().unwrap();
    assert!(shown.contains(&format!("program    {program}")), "{shown}");
    // Each argument by itself, and nothing in it that acts on the terminal.
    let last = shown.split("arguments  ").nth(1).unwrap();
    assert!(last.contains(r#""a, \"b\"\u001b[2J\u{202e}c"]"#), "{shown}");
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    assert!(shown.contains("HELLO") && !shown.contains("there"), "names and no values: {shown}");
    assert_eq!(starts(&server), 0);
    seat.type_line("perhaps");
    seat.answer(PROMPT, "n");
    let (code, screen) = seat.end();
    assert!(code == Some(0) && screen.contains("nobody has accepted"), "{screen}");
    assert_eq!(starts(&server), 0);

    // For this time: the next one asks again. A bare return is a no.
    let mut seat = Seat::take(&place, &run);
    seat.answer(PROMPT, "y");
    assert_eq!((seat.end().0, starts(&server)), (Some(0), 1));
    let mut seat = Seat::take(&place, &run);
    seat.answer(PROMPT, "");
    assert_eq!((seat.end().0, starts(&server)), (Some(0), 1));

    let mut seat = Seat::take(&place, &run);
    seat.answer(PROMPT, "a");
    assert_eq!((seat.end().0, starts(&server)), (Some(0), 2));
    let (code, screen) = Seat::take(&place, &run).end();
    assert!(code == Some(0) && !screen.contains("use it?"), "{screen}");
    assert_eq!(starts(&server), 3);

    // Something else under the same name.
    write(&place, "massgen.yaml", &other.config("s"));
    let mut seat = Seat::take(&place, &run);
    let shown = seat.see(PROMPT);
    assert!(shown.contains("is not what you accepted") && shown.contains("args["), "{shown}");
    seat.type_line("n");
    let (code, screen) = seat.end();
    assert!(code == Some(0) && screen.contains("how it is reached is not what was accepted"), "{screen}");
    assert_eq!(starts(&other), 0);
}

#[test]
fn ctrl_c_at_the_question_starts_nothing() {
    let server = looking();
    let place = folder(&server.config("s"));
    for command in [&["Go on."][..], &["mcp", "list"], &["mcp", "scan", "--live"]] {
        let mut seat = Seat::take(&place, command);
        seat.see(PROMPT);
        seat.interrupt();
        let (code, screen) = seat.end();
        assert_eq!(code, Some(130), "{screen}");
    }
    assert_eq!(starts(&server), 0);
    assert!(!place.path().join("massgen_logs").exists());
}

/// Every command that starts servers, where nobody is there to say so.
#[test]
fn no_command_starts_a_folders_server_by_itself() {
    let server = looking();
    let place = folder(&server.config("s"));
    // Nor does another program's file that came along.
    let command = server.config("s");
    let foreign = json!({"mcpServers": {"t": {"command": command["command"], "args": command["args"]}}});
    place.write(".mcp.json", foreign.to_string());
    let commands: [(&[&str], i32); 10] = [
        (&["--no-logs", "Go on."], 0),
        (&["mcp", "list"], 3),
        (&["mcp", "tools"], 3),
        (&["mcp", "call", "s", "look"], 3),
        (&["mcp", "resources"], 3),
        (&["mcp", "prompts"], 3),
        (&["mcp", "lock"], 3),
        (&["mcp", "doctor"], 3),
        (&["mcp", "scan", "--live"], 3),
        (&["mcp", "scan", "--all", "--live"], 3),
    ];
    for (command, code) in commands {
        let ended = place.run(command).expect_code(code);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("nobody has accepted how it is reached"), "{command:?}: {told}");
        assert_eq!(starts(&server), 0, "{command:?}");
    }
    // Whoever names the file has said whose it is.
    place.run(&["mcp", "list", "--config", "massgen.yaml"]).expect_code(0);
    assert_eq!(starts(&server), 1);
    place.run(&["mcp", "scan", "massgen.yaml", "--live"]).expect_code(0);
    assert_eq!(starts(&server), 2);
}

/// A run that hangs in its model, is killed, and leaves its log behind.
async fn cut_off(place: &Place, server: &ScriptedServer, args: &[&str]) -> String {
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| match request.has_results() {
        true => Reply::hang(),
        false => Reply::call("mcp__s__look", json!({})),
    }));
    let team =
        json!({"mcp_servers": [server.config("s")], "agents": [agent("a", "openai", &endpoint, "/v1")]});
    place.write("massgen.yaml", team.to_string());
    let running = place.spawn(args);
    server.journal().await_method("tools/call").await;
    running.signal(Signal::Kill);
    running.wait();
    write(place, "massgen.yaml", &server.config("s"));
    let log = place.log();
    let kept = place.path().join(format!("cut-off-{}", args.len()));
    std::fs::rename(log, &kept).unwrap();
    kept.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_taken_up_again_starts_what_was_allowed_to_it_and_no_more() {
    let server = looking();
    let place = folder(&server.config("s"));
    let resume = |log: &str, further: &[&str]| place.run(&[&["resume", log, "--no-logs"], further].concat());
    let named = cut_off(&place, &server, &["--config", "massgen.yaml", "Go on."]).await;
    let begun = starts(&server);
    // The user named the file, and the record of that is this installation's own.
    resume(&named, &[]).expect_code(0);
    assert_eq!(starts(&server), begun + 1);
    // A record that came with a folder names whatever it likes.
    let record = std::path::Path::new(&named).join("run.json");
    let mut forged: Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    forged.as_object_mut().unwrap().remove("mac");
    std::fs::write(&record, forged.to_string()).unwrap();
    let told = resume(&named, &[]).expect_code(0);
    assert!(told.stdout.contains("nobody has accepted how it is reached"), "{}", told.stdout);
    assert_eq!(starts(&server), begun + 1);
    resume(&named, &["--config", "massgen.yaml"]).expect_code(0);
    assert_eq!(starts(&server), begun + 2);

    // As a run, it can be held to the lock.
    let told = resume(&named, &["--config", "massgen.yaml", "--locked"]).expect_code(1);
    assert!(told.stderr.contains("--locked needs"), "{}", told.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_a_folders_configuration_is_taken_up_again_by_whoever_agrees() {
    let server = looking();
    let place = folder(&server.config("s"));
    place.run(&["mcp", "lock", "--accept"]).expect_code(0);
    let log = cut_off(&place, &server, &["Go on."]).await;
    let resume = ["resume", &log, "--no-logs"];
    let begun = starts(&server);
    // What was accepted is accepted.
    place.run(&resume).expect_code(0);
    assert_eq!(starts(&server), begun + 1);
    std::fs::remove_dir_all(place.path().join(".local/state/massgen/accepted")).unwrap();
    for (answer, starts_now) in [("n", begun + 1), ("y", begun + 2)] {
        let mut seat = Seat::take(&place, &resume);
        let shown = seat.see(PROMPT);
        assert!(shown.contains("came with this folder"), "{shown}");
        seat.type_line(answer);
        assert_eq!((seat.end().0, starts(&server)), (Some(0), starts_now));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_swapped_in_the_middle_of_a_run_is_not_started_again() {
    let (server, other) = (looking(), looking());
    let mut place = Place::new();
    place.set("OPENAI_API_KEY", "k");
    let runner = place.path().join("runner");
    let write = {
        let runner = runner.clone();
        move |text: &str| {
            use std::os::unix::fs::PermissionsExt;
            // As an update does it: another file under the name, the old one may still be running.
            let draft = runner.with_extension("new");
            std::fs::write(&draft, text).unwrap();
            std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&draft, &runner).unwrap();
        }
    };
    write("#!/bin/sh\nexec \"$@\"\n");
    let mut config = server.config("s");
    let mut args = vec![config["command"].clone()];
    args.extend(config["args"].as_array().unwrap().iter().cloned());
    (config["command"], config["args"]) = (runner.to_str().unwrap().into(), args.into());
    let journal = server.journal();
    let logs = place.path().join("massgen_logs");
    let is_refused = move || {
        let runs = std::fs::read_dir(&logs).unwrap().map(|run| run.unwrap().path().join("audit.jsonl"));
        runs.map(|log| std::fs::read_to_string(log).unwrap_or_default())
            .any(|log| log.contains("launch-changed"))
    };
    let mut turn = 0;
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(move |_| {
        turn += 1;
        match turn {
            1 => Reply::call("mcp__s__look", json!({})),
            2 => {
                write("#!/bin/sh\ntouch swapped\nexec \"$@\"\n");
                journal.alive().into_iter().for_each(|pid| process::signal(pid, Signal::Kill));
                assert!(process::until_blocking(PATIENCE, || journal.alive().is_empty()));
                Reply::call("mcp__s__look", json!({}))
            }
            3 => {
                assert!(process::until_blocking(PATIENCE, &is_refused), "it would be started again");
                Reply::call("mcp__o__look", json!({}))
            }
            _ => Reply::call("new_answer", json!({"content": "seen what there was"})),
        }
    }));
    place.config(&json!({
        "mcp_servers": [config, other.config("o")],
        "agents": [agent("a", "openai", &endpoint, "/v1")],
    }));
    let ended = place.run(&["--config", "team.yaml", "Go on."]).expect_code(0);
    assert!(ended.stdout.contains("seen what there was"), "{}", ended.stdout);
    let calls = |server: &ScriptedServer| server.journal().method("tools/call").len();
    assert_eq!((calls(&server), calls(&other), starts(&server)), (1, 1, 1), "{}", ended.stdout);
    assert!(!place.path().join("swapped").exists());
    let told = format!("{:?}", of_type(&place.events(), "server"));
    assert!(told.contains("a start now would run something else than before"), "{told}");
    assert!(told.contains("the program") && told.contains("sha256"), "{told}");
    assert!(told.contains("put back what was there"), "{told}");

    let log = place.log();
    let log = log.to_str().unwrap();
    place.run(&["mcp", "audit", "verify", "--keyed", log]).expect_code(0);
    let query = ["mcp", "audit", "query", log, "--rule", "launch-changed", "--json"];
    let found = place.run(&query).expect_code(0).json();
    let record = &found.as_array().unwrap()[0];
    assert_eq!((&record["server"], &record["decision"]), (&json!("s"), &json!("deny")), "{found}");
    assert!(record["detail"].as_str().unwrap().contains("the program"), "{found}");
}
