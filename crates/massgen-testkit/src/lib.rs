//! For tests only: the far ends of massgen's pipes and sockets, played from a script.
//!
//! ```
//! use massgen_testkit::{Engine, ServerScript, Step, ToolScript};
//! use serde_json::json;
//!
//! let script = ServerScript::new().tool(ToolScript::new("greet").text("Hello, {name}!"));
//! let mut server = Engine::new(script);
//! server.receive(&json!({"jsonrpc": "2.0", "id": 1, "method": "initialize",
//!     "params": {"protocolVersion": "2025-11-25", "capabilities": {}}}));
//! let steps = server.receive(&json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
//!     "params": {"name": "greet", "arguments": {"name": "Ada"}}}));
//! let Step::Send(answer) = &steps[0] else { unreachable!() };
//! assert_eq!(answer["result"]["content"][0]["text"], "Hello, Ada!");
//! ```
//!
//! - [`ServerScript`] with [`ServerScript::launch`]: an MCP server as a real child process, with every misbehaviour
//!   seen in the wild as a [`Quirk`], and a [`Journal`] of what arrived.
//! - [`McpHttpServer`]: the same script over streamable HTTP, with sessions, streams, resumption and faults.
//! - [`McpSseServer`]: the same script over the HTTP with SSE of revision 2024-11-05.
//! - [`ModelEndpoint`]: a model's HTTP endpoint on all four wires, from a [`ModelScript`] of [`Turn`]s or a function
//!   of the [`ModelRequest`], strict about the shape of requests, with faults at any event or byte.
//! - [`http`]: the server underneath, for anything else; [`faults`]: TCP that is not HTTP.
//! - [`upstream`]: Discord, X and arXiv on one loopback port, for real servers that talk to them.
//! - [`tools`]: real third-party programs, and a loud word where they are missing.
//! - `SecretServiceBus`: a session bus with a keyring on it.
//! - [`process`]: what is still alive.

// Test code: a panic is how it reports, and it starts the programs that tests are about.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

pub mod engine;
pub mod faults;
pub mod http;
mod journal;
mod launch;
mod listener;
mod mcp_http;
mod mcp_sse;
pub mod model;
pub mod process;
mod script;
#[cfg(unix)]
mod secret_service;
pub mod tools;
pub mod upstream;

pub use engine::{Engine, Step};
pub use journal::{Journal, PATIENCE};
pub use launch::{ScriptedServer, scripted_server};
pub use mcp_http::{Answers, HttpFault, McpHttpOptions, McpHttpServer};
pub use mcp_sse::{McpSseServer, SseOptions};
pub use model::{
    Ending, Finish, Item, ModelEndpoint, ModelOptions, ModelRequest, ModelScript, Reply, Turn, Usage, Wire,
};
pub use script::{
    CallReply, Era, Grandchild, HandshakeVersion, LEGACY, MODERN, OnProbe, Outcome, Progress, Quirk, ReplyId,
    ServerScript, ToolScript,
};
#[cfg(unix)]
pub use secret_service::{KeyringMood, SecretServiceBus};
