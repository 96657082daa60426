//! What servers ask where nobody is there.

use massgen_testkit::{ModelEndpoint, ModelScript, Outcome, ScriptedServer, ServerScript, ToolScript, Turn};
use serde_json::{Value, json};

use crate::support::{Place, of_type};

/// A server that asks for words with each call, and a model that calls it twice.
fn team(sampling: &Value) -> (Place, ScriptedServer, ModelEndpoint) {
    team_within(sampling, &json!({}))
}

fn team_within(sampling: &Value, limits: &Value) -> (Place, ScriptedServer, ModelEndpoint) {
    let messages = json!([{"role": "user", "content": {"type": "text", "text": "Sum up: rain."}}]);
    let params = json!({"messages": messages, "maxTokens": 50, "stopSequences": ["STOP"]});
    let ask = Outcome::Ask { method: "sampling/createMessage".into(), params };
    let server = ServerScript::new().tool(ToolScript::new("ask").read_only().replies(ask)).launch();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(|request| {
        match (request.mentions("Sum up: rain."), request.results().len(), request.turns()) {
            (true, ..) if request.tool_names().is_empty() => Turn::text("Wet. STOP Very wet.").into(),
            (_, _, 0 | 1) => Turn::call("mcp__s__ask", json!({})).into(),
            _ => Turn::text("done").into(),
        }
    }));
    let mut config = server.config("s");
    config["sampling"] = sampling.clone();
    let place = Place::new();
    place.config(&json!({
        "mcp_servers": [config],
        "agent": {"id": "a", "backend": {"type": "chatcompletion", "model": "m", "base_url": endpoint.url("/v1"), "api_key": "k"}},
        "ui": {"use_orchestrator_for_single_agent": false},
        "limits": limits,
    }));
    (place, server, endpoint)
}

/// What the server was answered, call by call.
fn answers(server: &ScriptedServer) -> Vec<Value> {
    let asked = |message: &Value| {
        message["id"].as_str().is_some_and(|id| id.starts_with("ask-")) && message["method"].is_null()
    };
    server.journal().messages().into_iter().filter(asked).collect()
}

fn run(place: &Place) -> String {
    place.run(&["--config", "team.yaml", "Go on."]).expect_code(0);
    format!("{:?}", of_type(&place.events(), "warning"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_answers_within_the_budget_that_the_configuration_allows() {
    let (place, server, endpoint) = team(&json!({"enabled": true, "approval": "allow", "max_calls": 1}));
    let told = run(&place);
    let answers = answers(&server);
    let result = &answers[0]["result"];
    assert_eq!(
        (&result["content"]["text"], &result["stopReason"]),
        (&json!("Wet. "), &json!("stopSequence")),
        "{answers:?}"
    );
    assert_eq!((&result["role"], &result["model"]), (&json!("assistant"), &json!("m")));
    assert_eq!(answers[1]["error"]["code"], -1, "{answers:?}");
    assert!(told.contains("server s was answered by a's model") && told.contains("request 1 of 1"), "{told}");
    assert!(told.contains("used up its 1 requests"), "{told}");
    let requests = endpoint.requests();
    let asked: Vec<_> = requests.iter().filter(|request| request.tool_names().is_empty()).collect();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].mentions("Go on."), "nothing of the team's conversation: {:?}", asked[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_can_agree_and_where_it_is_off_no_model_is_asked() {
    for (sampling, code) in [
        (json!({"enabled": true}), -1),
        (json!({"enabled": true, "approval": "allow", "max_tokens": 10}), -1),
        (json!({}), -32601),
    ] {
        let (place, server, endpoint) = team(&sampling);
        run(&place);
        let answers = answers(&server);
        assert!(answers.iter().all(|answer| answer["error"]["code"] == code), "{sampling}: {answers:?}");
        assert!(endpoint.requests().iter().all(|request| !request.tool_names().is_empty()), "{sampling}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_a_model_asked_is_spent_from_the_runs_limit() {
    // The model counts 120 tokens a request: with a limit of that, nothing is left after the agent's first turn.
    const EACH: u64 = 120;
    let sampling = json!({"enabled": true, "approval": "allow"});

    let (place, server, endpoint) = team_within(&sampling, &json!({"max_tokens": 1_000_000}));
    place.run(&["--config", "team.yaml", "Go on."]).expect_code(0);
    let requests = endpoint.requests();
    let sampled = requests.iter().filter(|request| request.tool_names().is_empty()).count();
    assert_eq!((sampled, answers(&server).len()), (2, 2));
    let events = place.events();
    let usage = &of_type(&events, "run_finished")[0]["usage"];
    let counted = usage["input_tokens"].as_u64().unwrap() + usage["output_tokens"].as_u64().unwrap();
    assert_eq!(counted, requests.len() as u64 * EACH, "each request counts, the server's too");

    let (place, server, endpoint) = team_within(&sampling, &json!({"max_tokens": EACH}));
    place.run(&["--config", "team.yaml", "Go on."]);
    assert!(endpoint.requests().iter().all(|request| !request.tool_names().is_empty()), "a model was asked");
    let error = answers(&server)[0]["error"].clone();
    assert_eq!((&error["code"], &error["data"]["reason"]), (&json!(-1), &json!("budget_spent")));
    let told = format!("{:?}", of_type(&place.events(), "warning"));
    assert!(told.contains("the run has used up its tokens"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_nobody_and_roots_are_judged_before_anything_starts() {
    let (place, server, _endpoint) = team(&json!({"enabled": true, "agent": "nobody"}));
    let ended = place.run(&["--config", "team.yaml", "Go on."]).expect_code(1);
    assert!(ended.stderr.contains("sampling.agent names no agent: \"nobody\""), "{}", ended.stderr);
    assert!(server.journal().entries().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_told_its_roots() {
    let ask = Outcome::Ask { method: "roots/list".into(), params: json!({}) };
    let server = ServerScript::new().tool(ToolScript::new("ask").read_only().replies(ask)).launch();
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    let mut config = server.config("s");
    config["roots"] = json!(["data", "~/papers", "/"]);
    place.config(&json!({
        "mcp_servers": [config],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    place.run(&["mcp", "call", "s", "ask", "--config", "team.yaml"]).expect_code(0);
    let roots = answers(&server)[0]["result"]["roots"].clone();
    let home = std::fs::canonicalize(place.path()).unwrap();
    let shown = |name: &str| format!("file://{}/{name}", home.display());
    let uris: Vec<_> =
        roots.as_array().unwrap().iter().map(|root| root["uri"].as_str().unwrap().to_owned()).collect();
    assert_eq!(uris, [shown("data"), shown("papers"), "file:///".to_owned()]);
    assert_eq!(roots[0]["name"], "data");
}
