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
        (&["--backend", "cloude", "q"], 2, "known are: openai, claude"),
        (&["--config", "gone.yaml", "q"], 1, "there is no such file"),
        (&["--config", "broken.yaml", "q"], 1, "broken.yaml:3:"),
        (&["--config", "unknown.yaml", "q"], 1, "did you mean openai?"),
        (&["--config", "no-script.yaml", "q"], 1, "gone.yaml cannot be read"),
        (&["--backend", "claude", "q"], 1, "ANTHROPIC_API_KEY"),
        (&["--model", "no-such-model", "q"], 1, "Unknown model"),
        (&["--backend", "openai", " "], 1, "the question is empty"),
        (&["demo", "a question of my own"], 1, "--local-model"),
        (&["mcp", "list"], 1, "massgen.yaml"),
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
fn completions_and_schema_are_printed() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(place.run(&["completions", shell]).expect_code(0).stdout.contains("massgen"));
    }
    let schema = place.run(&["config", "schema"]).expect_code(0).json();
    assert!(schema["properties"]["agents"].is_object(), "{schema}");
}
