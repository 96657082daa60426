//! A request in the Messages format.

use std::borrow::Cow;

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::history::{is_verbatim, settled};
use super::super::{ModelOptions, arguments_object, count_at, merge_extra, number, object_schema, text_at};
use super::DEFAULT_MAX_TOKENS;
use crate::{Message, Request, ToolChoice, ToolDefinition, Turn, Wire};

pub(super) fn body(request: &Request, options: &ModelOptions, wire: &Wire) -> Value {
    let thinking = thinking(options);
    let mut body = JsonObject::new();
    body.insert("model".into(), options.model.clone().into());
    // The budget for thinking is part of the limit, and has to be less.
    let budget = thinking.map(|thinking| count_at(thinking, "/budget_tokens")).unwrap_or_default();
    let most = request.most_tokens(options.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS.saturating_add(budget));
    body.insert("max_tokens".into(), most.into());
    body.insert("stream".into(), true.into());
    if let Some(system) = request.system.as_deref().filter(|system| !system.trim().is_empty()) {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), messages(request, wire).into());
    if !request.tools.is_empty() {
        let tools: Vec<Value> = request.tools.iter().map(tool).collect();
        body.insert("tools".into(), tools.into());
        match request.tool_choice {
            // A model that thinks cannot be forced; the format refuses it.
            ToolChoice::Required if thinking.is_none() => {
                body.insert("tool_choice".into(), json!({"type": "any"}));
            }
            ToolChoice::None => _ = body.insert("tool_choice".into(), json!({"type": "none"})),
            _ => {}
        }
    }
    if let Some(thinking) = thinking {
        body.insert("thinking".into(), thinking.clone());
    } else if let Some(temperature) = options.temperature {
        // The format's range ends at 1, and newer models take one of the two only.
        body.insert("temperature".into(), number(temperature.clamp(0.0, 1.0)));
    } else if let Some(top_p) = options.top_p {
        body.insert("top_p".into(), number(top_p));
    }
    merge_extra(&mut body, &options.extra);
    Value::Object(body)
}

/// The settings for thinking, where they are in this format's own form and switch it on.
pub(crate) fn thinking(options: &ModelOptions) -> Option<&Value> {
    let is_on =
        |value: &&Value| value.get("type").and_then(Value::as_str).is_some_and(|kind| kind != "disabled");
    options.extra.get("thinking").or(options.reasoning.as_ref()).filter(is_on)
}

fn messages(request: &Request, wire: &Wire) -> Vec<Value> {
    let mut messages: Vec<(&'static str, Vec<Value>)> = Vec::new();
    for message in settled(&request.messages, |turn| content(turn, wire).is_empty()) {
        let (role, blocks) = match &*message {
            Message::User(text) => ("user", text_block(text).into_iter().collect()),
            Message::Assistant(turn) => ("assistant", content(turn, wire)),
            Message::ToolReplies(replies) => {
                let block = |reply: &crate::ToolReply| {
                    let mut block = json!({"type": "tool_result", "tool_use_id": legal_id(&reply.id)});
                    if let Some(block) = block.as_object_mut() {
                        // An empty text block is refused, absent content is not.
                        if !reply.text.trim().is_empty() {
                            block.insert("content".into(), reply.text.clone().into());
                        }
                        if reply.is_error {
                            block.insert("is_error".into(), true.into());
                        }
                    }
                    block
                };
                ("user", replies.iter().map(block).collect())
            }
        };
        // Roles alternate: what a user says after the results of tools goes into the same message, behind them.
        match messages.last_mut() {
            Some((last, content)) if *last == role => content.extend(blocks),
            _ if blocks.is_empty() => {}
            _ => messages.push((role, blocks)),
        }
    }
    messages.into_iter().map(|(role, content)| json!({"role": role, "content": content})).collect()
}

fn content(turn: &Turn, wire: &Wire) -> Vec<Value> {
    if is_verbatim(turn, wire) {
        let blank = |item: &&Value| {
            !(text_at(item, "type") == Some("text")
                && text_at(item, "text").is_none_or(|t| t.trim().is_empty()))
        };
        let items: Vec<Value> = turn.items.iter().filter(blank).cloned().collect();
        let is_thinking =
            |item: &Value| matches!(text_at(item, "type"), Some("thinking" | "redacted_thinking"));
        // Thinking alone is no message.
        return if items.iter().all(is_thinking) { Vec::new() } else { items };
    }
    let calls = turn.calls.iter().map(|call| {
        json!({
            "type": "tool_use",
            "id": legal_id(&call.id),
            "name": legal_name(&call.name),
            "input": arguments_object(&call.arguments),
        })
    });
    text_block(&turn.text).into_iter().chain(calls).collect()
}

/// Blank text is refused.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({"type": "text", "text": text}))
}

/// Ids of other providers may hold characters that this one refuses.
fn legal_id(id: &str) -> Cow<'_, str> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !id.is_empty() && id.chars().all(legal) {
        return Cow::Borrowed(id);
    }
    Cow::Owned(format!("_{}", id.replace(|c| !legal(c), "_")))
}

/// The name of a tool that a model made up may not even be a name.
fn legal_name(name: &str) -> Cow<'_, str> {
    match legal_id(name) {
        Cow::Owned(name) => Cow::Owned(name.chars().take(64).collect()),
        name => name,
    }
}

fn tool(tool: &ToolDefinition) -> Value {
    json!({"name": tool.name, "description": tool.description, "input_schema": object_schema(&tool.schema)})
}
