//! What a call costs besides the server: the whole pipeline and a session in memory, in one process.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on should say so at once")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_client::{ClientOptions, MultiMcpClient, ServerConfig, Target};
use mcp_core::{
    BoxFuture, CallId, Catalogue, JsonObject, ServerName, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use mcp_security::Policy;
use serde_json::json;

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

fn calls(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (what, length) in [("call_100_bytes", 100), ("call_64_kib", 64 * 1024)] {
        let server = ServerName::new("memory").unwrap();
        let schema =
            json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
        let spec = ToolSpec::new(server.clone(), ToolName::new("echo").unwrap()).with_input_schema(schema);
        let catalogue = Catalogue::build([(server.clone(), vec![spec], ToolFilter::default())]).catalogue;
        let service = Arc::new(Keeper { catalogue: Arc::new(catalogue), text: "x".repeat(length) });
        let (client, call) = runtime.block_on(async {
            let config = ServerConfig::new(server, Target::InMemory(service));
            let client = MultiMcpClient::start(
                [config],
                Arc::new(Policy::default()),
                Arc::new(()),
                ClientOptions::default(),
            );
            client.ready(Duration::from_secs(10)).await;
            let tool = client.catalogue().iter().next().unwrap().exposed.to_string();
            let arguments = JsonObject::from_iter([("text".to_owned(), json!("a question of some words"))]);
            (client, ToolCall::new(CallId::new("1"), tool, arguments))
        });
        criterion.bench_function(what, |bencher| {
            bencher.iter(|| black_box(runtime.block_on(client.call(call.clone())).unwrap()));
        });
        runtime.block_on(client.close());
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
