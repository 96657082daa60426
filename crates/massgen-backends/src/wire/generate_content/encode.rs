//! A request in the `generateContent` format.

use std::collections::HashSet;

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::history::{is_verbatim, settled};
use super::super::{ModelOptions, arguments_object, merge_extra, number, text_at};
use crate::{Message, Request, ToolChoice, ToolDefinition, Turn, Wire};

pub(super) fn body(request: &Request, options: &ModelOptions, wire: &Wire) -> Value {
    let mut body = JsonObject::new();
    body.insert("contents".into(), contents(request, wire).into());
    if let Some(system) = request.system.as_deref().filter(|system| !system.is_empty()) {
        body.insert("systemInstruction".into(), json!({"parts": [{"text": system}]}));
    }
    if !request.tools.is_empty() {
        let functions: Vec<Value> = request.tools.iter().map(function).collect();
        body.insert("tools".into(), json!([{"functionDeclarations": functions}]));
        let mode = match request.tool_choice {
            ToolChoice::Auto => None,
            ToolChoice::Required => Some("ANY"),
            ToolChoice::None => Some("NONE"),
        };
        if let Some(mode) = mode {
            body.insert("toolConfig".into(), json!({"functionCallingConfig": {"mode": mode}}));
        }
    }
    let (generation, extra) = split(request, options);
    if !generation.is_empty() {
        body.insert("generationConfig".into(), generation.into());
    }
    merge_extra(&mut body, &extra);
    Value::Object(body)
}

/// The settings of generation, which this format keeps apart, and the rest. The user may write them in the body's
/// own place, in `generationConfig`, or at the top in the spelling of the Python client.
fn split(request: &Request, options: &ModelOptions) -> (JsonObject, JsonObject) {
    let mut config = JsonObject::new();
    for (key, value) in [("temperature", options.temperature), ("topP", options.top_p)] {
        if let Some(value) = value {
            config.insert(key.into(), number(value));
        }
    }
    if let Some(most) = request.most_tokens(options.max_tokens) {
        config.insert("maxOutputTokens".into(), most.into());
    }
    let own = |value: &&Value| value.get("thinkingBudget").or(value.get("thinkingLevel")).is_some();
    if let Some(thinking) = options.reasoning.as_ref().filter(own) {
        config.insert("thinkingConfig".into(), thinking.clone());
    }
    let mut extra = JsonObject::new();
    for (key, value) in &options.extra {
        match (key.as_str(), value) {
            ("generationConfig" | "generation_config", Value::Object(more)) => {
                config.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            (key, value) => match generation_key(key) {
                Some(key) => _ = config.insert(key.into(), value.clone()),
                None => _ = extra.insert(key.into(), value.clone()),
            },
        }
    }
    config.retain(|_, value| !value.is_null());
    (config, extra)
}

fn generation_key(key: &str) -> Option<&'static str> {
    Some(match key {
        "top_k" | "topK" => "topK",
        "max_output_tokens" | "maxOutputTokens" => "maxOutputTokens",
        "stop_sequences" | "stopSequences" => "stopSequences",
        "seed" => "seed",
        "candidate_count" | "candidateCount" => "candidateCount",
        "presence_penalty" | "presencePenalty" => "presencePenalty",
        "frequency_penalty" | "frequencyPenalty" => "frequencyPenalty",
        "response_mime_type" | "responseMimeType" => "responseMimeType",
        "response_json_schema" | "responseJsonSchema" => "responseJsonSchema",
        "thinking_config" | "thinkingConfig" => "thinkingConfig",
        _ => return None,
    })
}

fn contents(request: &Request, wire: &Wire) -> Vec<Value> {
    let mut contents: Vec<(&'static str, Vec<Value>)> = Vec::new();
    // Ids go back only where the provider gave them: it refuses those it does not know.
    let mut known = HashSet::new();
    for message in settled(&request.messages, |turn| parts(turn, wire).is_empty()) {
        let (role, parts) = match &*message {
            Message::User(text) => ("user", vec![json!({"text": text})]),
            Message::Assistant(turn) => {
                let parts = parts(turn, wire);
                let ids = parts.iter().filter_map(|part| part.pointer("/functionCall/id")?.as_str());
                known = ids.map(str::to_owned).collect();
                ("model", parts)
            }
            Message::ToolReplies(replies) => {
                let part = |reply: &crate::ToolReply| {
                    let key = if reply.is_error { "error" } else { "result" };
                    let mut response =
                        json!({"name": legal_name(&reply.name), "response": {key: reply.text}});
                    if let Some(object) = response.as_object_mut()
                        && known.contains(&reply.id)
                    {
                        object.insert("id".into(), reply.id.clone().into());
                    }
                    json!({"functionResponse": response})
                };
                ("user", replies.iter().map(part).collect())
            }
        };
        match contents.last_mut() {
            Some((last, all)) if *last == role => all.extend(parts),
            _ => contents.push((role, parts)),
        }
    }
    contents.into_iter().map(|(role, parts)| json!({"role": role, "parts": parts})).collect()
}

fn parts(turn: &Turn, wire: &Wire) -> Vec<Value> {
    if is_verbatim(turn, wire) {
        let is_thought = |item: &Value| item.get("thought").and_then(Value::as_bool).unwrap_or(false);
        // Thoughts alone are no content.
        return if turn.items.iter().all(is_thought) { Vec::new() } else { turn.items.clone() };
    }
    let text = (!turn.text.is_empty()).then(|| json!({"text": turn.text}));
    let calls = turn.calls.iter().map(|call| {
        json!({"functionCall": {"name": legal_name(&call.name), "args": arguments_object(&call.arguments)}})
    });
    text.into_iter().chain(calls).collect()
}

fn legal_name(name: &str) -> String {
    let name: String = name
        .chars()
        .take(64)
        .map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' })
        .collect();
    if name.is_empty() { "unknown".to_owned() } else { name }
}

fn function(tool: &ToolDefinition) -> Value {
    let mut function = json!({"name": tool.name, "description": tool.description});
    // An object without properties is refused; no parameters at all mean the same.
    let has_parameters = text_at(&tool.schema, "type") != Some("object")
        || tool.schema.get("properties").and_then(Value::as_object).is_some_and(|p| !p.is_empty());
    if let Some(object) = function.as_object_mut()
        && has_parameters
    {
        object.insert("parametersJsonSchema".into(), (*tool.schema).clone());
    }
    function
}
