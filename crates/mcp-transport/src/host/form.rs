//! The flat forms of elicitation: an object of text, numbers, yes or no, and choices.

use mcp_core::JsonObject;
use serde_json::Value;

pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// The defaults that the schema gives and that fit it themselves.
pub(super) fn defaults(schema: &Value) -> JsonObject {
    properties(schema)
        .filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())))
        .filter(|(name, value)| problem(&schema["properties"][name.as_str()], value).is_none())
        .collect()
}

/// What is wrong with the values, one sentence each.
pub(super) fn problems(schema: &Value, values: &JsonObject) -> Vec<String> {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let missing = required
        .filter_map(Value::as_str)
        .filter(|name| !values.contains_key(*name))
        .map(|name| format!("{name:?} is missing"));
    let wrong = values.iter().filter_map(|(name, value)| match schema["properties"].get(name) {
        Some(property) => problem(property, value).map(|problem| format!("{name:?} {problem}")),
        None => Some(format!("{name:?} was not asked for")),
    });
    missing.chain(wrong).collect()
}

/// What is wrong with one value, in words that follow the field's name.
pub(super) fn problem(property: &Value, value: &Value) -> Option<String> {
    let number = |key: &str| property.get(key).and_then(Value::as_f64);
    let kind = property.get("type").and_then(Value::as_str).unwrap_or("string");
    match (kind, value) {
        ("string", Value::String(text)) => {
            let length = text.chars().count() as f64;
            if !permitted(property, value) {
                return Some("is not one of the choices".to_owned());
            }
            match (number("minLength"), number("maxLength")) {
                (Some(least), _) if length < least => Some(format!("is shorter than {least} characters")),
                (_, Some(most)) if length > most => Some(format!("is longer than {most} characters")),
                _ => None,
            }
        }
        ("number" | "integer", Value::Number(given)) => {
            let given = given.as_f64().unwrap_or(f64::NAN);
            if kind == "integer" && given.fract() != 0.0 {
                return Some("is not a whole number".to_owned());
            }
            match (number("minimum"), number("maximum")) {
                (Some(least), _) if given < least => Some(format!("is less than {least}")),
                (_, Some(most)) if given > most => Some(format!("is more than {most}")),
                _ => None,
            }
        }
        ("boolean", Value::Bool(_)) => None,
        ("array", Value::Array(chosen)) => {
            let items = property.get("items").unwrap_or(&Value::Null);
            let count = chosen.len() as f64;
            if !chosen.iter().all(|choice| choice.is_string() && permitted(items, choice)) {
                return Some("holds something that is not one of the choices".to_owned());
            }
            match (number("minItems"), number("maxItems")) {
                (Some(least), _) if count < least => Some(format!("has fewer than {least} choices")),
                (_, Some(most)) if count > most => Some(format!("has more than {most} choices")),
                _ => None,
            }
        }
        _ => Some(format!("is not of the type {kind}")),
    }
}

/// Whether the value is among the choices, where there are any: `enum`, or titled ones in `oneOf` and `anyOf`.
fn permitted(schema: &Value, value: &Value) -> bool {
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        return choices.contains(value);
    }
    match schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array) {
        Some(choices) => choices.iter().any(|choice| choice.get("const") == Some(value)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 2, "default": "Ada"},
                "age": {"type": "integer", "minimum": 0, "maximum": 150, "default": 7.5},
                "colour": {"type": "string", "enum": ["red", "blue"], "default": "blue"},
                "size": {"type": "string", "oneOf": [{"const": "s", "title": "Small"}]},
                "days": {"type": "array", "items": {"anyOf": [{"const": "mon"}, {"const": "tue"}]}, "maxItems": 1,
                         "default": ["mon"]},
                "agree": {"type": "boolean", "default": false},
            },
            "required": ["name", "agree"],
        })
    }

    #[test]
    fn defaults_that_fit_are_taken() {
        let expected = json!({"name": "Ada", "colour": "blue", "days": ["mon"], "agree": false});
        assert_eq!(Value::Object(defaults(&schema())), expected);
        assert_eq!(defaults(&json!(true)), JsonObject::new());
    }

    #[test]
    fn each_wrong_value_is_named() {
        let cases = [
            (json!({"name": "Ada", "agree": true}), vec![]),
            (json!({"agree": true}), vec![r#""name" is missing"#]),
            (json!({"name": "A", "agree": 1}), vec!["is shorter than 2", "is not of the type boolean"]),
            (json!({"name": "Ada", "agree": true, "age": 1.5}), vec!["is not a whole number"]),
            (json!({"name": "Ada", "agree": true, "age": 151}), vec!["is more than 150"]),
            (json!({"name": "Ada", "agree": true, "colour": "green"}), vec!["is not one of the choices"]),
            (json!({"name": "Ada", "agree": true, "size": "xl"}), vec!["is not one of the choices"]),
            (json!({"name": "Ada", "agree": true, "days": ["mon", "tue"]}), vec!["has more than 1"]),
            (json!({"name": "Ada", "agree": true, "days": ["sun"]}), vec!["not one of the choices"]),
            (json!({"name": "Ada", "agree": true, "key": "x"}), vec!["was not asked for"]),
        ];
        for (values, expected) in cases {
            let problems = problems(&schema(), values.as_object().unwrap());
            assert_eq!(problems.len(), expected.len(), "{values}: {problems:?}");
            for (problem, part) in problems.iter().zip(expected) {
                assert!(problem.contains(part), "{values}: {problem}");
            }
        }
    }
}
