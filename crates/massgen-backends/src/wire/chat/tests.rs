use std::sync::Arc;

use expect_test::expect;
use serde_json::{Value, json};

use super::super::testing::{
    chat_codec, codec, follow_up, options, origin, play, pretty, question, show, sse, turn, weather,
};
use super::*;
use crate::{Message, ToolDefinition, ToolReply, Turn};

fn delta(delta: Value) -> Value {
    json!({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": delta}]})
}

fn finish(reason: &str) -> Value {
    json!({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn two_calls() -> String {
    let call = |at: u64, id: &str, city: &str| json!({"index": at, "id": id, "type": "function", "function": {"name": "get_weather", "arguments": format!("{{\"city\":\"{city}\"}}")}, "extra_content": {"signature": id}});
    sse(&[
        delta(json!({"role": "assistant", "content": "Let me look.", "reasoning_content": "hm"})),
        delta(json!({"tool_calls": [call(0, "a", "Paris"), call(1, "b", "Oslo")]})),
        finish("tool_calls"),
    ])
}

#[test]
fn a_second_turn_answers_every_call_with_a_message_of_its_own() {
    let codec = codec("chat");
    let turn = turn(&play(&*codec, &question(), &two_calls()));
    let encoded = codec.encode(&follow_up(&question(), turn), &options("m"));
    assert_eq!(encoded.url.as_str(), "http://host/v1/chat/completions");
    expect![[r#"
        {
          "model": "m",
          "messages": [
            {
              "role": "system",
              "content": "Be brief."
            },
            {
              "role": "user",
              "content": "weather please"
            },
            {
              "role": "assistant",
              "content": "Let me look.",
              "tool_calls": [
                {
                  "id": "a",
                  "type": "function",
                  "function": {
                    "name": "get_weather",
                    "arguments": "{\"city\":\"Paris\"}"
                  },
                  "extra_content": {
                    "signature": "a"
                  }
                },
                {
                  "id": "b",
                  "type": "function",
                  "function": {
                    "name": "get_weather",
                    "arguments": "{\"city\":\"Oslo\"}"
                  },
                  "extra_content": {
                    "signature": "b"
                  }
                }
              ]
            },
            {
              "role": "tool",
              "tool_call_id": "a",
              "content": "result 0"
            },
            {
              "role": "tool",
              "tool_call_id": "b",
              "content": "result 1"
            },
            {
              "role": "user",
              "content": "Go on."
            }
          ],
          "stream": true,
          "stream_options": {
            "include_usage": true
          },
          "tools": [
            {
              "type": "function",
              "function": {
                "name": "get_weather",
                "description": "Current weather of a city.",
                "parameters": "the schema of get_weather"
              }
            }
          ]
        }
    "#]]
    .assert_eq(&pretty(&encoded));
}

#[test]
fn another_hosts_turn_is_told_in_the_canonical_form() {
    let mut turn = turn(&play(&*codec("chat"), &question(), &two_calls()));
    turn.origin = None;
    turn.calls[0].arguments = Err("[1]".into());
    let encoded = codec("chat").encode(&follow_up(&question(), turn), &options("m"));
    expect![[r#"{"role":"assistant","content":"Let me look.","tool_calls":[{"id":"a","type":"function","function":{"name":"get_weather","arguments":"{\"raw_input\":\"[1]\"}"}},{"id":"b","type":"function","function":{"name":"get_weather","arguments":"{\"city\":\"Oslo\"}"}}]}"#]].assert_eq(&encoded.body["messages"][2].to_string());
}

#[test]
fn reasoning_goes_back_to_the_hosts_that_want_it() {
    for (host, want) in [("api.deepseek.com", true), ("api.moonshot.ai", true), ("api.groq.com", false)] {
        let mut origin = origin(FORMAT);
        origin.wire.host = host.into();
        let chat = Chat::new(origin, &Url::parse("http://host/v1").unwrap(), Profile::default());
        let turn = turn(&play(&chat, &question(), &two_calls()));
        assert_eq!(turn.items[0].get("reasoning_content").is_some(), want, "{host}");
    }
}

#[test]
fn opaque_reasoning_is_put_together_and_goes_back() {
    let text = sse(&[
        delta(
            json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "a", "signature": null}]}),
        ),
        delta(
            json!({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "b", "signature": "s"}]}),
        ),
        delta(json!({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "x"}]})),
        delta(json!({"content": "Hi"})),
        finish("stop"),
    ]);
    let events = play(&*codec("chat"), &question(), &text);
    expect![[r#"
        start m c1
        reasoning "ab"
        text "Hi"
        done Stop text "Hi" calls [] items 1
    "#]]
    .assert_eq(&show(&events));
    expect![[r#"{"role":"assistant","content":"Hi","reasoning_details":[{"type":"reasoning.text","index":0,"text":"ab","signature":"s"},{"type":"reasoning.encrypted","index":1,"data":"x"}]}"#]].assert_eq(&turn(&events).items[0].to_string());
}

#[test]
fn odd_servers_are_understood() {
    let whole = json!({"id": "c", "choices": [{"message": {"role": "assistant", "content": "whole"}, "finish_reason": "stop"}]});
    let azure = json!({"choices": [], "model": "", "prompt_filter_results": [{"prompt_index": 0}]});
    let mistral = delta(
        json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "T"}]}),
    );
    let groq = json!({"id": "c", "choices": [{"delta": {}, "finish_reason": "stop"}], "x_groq": {"usage": {"prompt_tokens": 3, "completion_tokens": 4}}});
    let same_index = delta(json!({"tool_calls": [
        {"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": "{\"city\":\"P\"}"}},
        {"index": 0, "id": "b", "function": {"name": "get_weather", "arguments": {"city": "O"}}},
    ]}));
    let no_ids = delta(
        json!({"tool_calls": [{"function": {"name": "get_weather", "arguments": ""}}, {"function": {"name": "get_weather"}}]}),
    );
    let xai = json!({"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22, "completion_tokens_details": {"reasoning_tokens": 7}}});
    let show_all = |chunks: &[Value]| show(&play(&*codec("chat"), &question(), &sse(chunks)));
    expect![[r#"
        start - c
        text "whole"
        done Stop text "whole" calls [] items 1
    "#]]
    .assert_eq(&show_all(&[whole]));
    expect![[r#"
        start - -
        reasoning "hm"
        text "T"
        usage in 3 (cached 0) out 4 (reasoning 0)
        done Stop text "T" calls [] items 1
    "#]]
    .assert_eq(&show_all(&[azure, mistral, groq]));
    expect![[r#"
        start m c1
        begin 0 a get_weather
        arguments 0 "{\"city\":\"P\"}"
        begin 1 b get_weather
        arguments 1 "{\"city\":\"O\"}"
        call a get_weather {"city":"P"}
        call b get_weather {"city":"O"}
        done ToolCalls text "" calls ["a", "b"] items 1
    "#]]
    .assert_eq(&show_all(&[same_index, finish("stop")]));
    expect![[r#"
        start m c1
        begin 0 call_1 get_weather
        begin 1 call_2 get_weather
        call call_1 get_weather {}
        call call_2 get_weather {}
        done ToolCalls text "" calls ["call_1", "call_2"] items 1
    "#]]
    .assert_eq(&show_all(&[no_ids, finish("tool_calls")]));
    expect![[r#"
        start m c1
        usage in 10 (cached 0) out 12 (reasoning 7)
        done Length text "" calls [] items 1
    "#]]
    .assert_eq(&show_all(&[finish("length"), xai]));
}

#[test]
fn an_error_event_by_name_is_an_error() {
    let text = format!(
        "{}event: error\ndata: {{\"message\":\"gone\",\"code\":503}}\n\n",
        sse(&[delta(json!({"content": "a"}))])
    );
    expect![[r#"
        start m c1
        text "a"
        error (retryable) P broke off (503): gone
    "#]]
    .assert_eq(&show(&play(&*codec("chat"), &question(), &text)));
}

fn search() -> ToolDefinition {
    let schema = json!({
        "$schema": "x",
        "type": "object",
        "properties": {
            "query": {"type": "string"},
            "limit": {"type": "integer", "default": 5},
            "sort": {"$ref": "#/$defs/Sort"},
        },
        "required": ["query", "sort"],
        "$defs": {"Sort": {"enum": ["date", "rank"]}},
    });
    ToolDefinition { name: "search".into(), description: "Finds papers.".into(), schema: Arc::new(schema) }
}

fn bound() -> Request {
    Request { tools: vec![weather(), search()], ..question() }
}

#[test]
fn in_schema_mode_the_answer_is_bound_to_the_union_of_the_tools() {
    let encoded = chat_codec(ToolMode::JsonSchema).encode(&bound(), &options("small"));
    expect![[r##"
        {
          "model": "small",
          "messages": [
            {
              "role": "system",
              "content": "Be brief.\n\nAnswer with one JSON object that calls one of these tools, and with nothing else: {\"tool\": NAME, \"arguments\": {...}}. Write the arguments for the task at hand; the examples only show their form.\n\nTools:\n- get_weather: Current weather of a city.\n  Example: {\"tool\":\"get_weather\",\"arguments\":{\"city\":\"...\"}}\n- search: Finds papers.\n  Example: {\"tool\":\"search\",\"arguments\":{\"query\":\"...\",\"sort\":\"date|rank\"}}"
            },
            {
              "role": "user",
              "content": "weather please"
            }
          ],
          "stream": true,
          "stream_options": {
            "include_usage": true
          },
          "response_format": {
            "type": "json_schema",
            "json_schema": {
              "name": "tool_call",
              "strict": true,
              "schema": {
                "anyOf": [
                  {
                    "type": "object",
                    "properties": {
                      "tool": {
                        "type": "string",
                        "const": "get_weather"
                      },
                      "arguments": "the schema of get_weather"
                    },
                    "required": [
                      "tool",
                      "arguments"
                    ],
                    "additionalProperties": false
                  },
                  {
                    "type": "object",
                    "properties": {
                      "tool": {
                        "type": "string",
                        "const": "search"
                      },
                      "arguments": {
                        "$ref": "#/$defs/t1"
                      }
                    },
                    "required": [
                      "tool",
                      "arguments"
                    ],
                    "additionalProperties": false
                  }
                ],
                "$defs": {
                  "t1": {
                    "type": "object",
                    "properties": {
                      "query": {
                        "type": "string"
                      },
                      "limit": {
                        "type": "integer",
                        "default": 5
                      },
                      "sort": {
                        "$ref": "#/$defs/t1/$defs/Sort"
                      }
                    },
                    "required": [
                      "query",
                      "sort"
                    ],
                    "$defs": {
                      "Sort": {
                        "enum": [
                          "date",
                          "rank"
                        ]
                      }
                    }
                  }
                }
              }
            }
          }
        }
    "##]].assert_eq(&pretty(&encoded));
}

#[test]
fn in_schema_mode_one_tool_needs_no_union() {
    let body = chat_codec(ToolMode::JsonSchema).encode(&question(), &options("small")).body;
    assert_eq!(
        body["response_format"]["json_schema"]["schema"]["properties"]["tool"]["const"],
        "get_weather"
    );
}

#[test]
fn in_schema_mode_nothing_changes_without_tools_or_when_none_may_be_called() {
    let free = Request { tools: vec![], ..question() };
    let native = chat_codec(ToolMode::Native).encode(&free, &options("m"));
    assert_eq!(chat_codec(ToolMode::JsonSchema).encode(&free, &options("m")), native);
    let none = Request { tool_choice: ToolChoice::None, ..question() };
    assert_eq!(chat_codec(ToolMode::JsonSchema).encode(&none, &options("m")), native);
}

#[test]
fn in_schema_mode_the_text_becomes_a_call_and_is_never_told() {
    let text = sse(&[
        delta(json!({"content": "{\"tool\": \"get_weather\", \"argu"})),
        delta(json!({"content": "ments\": {\"city\": \"Paris\"}}"})),
        finish("stop"),
    ]);
    let codec = chat_codec(ToolMode::JsonSchema);
    let events = play(&*codec, &bound(), &text);
    expect![[r#"
        start m c1
        begin 0 call_1 get_weather
        call call_1 get_weather {"city":"Paris"}
        done ToolCalls text "" calls ["call_1"] items 0
    "#]]
    .assert_eq(&show(&events));

    let mut next = follow_up(&bound(), turn(&events));
    next.messages.push(Message::Assistant(Turn { text: "So.".into(), ..Turn::default() }));
    let body = codec.encode(&next, &options("small")).body;
    let messages = Value::from(body["messages"].as_array().unwrap()[1..].to_vec());
    expect![[r#"[{"role":"user","content":"weather please"},{"role":"assistant","content":"{\"tool\":\"get_weather\",\"arguments\":{\"city\":\"Paris\"}}"},{"role":"user","content":"Error from get_weather:\nresult 0\n\nGo on."},{"role":"assistant","content":"So."}]"#]].assert_eq(&messages.to_string());
}

#[test]
fn in_schema_mode_what_is_no_call_is_text() {
    let text = sse(&[delta(json!({"content": "{\"tool\": \"get_wea"})), finish("length")]);
    expect![[r#"
        start m c1
        text "{\"tool\": \"get_wea"
        done Length text "{\"tool\": \"get_wea" calls [] items 1
    "#]]
    .assert_eq(&show(&play(&*chat_codec(ToolMode::JsonSchema), &bound(), &text)));
}

#[test]
fn in_auto_mode_a_call_in_the_text_is_found_and_native_mode_never_looks() {
    let call = "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}";
    let bare = sse(&[delta(json!({"content": call})), finish("stop")]);
    let fenced = sse(&[
        delta(json!({"content": "Let me look.\n"})),
        delta(json!({"content": format!("```json\n{call}\n```")})),
        finish("stop"),
    ]);
    let auto = chat_codec(ToolMode::Auto);
    expect![[r#"
        start m c1
        begin 0 call_1 get_weather
        call call_1 get_weather {"city":"Oslo"}
        done ToolCalls text "" calls ["call_1"] items 0
    "#]]
    .assert_eq(&show(&play(&*auto, &question(), &bare)));
    expect![[r#"
        start m c1
        text "Let me look.\n```json\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}\n```"
        begin 0 call_1 get_weather
        call call_1 get_weather {"city":"Oslo"}
        done ToolCalls text "Let me look." calls ["call_1"] items 0
    "#]]
    .assert_eq(&show(&play(&*auto, &question(), &fenced)));
    expect![[r#"
        start m c1
        text "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}"
        done Stop text "{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Oslo\"}}" calls [] items 1
    "#]]
    .assert_eq(&show(&play(&*codec("chat"), &question(), &bare)));
    // Nothing may be called: a call in the text is text.
    let none = Request { tool_choice: ToolChoice::None, ..question() };
    assert!(turn(&play(&*auto, &none, &bare)).calls.is_empty());
    // The native calls count, where there are some.
    let both = sse(&[
        delta(json!({"content": call})),
        delta(
            json!({"tool_calls": [{"index": 0, "id": "n", "function": {"name": "get_weather", "arguments": "{}"}}]}),
        ),
        finish("tool_calls"),
    ]);
    let ids: Vec<_> = turn(&play(&*auto, &question(), &both)).calls.into_iter().map(|call| call.id).collect();
    assert_eq!(ids, ["n"]);
}

#[test]
fn in_auto_mode_plain_text_is_told_as_it_comes() {
    let text = sse(&[delta(json!({"content": "The "})), delta(json!({"content": "answer"})), finish("stop")]);
    let events = play(&*chat_codec(ToolMode::Auto), &question(), &text);
    let pieces = events.iter().filter(|event| matches!(event, Ok(crate::Event::Text(_)))).count();
    assert_eq!(pieces, 2);
}

#[test]
fn options_and_choices_follow_the_profile() {
    let all = ModelOptions {
        temperature: Some(0.2),
        max_tokens: Some(9),
        reasoning: Some(json!({"effort": "high"})),
        text: Some(json!({"verbosity": "low"})),
        extra: json!({"stream_options": null, "seed": 7, "tools": [{"type": "web"}]})
            .as_object()
            .unwrap()
            .clone(),
        ..options("gpt-5")
    };
    let body = |profile: Profile| {
        let chat = Chat::new(origin(FORMAT), &Url::parse("http://host/v1").unwrap(), profile);
        let request = Request { tool_choice: ToolChoice::Required, ..question() };
        let mut body = chat.encode(&request, &all).body;
        body.as_object_mut().unwrap().shift_remove("messages");
        assert_eq!(body["tools"].as_array_mut().unwrap().drain(..).count(), 2);
        body.to_string()
    };
    expect![[r#"{"model":"gpt-5","stream":true,"tools":[],"tool_choice":"required","temperature":0.2,"max_tokens":9,"reasoning_effort":"high","verbosity":"low","seed":7}"#]].assert_eq(&body(Profile::default()));
    let openai = Profile { limit: LimitKey::MaxCompletionTokens, ..Profile::default() };
    expect![[r#"{"model":"gpt-5","stream":true,"tools":[],"tool_choice":"required","max_completion_tokens":9,"reasoning_effort":"high","verbosity":"low","seed":7}"#]].assert_eq(&body(openai));
    let router = Profile {
        reasoning: ReasoningKey::Object,
        forcing: Forcing::Never,
        usage: UsageRequest::Silent,
        ..Profile::default()
    };
    expect![[r#"{"model":"gpt-5","stream":true,"tools":[],"temperature":0.2,"max_tokens":9,"reasoning":{"effort":"high"},"verbosity":"low","seed":7}"#]].assert_eq(&body(router));
}

#[test]
fn an_empty_reply_and_an_error_are_still_replies() {
    let turn = turn(&play(&*codec("chat"), &question(), &two_calls()));
    let mut request = question();
    let reply = |id: &str| ToolReply {
        id: id.into(),
        name: "get_weather".into(),
        text: String::new(),
        is_error: true,
    };
    request.messages.push(Message::Assistant(turn));
    request.messages.push(Message::ToolReplies(vec![reply("a"), reply("b")]));
    let body = codec("chat").encode(&request, &options("m")).body;
    assert_eq!(body["messages"][3], json!({"role": "tool", "tool_call_id": "a", "content": ""}));
}

#[test]
fn arguments_of_nothing_go_back_as_an_object() {
    for nothing in ["", "null", " "] {
        let call = json!({"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": nothing}});
        let text = sse(&[delta(json!({"tool_calls": [call]})), finish("tool_calls")]);
        let turn = turn(&play(&*codec("chat"), &question(), &text));
        assert_eq!(turn.calls[0].arguments, Ok(Default::default()));
        assert_eq!(turn.items[0]["tool_calls"][0]["function"]["arguments"], "{}");
    }
}
