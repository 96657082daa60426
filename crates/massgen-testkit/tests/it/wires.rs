//! The model endpoint on all four wires.

use std::time::Duration;

use massgen_testkit::{
    Ending, Finish, Item, ModelEndpoint, ModelOptions, ModelRequest, ModelScript, Reply, Turn, Usage, Wire,
    model::Role,
};
use serde_json::{Value, json};

use crate::client::{Answer, post, receive, send};

fn target(wire: Wire) -> &'static str {
    match wire {
        Wire::Responses => "/v1/responses",
        Wire::Chat => "/v1/chat/completions",
        Wire::Messages => "/v1/messages",
        Wire::Gemini => "/v1beta/models/m/x:streamGenerateContent?alt=sse",
    }
}

/// A first request, as each service wants it.
fn first(wire: Wire) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    match wire {
        Wire::Responses => json!({
            "model": "m", "stream": true, "store": false, "instructions": "Be brief.",
            "include": ["reasoning.encrypted_content"],
            "input": [{"role": "user", "content": "weather please"}],
            "tools": [{"type": "function", "name": "get_weather", "description": "d", "parameters": schema, "strict": false}],
        }),
        Wire::Chat => json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "weather please"}],
            "tools": [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": schema}}],
        }),
        Wire::Messages => json!({
            "model": "m", "max_tokens": 100, "stream": true, "system": "Be brief.",
            "messages": [{"role": "user", "content": "weather please"}],
            "tools": [{"name": "get_weather", "description": "d", "input_schema": schema}],
        }),
        Wire::Gemini => json!({
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [{"role": "user", "parts": [{"text": "weather please"}]}],
            "tools": [{"functionDeclarations": [{"name": "get_weather", "description": "d", "parametersJsonSchema": schema}]}],
        }),
    }
}

/// The second request: a turn of the model with two calls, and their results.
fn second(wire: Wire) -> Value {
    let mut body = first(wire);
    let (key, more) = match wire {
        Wire::Responses => (
            "input",
            json!([
                {"type": "function_call", "call_id": "a", "name": "get_weather", "arguments": "{\"city\":\"Paris\"}"},
                {"type": "function_call", "call_id": "b", "name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"},
                {"type": "function_call_output", "call_id": "a", "output": "21C"},
                {"type": "function_call_output", "call_id": "b", "output": "9C"},
            ]),
        ),
        Wire::Chat => (
            "messages",
            json!([
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}},
                    {"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Oslo\"}"}}]},
                {"role": "tool", "tool_call_id": "a", "content": "21C"},
                {"role": "tool", "tool_call_id": "b", "content": "9C"},
            ]),
        ),
        Wire::Messages => (
            "messages",
            json!([
                {"role": "assistant", "content": [
                    {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "b", "name": "get_weather", "input": {"city": "Oslo"}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "21C"},
                    {"type": "tool_result", "tool_use_id": "b", "content": [{"type": "text", "text": "9C"}]}]},
            ]),
        ),
        Wire::Gemini => (
            "contents",
            json!([
                {"role": "model", "parts": [
                    {"functionCall": {"name": "get_weather", "args": {"city": "Paris"}}, "thoughtSignature": "s"},
                    {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}}}]},
                {"role": "user", "parts": [
                    {"functionResponse": {"name": "get_weather", "response": {"result": "21C"}}},
                    {"functionResponse": {"name": "get_weather", "response": {"result": "9C"}}}]},
            ]),
        ),
    };
    body[key].as_array_mut().unwrap().extend(more.as_array().unwrap().iter().cloned());
    body
}

fn ask(endpoint: &ModelEndpoint, wire: Wire, body: &Value) -> Answer {
    post(endpoint.http(), target(wire), &[("anthropic-version", "2023-06-01")], body)
}

/// What a client makes of a stream.
#[derive(Debug, Default, PartialEq)]
struct Heard {
    text: String,
    reasoning: String,
    calls: Vec<(String, String)>,
    finish: String,
    output_tokens: u64,
}

fn hear(wire: Wire, answer: &Answer) -> Heard {
    let mut heard = Heard::default();
    let add = |to: &mut String, value: &Value| to.push_str(value.as_str().unwrap_or_default());
    let events = answer.events();
    for (number, (name, data)) in events.iter().enumerate() {
        if data == "[DONE]" {
            assert_eq!((wire, number + 1), (Wire::Chat, events.len()));
            continue;
        }
        let data: Value = serde_json::from_str(data).unwrap();
        match wire {
            Wire::Responses => {
                assert_eq!(data["type"], name.as_str());
                assert_eq!(data["sequence_number"], number);
                match name.as_str() {
                    "response.output_text.delta" => add(&mut heard.text, &data["delta"]),
                    "response.reasoning_summary_text.delta" => add(&mut heard.reasoning, &data["delta"]),
                    "response.output_item.added" if data["item"]["type"] == "function_call" => {
                        heard.calls.push((data["item"]["name"].as_str().unwrap().into(), String::new()));
                    }
                    "response.function_call_arguments.delta" => {
                        add(&mut heard.calls.last_mut().unwrap().1, &data["delta"]);
                    }
                    "response.completed" | "response.incomplete" => {
                        heard.finish = data["response"]["status"].as_str().unwrap().into();
                        heard.output_tokens = data["response"]["usage"]["output_tokens"].as_u64().unwrap();
                    }
                    _ => {}
                }
            }
            Wire::Chat => {
                heard.output_tokens = data["usage"]["completion_tokens"].as_u64().unwrap_or_default();
                let choice = &data["choices"][0];
                add(&mut heard.text, &choice["delta"]["content"]);
                add(&mut heard.reasoning, &choice["delta"]["reasoning_content"]);
                for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                    if let Some(name) = call["function"]["name"].as_str() {
                        assert!(call["id"].is_string());
                        heard.calls.push((name.into(), String::new()));
                    }
                    let index = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
                    add(&mut heard.calls[index].1, &call["function"]["arguments"]);
                }
                add(&mut heard.finish, &choice["finish_reason"]);
            }
            Wire::Messages => {
                assert_eq!(data["type"], name.as_str());
                match name.as_str() {
                    "content_block_start" if data["content_block"]["type"] == "tool_use" => {
                        heard
                            .calls
                            .push((data["content_block"]["name"].as_str().unwrap().into(), String::new()));
                    }
                    "content_block_delta" => {
                        add(&mut heard.text, &data["delta"]["text"]);
                        add(&mut heard.reasoning, &data["delta"]["thinking"]);
                        if let Some(call) = heard.calls.last_mut() {
                            add(&mut call.1, &data["delta"]["partial_json"]);
                        }
                    }
                    "message_delta" => {
                        add(&mut heard.finish, &data["delta"]["stop_reason"]);
                        heard.output_tokens = data["usage"]["output_tokens"].as_u64().unwrap();
                    }
                    _ => {}
                }
            }
            Wire::Gemini => {
                let candidate = &data["candidates"][0];
                for part in candidate["content"]["parts"].as_array().unwrap() {
                    let to = if part["thought"] == true { &mut heard.reasoning } else { &mut heard.text };
                    add(to, &part["text"]);
                    if let Some(call) = part.get("functionCall") {
                        heard.calls.push((call["name"].as_str().unwrap().into(), call["args"].to_string()));
                    }
                }
                add(&mut heard.finish, &candidate["finishReason"]);
                heard.output_tokens = data["usageMetadata"]["candidatesTokenCount"].as_u64().unwrap();
            }
        }
    }
    heard
}

fn finishes(wire: Wire) -> [&'static str; 3] {
    match wire {
        Wire::Responses => ["completed", "completed", "incomplete"],
        Wire::Chat => ["stop", "tool_calls", "length"],
        Wire::Messages => ["end_turn", "tool_use", "max_tokens"],
        Wire::Gemini => ["STOP", "STOP", "MAX_TOKENS"],
    }
}

#[test]
fn one_function_drives_a_conversation_on_every_wire() {
    for wire in Wire::ALL {
        let endpoint = ModelEndpoint::start(|request: &ModelRequest| -> Reply {
            assert_eq!(request.system, "Be brief.");
            assert_eq!(request.last_user(), "weather please");
            assert_eq!(request.tool_names(), ["get_weather"]);
            assert_eq!(request.tools[0].schema["properties"]["city"]["type"], "string");
            if !request.has_results() {
                return Turn::text("Let me look ☂ it up.")
                    .and_call("get_weather", &json!({"city": "Paris"}))
                    .and_call("get_weather", &json!({"city": "Oslo"}))
                    .into();
            }
            assert_eq!(request.calls().len(), 2);
            assert_eq!(request.calls()[1].arguments, json!({"city": "Oslo"}));
            assert_eq!(request.results_of("get_weather").len(), 2);
            let roles: Vec<Role> = request.messages.iter().map(|m| m.role).collect();
            assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
            let results: Vec<&str> = request.results().iter().map(|r| r.text.as_str()).collect();
            Turn::new().and_reasoning("Two results came.").and_text(results.join(" and ")).into()
        });
        let [stop, calls, _] = finishes(wire);
        let answer = ask(&endpoint, wire, &first(wire));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some("text/event-stream")),
            "{wire:?}"
        );
        assert!(answer.complete);
        let expected = Heard {
            text: "Let me look ☂ it up.".into(),
            calls: ["Paris", "Oslo"]
                .map(|city| ("get_weather".to_owned(), json!({"city": city}).to_string()))
                .to_vec(),
            finish: calls.into(),
            output_tokens: 20,
            ..Heard::default()
        };
        assert_eq!(hear(wire, &answer), expected, "{wire:?}");
        let answer = ask(&endpoint, wire, &second(wire));
        let expected = Heard {
            text: "21C and 9C".into(),
            reasoning: "Two results came.".into(),
            finish: stop.into(),
            output_tokens: 20,
            ..Heard::default()
        };
        assert_eq!(hear(wire, &answer), expected, "{wire:?}");
        assert_eq!(endpoint.requests().len(), 2);
        assert_eq!(endpoint.requests()[1].turns(), 1);
        assert!(endpoint.refusals().is_empty());
    }
}

#[test]
fn whole_answers_say_the_same_as_streams() {
    let turn = Turn::text("Hello.").and_call("get_weather", &json!({"city": "Oslo"}));
    for wire in Wire::ALL {
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(turn.clone()));
        let mut body = first(wire);
        let mut path = target(wire).to_owned();
        match wire {
            Wire::Gemini => path = path.replace("streamGenerateContent?alt=sse", "generateContent"),
            _ => body["stream"] = false.into(),
        }
        body.as_object_mut().unwrap().remove("stream_options");
        let answer = post(endpoint.http(), &path, &[("anthropic-version", "1")], &body).json();
        let (text, name) = match wire {
            Wire::Responses => ("/output/0/content/0/text", "/output/1/name"),
            Wire::Chat => ("/choices/0/message/content", "/choices/0/message/tool_calls/0/function/name"),
            Wire::Messages => ("/content/0/text", "/content/1/name"),
            Wire::Gemini => {
                ("/candidates/0/content/parts/0/text", "/candidates/0/content/parts/1/functionCall/name")
            }
        };
        assert_eq!(answer.pointer(text).unwrap(), "Hello.", "{wire:?} {answer}");
        assert_eq!(answer.pointer(name).unwrap(), "get_weather", "{wire:?} {answer}");
    }
}

#[test]
fn scripts_are_taken_by_model_rule_turn_and_rest() {
    let script = ModelScript::new()
        .for_model("other", ModelScript::new().otherwise(Reply::text("other")))
        .when(|request| request.mentions("special"), Reply::text("rule"))
        .turn(Reply::text("first"))
        .turn(Turn::text("second").finish(Finish::Length).usage(Usage { output: 3, ..Usage::default() }));
    let endpoint = ModelEndpoint::start(script);
    let body = |model: &str, text: &str| json!({"model": model, "stream": true, "messages": [{"role": "user", "content": text}]});
    let say = |model: &str, text: &str| hear(Wire::Chat, &ask(&endpoint, Wire::Chat, &body(model, text)));
    assert_eq!(say("m", "x").text, "first");
    assert_eq!(say("other", "special").text, "other");
    assert_eq!(say("m", "special").text, "rule");
    let second = say("m", "x");
    assert_eq!((second.text.as_str(), second.finish.as_str()), ("second", "length"));
    let exhausted = ask(&endpoint, Wire::Chat, &body("m", "x"));
    assert_eq!(
        (exhausted.status, exhausted.json()["error"]["code"].clone()),
        (400, json!("script_exhausted"))
    );

    let azure = "/openai/deployments/other/chat/completions?api-version=2024-10-21";
    assert_eq!(hear(Wire::Chat, &post(endpoint.http(), azure, &[], &body("", "x"))).text, "other");
    assert_eq!(endpoint.requests().last().unwrap().http.query, "api-version=2024-10-21");
}

#[test]
fn trouble_is_shaped_as_each_service_shapes_it() {
    for wire in Wire::ALL {
        let script = ModelScript::new()
            .turn(Reply::status(429).retry_after(7))
            .turn(Reply::status(500).code("boom").message("broken"))
            .turn(Reply::body(200, "text/html", "<html>portal</html>"))
            .turn(Reply::text("fine").delay(Duration::from_millis(1)).header("x-mark", "1"));
        let endpoint = ModelEndpoint::start(script);
        let answer = ask(&endpoint, wire, &first(wire));
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
        let error = answer.json();
        let code = match wire {
            Wire::Responses | Wire::Chat => &error["error"]["code"],
            Wire::Messages => &error["error"]["type"],
            Wire::Gemini => &error["error"]["status"],
        };
        let expected = match wire {
            Wire::Responses | Wire::Chat => "rate_limit_exceeded",
            Wire::Messages => "rate_limit_error",
            Wire::Gemini => "RESOURCE_EXHAUSTED",
        };
        assert_eq!(code, expected);
        if wire == Wire::Gemini {
            assert_eq!(error["error"]["details"][0]["retryDelay"], "7s");
        }
        let answer = ask(&endpoint, wire, &first(wire));
        assert_eq!((answer.status, answer.json()["error"]["message"].clone()), (500, json!("broken")));
        assert_eq!(ask(&endpoint, wire, &first(wire)).body, b"<html>portal</html>");
        let answer = ask(&endpoint, wire, &first(wire));
        assert_eq!(answer.header("x-mark"), Some("1"));
        assert_eq!(hear(wire, &answer).text, "fine");
    }
}

#[test]
fn streams_break_where_told() {
    let long = Turn::text("A long answer that needs many events to arrive, indeed — quite many.");
    for wire in Wire::ALL {
        let overloaded = Ending::Error { code: "overloaded_error".into(), message: "busy".into() };
        let script = ModelScript::new()
            .turn(Reply::from(long.clone()).end_after(4, Ending::Clean))
            .turn(Reply::from(long.clone()).end_after(4, Ending::Close))
            .turn(Reply::from(long.clone()).end_after(4, Ending::Reset))
            .turn(Reply::from(long.clone()).end_after(4, overloaded))
            .turn(Reply::from(long.clone()).malformed(2))
            .turn(Reply::from(long.clone()).insert(0, ": keep-alive\n\n").split(7))
            .turn(Reply::closed())
            .turn(Reply::reset());
        let endpoint = ModelEndpoint::start(script);
        let clean = ask(&endpoint, wire, &first(wire));
        assert_eq!((clean.complete, clean.events().len()), (true, 4), "{wire:?}");
        assert_eq!(hear(wire, &clean).finish, "");
        let closed = ask(&endpoint, wire, &first(wire));
        assert_eq!((closed.complete, closed.events().len()), (false, 4), "{wire:?}");
        // A reset may also take away what was not read yet.
        let reset = receive(send_first(&endpoint, wire));
        assert!(reset.is_none_or(|answer| !answer.complete), "{wire:?}");
        let failed = ask(&endpoint, wire, &first(wire));
        assert_eq!((failed.complete, failed.events().len()), (true, 5), "{wire:?}");
        assert!(failed.events()[4].1.contains("overloaded_error"));
        let malformed = ask(&endpoint, wire, &first(wire));
        let broken =
            malformed.events().iter().position(|(_, data)| serde_json::from_str::<Value>(data).is_err());
        assert_eq!(broken, Some(2), "{wire:?}");
        let mut split = ask(&endpoint, wire, &first(wire));
        assert!(split.body.starts_with(b": keep-alive\n\n"));
        split.body.drain(..": keep-alive\n\n".len());
        assert_eq!(
            hear(wire, &split).text,
            "A long answer that needs many events to arrive, indeed — quite many."
        );
        for _ in 0..2 {
            assert!(receive(send_first(&endpoint, wire)).is_none());
        }
        assert_eq!(endpoint.requests().len(), 8);
    }
}

fn send_first(endpoint: &ModelEndpoint, wire: Wire) -> std::net::TcpStream {
    let body = first(wire).to_string();
    send(endpoint.http(), "POST", target(wire), &[("anthropic-version", "1")], body.as_bytes())
}

#[tokio::test]
async fn a_client_that_goes_away_is_seen() {
    let script =
        ModelScript::new().turn(Reply::text("never whole").end_after(1, Ending::Hang)).turn(Reply::hang());
    let endpoint = ModelEndpoint::start(script);
    for number in 0..2 {
        let stream = send_first(&endpoint, Wire::Chat);
        endpoint.http().await_request(|r| r.path.ends_with("completions") && r.connection == number).await;
        drop(stream);
        assert!(endpoint.http().requests().last().unwrap().until_abandoned().await);
    }
}

#[test]
fn dropping_the_endpoint_ends_its_connections() {
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::hang()));
    let address = endpoint.http().address();
    let stream = send_first(&endpoint, Wire::Chat);
    drop(endpoint);
    assert!(receive(stream).is_none());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn keys_are_wanted_in_the_header_of_the_wire() {
    for wire in Wire::ALL {
        let options = ModelOptions { key: Some("sk-test".into()), ..ModelOptions::default() };
        let endpoint = ModelEndpoint::with_options(ModelScript::new().otherwise(Reply::text("in")), options);
        let with = |name: &str, value: &str| {
            let headers = [("anthropic-version", "1"), (name, value)];
            post(endpoint.http(), target(wire), &headers, &first(wire)).status
        };
        let (name, value, missing) = match wire {
            Wire::Responses => ("authorization", "Bearer sk-test", 401),
            Wire::Chat => ("api-key", "sk-test", 401),
            Wire::Messages => ("x-api-key", "sk-test", 401),
            Wire::Gemini => ("x-goog-api-key", "sk-test", 400),
        };
        assert_eq!(with(name, value), 200, "{wire:?}");
        assert_eq!(with(name, "Bearer sk-wrong"), missing);
        assert_eq!(with("x-nothing", value), missing);
        let url = format!("{}{}key=sk-test", target(wire), if wire == Wire::Gemini { "&" } else { "?" });
        assert_eq!(post(endpoint.http(), &url, &[(name, value)], &first(wire)).status, 400);
        assert_eq!(endpoint.refusals().len(), 3);
        assert!(!endpoint.refusals().concat().contains("sk-"), "the key is not repeated");
    }
}

/// A wire, words of the refusal, and what spoils a good request.
type Case = (Wire, &'static str, fn(&mut Value));

#[test]
fn requests_of_the_wrong_shape_are_refused() {
    let cases: Vec<Case> = vec![
        (Wire::Responses, "messages", |b| b["messages"] = json!([])),
        (Wire::Responses, "max_tokens", |b| b["max_tokens"] = 5.into()),
        (Wire::Responses, "strict", |b| drop(b["tools"][0].as_object_mut().unwrap().remove("strict"))),
        (Wire::Responses, "function", |b| b["tools"] = first(Wire::Chat)["tools"].clone()),
        (Wire::Responses, "container", |b| b["tools"][0] = json!({"type": "code_interpreter"})),
        (Wire::Responses, "no tool call found", |b| drop(b["input"].as_array_mut().unwrap().remove(1))),
        (Wire::Responses, "no tool output found", |b| drop(b["input"].as_array_mut().unwrap().pop())),
        (Wire::Responses, "encrypted_content", |b| {
            b["input"][1] = json!({"type": "reasoning", "summary": []})
        }),
        (Wire::Responses, "is not for the role", |b| {
            b["input"][0]["content"] = json!([{"type": "text", "text": ""}])
        }),
        (Wire::Chat, "input", |b| b["input"] = "x".into()),
        (Wire::Chat, "must follow", |b| drop(b["messages"].as_array_mut().unwrap().remove(2))),
        (Wire::Chat, "no response message", |b| drop(b["messages"].as_array_mut().unwrap().pop())),
        (Wire::Chat, "lacks the text name", |b| b["tools"] = json!([{"type": "function", "function": {}}])),
        (Wire::Chat, "unknown key in a tool", |b| b["tools"] = first(Wire::Responses)["tools"].clone()),
        (Wire::Chat, "does not match", |b| b["tools"][0]["function"]["name"] = "mcp.a/b".into()),
        (Wire::Chat, "stream_options", |b| b["stream"] = false.into()),
        (Wire::Chat, "neither content nor", |b| {
            b["messages"][2] = json!({"role": "assistant", "content": null})
        }),
        (Wire::Messages, "max_tokens", |b| drop(b.as_object_mut().unwrap().remove("max_tokens"))),
        (Wire::Messages, "frequency_penalty", |b| b["frequency_penalty"] = 1.into()),
        (Wire::Messages, "unexpected tool_use_id", |b| drop(b["messages"].as_array_mut().unwrap().remove(1))),
        (Wire::Messages, "without tool_result", |b| drop(b["messages"].as_array_mut().unwrap().pop())),
        (Wire::Messages, "immediately after: b", |b| {
            drop(b["messages"][2]["content"].as_array_mut().unwrap().pop())
        }),
        (Wire::Messages, "come before other content", |b| {
            b["messages"][2]["content"]
                .as_array_mut()
                .unwrap()
                .insert(0, json!({"type": "text", "text": "x"}));
        }),
        (Wire::Messages, "first message", |b| drop(b["messages"].as_array_mut().unwrap().remove(0))),
        (Wire::Messages, "unknown key in a tool", |b| b["tools"][0]["parameters"] = json!({})),
        (Wire::Messages, "input_schema", |b| b["tools"][0]["input_schema"] = Value::Null),
        (Wire::Messages, "non-empty", |b| b["messages"][0]["content"] = "".into()),
        (Wire::Messages, "signature", |b| {
            let thinking = json!({"type": "thinking", "thinking": "x"});
            b["messages"][1]["content"].as_array_mut().unwrap().insert(0, thinking);
        }),
        (Wire::Gemini, "messages", |b| b["messages"] = json!([])),
        (Wire::Gemini, "unknown key in a tool", |b| b["tools"] = first(Wire::Messages)["tools"].clone()),
        (Wire::Gemini, "maxTokens", |b| b["generationConfig"] = json!({"max_tokens": 5})),
        (Wire::Gemini, "number of function response", |b| {
            drop(b["contents"][2]["parts"].as_array_mut().unwrap().pop())
        }),
        (Wire::Gemini, "number of function response", |b| {
            drop(b["contents"].as_array_mut().unwrap().remove(1))
        }),
        (Wire::Gemini, "last function calls", |b| drop(b["contents"].as_array_mut().unwrap().pop())),
        (Wire::Gemini, "not an object", |b| {
            b["contents"][2]["parts"][0]["functionResponse"]["response"] = "x".into()
        }),
        (Wire::Gemini, "includeServerSide", |b| {
            b["tools"].as_array_mut().unwrap().push(json!({"googleSearch": {}}))
        }),
        (Wire::Gemini, "valid role", |b| b["contents"][0]["role"] = "system".into()),
    ];
    for wire in Wire::ALL {
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("ok")));
        assert_eq!(ask(&endpoint, wire, &second(wire)).status, 200);
        for (_, wanted, spoil) in cases.iter().filter(|case| case.0 == wire) {
            let mut body = second(wire);
            spoil(&mut body);
            let answer = ask(&endpoint, wire, &body);
            let said = endpoint.refusals().last().cloned().unwrap_or_default();
            assert_eq!(answer.status, 400, "{wire:?} {wanted}");
            assert!(said.contains(wanted), "{wire:?}: wanted {wanted:?}, got {said:?}");
        }
        let lenient = ModelOptions { lenient: true, ..ModelOptions::default() };
        let endpoint = ModelEndpoint::with_options(ModelScript::new().otherwise(Reply::text("ok")), lenient);
        for (_, wanted, spoil) in cases.iter().filter(|case| case.0 == wire) {
            let mut body = second(wire);
            spoil(&mut body);
            assert_eq!(ask(&endpoint, wire, &body).status, 200, "{wire:?} {wanted}");
        }
    }
    let endpoint = ModelEndpoint::start(ModelScript::new());
    let plain = |path: &str, wire: Wire| post(endpoint.http(), path, &[], &first(wire));
    assert_eq!(plain("/v1/messages", Wire::Messages).status, 400, "no anthropic-version");
    assert_eq!(plain("/v1beta/models/m:streamGenerateContent", Wire::Gemini).status, 400, "no alt=sse");
    assert_eq!(plain("/v2/other", Wire::Chat).status, 404);
    let mut snake = second(Wire::Gemini);
    snake["generation_config"] = json!({"max_output_tokens": 5});
    let endpoint = ModelEndpoint::start(ModelScript::new().turn(Reply::text("ok")));
    assert_eq!(ask(&endpoint, Wire::Gemini, &snake).status, 200, "Gemini reads snake case too");
    let mut unsigned = second(Wire::Gemini);
    unsigned["contents"][1]["parts"][0].as_object_mut().unwrap().remove("thoughtSignature");
    let path = "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse";
    assert_eq!(post(endpoint.http(), path, &[], &unsigned).status, 400, "no thoughtSignature");
}

#[test]
fn pieces_of_the_wire_itself_come_through() {
    let raw = |wire| match wire {
        Wire::Responses => json!({"id": "ws_1", "type": "web_search_call", "status": "completed"}),
        Wire::Chat => json!({"x_vendor": "raw"}),
        Wire::Messages => json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        Wire::Gemini => json!({"executableCode": {"language": "PYTHON", "code": "raw"}}),
    };
    for wire in Wire::ALL {
        let turn = Turn::new().item(Item::Raw(raw(wire))).and_text("done");
        let refused = Turn::new().item(Item::Refusal("I will not.".into()));
        let broken = Turn::new().and_broken_call("get_weather", "{\"city\":");
        let script = ModelScript::new().turn(turn).turn(refused).turn(broken);
        let endpoint = ModelEndpoint::start(script);
        let answer = ask(&endpoint, wire, &first(wire));
        assert_eq!(hear(wire, &answer).text, "done");
        let needle = match wire {
            Wire::Responses => "web_search_call",
            Wire::Chat => "x_vendor",
            Wire::Messages => "server_tool_use",
            Wire::Gemini => "executableCode",
        };
        assert!(String::from_utf8_lossy(&answer.body).contains(needle));
        let refused = ask(&endpoint, wire, &first(wire));
        let sign = match wire {
            Wire::Responses => "response.refusal.delta",
            Wire::Chat => "\"refusal\":\"I will no",
            Wire::Messages => "\"stop_reason\":\"refusal\"",
            Wire::Gemini => "SAFETY",
        };
        assert!(String::from_utf8_lossy(&refused.body).contains(sign), "{wire:?}");
        let broken = hear(wire, &ask(&endpoint, wire, &first(wire)));
        assert!(broken.calls[0].1.contains("city"), "{wire:?} {broken:?}");
    }
}

#[test]
fn local_models_are_listed() {
    let options = ModelOptions { models: vec!["llama".into()], ..ModelOptions::default() };
    let endpoint = ModelEndpoint::with_options(ModelScript::new(), options);
    let answer = receive(send(endpoint.http(), "GET", "/v1/models", &[], b"")).unwrap();
    assert_eq!(answer.json()["data"][0]["id"], "llama");
}
