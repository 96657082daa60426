//! Every tool, called as a client of the service would.

use library::{Collection, Library};
use mcp_core::{CallId, ToolCall, ToolError, ToolOutput, ToolService};
use serde_json::{Value, json};

async fn call(library: &Library, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
    library.call(ToolCall::new(CallId::new("1"), tool, arguments.as_object().cloned().unwrap())).await
}

async fn structured(library: &Library, tool: &str, arguments: Value) -> Value {
    let output = call(library, tool, arguments).await.unwrap();
    assert!(!output.is_error, "{tool}: {}", output.to_text());
    let structured = output.structured.clone().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&output.to_text()).unwrap(), structured);
    structured
}

fn library() -> Library {
    Library::new(Collection::built_in()).unwrap()
}

#[tokio::test]
async fn what_is_found_can_be_read() {
    let library = library();
    let found = structured(
        &library,
        "mcp__library__search",
        json!({"query": "hours from one high water to the next"}),
    )
    .await;
    let hit = &found["hits"][0];
    assert_eq!((&hit["id"], &hit["title"]), (&json!("tides"), &json!("Tides")));
    let read =
        structured(&library, "mcp__library__read", json!({"id": hit["id"], "from": hit["line"], "lines": 1}))
            .await;
    assert_eq!(read["text"], hit["passage"]);
    assert!(read["text"].as_str().unwrap().contains("12 hours and 25 minutes"), "{read}");
}

#[tokio::test]
async fn reading_stays_within_the_text() {
    let library = library();
    let whole = structured(&library, "read", json!({"id": "TEA"})).await;
    assert_eq!((&whole["from"], &whole["lines"]), (&json!(1), &whole["total_lines"]));
    let end =
        structured(&library, "read", json!({"id": "tea", "from": whole["total_lines"], "lines": 100})).await;
    assert_eq!(end["lines"], 1);
}

#[tokio::test]
async fn all_texts_are_listed() {
    let list = structured(&library(), "list", json!({})).await;
    assert_eq!(list["texts"].as_array().unwrap().len(), 12);
    assert_eq!(list["texts"][0]["title"], "Bread");
}

#[tokio::test]
async fn searching_keeps_to_its_limit_and_may_find_nothing() {
    let found = |arguments| async {
        structured(&library(), "search", arguments).await["hits"].as_array().unwrap().len()
    };
    assert_eq!(found(json!({"query": "water", "limit": 2})).await, 2);
    assert_eq!(found(json!({"query": "xylophone"})).await, 0);
}

#[tokio::test]
async fn wrong_input_is_an_answer_that_the_model_can_read() {
    let library = library();
    for (tool, arguments, wanted) in [
        ("search", json!({"query": " "}), "the query is empty"),
        ("search", json!({}), "missing field `query`"),
        ("search", json!({"query": "tea", "limit": -1}), "invalid value"),
        ("read", json!({"id": "tide"}), "there are: bread, coffee"),
        ("read", json!({"id": "tides", "from": 999}), "there is no line 999"),
        ("list", json!({"all": true}), "unknown field `all`"),
    ] {
        let output = call(&library, tool, arguments).await.unwrap();
        assert!(output.is_error && output.to_text().contains(wanted), "{tool}: {}", output.to_text());
    }
    let error = call(&library, "mcp__library__find", json!({})).await.unwrap_err();
    assert!(matches!(error, ToolError::UnknownTool { .. }), "{error}");
}

#[test]
fn every_tool_says_that_it_changes_nothing() {
    for entry in &*library().catalogue() {
        assert!(
            entry.spec.annotations.is_read_only() && entry.spec.output_schema.is_some(),
            "{}",
            entry.exposed
        );
    }
}
