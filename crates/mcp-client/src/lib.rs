//! An MCP client for programs: sessions, one catalogue, and one guarded pipeline for every tool call, over any number
//! of servers. Useful without any agent.
//!
//! ```
//! use std::{collections::BTreeMap, sync::Arc, time::Duration};
//! use mcp_client::{ClientOptions, MultiMcpClient, ServerConfig, Target};
//! use mcp_core::*;
//! use mcp_security::Policy;
//!
//! /// A server of our own, in this process.
//! struct Greeter(Arc<Catalogue>);
//!
//! impl ToolService for Greeter {
//!     fn catalogue(&self) -> Arc<Catalogue> {
//!         self.0.clone()
//!     }
//!     fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
//!         Box::pin(async move { Ok(ToolOutput::text(format!("Hello, {}!", call.arguments["name"]))) })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let name = ServerName::new("greeter")?;
//! let tool = ToolSpec::new(name.clone(), ToolName::new("greet")?);
//! let greeter = Greeter(Arc::new(Catalogue::build([(name.clone(), vec![tool], ToolFilter::default())]).catalogue));
//!
//! // A program (`Target::Stdio`) and an address (`Target::Http`) work the same.
//! let servers = [ServerConfig::new(name, Target::InMemory(Arc::new(greeter)))];
//! let client = MultiMcpClient::start(servers, Arc::new(Policy::default()), Arc::new(()), ClientOptions::default());
//! client.ready(Duration::from_secs(10)).await;
//!
//! let tool = client.catalogue().iter().next().ok_or("no tool")?.exposed.to_string();
//! let arguments = JsonObject::from_iter([("name".to_owned(), "Ada".into())]);
//! let answer = client.call(ToolCall::new(CallId::new("1"), tool, arguments)).await?;
//! assert_eq!(answer.to_text(), "Hello, \"Ada\"!");
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! None: what is not used costs nothing.

mod arguments;
mod asked;
mod attempt;
mod audit;
mod chatter;
mod circuit;
mod classify;
mod client;
mod clock;
mod config;
mod duplicates;
mod examine;
mod giving_up;
mod gone;
mod integrity;
mod judged;
mod launch;
mod ledger;
pub mod metrics;
mod multi;
mod neighbours;
mod observe;
mod offers;
mod permission;
mod pins;
mod pipeline;
mod redact;
mod renewals;
mod repeats;
mod resend;
mod rest;
mod scope;
mod server;
mod spans;
mod state;
mod step;
mod validate;

pub use audit::{AuditFile, AuditRecord, Outcome};
pub use client::McpClient;
pub use clock::WallClock;
pub use config::{ClientOptions, RestartPolicy, ServerConfig, Start, Target};
pub use duplicates::Duplicates;
pub use integrity::Integrity;
pub use judged::{Judgement, Subject};
pub use launch::{Consent, launch_pin};
pub use ledger::{Ledger, LedgerReading, UnknownOutcome, read_ledger};
pub use multi::MultiMcpClient;
pub use neighbours::Neighbours;
pub use observe::Observer;
pub use permission::{Answer, Ask, Gate, Question};
pub use pins::{Drift, NewTools, Pins};
pub use state::{ServerState, ServerStatus};
pub use validate::{ARGUMENT_BYTES, ARGUMENT_DEPTH, check_arguments};
// What options are made of, so that callers need not name the crates below.
pub use mcp_resilience::backoff::Backoff;
pub use mcp_resilience::breaker::{RuleOptions, State as CircuitState, Transition as CircuitChange};
pub use mcp_resilience::bulkhead::BulkheadOptions;
pub use mcp_resilience::in_flight::{InFlightLimit, InFlightOptions};
pub use mcp_resilience::retry::RetryOptions;
pub use mcp_security::{Redactor, Scopes};
pub use mcp_transport::{
    Completion, CompletionTarget, Listing, Prompt, PromptArgument, PromptMessage, PromptText, Resource,
    ResourceTemplate, host, oauth,
};
pub use mcp_transport::{EraPolicy, PeerInfo, SessionOptions, StderrSink, TransportKind};
