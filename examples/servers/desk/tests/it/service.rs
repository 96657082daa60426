//! Every tool, called as a client of the service would.

use desk::{Desk, Notes};
use mcp_core::{CallId, ToolCall, ToolError, ToolOutput, ToolService};
use serde_json::{Value, json};

async fn call(desk: &Desk, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    desk.call(ToolCall::new(CallId::new("1"), tool, arguments.as_object().cloned().unwrap())).await
}

/// Tuesday 24 November 2026, 06:02:11 UTC.
fn desk() -> Desk {
    Desk::with_clock(Notes::default(), || jiff::Timestamp::from_second(1_795_500_131).unwrap()).unwrap()
}

#[tokio::test]
async fn every_tool_answers_with_a_structured_result_that_its_text_repeats() {
    let desk = desk();
    for (tool, arguments, pointer, wanted) in [
        ("now", json!({"zone": "Tokyo"}), "/time", json!("15:02")),
        ("now", json!({}), "/weekday", json!("Tuesday")),
        (
            "convert_time",
            json!({"time": "07:40", "from": "Lisbon", "to": "Tokyo", "add": "12h 25m"}),
            "/to/time",
            json!("05:05"),
        ),
        ("calculate", json!({"expression": "14 * (12 + 25 / 60)", "digits": 1}), "/value", json!(173.8)),
        ("calculate", json!({"expression": "2^10"}), "/text", json!("2^10 = 1024")),
        ("convert", json!({"value": 173.8, "from": "nmi", "to": "km", "digits": 0}), "/value", json!(322)),
        ("note_write", json!({"name": "ferry", "text": "322 km"}), "/replaced", json!(false)),
        ("note_list", json!({}), "/notes/0", json!({"name": "ferry", "characters": 6})),
        ("note_read", json!({"name": "ferry"}), "/text", json!("322 km")),
    ] {
        let output = call(&desk, &format!("mcp__desk__{tool}"), arguments).await.unwrap();
        assert!(!output.is_error, "{tool}: {}", output.to_text());
        let structured = output.structured.clone().unwrap();
        assert_eq!(structured.pointer(pointer), Some(&wanted), "{tool}: {structured}");
        assert_eq!(serde_json::from_str::<Value>(&output.to_text()).unwrap(), structured);
        fits_its_schema(&desk, tool, &structured);
    }
}

/// No more and no less than the schema says; a whole validator would be a lot for seven flat objects.
fn fits_its_schema(desk: &Desk, tool: &str, structured: &Value) {
    let catalogue = desk.catalogue();
    let schema =
        catalogue.find_on("desk", tool).unwrap().spec.output_schema.clone().unwrap().to_value().unwrap();
    let fields = structured.as_object().unwrap();
    for key in fields.keys() {
        assert!(schema["properties"].get(key).is_some(), "{tool}: {key} is not in the schema");
    }
    for key in schema["required"].as_array().unwrap() {
        assert!(fields.contains_key(key.as_str().unwrap()), "{tool}: {key} is missing");
    }
}

#[tokio::test]
async fn wrong_input_is_an_answer_that_the_model_can_read() {
    let desk = desk();
    for (tool, arguments, wanted) in [
        ("now", json!({"zone": "Lisbn"}), "did you mean Europe/Lisbon?"),
        ("calculate", json!({}), "missing field `expression`"),
        ("calculate", json!({"expression": "1 / 0"}), "division by zero"),
        ("calculate", json!({"expresion": "1"}), "unknown field `expresion`"),
        ("convert", json!({"value": "ten", "from": "m", "to": "km"}), "invalid type"),
        ("convert", json!({"value": 1, "from": "m", "to": "kg"}), "cannot be converted"),
        ("note_read", json!({"name": "nothing"}), "there are no notes yet"),
        ("note_list", json!({"all": true}), "unknown field `all`"),
    ] {
        let output = call(&desk, tool, arguments).await.unwrap();
        assert!(output.is_error && output.to_text().contains(wanted), "{tool}: {}", output.to_text());
    }
    let error = call(&desk, "mcp__desk__calculator", json!({})).await.unwrap_err();
    assert!(error.to_string().contains("did you mean \"mcp__desk__calculate\"?"), "{error}");
}

#[test]
fn only_writing_claims_to_change_something() {
    for entry in &*desk().catalogue() {
        let hints = &entry.spec.annotations;
        let writes = entry.spec.name.as_str() == "note_write";
        assert_eq!(hints.is_read_only(), !writes, "{}", entry.exposed);
        assert!(!hints.is_open_world() && hints.is_idempotent(), "{}", entry.exposed);
        assert_eq!(hints.is_destructive(), writes, "{}", entry.exposed);
    }
}
