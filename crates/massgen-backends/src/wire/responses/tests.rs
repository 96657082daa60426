use expect_test::{Expect, expect};
use serde_json::json;

use super::super::testing::{codec, follow_up, options, play, pretty, question, show, sse, turn};
use super::*;
use crate::{Message, ToolChoice, ToolInvocation, Turn};

fn two_calls() -> String {
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ENC"});
    let call = |id: &str, city: &str, done: bool| {
        let arguments = if done { format!("{{\"city\":\"{city}\"}}") } else { String::new() };
        json!({"type": "function_call", "id": format!("fc_{id}"), "call_id": id, "name": "get_weather", "arguments": arguments, "status": "completed"})
    };
    sse(&[
        json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5"}}),
        json!({"type": "response.output_item.done", "output_index": 0, "item": reasoning}),
        json!({"type": "response.output_item.added", "output_index": 1, "item": call("call_a", "", false)}),
        json!({"type": "response.output_item.added", "output_index": 2, "item": call("call_b", "", false)}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_call_b", "delta": "{\"city\":\"Oslo\"}"}),
        json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "fc_call_a", "delta": "{\"city\":\"Paris\"}"}),
        json!({"type": "response.output_item.done", "output_index": 2, "item": call("call_b", "Oslo", true)}),
        json!({"type": "response.output_item.done", "output_index": 1, "item": call("call_a", "Paris", true)}),
        json!({"type": "response.completed", "response": {"usage": {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 20, "output_tokens_details": {"reasoning_tokens": 8}, "total_tokens": 30}}}),
    ])
}

#[test]
fn parallel_calls_that_interleave_keep_their_order() {
    let events = play(&*codec("responses"), &question(), &two_calls());
    expect![[r#"
        start gpt-5 resp_1
        begin 0 call_a get_weather
        begin 1 call_b get_weather
        arguments 1 "{\"city\":\"Oslo\"}"
        arguments 0 "{\"city\":\"Paris\"}"
        call call_b get_weather {"city":"Oslo"}
        call call_a get_weather {"city":"Paris"}
        usage in 10 (cached 4) out 20 (reasoning 8)
        done ToolCalls text "" calls ["call_a", "call_b"] items 3
    "#]]
    .assert_eq(&show(&events));
    let ids: Vec<_> = turn(&events).calls.into_iter().map(|call| call.id).collect();
    assert_eq!(ids, ["call_a", "call_b"]);
}

#[test]
fn a_second_turn_replays_every_item_verbatim() {
    let codec = codec("responses");
    let turn = turn(&play(&*codec, &question(), &two_calls()));
    let encoded = codec.encode(&follow_up(&question(), turn), &options("gpt-5"));
    assert_eq!(encoded.url.as_str(), "http://host/v1/responses");
    expect![[r#"
        {
          "model": "gpt-5",
          "stream": true,
          "store": false,
          "instructions": "Be brief.",
          "input": [
            {
              "type": "message",
              "role": "user",
              "content": "weather please"
            },
            {
              "type": "reasoning",
              "id": "rs_1",
              "summary": [],
              "encrypted_content": "ENC"
            },
            {
              "type": "function_call",
              "id": "fc_call_a",
              "call_id": "call_a",
              "name": "get_weather",
              "arguments": "{\"city\":\"Paris\"}",
              "status": "completed"
            },
            {
              "type": "function_call",
              "id": "fc_call_b",
              "call_id": "call_b",
              "name": "get_weather",
              "arguments": "{\"city\":\"Oslo\"}",
              "status": "completed"
            },
            {
              "type": "function_call_output",
              "call_id": "call_a",
              "output": "result 0"
            },
            {
              "type": "function_call_output",
              "call_id": "call_b",
              "output": "result 1"
            },
            {
              "type": "message",
              "role": "user",
              "content": "Go on."
            }
          ],
          "tools": [
            {
              "type": "function",
              "name": "get_weather",
              "description": "Current weather of a city.",
              "parameters": "the schema of get_weather",
              "strict": false
            }
          ],
          "include": [
            "reasoning.encrypted_content"
          ]
        }
    "#]]
    .assert_eq(&pretty(&encoded));
}

#[test]
fn another_hosts_turn_is_told_in_the_canonical_form() {
    let mut turn = turn(&play(&*codec("responses"), &question(), &two_calls()));
    turn.origin = turn.origin.map(|wire| crate::Wire { host: "other".into(), ..wire });
    turn.text = "Let me look.".into();
    turn.calls[1].arguments = Err("{\"city\"".into());
    let encoded = codec("responses").encode(&follow_up(&question(), turn), &options("gpt-4o"));
    expect![[r#"
        [
          {
            "type": "message",
            "role": "user",
            "content": "weather please"
          },
          {
            "type": "message",
            "role": "assistant",
            "content": "Let me look."
          },
          {
            "type": "function_call",
            "call_id": "call_a",
            "name": "get_weather",
            "arguments": "{\"city\":\"Paris\"}"
          },
          {
            "type": "function_call",
            "call_id": "call_b",
            "name": "get_weather",
            "arguments": "{\"raw_input\":\"{\\\"city\\\"\"}"
          },
          {
            "type": "function_call_output",
            "call_id": "call_a",
            "output": "result 0"
          },
          {
            "type": "function_call_output",
            "call_id": "call_b",
            "output": "result 1"
          },
          {
            "type": "message",
            "role": "user",
            "content": "Go on."
          }
        ]
    "#]]
    .assert_eq(&pretty(&crate::wire::Encoded { body: encoded.body["input"].clone(), ..encoded.clone() }));
    assert!(encoded.body.get("include").is_none(), "only models that reason take it");
}

fn check_options(options: ModelOptions, choice: ToolChoice, expect: Expect) {
    let request = crate::Request { tools: vec![], system: None, tool_choice: choice, ..question() };
    expect.assert_eq(&codec("responses").encode(&request, &options).body.to_string());
}

#[test]
fn options_go_where_they_belong() {
    let all = ModelOptions {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(100),
        reasoning: Some(json!({"effort": "low"})),
        text: Some(json!({"verbosity": "low"})),
        extra: json!({"service_tier": "flex", "store": true}).as_object().unwrap().clone(),
        ..options("gpt-5-nano")
    };
    check_options(
        all.clone(),
        ToolChoice::Required,
        expect![[
            r#"{"model":"gpt-5-nano","stream":true,"store":true,"input":[{"type":"message","role":"user","content":"weather please"}],"max_output_tokens":100,"reasoning":{"effort":"low"},"text":{"verbosity":"low"},"include":["reasoning.encrypted_content"],"service_tier":"flex"}"#
        ]],
    );
    check_options(
        ModelOptions {
            model: "gpt-4o".into(),
            reasoning: None,
            text: None,
            extra: Default::default(),
            ..all
        },
        ToolChoice::Auto,
        expect![[
            r#"{"model":"gpt-4o","stream":true,"store":false,"input":[{"type":"message","role":"user","content":"weather please"}],"temperature":0.5,"top_p":0.9,"max_output_tokens":100}"#
        ]],
    );
}

#[test]
fn tools_are_flat_strict_is_sent_and_the_choice_is_mapped() {
    for (choice, want) in [
        (ToolChoice::Auto, json!(null)),
        (ToolChoice::Required, json!("required")),
        (ToolChoice::None, json!("none")),
    ] {
        let body = codec("responses")
            .encode(&crate::Request { tool_choice: choice, ..question() }, &options("gpt-5"))
            .body;
        assert_eq!(body["tools"][0]["name"], "get_weather");
        assert_eq!(body["tools"][0]["strict"], false);
        assert_eq!(body["tool_choice"], want);
    }
}

#[test]
fn a_turn_of_reasoning_alone_is_left_out() {
    let reasoning = json!({"type": "reasoning", "id": "rs_1", "summary": []});
    let lonely = Turn {
        origin: Some(super::super::testing::origin(FORMAT).wire),
        items: vec![reasoning],
        ..Turn::default()
    };
    let mut request = question();
    request.messages.push(Message::Assistant(lonely));
    request.messages.push(Message::User("again".into()));
    let body = codec("responses").encode(&request, &options("gpt-5")).body;
    assert_eq!(body["input"].as_array().unwrap().len(), 2);
}

#[test]
fn items_that_come_only_at_the_end_are_read() {
    let text = sse(&[json!({"type": "response.completed", "response": {"id": "r", "output": [
        {"type": "message", "content": [{"type": "output_text", "text": "Hi."}]},
        {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": ""},
    ]}})]);
    expect![[r#"
        start - r
        text "Hi."
        begin 0 a get_weather
        call a get_weather {}
        done ToolCalls text "Hi." calls ["a"] items 2
    "#]]
    .assert_eq(&show(&play(&*codec("responses"), &question(), &text)));
}

#[test]
fn a_call_cut_off_by_the_limit_keeps_its_text_and_can_be_answered() {
    let text = sse(&[
        json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "id": "f", "call_id": "a", "name": "get_weather", "arguments": ""}}),
        json!({"type": "response.function_call_arguments.delta", "item_id": "f", "output_index": 0, "delta": "{\"city\":\"Pa"}),
        json!({"type": "response.incomplete", "response": {"incomplete_details": {"reason": "max_output_tokens"}}}),
    ]);
    let events = play(&*codec("responses"), &question(), &text);
    expect![[r#"
        start - -
        begin 0 a get_weather
        arguments 0 "{\"city\":\"Pa"
        call a get_weather NOT AN OBJECT "{\"city\":\"Pa"
        done Length text "" calls ["a"] items 1
    "#]]
    .assert_eq(&show(&events));
    let body = codec("responses").encode(&follow_up(&question(), turn(&events)), &options("m")).body;
    assert_eq!(body["input"][1]["call_id"], body["input"][2]["call_id"]);
}

#[test]
fn ids_that_were_taken_are_replaced_in_the_item_too() {
    let taken = ToolInvocation { id: "call_a".into(), name: "t".into(), arguments: Ok(Default::default()) };
    let mut request = question();
    request.messages.push(Message::Assistant(Turn { calls: vec![taken], ..Turn::default() }));
    let turn = turn(&play(&*codec("responses"), &request, &two_calls()));
    assert_ne!(turn.calls[0].id, "call_a");
    assert_eq!(turn.items[1]["call_id"], turn.calls[0].id.as_str());
}

#[test]
fn models_that_reason_are_known_by_name() {
    for (model, want) in [
        ("gpt-5-nano", true),
        ("gpt-5.1", true),
        ("o3-mini", true),
        ("openai/o4-mini", true),
        ("grok-4", true),
        ("gpt-5-chat-latest", false),
        ("gpt-4o", false),
        ("grok-4-fast-non-reasoning", false),
        ("omni", false),
        ("", false),
    ] {
        assert_eq!(is_reasoning_model(model), want, "{model}");
    }
}
