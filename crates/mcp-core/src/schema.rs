//! JSON Schemas as their servers wrote them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON Schema, kept as its text: thousands of listed tools take what their JSON takes, and not the many times more
/// that trees of values do. Clones share the text. Whoever needs the tree makes it, and lets it go again.
///
/// ```
/// use mcp_core::Schema;
/// use serde_json::json;
///
/// let schema: Schema = serde_json::from_str(r#"{"type": "object"}"#)?;
/// assert_eq!(schema.as_str(), r#"{"type": "object"}"#);
/// assert_eq!(schema.to_value()?, json!({"type": "object"}));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone)]
pub struct Schema(Arc<RawValue>);

impl Schema {
    /// The schema as JSON, with the blanks and the order of keys that its server chose.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The schema as a tree.
    ///
    /// # Errors
    ///
    /// The text is JSON, yet a server may write what no tree holds: nesting beyond 128 levels, half a surrogate pair, a
    /// number that no double is.
    pub fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::from_str(self.as_str())
    }

    /// Whether it is an object, which is what a tool's schema must be.
    pub fn is_object(&self) -> bool {
        self.as_str().starts_with('{')
    }

    /// Whether both are the same text in the same place: a cheap way to see that nothing changed.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Any object.
impl Default for Schema {
    fn default() -> Self {
        Self::from(serde_json::json!({"type": "object"}))
    }
}

impl From<Value> for Schema {
    fn from(schema: Value) -> Self {
        // A tree can always be written.
        let text = serde_json::value::to_raw_value(&schema).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self(text.into())
    }
}

/// The same text; two ways to write one schema differ.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.is_same(other) || self.as_str() == other.as_str()
    }
}

impl Eq for Schema {}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// By serde_json only.
impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_stays_as_it_was_written() {
        let text = r#"{ "type":"object", "properties": {"b": {}, "a": {"maximum": 1.0}} }"#;
        let schema: Schema = serde_json::from_str(text).unwrap();
        assert_eq!((schema.as_str(), schema.is_object()), (text, true));
        assert_eq!(serde_json::to_string(&schema).unwrap(), text);
        let value = schema.to_value().unwrap();
        assert_eq!(serde_json::to_value(&schema).unwrap(), value);
        // Out of a tree it comes without blanks.
        let again: Schema = serde_json::from_value(value.clone()).unwrap();
        assert!(again != schema && again == Schema::from(value));
        assert_eq!(Schema::default().to_value().unwrap(), json!({"type": "object"}));
    }

    #[test]
    fn what_no_tree_holds_is_an_error_and_overflows_nothing() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
        for text in [deep.as_str(), r#"{"a":"\ud800"}"#, r#"{"a":1e999}"#] {
            let schema: Schema = serde_json::from_str(text).unwrap();
            assert!(schema.to_value().is_err());
        }
        assert!(serde_json::from_str::<Schema>(r#"{"a":"#).is_err());
    }
}
