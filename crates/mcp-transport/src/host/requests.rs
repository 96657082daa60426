//! A server's requests and notices, from JSON to a [`Host`] and back. The same for requests that come by themselves
//! (2025-11-25) and those inside a result (2026-07-28).

use std::time::Duration;

use mcp_core::{Content, JsonObject, ServerName};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Elicitation, ElicitationReply, Host, LogMessage, Root, SamplingMessage, SamplingRefusal, SamplingReply,
    SamplingRequest,
};

/// The extension for results that come later.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// How long a person may take over a server's question.
const PATIENCE: Duration = Duration::from_secs(600);
/// The largest form: bytes of its schema as JSON, and levels of nesting.
const FORM: (usize, usize) = (100 * 1024, 10);

/// What the client declares.
pub(crate) fn capabilities(host: Option<&dyn Host>, server: &ServerName) -> Value {
    let mut declared = json!({"extensions": {TASKS: {}}});
    let Some(offered) = host.map(|host| host.abilities(server)) else { return declared };
    if offered.form || offered.url {
        let mut modes = JsonObject::new();
        if offered.form {
            modes.insert("form".to_owned(), json!({}));
        }
        if offered.url {
            modes.insert("url".to_owned(), json!({}));
        }
        declared["elicitation"] = Value::Object(modes);
    }
    if offered.sampling {
        declared["sampling"] = json!({});
    }
    if offered.roots {
        declared["roots"] = json!({"listChanged": true});
    }
    declared
}

/// What became of a server's request.
#[derive(Debug)]
pub(crate) enum Asked {
    /// The result.
    Answer(Value),
    /// It was not offered, or there is no such request.
    NotOffered,
    /// The user or the policy said no to a request that knows no other way to say so.
    Refused(SamplingRefusal),
    /// The server took it back.
    TakenBack,
    /// It makes no sense.
    Invalid(&'static str),
}

/// Answers one request.
pub(crate) async fn answer(
    host: Option<&dyn Host>,
    server: &ServerName,
    method: &str,
    params: &Value,
) -> Asked {
    let Some(host) = host else { return Asked::NotOffered };
    let offered = host.abilities(server);
    match method {
        "elicitation/create" => {
            let request = match elicitation(params) {
                Ok(request) => request,
                Err(reason) => return Asked::Invalid(reason),
            };
            let possible = match &request {
                Elicitation::Form { .. } => offered.form,
                Elicitation::Url { .. } => offered.url,
            };
            if !possible {
                return Asked::NotOffered;
            }
            let reply = timeout(PATIENCE, host.elicit(server, request.clone())).await;
            let reply = reply.unwrap_or(ElicitationReply::Cancel);
            Asked::Answer(elicited(server, &request, reply))
        }
        "sampling/createMessage" if offered.sampling => {
            match timeout(PATIENCE, host.sample(server, sampling(params))).await {
                Ok(Ok(reply)) => Asked::Answer(sampled(reply)),
                Ok(Err(refusal)) => Asked::Refused(refusal),
                Err(_) => Asked::Refused(SamplingRefusal::Failed),
            }
        }
        "roots/list" if offered.roots => {
            let told = host.roots(server).into_iter().filter(|root| root.uri.starts_with("file://"));
            let told: Vec<Value> = told
                .map(|Root { uri, name }| match name {
                    Some(name) => json!({"uri": uri, "name": name}),
                    None => json!({"uri": uri}),
                })
                .collect();
            Asked::Answer(json!({"roots": told}))
        }
        _ => Asked::NotOffered,
    }
}

fn elicitation(params: &Value) -> Result<Elicitation, &'static str> {
    let message = text(params, "message").unwrap_or_default();
    match params.get("mode").and_then(Value::as_str) {
        None | Some("form") => match params.get("requestedSchema") {
            Some(schema) if schema.to_string().len() > FORM.0 || is_deeper(schema, FORM.1) => {
                Err("the form is too large")
            }
            Some(schema @ Value::Object(_)) => Ok(Elicitation::Form { message, schema: schema.clone() }),
            _ => Err("a form needs an object requestedSchema"),
        },
        Some("url") => match text(params, "url") {
            Some(url) => Ok(Elicitation::Url { message, url }),
            None => Err("this mode needs a url"),
        },
        Some(_) => Err("this mode is not known"),
    }
}

fn is_deeper(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels == 0 || items.iter().any(|item| is_deeper(item, levels - 1)),
        Value::Object(fields) => levels == 0 || fields.values().any(|field| is_deeper(field, levels - 1)),
        _ => false,
    }
}

fn elicited(server: &ServerName, request: &Elicitation, reply: ElicitationReply) -> Value {
    match reply {
        ElicitationReply::Accept(values) => {
            let problems = request.problems(&values);
            if !problems.is_empty() {
                tracing::warn!(%server, ?problems, "the answer does not fit what the server asked for");
                return json!({"action": "cancel"});
            }
            match request {
                Elicitation::Form { .. } => json!({"action": "accept", "content": values}),
                Elicitation::Url { .. } => json!({"action": "accept"}),
            }
        }
        ElicitationReply::Decline => json!({"action": "decline"}),
        ElicitationReply::Cancel => json!({"action": "cancel"}),
    }
}

fn sampling(params: &Value) -> SamplingRequest {
    let list = |key: &str| params.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let messages = list("messages").into_iter().map(|message| {
        let content = match message.get("content") {
            Some(Value::Array(blocks)) => blocks.iter().cloned().map(Content::from_value).collect(),
            Some(block) => vec![Content::from_value(block.clone())],
            None => Vec::new(),
        };
        SamplingMessage { role: text(&message, "role").unwrap_or_else(|| "user".to_owned()), content }
    });
    SamplingRequest {
        messages: messages.collect(),
        system_prompt: text(params, "systemPrompt"),
        max_tokens: params.get("maxTokens").and_then(Value::as_u64),
        temperature: params.get("temperature").and_then(Value::as_f64),
        stop_sequences: list("stopSequences").iter().filter_map(Value::as_str).map(str::to_owned).collect(),
    }
}

fn sampled(reply: SamplingReply) -> Value {
    let mut result = json!({"role": "assistant", "content": reply.content.to_value(), "model": reply.model});
    if let Some(reason) = reply.stop_reason {
        result["stopReason"] = Value::String(reason);
    }
    result
}

/// Takes in a notice that only a host cares about.
pub(crate) fn hear(host: Option<&dyn Host>, server: &ServerName, method: &str, params: &Value) {
    if method == "notifications/message"
        && let Some(host) = host
    {
        let message = LogMessage {
            level: text(params, "level").unwrap_or_else(|| "info".to_owned()),
            logger: text(params, "logger"),
            data: params.get("data").cloned().unwrap_or_default(),
        };
        host.log(server, message);
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_owned)
}
