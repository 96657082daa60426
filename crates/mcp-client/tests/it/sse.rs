//! Servers of revision 2024-11-05, over HTTP with a stream of events.

use massgen_testkit::{McpSseServer, ServerScript, ToolScript};
use mcp_client::{ServerConfig, Target};
use mcp_core::{RemoteSpec, ToolService};
use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_stream_that_ends_takes_the_tools_and_brings_them_back() {
    let server = McpSseServer::start(ServerScript::new().tool(ToolScript::echo("echo")));
    let spec = RemoteSpec { url: server.url().parse().unwrap(), headers: Default::default() };
    let (client, _) = start([ServerConfig::new(name("old"), Target::Sse(spec))], restarts(20));
    until(client.client("old").unwrap(), is_ready).await;
    let answer = client.call(call("mcp__old__echo", json!({"text": "hello"}))).await.unwrap();
    assert!(answer.to_text().contains("hello"), "{answer:?}");

    server.end_streams();
    until(client.client("old").unwrap(), is_failed).await;
    until(client.client("old").unwrap(), is_ready).await;
    let answer = client.call(call("mcp__old__echo", json!({"text": "again"}))).await.unwrap();
    assert!(answer.to_text().contains("again"), "{answer:?}");
    client.close().await;
}
