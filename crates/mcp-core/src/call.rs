//! A call on its way, and what comes back.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AgentId, Content, Envelope, JsonObject};

/// Names one call of one run, in events, audit and logs.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallId(Arc<str>);

impl CallId {
    /// Takes any text; a model's own call id will do.
    pub fn new(id: impl AsRef<str>) -> Self {
        Self(id.as_ref().into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A request to run a tool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ToolCall {
    /// Names this call.
    pub id: CallId,
    /// Who asks; `None` for a person or a program outside a team.
    pub caller: Option<AgentId>,
    /// The tool, by its exposed name ([`crate::ExposedName`]), as a model wrote it.
    pub tool: String,
    /// The arguments.
    pub arguments: JsonObject,
    /// When the caller stops waiting. Every layer takes the lesser of its own limit and what is left here.
    pub deadline: Option<Instant>,
}

impl ToolCall {
    /// A call by nobody in particular, without a deadline of its own.
    pub fn new(id: CallId, tool: impl Into<String>, arguments: JsonObject) -> Self {
        Self { id, caller: None, tool: tool.into(), arguments, deadline: None }
    }

    /// The same call, made by an agent.
    #[must_use]
    pub fn by(mut self, caller: AgentId) -> Self {
        self.caller = Some(caller);
        self
    }

    /// The same call with a deadline.
    #[must_use]
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// What a tool answered. A tool that ran and failed (`is_error`) is an answer too, not a [`crate::ToolError`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolOutput {
    /// The content blocks, in order.
    pub content: Vec<Content>,
    /// The structured result, where the tool gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// The tool ran and says that it failed.
    #[serde(default)]
    pub is_error: bool,
    /// What stands around it when a model reads it; `None`: nothing does. It is the host's word and no part of the answer.
    #[serde(skip)]
    pub envelope: Option<Envelope>,
}

impl ToolOutput {
    /// A successful answer of one text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::text(text)], ..Self::default() }
    }

    /// A failed answer of one text block.
    pub fn error(text: impl Into<String>) -> Self {
        Self { is_error: true, ..Self::text(text) }
    }

    /// An answer of blocks, with what else the tool said.
    pub fn new(content: Vec<Content>, structured: Option<Value>, is_error: bool) -> Self {
        Self { content, structured, is_error, envelope: None }
    }

    /// The answer as text for a model: blocks joined by newlines, else the structured result as JSON.
    pub fn to_text(&self) -> String {
        if self.content.is_empty() {
            return self.structured.as_ref().map(Value::to_string).unwrap_or_default();
        }
        self.content.iter().map(Content::to_text).collect::<Vec<_>>().join("\n")
    }
}
