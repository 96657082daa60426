//! Values that plainly fit their schema. Most tools describe their arguments by types, members and limits, and most
//! arguments are right: those need no compiled schema, and no schema of schemas to compile it with.

use serde_json::{Map, Value};

/// Whether the value fits the schema beyond doubt, in each draft alike. Where that takes a keyword that is not known
/// here, or the value does not fit, the answer is no, and a compiled schema says what is wrong, if anything is.
pub(super) fn surely_fits(schema: &Value, value: &Value) -> bool {
    match schema {
        Value::Bool(fits) => *fits,
        Value::Object(keywords) => {
            keywords.iter().all(|(name, keyword)| holds(keywords, name, keyword, value))
        }
        _ => false,
    }
}

fn holds(keywords: &Map<String, Value>, name: &str, keyword: &Value, value: &Value) -> bool {
    match name {
        // They only tell.
        "$schema" | "$comment" | "title" | "description" | "default" | "examples" | "deprecated"
        | "readOnly" | "writeOnly" => true,
        // They are nothing unless something refers to them.
        "$defs" | "definitions" => true,
        "type" => match keyword {
            Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind, value)),
            kind => is_of(kind, value),
        },
        "const" => keyword == value,
        "enum" => keyword.as_array().is_some_and(|values| values.contains(value)),
        "anyOf" => keyword.as_array().is_some_and(|any| any.iter().any(|schema| surely_fits(schema, value))),
        "allOf" => keyword.as_array().is_some_and(|all| all.iter().all(|schema| surely_fits(schema, value))),
        "properties" => match (keyword, value) {
            (Value::Object(schemas), Value::Object(members)) => members
                .iter()
                .all(|(name, member)| schemas.get(name).is_none_or(|schema| surely_fits(schema, member))),
            (schemas, _) => schemas.is_object(),
        },
        "required" => match (keyword, value) {
            (Value::Array(names), Value::Object(members)) => {
                names.iter().all(|name| name.as_str().is_some_and(|name| members.contains_key(name)))
            }
            (names, _) => names.is_array(),
        },
        "additionalProperties" => {
            let known = keywords.get("properties").and_then(Value::as_object);
            let is_known = |name: &str| known.is_some_and(|known| known.contains_key(name));
            value.as_object().is_none_or(|members| {
                members.iter().all(|(name, member)| is_known(name) || surely_fits(keyword, member))
            })
        }
        "items" => match value {
            // A list of schemas is another keyword by the same name.
            _ if keyword.is_array() => false,
            Value::Array(items) => items.iter().all(|item| surely_fits(keyword, item)),
            _ => true,
        },
        "minItems" => at_least(value.as_array().map(Vec::len), keyword),
        "maxItems" => at_most(value.as_array().map(Vec::len), keyword),
        "minLength" => at_least(value.as_str().map(|text| text.chars().count()), keyword),
        "maxLength" => at_most(value.as_str().map(|text| text.chars().count()), keyword),
        "minimum" => !value.is_number() || whole(keyword, value).is_some_and(|(least, value)| value >= least),
        "maximum" => !value.is_number() || whole(keyword, value).is_some_and(|(most, value)| value <= most),
        _ => false,
    }
}

fn is_of(kind: &Value, value: &Value) -> bool {
    match (kind.as_str(), value) {
        (Some("null"), Value::Null)
        | (Some("boolean"), Value::Bool(_))
        | (Some("string"), Value::String(_))
        | (Some("array"), Value::Array(_))
        | (Some("object"), Value::Object(_))
        | (Some("number"), Value::Number(_)) => true,
        // Whether 1.0 is one is a question of drafts.
        (Some("integer"), Value::Number(number)) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

/// `None`: the keyword is not about such a value.
fn at_least(count: Option<usize>, least: &Value) -> bool {
    count.is_none_or(|count| least.as_u64().is_some_and(|least| count as u64 >= least))
}

fn at_most(count: Option<usize>, most: &Value) -> bool {
    count.is_none_or(|count| most.as_u64().is_some_and(|most| count as u64 <= most))
}

fn whole(one: &Value, other: &Value) -> Option<(i64, i64)> {
    Some((one.as_i64()?, other.as_i64()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_tools_usually_ask_for_is_plain() {
        let schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#", "title": "search", "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "description": "What to look for."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                "order": {"enum": ["asc", "desc"]},
                "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": null},
            },
            "required": ["query"], "additionalProperties": false,
        });
        for fits in [
            json!({"query": "x"}),
            json!({"query": "x", "limit": 100, "order": "asc", "tags": ["a", "b"]}),
            json!({"query": "x", "tags": null}),
        ] {
            assert!(surely_fits(&schema, &fits), "{fits}");
        }
        for doubtful in [
            json!({}),
            json!({"query": ""}),
            json!({"query": "x", "limit": 0}),
            json!({"query": "x", "limit": 1.5}),
            json!({"query": "x", "order": "up"}),
            json!({"query": "x", "tags": [1]}),
            json!({"query": "x", "more": 1}),
        ] {
            assert!(!surely_fits(&schema, &doubtful), "{doubtful}");
        }
        for unknown in [json!({"pattern": "a"}), json!({"$ref": "#"}), json!({"not": {}}), json!({"type": 5})]
        {
            assert!(!surely_fits(&unknown, &json!("a")), "{unknown}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-2i64..4).prop_map(Value::from),
            prop_oneof![Just(1.0), Just(-0.5), Just(2.0)].prop_map(Value::from),
            "[ab\u{e9}]{0,3}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::vec(("[abc]", inner), 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn schema() -> impl Strategy<Value = Value> {
        let kind = || {
            prop::sample::select(vec![
                "null", "boolean", "string", "array", "object", "number", "integer", "odd",
            ])
        };
        let count = || prop_oneof![(0u64..3).prop_map(Value::from), Just(json!(1.0)), Just(json!(-1))];
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::Bool),
            kind().prop_map(|kind| json!({"type": kind})),
            prop::collection::vec(kind(), 0..3).prop_map(|kinds| json!({"type": kinds})),
            value().prop_map(|value| json!({"const": value})),
            prop::collection::vec(value(), 0..3).prop_map(|values| json!({"enum": values})),
            (prop::sample::select(vec!["minItems", "maxItems", "minLength", "maxLength"]), count())
                .prop_map(|(name, count)| json!({name: count})),
            (prop::sample::select(vec!["minimum", "maximum", "exclusiveMinimum"]), value())
                .prop_map(|(name, bound)| json!({name: bound})),
            prop::collection::vec("[abc]", 0..3).prop_map(|names| json!({"required": names})),
            Just(json!({"pattern": "a"})),
            Just(json!({"x-own": 1})),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            let several = || prop::collection::vec(inner.clone(), 0..3);
            let members = prop::collection::vec(("[abc]", inner.clone()), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect()));
            let one = prop_oneof![
                inner.clone().prop_map(|schema| json!({"items": schema})),
                several().prop_map(|schemas| json!({"items": schemas})),
                several().prop_map(|schemas| json!({"anyOf": schemas})),
                several().prop_map(|schemas| json!({"allOf": schemas})),
                members.prop_map(|members| json!({"properties": members})),
                inner.clone().prop_map(|schema| json!({"additionalProperties": schema})),
                inner.clone().prop_map(|schema| json!({"$defs": {"a": schema}, "title": "t"})),
                inner.clone(),
            ];
            let draft = prop::option::of(prop::sample::select(vec![
                "http://json-schema.org/draft-04/schema#",
                "http://json-schema.org/draft-07/schema#",
                "https://json-schema.org/draft/2019-09/schema",
                "https://json-schema.org/draft/2020-12/schema",
            ]));
            // Several keywords beside each other.
            (prop::collection::vec(one, 1..3), draft).prop_map(|(parts, draft)| {
                let mut all = Map::new();
                parts
                    .into_iter()
                    .filter_map(|part| part.as_object().cloned())
                    .for_each(|part| all.extend(part));
                if let Some(draft) = draft {
                    all.insert("$schema".to_owned(), json!(draft));
                }
                Value::Object(all)
            })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_surely_fits_passes_the_compiled_schema(schema in schema(), value in value()) {
            if surely_fits(&schema, &value)
                && let Ok(validator) = jsonschema::options().offline().build(&schema)
            {
                prop_assert!(validator.is_valid(&value));
            }
        }
    }
}
