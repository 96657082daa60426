use std::sync::Arc;

use expect_test::expect;
use serde_json::{Value, json};

use super::super::testing::{codec, follow_up, options, origin, play, pretty, question, show, sse, turn};
use super::*;
use crate::{ToolChoice, ToolDefinition};

fn chunk(parts: Value) -> Value {
    json!({"candidates": [{"content": {"role": "model", "parts": parts}}], "modelVersion": "gemini-3", "responseId": "g1"})
}

fn end(reason: &str) -> Value {
    json!({"candidates": [{"finishReason": reason}], "usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 4, "candidatesTokenCount": 5, "thoughtsTokenCount": 6, "totalTokenCount": 21}})
}

fn two_calls() -> String {
    sse(&[
        chunk(json!([{"text": "Both ", "thought": true}])),
        chunk(json!([{"text": "cities.", "thought": true}, {"text": "Let me "}])),
        chunk(
            json!([{"text": "look."}, {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}, "thoughtSignature": "SIG"}]),
        ),
        chunk(json!([{"functionCall": {"id": "given", "name": "get_weather", "args": {"city": "Oslo"}}}])),
        end("STOP"),
    ])
}

#[test]
fn a_turn_with_thoughts_text_and_two_calls() {
    expect![[r#"
        start gemini-3 g1
        reasoning "Both cities."
        text "Let me look."
        begin 0 call_1 get_weather
        call call_1 get_weather {"city":"Paris"}
        begin 1 given get_weather
        call given get_weather {"city":"Oslo"}
        usage in 10 (cached 4) out 11 (reasoning 6)
        done ToolCalls text "Let me look." calls ["call_1", "given"] items 4
    "#]]
    .assert_eq(&show(&play(&*codec("gemini"), &question(), &two_calls())));
}

#[test]
fn a_second_turn_replays_signatures_and_names_only_ids_that_were_given() {
    let codec = codec("gemini");
    let turn = turn(&play(&*codec, &question(), &two_calls()));
    let encoded = codec.encode(&follow_up(&question(), turn), &options("gemini-3"));
    assert_eq!(encoded.url.as_str(), "http://host/v1/models/gemini-3:streamGenerateContent?alt=sse");
    expect![[r#"
        {
          "contents": [
            {
              "role": "user",
              "parts": [
                {
                  "text": "weather please"
                }
              ]
            },
            {
              "role": "model",
              "parts": [
                {
                  "text": "Both cities.",
                  "thought": true
                },
                {
                  "text": "Let me look."
                },
                {
                  "functionCall": {
                    "name": "get_weather",
                    "args": {
                      "city": "Paris"
                    }
                  },
                  "thoughtSignature": "SIG"
                },
                {
                  "functionCall": {
                    "id": "given",
                    "name": "get_weather",
                    "args": {
                      "city": "Oslo"
                    }
                  }
                }
              ]
            },
            {
              "role": "user",
              "parts": [
                {
                  "functionResponse": {
                    "name": "get_weather",
                    "response": {
                      "error": "result 0"
                    }
                  }
                },
                {
                  "functionResponse": {
                    "name": "get_weather",
                    "response": {
                      "result": "result 1"
                    },
                    "id": "given"
                  }
                },
                {
                  "text": "Go on."
                }
              ]
            }
          ],
          "systemInstruction": {
            "parts": [
              {
                "text": "Be brief."
              }
            ]
          },
          "tools": [
            {
              "functionDeclarations": [
                {
                  "name": "get_weather",
                  "description": "Current weather of a city.",
                  "parametersJsonSchema": "the schema of get_weather"
                }
              ]
            }
          ]
        }
    "#]]
    .assert_eq(&pretty(&encoded));
}

#[test]
fn another_wires_turn_is_told_in_the_canonical_form() {
    let mut turn = turn(&play(&*codec("gemini"), &question(), &two_calls()));
    turn.origin = None;
    let body = codec("gemini").encode(&follow_up(&question(), turn), &options("m")).body;
    expect![[r#"{"role":"model","parts":[{"text":"Let me look."},{"functionCall":{"name":"get_weather","args":{"city":"Paris"}}},{"functionCall":{"name":"get_weather","args":{"city":"Oslo"}}}]}"#]].assert_eq(&body["contents"][1].to_string());
}

#[test]
fn reasons_are_translated() {
    for (reason, want) in [
        ("STOP", "done Stop"),
        ("FUNCTION_CALL", "done Stop"),
        ("MAX_TOKENS", "done Length"),
        ("SAFETY", "done ContentFilter"),
        ("RECITATION", "done ContentFilter"),
        ("OTHER", "done Other(\"OTHER\")"),
        ("UNEXPECTED_TOOL_CALL", "error (retryable)"),
        ("MISSING_THOUGHT_SIGNATURE", "error (final)"),
    ] {
        let shown = show(&play(&*codec("gemini"), &question(), &sse(&[end(reason)])));
        assert!(shown.contains(want), "{reason}: {shown}");
    }
}

#[test]
fn an_error_in_the_stream_keeps_its_code() {
    let text = sse(&[
        chunk(json!([{"text": "a"}])),
        json!({"error": {"code": 503, "status": "UNAVAILABLE", "message": "The model is overloaded."}}),
    ]);
    expect![[r#"
        start gemini-3 g1
        text "a"
        error (retryable) P broke off (UNAVAILABLE): The model is overloaded.
    "#]]
    .assert_eq(&show(&play(&*codec("gemini"), &question(), &text)));
}

#[test]
fn settings_go_into_their_own_place_and_choices_into_theirs() {
    let all = ModelOptions {
        temperature: Some(0.3),
        max_tokens: Some(100),
        reasoning: Some(json!({"thinkingBudget": 0})),
        extra: json!({"top_k": 5, "generationConfig": {"seed": 1, "temperature": 0.9}, "safetySettings": []})
            .as_object()
            .unwrap()
            .clone(),
        ..options("models/gemini")
    };
    let request = Request {
        tool_choice: ToolChoice::Required,
        tools: vec![ToolDefinition {
            name: "now".into(),
            description: "Time.".into(),
            schema: Arc::new(json!({"type": "object", "properties": {}})),
        }],
        ..question()
    };
    let encoded = codec("gemini").encode(&request, &all);
    assert_eq!(encoded.url.path(), "/v1/models/gemini:streamGenerateContent");
    expect![[r#"{"contents":[{"role":"user","parts":[{"text":"weather please"}]}],"systemInstruction":{"parts":[{"text":"Be brief."}]},"tools":[{"functionDeclarations":[{"name":"now","description":"Time."}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY"}},"generationConfig":{"temperature":0.9,"maxOutputTokens":100,"thinkingConfig":{"thinkingBudget":0},"topK":5,"seed":1},"safetySettings":[]}"#]].assert_eq(&encoded.body.to_string());
}

#[test]
fn odd_model_names_cannot_leave_their_place_in_the_url() {
    for (model, path) in [
        ("a?b#c", "/v1beta/models/a%3Fb%23c:streamGenerateContent"),
        ("tunedModels/x", "/v1beta/tunedModels/x:streamGenerateContent"),
        ("../../secret", "/v1beta/..%2Fsecret:streamGenerateContent"),
    ] {
        let codec = GenerateContent::new(origin(FORMAT), &Url::parse("https://h/v1beta/").unwrap());
        let url = codec.encode(&question(), &options(model)).url;
        assert_eq!((url.path(), url.query()), (path, Some("alt=sse")), "{model}");
    }
}
