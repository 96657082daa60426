//! The program itself, over its pipes.

use mcp_core::{Admitted, LaunchSpec, ServerName, ToolName, ToolOutput};
use mcp_transport::{Session, SessionOptions};
use serde_json::{Value, json};

async fn start(args: &[&str]) -> Result<Session, mcp_core::ToolError> {
    let launch = LaunchSpec {
        program: env!("CARGO_BIN_EXE_library").to_owned(),
        args: args.iter().map(ToString::to_string).collect(),
        ..LaunchSpec::default()
    };
    let server = ServerName::new("library").unwrap();
    Session::stdio(server, Admitted::by_guard(launch), SessionOptions::default()).await
}

async fn call(session: &Session, tool: &str, arguments: Value) -> ToolOutput {
    let arguments = arguments.as_object().cloned().unwrap();
    session.call_tool(&ToolName::new(tool).unwrap(), arguments, None).await.unwrap()
}

#[tokio::test]
async fn it_lists_and_runs_its_tools_and_ends_with_the_session() {
    let session = start(&[]).await.unwrap();
    let list = session.list_tools().await.unwrap();
    let names: Vec<&str> = list.tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["search", "read", "list"]);
    let output = call(&session, "search", json!({"query": "spring tides", "limit": 1})).await;
    assert_eq!(output.structured.unwrap()["hits"][0]["id"], "tides");
    session.close().await;
}

#[tokio::test]
async fn a_folder_of_ones_own_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("garden.md"), "# Garden\n\nBeans climb, peas too.\n").unwrap();
    let session = start(&[folder.path().to_str().unwrap()]).await.unwrap();
    let output = call(&session, "search", json!({"query": "bean"})).await;
    assert_eq!(output.structured.unwrap()["hits"][0]["passage"], "Beans climb, peas too.");
    session.close().await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_told_on_standard_error() {
    let error = start(&["no-such-folder"]).await.unwrap_err().to_string();
    assert!(error.contains("library: no-such-folder:"), "{error}");
}
