//! What a ledger on disk adds to a call: to one that only reads, and to one that may change the world, whose intent is on the
//! disk before it is sent.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench that cannot go on should say so at once")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_client::{ClientOptions, Ledger, MultiMcpClient, ServerConfig, Target};
use mcp_core::{
    Annotations, BoxFuture, CallId, Catalogue, JsonObject, ServerName, ToolCall, ToolError, ToolFilter,
    ToolName, ToolOutput, ToolService, ToolSpec,
};
use mcp_security::Policy;

/// Answers with a text of 100 bytes.
struct Answers(Arc<Catalogue>);

impl ToolService for Answers {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.0.clone()
    }

    fn call(&self, _: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async { Ok(ToolOutput::text("x".repeat(100))) })
    }
}

async fn client(read_only: bool, ledger: Ledger) -> MultiMcpClient {
    let server = ServerName::new("memory").unwrap();
    let hints = Annotations { read_only_hint: Some(read_only), ..Annotations::default() };
    let spec = ToolSpec::new(server.clone(), ToolName::new("echo").unwrap()).with_annotations(hints);
    let catalogue = Catalogue::build([(server.clone(), vec![spec], ToolFilter::default())]).catalogue;
    let config = ServerConfig::new(server, Target::InMemory(Arc::new(Answers(Arc::new(catalogue)))));
    let mut options = ClientOptions::default();
    options.ledger = Some(ledger);
    let client = MultiMcpClient::start([config], Arc::new(Policy::default()), Arc::new(()), options);
    client.ready(Duration::from_secs(10)).await;
    client
}

fn ledgers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Beside the build: a disk is to be measured, and no file system in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for (what, read_only) in [("reading", true), ("changing", false)] {
        let on_disk = Ledger::new();
        on_disk.write_to(Some(folder.path().join(format!("{what}.jsonl"))));
        for (with, ledger) in [("without_file", Ledger::new()), ("with_file", on_disk)] {
            let client = runtime.block_on(client(read_only, ledger));
            let tool = client.catalogue().iter().next().unwrap().exposed.to_string();
            let call = ToolCall::new(CallId::new("1"), tool, JsonObject::new());
            criterion.bench_function(&format!("{what}_{with}"), |bencher| {
                bencher.iter(|| black_box(runtime.block_on(client.call(call.clone())).unwrap()));
            });
            runtime.block_on(client.close());
        }
    }
}

criterion_group!(benches, ledgers);
criterion_main!(benches);
