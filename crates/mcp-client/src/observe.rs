//! Who is told what happens.

use mcp_core::{ServerName, ToolName};
use mcp_resilience::breaker::Transition;

use crate::{AuditRecord, Drift, Integrity, Judgement, ServerState};

/// Hears what happens to servers and calls. Methods are called where it happens: they must return at once and not
/// call back into the client.
///
/// `()` hears nothing.
pub trait Observer: Send + Sync {
    /// A server's state changed, or the number of its tools: the same states that [`crate::McpClient::state`] shows, each
    /// change once and in order.
    fn server_changed(&self, _server: &ServerName, _state: &ServerState) {}

    /// The circuit of a server, or of one of its tools, changed its state: it opened, is being probed, or closed.
    fn circuit_changed(&self, _server: &ServerName, _tool: Option<&ToolName>, _change: &Transition) {}

    /// A call ended, whatever became of it: answered, failed, refused, or dropped by its caller.
    fn call_finished(&self, _record: &AuditRecord) {}

    /// What is thought of a server's honesty has changed.
    fn integrity_changed(&self, _server: &ServerName, _integrity: &Integrity) {}

    /// Something was found in how a server is reached, or in what it says; told again with each list of tools.
    fn judged(&self, _server: &ServerName, _judgement: &Judgement) {}

    /// A server is not what was accepted.
    fn drifted(&self, _server: &ServerName, _drift: &Drift) {}

    /// Something about a server that the user should know and that stops nothing: a tool that is not valid, a
    /// pattern that matches none.
    fn notice(&self, _server: &ServerName, _message: &str) {}
}

impl Observer for () {}
