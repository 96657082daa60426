//! What a server has besides tools: resources, prompts, and proposals for their arguments.

use mcp_core::{Content, EmbeddedResource, JsonObject, ResourceBody};
use serde_json::Value;

use crate::options::DroppedTool;

/// A list as a server gives it, all pages.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Listing<T> {
    /// The items, in the server's order.
    pub items: Vec<T>,
    /// The items that are not valid.
    pub dropped: Vec<DroppedTool>,
    /// Why the list ends early, where it does: pages without end, or the same page over and over.
    pub truncated: Option<String>,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Self { items: Vec::new(), dropped: Vec::new(), truncated: None }
    }
}

/// Something that can be read from the server (MCP server/resources).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resource {
    /// Its address.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Its type, such as `text/plain`.
    pub mime_type: Option<String>,
    /// Its size in bytes.
    pub size: Option<u64>,
}

/// A pattern of addresses of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResourceTemplate {
    /// The pattern (RFC 6570).
    pub uri_template: String,
    /// Its name.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The type of what it leads to.
    pub mime_type: Option<String>,
}

/// A text with gaps that the server fills in (MCP server/prompts).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// Its name.
    pub name: String,
    /// A title for people.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Its gaps.
    pub arguments: Vec<PromptArgument>,
}

/// One gap of a [`Prompt`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// What goes there.
    pub description: Option<String>,
    /// Whether it must be filled.
    pub required: bool,
}

/// A prompt that was filled in.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct PromptText {
    /// What it is for.
    pub description: Option<String>,
    /// The messages to begin a conversation with.
    pub messages: Vec<PromptMessage>,
}

/// One message of a [`PromptText`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PromptMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: Content,
}

/// What proposals are wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompletionTarget {
    /// An argument of the prompt with this name.
    Prompt(String),
    /// A variable of the resource template with this pattern.
    ResourceTemplate(String),
}

/// Proposals for a value that is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// The proposals, best first.
    pub values: Vec<String>,
    /// How many there are in all, where the server says.
    pub total: Option<u64>,
    /// Whether there are more than these.
    pub has_more: bool,
}

/// An item of a list, from JSON.
pub(crate) trait Item: Sized {
    /// What is wrong with it is said in words.
    fn read(item: &mut JsonObject) -> Result<Self, &'static str>;
}

fn text(object: &mut JsonObject, key: &str) -> Option<String> {
    match object.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    }
}

impl Item for Resource {
    fn read(item: &mut JsonObject) -> Result<Self, &'static str> {
        let uri = text(item, "uri").ok_or("it has no uri")?;
        Ok(Self {
            name: text(item, "name").unwrap_or_else(|| uri.clone()),
            uri,
            title: text(item, "title"),
            description: text(item, "description"),
            mime_type: text(item, "mimeType"),
            size: item.get("size").and_then(Value::as_u64),
        })
    }
}

impl Item for ResourceTemplate {
    fn read(item: &mut JsonObject) -> Result<Self, &'static str> {
        let uri_template = text(item, "uriTemplate").ok_or("it has no uriTemplate")?;
        Ok(Self {
            name: text(item, "name").unwrap_or_else(|| uri_template.clone()),
            uri_template,
            title: text(item, "title"),
            description: text(item, "description"),
            mime_type: text(item, "mimeType"),
        })
    }
}

impl Item for Prompt {
    fn read(item: &mut JsonObject) -> Result<Self, &'static str> {
        let arguments = match item.remove("arguments") {
            Some(Value::Array(arguments)) => arguments,
            _ => Vec::new(),
        };
        let arguments = arguments.into_iter().filter_map(|argument| {
            let Value::Object(mut argument) = argument else { return None };
            Some(PromptArgument {
                name: text(&mut argument, "name")?,
                description: text(&mut argument, "description"),
                required: argument.get("required").and_then(Value::as_bool).unwrap_or(false),
            })
        });
        Ok(Self {
            name: text(item, "name").ok_or("it has no name")?,
            title: text(item, "title"),
            description: text(item, "description"),
            arguments: arguments.collect(),
        })
    }
}

/// The contents of a resource; `None` where the result has none.
pub(crate) fn contents(result: &mut Value) -> Option<Vec<EmbeddedResource>> {
    let Value::Array(parts) = result.get_mut("contents")?.take() else { return None };
    let read = parts.into_iter().filter_map(|part| {
        let Value::Object(mut part) = part else { return None };
        let body = match text(&mut part, "text") {
            Some(text) => ResourceBody::Text(text),
            None => ResourceBody::Blob(text(&mut part, "blob")?),
        };
        let uri = text(&mut part, "uri").unwrap_or_default();
        Some(EmbeddedResource { uri, mime_type: text(&mut part, "mimeType"), body })
    });
    Some(read.collect())
}

/// A prompt that was filled in; `None` where the result has no messages.
pub(crate) fn prompt_text(result: &mut Value) -> Option<PromptText> {
    let Value::Array(messages) = result.get_mut("messages")?.take() else { return None };
    let messages = messages.into_iter().filter_map(|message| {
        let Value::Object(mut message) = message else { return None };
        let role = text(&mut message, "role").unwrap_or_else(|| "user".to_owned());
        Some(PromptMessage { role, content: Content::from_value(message.remove("content")?) })
    });
    let messages = messages.collect();
    Some(PromptText { description: result["description"].as_str().map(str::to_owned), messages })
}

/// Proposals; `None` where the result has none.
pub(crate) fn completion(result: &Value) -> Option<Completion> {
    let completion = result.get("completion")?;
    let values = completion.get("values")?.as_array()?;
    Some(Completion {
        values: values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        total: completion["total"].as_u64(),
        has_more: completion["hasMore"].as_bool().unwrap_or(false),
    })
}
