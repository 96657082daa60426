//! No text brings the loader down.

use std::path::Path;

use massgen_config::{Format, load_str};
use proptest::prelude::*;

use crate::{Files, load_text, options};

/// Loads and shows everything; only a panic or an endless loop can fail.
fn survives(text: &str) {
    for format in [Format::Yaml, Format::Json] {
        let loaded = load_str(text, Path::new("t.yaml"), format, &options(&[("A", "b")]), &Files::default());
        assert_eq!(loaded.config.is_none(), loaded.diagnostics.has_errors());
        let _ = (loaded.diagnostics.to_string(), serde_json::to_string(&loaded.diagnostics).unwrap());
        if let Some(config) = loaded.config {
            let _ = (format!("{config:?}"), config.summary().to_string());
        }
    }
}

#[test]
fn odd_texts_end_in_a_message() {
    let deep = |open: &str, close: &str, n: usize| format!("a: {}{}", open.repeat(n), close.repeat(n));
    let bomb = {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..12 {
            let aliases = vec![format!("*a{}", i - 1); 9].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
        }
        text
    };
    let nested: String = (0..5_000).map(|i| format!("{}a:\n", " ".repeat(i.min(600)))).collect();
    for text in [
        String::new(),
        "\u{feff}".to_owned(),
        "\u{feff}agent:\r\n  backend: {model: gpt-5}\r\n".to_owned(),
        "agent:\n\tbackend: 1".to_owned(),
        "agent: \0".to_owned(),
        "agent: {id: \"a\\0b\", backend: {model: gpt-5}}".to_owned(),
        deep("[", "]", 100_000),
        deep("{a: ", "}", 10_000),
        deep("- ", "", 10_000),
        bomb,
        nested,
        format!("agent: {{id: {}}}", "x".repeat(3_000_000)),
        "x".repeat(5_000_000),
        "&a [*a]".to_owned(),
        "a: &a {<<: *a}".to_owned(),
        "? {a: b}\n: c".to_owned(),
        "!!python/object:os.system x".to_owned(),
        "%YAML 9.9\n---\na".to_owned(),
        "agents: [[[]], {}, null, 1, {backend: []}, {backend: {type: []}}, {backend: {model: {}}}]"
            .to_owned(),
        "agent: {backend: {model: '${'}}".to_owned(),
        "agent: {backend: {model: '${}${:-}${A:-${A}}$${'}}".to_owned(),
        "mcp_servers: [1, {name: 2}, {name: []}]\nagent: 1".to_owned(),
        "ui: {display_type: {}}\nlimits: []\ntimeout_settings: {orchestrator_timeout_seconds: 1e400}"
            .to_owned(),
        "timeout_settings: {orchestrator_timeout_seconds: .nan}\nagent: {backend: {temperature: .inf}}"
            .to_owned(),
        "agent: {backend: {max_tokens: 99999999999999999999999999999999999999999}}".to_owned(),
    ] {
        survives(&text);
    }
}

#[test]
fn a_mark_and_carriage_returns_change_nothing() {
    let plain = "agent:\n  id: a\n  backend:\n    modl: x\n    model: gpt-5\n";
    let places = |text: &str| {
        let loaded = load_text(text, &[]);
        assert!(loaded.config.is_some(), "{}", loaded.diagnostics);
        loaded.diagnostics.iter().map(|d| (d.line, d.column, d.key.clone())).collect::<Vec<_>>()
    };
    assert_eq!(places(plain), [(4, 5, "agent.backend.modl".to_owned())]);
    assert_eq!(places(&plain.replace('\n', "\r\n")), places(plain));
    assert_eq!(places(&format!("\u{feff}{plain}")), places(plain));
}

fn piece() -> impl Strategy<Value = String> {
    let words: &'static [&str] = &[
        "agent",
        "agents",
        "id",
        "backend",
        "type",
        "model",
        "openai",
        "claude_code",
        "mcp_servers",
        "command",
        "args",
        "env",
        "url",
        "headers",
        "effects",
        "permissions",
        "tool",
        "decision",
        "limits",
        "ui",
        "null",
        "~",
        "true",
        "1e9",
        "${A}",
        "${B:-c}",
        "${",
        "&x",
        "*x",
        "<<",
        "- ",
        ": ",
        ":\n  ",
        "\n",
        "\n    ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "'",
        "\"",
        "|\n",
        ">",
        "#",
        "!",
        "%",
        "@",
        "\t",
        "\r\n",
        "\u{feff}",
        "é",
        "🎵",
        "---\n",
        "...",
    ];
    prop_oneof![4 => proptest::sample::select(words).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn arbitrary_pieces_of_configurations_never_panic(pieces in proptest::collection::vec(piece(), 0..40)) {
        survives(&pieces.concat());
    }

    #[test]
    fn a_cut_or_bent_configuration_never_panics(at in 0usize..600, insert in piece()) {
        let text = "agents:\n  - id: a\n    backend:\n      type: gemini\n      mcp_servers:\n        w: { command: npx, args: [-y, w], env: { K: \"${A}\" }, timeout: 5s, security: { level: strict } }\n    permissions: [{ tool: x, decision: ask }]\nlimits: { max_rounds: 3 }\n";
        let at = (0..=at.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
        survives(&text[..at]);
        survives(&format!("{}{insert}{}", &text[..at], &text[at..]));
    }
}
