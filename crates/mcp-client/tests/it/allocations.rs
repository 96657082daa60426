//! What a call costs in memory, however many servers there are.

use massgen_testkit::PATIENCE;
use mcp_client::ClientOptions;
use mcp_core::ToolService;
use serde_json::json;

use crate::support::*;

/// The fewest allocations of one call that succeeds, beside so many other servers.
fn allocations(others: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let service = Memory::new(&[("checked", Does::Echo)]);
    let servers = (0..=others).map(|number| memory(&format!("memory{number}"), &service));
    let (client, _) = runtime.block_on(async { start(servers, ClientOptions::default()) });
    runtime.block_on(client.ready(PATIENCE));
    let measured = (0..50).map(|_| {
        let call = call("mcp__memory0__checked", json!({"count": 1}));
        let counted = allocation_counter::measure(|| {
            runtime.block_on(client.call(call)).unwrap();
        });
        counted.count_total
    });
    let least = measured.min().unwrap();
    runtime.block_on(client.close());
    least
}

#[test]
fn a_call_allocates_no_more_beside_many_servers() {
    let alone = allocations(0);
    assert!(alone > 0, "nothing is counted");
    assert_eq!(allocations(63), alone);
}
