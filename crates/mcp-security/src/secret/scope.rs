//! Whose secret is whose.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aho_corasick::AhoCorasick;
use mcp_core::{JsonObject, ServerName};
use serde_json::Value;

use super::spell::encodings;

/// The shortest value that is looked for: shorter ones are met by chance.
const SHORTEST: usize = 8;
/// The shortest piece of a value that is looked for.
const SHORTEST_PIECE: usize = 12;

/// Knows which server a secret belongs to, and finds it on its way to another one: as it is, in halves, and as base64,
/// hexadecimal, percent-encoded or JSON text. Cheap to clone; clones share what is registered.
///
/// ```
/// use mcp_core::ServerName;
/// use mcp_security::Scopes;
///
/// let (tracker, notes) = (ServerName::new("tracker")?, ServerName::new("notes")?);
/// let scopes = Scopes::default();
/// scopes.register(&tracker, "TRACKER_TOKEN", "tok-very-secret-value");
///
/// let text = serde_json::json!({"text": "dG9rLXZlcnktc2VjcmV0LXZhbHVl"});
/// assert!(scopes.foreign(&tracker, &text).is_none());
/// assert_eq!(scopes.foreign(&notes, &text).unwrap().to_string(), "TRACKER_TOKEN of server tracker");
/// # Ok::<(), mcp_core::NameError>(())
/// ```
#[derive(Clone, Default)]
pub struct Scopes(Arc<RwLock<Table>>);

#[derive(Default)]
struct Table {
    secrets: Vec<Scoped>,
    /// Every spelling of every secret, and the place of that secret in `secrets`.
    spellings: Vec<(String, usize)>,
    /// Made when the first value comes: many secrets are registered one by one before.
    finder: OnceLock<Option<AhoCorasick>>,
}

struct Scoped {
    value: String,
    label: String,
    owners: BTreeSet<ServerName>,
}

/// A secret that was found where it does not belong. Its value is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The name of the variable or header that holds it.
    pub label: String,
    /// Whose it is.
    pub owner: ServerName,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of server {}", self.label, self.owner)
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secrets = self.0.read().unwrap_or_else(PoisonError::into_inner).secrets.len();
        write!(f, "Scopes({secrets} secrets)")
    }
}

impl Scopes {
    /// Registers a server's secret; `label` names it for people. One that several servers have belongs to each of
    /// them. A value of fewer than 8 bytes is ignored: it would be met by chance.
    pub fn register(&self, owner: &ServerName, label: &str, secret: &str) {
        let secret = secret.trim();
        if secret.len() < SHORTEST {
            return;
        }
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = table.secrets.iter_mut().find(|known| known.value == secret) {
            known.owners.insert(owner.clone());
            return;
        }
        let at = table.secrets.len();
        table.secrets.push(Scoped {
            value: secret.to_owned(),
            label: label.to_owned(),
            owners: BTreeSet::from([owner.clone()]),
        });
        table.spellings.extend(spellings(secret).into_iter().map(|spelling| (spelling, at)));
        table.finder = OnceLock::new();
    }

    /// The first secret in a value that does not belong to this server.
    pub fn foreign(&self, server: &ServerName, value: &Value) -> Option<Foreign> {
        self.search(server, |table| table.search(server, value))
    }

    /// The same for the arguments of a call.
    pub fn foreign_in(&self, server: &ServerName, arguments: &JsonObject) -> Option<Foreign> {
        self.search(server, |table| table.search_fields(server, arguments))
    }

    /// Nothing is looked at where every secret is this server's own.
    fn search(&self, server: &ServerName, by: impl FnOnce(&Table) -> Option<Foreign>) -> Option<Foreign> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if table.secrets.iter().all(|secret| secret.owners.contains(server)) {
            return None;
        }
        by(&table)
    }
}

impl Table {
    fn search(&self, server: &ServerName, value: &Value) -> Option<Foreign> {
        match value {
            Value::String(text) => self.search_text(server, text),
            Value::Array(items) => items.iter().find_map(|item| self.search(server, item)),
            Value::Object(fields) => self.search_fields(server, fields),
            Value::Number(number) => self.search_text(server, &number.to_string()),
            Value::Null | Value::Bool(_) => None,
        }
    }

    fn search_fields(&self, server: &ServerName, fields: &JsonObject) -> Option<Foreign> {
        fields
            .iter()
            .find_map(|(key, value)| self.search_text(server, key).or_else(|| self.search(server, value)))
    }

    fn search_text(&self, server: &ServerName, text: &str) -> Option<Foreign> {
        self.find(server, text)
            .or_else(|| text.contains('%').then(|| self.find(server, &percent_decoded(text))).flatten())
            .or_else(|| {
                // Encoders break long lines.
                let joined = text
                    .contains(['\n', '\r', ' ', '\t'])
                    .then(|| text.split_whitespace().collect::<String>());
                joined.and_then(|joined| self.find(server, &joined))
            })
    }

    fn find(&self, server: &ServerName, text: &str) -> Option<Foreign> {
        // Without a finder nothing is found; it fails beyond gigabytes of spellings only.
        let make = || AhoCorasick::new(self.spellings.iter().map(|(spelling, _)| spelling)).ok();
        let finder = self.finder.get_or_init(make).as_ref()?;
        finder.find_overlapping_iter(text).find_map(|found| {
            let (_, at) = self.spellings.get(found.pattern().as_usize())?;
            let secret = self.secrets.get(*at)?;
            let owner = secret.owners.first()?;
            (!secret.owners.contains(server))
                .then(|| Foreign { label: secret.label.clone(), owner: owner.clone() })
        })
    }
}

/// Every way to write a secret that is looked for.
fn spellings(secret: &str) -> BTreeSet<String> {
    let mut all = encodings(secret);
    if secret.len() >= 2 * SHORTEST_PIECE {
        let middle = (secret.len() / 2..=secret.len()).find(|at| secret.is_char_boundary(*at));
        let (head, tail) = secret.split_at(middle.unwrap_or(secret.len()));
        all.extend([head, tail].into_iter().filter(|piece| piece.len() >= SHORTEST_PIECE).map(str::to_owned));
    }
    all.retain(|spelling| spelling.len() >= SHORTEST);
    all
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits are a byte.
                decoded.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::spell::{STANDARD, base64_inside};
    use super::*;

    const SECRET: &str = "BSA-4f9c/21+aa\"77~key";

    fn server(name: &str) -> ServerName {
        ServerName::new(name).unwrap()
    }

    fn scopes() -> Scopes {
        let scopes = Scopes::default();
        scopes.register(&server("brave"), "BRAVE_API_KEY", SECRET);
        scopes.register(&server("other"), "OTHER", "another-secret-of-length");
        scopes
    }

    fn found(text: &str) -> bool {
        let inside = json!({"body": [{"text": text}]});
        assert!(scopes().foreign(&server("brave"), &inside).is_none(), "its own server may have it: {text}");
        scopes().foreign(&server("github"), &inside).is_some()
    }

    fn base64(text: &str) -> String {
        let mut padded = base64_inside(text.as_bytes(), 0, STANDARD);
        // The rest of an encoder: what is left over, filled with zeros.
        if !(text.len() * 8).is_multiple_of(6) {
            padded.push('A');
        }
        padded
    }

    #[test]
    fn a_secret_is_found_in_every_spelling_and_place() {
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
        let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for text in [SECRET.to_owned(), hex.to_lowercase(), hex, percent, json!({ "k": SECRET }).to_string()]
        {
            assert!(found(&format!("look: {text}!")), "{text}");
        }
        for prefix in ["", "a", "ab", "abc", "key=", "Bearer "] {
            let text = base64(&format!("{prefix}{SECRET} and so on"));
            assert!(found(&text), "{prefix:?} {text}");
            let (head, tail) = text.split_at(10);
            assert!(found(&format!("{head}\n{tail}")), "broken over lines");
        }
        assert!(scopes().foreign(&server("x"), &json!({ SECRET: 1 })).is_some(), "as a key");
    }

    #[test]
    fn halves_are_found_and_harmless_text_is_not() {
        assert!(scopes().foreign(&server("x"), &json!({"a": "another-secr", "b": "et-of-length"})).is_some());
        for text in ["another secret", "BSA-4f9c", "hello", ""] {
            assert!(!found(text), "{text}");
        }
        let scopes = Scopes::default();
        scopes.register(&server("s"), "PORT", "8080");
        assert!(scopes.foreign(&server("x"), &json!("8080")).is_none());
    }

    #[test]
    fn what_is_shared_belongs_to_both() {
        let scopes = scopes();
        scopes.register(&server("search"), "KEY", SECRET);
        assert!(scopes.foreign(&server("search"), &json!(SECRET)).is_none());
        let foreign = scopes.foreign(&server("x"), &json!(SECRET)).unwrap();
        assert_eq!(foreign.to_string(), "BRAVE_API_KEY of server brave");
        assert!(!format!("{scopes:?} {foreign:?}").contains("4f9c"));
    }
}
