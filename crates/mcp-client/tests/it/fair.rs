//! Agents that share a server take turns at it: one that asks a hundred times is not in another one's way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_client::{BulkheadOptions, ClientOptions, ServerConfig, Target};
use mcp_core::{
    AgentId, BoxFuture, Catalogue, ToolCall, ToolError, ToolFilter, ToolName, ToolOutput, ToolService,
    ToolSpec,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::support::*;

/// A server that answers each call after a second, and writes down whose it was.
struct Desk {
    catalogue: Arc<Catalogue>,
    served: Mutex<Vec<String>>,
}

impl ToolService for Desk {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        self.served.lock().unwrap().push(call.arguments["of"].as_str().unwrap().to_owned());
        Box::pin(async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(ToolOutput::text("done"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn agents_that_share_a_server_take_turns() {
    const FLOOD: usize = 100;
    let tool = ToolSpec::new(name("memory"), ToolName::new("ask").unwrap());
    let catalogue = Catalogue::build([(name("memory"), vec![tool], ToolFilter::default())]).catalogue;
    let desk = Arc::new(Desk { catalogue: Arc::new(catalogue), served: Mutex::default() });
    let mut config = ServerConfig::new(name("srv"), Target::InMemory(desk.clone()));
    config.bulkhead = BulkheadOptions { in_flight: 2, queue: 200, wait: Duration::from_secs(1000) };
    config.total_timeout = Duration::from_secs(1000);
    let (client, _) = start([config], ClientOptions::default());
    client.ready(Duration::from_secs(10)).await;
    let mut calls = JoinSet::new();
    let mut ask = |agent: &'static str, number: usize| {
        let client = client.clone();
        let call = call("mcp__srv__ask", json!({"of": agent, "n": number})).by(AgentId::new(agent).unwrap());
        calls.spawn(async move { client.call(call).await.unwrap() });
    };
    for number in 0..FLOOD {
        ask("busy", number);
    }
    // All of the flood is under way or in the queue.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(desk.served.lock().unwrap().len(), 2);
    for agent in ["calm", "shy"] {
        for number in 0..3 {
            ask(agent, number);
        }
    }
    calls.join_all().await;
    let served = desk.served.lock().unwrap();
    assert_eq!(served.len(), FLOOD + 6);
    // Two were there already; from then on the three agents take turns, so the six late ones are done with after nine.
    let turns = &served[2..11];
    for agent in ["busy", "calm", "shy"] {
        assert_eq!(turns.iter().filter(|of| *of == agent).count(), 3, "{turns:?}");
    }
}
