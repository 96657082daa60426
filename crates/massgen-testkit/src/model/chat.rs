//! Chat Completions.

use serde_json::{Value, json};

use super::request::{Draft, content_text};
use super::{Finish, Item, ModelRequest, Role, Turn, Usage, bare, list, only_keys, pieces, text, tool_name};

/// Keys of other wires, which no server of this one means well with. Others are let pass: vendors add their own.
const FOREIGN: [&str; 8] = [
    "input",
    "instructions",
    "max_output_tokens",
    "system",
    "systemInstruction",
    "generationConfig",
    "contents",
    "stop_sequences",
];

pub(super) fn check(body: &Value) -> Result<(), String> {
    if let Some(key) = FOREIGN.iter().find(|key| body.get(**key).is_some()) {
        return Err(format!("unrecognized request argument supplied: {key}"));
    }
    if body.get("stream_options").is_some_and(|o| !o.is_null()) && body["stream"] != true {
        return Err("stream_options is only allowed with stream".into());
    }
    if body.get("max_tokens").is_some() && body.get("max_completion_tokens").is_some() {
        return Err("max_tokens and max_completion_tokens exclude each other".into());
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        if tool["type"] == "function" {
            only_keys("a tool", tool, &["type", "function"])?;
            let function = &tool["function"];
            only_keys("a function", function, &["name", "description", "parameters", "strict"])?;
            tool_name(text("a function", function, "name")?, 64)?;
        } else {
            text("a tool", tool, "type")?;
        }
    }
    if body.get("tool_choice").is_some() && body.get("tools").is_none() {
        return Err("tool_choice is only allowed with tools".into());
    }
    let messages = list("the request", body, "messages")?;
    if messages.is_empty() {
        return Err("messages is empty".into());
    }
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        let role = text("a message", message, "role")?;
        if role == "tool" {
            let id = text("a tool message", message, "tool_call_id")?;
            let place = open.iter().position(|call| *call == id);
            let place = place.ok_or("a message with role tool must follow a message with its tool call")?;
            open.remove(place);
            if !(message["content"].is_string() || message["content"].is_array()) {
                return Err("a tool message lacks its content".into());
            }
            continue;
        }
        if let Some(id) = open.first() {
            return Err(format!("the tool call {id} has no response message"));
        }
        let content = message.get("content");
        match role {
            "assistant" => {
                let calls = message.get("tool_calls").and_then(Value::as_array);
                for call in calls.into_iter().flatten() {
                    open.push(text("a tool call", call, "id")?);
                    if call["type"] != "function" {
                        return Err("a tool call lacks its type".into());
                    }
                    text("a tool call's function", &call["function"], "name")?;
                    text("a tool call's function", &call["function"], "arguments")?;
                }
                if calls.is_some_and(Vec::is_empty) {
                    return Err("tool_calls is empty".into());
                }
                if calls.is_none() && !content.is_some_and(|c| c.is_string() || c.is_array()) {
                    return Err("an assistant message has neither content nor tool_calls".into());
                }
            }
            "system" | "developer" | "user" => {
                if !content.is_some_and(|c| c.is_string() || c.is_array()) {
                    return Err(format!("a {role} message lacks its content"));
                }
            }
            other => return Err(format!("the role {other} is not known")),
        }
    }
    match open.first() {
        Some(id) => Err(format!("the tool call {id} has no response message")),
        None => Ok(()),
    }
}

pub(super) fn read(body: &Value, draft: &mut Draft) {
    for message in body["messages"].as_array().into_iter().flatten() {
        let text = content_text(&message["content"]);
        match message["role"].as_str() {
            Some("user") => draft.say(Role::User, &text),
            Some("assistant") => {
                draft.message(Role::Assistant);
                draft.say(Role::Assistant, &text);
                for call in message["tool_calls"].as_array().into_iter().flatten() {
                    draft.call(&call["id"], &call["function"]["name"], &call["function"]["arguments"]);
                }
            }
            Some("tool") => draft.result(&message["tool_call_id"], &Value::Null, text, false),
            _ => draft.system.push(text),
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten().filter(|tool| tool["type"] == "function") {
        draft.tool(&tool["function"], &tool["function"]["parameters"]);
    }
}

fn usage(usage: &Usage) -> Value {
    json!({
        "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

fn finish(turn: &Turn) -> &str {
    match &turn.finish {
        Finish::Done if turn.has_calls() => "tool_calls",
        Finish::Done => "stop",
        Finish::Length => "length",
        Finish::Filter => "content_filter",
        Finish::Other(reason) => reason,
    }
}

fn call_id(request: &ModelRequest, id: Option<&String>, index: usize) -> String {
    id.cloned().unwrap_or_else(|| format!("call_{}_{index}", request.number))
}

pub(super) fn whole(turn: &Turn, request: &ModelRequest) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "refusal": null});
    let mut calls = Vec::new();
    let add = |message: &mut Value, key: &str, text: &str| {
        message[key] = format!("{}{text}", message[key].as_str().unwrap_or_default()).into();
    };
    for item in &turn.items {
        match item {
            Item::Text(text) => add(&mut message, "content", text),
            Item::Reasoning(text) => add(&mut message, "reasoning_content", text),
            Item::Refusal(text) => add(&mut message, "refusal", text),
            Item::Call { id, name, arguments } => calls.push(json!({
                "id": call_id(request, id.as_ref(), calls.len()), "type": "function",
                "function": {"name": name, "arguments": arguments},
            })),
            Item::Raw(value) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    message[key] = value.clone();
                }
            }
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    json!({
        "id": format!("chatcmpl-{}", request.number), "object": "chat.completion", "created": 1_790_000_000,
        "model": request.model, "usage": usage(&turn.usage),
        "choices": [{"index": 0, "message": message, "finish_reason": finish(turn), "logprobs": null}],
    })
}

pub(super) fn stream(turn: &Turn, request: &ModelRequest) -> Vec<String> {
    let with_usage = request.body["stream_options"]["include_usage"] == true;
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", request.number), "object": "chat.completion.chunk",
            "created": 1_790_000_000, "model": request.model, "choices": choices,
        });
        if with_usage {
            chunk["usage"] = usage.unwrap_or(Value::Null);
        }
        bare(&chunk)
    };
    let delta = |delta: Value, finish: Value| {
        chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": null}]), None)
    };
    let mut frames = vec![delta(json!({"role": "assistant", "content": "", "refusal": null}), Value::Null)];
    let mut calls = 0;
    for item in &turn.items {
        let mut say = |key: &str, text: &str| {
            frames.extend(pieces(text).into_iter().map(|piece| delta(json!({key: piece}), Value::Null)));
        };
        match item {
            Item::Text(text) => say("content", text),
            Item::Reasoning(text) => say("reasoning_content", text),
            Item::Refusal(text) => say("refusal", text),
            Item::Call { id, name, arguments } => {
                let call = json!({
                    "index": calls, "id": call_id(request, id.as_ref(), calls), "type": "function",
                    "function": {"name": name, "arguments": ""},
                });
                frames.push(delta(json!({"tool_calls": [call]}), Value::Null));
                for piece in pieces(arguments) {
                    let call = json!({"index": calls, "function": {"arguments": piece}});
                    frames.push(delta(json!({"tool_calls": [call]}), Value::Null));
                }
                calls += 1;
            }
            Item::Raw(value) => frames.push(delta(value.clone(), Value::Null)),
        }
    }
    frames.push(delta(json!({}), finish(turn).into()));
    if with_usage {
        frames.push(chunk(json!([]), Some(usage(&turn.usage))));
    }
    frames.push("data: [DONE]\n\n".into());
    frames
}

pub(super) fn error_frame(code: &str, message: &str) -> String {
    bare(&json!({"error": {"message": message, "type": code, "code": code}}))
}
