//! The program itself, over its pipes.

use mcp_core::{Admitted, LaunchSpec, ServerName, ToolName};
use mcp_transport::{Session, SessionOptions};
use serde_json::json;

async fn start(args: &[&str]) -> Result<Session, mcp_core::ToolError> {
    let launch = LaunchSpec {
        program: env!("CARGO_BIN_EXE_desk").to_owned(),
        args: args.iter().map(ToString::to_string).collect(),
        ..LaunchSpec::default()
    };
    let server = ServerName::new("desk").unwrap();
    Session::stdio(server, Admitted::by_guard(launch), SessionOptions::default()).await
}

#[tokio::test]
async fn it_lists_and_runs_its_tools_and_ends_with_the_session() {
    let session = start(&[]).await.unwrap();
    let list = session.list_tools().await.unwrap();
    let names: Vec<&str> = list.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(
        names,
        ["now", "convert_time", "calculate", "convert", "note_write", "note_list", "note_read"]
    );
    assert!(list.tools.iter().all(|tool| tool.output_schema.is_some()));
    assert!(list.tools[0].annotations.is_read_only());

    let arguments = json!({"expression": "6 * 7"}).as_object().cloned().unwrap();
    let output = session.call_tool(&ToolName::new("calculate").unwrap(), arguments, None).await.unwrap();
    assert_eq!(output.structured.unwrap()["value"], 42);
    session.close().await;
}

#[tokio::test]
async fn notes_in_a_file_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes.json");
    let file = file.to_str().unwrap();
    let write = json!({"name": "ferry", "text": "322 km"}).as_object().cloned().unwrap();
    let first = start(&["--notes", file]).await.unwrap();
    first.call_tool(&ToolName::new("note_write").unwrap(), write, None).await.unwrap();
    first.close().await;

    let second = start(&["--notes", file]).await.unwrap();
    let read = json!({"name": "ferry"}).as_object().cloned().unwrap();
    let output = second.call_tool(&ToolName::new("note_read").unwrap(), read, None).await.unwrap();
    assert_eq!(output.structured.unwrap()["text"], "322 km");
    second.close().await;
}

#[tokio::test]
async fn a_wrong_argument_is_told_on_standard_error() {
    let error = start(&["--note"]).await.unwrap_err().to_string();
    assert!(error.contains("\"--note\" is not understood here"), "{error}");
}
