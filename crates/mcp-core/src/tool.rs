//! What a server says about a tool.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Schema, ServerName, ToolName};

/// Hints a server gives about a tool (MCP 2025-03-26, `ToolAnnotations`).
///
/// They come from a server that may lie, and are absent by default; the accessors answer with the
/// specification's defaults, so absent means "changes the world" and "not safe to repeat".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Annotations {
    /// A title for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The tool does not change its environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_only_hint: Option<bool>,
    /// The tool may delete or overwrite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destructive_hint: Option<bool>,
    /// Calling twice with the same arguments has the effect of calling once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotent_hint: Option<bool>,
    /// The tool reaches beyond a closed set of things, such as the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_world_hint: Option<bool>,
}

impl Annotations {
    /// Whether the tool claims to leave the world as it is. Absent: no.
    pub fn is_read_only(&self) -> bool {
        self.read_only_hint.unwrap_or(false)
    }

    /// Whether the tool may delete or overwrite. Absent: yes, unless it is read-only.
    pub fn is_destructive(&self) -> bool {
        !self.is_read_only() && self.destructive_hint.unwrap_or(true)
    }

    /// Whether a second call with the same arguments changes nothing more. Absent: no, unless it is read-only.
    pub fn is_idempotent(&self) -> bool {
        self.is_read_only() || self.idempotent_hint.unwrap_or(false)
    }

    /// Whether the tool reaches an open set of things. Absent: yes.
    pub fn is_open_world(&self) -> bool {
        self.open_world_hint.unwrap_or(true)
    }
}

/// One tool of one server. Cheap to clone: the schemas are shared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ToolSpec {
    /// The server that offers it.
    pub server: ServerName,
    /// Its name on that server.
    pub name: ToolName,
    /// A title for people.
    pub title: Option<String>,
    /// What the server says it does.
    pub description: Option<String>,
    /// JSON Schema of the arguments; the default accepts any object.
    pub input_schema: Schema,
    /// JSON Schema of the structured result, where there is one.
    pub output_schema: Option<Schema>,
    /// The server's hints.
    pub annotations: Annotations,
}

impl ToolSpec {
    /// A tool that takes any object; fill in the rest by the `with_` methods or the fields.
    pub fn new(server: ServerName, name: ToolName) -> Self {
        Self {
            server,
            name,
            title: None,
            description: None,
            input_schema: Schema::default(),
            output_schema: None,
            annotations: Annotations::default(),
        }
    }

    /// Whether another tool is the same but for its server.
    pub fn says_the_same(&self, other: &Self) -> bool {
        // A new field has to be named here.
        let Self { server: _, name, title, description, input_schema, output_schema, annotations } = self;
        *name == other.name
            && *title == other.title
            && *description == other.description
            && *input_schema == other.input_schema
            && *output_schema == other.output_schema
            && *annotations == other.annotations
    }

    /// The same tool with a description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// The same tool with a JSON Schema for its arguments.
    #[must_use]
    pub fn with_input_schema(mut self, schema: Value) -> Self {
        self.input_schema = schema.into();
        self
    }

    /// The same tool with a JSON Schema for its structured result.
    #[must_use]
    pub fn with_output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema.into());
        self
    }

    /// The same tool with other hints.
    #[must_use]
    pub fn with_annotations(mut self, annotations: Annotations) -> Self {
        self.annotations = annotations;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_hints_mean_the_worst() {
        let none = Annotations::default();
        assert!(
            !none.is_read_only() && none.is_destructive() && !none.is_idempotent() && none.is_open_world()
        );
    }

    #[test]
    fn a_read_only_tool_destroys_nothing_and_may_be_repeated() {
        let hints =
            Annotations { read_only_hint: Some(true), destructive_hint: Some(true), ..Default::default() };
        assert!(!hints.is_destructive() && hints.is_idempotent());
    }
}
