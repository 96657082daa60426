//! What the desk says about its tools.

use mcp_core::{Annotations, Catalogue, NameError, ServerName, ToolFilter, ToolName, ToolSpec};
use serde_json::{Value, json};

/// The desk's name, in the exposed names of its tools.
pub(crate) const SERVER: &str = "desk";

pub(crate) fn catalogue() -> Result<Catalogue, NameError> {
    let server = ServerName::new(SERVER)?;
    let moment = object(json!({
        "zone": {"type": "string"},
        "date": {"type": "string", "description": "YYYY-MM-DD"},
        "time": {"type": "string", "description": "HH:MM"},
        "weekday": {"type": "string"},
        "offset": {"type": "string", "description": "From UTC, such as +02:00"},
        "iso": {"type": "string", "description": "ISO 8601"},
    }));
    let zone = json!({
        "type": "string",
        "description": "A time zone such as Europe/Lisbon, a city such as Lisbon, or an offset such as +02:00",
    });
    let digits = json!({"type": "integer", "minimum": -15, "maximum": 15, "description": "Decimal places to round to"});
    let name = json!({"type": "string", "minLength": 1, "maxLength": 100, "description": "The note's name"});
    let tools = vec![
        tool(&server, "now", "Tells the date and time now, in a time zone or in UTC.", reads(false))?
            .with_input_schema(schema(json!({"zone": zone}), &[]))
            .with_output_schema(moment.clone()),
        tool(
            &server,
            "convert_time",
            "Converts a time of one zone into another, minding daylight saving time. Can add a span first: the time \
             12 h 25 min after 07:40 in Lisbon, as the clock in Tokyo shows it.",
            reads(false),
        )?
        .with_input_schema(schema(
            json!({
                "time": {"type": "string", "description": "HH:MM of today, YYYY-MM-DD HH:MM, or now"},
                "from": zone,
                "to": zone,
                "add": {"type": "string", "description": "A span to add to the time, such as 12h 25m, 3 days or -90m"},
            }),
            &["time", "from", "to"],
        ))
        .with_output_schema(schema(
            json!({
                "from": moment,
                "to": moment,
                "hours_ahead": {"type": "number", "description": "How far the clock of \"to\" is ahead"},
                "text": {"type": "string"},
                "note": {"type": "string", "description": "Said where the clocks change just then"},
            }),
            &["from", "to", "hours_ahead", "text"],
        )),
        tool(
            &server,
            "calculate",
            "Evaluates an arithmetic expression: + - * / % ^, parentheses, pi, e, and functions such as sqrt(x), \
             round(x, digits), min(a, b), max(a, b), ln(x), sin(x).",
            reads(true),
        )?
        .with_input_schema(schema(
            json!({
                "expression": {"type": "string", "description": "Such as 14 * (12 + 25 / 60)"},
                "digits": digits,
            }),
            &["expression"],
        ))
        .with_output_schema(object(json!({"value": {"type": "number"}, "text": {"type": "string"}}))),
        tool(
            &server,
            "convert",
            "Converts a value between units of length, mass, temperature, area, volume, speed, data, time, energy, \
             pressure or angle.",
            reads(true),
        )?
        .with_input_schema(schema(
            json!({
                "value": {"type": "number"},
                "from": {"type": "string", "description": "A unit such as nautical miles, nmi, °C, km/h or GiB"},
                "to": {"type": "string", "description": "A unit of the same quantity"},
                "digits": digits,
            }),
            &["value", "from", "to"],
        ))
        .with_output_schema(object(
            json!({"value": {"type": "number"}, "unit": {"type": "string"}, "text": {"type": "string"}}),
        )),
        tool(&server, "note_write", "Keeps a note under a name. A note of the same name is replaced.", writes())?
            .with_input_schema(schema(
                json!({"name": name, "text": {"type": "string", "description": "What it says"}}),
                &["name", "text"],
            ))
            .with_output_schema(object(json!({"name": {"type": "string"}, "replaced": {"type": "boolean"}}))),
        tool(&server, "note_list", "Lists the names of all notes.", reads(false))?
            .with_input_schema(schema(json!({}), &[]))
            .with_output_schema(object(json!({
                "notes": {
                    "type": "array",
                    "items": object(json!({"name": {"type": "string"}, "characters": {"type": "integer"}})),
                },
            }))),
        tool(&server, "note_read", "Reads a note by its name.", reads(false))?
            .with_input_schema(schema(json!({"name": name}), &["name"]))
            .with_output_schema(object(json!({"name": {"type": "string"}, "text": {"type": "string"}}))),
    ];
    Ok(Catalogue::build([(server, tools, ToolFilter::default())]).catalogue)
}

fn tool(
    server: &ServerName,
    name: &str,
    description: &str,
    annotations: Annotations,
) -> Result<ToolSpec, NameError> {
    let spec = ToolSpec::new(server.clone(), ToolName::new(name)?);
    Ok(spec.with_description(description).with_annotations(annotations))
}

/// A tool that changes nothing. Only one whose answer never changes either says that it is idempotent: a clock is
/// read-only and must still be asked again.
fn reads(always_the_same: bool) -> Annotations {
    Annotations {
        read_only_hint: Some(true),
        idempotent_hint: always_the_same.then_some(true),
        open_world_hint: Some(false),
        ..Annotations::default()
    }
}

/// A tool that may overwrite, and for which once is as good as twice.
fn writes() -> Annotations {
    Annotations {
        read_only_hint: Some(false),
        destructive_hint: Some(true),
        idempotent_hint: Some(true),
        open_world_hint: Some(false),
        ..Annotations::default()
    }
}

fn schema(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A schema whose properties are all there.
fn object(properties: Value) -> Value {
    let names: Vec<&str> =
        properties.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    schema(properties.clone(), &names)
}
