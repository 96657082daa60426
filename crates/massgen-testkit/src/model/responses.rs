//! OpenAI Responses.

use serde_json::{Value, json};

use super::request::{Draft, content_text};
use super::{Finish, Item, ModelRequest, Role, Turn, Usage, list, named, only_keys, pieces, text, tool_name};

const KEYS: [&str; 34] = [
    "model",
    "input",
    "instructions",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "max_output_tokens",
    "max_tool_calls",
    "reasoning",
    "include",
    "store",
    "previous_response_id",
    "text",
    "temperature",
    "top_p",
    "top_logprobs",
    "metadata",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "truncation",
    "stream",
    "stream_options",
    "background",
    "conversation",
    "safety_identifier",
    "user",
    "context_management",
    // xAI.
    "search_parameters",
    "deferred",
    "logprobs",
    "prompt_cache_options",
    "moderation",
];

pub(super) fn check(body: &Value) -> Result<(), String> {
    only_keys("the request", body, &KEYS)?;
    text("the request", body, "model")?;
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        check_tool(tool)?;
    }
    match body.get("tool_choice") {
        None => {}
        Some(Value::String(choice)) if matches!(choice.as_str(), "auto" | "none" | "required") => {}
        Some(choice) if choice["type"].is_string() => {}
        Some(choice) => return Err(format!("tool_choice is not valid: {choice}")),
    }
    let items = match body.get("input") {
        Some(Value::String(text)) if !text.is_empty() => return Ok(()),
        Some(Value::Array(items)) if !items.is_empty() => items,
        _ => return Err("input is neither a text nor a list of items".into()),
    };
    let stateless = body["store"] == false;
    let (mut called, mut answered) = (Vec::new(), Vec::new());
    for item in items {
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => check_message(item)?,
            "function_call" => {
                text("a function_call", item, "name")?;
                text("a function_call", item, "arguments")?;
                called.push(text("a function_call", item, "call_id")?);
            }
            "function_call_output" => {
                let id = text("a function_call_output", item, "call_id")?;
                if !called.contains(&id) {
                    return Err(format!("no tool call found for function call output with call_id {id}"));
                }
                if answered.contains(&id) {
                    return Err(format!("two outputs for call_id {id}"));
                }
                if !(item["output"].is_string() || item["output"].is_array()) {
                    return Err("the output of a function_call_output is neither a text nor a list".into());
                }
                answered.push(id);
            }
            "reasoning" => {
                list("a reasoning item", item, "summary")?;
                if stateless && !item["encrypted_content"].is_string() {
                    return Err(
                        "a reasoning item without encrypted_content cannot be found with store: false".into(),
                    );
                }
            }
            _ => {}
        }
    }
    match called.iter().find(|id| !answered.contains(id)) {
        Some(id) => Err(format!("no tool output found for function call {id}")),
        None => Ok(()),
    }
}

fn check_message(item: &Value) -> Result<(), String> {
    let role = text("a message", item, "role")?;
    let known = match role {
        "user" | "system" | "developer" => &["input_text", "input_image", "input_file"][..],
        "assistant" => &["output_text", "refusal"],
        other => return Err(format!("the role {other} is not known")),
    };
    match item.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) => {
            let wrong = parts.iter().find(|part| !known.iter().any(|k| part["type"] == *k));
            wrong.map_or(Ok(()), |part| Err(format!("the part {} is not for the role {role}", part["type"])))
        }
        _ => Err("a message lacks its content".into()),
    }
}

fn check_tool(tool: &Value) -> Result<(), String> {
    match text("a tool", tool, "type")? {
        "function" => {
            let known = ["type", "name", "description", "parameters", "strict", "defer_loading"];
            only_keys("a function tool", tool, &known)?;
            tool_name(text("a function tool", tool, "name")?, 64)?;
            if !tool["parameters"].is_object() {
                return Err("a function tool lacks its parameters".into());
            }
            if tool.get("strict").is_none() {
                return Err("a function tool lacks strict".into());
            }
            Ok(())
        }
        "code_interpreter" if tool.get("container").is_none() => {
            Err("code_interpreter lacks its container".into())
        }
        _ => Ok(()),
    }
}

pub(super) fn read(body: &Value, draft: &mut Draft) {
    if let Some(text) = body["instructions"].as_str() {
        draft.system.push(text.into());
    }
    if let Some(text) = body["input"].as_str() {
        draft.say(Role::User, text);
    }
    for item in body["input"].as_array().into_iter().flatten() {
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" => {
                let text = content_text(&item["content"]);
                match item["role"].as_str() {
                    Some("assistant") => draft.say(Role::Assistant, &text),
                    Some("user") => draft.say(Role::User, &text),
                    _ => draft.system.push(text),
                }
            }
            "function_call" => draft.call(&item["call_id"], &item["name"], &item["arguments"]),
            "function_call_output" => {
                draft.result(&item["call_id"], &Value::Null, content_text(&item["output"]), false);
            }
            _ => {}
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten().filter(|tool| tool["type"] == "function") {
        draft.tool(tool, &tool["parameters"]);
    }
}

/// Numbers the events.
struct Events(Vec<String>);

impl Events {
    fn push(&mut self, name: &str, mut data: Value) {
        data["type"] = name.into();
        data["sequence_number"] = self.0.len().into();
        self.0.push(named(name, &data));
    }
}

/// The output items of a turn, complete.
fn output(turn: &Turn, request: &ModelRequest) -> Vec<Value> {
    let number = request.number;
    let encrypted =
        request.body["include"].as_array().is_some_and(|i| i.contains(&json!("reasoning.encrypted_content")));
    let item = |(index, item): (usize, &Item)| match item {
        Item::Text(text) => json!({
            "id": format!("msg_{number}_{index}"), "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        }),
        Item::Refusal(text) => json!({
            "id": format!("msg_{number}_{index}"), "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "refusal", "refusal": text}],
        }),
        Item::Reasoning(text) => {
            let mut item = json!({
                "id": format!("rs_{number}_{index}"), "type": "reasoning",
                "summary": [{"type": "summary_text", "text": text}],
            });
            if encrypted {
                item["encrypted_content"] = format!("sealed-{number}-{index}").into();
            }
            item
        }
        Item::Call { id, name, arguments } => json!({
            "id": format!("fc_{number}_{index}"), "type": "function_call", "status": "completed",
            "call_id": id.clone().unwrap_or_else(|| format!("call_{number}_{index}")),
            "name": name, "arguments": arguments,
        }),
        Item::Raw(value) => value.clone(),
    };
    turn.items.iter().enumerate().map(item).collect()
}

fn usage(usage: &Usage) -> Value {
    json!({
        "input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.output, "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input + usage.output,
    })
}

/// The response object and the name of the event that ends its stream.
fn response(turn: &Turn, request: &ModelRequest) -> (Value, &'static str) {
    let (status, reason, event) = match &turn.finish {
        Finish::Done => ("completed", None, "response.completed"),
        Finish::Length => ("incomplete", Some("max_output_tokens"), "response.incomplete"),
        Finish::Filter => ("incomplete", Some("content_filter"), "response.incomplete"),
        Finish::Other(reason) => ("incomplete", Some(reason.as_str()), "response.incomplete"),
    };
    let mut value = begun(request, status);
    value["output"] = output(turn, request).into();
    value["usage"] = usage(&turn.usage);
    value["incomplete_details"] = reason.map_or(Value::Null, |reason| json!({"reason": reason}));
    (value, event)
}

fn begun(request: &ModelRequest, status: &str) -> Value {
    json!({
        "id": format!("resp_{}", request.number), "object": "response", "created_at": 1_790_000_000,
        "status": status, "error": null, "incomplete_details": null, "model": request.model, "output": [],
        "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": null, "metadata": {},
    })
}

pub(super) fn whole(turn: &Turn, request: &ModelRequest) -> Value {
    response(turn, request).0
}

pub(super) fn stream(turn: &Turn, request: &ModelRequest) -> Vec<String> {
    let mut events = Events(Vec::new());
    events.push("response.created", json!({"response": begun(request, "in_progress")}));
    events.push("response.in_progress", json!({"response": begun(request, "in_progress")}));
    for (index, (item, done)) in turn.items.iter().zip(output(turn, request)).enumerate() {
        let place = |more: Value| {
            let mut data = json!({"item_id": done["id"], "output_index": index});
            for (key, value) in more.as_object().into_iter().flatten() {
                data[key] = value.clone();
            }
            data
        };
        let mut started = done.clone();
        if started.get("status").is_some() {
            started["status"] = "in_progress".into();
        }
        for key in ["content", "summary"] {
            if started.get(key).is_some() && !matches!(item, Item::Raw(_)) {
                started[key] = json!([]);
            }
        }
        if let Item::Call { .. } = item {
            started["arguments"] = "".into();
        }
        events.push("response.output_item.added", json!({"output_index": index, "item": started}));
        match item {
            Item::Text(text) => {
                let at = |key: &str, value: Value| place(json!({"content_index": 0, key: value}));
                let empty = json!({"type": "output_text", "text": "", "annotations": [], "logprobs": []});
                events.push("response.content_part.added", at("part", empty));
                for piece in pieces(text) {
                    events.push("response.output_text.delta", at("delta", piece.into()));
                }
                events.push("response.output_text.done", at("text", text.as_str().into()));
                events.push("response.content_part.done", at("part", done["content"][0].clone()));
            }
            Item::Refusal(text) => {
                let at = |key: &str, value: Value| place(json!({"content_index": 0, key: value}));
                events.push(
                    "response.content_part.added",
                    at("part", json!({"type": "refusal", "refusal": ""})),
                );
                for piece in pieces(text) {
                    events.push("response.refusal.delta", at("delta", piece.into()));
                }
                events.push("response.refusal.done", at("refusal", text.as_str().into()));
                events.push("response.content_part.done", at("part", done["content"][0].clone()));
            }
            Item::Reasoning(text) => {
                let at = |key: &str, value: Value| place(json!({"summary_index": 0, key: value}));
                let part = |text: &str| json!({"type": "summary_text", "text": text});
                events.push("response.reasoning_summary_part.added", at("part", part("")));
                for piece in pieces(text) {
                    events.push("response.reasoning_summary_text.delta", at("delta", piece.into()));
                }
                events.push("response.reasoning_summary_text.done", at("text", text.as_str().into()));
                events.push("response.reasoning_summary_part.done", at("part", part(text)));
            }
            Item::Call { arguments, .. } => {
                for piece in pieces(arguments) {
                    events.push("response.function_call_arguments.delta", place(json!({"delta": piece})));
                }
                events.push("response.function_call_arguments.done", place(json!({"arguments": arguments})));
            }
            Item::Raw(_) => {}
        }
        events.push("response.output_item.done", json!({"output_index": index, "item": done}));
    }
    let (response, event) = response(turn, request);
    events.push(event, json!({"response": response}));
    events.0
}

pub(super) fn error_frame(code: &str, message: &str, number: usize) -> String {
    let data = json!({
        "type": "response.failed", "sequence_number": number,
        "response": {"id": "resp_failed", "object": "response", "status": "failed", "output": [],
            "error": {"code": code, "message": message}},
    });
    named("response.failed", &data)
}
