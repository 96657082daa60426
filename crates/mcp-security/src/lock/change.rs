//! The difference of two definitions, for people.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The longest piece of a text that is shown, in characters.
const SHOWN: usize = 400;

/// What differs, place by place. Its texts are escaped: nothing in it moves a cursor or hides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    places: Vec<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    path: String,
    before: Option<String>,
    after: Option<String>,
}

impl Change {
    /// Everything in which two values differ.
    pub(super) fn between(before: &Value, after: &Value) -> Self {
        let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
        flatten(String::new(), before, &mut old);
        flatten(String::new(), after, &mut new);
        let mut places = Vec::new();
        for (path, value) in &old {
            match new.get(path) {
                Some(other) if other == value => {}
                other => places.push(Place::new(path, Some(value), other.map(String::as_str))),
            }
        }
        for (path, value) in new.iter().filter(|(path, _)| !old.contains_key(*path)) {
            places.push(Place::new(path, None, Some(value)));
        }
        places.sort_by(|a, b| a.path.cmp(&b.path));
        Self { places }
    }

    /// Where something differs, such as `inputSchema.properties.path.type`.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.places.iter().map(|place| place.path.as_str())
    }

    pub(super) fn push(&mut self, path: &str, before: String, after: String) {
        self.places.push(Place { path: path.to_owned(), before: Some(before), after: Some(after) });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, place) in self.places.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&place.path)?;
            if let Some(before) = &place.before {
                write!(f, "\n  - {before}")?;
            }
            if let Some(after) = &place.after {
                write!(f, "\n  + {after}")?;
            }
        }
        Ok(())
    }
}

impl Place {
    fn new(path: &str, before: Option<&str>, after: Option<&str>) -> Self {
        let path = if path.is_empty() { "the whole".to_owned() } else { escaped(path) };
        let start = match (before, after) {
            (Some(before), Some(after)) => difference(before, after),
            _ => 0,
        };
        Self {
            path,
            before: before.map(|text| piece(text, start)),
            after: after.map(|text| piece(text, start)),
        }
    }
}

/// Where two texts begin to differ, in characters.
fn difference(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// A text, or what is around its difference where it is long.
fn piece(text: &str, difference: usize) -> String {
    let from = if text.chars().count() <= SHOWN { 0 } else { difference.saturating_sub(SHOWN / 4) };
    let rest: String = text.chars().skip(from).take(SHOWN).collect();
    let cut = text.chars().count() > from + SHOWN;
    format!("{}{}{}", if from > 0 { "…" } else { "" }, escaped(&rest), if cut { "…" } else { "" })
}

/// Without anything that does not show as itself.
fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\'' => vec![c],
            c => c.escape_debug().collect(),
        })
        .collect()
}

/// Every scalar by its path; empty lists and objects count as scalars.
fn flatten(path: String, value: &Value, into: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().for_each(|(name, value)| flatten(below(name), value, into));
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().for_each(|(at, value)| flatten(format!("{path}[{at}]"), value, into));
        }
        scalar => {
            into.insert(path, super::canonical_json(scalar));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_are_named_and_texts_escaped() {
        let before =
            json!({"description": "Reads.", "inputSchema": {"properties": {"a": {"type": "string"}}}});
        let after = json!({"description": "Reads.\u{1b}[2J\u{202e}", "inputSchema": {"properties": {
            "a": {"type": "string"}, "context": {"type": "string"}}}});
        let change = Change::between(&before, &after);
        assert_eq!(
            change.to_string(),
            "description\n  - \"Reads.\"\n  + \"Reads.\\\\u001b[2J\\u{202e}\"\n\
             inputSchema.properties.context.type\n  + \"string\""
        );
        assert!(Change::between(&before, &before).is_empty());
    }

    #[test]
    fn long_texts_are_cut_around_their_difference() {
        let long = "word ".repeat(1000);
        let change =
            Change::between(&json!(format!("{long}a{long}")), &json!(format!("{long}b{long}"))).to_string();
        assert!(change.len() < 1500 && change.contains("word a") && change.contains("word b"), "{change}");
    }
}
