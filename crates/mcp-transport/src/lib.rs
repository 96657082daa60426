//! Sessions with MCP servers: child processes over stdio, remote servers over streamable HTTP, services in memory;
//! both generations of the protocol. And the other half: [`serve`] offers tools of one's own as an MCP server.
//!
//! ```
//! use std::sync::Arc;
//! use mcp_core::*;
//! use mcp_transport::{Session, SessionOptions};
//!
//! struct Greeter(Arc<Catalogue>);
//!
//! impl ToolService for Greeter {
//!     fn catalogue(&self) -> Arc<Catalogue> {
//!         self.0.clone()
//!     }
//!     fn call(&self, _: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
//!         Box::pin(async { Ok(ToolOutput::text("hello")) })
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let server = ServerName::new("greeter")?;
//! let hello = ToolSpec::new(server.clone(), ToolName::new("hello")?);
//! let tools = Catalogue::build([(server.clone(), vec![hello], ToolFilter::default())]).catalogue;
//!
//! let session =
//!     Session::in_memory(Arc::new(Greeter(Arc::new(tools))), server, SessionOptions::default()).await?;
//! let list = session.list_tools().await?;
//! let answer = session.call_tool(&list.tools[0].name, JsonObject::new(), None).await?;
//! assert_eq!(answer.to_text(), "hello");
//! session.close().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! What rmcp, the protocol library underneath, leaves to its users is done here: limits of time and size, servers
//! that die of a question they do not know, results of which one item is malformed, the end of whole process trees,
//! and errors that carry a server's last words. No type of rmcp is part of this crate's interface.
//!
//! # Features
//!
//! - `fuzz`: [`fuzz`], for the project's fuzz targets.
//! - `serve-http`: [`serve`] over streamable HTTP as well (brings axum).

mod breach;
mod convert;
mod decoder;
mod era;
mod framing;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod host;
mod http;
mod link;
pub mod oauth;
mod offers;
mod options;
mod pause;
mod process;
mod program;
mod raw;
mod received;
pub mod serve;
mod session;
mod sse_legacy;
mod stderr;
mod traced;

pub use breach::{Breach, BreachSink, Flaw, Notice};
pub use host::Host;
pub use offers::{
    Completion, CompletionTarget, Listing, Prompt, PromptArgument, PromptMessage, PromptText, Resource,
    ResourceTemplate,
};
pub use options::{
    DroppedTool, EraPolicy, Launcher, PeerInfo, Progress, ProgressSender, ProgressSink, Proxies,
    SessionOptions, StderrSink, ToolList, TraceContext, TraceSource, TransportKind,
};
pub use pause::pause;
pub use program::{Program, ProgramFile, ProgramPipes};
pub use session::{ResourceWatch, Session};
