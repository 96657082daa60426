//! A team of three over three wires and two real servers.

use std::time::Duration;

use massgen_testkit::{
    ModelEndpoint, ModelRequest, ModelScript, Reply, ScriptedServer, ServerScript, ToolScript,
};
use serde_json::{Value, json};

use crate::support::{Place, assert_well_formed, of_type};

pub(crate) fn agent(id: &str, kind: &str, endpoint: &ModelEndpoint, path: &str) -> Value {
    json!({"id": id, "backend": {
        "type": kind, "model": format!("model-of-{id}"), "base_url": endpoint.url(path), "api_key": "test-key-of-nobody",
    }})
}

fn server(tool: &str) -> ScriptedServer {
    ServerScript::new().tool(ToolScript::echo(tool).read_only()).launch()
}

/// What an agent's model does: `first` answers at once after a tool call, `second` improves on it, `third` is slow.
fn play(request: &ModelRequest) -> Reply {
    let sees = |text: &str| request.messages.iter().any(|message| message.text.contains(text));
    let vote = || Reply::call("vote", json!({"agent_id": "agent2", "reason": "it is complete"}));
    if !request.offers("new_answer") && !request.offers("vote") {
        return Reply::text("the final answer: **bold** and C:\\path\\new");
    }
    match (request.model.as_str(), sees("SECOND ANSWER"), sees("FIRST ANSWER")) {
        (_, true, _) => vote(),
        ("model-of-first", _, false) if request.has_results() => {
            Reply::call("new_answer", json!({"content": "FIRST ANSWER"}))
        }
        ("model-of-first", _, false) => Reply::call("mcp__north__look", json!({"at": "the stars"})),
        ("model-of-second", _, true) if request.has_results() => {
            Reply::call("new_answer", json!({"content": "SECOND ANSWER, with **marks** and C:\\new"}))
        }
        ("model-of-second", _, true) => Reply::call("mcp__south__listen", json!({"to": "the sea"})),
        // Nobody else has anything to say before there is an answer to read.
        (_, _, false) => Reply::hang(),
        _ => Reply::text("still thinking").delay(Duration::from_secs(3600)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wires_two_servers_a_restart_and_a_vote() {
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(play));
    let (north, south) = (server("look"), server("listen"));
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [north.config("north"), south.config("south")],
        "agents": [
            agent("first", "openai", &endpoint, "/v1"),
            agent("second", "claude", &endpoint, "/v1"),
            agent("third", "gemini", &endpoint, "/v1beta"),
        ],
    }));

    let ended = place.run(&["--config", "team.yaml", "What is out there?"]).expect_code(0);

    assert_eq!(endpoint.refusals(), Vec::<String>::new(), "every request has its wire's shape");
    let events = place.events();
    assert_well_formed(&events);
    let answers: Vec<_> = of_type(&events, "answer").iter().map(|event| event["agent"].clone()).collect();
    assert_eq!(answers, ["first", "second"]);
    let restarted = of_type(&events, "restarted");
    assert!(restarted.iter().any(|event| event["because_of"] == "first"), "{restarted:?}");
    let tools: Vec<_> = of_type(&events, "tool_finished");
    for tool in ["mcp__north__look", "mcp__south__listen"] {
        assert!(
            tools.iter().any(|event| event["tool"] == tool && event["status"] == "ok"),
            "{tool}: {tools:?}"
        );
    }
    let winner = of_type(&events, "winner")[0];
    assert_eq!(winner["agent"], "second");
    assert_eq!(winner["votes"], json!([["first", 0], ["second", 3]]));
    let final_answer = "the final answer: **bold** and C:\\path\\new";
    assert_eq!(std::fs::read_to_string(place.log().join("answer.md")).unwrap(), final_answer);
    assert!(ended.stdout.contains(final_answer), "{}", ended.stdout);
    assert!(!ended.stdout.contains('\u{1b}'), "a pipe gets no colour");
    let stored = std::fs::read_to_string(place.log().join("second/answer-1.md")).unwrap();
    assert_eq!(stored, "SECOND ANSWER, with **marks** and C:\\new");

    // The servers were one process each for the whole team, and are gone.
    for journal in [north.journal(), south.journal()] {
        assert_eq!(journal.alive(), Vec::<u32>::new());
        assert_eq!(journal.method("tools/call").len(), 1);
    }
    // The key went in headers only, and nowhere into the log.
    for request in endpoint.requests() {
        assert!(!request.http.path.contains("test-key"), "{}", request.http.path);
    }
    for file in ["events.jsonl", "audit.jsonl", "summary.json"] {
        let text = std::fs::read_to_string(place.log().join(file)).unwrap();
        assert!(!text.contains("test-key-of-nobody"), "{file}");
        assert!(!text.is_empty(), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_document_or_one_line_per_event() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: forty-two }]");
    place.config(&json!({"agent": {"id": "deep", "backend": {"type": "scripted", "script": "play.yaml"}}}));

    let document = place.run(&["--config", "team.yaml", "--output", "json", "why?"]).expect_code(0).json();
    assert_eq!(document["answer"], "forty-two");
    assert_eq!(document["winner"], "deep");
    assert_eq!(document["outcome"], "answered");

    let lines =
        place.run(&["--config", "team.yaml", "--output", "events", "--no-logs", "why?"]).expect_code(0);
    let events: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_well_formed(&events);
    assert_eq!(of_type(&events, "final_answer")[0]["text"], "forty-two");
    // The first run left the only log: --no-logs means none.
    assert_eq!(of_type(&place.events(), "final_answer").len(), 1);
}

#[test]
fn agents_whose_names_are_alike_keep_their_answers_apart() {
    let place = Place::new();
    let names = ["a/b", "a:b", "a_b", "answer.md"];
    let agent = |(at, id): (usize, &&str)| {
        let script = format!("play-{at}.yaml");
        // It votes once its own answer is there, whatever happened in between.
        let turns = json!({"turns": [
            {"when": {"phase": "presentation"}, "text": "done"},
            {"when": {"candidates": {"contains": format!("of {at}")}}, "vote": {"for": "a/b"}, "repeat": true},
            {"answer": format!("of {at}"), "repeat": true},
        ]});
        place.write(&script, turns.to_string());
        json!({"id": id, "backend": {"type": "scripted", "script": script}})
    };
    let agents: Vec<Value> = names.iter().enumerate().map(agent).collect();
    place.config(&json!({"agents": agents}));
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(place.log()).unwrap() {
        let entry = entry.unwrap();
        if let Ok(answer) = std::fs::read_to_string(entry.path().join("answer-1.md")) {
            kept.push((answer, entry.file_name().into_string().unwrap()));
        }
    }
    kept.sort();
    let folders: Vec<_> = kept.iter().map(|(answer, folder)| (answer.as_str(), folder.as_str())).collect();
    let [("of 0", first), ("of 1", second), ("of 2", "a_b"), ("of 3", last)] = folders[..] else {
        panic!("{folders:?}")
    };
    assert!(first.starts_with("a_b~") && second.starts_with("a_b~") && last.starts_with("answer.md~"));
    assert!(place.log().join("answer.md").is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_the_configuration_are_not_shown() {
    let server = ServerScript::new().tool(ToolScript::echo("say").read_only()).launch();
    let mut place = Place::new();
    place.set("TRACKER_TOKEN", "tok-very-secret-value");
    place.write(
        "play.yaml",
        "turns:\n  - { calls: [{ tool: mcp__tracker__say, arguments: { text: tok-very-secret-value } }] }\n  - { answer: 'it is {{result:mcp__tracker__say}}' }\n",
    );
    let mut tracker = server.config("tracker");
    tracker["env"] = json!({"TOKEN": "${TRACKER_TOKEN}"});
    place.config(&json!({
        "mcp_servers": [tracker],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let ended = place.run(&["--config", "team.yaml", "tell"]).expect_code(0);
    assert!(ended.stdout.contains("[redacted]"), "{}", ended.stdout);
    let mut kept = vec![ended.stdout, ended.stderr];
    for file in ["events.jsonl", "audit.jsonl", "summary.json", "answer.md", "a/answer-1.md"] {
        kept.push(std::fs::read_to_string(place.log().join(file)).unwrap());
    }
    for text in kept {
        assert!(!text.contains("tok-very-secret-value"), "{text}");
    }
}
