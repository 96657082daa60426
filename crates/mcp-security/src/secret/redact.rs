use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use serde_json::Value;

use super::spell::encodings;

/// The shortest value that is taken for a secret. Anything shorter (`8080`, `true`) would tear holes into every text.
const SHORTEST: usize = 6;

/// What stands in a secret's place.
const MARK: &str = "[redacted]";

/// Takes registered values out of texts: as they are, in JSON, as hexadecimal, percent-encoded, and inside base64. Cheap to
/// clone; clones share what is registered.
///
/// ```
/// let redactor = mcp_security::Redactor::default();
/// redactor.register("sk-live-123456");
/// assert_eq!(redactor.redact("refused: sk-live-123456"), "refused: [redacted]");
/// assert_eq!(redactor.redact("refused: c2stbGl2ZS0xMjM0NTY="), "refused: [redacted]=");
/// assert_eq!(format!("{redactor:?}"), "Redactor(1 values)");
/// ```
#[derive(Clone, Default)]
pub struct Redactor(Arc<RwLock<Registered>>);

#[derive(Default)]
struct Registered {
    /// With their names, where they have one.
    values: BTreeMap<String, Option<String>>,
    /// With the value that each is one of.
    spellings: BTreeMap<String, String>,
    /// Made when the first text comes: many values are registered one by one before. `None`: nothing can be found.
    finder: OnceLock<Option<AhoCorasick>>,
}

impl Registered {
    fn finder(&self) -> Option<&AhoCorasick> {
        let make = || {
            // Without a finder nothing is found; it fails beyond gigabytes of spellings only.
            let kind = Some(AhoCorasickKind::ContiguousNFA);
            (!self.spellings.is_empty())
                .then(|| AhoCorasick::builder().kind(kind).build(self.spellings.keys()).ok())
                .flatten()
        };
        self.finder.get_or_init(make).as_ref()
    }

    /// The name of the value whose spelling was found; the finder has them in the order in which they stand here.
    fn name(&self, pattern: usize) -> Option<&str> {
        let value = self.spellings.values().nth(pattern)?;
        self.values.get(value)?.as_deref()
    }
}

impl Redactor {
    /// Registers a value. One of fewer than 6 bytes, blanks aside, is ignored: it would match by chance.
    pub fn register(&self, secret: impl AsRef<str>) {
        let secret = secret.as_ref().trim();
        if secret.len() < SHORTEST {
            return;
        }
        self.add(None, secret);
    }

    /// The same with a name for people, such as that of the variable which holds it: [`Redactor::redact_naming`] says by it
    /// what was found. The first name of a value is the one it keeps.
    pub fn register_as(&self, name: &str, secret: impl AsRef<str>) {
        let secret = secret.as_ref().trim();
        if secret.len() >= SHORTEST {
            self.add(Some(name), secret);
        }
    }

    fn add(&self, name: Option<&str>, secret: &str) {
        let mut registered = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = registered.values.get_mut(secret) {
            if known.is_none() {
                *known = name.map(str::to_owned);
            }
            return;
        }
        registered.values.insert(secret.to_owned(), name.map(str::to_owned));
        let spellings = encodings(secret).into_iter().filter(|spelling| spelling.len() >= SHORTEST);
        registered.spellings.extend(spellings.map(|spelling| (spelling, secret.to_owned())));
        registered.finder = OnceLock::new();
    }

    /// The text without the registered values; borrowed where there was none in it.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.take_out(text, None)
    }

    /// As [`Redactor::redact`], and adds the names of what was found, where it has names ([`Redactor::register_as`]).
    pub fn redact_naming<'a>(&self, text: &'a str, names: &mut BTreeSet<String>) -> Cow<'a, str> {
        self.take_out(text, Some(names))
    }

    fn take_out<'a>(&self, text: &'a str, mut names: Option<&mut BTreeSet<String>>) -> Cow<'a, str> {
        let registered = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(finder) = registered.finder().filter(|finder| finder.is_match(text)) else {
            return Cow::Borrowed(text);
        };
        // Values may overlap: whatever any of them covers goes.
        let mut covered: Vec<(usize, usize)> = Vec::new();
        for found in finder.find_overlapping_iter(text) {
            if let Some(names) = &mut names
                && let Some(name) = registered.name(found.pattern().as_usize())
            {
                names.insert(name.to_owned());
            }
            let mut start = found.start();
            while let Some((begun, _)) = covered.pop_if(|(_, end)| *end > start) {
                start = start.min(begun);
            }
            covered.push((start, found.end()));
        }
        let mut clean = String::with_capacity(text.len());
        let mut kept = 0;
        for (start, end) in covered {
            clean.push_str(&text[kept..start]);
            clean.push_str(MARK);
            kept = end;
        }
        clean.push_str(&text[kept..]);
        Cow::Owned(clean)
    }

    /// Takes the registered values out of every text inside a JSON value, keys included. True: there was one.
    pub fn redact_json(&self, value: &mut Value) -> bool {
        self.redact_json_naming(value, &mut BTreeSet::new())
    }

    /// As [`Redactor::redact_json`], and adds the names of what was found, where it has names.
    pub fn redact_json_naming(&self, value: &mut Value, names: &mut BTreeSet<String>) -> bool {
        match value {
            Value::String(text) => match self.redact_naming(text, names) {
                Cow::Owned(clean) => {
                    *text = clean;
                    true
                }
                Cow::Borrowed(_) => false,
            },
            Value::Array(items) => {
                items.iter_mut().fold(false, |any, item| self.redact_json_naming(item, names) | any)
            }
            Value::Object(fields) => {
                let mut any = fields.keys().any(|key| matches!(self.redact(key), Cow::Owned(_)));
                if any {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, value)| (self.redact_naming(&key, names).into_owned(), value))
                        .collect();
                }
                for value in fields.values_mut() {
                    any |= self.redact_json_naming(value, names);
                }
                any
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner).values.len();
        write!(f, "Redactor({values} values)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The base64 of some bytes, by the letters of RFC 4648.
    fn base64(bytes: &[u8], [last, last_but_one]: [char; 2]) -> String {
        let letter = |index: u32| match index {
            0..26 => char::from(b'A' + index as u8),
            26..52 => char::from(b'a' + (index - 26) as u8),
            52..62 => char::from(b'0' + (index - 52) as u8),
            62 => last_but_one,
            _ => last,
        };
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
            text.extend((0..=group.len()).map(|at| letter(bits >> (18 - 6 * at) & 63)));
            text.extend(std::iter::repeat_n('=', 3 - group.len()));
        }
        text
    }

    fn percent(text: &str, keeps: impl Fn(u8) -> bool, spelt: impl Fn(u8) -> String) -> String {
        text.bytes()
            .map(|byte| if keeps(byte) { char::from(byte).to_string() } else { spelt(byte) })
            .collect()
    }

    proptest! {
        /// Whatever the secret, whatever stands around it, however it is written: all that is left of it is shorter than what
        /// four letters of base64 say.
        #[test]
        fn no_spelling_of_a_secret_is_left(
            secret in "[!-~]([ -~é\"\\\\]{4,40})[!-~]", before in "[ -~]{0,7}", after in "[ -~]{0,7}",
        ) {
            let redactor = Redactor::default();
            redactor.register(&secret);
            let spelt = |spelling: &str| redactor.redact(&format!("{before}{spelling}{after}")).into_owned();
            let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let json = Value::from(secret.as_str()).to_string();
            let alone = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            let (upper, lower) = (|byte: u8| format!("%{byte:02X}"), |byte: u8| format!("%{byte:02x}"));
            let inside = &json[1..json.len() - 1];
            for spelling in [
                secret.clone(),
                hex.to_uppercase(),
                hex,
                inside.to_owned(),
                inside.replace('é', "\\u00e9"),
                percent(&secret, alone, upper),
                percent(&secret, alone, lower),
                percent(&secret, alone, upper).replace("%20", "+"),
                percent(&secret, |_| false, upper),
            ] {
                prop_assert!(!spelt(&spelling).contains(&spelling), "{spelling:?}: {}", spelt(&spelling));
            }
            let whole = format!("{before}{secret}{after}");
            for letters in [['/', '+'], ['_', '-']] {
                let clean = redactor.redact(&base64(whole.as_bytes(), letters)).into_owned();
                let begins = before.len() * 4 / 3 + 1;
                let left = clean.len() - MARK.len();
                prop_assert!(clean.contains(MARK), "{clean}");
                // Beside what belongs to the text around, one letter on each side may hold bits of the secret.
                prop_assert!(left <= begins + after.len() * 4 / 3 + 6, "{clean}");
            }
        }

        /// What no registered value is in stays as it is.
        #[test]
        fn a_text_without_a_secret_stays(text in "[a-z ]{0,60}") {
            let redactor = Redactor::default();
            redactor.register("Q9-zzzz-8811");
            prop_assert!(matches!(redactor.redact(&text), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn values_that_overlap_go_whole() {
        let redactor = Redactor::default();
        for secret in ["abcdef-1", "def-12345", "12345678"] {
            redactor.register(secret);
        }
        assert_eq!(
            redactor.redact("x abcdef-12345678 y abcdef-1def-12345 z"),
            "x [redacted] y [redacted][redacted] z"
        );
    }

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
    fn what_was_found_is_told_by_its_name() {
        let redactor = Redactor::default();
        redactor.register("nameless-1234");
        redactor.register_as("TOKEN", "token-1234");
        redactor.register_as("KEY", "named-later-1234");
        redactor.register("token-1234");
        redactor.register_as("OTHER", "token-1234");
        redactor.register("named-later-1234");
        let named = |text: &str| {
            let mut names = BTreeSet::new();
            let clean = redactor.redact_naming(text, &mut names);
            assert!(!clean.contains("1234"), "{clean}");
            names.into_iter().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named("a token-1234 and dG9rZW4tMTIzNA=="), "TOKEN");
        assert_eq!(named("nameless-1234"), "");
        assert_eq!(named("named-later-1234 token-1234"), "KEY TOKEN");
        let (mut value, mut names) = (json!({"a": [{"token-1234": 1}]}), BTreeSet::new());
        assert!(redactor.redact_json_naming(&mut value, &mut names));
        assert_eq!(names, BTreeSet::from(["TOKEN".to_owned()]));
    }

    #[test]
    fn json_is_cleaned_at_every_depth() {
        let redactor = Redactor::default();
        redactor.register("hunter2-hunter2");
        let mut value = json!({"a": ["x hunter2-hunter2", 1], "hunter2-hunter2": {"b": "hunter2-hunter2"}});
        assert!(redactor.redact_json(&mut value));
        assert_eq!(value, json!({"a": ["x [redacted]", 1], "[redacted]": {"b": "[redacted]"}}));
        assert!(!redactor.redact_json(&mut value));
    }
}
