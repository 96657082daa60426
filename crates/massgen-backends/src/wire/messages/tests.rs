use expect_test::expect;
use serde_json::{Value, json};

use super::super::testing::{codec, follow_up, options, origin, play, pretty, question, show, sse, turn};
use super::*;
use crate::{Message, ToolChoice, ToolInvocation, Turn};

fn block(index: u64, block: Value, deltas: &[Value]) -> Vec<Value> {
    let mut chunks = vec![json!({"type": "content_block_start", "index": index, "content_block": block})];
    chunks.extend(
        deltas.iter().map(|delta| json!({"type": "content_block_delta", "index": index, "delta": delta})),
    );
    chunks.push(json!({"type": "content_block_stop", "index": index}));
    chunks
}

fn end(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 30, "output_tokens_details": {"thinking_tokens": 11}}}),
        json!({"type": "message_stop"}),
    ]
}

fn two_calls() -> String {
    let mut chunks = vec![
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 10, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1}}}),
        json!({"type": "ping"}),
    ];
    chunks.extend(block(
        0,
        json!({"type": "thinking", "thinking": "", "signature": ""}),
        &[
            json!({"type": "thinking_delta", "thinking": "Both cities."}),
            json!({"type": "signature_delta", "signature": "SIG"}),
        ],
    ));
    chunks.extend(block(1, json!({"type": "redacted_thinking", "data": "RED"}), &[]));
    chunks.extend(block(
        2,
        json!({"type": "text", "text": ""}),
        &[json!({"type": "text_delta", "text": "Let me look."})],
    ));
    chunks.extend(block(
        3,
        json!({"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}),
        &[
            json!({"type": "input_json_delta", "partial_json": ""}),
            json!({"type": "input_json_delta", "partial_json": "{\"city\":"}),
            json!({"type": "input_json_delta", "partial_json": " \"Paris\"}"}),
        ],
    ));
    chunks.extend(block(
        4,
        json!({"type": "tool_use", "id": "toolu_2", "name": "get_weather", "input": {"city": "Oslo"}}),
        &[],
    ));
    chunks.extend(end("tool_use"));
    sse(&chunks)
}

#[test]
fn a_turn_with_thoughts_text_and_two_calls() {
    expect![[r#"
        start claude-sonnet-4-5 msg_1
        usage in 18 (cached 5) out 1 (reasoning 0)
        reasoning "Both cities."
        text "Let me look."
        begin 0 toolu_1 get_weather
        arguments 0 "{\"city\":"
        arguments 0 " \"Paris\"}"
        call toolu_1 get_weather {"city":"Paris"}
        begin 1 toolu_2 get_weather
        call toolu_2 get_weather {"city":"Oslo"}
        usage in 18 (cached 5) out 30 (reasoning 11)
        done ToolCalls text "Let me look." calls ["toolu_1", "toolu_2"] items 5
    "#]]
    .assert_eq(&show(&play(&*codec("messages"), &question(), &two_calls())));
}

#[test]
fn a_second_turn_replays_thoughts_and_answers_all_calls_in_one_message() {
    let codec = codec("messages");
    let turn = turn(&play(&*codec, &question(), &two_calls()));
    let encoded = codec.encode(&follow_up(&question(), turn), &options("claude-sonnet-4-5"));
    assert_eq!(encoded.url.as_str(), "http://host/v1/messages");
    assert_eq!(encoded.headers, [("anthropic-version", "2023-06-01")]);
    expect![[r#"
        {
          "model": "claude-sonnet-4-5",
          "max_tokens": 4096,
          "stream": true,
          "system": "Be brief.",
          "messages": [
            {
              "role": "user",
              "content": [
                {
                  "type": "text",
                  "text": "weather please"
                }
              ]
            },
            {
              "role": "assistant",
              "content": [
                {
                  "type": "thinking",
                  "thinking": "Both cities.",
                  "signature": "SIG"
                },
                {
                  "type": "redacted_thinking",
                  "data": "RED"
                },
                {
                  "type": "text",
                  "text": "Let me look."
                },
                {
                  "type": "tool_use",
                  "id": "toolu_1",
                  "name": "get_weather",
                  "input": {
                    "city": "Paris"
                  }
                },
                {
                  "type": "tool_use",
                  "id": "toolu_2",
                  "name": "get_weather",
                  "input": {
                    "city": "Oslo"
                  }
                }
              ]
            },
            {
              "role": "user",
              "content": [
                {
                  "type": "tool_result",
                  "tool_use_id": "toolu_1",
                  "content": "result 0",
                  "is_error": true
                },
                {
                  "type": "tool_result",
                  "tool_use_id": "toolu_2",
                  "content": "result 1"
                },
                {
                  "type": "text",
                  "text": "Go on."
                }
              ]
            }
          ],
          "tools": [
            {
              "name": "get_weather",
              "description": "Current weather of a city.",
              "input_schema": "the schema of get_weather"
            }
          ]
        }
    "#]]
    .assert_eq(&pretty(&encoded));
}

#[test]
fn another_wires_turn_is_told_in_legal_words() {
    let call =
        |id: &str, name: &str, arguments| ToolInvocation { id: id.into(), name: name.into(), arguments };
    let turn = Turn {
        text: " ".into(),
        calls: vec![
            call("functions.a:0", "get weather", Ok(Default::default())),
            call("", "", Err("[1]".into())),
        ],
        ..Turn::default()
    };
    let encoded = codec("messages").encode(&follow_up(&question(), turn), &options("m"));
    expect![[r#"
        [
          {
            "role": "user",
            "content": [
              {
                "type": "text",
                "text": "weather please"
              }
            ]
          },
          {
            "role": "assistant",
            "content": [
              {
                "type": "tool_use",
                "id": "_functions_a_0",
                "name": "_get_weather",
                "input": {}
              },
              {
                "type": "tool_use",
                "id": "_",
                "name": "_",
                "input": {
                  "raw_input": "[1]"
                }
              }
            ]
          },
          {
            "role": "user",
            "content": [
              {
                "type": "tool_result",
                "tool_use_id": "_functions_a_0",
                "content": "result 0",
                "is_error": true
              },
              {
                "type": "tool_result",
                "tool_use_id": "_",
                "content": "result 1"
              },
              {
                "type": "text",
                "text": "Go on."
              }
            ]
          }
        ]
    "#]]
    .assert_eq(&pretty(&Encoded { body: encoded.body["messages"].clone(), ..encoded }));
}

#[test]
fn a_call_cut_off_by_the_limit_can_be_answered() {
    let mut chunks = vec![json!({"type": "message_start", "message": {"id": "m", "model": "c"}})];
    chunks.extend(block(
        0,
        json!({"type": "tool_use", "id": "t", "name": "get_weather", "input": {}}),
        &[json!({"type": "input_json_delta", "partial_json": "{\"city\": \"Pa"})],
    ));
    chunks.pop();
    chunks.extend(end("max_tokens"));
    let events = play(&*codec("messages"), &question(), &sse(&chunks));
    expect![[r#"
        start c m
        begin 0 t get_weather
        arguments 0 "{\"city\": \"Pa"
        usage in 0 (cached 0) out 30 (reasoning 11)
        call t get_weather NOT AN OBJECT "{\"city\": \"Pa"
        done Length text "" calls ["t"] items 1
    "#]]
    .assert_eq(&show(&events));
    let body = codec("messages").encode(&follow_up(&question(), turn(&events)), &options("m")).body;
    assert_eq!(body["messages"][1]["content"][0]["input"], json!({"raw_input": "{\"city\": \"Pa"}));
    assert_eq!(body["messages"][2]["content"][0]["tool_use_id"], "t");
}

#[test]
fn reasons_are_translated() {
    for (reason, want) in [
        ("end_turn", "Stop"),
        ("stop_sequence", "Stop"),
        ("max_tokens", "Length"),
        ("model_context_window_exceeded", "Length"),
        ("pause_turn", "Pause"),
        ("refusal", "Refusal"),
        ("new_one", "Other(\"new_one\")"),
    ] {
        let shown = show(&play(&*codec("messages"), &question(), &sse(&end(reason))));
        assert!(shown.contains(&format!("done {want} ")), "{reason}: {shown}");
    }
}

#[test]
fn blank_text_and_lonely_thoughts_are_not_sent() {
    let lonely = |items: Vec<Value>| Turn { origin: Some(origin(FORMAT).wire), items, ..Turn::default() };
    let mut request = question();
    request.messages.push(Message::Assistant(lonely(vec![
        json!({"type": "thinking", "thinking": "x", "signature": "s"}),
        json!({"type": "text", "text": "\n"}),
    ])));
    request.messages.push(Message::User("again".into()));
    let body = codec("messages").encode(&request, &options("m")).body;
    assert_eq!(
        body["messages"],
        json!([{"role": "user", "content": [{"type": "text", "text": "weather please"}, {"type": "text", "text": "again"}]}])
    );
}

#[test]
fn options_go_where_they_belong() {
    let body = |options: &ModelOptions, choice| {
        let request = Request { tool_choice: choice, messages: vec![], system: None, ..question() };
        let mut body = codec("messages").encode(&request, options).body;
        body.as_object_mut().unwrap().shift_remove("tools");
        body.to_string()
    };
    let plain = ModelOptions { temperature: Some(1.7), top_p: Some(0.5), ..options("claude") };
    expect![[r#"{"model":"claude","max_tokens":4096,"stream":true,"messages":[],"tool_choice":{"type":"any"},"temperature":1.0}"#]].assert_eq(&body(&plain, ToolChoice::Required));
    expect![[r#"{"model":"claude","max_tokens":5,"stream":true,"messages":[],"tool_choice":{"type":"none"},"top_p":0.5}"#]].assert_eq(&body(&ModelOptions { temperature: None, max_tokens: Some(5), ..plain.clone() }, ToolChoice::None));
    let thinking = ModelOptions {
        extra: json!({"thinking": {"type": "enabled", "budget_tokens": 2000}}).as_object().unwrap().clone(),
        ..plain
    };
    expect![[r#"{"model":"claude","max_tokens":6096,"stream":true,"messages":[],"thinking":{"type":"enabled","budget_tokens":2000}}"#]].assert_eq(&body(&thinking, ToolChoice::Required));
}

#[test]
fn the_version_is_in_the_path_once() {
    for base in ["https://h", "https://h/", "https://h/v1", "https://h/v1/"] {
        let codec = Messages::new(origin(FORMAT), &Url::parse(base).unwrap());
        assert_eq!(codec.encode(&question(), &options("m")).url.as_str(), "https://h/v1/messages");
    }
}
