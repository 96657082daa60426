//! A request in a form that does not depend on the wire.

use serde_json::Value;

use super::{Wire, chat, gemini, messages, responses};
use crate::http::HttpRequest;

/// A request to a model.
#[derive(Debug, Clone)]
pub struct ModelRequest {
    /// How many came to this endpoint before.
    pub number: usize,
    /// The wire it came on.
    pub wire: Wire,
    /// The request itself: path, headers, the body byte for byte.
    pub http: HttpRequest,
    /// The body.
    pub body: Value,
    /// The model's name (Azure's deployments: the deployment's).
    pub model: String,
    /// The answer shall be a stream.
    pub stream: bool,
    /// The system texts, joined by empty lines.
    pub system: String,
    /// The conversation: neighbours of one role are one message, and results of tools stand by themselves.
    pub messages: Vec<Message>,
    /// The functions on offer. Tools of the provider's own are in the body only.
    pub tools: Vec<ToolOffer>,
}

/// One step of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Whose it is.
    pub role: Role,
    /// Its texts, joined by newlines.
    pub text: String,
    /// The calls it makes.
    pub calls: Vec<Call>,
    /// The results it brings.
    pub results: Vec<CallResult>,
}

/// Whose a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The user's.
    User,
    /// The model's.
    Assistant,
    /// The results of tools.
    Tool,
}

/// A call in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Its id; empty where the wire has none.
    pub id: String,
    /// The tool.
    pub name: String,
    /// The arguments; text that is not JSON as a JSON string.
    pub arguments: Value,
}

/// A result in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct CallResult {
    /// The call's id; empty where the wire has none.
    pub id: String,
    /// The tool, found by the id where the wire does not repeat it.
    pub name: String,
    /// The result as text.
    pub text: String,
    /// Marked as a failure. Only Messages can say so.
    pub is_error: bool,
}

/// A function on offer.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolOffer {
    /// The name.
    pub name: String,
    /// The description.
    pub description: String,
    /// The schema of the arguments.
    pub schema: Value,
}

impl ModelRequest {
    pub(super) fn read(number: usize, wire: Wire, http: HttpRequest, body: Value) -> Self {
        let mut draft = Draft::default();
        match wire {
            Wire::Responses => responses::read(&body, &mut draft),
            Wire::Chat => chat::read(&body, &mut draft),
            Wire::Messages => messages::read(&body, &mut draft),
            Wire::Gemini => gemini::read(&body, &mut draft),
        }
        let in_path = |before: &str, after: char| {
            let rest = http.path.split_once(before)?.1;
            Some(rest.split(after).next().unwrap_or(rest).to_owned())
        };
        let model = match wire {
            Wire::Gemini => in_path("/models/", ':'),
            Wire::Chat => in_path("/deployments/", '/'),
            _ => None,
        };
        let model = model.or_else(|| Some(body.get("model")?.as_str()?.to_owned())).unwrap_or_default();
        let stream = match wire {
            Wire::Gemini => http.path.ends_with(":streamGenerateContent"),
            _ => body["stream"] == true,
        };
        let Draft { system, messages, tools } = draft;
        Self { number, wire, http, body, model, stream, system: system.join("\n\n"), messages, tools }
    }

    /// The names of the functions on offer.
    pub fn tool_names(&self) -> Vec<&str> {
        self.tools.iter().map(|tool| tool.name.as_str()).collect()
    }

    /// Whether a function is on offer.
    pub fn offers(&self, name: &str) -> bool {
        self.tools.iter().any(|tool| tool.name == name)
    }

    /// The results that ended the model's last turn: those of the last message, if it is one of results.
    pub fn results(&self) -> &[CallResult] {
        match self.messages.last() {
            Some(Message { role: Role::Tool, results, .. }) => results,
            _ => &[],
        }
    }

    /// Whether the model has just been given results.
    pub fn has_results(&self) -> bool {
        !self.results().is_empty()
    }

    /// All results of one tool in the whole conversation.
    pub fn results_of(&self, name: &str) -> Vec<&CallResult> {
        self.messages.iter().flat_map(|m| &m.results).filter(|result| result.name == name).collect()
    }

    /// All calls in the whole conversation.
    pub fn calls(&self) -> Vec<&Call> {
        self.messages.iter().flat_map(|m| &m.calls).collect()
    }

    /// The user's last message; empty where there is none.
    pub fn last_user(&self) -> &str {
        let last = self.messages.iter().rev().find(|m| m.role == Role::User);
        last.map_or("", |m| m.text.as_str())
    }

    /// Everything the user said, joined by newlines.
    pub fn user_text(&self) -> String {
        let texts: Vec<&str> =
            self.messages.iter().filter(|m| m.role == Role::User).map(|m| m.text.as_str()).collect();
        texts.join("\n")
    }

    /// How many turns of the model are in the history.
    pub fn turns(&self) -> usize {
        self.messages.iter().filter(|m| m.role == Role::Assistant).count()
    }

    /// Whether a text stands anywhere in the system text or the conversation.
    pub fn mentions(&self, text: &str) -> bool {
        let in_message =
            |m: &Message| m.text.contains(text) || m.results.iter().any(|r| r.text.contains(text));
        self.system.contains(text) || self.messages.iter().any(in_message)
    }
}

/// A request being read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) system: Vec<String>,
    pub(super) messages: Vec<Message>,
    pub(super) tools: Vec<ToolOffer>,
}

impl Draft {
    /// The last message, if it has this role, else a new one.
    pub(super) fn message(&mut self, role: Role) -> &mut Message {
        if self.messages.last().is_none_or(|m| m.role != role) {
            self.messages.push(Message { role, text: String::new(), calls: Vec::new(), results: Vec::new() });
        }
        self.messages.last_mut().expect("one was pushed")
    }

    pub(super) fn say(&mut self, role: Role, text: &str) {
        if text.is_empty() {
            return;
        }
        let message = self.message(role);
        if !message.text.is_empty() {
            message.text.push('\n');
        }
        message.text.push_str(text);
    }

    pub(super) fn call(&mut self, id: &Value, name: &Value, arguments: &Value) {
        let arguments = match arguments {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
            other => other.clone(),
        };
        self.message(Role::Assistant).calls.push(Call { id: plain(id), name: plain(name), arguments });
    }

    pub(super) fn result(&mut self, id: &Value, name: &Value, text: String, is_error: bool) {
        let id = plain(id);
        let known = self.messages.iter().flat_map(|m| &m.calls).rev().find(|call| call.id == id);
        let name = match name {
            Value::String(name) => name.clone(),
            _ => known.map(|call| call.name.clone()).unwrap_or_default(),
        };
        self.message(Role::Tool).results.push(CallResult { id, name, text, is_error });
    }

    pub(super) fn tool(&mut self, tool: &Value, schema: &Value) {
        let offer = ToolOffer {
            name: plain(&tool["name"]),
            description: plain(&tool["description"]),
            schema: schema.clone(),
        };
        self.tools.push(offer);
    }
}

/// A string, or nothing.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A content that is a string, or a list of parts with `text`.
pub(super) fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text")?.as_str()).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}
