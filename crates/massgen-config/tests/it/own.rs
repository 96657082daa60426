//! The repository's own configurations: every key, no warning; and the JSON Schema made of the same tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use massgen_config::{json_schema, load};
use serde_json::Value;

use crate::options;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `examples/configs`, and the quick start's team.
fn configurations() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(root().join("examples/configs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .chain([root().join("examples/quickstart/team.yaml")])
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    paths
}

/// The variables that the examples name.
const VARIABLES: [(&str, &str); 9] = [
    ("OPENAI_API_KEY", "sk-o"),
    ("ANTHROPIC_API_KEY", "sk-a"),
    ("AZURE_OPENAI_API_KEY", "az"),
    ("GROQ_API_KEY", "gsk"),
    ("BRAVE_API_KEY", "brave"),
    ("SEMANTIC_SCHOLAR_API_KEY", "s2"),
    ("TRACKER_TOKEN", "tt"),
    ("NOTES_DIR", "notes"),
    ("HOME", "/home/me"),
];

#[test]
fn own_configurations_load_without_a_warning() {
    for path in configurations() {
        let loaded = load(&path, &options(&VARIABLES));
        assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
        assert!(loaded.config.is_some());
    }
}

#[test]
fn the_quick_start_takes_a_real_model_too() {
    let variables = [
        ("MASSGEN_DEMO_BACKEND", "chatcompletion"),
        ("MASSGEN_DEMO_MODEL", "qwen3"),
        ("MASSGEN_DEMO_BASE_URL", "http://localhost:11434/v1"),
    ];
    let loaded = load(&root().join("examples/quickstart/team.yaml"), &options(&variables));
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    for agent in loaded.config.unwrap().agents {
        assert_eq!(agent.backend.kind, massgen_config::BackendKind::ChatCompletion);
        assert_eq!(agent.backend.base_url.as_deref(), Some("http://localhost:11434/v1"));
    }
}

#[test]
fn own_configurations_name_every_key() {
    fn collect(schema: &Value, into: &mut BTreeSet<String>) {
        let definitions = schema["$defs"].as_object().unwrap();
        let tables =
            definitions.iter().map(|(name, table)| (name.as_str(), table)).chain([("config", schema)]);
        for (name, table) in tables {
            for key in table["properties"].as_object().unwrap().keys() {
                into.insert(format!("{name}.{key}"));
            }
        }
    }
    /// Follows the schema through a value, and notes each key it meets.
    fn visit(value: &Value, node: &Value, table: &str, schema: &Value, seen: &mut BTreeSet<String>) {
        if let Some(target) = node["$ref"].as_str() {
            let name = target.rsplit('/').next().unwrap();
            return visit(value, &schema["$defs"][name], name, schema, seen);
        }
        for word in ["anyOf", "allOf"] {
            for option in node[word].as_array().into_iter().flatten() {
                visit(value, option, table, schema, seen);
            }
        }
        match value {
            Value::Object(entries) => {
                for (key, inner) in entries {
                    if let Some(property) = node["properties"].get(key) {
                        seen.insert(format!("{table}.{key}"));
                        visit(inner, property, table, schema, seen);
                    } else if node["additionalProperties"].is_object() {
                        visit(inner, &node["additionalProperties"], table, schema, seen);
                    }
                }
            }
            Value::Array(items) => {
                items.iter().for_each(|item| visit(item, &node["items"], table, schema, seen))
            }
            _ => {}
        }
    }
    let schema = json_schema();
    let (mut all, mut seen) = (BTreeSet::new(), BTreeSet::new());
    collect(&schema, &mut all);
    for path in configurations() {
        visit(&plain(&path), &schema, "config", &schema, &mut seen);
    }
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "in no example: {missing:?}");
}

#[test]
fn own_configurations_fit_the_json_schema() {
    let validator = jsonschema::validator_for(&json_schema()).unwrap();
    for path in configurations() {
        let value = plain(&path);
        let problems: Vec<_> =
            validator.iter_errors(&value).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "{}: {problems:#?}", path.display());
    }
    for (wrong, why) in [
        (serde_json::json!({}), "no agents"),
        (serde_json::json!({ "agents": [{ "id": "a" }] }), "no backend"),
        (serde_json::json!({ "agent": { "backend": { "type": "opena" } } }), "no such type"),
        (serde_json::json!({ "agent": { "backend": { "model": "m", "temperature": 7 } } }), "out of range"),
        (serde_json::json!({ "agent": { "backend": { "model": "m" } }, "agnts": [] }), "unknown key"),
        (
            serde_json::json!({ "agent": { "backend": { "model": "m" } }, "mcp_servers": { "a b": {} } }),
            "name",
        ),
    ] {
        assert!(!validator.is_valid(&wrong), "{why}");
    }
}

/// The file as plain values, without massgen's own reading.
fn plain(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    massgen_config::from_yaml_str(&text, &path.display().to_string())
        .unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_committed_json_schema_is_up_to_date() {
    let made = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    expect_test::expect_file!["../../../../docs/reference/config.schema.json"].assert_eq(&made);
}
