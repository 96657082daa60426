//! What is wrong is said with place and remedy, and the exit code tells who has to act.

use expect_test::expect;
use serde_json::json;

use crate::support::Place;

#[test]
fn usage_is_2_and_configuration_is_1() {
    let place = Place::new();
    place.write("broken.yaml", "agents:\n  - id: a\n   backend: 1\n");
    place.write("unknown.yaml", "agent: { backend: { type: opnai } }");
    place.write("no-script.yaml", "agent: { backend: { type: scripted, script: gone.yaml } }");
    for (args, code, words) in [
        (&["--no-such-flag"][..], 2, "--no-such-flag"),
        (&["--config", "a.yaml", "--backend", "claude", "q"], 2, "cannot be used with"),
        (&["What", "is", "2+2?"], 2, "a question of several words stands in quotes"),
        (&["--base-url", "http://localhost:1", "q"], 2, "add --model NAME"),
        (&["--backend", "cloude", "q"], 2, "known are: openai, claude"),
        (&["--orchestrator-timeout", "0", "q"], 2, "it leaves no time for an answer; without the flag"),
        (&["--orchestrator-timeout", "soon", "q"], 2, "a number of seconds is wanted, such as 600"),
        (&["--config", "gone.yaml", "q"], 1, "there is no such file"),
        (&["--config", "broken.yaml", "q"], 1, "broken.yaml:3:"),
        (&["--config", "unknown.yaml", "q"], 1, "did you mean openai?"),
        (&["--config", "no-script.yaml", "q"], 1, "gone.yaml cannot be read"),
        (&["--backend", "claude", "q"], 1, "ANTHROPIC_API_KEY"),
        (&["--model", "no-such-model", "q"], 1, "Unknown model"),
        (&["--backend", "openai", " "], 1, "the question is empty"),
        (&["demo", "a question of my own"], 1, "--local-model"),
        (&["mcp", "list"], 1, "--config FILE"),
        (&["mcp", "stats"], 1, "there are no runs in ./massgen_logs\n"),
        (&["mcp", "stats", "."], 1, ". is no log folder of a run"),
    ] {
        let ended = place.run(args).expect_code(code);
        assert!(ended.stderr.contains(words), "{args:?} should say {words:?}:\n{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    let place = Place::new();
    place.write(
        "team.yaml",
        "agents:\n  - id: a\n    backend: { type: opnai }\n  - id: b\n    backend: { type: openai, modle: x }\nui: { display_type: fancy }\n",
    );
    let report = place.run(&["config", "check", "team.yaml", "--json"]).expect_code(1).json();
    let places: Vec<_> = report["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| format!("{} {}:{} {}", d["severity"], d["line"], d["column"], d["key"]))
        .collect();
    expect![[r#"
        [
            "\"error\" 3:22 \"agents[0].backend.type\"",
            "\"warning\" 5:30 \"agents[1].backend.modle\"",
            "\"error\" 6:21 \"ui.display_type\"",
        ]
    "#]]
    .assert_debug_eq(&places);
}

#[test]
fn what_a_team_lacks_is_told_once_and_before_anything_starts() {
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": {"s": {"command": "a-program-that-is-not-there"}},
        "agents": [
            {"id": "a", "backend": {"type": "openai"}},
            {"id": "b", "backend": {"type": "grok", "model": "grok-4"}},
            {"id": "c", "backend": {"type": "openai"}},
        ],
    }));
    let told = "API keys are missing:
  OpenAI: OPENAI_API_KEY is not set (agents a, c)
  Grok: XAI_API_KEY is not set (agent b)
";
    let remedy = "set OPENAI_API_KEY and XAI_API_KEY in the environment or in .env";
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(1);
    assert!(ended.stderr.contains(told) && ended.stderr.contains(remedy), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "no run has begun");
    let checked = place.run(&["config", "check", "team.yaml"]).expect_code(0);
    assert!(checked.stderr.contains(told) && checked.stderr.contains(remedy), "{}", checked.stderr);
    let document = place.run(&["config", "check", "team.yaml", "--json"]).expect_code(0).json();
    assert!(document["lacks"][0]["help"].as_str().unwrap().contains(remedy), "{document}");

    place.config(&json!({"agent": {"backend": {"type": "claude_code"}}}));
    let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(1);
    assert!(ended.stderr.contains("type: claude_code is not supported yet"), "{}", ended.stderr);
}

#[test]
fn a_pipe_without_a_question_and_with_one() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: 'you asked: {{question}}' }]");
    place.config(&json!({"agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}}}));
    let ended = place.pipe(&["--config", "team.yaml", "--output", "json"], "what now?\n").expect_code(0);
    assert_eq!(ended.json()["answer"], "you asked: what now?");
    let ended = place.pipe(&["--config", "team.yaml"], "\n").expect_code(1);
    assert!(ended.stderr.contains("the question is empty"), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_none_of_its_kind_is_told_with_what_is_wanted() {
    let place = Place::new();
    place.write("binary", b"\x7fELF\x02\x01\x01\0\xff\xfe\n\0\0");
    place.write("zeros.jsonl", [0; 64]);
    place.write("text", "hello\n");
    place.write("empty", "");
    for (args, code, words, remedy) in [
        (
            &["audit", "verify", "binary"][..],
            3,
            "binary: line 1 is not a record",
            "its audit.jsonl: UTF-8 text",
        ),
        (&["audit", "verify", "zeros.jsonl"], 3, "line 1 is not a record", "a JSON record a line"),
        (&["audit", "verify", "text"], 3, "line 1 is not a record", "a JSON record a line"),
        (&["audit", "verify", "empty"], 3, "the log is empty", "name the log folder of a run"),
        (&["audit", "verify", "gone"], 1, "gone: ", "name the log folder of a run"),
        (&["audit", "query", "binary"], 1, "valid UTF-8", "its audit.jsonl: UTF-8 text"),
        (&["audit", "export", "--format", "ocsf", "binary"], 3, "not a record", "a JSON record a line"),
        (
            &["scan", "binary"],
            1,
            "binary: it is not UTF-8 text (line 1)",
            "name a configuration (YAML or JSON)",
        ),
        (
            &["scan", "--config", "binary"],
            1,
            "not UTF-8 text (line 1)",
            "another program's file with servers",
        ),
        (&["scan", "."], 1, ".: it is a folder", "name a configuration (YAML or JSON)"),
        (&["scan", "zeros.jsonl"], 1, "a configuration is a .yaml, .yml or .json file", "name it .yaml"),
    ] {
        let ended = place.run(&[&["mcp"], args].concat()).expect_code(code);
        for words in [words, remedy] {
            assert!(ended.stderr.contains(words), "{args:?} should say {words:?}:\n{}", ended.stderr);
        }
        assert!(!ended.stderr.contains("panicked") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
    let document = place.run(&["mcp", "audit", "verify", "binary", "--json"]).expect_code(3).json();
    assert_eq!(document, json!({"holds": false, "error": "binary: line 1 is not a record"}));
}

#[test]
fn what_is_in_the_way_of_the_logs_is_named_with_the_remedy() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: '42' }]");
    place.config(&json!({"agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}}}));
    let logs = place.path().join("massgen_logs");
    let told = |what: &str| {
        let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(1);
        // The folder may be reached by another path.
        let named =
            format!("{}/massgen_logs, which is {what}\n", place.path().file_name().unwrap().display());
        assert!(ended.stderr.contains(&named), "{}", ended.stderr);
        assert!(
            ended.stderr.contains("hint: rename or remove it, change to another folder, or pass --no-logs")
        );
    };
    place.write("massgen_logs", "");
    told("a file");
    let ended = place.run(&["--config", "team.yaml", "--no-logs", "q"]).expect_code(0);
    assert!(ended.stdout.contains("42"), "{}", ended.stdout);
    #[cfg(unix)]
    {
        std::fs::remove_file(&logs).unwrap();
        std::os::unix::fs::symlink("gone", &logs).unwrap();
        told("a link to no folder");
    }
    let _ = std::fs::remove_file(&logs);
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    assert!(place.log().join("answer.md").is_file());
}

#[test]
fn completions_and_schema_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.run(&["completions", shell]).expect_code(0).stdout.contains("massgen"));
    }
    let schema = place.run(&["config", "schema"]).expect_code(0).json();
    assert!(schema["properties"]["agents"].is_object(), "{schema}");
}

/// What is asked for and cannot be shown is a failure; a reader who has seen enough is none.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_takes_nothing_is_told_and_one_that_is_closed_is_not() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: '42' }]");
    place.config(&json!({"agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}}}));
    for args in [
        &["completions", "bash"][..],
        &["config", "schema"],
        &["--help"],
        &["--version"],
        &["--config", "team.yaml", "q"],
        &["--config", "team.yaml", "--output", "json", "q"],
        &["--config", "team.yaml", "--output", "events", "q"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ended = place.run_into(full, args).expect_code(1);
        assert!(ended.stderr.contains("standard output could not be written"), "{args:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
    for args in [&["completions", "bash"][..], &["config", "schema"], &["--help"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = place.run_into(writer, args).expect_code(0);
        assert!(!ended.stderr.contains("panicked"), "{args:?}: {}", ended.stderr);
    }
}

/// Password stores hand variables over through a pipe; what cannot be read is told.
#[cfg(unix)]
#[test]
fn a_file_of_variables_may_be_anything() {
    let place = Place::new();
    place.config(&json!({"agent": {"id": "${WHO:-nobody}", "backend": {"type": "openai", "model": "x"}}}));
    let check = || place.run(&["config", "check", "team.yaml"]).expect_code(0);
    let variables = place.path().join(".env");

    std::fs::create_dir(&variables).unwrap();
    assert!(check().stderr.contains(".env is passed over: it cannot be read: it is a folder"));
    std::fs::remove_dir(&variables).unwrap();

    place.write(".env", b"WHO=a\n\xff=1\n");
    assert!(check().stderr.contains(".env is passed over: it cannot be read: it is not UTF-8 text (line 2)"));
    std::fs::remove_file(&variables).unwrap();

    // A pipe, with somebody at its other end.
    assert!(std::process::Command::new("mkfifo").arg(&variables).status().unwrap().success());
    let writer = std::thread::spawn({
        let variables = variables.clone();
        move || std::fs::write(variables, "WHO=somebody\n").unwrap()
    });
    assert!(check().stdout.contains("somebody"));
    writer.join().unwrap();
}

#[test]
fn a_server_that_does_not_start_is_told_once_however_much_is_asked_of_it() {
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": {"s": {"command": "a-program-that-is-not-there"}},
        "agent": {"id": "a", "backend": {"type": "openai"}},
    }));
    for what in ["resources", "prompts"] {
        let ended = place.run(&["mcp", what, "--config", "team.yaml"]).expect_code(3);
        assert_eq!(ended.stderr.matches("a-program-that-is-not-there").count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("warning:").count(), 1, "{}", ended.stderr);
        assert!(!ended.stderr.contains("offers any") && ended.stdout.is_empty(), "{}", ended.stderr);
    }
}

#[test]
fn the_tools_of_a_server_that_fails_are_no_empty_table() {
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": {
            "s": {"command": "a-program-that-is-not-there"},
            "t": {"command": "/no/such/program"},
        },
        "agent": {"id": "a", "backend": {"type": "openai"}},
    }));
    let tools = |args: &[&str]| {
        place.run(&[&["mcp", "tools", "--config", "team.yaml"], args].concat()).expect_code(3)
    };
    let one = tools(&["s"]);
    assert_eq!(one.stdout, "");
    assert!(one.stderr.starts_with("error: s: server s did not start: "), "{}", one.stderr);
    assert!(one.stderr.contains("Install it, or set command:"), "{}", one.stderr);
    let document = tools(&["s", "--json"]);
    assert_eq!((document.json(), document.stderr), (json!([]), one.stderr));
    let all = tools(&[]);
    assert_eq!(all.stdout, "");
    for told in ["warning: s: server s did not start: ", "warning: t: server t did not start: "] {
        assert_eq!(all.stderr.matches(told).count(), 1, "{}", all.stderr);
    }
    let document = tools(&["--json"]);
    assert_eq!((document.json(), document.stderr), (json!([]), all.stderr));
}
