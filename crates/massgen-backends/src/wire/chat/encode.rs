//! A request in the Chat Completions format.

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::history::{is_verbatim, settled};
use super::super::responses::refuses_sampling;
use super::super::{ModelOptions, arguments_object, merge_extra, number, object_schema, text_at};
use super::{Forcing, LimitKey, Profile, ReasoningKey, ToolMode, UsageRequest, is_schema_bound, schema};
use crate::{Message, Request, ToolChoice, ToolDefinition, Turn, Wire};

pub(super) fn body(request: &Request, options: &ModelOptions, wire: &Wire, profile: Profile) -> Value {
    let bound = is_schema_bound(profile, request);
    let mut body = JsonObject::new();
    body.insert("model".into(), options.model.clone().into());
    let messages = match profile.tool_mode {
        ToolMode::JsonSchema => plain_messages(request, bound),
        ToolMode::Native | ToolMode::Auto => messages(request, wire),
    };
    body.insert("messages".into(), messages.into());
    body.insert("stream".into(), true.into());
    if profile.usage == UsageRequest::Ask {
        body.insert("stream_options".into(), json!({"include_usage": true}));
    }
    if bound {
        body.insert("response_format".into(), schema::response_format(&request.tools));
    } else if !request.tools.is_empty() && profile.tool_mode != ToolMode::JsonSchema {
        let tools: Vec<Value> = request.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools.into());
        match (request.tool_choice, profile.forcing) {
            (ToolChoice::Required, Forcing::Required) => {
                _ = body.insert("tool_choice".into(), "required".into())
            }
            (ToolChoice::None, _) => _ = body.insert("tool_choice".into(), "none".into()),
            _ => {}
        }
    }
    let openai = profile.limit == LimitKey::MaxCompletionTokens;
    if !(openai && refuses_sampling(&options.model)) {
        for (key, value) in [("temperature", options.temperature), ("top_p", options.top_p)] {
            if let Some(value) = value {
                body.insert(key.into(), number(value));
            }
        }
    }
    if let Some(most) = request.most_tokens(options.max_tokens) {
        body.insert(if openai { "max_completion_tokens" } else { "max_tokens" }.into(), most.into());
    }
    if let Some(reasoning) = &options.reasoning {
        match (profile.reasoning, reasoning.get("effort")) {
            (ReasoningKey::Object, _) => _ = body.insert("reasoning".into(), reasoning.clone()),
            (ReasoningKey::Effort, Some(effort)) => {
                _ = body.insert("reasoning_effort".into(), effort.clone())
            }
            (ReasoningKey::Effort, None) => {}
        }
    }
    if let Some(verbosity) = options.text.as_ref().and_then(|text| text.get("verbosity")) {
        body.insert("verbosity".into(), verbosity.clone());
    }
    merge_extra(&mut body, &options.extra);
    Value::Object(body)
}

fn tool(tool: &ToolDefinition) -> Value {
    let ToolDefinition { name, description, schema } = tool;
    json!({
        "type": "function",
        "function": {"name": name, "description": description, "parameters": object_schema(schema)},
    })
}

fn messages(request: &Request, wire: &Wire) -> Vec<Value> {
    let mut messages = Vec::new();
    if let Some(system) = request.system.as_deref().filter(|system| !system.is_empty()) {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in settled(&request.messages, |turn| turn.text.is_empty()) {
        match &*message {
            Message::User(text) => messages.push(json!({"role": "user", "content": text})),
            Message::Assistant(turn) => messages.push(assistant(turn, wire)),
            Message::ToolReplies(replies) => {
                for reply in replies {
                    messages.push(json!({"role": "tool", "tool_call_id": reply.id, "content": reply.text}));
                }
            }
        }
    }
    messages
}

fn assistant(turn: &Turn, wire: &Wire) -> Value {
    if is_verbatim(turn, wire)
        && let [message] = turn.items.as_slice()
    {
        return message.clone();
    }
    let content = if turn.text.is_empty() { Value::Null } else { turn.text.clone().into() };
    let mut message = json!({"role": "assistant", "content": content});
    if let Some(object) = message.as_object_mut()
        && !turn.calls.is_empty()
    {
        let call = |call: &crate::ToolInvocation| {
            // A string, and a JSON object in it, whatever the model wrote: some servers read it.
            let arguments = Value::Object(arguments_object(&call.arguments)).to_string();
            json!({
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            })
        };
        object.insert("tool_calls".into(), turn.calls.iter().map(call).collect());
    }
    message
}

/// The conversation without the roles that small servers do not know: calls are what the assistant said, results are
/// what the user says, and the two take turns.
fn plain_messages(request: &Request, bound: bool) -> Vec<Value> {
    let mut system = request.system.clone().unwrap_or_default();
    if bound {
        if !system.is_empty() {
            system.push_str("\n\n");
        }
        system.push_str(&schema::instructions(&request.tools));
    }
    let mut messages: Vec<Value> = Vec::new();
    if !system.is_empty() {
        messages.push(json!({"role": "system", "content": system}));
    }
    for message in settled(&request.messages, |turn| turn.text.is_empty()) {
        let (role, text) = match &*message {
            Message::User(text) => ("user", text.clone()),
            Message::Assistant(turn) => {
                let calls = turn.calls.iter().map(|call| schema::call_text(&call.name, &call.arguments));
                let text = Some(turn.text.clone()).filter(|text| !text.is_empty());
                ("assistant", text.into_iter().chain(calls).collect::<Vec<_>>().join("\n"))
            }
            Message::ToolReplies(replies) => {
                let text = |reply: &crate::ToolReply| {
                    let what = if reply.is_error { "Error from" } else { "Result of" };
                    format!("{what} {}:\n{}", reply.name, reply.text)
                };
                ("user", replies.iter().map(text).collect::<Vec<_>>().join("\n\n"))
            }
        };
        match messages.last_mut().filter(|last| text_at(last, "role") == Some(role)) {
            Some(Value::Object(last)) => {
                let joined = match last.get("content").and_then(Value::as_str) {
                    Some(before) => format!("{before}\n\n{text}"),
                    None => text,
                };
                last.insert("content".into(), joined.into());
            }
            _ => messages.push(json!({"role": role, "content": text})),
        }
    }
    messages
}
