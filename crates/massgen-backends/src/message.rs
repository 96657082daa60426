//! What a model is asked: a conversation in a form of its own, which each wire translates.

use std::sync::Arc;

use mcp_core::JsonObject;
use serde_json::Value;

/// One request: the whole conversation, and what the model may do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// The system message.
    pub system: Option<String>,
    /// The conversation, oldest first.
    pub messages: Vec<Message>,
    /// The tools the model may call.
    pub tools: Vec<ToolDefinition>,
    /// Whether it may, must or must not call one.
    pub tool_choice: ToolChoice,
    /// The most tokens of the answer, where this request has a limit of its own; the lesser of it and the model's
    /// counts.
    pub max_tokens: Option<u64>,
    /// What this request is for. No wire sends it; a scripted model matches on it.
    pub context: RequestContext,
}

impl Request {
    /// The most tokens of the answer: the lesser of this request's limit and `configured`.
    pub(crate) fn most_tokens(&self, configured: Option<u64>) -> Option<u64> {
        self.max_tokens.into_iter().chain(configured).min()
    }
}

/// One step of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// What the user (or the coordinator in the user's place) says.
    User(String),
    /// What the model said and called.
    Assistant(Turn),
    /// The answers to all calls of the turn before, in the order of the calls.
    ToolReplies(Vec<ToolReply>),
}

/// One answer of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Which wire the items are in, and whose they are; `None`: replay the canonical form below.
    pub origin: Option<Wire>,
    /// The provider's output items, verbatim and in order. They are replayed as they are to the same wire:
    /// signatures and encrypted reasoning break otherwise.
    pub items: Vec<Value>,
    /// The text.
    pub text: String,
    /// The calls, in order.
    pub calls: Vec<ToolInvocation>,
}

/// A wire format together with the provider that spoke it: only that provider understands its opaque items.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wire {
    /// The format, such as `responses` or `messages`.
    pub format: &'static str,
    /// The host that spoke it.
    pub host: Arc<str>,
}

/// A call as the model wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolInvocation {
    /// The provider's id for it, or one of ours where the provider gives none. Unique within a conversation.
    pub id: String,
    /// The tool's name as the model wrote it.
    pub name: String,
    /// The arguments; `Err` keeps the text that is not a JSON object, so that the model can be told.
    pub arguments: Result<JsonObject, String>,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolReply {
    /// The call's id.
    pub id: String,
    /// The tool's name, which one wire wants again.
    pub name: String,
    /// What the model reads.
    pub text: String,
    /// The tool failed, or was not run.
    pub is_error: bool,
}

/// A tool as a model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDefinition {
    /// 1 to 64 of `[A-Za-z0-9_-]`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Arc<Value>,
}

/// Whether the model may, must or must not call a tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// It decides.
    #[default]
    Auto,
    /// It has to call one.
    Required,
    /// It must not.
    None,
}

/// What a request is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// The agent that asks.
    pub agent: String,
    /// The user's question.
    pub question: String,
    /// The agent's round, from 1.
    pub round: u32,
    /// Coordination or presentation.
    pub phase: RequestPhase,
    /// The candidates as this agent sees them: anonymous id and answer, in its own order.
    pub candidates: Vec<(String, String)>,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RequestPhase {
    /// Answers and votes are being made.
    #[default]
    Coordination,
    /// The winner presents.
    Presentation,
}
