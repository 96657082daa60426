//! docs/reference/configuration.md: every key, from the JSON Schema that massgen-config generates.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::page::Page;
use crate::project;

const SCHEMA: &str = "docs/reference/config.schema.json";
const HEAD: &str = "\
# Configuration reference

Every key of a configuration file. This page is written by `cargo xtask docs --write`, from the
[JSON Schema](config.schema.json) that editors can use too. [Configuration](../configuration.md) shows how the keys
work together.
";

/// The sections in the order in which a file has them; a section that is not named here comes after these.
const ORDER: [&str; 4] = ["agent", "backend", "mcp_server", "permission"];

pub(super) const PAGE: Page = Page { path: "docs/reference/configuration.md", make: page };

fn page() -> Result<String> {
    let path = project::root().join(SCHEMA);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(of_schema(&serde_json::from_str(&text).with_context(|| SCHEMA.to_owned())?))
}

fn of_schema(schema: &Value) -> String {
    let mut page = HEAD.to_owned();
    section(&mut page, "The file", schema);
    let none = Map::new();
    let sections = schema["$defs"].as_object().unwrap_or(&none);
    for name in ORDER {
        if let Some(body) = sections.get(name) {
            section(&mut page, &format!("`{name}`"), body);
        }
    }
    for (name, body) in sections.iter().filter(|(name, _)| !ORDER.contains(&name.as_str())) {
        section(&mut page, &format!("`{name}`"), body);
    }
    page
}

fn section(page: &mut String, title: &str, schema: &Value) {
    page.push_str(&format!("\n## {title}\n"));
    if let Some(about) = schema["description"].as_str() {
        page.push_str(&format!("\n{about}\n"));
    }
    page.push_str("\n| key | value | what it does |\n|---|---|---|\n");
    for (key, property) in schema["properties"].as_object().into_iter().flatten() {
        let about = property["description"].as_str().unwrap_or_default();
        let value = Some(value(property)).filter(|value| !value.is_empty());
        page.push_str(&format!("| `{key}` | {} | {} |\n", value.as_deref().unwrap_or("any"), cell(about)));
    }
}

/// What may stand behind the key, in few words.
fn value(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{name})");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let mut of: Vec<String> = any.iter().map(value).filter(|of| !of.is_empty() && of != "text").collect();
        if of.is_empty() {
            of.push("text".to_owned());
        }
        of.dedup();
        return of.join(" or ");
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().map(value).find(|of| !of.is_empty()).unwrap_or_default();
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return String::new(),
    };
    // Numbers and booleans may always be written as text: `${VARIABLE}` is text.
    let has = |name: &str| types.contains(&name);
    match () {
        () if has("array") => format!("list of {}", plural(&value(&schema["items"]))),
        () if has("object") && has("boolean") => "`true`, `false` or a mapping".to_owned(),
        () if has("object") => mapping(&schema["additionalProperties"]),
        () if has("integer") => range(schema, "whole number"),
        () if has("number") && has("boolean") => "text".to_owned(),
        () if has("number") && schema["pattern"].as_str().is_some_and(|pattern| pattern.contains("ms")) => {
            "seconds, or text such as `90s`, `2m`".to_owned()
        }
        () if has("number") => range(schema, "number"),
        () if has("boolean") => "`true` or `false`".to_owned(),
        () if has("string") => "text".to_owned(),
        () => String::new(),
    }
}

fn mapping(values: &Value) -> String {
    match value(values) {
        of if of.is_empty() => "mapping".to_owned(),
        of => format!("mapping of names to {}", plural(&of)),
    }
}

fn plural(of: &str) -> String {
    match of {
        "" => "anything".to_owned(),
        "text" => "texts".to_owned(),
        of => of.to_owned(),
    }
}

fn range(schema: &Value, what: &str) -> String {
    match (schema["minimum"].as_f64(), schema["maximum"].as_f64()) {
        (Some(least), Some(most)) if most < 1e6 => format!("{what}, {least} to {most}"),
        (Some(least), _) => format!("{what}, at least {least}"),
        _ => what.to_owned(),
    }
}

/// A bar would end the cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_becomes_tables() {
        let schema = json!({
            "description": "A team.",
            "properties": { "agents": { "type": ["array", "null"], "items": { "$ref": "#/$defs/agent" }, "description": "The team." } },
            "$defs": { "agent": { "description": "One.", "properties": { "id": { "type": ["string", "null"], "description": "a|b" } } } },
        });
        let page = of_schema(&schema);
        assert!(page.contains("## The file\n\nA team.\n"), "{page}");
        assert!(page.contains("| `agents` | list of [agent](#agent) | The team. |"), "{page}");
        assert!(page.contains("| `id` | text | a\\|b |"), "{page}");
    }

    #[test]
    fn values_are_told_in_words() {
        let check = |schema: Value, expected: &str| assert_eq!(value(&schema), expected, "{schema}");
        check(json!({ "type": ["boolean", "string", "null"] }), "`true` or `false`");
        check(json!({ "type": ["integer", "string"], "minimum": 1 }), "whole number, at least 1");
        check(
            json!({ "anyOf": [{ "enum": ["a", "b"] }, { "type": "string" }, { "type": "null" }] }),
            "`a`, `b`",
        );
        check(
            json!({ "anyOf": [{ "type": ["string", "number", "boolean"] }, { "type": "array", "items": { "type": "string" } }] }),
            "list of texts",
        );
        check(json!({}), "");
    }
}
