//! A request in the Responses format.

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::history::{is_verbatim, settled};
use super::super::{ModelOptions, arguments_object, merge_extra, number, object_schema, text_at};
use super::{EncryptedReasoning, Profile, SystemPlace, is_reasoning_model, refuses_sampling};
use crate::{Message, Request, ToolChoice, ToolDefinition, Turn, Wire};

pub(super) fn body(request: &Request, options: &ModelOptions, wire: &Wire, profile: Profile) -> Value {
    let mut body = JsonObject::new();
    body.insert("model".into(), options.model.clone().into());
    body.insert("stream".into(), true.into());
    body.insert("store".into(), false.into());
    let system = request.system.as_deref().filter(|system| !system.is_empty());
    if let (Some(system), SystemPlace::Instructions) = (system, profile.system) {
        body.insert("instructions".into(), system.into());
    }

    let mut input = Vec::new();
    if let (Some(system), SystemPlace::Input) = (system, profile.system) {
        input.push(json!({"type": "message", "role": "system", "content": system}));
    }
    let stored = options.extra.get("store").and_then(Value::as_bool).unwrap_or(false);
    let replayed =
        |turn: &Turn| is_verbatim(turn, wire) && (stored || turn.items.iter().all(is_self_contained));
    for message in settled(&request.messages, |turn| is_empty(turn, replayed(turn))) {
        push(&mut input, &message, replayed);
    }
    body.insert("input".into(), input.into());

    if !request.tools.is_empty() {
        let tools: Vec<Value> = request.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools.into());
        match request.tool_choice {
            ToolChoice::Auto => {}
            ToolChoice::Required => _ = body.insert("tool_choice".into(), "required".into()),
            ToolChoice::None => _ = body.insert("tool_choice".into(), "none".into()),
        }
    }
    if !refuses_sampling(&options.model) {
        for (key, value) in [("temperature", options.temperature), ("top_p", options.top_p)] {
            if let Some(value) = value {
                body.insert(key.into(), number(value));
            }
        }
    }
    if let Some(most) = request.most_tokens(options.max_tokens) {
        body.insert("max_output_tokens".into(), most.into());
    }
    if let Some(reasoning) = &options.reasoning {
        body.insert("reasoning".into(), reasoning.clone());
    }
    if let Some(text) = &options.text {
        body.insert("text".into(), text.clone());
    }
    let reasons = is_reasoning_model(&options.model) || options.reasoning.is_some();
    if reasons && profile.encrypted_reasoning == EncryptedReasoning::ReasoningModels {
        body.insert("include".into(), json!(["reasoning.encrypted_content"]));
    }
    merge_extra(&mut body, &options.extra);
    Value::Object(body)
}

/// Nothing that may be sent: a reasoning item alone is refused.
fn is_empty(turn: &Turn, verbatim: bool) -> bool {
    let opaque = verbatim && turn.items.iter().any(|item| text_at(item, "type") != Some("reasoning"));
    turn.text.is_empty() && !opaque
}

/// Reasoning that was not encrypted is a reference to what the provider keeps, and it was told to keep nothing.
fn is_self_contained(item: &Value) -> bool {
    text_at(item, "type") != Some("reasoning") || text_at(item, "encrypted_content").is_some()
}

fn push(input: &mut Vec<Value>, message: &Message, replayed: impl Fn(&Turn) -> bool) {
    match message {
        Message::User(text) => input.push(json!({"type": "message", "role": "user", "content": text})),
        Message::Assistant(turn) if replayed(turn) => input.extend(turn.items.iter().cloned()),
        Message::Assistant(turn) => {
            if !turn.text.is_empty() {
                input.push(json!({"type": "message", "role": "assistant", "content": turn.text}));
            }
            for call in &turn.calls {
                let arguments = Value::Object(arguments_object(&call.arguments)).to_string();
                input.push(json!({
                    "type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments,
                }));
            }
        }
        Message::ToolReplies(replies) => {
            for reply in replies {
                input
                    .push(json!({"type": "function_call_output", "call_id": reply.id, "output": reply.text}));
            }
        }
    }
}

/// Flat, and with `strict`, which the format's definition requires.
fn tool(tool: &ToolDefinition) -> Value {
    json!({
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": object_schema(&tool.schema),
        "strict": false,
    })
}
