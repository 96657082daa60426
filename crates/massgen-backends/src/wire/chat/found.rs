//! Calls that a model wrote into its text instead of making them.

use mcp_core::JsonObject;
use serde_json::Value;

/// A call found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundCall {
    /// The tool, one of those offered.
    pub name: String,
    /// The arguments; `Err` keeps what is no JSON object.
    pub arguments: Result<JsonObject, String>,
}

/// The calls in a text, and the text before them: `None` where there is no call of an offered tool.
///
/// A call is a JSON object with the tool's name in `tool`, `name` or `tool_name` and its arguments in `arguments` or
/// `parameters`; it stands alone (or several in a list), in a fenced block, or in a `<tool_call>` tag.
///
/// ```
/// use massgen_backends::wire::chat::found::find_calls;
///
/// let text = "Let me look.\n```json\n{\"tool\": \"search\", \"arguments\": {\"query\": \"tides\"}}\n```";
/// let (before, calls) = find_calls(text, &["search"]).expect("a call of an offered tool");
/// assert_eq!((before, calls[0].name.as_str()), ("Let me look.", "search"));
/// ```
pub fn find_calls<'a>(text: &'a str, tools: &[&str]) -> Option<(&'a str, Vec<FoundCall>)> {
    let body = without_thoughts(text);
    bare(body, tools).map(|calls| ("", calls)).or_else(|| tagged(body, tools)).or_else(|| fenced(body, tools))
}

/// Some servers leave the model's thoughts in the text.
fn without_thoughts(text: &str) -> &str {
    let rest = text.trim_start();
    match rest.strip_prefix("<think>").and_then(|rest| rest.split_once("</think>")) {
        Some((_, rest)) => rest.trim(),
        None => rest.trim_end(),
    }
}

fn bare(text: &str, tools: &[&str]) -> Option<Vec<FoundCall>> {
    let value: Value = serde_json::from_str(text.trim()).ok()?;
    match value {
        Value::Array(list) if !list.is_empty() => list.iter().map(|value| call(value, tools)).collect(),
        value => call(&value, tools).map(|call| vec![call]),
    }
}

fn tagged<'a>(text: &'a str, tools: &[&str]) -> Option<(&'a str, Vec<FoundCall>)> {
    const OPEN: &str = "<tool_call>";
    let start = text.find(OPEN)?;
    let mut calls = Vec::new();
    for part in text[start..].split(OPEN).skip(1) {
        // The end tag may be missing: it is a stop word for some servers.
        let inner = part.split_once("</tool_call>").map_or(part, |(inner, _)| inner);
        calls.extend(bare(inner, tools)?);
    }
    Some((text[..start].trim_end(), calls))
}

fn fenced<'a>(text: &'a str, tools: &[&str]) -> Option<(&'a str, Vec<FoundCall>)> {
    const FENCE: &str = "```";
    let mut from = 0;
    let mut first = None;
    let mut calls = Vec::new();
    while let Some(open) = text[from..].find(FENCE).map(|at| from + at) {
        let inner = open + FENCE.len();
        let close = text[inner..].find(FENCE).map(|at| inner + at);
        let block = &text[inner..close.unwrap_or(text.len())];
        // Behind the fence there may be a language's name.
        let json = block.find(['{', '[']).map_or("", |at| &block[at..]);
        let language = block.split(['{', '[']).next().unwrap_or_default().trim();
        if language.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && let Some(found) = bare(json, tools)
        {
            first.get_or_insert(open);
            calls.extend(found);
        }
        match close {
            Some(close) => from = close + FENCE.len(),
            None => break,
        }
    }
    first.map(|at| (text[..at].trim_end(), calls))
}

fn call(value: &Value, tools: &[&str]) -> Option<FoundCall> {
    let object = value.as_object()?;
    // {"type": "function", "function": {"name": ..., "arguments": ...}}
    if let Some(inner) = object.get("function").filter(|inner| inner.is_object()) {
        return call(inner, tools);
    }
    let name = ["tool", "name", "tool_name"].iter().find_map(|key| object.get(*key)?.as_str())?;
    let name = tools.iter().find(|tool| **tool == name)?;
    let arguments = match ["arguments", "parameters"].iter().find_map(|key| object.get(*key)) {
        None => return None,
        Some(Value::Object(arguments)) => Ok(arguments.clone()),
        Some(Value::Null) => Ok(JsonObject::new()),
        Some(Value::String(text)) => super::super::parse_arguments(text),
        Some(other) => Err(other.to_string()),
    };
    Some(FoundCall { name: (*name).to_owned(), arguments })
}

/// Whether a text may yet turn out to be a call, so that it is not to be shown before it is whole.
pub(super) fn may_be_call(text: &str) -> bool {
    let text = text.trim_start();
    ["{", "[", "```", "<tool_call>"].iter().any(|start| text.starts_with(start) || start.starts_with(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expect: Expect) {
        let found = match find_calls(text, &["search", "now"]) {
            None => "none".to_owned(),
            Some((before, calls)) => {
                let one = |call: &FoundCall| match &call.arguments {
                    Ok(arguments) => format!("{} {}", call.name, Value::Object(arguments.clone())),
                    Err(text) => format!("{} Err({text})", call.name),
                };
                format!("{before:?} {}", calls.iter().map(one).collect::<Vec<_>>().join("; "))
            }
        };
        expect.assert_eq(&found);
    }

    #[test]
    fn calls_are_found_in_their_usual_places() {
        check(r#"{"tool": "search", "arguments": {"q": 1}}"#, expect![[r#""" search {"q":1}"#]]);
        check(r#" {"name": "search", "parameters": {}} "#, expect![[r#""" search {}"#]]);
        check(r#"{"tool_name": "now", "arguments": null}"#, expect![[r#""" now {}"#]]);
        check(r#"{"tool": "now", "arguments": "{\"a\":1}"}"#, expect![[r#""" now {"a":1}"#]]);
        check(r#"{"tool": "now", "arguments": [1]}"#, expect![[r#""" now Err([1])"#]]);
        check(r#"{"type":"function","function":{"name":"now","arguments":"{}"}}"#, expect![[r#""" now {}"#]]);
        check(
            r#"[{"name":"now","arguments":{}},{"name":"search","arguments":{"q":2}}]"#,
            expect![[r#""" now {}; search {"q":2}"#]],
        );
        check("Hm.\n```json\n{\"tool\":\"now\",\"arguments\":{}}\n```\nDone.", expect![[r#""Hm." now {}"#]]);
        check("```\n{\"tool\":\"now\",\"arguments\":{}}", expect![[r#""" now {}"#]]);
        check(
            "<tool_call>\n{\"name\":\"now\",\"arguments\":{}}\n</tool_call>\n<tool_call>{\"name\":\"search\",\"arguments\":{}}",
            expect![[r#""" now {}; search {}"#]],
        );
        check("<think>maybe {}</think>\n{\"tool\":\"now\",\"arguments\":{}}", expect![[r#""" now {}"#]]);
    }

    #[test]
    fn what_is_no_call_of_an_offered_tool_stays_text() {
        for text in [
            "",
            "plain",
            "{}",
            "[]",
            r#"{"tool": "other", "arguments": {}}"#,
            r#"{"name": "search"}"#,
            r#"{"tool": "search", "arguments": {"q""#,
            "```rust\nfn main() {}\n```",
            "<tool_call>oops</tool_call>",
            "See {\"tool\":\"now\",\"arguments\":{}} for how to ask.",
        ] {
            check(text, expect!["none"]);
        }
    }

    #[test]
    fn text_is_held_back_only_while_it_may_be_a_call() {
        for (text, want) in [
            ("", true),
            (" \n", true),
            ("{\"a", true),
            ("`", true),
            ("```js", true),
            ("<tool", true),
            ("<tool_call>{", true),
            ("Hello", false),
            ("`x`", false),
            ("<b>", false),
        ] {
            assert_eq!(may_be_call(text), want, "{text:?}");
        }
    }
}
