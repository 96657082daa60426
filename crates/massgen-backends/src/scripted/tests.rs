//! What scripts do, from the outside.

use std::time::Duration;

use futures_util::StreamExt;
use mcp_core::JsonObject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Script, ScriptedBackend};
use crate::{
    Backend, BackendError, Event, FinishReason, Message, Request, RequestContext, RequestPhase, ToolReply,
    Turn,
};

fn script(value: Value) -> Script {
    let script: Script = serde_json::from_value(value).unwrap();
    let problems: Vec<String> = script.validate().iter().map(ToString::to_string).collect();
    assert!(problems.is_empty(), "{problems:?}");
    script
}

fn request(round: u32, candidates: &[(&str, &str)]) -> Request {
    Request {
        messages: vec![Message::User("What time is it?".to_owned())],
        context: RequestContext {
            agent: "scout".to_owned(),
            question: "What time is it?".to_owned(),
            round,
            candidates: candidates.iter().map(|(id, answer)| (id.to_string(), answer.to_string())).collect(),
            ..RequestContext::default()
        },
        ..Request::default()
    }
}

fn with_results(mut request: Request, results: &[(&str, &str)]) -> Request {
    request.messages.push(Message::Assistant(Turn::default()));
    let reply = |(at, (name, text)): (usize, &(&str, &str))| ToolReply {
        id: at.to_string(),
        name: name.to_string(),
        text: text.to_string(),
        is_error: false,
    };
    request.messages.push(Message::ToolReplies(results.iter().enumerate().map(reply).collect()));
    request
}

async fn play(model: &ScriptedBackend, request: Request) -> Result<(Vec<Event>, Turn), BackendError> {
    let items: Vec<_> = model.stream(request, CancellationToken::new()).collect().await;
    let events: Vec<Event> = items.into_iter().collect::<Result<_, _>>()?;
    let ends: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Done { .. })).collect();
    assert_eq!(ends.len(), 1, "one end: {events:?}");
    let Some(Event::Done { turn, .. }) = events.last().cloned() else {
        panic!("the end is last: {events:?}")
    };
    Ok((events, turn))
}

async fn text(model: &ScriptedBackend, request: Request) -> String {
    play(model, request).await.unwrap().1.text
}

async fn failure(model: &ScriptedBackend, request: Request) -> String {
    play(model, request).await.unwrap_err().to_string()
}

fn arguments(turn: &Turn, at: usize) -> JsonObject {
    turn.calls[at].arguments.clone().unwrap()
}

#[tokio::test]
async fn turns_are_played_in_order_and_each_once() {
    let model = ScriptedBackend::new(
        script(
            json!({"agents": {"scout": [{"text": "one"}, {"text": "two", "times": 2}]}, "turns": [{"text": "shared", "repeat": true}]}),
        ),
        "scout",
        "rehearsal",
    );
    let mut said = Vec::new();
    for _ in 0..5 {
        said.push(text(&model, request(1, &[])).await);
    }
    assert_eq!(said, ["one", "two", "two", "shared", "shared"]);
    assert_eq!((model.model().provider.as_str(), model.model().model.as_str()), ("Scripted", "rehearsal"));
}

#[tokio::test]
async fn every_condition_decides() {
    let cases = [
        (json!({"question": "TIME"}), request(1, &[]), true),
        (json!({"question": {"matches": "^What .+\\?$"}}), request(1, &[]), true),
        (json!({"question": {"contains": "time", "matches": "^time"}}), request(1, &[]), false),
        (json!({"message": "what time"}), request(1, &[]), true),
        (json!({"message": "call a tool"}), request(1, &[]), false),
        (json!({"round": 2}), request(2, &[]), true),
        (json!({"round": 2}), request(1, &[]), false),
        (json!({"candidates": "none"}), request(1, &[]), true),
        (json!({"candidates": "none"}), request(1, &[("agent1", "noon")]), false),
        (json!({"candidates": "some"}), request(1, &[("agent1", "noon")]), true),
        (json!({"candidates": 2}), request(1, &[("agent1", "noon")]), false),
        (
            json!({"candidates": {"contains": "NOON"}}),
            request(1, &[("agent1", "one"), ("agent2", "noon")]),
            true,
        ),
        (json!({"candidates": {"matches": "^no$"}}), request(1, &[("agent1", "noon")]), false),
        (json!({"candidates": {"contains": "noon"}}), request(1, &[]), false),
        (json!({"phase": "coordination"}), request(1, &[]), true),
        (json!({"phase": "presentation"}), request(1, &[]), false),
        (json!({"tool_result": {}}), request(1, &[]), false),
        (json!({"tool_result": {"count": 0}}), request(1, &[]), true),
        (
            json!({"tool_result": {"tool": "mcp__desk__*"}}),
            with_results(request(1, &[]), &[("mcp__desk__now", "12:00")]),
            true,
        ),
        (
            json!({"tool_result": {"tool": "mcp__desk__*", "contains": "13"}}),
            with_results(request(1, &[]), &[("mcp__desk__now", "12:00")]),
            false,
        ),
        (json!({"tool_result": {"count": 2}}), with_results(request(1, &[]), &[("a", ""), ("b", "")]), true),
        (json!({"tool_result": {"count": 3}}), with_results(request(1, &[]), &[("a", ""), ("b", "")]), false),
        (json!({"tool_result": {"is_error": true}}), with_results(request(1, &[]), &[("a", "")]), false),
    ];
    for (when, request, fits) in cases {
        let script = script(json!({"turns": [{"when": when, "text": "yes"}, {"text": "no"}]}));
        let said = text(&ScriptedBackend::new(script, "scout", ""), request).await;
        assert_eq!(said == "yes", fits, "{when}");
    }
}

#[tokio::test]
async fn live_results_stand_in_texts_and_arguments() {
    let model = ScriptedBackend::new(
        script(json!({"turns": [{
            "text": "{{agent}} in round {{round}}: {{result:mcp__desk__convert.value}} {{result:mcp__desk__convert.to.unit}}, first {{ result:mcp__desk__convert#1.value }}, said {{candidate:agent2}}; {{result:nothing | no result}} \\{{kept}}",
            "calls": [{"tool": "mcp__desk__note_write", "arguments": {
                "whole": "{{result:mcp__desk__convert.value}}",
                "mixed": "about {{result:mcp__desk__convert.value}} km",
                "list": ["{{result:mcp__library__search.hits.0.id}}", 7, null],
            }}],
        }]})),
        "scout",
        "",
    );
    let request = with_results(
        request(3, &[("agent1", "a"), ("agent2", "b")]),
        &[
            ("mcp__desk__convert", r#"{"value": 1}"#),
            ("mcp__library__search", r#"{"hits": [{"id": "tides"}]}"#),
            ("mcp__desk__convert", r#"{"value": 25.928, "to": {"unit": "km"}}"#),
        ],
    );
    let (events, turn) = play(&model, request).await.unwrap();
    assert_eq!(turn.text, "scout in round 3: 25.928 km, first 1, said b; no result {{kept}}");
    assert_eq!(
        Value::Object(arguments(&turn, 0)),
        json!({"whole": 25.928, "mixed": "about 25.928 km", "list": ["tides", 7, null]})
    );
    let streamed: String = events
        .iter()
        .filter_map(|event| if let Event::Text(text) = event { Some(text.as_str()) } else { None })
        .collect();
    assert_eq!(streamed, turn.text, "the pieces are the whole");
}

#[tokio::test]
async fn a_placeholder_that_cannot_be_filled_is_named() {
    let results = [("mcp__desk__now", "noon"), ("mcp__desk__convert", r#"{"value": 1}"#)];
    for (text, wanted) in [
        (
            "{{result:mcp__desk__later}}",
            r#"{{result:mcp__desk__later}} cannot be filled: the conversation has 0 results of "mcp__desk__later"; its results are of: mcp__desk__now, mcp__desk__convert"#,
        ),
        (
            "{{result:mcp__desk__now#2}}",
            "{{result:mcp__desk__now#2}} cannot be filled: the conversation has 1 results",
        ),
        ("{{result:mcp__desk__now.time}}", r#"the tool's result is not JSON: "noon""#),
        ("{{result:mcp__desk__convert.value.more}}", r#"the tool's result has nothing at "value.more""#),
        ("{{candidate:agent9}}", r#"there is no candidate "agent9"; there are: agent1"#),
    ] {
        let model = ScriptedBackend::new(script(json!({"turns": [{"text": text}]})), "scout", "");
        let problem = failure(&model, with_results(request(1, &[("agent1", "a")]), &results)).await;
        assert!(problem.contains(wanted) && problem.contains("turns[0]"), "{text}: {problem}");
    }
}

#[tokio::test]
async fn without_a_turn_the_error_says_what_was_looked_for_and_the_remedy() {
    let script =
        script(json!({"agents": {"scout": [{"text": "one"}, {"when": {"round": 7}, "text": "two"}]}}));
    let model = ScriptedBackend::new(script.clone(), "scout", "");
    text(&model, request(2, &[("agent1", "a")])).await;
    let error = play(&model, request(2, &[("agent1", "a")])).await.unwrap_err();
    assert!(!error.is_retryable(), "asking again gives the same");
    assert_eq!(
        error.to_string(),
        "no turn of the script fits agent \"scout\" in round 2 (coordination; candidates: agent1; tool results: none): \
         agents.scout[0] is used up (1 of 1); agents.scout[1] wants round 7. \
         Add a turn for this, or let one be used again with repeat: true or times:"
    );
    let stranger = failure(&ScriptedBackend::new(script, "stranger", ""), request(1, &[])).await;
    assert!(stranger.contains("Add agents.stranger or turns:"), "{stranger}");
}

#[tokio::test]
async fn answers_and_votes_are_calls_of_the_workflow_tools() {
    let candidates = [("agent10", "tea"), ("agent2", "a long story about coffee"), ("agent1", "water")];
    for (target, wanted) in [
        (json!("agent7"), "agent7"),
        (json!("first"), "agent1"),
        (json!("last"), "agent10"),
        (json!("longest"), "agent2"),
        (json!({"contains": "TEA"}), "agent10"),
        (json!({"matches": "^w"}), "agent1"),
    ] {
        let script = script(json!({"turns": [{"vote": {"for": target, "reason": "of {{agent}}"}}]}));
        let (_, turn) =
            play(&ScriptedBackend::new(script, "scout", ""), request(1, &candidates)).await.unwrap();
        assert_eq!(turn.calls[0].name, "vote");
        assert_eq!(Value::Object(arguments(&turn, 0)), json!({"agent_id": wanted, "reason": "of scout"}));
    }
    let nobody = script(json!({"turns": [{"vote": {"for": {"contains": "gin"}}}]}));
    let problem = failure(&ScriptedBackend::new(nobody, "scout", ""), request(1, &candidates)).await;
    assert!(problem.contains("its vote fits no candidate; there are: agent10, agent2, agent1"), "{problem}");
}

#[tokio::test]
async fn a_turn_streams_in_the_order_of_a_provider() {
    let model = ScriptedBackend::new(
        script(
            json!({"turns": [{"reasoning": "hm", "text": "a b", "calls": [{"tool": "t", "arguments": {"x": 1}}], "answer": "ok",
            "usage": {"input_tokens": 5, "output_tokens": 6}}]}),
        ),
        "scout",
        "m",
    );
    let (events, turn) = play(&model, request(1, &[])).await.unwrap();
    let kinds: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Start { model, .. } => format!("start {}", model.as_deref().unwrap_or_default()),
            Event::Reasoning(text) => format!("reasoning {text}"),
            Event::Text(text) => format!("text {text}"),
            Event::ToolCallStart { index, name, .. } => format!("call {index} {name}"),
            Event::ToolCallArguments { index, delta } => format!("arguments {index} {delta}"),
            Event::ToolCall(call) => format!("whole {}", call.name),
            Event::Usage(usage) => {
                format!("usage {}+{} {:?}", usage.input_tokens, usage.output_tokens, usage.cost_usd)
            }
            Event::Done { reason, .. } => format!("done {reason:?}"),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "start m",
            "reasoning hm",
            "text a ",
            "text b",
            "call 0 t",
            r#"arguments 0 {"x":1}"#,
            "whole t",
            "call 1 new_answer",
            r#"arguments 1 {"content":"ok"}"#,
            "whole new_answer",
            "usage 5+6 Some(0.0)",
            "done ToolCalls",
        ]
    );
    assert_ne!(turn.calls[0].id, turn.calls[1].id);
}

#[tokio::test(start_paused = true)]
async fn delays_pass_on_the_runtimes_clock_and_start_comes_first() {
    let script = script(
        json!({"delay": "2s", "chunk_delay": "10ms", "turns": [{"text": "one two three"}, {"text": "at once now", "delay": 0, "chunk_delay": "0ms"}]}),
    );
    let model = ScriptedBackend::new(script, "scout", "");
    let begin = tokio::time::Instant::now();
    let mut stream = model.stream(request(1, &[]), CancellationToken::new());
    assert!(matches!(stream.next().await, Some(Ok(Event::Start { .. }))));
    assert_eq!(begin.elapsed(), Duration::ZERO, "a display has something to show at once");
    while stream.next().await.is_some() {}
    assert_eq!(begin.elapsed(), Duration::from_millis(2020));
    text(&model, request(1, &[])).await;
    assert_eq!(begin.elapsed(), Duration::from_millis(2020));
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_the_stream_within_a_delay() {
    let model =
        ScriptedBackend::new(script(json!({"turns": [{"text": "late", "delay": "1h"}]})), "scout", "");
    let cancel = CancellationToken::new();
    let mut stream = model.stream(request(1, &[]), cancel.clone());
    assert!(matches!(stream.next().await, Some(Ok(Event::Start { .. }))));
    let begin = tokio::time::Instant::now();
    tokio::spawn(async move { cancel.cancel() });
    assert!(matches!(stream.next().await, Some(Err(BackendError::Cancelled))));
    assert!(stream.next().await.is_none());
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_uses_no_turn_up() {
    let model = ScriptedBackend::new(script(json!({"turns": [{"text": "only"}]})), "scout", "");
    drop(model.stream(request(1, &[]), CancellationToken::new()));
    assert_eq!(text(&model, request(1, &[])).await, "only");
}

#[tokio::test]
async fn providers_fail_before_or_within_an_answer() {
    let model = ScriptedBackend::new(
        script(json!({"turns": [
            {"error": {"status": 429, "message": "slow down, {{agent}}", "retry_after": "3s"}},
            {"error": {"status": 401, "message": "no key"}},
            {"text": "half a sent", "error": {"message": "lost"}},
        ]})),
        "scout",
        "",
    );
    let error = play(&model, request(1, &[])).await.unwrap_err();
    assert!(error.is_retryable() && error.retry_after() == Some(Duration::from_secs(3)), "{error:?}");
    assert!(error.to_string().contains("slow down, scout"), "{error}");
    let error = play(&model, request(1, &[])).await.unwrap_err();
    assert!(matches!(error, BackendError::Auth { .. }), "{error:?}");
    let items: Vec<_> = model.stream(request(1, &[]), CancellationToken::new()).collect().await;
    assert!(matches!(items[1], Ok(Event::Text(_))), "{items:?}");
    assert!(matches!(items.last(), Some(Err(BackendError::InStream { retryable: true, .. }))), "{items:?}");
}

#[tokio::test]
async fn silence_and_broken_json_can_be_rehearsed() {
    let model = ScriptedBackend::new(
        script(
            json!({"turns": [{"silence": true}, {"calls": [{"tool": "vote", "arguments": "{\"agent_id\": "}]}]}),
        ),
        "scout",
        "",
    );
    let (events, turn) = play(&model, request(1, &[])).await.unwrap();
    assert_eq!(turn, Turn::default());
    assert!(matches!(events.last(), Some(Event::Done { reason: FinishReason::Stop, .. })));
    let (_, turn) = play(&model, request(1, &[])).await.unwrap();
    assert_eq!(turn.calls[0].arguments, Err("{\"agent_id\": ".to_owned()));
}

#[tokio::test]
async fn a_new_question_or_a_new_run_starts_the_script_again() {
    let model =
        ScriptedBackend::new(script(json!({"turns": [{"text": "one"}, {"text": "two"}]})), "scout", "");
    let mut other = request(1, &[]);
    other.context.question = "And now?".to_owned();
    let mut presentation = request(2, &[]);
    presentation.context.phase = RequestPhase::Presentation;
    let asked = [request(1, &[]), other, request(1, &[]), presentation, request(2, &[]), request(1, &[])];
    let mut said = Vec::new();
    for request in asked {
        said.push(text(&model, request).await);
    }
    assert_eq!(said, ["one", "one", "one", "two", "one", "one"]);
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let script: Script = serde_json::from_value(json!({
        "question": " ",
        "agents": {"scout": [
            {},
            {"silence": true, "text": "x"},
            {"answer": "a", "vote": {"for": "agent1"}},
            {"text": "{{resultt:x}}"},
            {"text": "{{result:x"},
            {"calls": [{"tool": "", "arguments": [1]}, {"tool": "t", "arguments": {"a": ["{{result:t#0}}"]}}]},
            {"error": {"status": 200}, "answer": "a"},
            {"when": {"phase": "presentation", "round": 0}, "answer": "a"},
            {"text": "x", "times": 0},
            {"text": "x", "repeat": true},
            {"text": "never"},
        ]},
    }))
    .unwrap();
    let places: Vec<String> = script.validate().into_iter().map(|problem| problem.place).collect();
    assert_eq!(
        places,
        [
            "question",
            "agents.scout[0]",
            "agents.scout[1]",
            "agents.scout[2]",
            "agents.scout[3].text",
            "agents.scout[4].text",
            "agents.scout[5].calls[0].tool",
            "agents.scout[5].calls[0].arguments",
            "agents.scout[5].calls[1].arguments.a[0]",
            "agents.scout[6]",
            "agents.scout[6].error.status",
            "agents.scout[7]",
            "agents.scout[7].when.round",
            "agents.scout[8]",
            "agents.scout[10]",
        ]
    );
    assert_eq!(Script::default().validate().len(), 1, "an empty script");
    let team: Vec<String> = script.validate_for(["scot", "other"]).iter().map(ToString::to_string).collect();
    assert_eq!(team.len(), 3, "{team:?}");
    assert!(team[0].contains("those that do: scot, other"), "{team:?}");
}

#[test]
fn what_a_script_cannot_say_is_an_error_when_it_is_read() {
    for (turn, wanted) in [
        (json!({"txet": "x"}), "txet"),
        (json!({"when": {"candidates": "many"}}), "none, some, a number of answers"),
        (json!({"when": {"question": {"matches": "("}}}), "not a regular expression"),
        (json!({"when": {"question": {}}}), "contains: or matches:"),
        (json!({"when": {"tool_result": {"tool": "[a"}}}), "not a pattern"),
        (json!({"delay": "soon"}), "300ms"),
        (json!({"when": {"phase": "lunch"}}), "coordination"),
        (json!({"vote": {"reason": "x"}}), "for"),
        (json!({"vote": {"for": 7}}), "agent2"),
    ] {
        let error = serde_json::from_value::<Script>(json!({"turns": [turn]})).unwrap_err().to_string();
        assert!(error.contains(wanted), "{turn}: {error}");
    }
}
