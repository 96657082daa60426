//! Tools as the JSON Schema of an answer: the union of one object per tool, its name first, since a constrained
//! decoder writes properties in the schema's order and the arguments depend on the tool.

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::arguments_object;
use crate::ToolDefinition;

/// The response format that leaves a model nothing but to call one of the tools.
pub(super) fn response_format(tools: &[ToolDefinition]) -> Value {
    let mut definitions = JsonObject::new();
    let mut choices: Vec<Value> =
        tools.iter().enumerate().map(|(at, tool)| choice(at, tool, &mut definitions)).collect();
    let mut schema = match choices.len() {
        1 => choices.remove(0),
        _ => json!({"anyOf": choices}),
    };
    if let Some(schema) = schema.as_object_mut()
        && !definitions.is_empty()
    {
        schema.insert("$defs".into(), definitions.into());
    }
    json!({
        "type": "json_schema",
        "json_schema": {"name": "tool_call", "strict": true, "schema": schema},
    })
}

fn choice(at: usize, tool: &ToolDefinition, definitions: &mut JsonObject) -> Value {
    let mut arguments = (*tool.schema).clone();
    if let Some(schema) = arguments.as_object_mut() {
        // Names of dialects and of the schema itself mean nothing inside another one.
        schema.shift_remove("$schema");
        schema.shift_remove("$id");
    }
    // A reference counts from the root, and the root is now another: such a schema moves as a whole.
    let name = format!("t{at}");
    if rebase(&mut arguments, &format!("#/$defs/{name}"), 0) {
        definitions.insert(name.clone(), arguments);
        arguments = json!({"$ref": format!("#/$defs/{name}")});
    }
    json!({
        "type": "object",
        "properties": {"tool": {"type": "string", "const": tool.name}, "arguments": arguments},
        "required": ["tool", "arguments"],
        "additionalProperties": false,
    })
}

/// Moves the references inside a schema below `root`; says whether there were any.
fn rebase(schema: &mut Value, root: &str, depth: usize) -> bool {
    if depth > 64 {
        return false;
    }
    match schema {
        Value::Object(object) => {
            let mut any = false;
            for (key, value) in object.iter_mut() {
                let own = value.as_str().filter(|_| key == "$ref").and_then(|to| to.strip_prefix('#'));
                if let Some(rest) = own {
                    *value = format!("{root}{rest}").into();
                    any = true;
                } else {
                    any |= rebase(value, root, depth + 1);
                }
            }
            any
        }
        Value::Array(list) => {
            let mut any = false;
            for value in list {
                any |= rebase(value, root, depth + 1);
            }
            any
        }
        _ => false,
    }
}

/// What the model is told: what to write, and one example per tool.
pub(super) fn instructions(tools: &[ToolDefinition]) -> String {
    let mut text = String::from(
        "Answer with one JSON object that calls one of these tools, and with nothing else: \
         {\"tool\": NAME, \"arguments\": {...}}. Write the arguments for the task at hand; the examples only show \
         their form.\n\nTools:",
    );
    for tool in tools {
        let example = Ok(example(&tool.schema));
        text.push_str(&format!(
            "\n- {}: {}\n  Example: {}",
            tool.name,
            tool.description.trim(),
            call_text(&tool.name, &example)
        ));
    }
    text
}

/// A call as the text that this mode's model writes.
pub(super) fn call_text(name: &str, arguments: &Result<JsonObject, String>) -> String {
    json!({"tool": name, "arguments": arguments_object(arguments)}).to_string()
}

/// Arguments that fit a schema: the required ones, or else the first.
fn example(schema: &Value) -> JsonObject {
    let root = schema;
    let properties = schema.get("properties").and_then(Value::as_object);
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let wanted = |(at, (name, _)): &(usize, (&String, &Value))| {
        if required.is_empty() { *at == 0 } else { required.contains(&name.as_str()) }
    };
    properties
        .into_iter()
        .flatten()
        .enumerate()
        .filter(wanted)
        .map(|(_, (name, schema))| (name.clone(), value(schema, root, 0)))
        .collect()
}

fn value(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > 4 {
        return Value::Null;
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix('#')) {
        return root.pointer(target).map_or(Value::Null, |schema| value(schema, root, depth + 1));
    }
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|list| list.first());
    if let Some(known) =
        schema.get("const").or_else(|| schema.get("default")).filter(|known| !known.is_null())
    {
        return known.clone();
    }
    // All of a few choices: the first alone would be taken for the usual one.
    let choices = schema.get("enum").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let words: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
    if words.len() == choices.len() && (2..=8).contains(&words.len()) {
        return words.join("|").into();
    }
    if let Some(known) = first("enum").or_else(|| first("examples")) {
        return known.clone();
    }
    if let Some(choice) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return value(choice, root, depth + 1);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().find_map(Value::as_str),
        kind => kind.and_then(Value::as_str),
    };
    match kind {
        Some("integer") => schema.get("minimum").cloned().filter(Value::is_i64).unwrap_or_else(|| 1.into()),
        Some("number") => schema.get("minimum").cloned().unwrap_or_else(|| 1.into()),
        Some("boolean") => true.into(),
        Some("array") => {
            let item = schema.get("items").map(|items| value(items, root, depth + 1));
            Value::Array(item.into_iter().collect())
        }
        Some("object") => Value::Object(example_of(schema, root, depth)),
        Some("null") => Value::Null,
        _ => "...".into(),
    }
}

fn example_of(schema: &Value, root: &Value, depth: usize) -> JsonObject {
    let required = schema.get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|n| n == name));
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_required(name))
        .map(|(name, schema)| (name.clone(), value(schema, root, depth + 1)))
        .collect()
}
