//! What a call costs besides the server: the whole pipeline and a session in memory, in one process.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on should say so at once")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_client::{ClientOptions, Gate, MultiMcpClient, ServerConfig, Target};
use mcp_core::{
    BoxFuture, CallId, Catalogue, JsonObject, ServerName, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use mcp_security::Policy;
use mcp_security::permission::{Decision, Permissions, Rule};
use serde_json::json;
use tokio::runtime::Runtime;

/// Answers with a text that it keeps.
struct Keeper {
    catalogue: Arc<Catalogue>,
    text: String,
}

impl ToolService for Keeper {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, _: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async { Ok(ToolOutput::text(self.text.as_str())) })
    }
}

fn client(runtime: &Runtime, length: usize, permissions: Gate) -> MultiMcpClient {
    let server = ServerName::new("memory").unwrap();
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let spec = ToolSpec::new(server.clone(), ToolName::new("echo").unwrap()).with_input_schema(schema);
    let catalogue = Catalogue::build([(server.clone(), vec![spec], ToolFilter::default())]).catalogue;
    let service = Arc::new(Keeper { catalogue: Arc::new(catalogue), text: "x".repeat(length) });
    runtime.block_on(async {
        let config = ServerConfig::new(server, Target::InMemory(service));
        let mut options = ClientOptions::default();
        options.permissions = permissions;
        let client = MultiMcpClient::start([config], Arc::new(Policy::default()), Arc::new(()), options);
        client.ready(Duration::from_secs(10)).await;
        client
    })
}

fn call(client: &MultiMcpClient, arguments: JsonObject) -> ToolCall {
    let tool = client.catalogue().iter().next().unwrap().exposed.to_string();
    ToolCall::new(CallId::new("1"), tool, arguments)
}

fn calls(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = JsonObject::from_iter([("text".to_owned(), json!("a question of some words"))]);
    for (what, length) in [("call_100_bytes", 100), ("call_64_kib", 64 * 1024)] {
        let client = client(&runtime, length, Gate::default());
        let call = call(&client, text.clone());
        criterion.bench_function(what, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(client.call(call.clone())).unwrap()));
        });
        runtime.block_on(client.close());
    }
    // What refuses a call has been passed, and what is further in has not: the difference is the cost of what lies between.
    let mut denied = Permissions::default();
    denied.add(None, Rule::new("mcp__memory__*", Decision::Deny).unwrap());
    for (what, permissions, arguments) in [
        ("refused_by_permission", denied, text),
        ("refused_by_schema", Permissions::default(), JsonObject::new()),
    ] {
        let client = client(&runtime, 100, Gate::new(permissions, None));
        let call = call(&client, arguments);
        criterion.bench_function(what, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(client.call(call.clone())).unwrap_err()));
        });
        runtime.block_on(client.close());
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
