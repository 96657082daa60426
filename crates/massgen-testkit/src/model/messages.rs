//! Anthropic Messages.

use serde_json::{Value, json};

use super::request::{Draft, content_text};
use super::{Finish, Item, ModelRequest, Role, Turn, Usage, list, named, only_keys, pieces, text, tool_name};
use crate::http::HttpRequest;

const KEYS: [&str; 21] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "stop_sequences",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "service_tier",
    "container",
    "cache_control",
    "stream",
    "context_management",
    "mcp_servers",
    "inference_geo",
    "speed",
];

pub(super) fn check(body: &Value, http: &HttpRequest) -> Result<(), String> {
    if http.header("anthropic-version").is_none() {
        return Err("anthropic-version: header is required".into());
    }
    only_keys("the request", body, &KEYS)?;
    text("the request", body, "model")?;
    let max_tokens = body.get("max_tokens").ok_or("max_tokens: Field required")?;
    let max_tokens = max_tokens.as_u64().filter(|n| *n >= 1).ok_or("max_tokens is not a positive number")?;
    let thinking = &body["thinking"];
    if thinking["type"] == "enabled" {
        let budget = thinking["budget_tokens"].as_u64().unwrap_or_default();
        if budget < 1024 || budget >= max_tokens {
            return Err("thinking.budget_tokens is not between 1024 and max_tokens".into());
        }
    }
    if body.get("temperature").is_some_and(|t| !t.as_f64().is_some_and(|t| (0.0..=1.0).contains(&t))) {
        return Err("temperature is not between 0 and 1".into());
    }
    if let Some(system) = body.get("system") {
        blocks("system", system)?;
    }
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        check_tool(tool)?;
    }
    match body.get("tool_choice") {
        None => {}
        Some(choice) if ["auto", "any", "tool", "none"].iter().any(|t| choice["type"] == *t) => {}
        Some(choice) => return Err(format!("tool_choice is not valid: {choice}")),
    }
    let messages = list("the request", body, "messages")?;
    if messages.first().is_none_or(|first| first["role"] != "user") {
        return Err("the first message must use the user role".into());
    }
    // The calls that the next message has to answer.
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        only_keys("a message", message, &["role", "content"])?;
        let role = text("a message", message, "role")?;
        if !matches!(role, "user" | "assistant") {
            return Err(format!("the role {role} is not known"));
        }
        let content = message.get("content").ok_or("a message lacks its content")?;
        blocks("a message", content)?;
        let mut answered = Vec::new();
        let mut others = false;
        let mut calls = Vec::new();
        for block in content.as_array().into_iter().flatten() {
            match (block["type"].as_str().unwrap_or_default(), role) {
                ("tool_use", "assistant") => {
                    if !block["input"].is_object() {
                        return Err("the input of a tool_use is not an object".into());
                    }
                    text("a tool_use", block, "name")?;
                    calls.push(text("a tool_use", block, "id")?);
                }
                ("tool_result", "user") => {
                    let known = ["type", "tool_use_id", "content", "is_error", "cache_control"];
                    only_keys("a tool_result", block, &known)?;
                    let id = text("a tool_result", block, "tool_use_id")?;
                    if !open.contains(&id) {
                        return Err(format!("unexpected tool_use_id found in tool_result blocks: {id}"));
                    }
                    if answered.contains(&id) {
                        return Err(format!("each tool_use must have a single result: {id}"));
                    }
                    if others {
                        return Err("tool_result blocks must come before other content".into());
                    }
                    answered.push(id);
                }
                ("thinking", "assistant") => {
                    text("a thinking block", block, "thinking")?;
                    text("a thinking block", block, "signature")?;
                }
                ("tool_use" | "tool_result" | "thinking", _) => {
                    return Err(format!("a {} block cannot stand in a {role} message", block["type"]));
                }
                _ => others = true,
            }
        }
        if let Some(id) = open.iter().find(|id| !answered.contains(id)) {
            return Err(format!(
                "tool_use ids were found without tool_result blocks immediately after: {id}"
            ));
        }
        open = calls;
    }
    match open.first() {
        Some(id) => {
            Err(format!("tool_use ids were found without tool_result blocks immediately after: {id}"))
        }
        None => Ok(()),
    }
}

fn blocks(what: &str, content: &Value) -> Result<(), String> {
    match content {
        Value::String(text) if !text.is_empty() => Ok(()),
        Value::Array(blocks) if !blocks.is_empty() => {
            for block in blocks {
                if text("a content block", block, "type")? == "text"
                    && text("a text block", block, "text")?.is_empty()
                {
                    return Err("text content blocks must be non-empty".into());
                }
            }
            Ok(())
        }
        _ => Err(format!("{what}: content must be non-empty")),
    }
}

fn check_tool(tool: &Value) -> Result<(), String> {
    if tool.get("type").is_some_and(|kind| kind != "custom") {
        text("a server tool", tool, "name")?;
        return Ok(());
    }
    let known = [
        "type",
        "name",
        "description",
        "input_schema",
        "strict",
        "cache_control",
        "eager_input_streaming",
        "defer_loading",
        "input_examples",
        "allowed_callers",
    ];
    only_keys("a tool", tool, &known)?;
    tool_name(text("a tool", tool, "name")?, 128)?;
    if tool["input_schema"]["type"] != "object" {
        return Err("the input_schema of a tool is not of type object".into());
    }
    Ok(())
}

pub(super) fn read(body: &Value, draft: &mut Draft) {
    let system = content_text(&body["system"]);
    if !system.is_empty() {
        draft.system.push(system);
    }
    for message in body["messages"].as_array().into_iter().flatten() {
        let role = if message["role"] == "assistant" { Role::Assistant } else { Role::User };
        if let Some(text) = message["content"].as_str() {
            draft.say(role, text);
        }
        for block in message["content"].as_array().into_iter().flatten() {
            match block["type"].as_str().unwrap_or_default() {
                "text" => draft.say(role, block["text"].as_str().unwrap_or_default()),
                "tool_use" => draft.call(&block["id"], &block["name"], &block["input"]),
                "tool_result" => {
                    let failed = block["is_error"] == true;
                    draft.result(
                        &block["tool_use_id"],
                        &Value::Null,
                        content_text(&block["content"]),
                        failed,
                    );
                }
                _ => {}
            }
        }
    }
    let custom = |tool: &&Value| tool.get("type").is_none_or(|kind| kind == "custom");
    for tool in body["tools"].as_array().into_iter().flatten().filter(custom) {
        draft.tool(tool, &tool["input_schema"]);
    }
}

fn usage(usage: &Usage, output: u64) -> Value {
    // On this wire the cached tokens are not among the input tokens.
    json!({
        "input_tokens": usage.input - usage.cached.min(usage.input), "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached, "output_tokens": output,
        "output_tokens_details": {"thinking_tokens": usage.reasoning},
    })
}

fn stop_reason(turn: &Turn) -> &str {
    match &turn.finish {
        Finish::Done if turn.items.iter().any(|i| matches!(i, Item::Refusal(_))) => "refusal",
        Finish::Done if turn.has_calls() => "tool_use",
        Finish::Done => "end_turn",
        Finish::Length => "max_tokens",
        Finish::Filter => "refusal",
        Finish::Other(reason) => reason,
    }
}

fn call_id(request: &ModelRequest, id: Option<&String>, index: usize) -> String {
    id.cloned().unwrap_or_else(|| format!("toolu_{}_{index}", request.number))
}

fn signature(request: &ModelRequest, index: usize) -> String {
    format!("signed-{}-{index}", request.number)
}

pub(super) fn whole(turn: &Turn, request: &ModelRequest) -> Value {
    let block = |(index, item): (usize, &Item)| match item {
        Item::Text(text) | Item::Refusal(text) => json!({"type": "text", "text": text}),
        Item::Reasoning(text) => {
            json!({"type": "thinking", "thinking": text, "signature": signature(request, index)})
        }
        Item::Call { id, name, arguments } => json!({
            "type": "tool_use", "id": call_id(request, id.as_ref(), index), "name": name,
            "input": serde_json::from_str::<Value>(arguments).unwrap_or_else(|_| json!({})),
        }),
        Item::Raw(value) => value.clone(),
    };
    let content: Vec<Value> = turn.items.iter().enumerate().map(block).collect();
    let mut message = begun(request);
    message["content"] = content.into();
    message["stop_reason"] = stop_reason(turn).into();
    message["usage"] = usage(&turn.usage, turn.usage.output);
    message
}

fn begun(request: &ModelRequest) -> Value {
    json!({
        "id": format!("msg_{}", request.number), "type": "message", "role": "assistant", "model": request.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
    })
}

pub(super) fn stream(turn: &Turn, request: &ModelRequest) -> Vec<String> {
    let mut frames = Vec::new();
    let mut push = |name: &str, mut data: Value| {
        data["type"] = name.into();
        frames.push(named(name, &data));
    };
    let mut message = begun(request);
    message["usage"] = usage(&turn.usage, 1);
    push("message_start", json!({"message": message}));
    for (index, item) in turn.items.iter().enumerate() {
        let start = match item {
            Item::Text(_) | Item::Refusal(_) => json!({"type": "text", "text": ""}),
            Item::Reasoning(_) => json!({"type": "thinking", "thinking": "", "signature": ""}),
            Item::Call { id, name, .. } => json!({
                "type": "tool_use", "id": call_id(request, id.as_ref(), index), "name": name, "input": {},
            }),
            Item::Raw(value) => value.clone(),
        };
        push("content_block_start", json!({"index": index, "content_block": start}));
        if index == 0 {
            push("ping", json!({}));
        }
        let mut delta = |delta: Value| push("content_block_delta", json!({"index": index, "delta": delta}));
        match item {
            Item::Text(text) | Item::Refusal(text) => {
                for piece in pieces(text) {
                    delta(json!({"type": "text_delta", "text": piece}));
                }
            }
            Item::Reasoning(text) => {
                for piece in pieces(text) {
                    delta(json!({"type": "thinking_delta", "thinking": piece}));
                }
                delta(json!({"type": "signature_delta", "signature": signature(request, index)}));
            }
            Item::Call { arguments, .. } => {
                delta(json!({"type": "input_json_delta", "partial_json": ""}));
                for piece in pieces(arguments) {
                    delta(json!({"type": "input_json_delta", "partial_json": piece}));
                }
            }
            Item::Raw(_) => {}
        }
        let cut_within_call = turn.finish == Finish::Length
            && index + 1 == turn.items.len()
            && matches!(item, Item::Call { .. });
        if !cut_within_call {
            push("content_block_stop", json!({"index": index}));
        }
    }
    let end = json!({
        "delta": {"stop_reason": stop_reason(turn), "stop_sequence": null},
        "usage": usage(&turn.usage, turn.usage.output),
    });
    push("message_delta", end);
    push("message_stop", json!({}));
    frames
}

pub(super) fn error_frame(code: &str, message: &str) -> String {
    let data =
        json!({"type": "error", "error": {"type": code, "message": message}, "request_id": "req_testkit"});
    named("error", &data)
}
