//! The headers in which revision 2026-07-28 repeats parts of a request, so that those on the way need not read its
//! body (MCP basic/transports/streamable-http, "Standard MCP Request Headers").

use std::collections::HashSet;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mcp_core::{JsonObject, Schema};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::raw::Ask;

/// The member of a property's schema that names the header for its value.
const ANNOTATION: &str = "x-mcp-header";
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What stands around a value that HTTP would not carry as it is.
const ENCODED: (&str, &str) = ("=?base64?", "?=");

/// An argument of a tool that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParamHeader {
    /// The names of the properties that lead to it.
    path: Vec<String>,
    name: HeaderName,
}

/// The arguments of a tool that its schema wants in headers.
///
/// # Errors
///
/// Why the schema's wishes are not valid ones: such a tool must not be used.
pub(crate) fn wanted(schema: &Schema) -> Result<Vec<ParamHeader>, String> {
    // Hardly any tool has them: the text tells without a tree.
    if !schema.as_str().contains(ANNOTATION) {
        return Ok(Vec::new());
    }
    let schema = schema.to_value().map_err(|error| format!("its inputSchema cannot be read: {error}"))?;
    let mut found = Vec::new();
    walk(&schema, true, &mut Vec::new(), &mut found)?;
    let mut names = HashSet::new();
    match found.iter().find(|header| !names.insert(&header.name)) {
        Some(twice) => Err(format!("two of its properties want the header {}", twice.name)),
        None => Ok(found),
    }
}

/// `on_chain`: only names of properties lead from the root to this schema.
fn walk(
    schema: &Value,
    on_chain: bool,
    path: &mut Vec<String>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), String> {
    let members = match schema {
        Value::Object(members) => members,
        Value::Array(items) => return items.iter().try_for_each(|item| walk(item, false, path, found)),
        _ => return Ok(()),
    };
    if let Some(annotation) = members.get(ANNOTATION) {
        if !on_chain || path.is_empty() {
            return Err(format!("{ANNOTATION} stands where it names no property of its arguments"));
        }
        let kind = members.get("type").and_then(Value::as_str);
        if !matches!(kind, Some("string" | "integer" | "boolean")) {
            let place = path.join(".");
            return Err(format!("{ANNOTATION} on {place:?}, which is not a string, integer or boolean"));
        }
        let name = annotation
            .as_str()
            .filter(|name| !name.is_empty())
            .and_then(|name| HeaderName::from_bytes(format!("mcp-param-{name}").as_bytes()).ok())
            .ok_or_else(|| format!("{ANNOTATION} on {:?} is not the name of a header", path.join(".")))?;
        found.push(ParamHeader { path: path.clone(), name });
    }
    for (key, value) in members {
        match key.as_str() {
            "properties" => {
                for (name, property) in value.as_object().into_iter().flatten() {
                    path.push(name.clone());
                    walk(property, on_chain, path, found)?;
                    path.pop();
                }
            }
            "$defs" | "definitions" | "dependencies" | "dependentSchemas" | "patternProperties" => value
                .as_object()
                .into_iter()
                .flatten()
                .try_for_each(|(_, schema)| walk(schema, false, path, found))?,
            // Values and names, not schemas.
            ANNOTATION | "default" | "const" | "enum" | "examples" | "dependentRequired" => {}
            _ => walk(value, false, path, found)?,
        }
    }
    Ok(())
}

/// Adds the headers of a request.
pub(crate) fn add(headers: &mut HeaderMap, ask: Ask<'_>, wanted: &[ParamHeader]) {
    headers.insert(METHOD, HeaderValue::from_static(ask.method()));
    let name = match ask {
        Ask::Call { tool, .. } => Some(tool),
        Ask::List { .. } => None,
        Ask::Any { method, params } => {
            let key = match method {
                "tools/call" | "prompts/get" => Some("name"),
                "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
                "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
                _ => None,
            };
            key.and_then(|key| params.get(key)).and_then(Value::as_str)
        }
    };
    if let Some(name) = name.and_then(encoded) {
        headers.insert(NAME, name);
    }
    let arguments = match ask {
        Ask::Call { arguments, .. } => Some(arguments),
        Ask::Any { method: "tools/call", params } => params.get("arguments").and_then(Value::as_object),
        _ => None,
    };
    for ParamHeader { path, name } in wanted {
        if let Some(value) = arguments.and_then(|arguments| at(arguments, path)).and_then(text)
            && let Some(value) = encoded(&value)
        {
            headers.insert(name.clone(), value);
        }
    }
}

fn at<'a>(arguments: &'a JsonObject, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(arguments.get(first)?, |value, name| value.get(name))
}

/// What is neither text, number nor truth value has no header, `null` included.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}

fn encoded(value: &str) -> Option<HeaderValue> {
    let blank = |c: char| matches!(c, ' ' | '\t');
    let looks_encoded = value.starts_with(ENCODED.0) && value.ends_with(ENCODED.1);
    let padded = value.starts_with(blank) || value.ends_with(blank);
    if value.chars().all(|c| matches!(c, ' '..='~')) && !padded && !looks_encoded {
        return HeaderValue::from_str(value).ok();
    }
    HeaderValue::from_str(&format!("{}{}{}", ENCODED.0, BASE64_STANDARD.encode(value), ENCODED.1)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn properties(properties: Value) -> Schema {
        Schema::from(json!({"type": "object", "properties": properties}))
    }

    #[test]
    fn arguments_are_repeated_as_their_schema_wants() {
        let schema = properties(json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "x-mcp-header": {"type": "string"},
            "deep": {"properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            "none": {"type": "string", "x-mcp-header": "None", "default": {"x-mcp-header": 1}},
        }));
        let wanted = wanted(&schema).unwrap();
        let arguments = json!({"region": " ü", "deep": {"count": 7}, "dry": true, "none": null});
        let call = Ask::Call { tool: "move it", arguments: arguments.as_object().unwrap() };
        let params = json!({"name": "move it", "arguments": arguments});
        let same = Ask::Any { method: "tools/call", params: params.as_object().unwrap() };
        for ask in [call, same] {
            let mut headers = HeaderMap::new();
            add(&mut headers, ask, &wanted);
            let mut lines: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
            lines.sort();
            assert_eq!(
                lines,
                [
                    "mcp-method: tools/call",
                    "mcp-name: move it",
                    "mcp-param-count: 7",
                    "mcp-param-dry: true",
                    "mcp-param-region: =?base64?IMO8?="
                ]
            );
        }
    }

    #[test]
    fn other_requests_name_what_they_are_about() {
        for (method, params, name) in [
            ("resources/read", json!({"uri": "file:///ü"}), Some("=?base64?ZmlsZTovLy/DvA==?=")),
            ("tasks/get", json!({"taskId": "t1"}), Some("t1")),
            ("prompts/get", json!({"name": "=?base64?eA==?="}), Some("=?base64?PT9iYXNlNjQ/ZUE9PT89?=")),
            ("prompts/list", json!({"name": "x"}), None),
            ("resources/read", json!({"uri": 7}), None),
        ] {
            let mut headers = HeaderMap::new();
            add(&mut headers, Ask::Any { method, params: params.as_object().unwrap() }, &[]);
            assert_eq!(headers.get("mcp-name").map(|name| name.to_str().unwrap()), name, "{method}");
            assert_eq!(headers["mcp-method"], method);
        }
    }

    #[test]
    fn wishes_that_are_not_valid_are_found() {
        let string = |name: Value| json!({"type": "string", "x-mcp-header": name});
        for (schema, reason) in [
            (json!({"type": "object", "x-mcp-header": "A"}), "names no property"),
            (json!({"properties": {"a": {"items": string(json!("A"))}}}), "names no property"),
            (json!({"$defs": {"a": string(json!("A"))}}), "names no property"),
            (json!({"anyOf": [{"properties": {"a": string(json!("A"))}}]}), "names no property"),
            (json!({"properties": {"a": string(json!(""))}}), "not the name of a header"),
            (json!({"properties": {"a": string(json!("b c"))}}), "not the name of a header"),
            (json!({"properties": {"a": string(json!(7))}}), "not the name of a header"),
            (json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}), "not a string"),
            (json!({"properties": {"a": {"x-mcp-header": "A"}}}), "not a string"),
            (json!({"properties": {"a": string(json!("A")), "b": string(json!("a"))}}), "two of its"),
        ] {
            let error = wanted(&Schema::from(schema.clone())).unwrap_err();
            assert!(error.contains(reason), "{schema}: {error}");
        }
        assert_eq!(wanted(&properties(json!({"a": {"type": "string"}}))).unwrap(), []);
        // A word in a description is no wish.
        assert_eq!(wanted(&properties(json!({"a": {"description": "no x-mcp-header"}}))).unwrap(), []);
    }
}
