//! Bounds for the schemas of tools, which are written by servers: size, depth, breadth, references, dialects.
//!
//! The walk keeps its own stack, so that no schema from outside can use up ours.

use std::collections::{BTreeMap, BTreeSet};

use mcp_core::Refusal;
use serde_json::{Map, Value};

use crate::{Verdict, limits, refusal, url};

mod glance;

use glance::COUNTS;
pub(crate) use glance::strings;

/// Judges the schema of a tool's arguments. `Sanitize`: what models are shown, without values that are too long.
///
/// ```
/// use mcp_security::{Verdict, schema::judge};
/// use serde_json::json;
/// assert_eq!(judge(&json!({"type": "object"})), Verdict::Allow);
/// assert_eq!(judge(&json!({"$ref": "#"})).rule(), Some("schema-reference"));
/// ```
pub fn judge(schema: &Value) -> Verdict<Value> {
    if let Err(refusal) = bounds(schema).and_then(|()| references(schema)).and_then(|()| headers(schema)) {
        return Verdict::Block(refusal);
    }
    if !has_long_values(schema) {
        return Verdict::Allow;
    }
    let mut shown = schema.clone();
    shorten(&mut shown);
    Verdict::Sanitize(shown)
}

fn block(rule: &'static str, reason: impl Into<String>) -> Refusal {
    refusal(rule, reason, "the tool is left out; its server has to change its schema")
}

fn bounds(schema: &Value) -> Result<(), Refusal> {
    let Value::Object(root) = schema else {
        return Err(block("schema-type", "the schema is not an object"));
    };
    match root.get("type") {
        None => {}
        Some(Value::String(kind)) if kind == "object" => {}
        Some(Value::Array(kinds)) if kinds.iter().any(|kind| kind == "object") => {}
        Some(_) => return Err(block("schema-type", "the schema is not one of an object")),
    }
    if let Some(dialect) = root.get("$schema") {
        let known = dialect.as_str().is_some_and(|dialect| {
            let bare =
                dialect.trim_end_matches('#').trim_start_matches("http://").trim_start_matches("https://");
            bare.strip_prefix("json-schema.org/").is_some_and(|rest| {
                matches!(
                    rest,
                    "draft-04/schema"
                        | "draft-06/schema"
                        | "draft-07/schema"
                        | "draft/2019-09/schema"
                        | "draft/2020-12/schema"
                        | "schema"
                )
            })
        });
        if !known {
            return Err(block("schema-dialect", "the schema is written in a dialect that is not known"));
        }
    }
    let mut bytes = 0usize;
    let mut nodes = 0usize;
    let mut open: Vec<(&Value, usize)> = vec![(schema, 1)];
    while let Some((value, depth)) = open.pop() {
        nodes += 1;
        // A value that is too deep or has too many parts is not looked at to its end.
        if depth > limits::SCHEMA_DEPTH {
            return Err(block(
                "schema-limit",
                format!("the schema is nested deeper than {} levels", limits::SCHEMA_DEPTH),
            ));
        }
        if nodes > limits::SCHEMA_NODES {
            return Err(block(
                "schema-limit",
                format!("the schema has more than {} parts", limits::SCHEMA_NODES),
            ));
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    bytes += key.len() + 4;
                    keyword(key, value)?;
                    // Values are no schemas: their size counts, not their parts.
                    if is_annotation(key) || (key == "enum" && value.is_array()) {
                        bytes += annotation_bytes(value)?;
                    } else {
                        open.push((value, depth + 1));
                    }
                }
            }
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::String(text) => bytes += text.len() + 2,
            _ => bytes += 5,
        }
        if bytes > limits::SCHEMA_BYTES {
            return Err(block(
                "schema-limit",
                format!("the schema is larger than {} KiB", limits::SCHEMA_BYTES >> 10),
            ));
        }
    }
    Ok(())
}

/// Keywords that only tell; what they tell can be left out.
fn is_annotation(key: &str) -> bool {
    matches!(key, "default" | "examples" | "example" | "$comment")
}

/// The size of a value that can be left out, where models are shown it whole.
fn annotation_bytes(value: &Value) -> Result<usize, Refusal> {
    let mut bytes = 0;
    let mut open = vec![(value, 1usize)];
    while let Some((value, depth)) = open.pop() {
        if depth > limits::SCHEMA_DEPTH {
            return Err(block("schema-limit", "a value in the schema is nested too deep"));
        }
        match value {
            Value::String(text) => bytes += text.len() + 2,
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                open.extend(fields.values().map(|field| (field, depth + 1)));
                bytes += fields.keys().map(String::len).sum::<usize>();
            }
            _ => bytes += 5,
        }
    }
    // Whatever is too long is cut out before anybody sees it.
    Ok(if bytes > limits::SCHEMA_VALUE_BYTES { 2 } else { bytes })
}

fn keyword(key: &str, value: &Value) -> Result<(), Refusal> {
    match key {
        "enum" if value.as_array().is_some_and(|values| values.len() > limits::SCHEMA_ENUM) => {
            return Err(block(
                "schema-limit",
                format!("the schema lists more than {} values", limits::SCHEMA_ENUM),
            ));
        }
        "pattern" => {
            if let Value::String(pattern) = value {
                self::pattern(pattern)?;
            }
        }
        "patternProperties" if value.is_object() => {
            for pattern in value.as_object().into_iter().flat_map(Map::keys) {
                self::pattern(pattern)?;
            }
        }
        // A member that happens to have one of these names is an object, as every schema of a member is.
        "properties" | "patternProperties" | "$defs" | "definitions" if !value.is_object() => {
            return Err(block("schema-type", format!("{key} is not a mapping of names")));
        }
        "required" if value.is_string() || value.is_number() => {
            return Err(block("schema-type", "required is not a list of names"));
        }
        key if COUNTS.contains(&key) && value.is_number() => {
            // 3.0 is a count too.
            let whole = value.as_u64().is_some()
                || value.as_f64().is_some_and(|number| {
                    number >= 0.0 && number.fract() == 0.0 && number <= 9_007_199_254_740_991.0
                });
            if !whole {
                return Err(block("schema-limit", format!("{key} is not a count")));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A pattern that a linear engine can compile within bounds; one with look-around is left to a bounded engine.
fn pattern(pattern: &str) -> Result<(), Refusal> {
    let too_large = || block("schema-pattern", "a pattern in the schema is too large");
    if pattern.len() > 4096 {
        return Err(too_large());
    }
    if is_small(pattern) {
        return Ok(());
    }
    match regex::RegexBuilder::new(pattern).size_limit(1 << 20).nest_limit(64).build() {
        Err(regex::Error::CompiledTooBig(_)) => Err(too_large()),
        Err(regex::Error::Syntax(message)) if message.contains("nest") => Err(too_large()),
        // Another dialect than the engine's; whether it matters is found out when it is used.
        _ => Ok(()),
    }
}

/// Whether the pattern is within bounds however it is compiled. Most are, and compiling is dear where there are thousands.
fn is_small(pattern: &str) -> bool {
    // Classes of Unicode are large by themselves, and what `(?` begins can make every letter one.
    let plain = pattern.bytes().all(|b| matches!(b, b' '..=b'~'))
        && !pattern.contains("(?")
        && !pattern.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && pair[1].is_ascii_alphabetic());
    let nested = pattern.bytes().filter(|b| b"([*+?{".contains(b)).count();
    if !plain || nested > 20 {
        return false;
    }
    // As if all repetitions were inside each other.
    let counts = pattern.split('{').skip(1).flat_map(|counted| {
        counted.split('}').next().unwrap_or_default().split(',').map(|count| count.trim().parse::<u64>())
    });
    let repeated = counts.flatten().fold(1u64, |all, count| all.saturating_mul(count.max(1)));
    repeated.saturating_mul(pattern.len() as u64) <= 1_000
}

/// References: inside the schema only, found, without a circle that never consumes anything, and small once followed.
fn references(schema: &Value) -> Result<(), Refusal> {
    let outside = |target: &str| {
        block("schema-reference", format!("the schema refers to {target:?}, which is not in it"))
    };
    let mut targets: BTreeMap<String, &Value> = BTreeMap::new();
    let mut pending: Vec<&Value> = vec![schema];
    while let Some(value) = pending.pop() {
        match value {
            Value::Object(fields) => {
                for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
                    let Some(Value::String(target)) = fields.get(key) else { continue };
                    if !target.starts_with('#') {
                        return Err(outside(target));
                    }
                    if let Some(value) = find(schema, target) {
                        targets.insert(target.clone(), value);
                    } else if target.starts_with("#/") {
                        return Err(outside(target));
                    }
                }
                if let Some(Value::String(id)) = fields.get("$id")
                    && id.contains("://")
                    && url::admit(
                        url::Question { text: id, context: url::Context::ResourceLink, base: None, hops: 0 },
                        &crate::Rules::default(),
                    )
                    .is_err()
                {
                    return Err(outside(id));
                }
                pending.extend(
                    fields
                        .iter()
                        .filter(|(key, _)| !is_annotation(key) && *key != "enum" && *key != "const")
                        .map(|(_, value)| value),
                );
            }
            Value::Array(items) => pending.extend(items),
            _ => {}
        }
    }
    // A schema that is itself again before anything of the value was consumed never ends.
    let mut colours: BTreeMap<*const Value, bool> = BTreeMap::new();
    let mut stack: Vec<(&Value, bool)> = vec![(schema, false)];
    stack.extend(targets.values().map(|value| (*value, false)));
    while let Some((value, leaving)) = stack.pop() {
        let id = std::ptr::from_ref(value);
        if leaving {
            colours.insert(id, true);
            continue;
        }
        match colours.get(&id) {
            Some(true) => continue,
            Some(false) => {
                return Err(block("schema-reference", "the schema refers to itself without an end"));
            }
            None => {}
        }
        colours.insert(id, false);
        stack.push((value, true));
        for next in in_place(value, &targets) {
            match colours.get(&std::ptr::from_ref(next)) {
                Some(false) => {
                    return Err(block("schema-reference", "the schema refers to itself without an end"));
                }
                Some(true) => {}
                None => stack.push((next, false)),
            }
        }
    }
    expansion(schema, &targets)
}

/// The schemas that are applied to the same value.
fn in_place<'a>(value: &'a Value, targets: &BTreeMap<String, &'a Value>) -> Vec<&'a Value> {
    let Value::Object(fields) = value else { return Vec::new() };
    let mut next = Vec::new();
    for key in ["$ref", "$dynamicRef", "$recursiveRef"] {
        if let Some(target) = fields.get(key).and_then(Value::as_str).and_then(|target| targets.get(target)) {
            next.push(*target);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        next.extend(fields.get(key).and_then(Value::as_array).into_iter().flatten());
    }
    for key in ["not", "if", "then", "else"] {
        next.extend(fields.get(key));
    }
    next
}

/// How many schemas one value is held against, references followed: `allOf` of twice the same doubles at every step.
fn expansion(schema: &Value, targets: &BTreeMap<String, &Value>) -> Result<(), Refusal> {
    let mut sizes: BTreeMap<*const Value, usize> = BTreeMap::new();
    let mut stack: Vec<(&Value, bool, usize)> = vec![(schema, false, 0)];
    stack.extend(targets.values().map(|value| (*value, false, 0)));
    while let Some((value, leaving, hops)) = stack.pop() {
        let id = std::ptr::from_ref(value);
        if sizes.contains_key(&id) {
            continue;
        }
        if hops > limits::SCHEMA_HOPS * 4 {
            return Err(block("schema-reference", "the schema's references lead too far"));
        }
        let next = in_place(value, targets);
        if leaving {
            let size = next.iter().fold(1usize, |size, next| {
                size.saturating_add(sizes.get(&std::ptr::from_ref(*next)).copied().unwrap_or(1))
            });
            if size > limits::SCHEMA_EXPANDED {
                return Err(block(
                    "schema-limit",
                    "the schema is far larger once its references are followed",
                ));
            }
            sizes.insert(id, size);
        } else {
            stack.push((value, true, hops));
            stack.extend(next.into_iter().map(|next| (next, false, hops + 1)));
        }
    }
    Ok(())
}

fn find<'a>(schema: &'a Value, target: &str) -> Option<&'a Value> {
    let pointer = target.strip_prefix('#')?;
    if pointer.is_empty() {
        return Some(schema);
    }
    schema.pointer(&crate::path::decoded(pointer))
}

/// Arguments that travel as headers (SEP-2243): names of headers, each once, for simple values only.
fn headers(schema: &Value) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    let mut open = vec![schema];
    let is_token = |name: &str| {
        !name.is_empty()
            && name.len() <= 128
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(name) = fields.get("x-mcp-header") {
                    let simple = matches!(
                        fields.get("type").and_then(Value::as_str),
                        Some("string" | "integer" | "boolean")
                    );
                    let name = name.as_str().unwrap_or_default();
                    if !is_token(name) || !simple || !seen.insert(name.to_ascii_lowercase()) {
                        return Err(block(
                            "schema-header",
                            "the schema puts an argument into a header that cannot carry it",
                        ));
                    }
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    Ok(())
}

/// Whether it is a value that is too long for a model, and can be left out.
fn is_long(key: &str, value: &Value) -> bool {
    is_annotation(key)
        && serde_json::to_string(value).is_ok_and(|text| text.len() > limits::SCHEMA_VALUE_BYTES)
}

fn has_long_values(schema: &Value) -> bool {
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                if fields.iter().any(|(key, value)| is_long(key, value)) {
                    return true;
                }
                open.extend(fields.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    false
}

/// Takes out values that are too long for a model.
fn shorten(schema: &mut Value) {
    let mut open = vec![schema];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(fields) => {
                fields.retain(|key, value| !is_long(key, value));
                open.extend(fields.values_mut());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn compiles_within_bounds(pattern: &str) -> bool {
        match regex::RegexBuilder::new(pattern).size_limit(1 << 20).nest_limit(64).build() {
            Err(regex::Error::CompiledTooBig(_)) => false,
            Err(regex::Error::Syntax(message)) => !message.contains("nest"),
            _ => true,
        }
    }

    #[test]
    fn small_patterns_are_not_compiled() {
        for small in ["^[A-Za-z0-9-]{1,39}$", "^v[0-9]+$", "(a|b)*", "[", r"^[^/]+\.txt$"] {
            assert!(is_small(small), "{small}");
        }
        for unknown in
            [r"\w+", "(?i)a", "\u{e9}", "(a{100}){100}", "a{1001}", &"(".repeat(21), &"a*".repeat(21)]
        {
            assert!(!is_small(unknown), "{unknown}");
        }
        for largest in [".".repeat(1000), ".{140}".to_owned(), "[^a]{90}".to_owned()] {
            assert!(is_small(&largest) && compiles_within_bounds(&largest), "{largest}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_small_compiles_within_bounds(pattern in r"([a-c.|^$\]\-\\]|\[\^?|\(|\)|[*+?]|\{[0-9]{1,2}(,[0-9]{0,2})?\}){0,30}") {
            prop_assert!(!is_small(&pattern) || compiles_within_bounds(&pattern));
        }
    }
}
