//! What wrong files say.

mod backends;
mod servers;
mod team;

use std::path::Path;

use expect_test::{Expect, expect};
use massgen_config::load;

use crate::{load_text, options};

fn check(text: &str, expected: Expect) {
    let loaded = load_text(text, &[("SET", "x"), ("EMPTY", "")]);
    assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
    expected.assert_eq(&loaded.diagnostics.to_string());
}

#[test]
fn everything_is_reported_at_once() {
    check(
        "agents:
  - id: a
    backend:
      type: opnai
      temprature: 0.5
      max_tokens: -3
      mcp_servers:
        x y: { command: a }
        w: {}
  - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: \"${NOPE}\" }
ui: { display_type: fancy }
timeout: 5
",
        expect![[r#"
            conf/team.yaml:4:13: error: there is no backend type "opnai"
              4 |       type: opnai
                |             ^^^^^
              help: did you mean openai?
            conf/team.yaml:5:7: warning: unknown key agents[0].backend.temprature; it is ignored
              5 |       temprature: 0.5
                |       ^^^^^^^^^^
              help: did you mean temperature?
            conf/team.yaml:6:19: error: agents[0].backend.max_tokens must be a whole number from 1 to 4294967295, not -3
              6 |       max_tokens: -3
                |                   ^^
            conf/team.yaml:8:9: error: server name "x y" contains ' '; allowed are letters, digits, "_" and "-"
              8 |         x y: { command: a }
                |         ^^^
              help: a server's name is 1 to 100 letters, digits, "_" and "-"
            conf/team.yaml:9:9: error: the server w has neither command nor url
              9 |         w: {}
                |         ^
              help: add command: (a program) or url: (a remote server)
            conf/team.yaml:10:40: warning: agents[1].backend.reasoning means nothing to claude; it is ignored
              10 |   - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: "${NOPE}" }
                 |                                        ^^^^^^^^^
              help: write output_config: { effort: medium }, or thinking
            conf/team.yaml:10:74: error: the environment variable NOPE is not set
              10 |   - backend: { type: claude, model: m, reasoning: { effort: low }, cwd: "${NOPE}" }
                 |                                                                          ^^^^^^^
              help: set it in the environment or in .env, or give a default: ${NOPE:-default}
            conf/team.yaml:11:21: error: ui.display_type cannot be "fancy"
              11 | ui: { display_type: fancy }
                 |                     ^^^^^
              help: it is one of rich_terminal, terminal, simple
            conf/team.yaml:12:1: warning: unknown key timeout; it is ignored
              12 | timeout: 5
                 | ^^^^^^^
              help: known keys here: agent, agents, mcp_servers, mcp_config, permissions, labels, ui, timeout_settings, orchestrator, limits"#]],
    );
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "agent: { backend: { type: opnai, api_key: sk-hush-1 } }",
        "agent: { backend: { type: '${SOME_KEY}' } }",
        "agent: { backend: { model: '${SOME_KEY}' } }",
        "agent: { backend: { model: gpt-5, temperature: '${SOME_KEY}', base_url: '${SOME_KEY}' } }",
        "agent: { backend: { model: gpt-5, api_key: opaque-hush, temperature: opaque-hush } }",
        "agent:\n  backend:\n    type: openai\n    api_key: [sk-hush-1]\n",
        "agent:\n  backend:\n    type: openai\n    api_key: sk-hush-1: x\n",
        "agent: { backend: { model: gpt-5 } }\nmcp_servers:\n  s:\n    command: x\n    env: { TOKEN: [hush], FOO: {a: hush} }\n    headers: [hush]\n",
        "agent: { backend: { model: gpt-5 } }\nmcp_servers:\n  s: { url: 'https://u:hush@h.example', headers: { A: hush } }\n",
        "agent: { backend: { model: gpt-5, base_url: 'ftp://h.example/?token=hush' } }",
        "agent: { backend: { model: gpt-5, api_key: \"hush\\0\" } }",
        "mcp_servers:\n  s:\n    env:\n      SOME_VALUE: hush\n     bad: indent\n",
    ] {
        let loaded = load_text(text, &[("SOME_KEY", "hush-from-outside")]);
        assert!(loaded.config.is_none(), "{text}");
        let shown = format!(
            "{}\n{:?}\n{}",
            loaded.diagnostics,
            loaded.diagnostics,
            serde_json::to_string(&loaded.diagnostics).unwrap()
        );
        assert!(!shown.contains("hush"), "{text}\n{shown}");
    }
}

#[test]
fn a_file_that_is_not_there_has_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["team.yaml", "other.yml", "note.txt"] {
        std::fs::write(folder.path().join(name), "agent: { backend: { model: gpt-5 } }").unwrap();
    }
    let shown = |name: &str| {
        let loaded = load(&folder.path().join(name), &options(&[]));
        loaded.diagnostics.to_string().replace(&folder.path().display().to_string(), "DIR")
    };
    expect![[r#"
        DIR/taem.yaml: error: there is no such file
          help: did you mean DIR/team.yaml?"#]]
    .assert_eq(&shown("taem.yaml"));
    expect![[r#"
        DIR/team.json: error: there is no such file
          help: did you mean DIR/team.yaml?"#]]
    .assert_eq(&shown("team.json"));
    expect![[r#"
        DIR/zzzzzzzz.yaml: error: there is no such file
          help: the folder DIR holds other.yml, team.yaml"#]]
    .assert_eq(&shown("zzzzzzzz.yaml"));
    expect![[r#"
        DIR/nowhere/x.yaml: error: there is no such file
          help: there is no folder DIR/nowhere either"#]]
    .assert_eq(&shown("nowhere/x.yaml"));
    expect![[r#"
        DIR/note.txt: error: a configuration is a .yaml, .yml or .json file
          help: name it .yaml, .yml or .json: the extension decides how it is read"#]]
    .assert_eq(&shown("note.txt"));
    expect![[r#"
        DIR/: error: the file cannot be read: it is a folder
          help: name a file of YAML or JSON"#]]
    .assert_eq(&shown(""));
    std::fs::create_dir(folder.path().join("dir.yaml")).unwrap();
    expect![[r#"
        DIR/dir.yaml: error: the file cannot be read: it is a folder
          help: name a file of YAML or JSON"#]]
    .assert_eq(&shown("dir.yaml"));
    std::fs::write(folder.path().join("latin.yaml"), b"# a\nagent: \xff").unwrap();
    expect![[r#"
        DIR/latin.yaml: error: the file cannot be read: it is not UTF-8 text (line 2)
          help: save it as UTF-8"#]]
    .assert_eq(&shown("latin.yaml"));
    assert_eq!(shown("team.yaml"), "");
    assert!(load(Path::new(""), &options(&[])).config.is_none());
}

#[test]
fn a_check_is_json_too() {
    let json = |text: &str| serde_json::to_string_pretty(&load_text(text, &[]).to_json()).unwrap();
    expect![[r#"
        {
          "ok": true,
          "errors": 0,
          "warnings": 1,
          "diagnostics": [
            {
              "severity": "warning",
              "file": "conf/team.yaml",
              "line": 1,
              "column": 35,
              "key": "agent.backend.modl",
              "message": "unknown key agent.backend.modl; it is ignored",
              "help": "did you mean model?"
            }
          ],
          "summary": {
            "agents": [
              {
                "id": "agent1",
                "type": "openai",
                "model": "gpt-5",
                "mcp_servers": []
              }
            ],
            "mcp_servers": []
          }
        }"#]]
    .assert_eq(&json("agent: { backend: { model: gpt-5, modl: x } }"));
    expect![[r#"
        {
          "ok": false,
          "errors": 1,
          "warnings": 0,
          "diagnostics": [
            {
              "severity": "error",
              "file": "conf/team.yaml",
              "line": 1,
              "column": 27,
              "key": "agent.backend.type",
              "message": "there is no backend type \"x\"",
              "help": "it is one of openai, claude, gemini, grok, chatcompletion, zai, lmstudio, claude_code, azure_openai, scripted"
            }
          ],
          "summary": null
        }"#]].assert_eq(&json("agent: { backend: { type: x } }"));
}
