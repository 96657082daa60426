//! Two turns with parallel calls on every wire, judged by endpoints that refuse what the real services refuse.

use std::sync::Arc;

use massgen_backends::{
    Event, FinishReason, HttpClient, HttpOptions, Message, ProviderKind, Request, ToolChoice, ToolDefinition,
    ToolReply, Turn, connect, wire::chat::ToolMode,
};
use massgen_testkit::{self as testkit, ModelEndpoint, ModelScript, Reply};
use serde_json::json;

use crate::http::{KINDS, ask, backend, config, question, text};

fn tool() -> ToolDefinition {
    ToolDefinition {
        name: "get_weather".into(),
        description: "Current weather of a city.".into(),
        schema: Arc::new(json!({
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": false,
        })),
    }
}

fn turn_of(events: &[Result<Event, massgen_backends::BackendError>]) -> (FinishReason, Turn) {
    match events.last() {
        Some(Ok(Event::Done { reason, turn })) => (reason.clone(), turn.clone()),
        other => panic!("no end but {other:?}"),
    }
}

fn answered(mut request: Request, turn: Turn) -> Request {
    let reply = |(at, call): (usize, &massgen_backends::ToolInvocation)| ToolReply {
        id: call.id.clone(),
        name: call.name.clone(),
        text: format!("{at} degrees"),
        is_error: false,
    };
    let replies = turn.calls.iter().enumerate().map(reply).collect();
    request.messages.push(Message::Assistant(turn));
    request.messages.push(Message::ToolReplies(replies));
    request
}

#[tokio::test]
async fn two_turns_with_parallel_calls_on_every_wire() {
    for (kind, wire) in KINDS {
        let first = testkit::Turn::new()
            .and_reasoning("Both cities.")
            .and_text("Let me look.")
            .and_call("get_weather", &json!({"city": "Paris"}))
            .and_call("get_weather", &json!({"city": "Oslo"}));
        let script = ModelScript::new().turn(first).turn(Reply::text("Oslo is warmer."));
        let endpoint = ModelEndpoint::start(script);
        let backend = backend(kind, &endpoint);

        let request = Request {
            system: Some("Be brief.".into()),
            tools: vec![tool()],
            tool_choice: ToolChoice::Required,
            ..question("Which is warmer?")
        };
        let (reason, turn) = turn_of(&ask(&backend, request.clone()).await);
        assert_eq!(reason, FinishReason::ToolCalls, "{wire:?}");
        let cities: Vec<_> =
            turn.calls.iter().map(|call| call.arguments.as_ref().unwrap()["city"].clone()).collect();
        assert_eq!(cities, ["Paris", "Oslo"]);
        assert_ne!(turn.calls[0].id, turn.calls[1].id);

        let mut request = answered(request, turn);
        request.messages.push(Message::User("Answer now.".into()));
        assert_eq!(text(&ask(&backend, request).await), "Oslo is warmer.", "{wire:?}");

        let second = &endpoint.requests()[1];
        assert_eq!(second.system, "Be brief.");
        let results: Vec<_> = second.results_of("get_weather").iter().map(|r| r.text.clone()).collect();
        assert_eq!(results, ["0 degrees", "1 degrees"], "{wire:?}");
        assert_eq!(second.last_user(), "Answer now.");
        assert!(endpoint.refusals().is_empty(), "{wire:?}: {:?}", endpoint.refusals());
    }
}

#[tokio::test]
async fn broken_arguments_can_be_answered_on_every_wire() {
    for (kind, wire) in KINDS {
        let first = testkit::Turn::new().and_broken_call("get_weather", "{\"city\": \"Pa");
        let script = ModelScript::new().turn(first).turn(Reply::text("sorry"));
        let endpoint = ModelEndpoint::start(script);
        let backend = backend(kind, &endpoint);
        let request = Request { tools: vec![tool()], ..question("weather?") };
        let (_, turn) = turn_of(&ask(&backend, request.clone()).await);
        assert!(turn.calls[0].arguments.is_err(), "{wire:?} {turn:?}");
        assert_eq!(text(&ask(&backend, answered(request, turn)).await), "sorry");
        assert!(endpoint.refusals().is_empty(), "{wire:?}: {:?}", endpoint.refusals());
    }
}

#[tokio::test]
async fn a_turn_moves_to_any_other_wire() {
    for (from, _) in KINDS {
        let first = testkit::Turn::new()
            .and_reasoning("Hm.")
            .and_text("Let me look.")
            .and_call("get_weather", &json!({"city": "Paris"}));
        let source = ModelEndpoint::start(ModelScript::new().turn(first));
        let request = Request { tools: vec![tool()], ..question("weather?") };
        let (_, turn) = turn_of(&ask(&backend(from, &source), request.clone()).await);
        let request = answered(request, turn);
        for (to, wire) in KINDS {
            let target = ModelEndpoint::start(ModelScript::new().turn(Reply::text("fine")));
            assert_eq!(text(&ask(&backend(to, &target), request.clone()).await), "fine");
            let calls: Vec<_> =
                target.requests()[0].calls().iter().map(|call| call.arguments.clone()).collect();
            assert_eq!(calls, [json!({"city": "Paris"})], "{wire:?}");
            assert!(target.refusals().is_empty(), "{from:?} to {wire:?}: {:?}", target.refusals());
        }
    }
}

#[tokio::test]
async fn in_schema_mode_calls_and_results_are_plain_text() {
    let call = r#"{"tool": "get_weather", "arguments": {"city": "Paris"}}"#;
    let endpoint = ModelEndpoint::start(ModelScript::new().turn(Reply::text(call)).turn(Reply::text("{}")));
    let mut config = config(ProviderKind::LmStudio, &endpoint.url("/v1"));
    config.tool_mode = ToolMode::JsonSchema;
    let backend = connect(config, &HttpClient::new(HttpOptions::default()).unwrap());
    assert!(backend.capabilities().forced_tool_use);

    let request = Request { tools: vec![tool()], ..question("weather?") };
    let events = ask(&backend, request.clone()).await;
    assert!(!events.iter().any(|event| matches!(event, Ok(Event::Text(_)))));
    let (reason, turn) = turn_of(&events);
    assert_eq!((reason, turn.calls.len()), (FinishReason::ToolCalls, 1));
    ask(&backend, answered(request, turn)).await;

    let [first, second] = &endpoint.requests()[..] else { panic!("two requests") };
    assert!(first.tools.is_empty() && first.body["response_format"]["type"] == "json_schema");
    assert!(second.results().is_empty());
    assert_eq!(second.last_user(), "Result of get_weather:\n0 degrees");
}
