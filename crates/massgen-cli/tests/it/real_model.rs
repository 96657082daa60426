//! A real model: assertions on form, never on content.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use massgen_testkit::require;
use serde_json::{Value, json};

use crate::support::{Place, assert_well_formed, of_type};

/// llama.cpp's server, as `--local-model` starts it.
struct Llama {
    child: Child,
    address: String,
}

impl Llama {
    fn start(python: &Path) -> Self {
        let serve = concat!(env!("CARGO_MANIFEST_DIR"), "/local-model/serve.py");
        let mut child = Command::new(python)
            .arg(serve)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("http://127.0.0.1:"), "the model did not start: {address:?}");
        Self { child, address: address.trim().to_owned() }
    }
}

impl Drop for Llama {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_team_of_two_small_models_calls_a_real_tool_answers_and_votes() {
    let python = require!(llama);
    let everything = require!(npm "mcp-server-everything");
    let model = Llama::start(&python);
    let agent = |id: &str| {
        json!({"id": id, "backend": {
            "type": "chatcompletion", "model": "smollm2-135m-instruct", "tool_mode": "json_schema", "max_tokens": 160,
            "temperature": 0, "base_url": format!("{}/v1", model.address),
        }})
    };
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": {"every": {"command": everything, "allowed_tools": ["echo"]}},
        "agents": [agent("one"), agent("two")],
        "limits": {"max_answers_per_agent": 1},
        "timeout_settings": {"orchestrator_timeout_seconds": 480},
    }));
    let question = "Echo the word tide with the tool mcp__every__echo.";
    let ended = place.run(&["--config", "team.yaml", "--output", "json", question]);
    // What such a small model writes is anything; that it is carried well is what counts.
    let document = ended.expect_code(0).json();
    assert_eq!(document["ballots"].as_array().unwrap().len(), 2, "both voted: {document}");
    let events = place.events();
    assert_well_formed(&events);
    assert!(!of_type(&events, "answer").is_empty());
    let finished: Vec<&Value> = of_type(&events, "tool_finished");
    let answered = |call: &&Value| call["tool"] == "mcp__every__echo" && call["status"] == "ok";
    assert!(finished.iter().any(answered), "no real tool was called: {finished:?}");
    let usage = &events.last().unwrap()["usage"];
    assert!(usage["input_tokens"].as_u64() > Some(0) && usage["output_tokens"].as_u64() > Some(0), "{usage}");
    assert_eq!(usage["cost_usd"], json!(0.0), "a model on this machine costs nothing");
}
