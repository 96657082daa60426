//! The tables as a JSON Schema, for editors.

use serde_json::{Map, Value, json};

use super::{EFFECTS, Key, Kind, Kinds, Role, TOP, Table};

/// A number or boolean may also be a `${VARIABLE}`.
const REFERENCE: &str = r"\$\{.+\}";

/// The JSON Schema (draft 2020-12) of a configuration file. It describes what loads without a warning; the checks
/// that span several keys are [`crate::load`]'s.
pub fn json_schema() -> Value {
    let mut definitions = Map::new();
    let mut schema = table(&TOP, &mut definitions);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".to_owned(), "massgen configuration".into());
        schema.insert("anyOf".to_owned(), json!([{ "required": ["agent"] }, { "required": ["agents"] }]));
        // Places for anchors.
        schema.insert("patternProperties".to_owned(), json!({ "^x-": true }));
        definitions.sort_keys();
        schema.insert("$defs".to_owned(), Value::Object(definitions));
    }
    schema
}

fn table(table: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    for key in table.keys.iter().filter(|key| matches!(key.role, Role::Read | Role::Pass)) {
        properties.insert(key.name.to_owned(), property(key, definitions));
    }
    let mut schema =
        json!({ "description": table.doc, "type": ["object", "null"], "properties": properties });
    if table.name != "backend" {
        schema["additionalProperties"] = false.into();
    }
    match table.name {
        "agent" => schema["required"] = json!(["backend"]),
        "permission" => schema["required"] = json!(["tool", "decision"]),
        "backend" => schema["anyOf"] = json!([{ "required": ["type"] }, { "required": ["model"] }]),
        "config" | "agents" => schema["type"] = "object".into(),
        _ => {}
    }
    schema
}

fn reference(to: &'static Table, definitions: &mut Map<String, Value>) -> Value {
    if !definitions.contains_key(to.name) {
        definitions.insert(to.name.to_owned(), Value::Null);
        let schema = table(to, definitions);
        definitions.insert(to.name.to_owned(), schema);
    }
    json!({ "$ref": format!("#/$defs/{}", to.name) })
}

fn property(key: &'static Key, definitions: &mut Map<String, Value>) -> Value {
    let scalar = json!(["string", "number", "boolean"]);
    let texts =
        json!([{ "type": scalar }, { "type": "array", "items": { "type": scalar } }, { "type": "null" }]);
    let mut schema = match &key.kind {
        Kind::Text => json!({ "type": ["string", "number", "boolean", "null"] }),
        Kind::Bool => {
            json!({ "type": ["boolean", "string", "null"], "pattern": format!("^(true|false)$|{REFERENCE}") })
        }
        Kind::Integer(least, most) => {
            let mut schema = json!({ "type": ["integer", "string", "null"], "minimum": least, "pattern": format!("^[0-9]+$|{REFERENCE}") });
            if *most < u64::MAX {
                schema["maximum"] = (*most).into();
            }
            schema
        }
        Kind::Number(least, most) => {
            json!({ "type": ["number", "string", "null"], "minimum": least, "maximum": most, "pattern": format!(r"^[0-9.]+$|{REFERENCE}") })
        }
        Kind::Duration => {
            json!({ "type": ["number", "string", "null"], "exclusiveMinimum": 0, "pattern": format!(r"^[0-9.]+ *(ms|s|m|h)?$|{REFERENCE}") })
        }
        Kind::Choice(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": REFERENCE }, { "type": "null" }] })
        }
        Kind::TextList => json!({ "anyOf": texts }),
        Kind::TextMap => {
            json!({ "type": ["object", "null"], "additionalProperties": { "type": ["string", "number", "boolean", "null"] } })
        }
        Kind::Section(to) => reference(to, definitions),
        Kind::List(of) => json!({ "type": ["array", "null"], "items": reference(of, definitions) }),
        Kind::Servers(of) => {
            let of = reference(of, definitions);
            json!({ "anyOf": [
                { "type": "object", "propertyNames": { "pattern": "^[A-Za-z0-9_-]{1,100}$" }, "additionalProperties": of },
                { "type": "array", "items": { "allOf": [of, { "required": ["name"] }] } },
                { "type": "null" },
            ] })
        }
        Kind::Effects => json!({ "anyOf": [
            { "enum": EFFECTS },
            { "type": "object", "additionalProperties": { "enum": EFFECTS } },
            { "type": "null" },
        ] }),
        Kind::Switch => json!({ "type": ["boolean", "object", "null"] }),
        Kind::Any => json!({}),
    };
    let mut description = key.doc.to_owned();
    if key.only != Kinds::ALL {
        description = format!("{description} For: {}.", key.only.names());
    }
    schema["description"] = description.into();
    schema
}
