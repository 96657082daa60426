//! An example MCP server: the things on a desk. A clock with time zones, a calculator, a table of units, and notes.
//!
//! The server is a [`mcp_core::ToolService`]; `main.rs` offers it over standard input and output.
//!
//! ```
//! use desk::{Desk, Notes};
//! use mcp_core::{CallId, ToolCall, ToolService};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let desk = Desk::new(Notes::default())?;
//! let arguments = json!({"value": 14, "from": "nautical miles", "to": "km"}).as_object().cloned().unwrap_or_default();
//! let output = desk.call(ToolCall::new(CallId::new("1"), "mcp__desk__convert", arguments)).await?;
//! assert_eq!(output.structured.unwrap_or_default()["value"], 25.928);
//! # Ok(()) }
//! ```

mod calculate;
mod clock;
mod notes;
mod number;
mod service;
mod tools;
mod units;

pub use calculate::evaluate;
pub use notes::Notes;
pub use service::Desk;
