//! `massgen mcp tools SERVER TOOL`: one tool, with what it takes and how to call it.

use massgen::core::{Annotations, Catalogue, CatalogueEntry};
use serde_json::{Value, json};

use crate::args::ServersArgs;
use crate::failure::{Failure, Kind};
use crate::mcp_command::{Started, start, table};
use crate::output;
use crate::style::{one_line, safe};

/// How many names of tools are listed where one was mistyped.
const NAMES: usize = 20;

pub(crate) async fn show(args: &ServersArgs, server: &str, tool: &str) -> Result<(), Failure> {
    let Started { servers, observed } = start(args, Some(server)).await?;
    let failed = servers.reports().into_iter().find_map(|report| report.error);
    let catalogue = servers.catalogue();
    servers.close().await;
    if let Some(error) = failed {
        return Err(Failure::new(Kind::NoAnswer, error));
    }
    let exposed = || catalogue.iter().find(|entry| entry.exposed.as_str() == tool);
    let entry = catalogue.find_on(server, tool).or_else(exposed);
    let entry = entry.ok_or_else(|| {
        observed.tell();
        unknown(&catalogue, server, tool)
    })?;
    if args.json {
        output::json(&document(entry));
    } else {
        describe(entry);
    }
    Ok(())
}

/// A tool as a document.
pub(crate) fn document(entry: &CatalogueEntry) -> Value {
    json!({
        "server": entry.spec.server,
        "name": entry.spec.name,
        "exposed": entry.exposed,
        "title": entry.spec.title,
        "description": entry.spec.description,
        "inputSchema": entry.spec.input_schema,
        "outputSchema": entry.spec.output_schema,
        "annotations": entry.spec.annotations,
    })
}

/// What a tool says of itself, in one word, as `nature:` of a rule.
pub(crate) fn nature(hints: &Annotations) -> &'static str {
    match (hints.is_read_only(), hints.is_destructive()) {
        (true, _) => "reads",
        (false, true) => "changes",
        (false, false) => "adds",
    }
}

/// There is no such tool; those that there are.
pub(crate) fn unknown(catalogue: &Catalogue, server: &str, tool: &str) -> Failure {
    let of = catalogue.iter().filter(|entry| entry.spec.server.as_str() == server);
    let names: Vec<_> = of.map(|entry| entry.spec.name.as_str()).collect();
    let more = if names.len() > NAMES { ", …" } else { "" };
    let listed = names.iter().take(NAMES).copied().collect::<Vec<_>>().join(", ");
    Failure::config(format!("there is no tool {tool:?} on server {server}"))
        .with_hint(format!("it has: {listed}{more}"))
}

fn describe(entry: &CatalogueEntry) {
    let spec = &entry.spec;
    output::line(safe(&format!("{}, {} of server {}", entry.exposed, spec.name, spec.server)));
    output::line(format!("it {}", nature(&spec.annotations)));
    for line in spec.description.as_deref().unwrap_or_default().trim().lines() {
        output::line(safe(&format!("  {line}")));
    }
    let schema = spec.input_schema.to_value().unwrap_or_default();
    let rows = arguments(&schema);
    output::line("");
    if rows.is_empty() {
        output::line("It takes no arguments that it names.");
    } else {
        table(["ARGUMENT", "TYPE", "REQUIRED", "ABOUT"], rows.clone());
    }
    let required = rows.iter().filter(|row| row[2] == "yes").map(|row| format!(" {}=…", row[0]));
    let call = format!("massgen mcp call {} {}{}", spec.server, spec.name, required.collect::<String>());
    output::line(safe(&format!("\n{call}")));
}

/// The arguments that a schema names: the required ones first, else in the schema's order.
fn arguments(schema: &Value) -> Vec<[String; 4]> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(properties) = schema["properties"].as_object() else { return Vec::new() };
    let mut rows: Vec<_> = properties
        .iter()
        .map(|(name, property)| {
            let is_required = if required.contains(&name.as_str()) { "yes" } else { "" };
            let about = one_line(property["description"].as_str().unwrap_or_default(), 70);
            [name.clone(), kind(property), is_required.to_owned(), about]
        })
        .collect();
    rows.sort_by_key(|row| row[2].is_empty());
    rows
}

/// What a value may be, in a few words.
fn kind(property: &Value) -> String {
    if let Some(values) = property["enum"].as_array() {
        let values: Vec<_> = values
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        return one_line(&values.join(" | "), 40);
    }
    let named = |kind: &Value| match kind {
        Value::String(kind) => Some(kind.clone()),
        Value::Array(kinds) => Some(
            kinds
                .iter()
                .filter_map(Value::as_str)
                .filter(|kind| *kind != "null")
                .collect::<Vec<_>>()
                .join(" | "),
        ),
        _ => None,
    };
    if let Some(kind) = named(&property["type"]) {
        return kind;
    }
    let choices = property["anyOf"].as_array().or_else(|| property["oneOf"].as_array());
    let mut kinds: Vec<_> =
        choices.into_iter().flatten().filter_map(|choice| named(&choice["type"])).collect();
    kinds.retain(|kind| kind != "null");
    kinds.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_told_in_rows() {
        let schema = json!({
            "properties": {
                "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "At most\nso many"},
                "order": {"enum": ["new", "old"]},
                "query": {"type": ["string", "null"]},
                "free": {},
            },
            "required": ["query"],
        });
        let rows: Vec<_> = arguments(&schema).into_iter().map(|row| row.join(",")).collect();
        assert_eq!(rows[0], "query,string,yes,");
        assert!(rows.contains(&"limit,integer,,At most…".to_owned()), "{rows:?}");
        assert!(rows.contains(&"order,new | old,,".to_owned()), "{rows:?}");
        assert!(arguments(&json!({"properties": 1, "required": {}})).is_empty());
        assert!(arguments(&json!(true)).is_empty());
    }
}
