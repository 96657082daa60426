//! Text into a [`Node`] tree. The only file that names the YAML parser.
//!
//! Values are read through `serde_saphyr::Spanned`, so that every key and value keeps its place; the typed readers
//! then report all problems at once, where a derived `Deserialize` would stop at the first.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_saphyr::{DuplicateKeyPolicy, Location, Spanned};

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::node::{Entry, Node, Value};

/// Larger files are not configurations.
pub(crate) const SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// What the text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2, with the booleans of YAML 1.1 (`yes`, `off`), as v0.0.13's parser took them.
    Yaml,
    /// JSON.
    Json,
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 48,
            flow_nesting_limit: 48,
            max_documents: 2,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 2_000,
            max_anchors: 2_000,
            max_recorded_anchor_events: 200_000,
            max_total_scalar_bytes: SIZE_LIMIT,
            max_merge_keys: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
            max_replay_stack_depth: 32,
        },
        // Reported by us, with both places.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // Reported by us where a number is read.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        emit_comments: false,
    }
}

/// Reads the text into a tree.
pub(crate) fn parse(source: &Source, format: Format) -> Result<Node, Box<Diagnostic>> {
    let text = without_mark(&source.text);
    if text.len() > SIZE_LIMIT {
        let message = format!("the file is larger than {} MiB", SIZE_LIMIT / (1024 * 1024));
        return Err(Box::new(whole_file(source, message).with_help("is this the right file?")));
    }
    if format == Format::Json {
        serde_json::from_str::<serde::de::IgnoredAny>(text)
            .map_err(|error| Box::new(json_error(source, &error)))?;
    }
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Ok(node(raw, text)),
        Err(error) => match serde_json::from_str::<serde_json::Value>(text) {
            // JSON that YAML does not take (there are corners): the places are lost, the configuration is not.
            Ok(value) if format == Format::Json && depth(&value) <= 48 => Ok(from_json(value)),
            _ => Err(Box::new(yaml_error(source, &error))),
        },
    }
}

/// Reads YAML text straight into a type, for files whose format belongs to somebody else (rehearsal scripts).
/// `file_name` is used in messages only.
///
/// # Errors
///
/// What is wrong, and where: broken YAML, a missing or unknown field, a wrong type. One problem at a time.
pub fn from_yaml_str<T: DeserializeOwned>(text: &str, file_name: &str) -> Result<T, Diagnostics> {
    let source = Source::new(file_name, text);
    let text = without_mark(text);
    if text.len() > SIZE_LIMIT {
        return Err(whole_file(&source, "the file is too large".to_owned()).into());
    }
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::Error;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| yaml_error(&source, &error).into())
}

/// Editors on some systems begin a file with a byte order mark.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn whole_file(source: &Source, message: String) -> Diagnostic {
    source.diagnostic(Severity::Error, Place::default(), String::new(), message)
}

fn json_error(source: &Source, error: &serde_json::Error) -> Diagnostic {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let place = Place { line: number(error.line()), column: number(error.column()).max(1), length: 1 };
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(message, _)| message);
    let diagnostic =
        source.diagnostic(Severity::Error, place, String::new(), format!("this is not JSON: {message}"));
    match json_help(error, &source.text, place) {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    }
}

/// The mistakes people make most.
fn json_help(error: &serde_json::Error, text: &str, place: Place) -> Option<&'static str> {
    if error.is_eof() {
        return Some("a {, a [ or a quote has been left open");
    }
    let column = usize::try_from(place.column.checked_sub(1)?).ok()?;
    let line = usize::try_from(place.line.checked_sub(1)?).ok()?;
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let before = text.get(..start.checked_add(column)?)?.trim_end();
    if before.ends_with(',') {
        return Some("remove the comma before it: JSON has none before a } or a ]");
    }
    let rest = text.get(start + column..)?;
    if rest.starts_with(['\'', '/', '#']) {
        return Some("JSON has double quotes only, and no comments; a .yaml file may hold both");
    }
    None
}

fn yaml_error(source: &Source, error: &serde_saphyr::Error) -> Diagnostic {
    let place = error.location().map_or(Place::default(), place);
    let rendered = error.without_snippet().to_string();
    // The parser repeats the place at the end of its message.
    let message = rendered.split(" at line ").next().unwrap_or_default().lines().next().unwrap_or_default();
    let message = match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => "a second document begins here; a file holds one",
        _ => message,
    };
    let diagnostic = source.diagnostic(Severity::Error, place, String::new(), message.to_owned());
    match yaml_help(message, &source.text, place) {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    }
}

/// The mistakes people make most.
fn yaml_help(message: &str, text: &str, place: Place) -> Option<&'static str> {
    if message.contains("budget") || message.contains("limit") {
        return Some("the file nests too deeply or repeats too much to be a configuration");
    }
    if message.contains("second document") {
        return Some("remove the --- line and what follows it");
    }
    if message.contains("unknown anchor") {
        return Some("no & of this name stands above it; a text that begins with * goes in quotes");
    }
    if message.contains("recursive") {
        return Some("the * stands inside of what it repeats: write it out");
    }
    // The words are well-formed; what they say is not, and the message says why.
    if ["unknown field", "missing field", "duplicate", "invalid type", "invalid value", "unknown variant"]
        .iter()
        .any(|start| message.starts_with(start))
    {
        return None;
    }
    if message.contains("unclosed bracket") {
        return Some("close it: { with }, [ with ]");
    }
    if message.contains("unclosed quote") {
        return Some("close it; inside of \"quotes\" a quote is written \\\"");
    }
    if message.contains("illegal placement") {
        return Some("a [, a { or a quote before this place may have been left open");
    }
    let index = usize::try_from(place.line.checked_sub(1)?).ok()?;
    let line = text.lines().nth(index)?;
    let indent: String = line.chars().take_while(|c| c.is_whitespace()).collect();
    if indent.contains('\t') {
        return Some("YAML is indented with spaces, never with tabs");
    }
    let value = line.split_once(": ").map(|(_, value)| value.trim_start())?;
    if value.starts_with(['@', '`', '%', '*', '&', '!'])
        || (!value.starts_with(['"', '\'']) && value.contains(": "))
    {
        return Some("put the value in quotes");
    }
    None
}

/// What the parser hands over, before places are worked out.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Number::from_i128(value).map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Number::from_u128(value).map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Number::from_f64(value).map_or_else(|| Raw::Text(value.to_string()), Raw::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn node(raw: Spanned<Raw>, text: &str) -> Node {
    // An alias stands for text elsewhere: that is where a mistake is mended.
    let location = raw.defined;
    let written = || written(location, text).to_owned();
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Bool(value) => Value::Bool(value, written()),
        Raw::Number(number) => Value::Number(number, written()),
        Raw::Text(text) => Value::Text(text),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(item, text)).collect()),
        Raw::Map(entries) => Value::Map(
            (entries.into_iter())
                .map(|(key, value)| Entry {
                    key_place: place(key.defined),
                    key: key.value,
                    node: node(value, text),
                })
                .collect(),
        ),
    };
    let mut place = place(location);
    if matches!(value, Value::List(_) | Value::Map(_)) {
        place.length = 1;
    }
    Node { value, place }
}

fn place(location: Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: number(location.line()),
        column: number(location.column()),
        length: number(location.span().len()).max(1),
    }
}

/// The piece of text a scalar was read from.
fn written(location: Location, text: &str) -> &str {
    let span = location.span();
    let start = span.byte_offset().and_then(|n| usize::try_from(n).ok());
    let length = span.byte_len().and_then(|n| usize::try_from(n).ok());
    (start.zip(length))
        .and_then(|(start, length)| text.get(start..start.checked_add(length)?))
        .unwrap_or_default()
        .trim()
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(entries) => 1 + entries.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn from_json(value: serde_json::Value) -> Node {
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(value, value.to_string()),
        serde_json::Value::Number(number) => {
            let text = number.to_string();
            Value::Number(number, text)
        }
        serde_json::Value::String(text) => Value::Text(text),
        serde_json::Value::Array(items) => Value::List(items.into_iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => Value::Map(
            (entries.into_iter())
                .map(|(key, value)| Entry { key, key_place: Place::default(), node: from_json(value) })
                .collect(),
        ),
    };
    Node { value, place: Place::default() }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn tree(text: &str) -> String {
        fn show(node: &Node, depth: usize, out: &mut String) {
            use std::fmt::Write;
            let pad = "  ".repeat(depth);
            let at = format!("{}:{}+{}", node.place.line, node.place.column, node.place.length);
            match &node.value {
                Value::List(items) => {
                    let _ = writeln!(out, "{pad}list @{at}");
                    items.iter().for_each(|item| show(item, depth + 1, out));
                }
                Value::Map(entries) => {
                    let _ = writeln!(out, "{pad}map @{at}");
                    for entry in entries {
                        let place = entry.key_place;
                        let _ = writeln!(
                            out,
                            "{pad}  {} @{}:{}+{}",
                            entry.key, place.line, place.column, place.length
                        );
                        show(&entry.node, depth + 2, out);
                    }
                }
                other => {
                    let _ = writeln!(out, "{pad}{other:?} @{at}");
                }
            }
        }
        let mut out = String::new();
        match parse(&Source::new("t.yaml", text), Format::Yaml) {
            Ok(node) => show(&node, 0, &mut out),
            Err(error) => out = error.to_string(),
        }
        out
    }

    #[test]
    fn every_value_keeps_its_place() {
        expect![[r#"
            map @1:1+1
              a @1:1+1
                Number(Number(1.1), "1.10") @1:4+4
              b @2:1+1
                list @2:4+1
                  Bool(true, "yes") @2:5+3
                  Text("x") @2:10+3
                  Null @2:15+1
              c @3:1+1
                map @4:3+1
                  d @4:3+1
                    Text("é") @4:6+1
                  d @5:3+1
                    Number(Number(16), "0x10") @5:6+4
              e @6:1+1
                map @4:3+1
                  d @4:3+1
                    Text("é") @4:6+1
                  d @5:3+1
                    Number(Number(16), "0x10") @5:6+4
              f @7:1+1
                Text("q\nr") @7:4+6
              g @8:1+1
                Null @8:2+1
        "#]]
        .assert_eq(&tree("a: 1.10\nb: [yes, 'x', ~]\nc: &x\n  d: é\n  d: 0x10\ne: *x\nf: \"q\\nr\"\ng:\n"));
        expect![[r#"
            map @1:1+1
              f @1:1+1
                map @1:4+1
                  12 @1:21+2
                    Text("z") @1:25+1
                  q @1:14+1
                    Number(Number(1), "1") @1:17+1
              g @2:1+1
                Text("two\nlines\n") @3:3+12
              h @5:1+1
                Text(".inf") @5:4+4
        "#]]
        .assert_eq(&tree("f: { <<: &x {q: 1}, 12: z }\ng: |\n  two\n  lines\nh: .inf\n"));
    }

    #[test]
    fn broken_text_has_a_place() {
        for (text, expected) in [
            (
                "a: [1, 2\nb: 3",
                expect![[r#"
                    t.yaml:2:2: error: illegal placement of ':' indicator
                      2 | b: 3
                        |  ^
                      help: a [, a { or a quote before this place may have been left open"#]],
            ),
            (
                "a:\n\tb: 1",
                expect![[r#"
                t.yaml:2:2: error: tabs disallowed within this context (block indentation)
                  2 |  b: 1
                    |  ^
                  help: YAML is indented with spaces, never with tabs"#]],
            ),
            (
                "a: @b",
                expect![[r#"
                t.yaml:1:4: error: unexpected character: `@'
                  1 | a: @b
                    |    ^
                  help: put the value in quotes"#]],
            ),
            (
                "a: b: c",
                expect![[r#"
                t.yaml:1:5: error: mapping values are not allowed in this context
                  1 | a: b: c
                    |     ^
                  help: put the value in quotes"#]],
            ),
            (
                "a: &a [*a]",
                expect![[r#"
                    t.yaml:1:8: error: recursive references require weak recursion types
                      1 | a: &a [*a]
                        |        ^^
                      help: the * stands inside of what it repeats: write it out"#]],
            ),
            (
                "a: 1\n---\nb: 2",
                expect![[r#"
                    t.yaml:3:1: error: a second document begins here; a file holds one
                      3 | b: 2
                        | ^
                      help: remove the --- line and what follows it"#]],
            ),
            (
                "a: *nope",
                expect![[r#"
                t.yaml:1:4: error: alias references unknown anchor
                  1 | a: *nope
                    |    ^
                  help: no & of this name stands above it; a text that begins with * goes in quotes"#]],
            ),
            (
                "a: { b: 1",
                expect![[r#"
                t.yaml:1:4: error: unclosed bracket '{'
                  1 | a: { b: 1
                    |    ^
                  help: close it: { with }, [ with ]"#]],
            ),
            (
                "a: \"b",
                expect![[r#"
                t.yaml:1:4: error: unclosed quote
                  1 | a: "b
                    |    ^
                  help: close it; inside of "quotes" a quote is written \""#]],
            ),
            (
                "? [1]\n: 2",
                expect![[r#"
                t.yaml:1:3: error: expected string scalar
                  1 | ? [1]
                    |   ^"#]],
            ),
            (
                "",
                expect![[r#"
                Null @1:1+1
            "#]],
            ),
        ] {
            expected.assert_eq(&tree(text));
        }
    }
}
