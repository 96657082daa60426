//! Keys of a server in a file, and what they do to calls.

use std::path::{Path, PathBuf};

use massgen::config::{Config, Disk, Format, LoadOptions, load_str};
use massgen::core::{AgentId, CallId, ToolCall, ToolError, ToolOutput};
use massgen::{Context, Servers};
use massgen_testkit::{HttpFault, McpHttpServer, ServerScript, ToolScript};
use serde_json::json;

fn read(server: &str) -> Config {
    let text = format!(
        "agents:\n  - {{ id: one, backend: {{ type: scripted, script: none.yaml }} }}\nmcp_servers:\n  srv: {server}\n"
    );
    let options = LoadOptions { cwd: PathBuf::from("/"), ..LoadOptions::default() };
    let loaded = load_str(&text, Path::new("/team.yaml"), Format::Yaml, &options, &Disk);
    loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics))
}

/// A server with a tool that calls itself read-only and one that says nothing, its servers started by this file's keys.
async fn served(keys: &str) -> (McpHttpServer, Servers) {
    let script =
        ServerScript::new().tool(ToolScript::echo("look").read_only()).tool(ToolScript::echo("send"));
    let web = McpHttpServer::start(script);
    let url = web.url();
    let config = read(&format!(
        "{{ url: \"{url}\", security: {{ level: permissive, allow_localhost: true }}{keys} }}"
    ));
    let servers = Servers::start(&config, &Context::default(), None).unwrap();
    servers.settled().await;
    (web, servers)
}

async fn call(servers: &Servers, tool: &str, by: &str) -> Result<ToolOutput, ToolError> {
    let arguments = json!({"to": "all"}).as_object().cloned().unwrap();
    let call = ToolCall::new(CallId::new("c"), format!("mcp__srv__{tool}"), arguments);
    servers.call(call.by(AgentId::new(by).unwrap())).await
}

#[tokio::test]
async fn what_may_be_made_again_is_what_the_file_says() {
    // The keys, the tool, and how often it is sent when its first answer is lost.
    for (keys, tool, sends) in [
        ("", "look", 1),
        ("", "send", 1),
        (", trust: untrusted", "look", 1),
        (", trust: trusted", "look", 2),
        (", trust: trusted", "send", 1),
        (", retry_safe: [\"se*\"]", "send", 2),
        (", retry_safe: [\"se*\"]", "look", 1),
        (", retry_safe: [\"*\"], max_retries: 0", "send", 1),
    ] {
        let (web, servers) = served(keys).await;
        web.fail_method("tools/call", 1, HttpFault::ResetAfterwards);
        let answer = call(&servers, tool, "one").await;
        assert_eq!(web.executed(), sends, "{tool} with {keys:?}: {answer:?}");
        match answer {
            Ok(_) => assert_eq!(sends, 2, "{tool} with {keys:?}"),
            Err(ToolError::OutcomeUnknown { .. }) => assert_eq!(sends, 1, "{tool} with {keys:?}"),
            // A safe call that may not be made again is told as it failed.
            Err(error) => assert!(keys.contains("max_retries"), "{tool} with {keys:?}: {error}"),
        }
        servers.close().await;
    }
}

#[tokio::test]
async fn a_call_of_several_agents_is_made_as_often_as_the_file_says() {
    for (keys, made) in [("", 2), (", duplicates: allow", 2), (", duplicates: suppress", 1)] {
        let (web, servers) = served(keys).await;
        call(&servers, "send", "one").await.unwrap();
        let second = call(&servers, "send", "two").await;
        assert_eq!(web.executed(), made, "{keys:?}");
        let suppressed = matches!(&second, Err(ToolError::Refused { refusal, .. }) if refusal.rule == "duplicate-suppressed");
        assert_eq!(suppressed, made == 1, "{keys:?}: {second:?}");
        servers.close().await;
    }
}
