use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

/// The shortest value that is taken for a secret. Anything shorter (`8080`, `true`) would tear holes into every text.
const SHORTEST: usize = 6;

/// What stands in a secret's place.
const MARK: &str = "[redacted]";

/// Takes registered values out of texts. Cheap to clone; clones share what is registered.
///
/// ```
/// let redactor = mcp_security::Redactor::default();
/// redactor.register("sk-live-123456");
/// assert_eq!(redactor.redact("refused: sk-live-123456"), "refused: [redacted]");
/// assert_eq!(format!("{redactor:?}"), "Redactor(1 values)");
/// ```
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Vec<String>>>);

impl Redactor {
    /// Registers a value. One of fewer than 6 bytes, blanks aside, is ignored: it would match by chance.
    pub fn register(&self, secret: impl AsRef<str>) {
        let secret = secret.as_ref().trim();
        if secret.len() < SHORTEST {
            return;
        }
        let mut secrets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let escaped = Value::from(secret).to_string();
        // Texts that are JSON spell a quote or a line break inside the value differently.
        let inside = escaped.get(1..escaped.len() - 1).unwrap_or(secret);
        for spelling in [secret, inside] {
            if !secrets.iter().any(|known| known == spelling) {
                secrets.push(spelling.to_owned());
            }
        }
        // The longest first, so that a secret which contains another leaves nothing behind.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// The text without the registered values; borrowed where there was none in it.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut text = Cow::Borrowed(text);
        for secret in secrets.iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), MARK));
            }
        }
        text
    }

    /// Takes the registered values out of every text inside a JSON value, keys included.
    pub fn redact_json(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Cow::Owned(clean) = self.redact(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_json(item)),
            Value::Object(fields) => {
                if fields.keys().any(|key| matches!(self.redact(key), Cow::Owned(_))) {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, value)| (self.redact(&key).into_owned(), value))
                        .collect();
                }
                fields.values_mut().for_each(|value| self.redact_json(value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "Redactor({values} values)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_goes_and_short_values_stay() {
        let redactor = Redactor::default();
        for secret in ["token-1234", "token-1234-longer", "line\nbreak\"", "8080", ""] {
            redactor.register(secret);
        }
        assert_eq!(
            redactor.redact("a token-1234-longer b token-1234 8080"),
            "a [redacted] b [redacted] 8080"
        );
        assert_eq!(redactor.redact(r#"{"k":"line\nbreak\""}"#), r#"{"k":"[redacted]"}"#);
        assert!(matches!(redactor.redact("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_is_cleaned_at_every_depth() {
        let redactor = Redactor::default();
        redactor.register("hunter2-hunter2");
        let mut value = json!({"a": ["x hunter2-hunter2", 1], "hunter2-hunter2": {"b": "hunter2-hunter2"}});
        redactor.redact_json(&mut value);
        assert_eq!(value, json!({"a": ["x [redacted]", 1], "[redacted]": {"b": "[redacted]"}}));
    }
}
