//! Patterns over arguments.

use globset::{Glob, GlobMatcher};
use mcp_core::JsonObject;
use serde_json::Value;

use super::Decision;

/// One argument by its dotted path, and the pattern its value must match.
#[derive(Debug, Clone)]
pub(super) struct Predicate {
    path: String,
    pattern: GlobMatcher,
}

impl Predicate {
    pub(super) fn new(path: &str, pattern: &str) -> Result<Self, globset::Error> {
        Ok(Self { path: path.to_owned(), pattern: Glob::new(pattern)?.compile_matcher() })
    }

    /// Whether the argument matches, read in the sense that is safe for the decision: what allows must hold for each
    /// value and each way to read it, what forbids need hold for one.
    pub(super) fn matches(&self, arguments: &JsonObject, decision: Decision) -> bool {
        let Some(value) = find(arguments, &self.path) else { return false };
        let mut values = Vec::new();
        collect(value, &mut values);
        let hit = |text: &String| {
            // `/srv/../etc/passwd` lies in `/etc`, whatever it begins with.
            let plain = without_dots(text);
            match decision {
                Decision::Allow => self.pattern.is_match(text) && self.pattern.is_match(&plain),
                Decision::Ask | Decision::Deny => {
                    self.pattern.is_match(text) || self.pattern.is_match(&plain)
                }
            }
        };
        match decision {
            Decision::Allow => !values.is_empty() && values.iter().all(hit),
            Decision::Ask | Decision::Deny => values.iter().any(hit),
        }
    }
}

/// The argument at `a.b.c`; a key that holds dots is found by its whole name first.
fn find<'a>(arguments: &'a JsonObject, path: &str) -> Option<&'a Value> {
    if let Some(value) = arguments.get(path) {
        return Some(value);
    }
    let (head, rest) = path.split_once('.')?;
    find(arguments.get(head)?.as_object()?, rest)
}

/// Every scalar inside a value, as text.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, into)),
        scalar => into.push(scalar.to_string()),
    }
}

/// The text as a path without `.` and `..`, resolved by its letters alone; both kinds of slash part it.
fn without_dots(text: &str) -> String {
    if !text.contains(['/', '\\']) {
        return text.to_owned();
    }
    let text = text.replace('\\', "/");
    let mut kept: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "." => {}
            ".." => {
                if kept.last().is_some_and(|last| !last.is_empty() && *last != "..") {
                    kept.pop();
                } else if kept.as_slice() != [""] {
                    kept.push("..");
                }
            }
            part => kept.push(part),
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn matches(pattern: &str, value: Value, decision: Decision) -> bool {
        let arguments = JsonObject::from_iter([("path".to_owned(), value)]);
        Predicate::new("path", pattern).unwrap().matches(&arguments, decision)
    }

    #[test]
    fn a_path_cannot_climb_out_of_what_is_allowed() {
        assert!(matches("/srv/**", json!("/srv/a/b.txt"), Decision::Allow));
        for climbing in ["/srv/../etc/passwd", "/srv/a/../../etc/passwd", "\\srv\\..\\etc", "/etc/passwd"] {
            assert!(!matches("/srv/**", json!(climbing), Decision::Allow), "{climbing}");
        }
        assert!(matches("/etc/**", json!("/srv/../etc/passwd"), Decision::Deny));
        assert!(
            matches("/etc/**", json!("/etc/x/../../srv/passwd"), Decision::Deny),
            "as it is written, too"
        );
    }

    #[test]
    fn all_values_must_be_allowed_and_one_is_enough_to_forbid() {
        let values = json!(["/srv/a", "/etc/passwd"]);
        assert!(!matches("/srv/*", values.clone(), Decision::Allow));
        assert!(matches("/etc/*", values, Decision::Deny));
        assert!(!matches("*", json!([]), Decision::Allow));
        assert!(matches("4?", json!(42), Decision::Ask));
    }

    #[test]
    fn nested_arguments_are_named_by_dots() {
        let arguments = json!({"a": {"b": "deep"}, "c.d": "flat"});
        let arguments = arguments.as_object().unwrap();
        let hit = |path, pattern| Predicate::new(path, pattern).unwrap().matches(arguments, Decision::Allow);
        assert!(hit("a.b", "deep") && hit("c.d", "flat"));
        assert!(!hit("a.x", "*") && !hit("x", "*"));
    }
}
