//! Content blocks of a tool's result (MCP 2025-11-25, server/tools, "Tool Result").

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::JsonObject;

/// One block of content.
///
/// Blocks of an unknown type, and known ones that lack a field, are kept whole as [`Content::Unknown`]: one
/// odd block never costs a result.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Plain text.
    Text(String),
    /// An image, base64.
    Image {
        /// Base64 data.
        data: String,
        /// Such as `image/png`.
        mime_type: String,
    },
    /// Sound, base64.
    Audio {
        /// Base64 data.
        data: String,
        /// Such as `audio/wav`.
        mime_type: String,
    },
    /// A pointer to a resource that can be read from the server.
    ResourceLink {
        /// The resource's address.
        uri: String,
        /// Its name.
        name: String,
        /// What it is.
        description: Option<String>,
        /// Its type, such as `text/plain`.
        mime_type: Option<String>,
    },
    /// A resource, carried whole.
    Resource(EmbeddedResource),
    /// A block this version does not know, as the server sent it.
    Unknown(Value),
}

/// A resource inside a result.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddedResource {
    /// The resource's address.
    pub uri: String,
    /// Its type, such as `text/plain`.
    pub mime_type: Option<String>,
    /// What it holds.
    pub body: ResourceBody,
}

/// What an embedded resource holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Binary data, base64.
    Blob(String),
}

impl Content {
    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Reads a block as a server sends it. Never fails: what is not understood is kept.
    pub fn from_value(value: Value) -> Self {
        parse(&value).unwrap_or(Self::Unknown(value))
    }

    /// The block in the protocol's form.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Image { data, mime_type } => json!({"type": "image", "data": data, "mimeType": mime_type}),
            Self::Audio { data, mime_type } => json!({"type": "audio", "data": data, "mimeType": mime_type}),
            Self::ResourceLink { uri, name, description, mime_type } => {
                let mut link = json!({"type": "resource_link", "uri": uri, "name": name});
                insert(&mut link, "description", description.as_deref());
                insert(&mut link, "mimeType", mime_type.as_deref());
                link
            }
            Self::Resource(resource) => {
                let mut inner = json!({"uri": resource.uri});
                insert(&mut inner, "mimeType", resource.mime_type.as_deref());
                match &resource.body {
                    ResourceBody::Text(text) => insert(&mut inner, "text", Some(text)),
                    ResourceBody::Blob(blob) => insert(&mut inner, "blob", Some(blob)),
                }
                json!({"type": "resource", "resource": inner})
            }
            Self::Unknown(value) => value.clone(),
        }
    }

    /// The block as text for a model that reads only text: binary blocks become a one-line note.
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Image { data, mime_type } => {
                format!("[image {mime_type}, {} base64 characters]", data.len())
            }
            Self::Audio { data, mime_type } => {
                format!("[audio {mime_type}, {} base64 characters]", data.len())
            }
            Self::ResourceLink { uri, name, description, .. } => match description {
                Some(description) => format!("[resource {name} at {uri}: {description}]"),
                None => format!("[resource {name} at {uri}]"),
            },
            Self::Resource(resource) => match &resource.body {
                ResourceBody::Text(text) => text.clone(),
                ResourceBody::Blob(blob) => {
                    format!("[resource {}, {} base64 characters]", resource.uri, blob.len())
                }
            },
            Self::Unknown(value) => value.to_string(),
        }
    }
}

fn insert(object: &mut Value, key: &str, value: Option<&str>) {
    if let (Some(object), Some(value)) = (object.as_object_mut(), value) {
        object.insert(key.to_owned(), value.into());
    }
}

fn string(object: &JsonObject, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn parse(value: &Value) -> Option<Content> {
    let object = value.as_object()?;
    match object.get("type")?.as_str()? {
        "text" => string(object, "text").map(Content::Text),
        "image" => {
            Some(Content::Image { data: string(object, "data")?, mime_type: string(object, "mimeType")? })
        }
        "audio" => {
            Some(Content::Audio { data: string(object, "data")?, mime_type: string(object, "mimeType")? })
        }
        "resource_link" => Some(Content::ResourceLink {
            uri: string(object, "uri")?,
            name: string(object, "name")?,
            description: string(object, "description"),
            mime_type: string(object, "mimeType"),
        }),
        "resource" => {
            let inner = object.get("resource")?.as_object()?;
            let body = match string(inner, "text") {
                Some(text) => ResourceBody::Text(text),
                None => ResourceBody::Blob(string(inner, "blob")?),
            };
            Some(Content::Resource(EmbeddedResource {
                uri: string(inner, "uri")?,
                mime_type: string(inner, "mimeType"),
                body,
            }))
        }
        _ => None,
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_value().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_block_survives_the_round_trip() {
        for block in [
            json!({"type": "text", "text": "hello"}),
            json!({"type": "image", "data": "aGk=", "mimeType": "image/png"}),
            json!({"type": "audio", "data": "aGk=", "mimeType": "audio/wav"}),
            json!({"type": "resource_link", "uri": "file:///a", "name": "a", "mimeType": "text/plain"}),
            json!({"type": "resource", "resource": {"uri": "file:///a", "text": "body"}}),
            json!({"type": "resource", "resource": {"uri": "file:///a", "blob": "aGk="}}),
        ] {
            let content = Content::from_value(block.clone());
            assert!(!matches!(content, Content::Unknown(_)), "{block}");
            assert_eq!(content.to_value(), block);
        }
    }

    #[test]
    fn odd_blocks_are_kept_whole() {
        for block in
            [json!({"type": "hologram", "x": 1}), json!({"type": "text"}), json!(7), json!({"type": 3})]
        {
            assert_eq!(Content::from_value(block.clone()), Content::Unknown(block.clone()));
            assert_eq!(Content::from_value(block.clone()).to_value(), block);
        }
    }
}
