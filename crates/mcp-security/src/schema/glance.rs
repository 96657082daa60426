//! Schemas that are seen to be harmless without a tree of them being made: most are, and there may be thousands.

use crate::limits;

/// Keywords whose values are counts.
pub(super) const COUNTS: &[&str] = &[
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minContains",
    "maxContains",
];

/// What is known at a place between two strings.
#[derive(Clone, Copy, PartialEq)]
enum Next<'t> {
    Value(u8, &'t str),
    /// The string that follows.
    Text,
}

/// All strings of the schema, keys included, if there is beyond doubt nothing in it that [`super::judge`] could object to,
/// and it can be read. `None`: it takes the judgement. The text is JSON.
pub(crate) fn strings(schema: &str) -> Option<Vec<&str>> {
    // Within these no other limit can be passed.
    if schema.len() > limits::SCHEMA_VALUE_BYTES || !schema.starts_with('{') {
        return None;
    }
    let mut strings = Vec::with_capacity(schema.len() / 16);
    let mut between = Between::default();
    let mut rest = schema;
    // A string, if it is a key; what stands behind it tells.
    let mut key: Option<(&str, usize)> = None;
    loop {
        let opens = between.follow(rest.as_bytes())?;
        let (before, after) = rest.split_at_checked(opens)?;
        let text = match after.strip_prefix('"') {
            Some(after) => {
                let end = end_of_string(after.as_bytes())?;
                rest = after.get(end + 1..)?;
                Some(after.get(..end)?)
            }
            None => None,
        };
        if let Some((key, depth)) = key
            && let Some(value) = before.trim_ascii_start().strip_prefix(':')
        {
            let value = value.trim_ascii_start();
            let next = value.bytes().next().map_or(Next::Text, |first| Next::Value(first, value));
            if !is_harmless(key, next, depth, text.unwrap_or_default()) {
                return None;
            }
        }
        let Some(text) = text else { return Some(strings) };
        strings.push(text);
        key = Some((text, between.depth));
    }
}

/// Without escapes a string is what stands between quotation marks.
fn end_of_string(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' '))?;
    (text.get(end) == Some(&b'"')).then_some(end)
}

/// What stands between strings: brackets, numbers, words.
#[derive(Default)]
struct Between {
    depth: usize,
    commas: usize,
}

impl Between {
    /// Goes on to the next quotation mark, or to the end. `None`: it is too deep, or has too many values, or a number that
    /// may be none.
    fn follow(&mut self, text: &[u8]) -> Option<usize> {
        let mut before = 0;
        for (at, byte) in text.iter().enumerate() {
            match byte {
                b'"' => return Some(at),
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.checked_sub(1)?,
                b',' => self.commas += 1,
                b'e' | b'E' if before == b'.' || before.is_ascii_digit() => return None,
                _ => {}
            }
            if self.depth >= limits::SCHEMA_DEPTH || self.commas >= limits::SCHEMA_ENUM || at > 200 {
                return None;
            }
            before = *byte;
        }
        Some(text.len())
    }
}

fn is_harmless(key: &str, next: Next<'_>, depth: usize, following: &str) -> bool {
    let object = matches!(next, Next::Value(b'{', _));
    match key {
        "$ref" | "$dynamicRef" | "$recursiveRef" | "$id" | "x-mcp-header" | "patternProperties" => false,
        "$schema" => {
            next == Next::Text
                && matches!(
                    following,
                    "http://json-schema.org/draft-07/schema#"
                        | "https://json-schema.org/draft/2020-12/schema"
                )
        }
        "type" if depth == 1 => next == Next::Text && following == "object",
        "pattern" => next != Next::Text || super::is_small(following),
        "properties" | "$defs" | "definitions" => object,
        "required" => object || matches!(next, Next::Value(b'[', _)),
        key if COUNTS.contains(&key) => {
            object
                || matches!(next, Next::Value(_, value) if {
                    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
                    (1..=15).contains(&digits)
                        && matches!(value.as_bytes().get(digits), Some(b',' | b'}' | b' ' | b'\n'))
                })
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use crate::Verdict;
    use crate::schema::judge;

    /// Strings in the order in which they are written.
    fn of_tree<'a>(value: &'a Value, out: &mut Vec<&'a str>) {
        match value {
            Value::String(text) => out.push(text),
            Value::Array(items) => items.iter().for_each(|item| of_tree(item, out)),
            Value::Object(fields) => fields.iter().for_each(|(key, value)| {
                out.push(key);
                of_tree(value, out);
            }),
            _ => {}
        }
    }

    #[test]
    fn a_usual_schema_is_harmless_at_a_glance() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "pattern": "^[a-z-]{1,39}$", "description": "What: a, {b}."},
                "type": {"enum": ["a", 1, 2.5, true]}, "required": {"type": "boolean"}, "pattern": {"type": "array"},
            },
            "required": ["query"], "additionalProperties": false,
        });
        for text in [schema.to_string(), serde_json::to_string_pretty(&schema).unwrap()] {
            let mut strings = Vec::new();
            of_tree(&schema, &mut strings);
            assert_eq!(super::strings(&text), Some(strings));
        }
        for doubtful in [
            json!({"type": "string"}),
            json!({"$ref": "#"}),
            json!({"properties": {"a": {"$ref": "#/$defs/b"}}}),
            json!({"properties": 5}),
            json!({"minLength": -1}),
            json!({"minLength": 1.5}),
            json!({"pattern": "(a{100}){100}"}),
            json!({"$schema": "https://own.example"}),
            json!({"enum": vec![1; 1001]}),
            json!({"a": "\n"}),
            json!({"a": "x\u{1}"}),
            json!({"a": "x".repeat(5000)}),
        ] {
            assert_eq!(super::strings(&doubtful.to_string()), None, "{doubtful}");
        }
        let deep = format!(r#"{}1{}"#, r#"{"a":"#.repeat(64), "}".repeat(64));
        for text in [deep.as_str(), r#"{"a":1e999}"#, "[]", "5"] {
            assert_eq!(super::strings(text), None, "{text}");
        }
    }

    fn schema() -> impl Strategy<Value = Value> {
        let key = || {
            prop::sample::select(vec![
                "type",
                "properties",
                "required",
                "enum",
                "minLength",
                "maxItems",
                "pattern",
                "$schema",
                "$id",
                "$ref",
                "items",
                "allOf",
                "anyOf",
                "not",
                "default",
                "x-mcp-header",
                "patternProperties",
                "$defs",
                "a",
                "b",
            ])
        };
        let text = prop::sample::select(vec![
            "object",
            "string",
            "#",
            "#/$defs/a",
            "http://json-schema.org/draft-07/schema#",
            "odd",
            "\u{e9}\"",
            "a{9}{9}{9}",
            "",
        ]);
        let leaf = prop_oneof![
            text.prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            (-3i64..30).prop_map(Value::from),
            prop_oneof![Just(1.5), Just(1e300), Just(3.0)].prop_map(Value::from),
            Just(Value::Null),
        ];
        let value = leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
                prop::collection::vec((key(), inner), 0..4).prop_map(|fields| {
                    Value::Object(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                }),
            ]
        });
        (value.clone(), value).prop_map(|(own, properties)| {
            let mut schema = json!({"type": "object", "properties": properties});
            if let (Some(schema), Value::Object(own)) = (schema.as_object_mut(), own) {
                schema.extend(own);
            }
            schema
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_harmless_at_a_glance_is_allowed(schema in schema()) {
            let text = schema.to_string();
            if let Some(found) = super::strings(&text) {
                prop_assert_eq!(judge(&schema), Verdict::Allow);
                let mut strings = Vec::new();
                of_tree(&schema, &mut strings);
                prop_assert_eq!(found, strings);
            }
        }
    }
}
