//! The one road to a tool.

use std::pin::Pin;
use std::sync::Arc;

use crate::{Catalogue, ToolCall, ToolError, ToolOutput};

/// A future that can be sent to another thread, boxed so that traits stay usable as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Something that offers tools and runs them: a client of many servers, a server of one's own, a layer around either.
///
/// Dropping the future of a call cancels it; an implementation that sent something tells the server.
///
/// ```
/// use std::sync::Arc;
/// use mcp_core::*;
///
/// struct Echo(Arc<Catalogue>);
///
/// impl ToolService for Echo {
///     fn catalogue(&self) -> Arc<Catalogue> {
///         self.0.clone()
///     }
///     fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
///         Box::pin(async move { Ok(ToolOutput::text(format!("{:?}", call.arguments))) })
///     }
/// }
/// ```
pub trait ToolService: Send + Sync {
    /// The tools offered now. It may change between calls, as servers come and go.
    fn catalogue(&self) -> Arc<Catalogue>;

    /// Runs one tool.
    ///
    /// # Errors
    ///
    /// [`ToolError`] where the tool did not answer: refused, unknown, unreachable, too late. A tool that ran and
    /// failed is an output with `is_error`.
    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>>;
}

/// No tools at all: for agents without servers.
impl ToolService for () {
    fn catalogue(&self) -> Arc<Catalogue> {
        Arc::default()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move { Err(ToolError::unknown_tool(call.tool, &Catalogue::default())) })
    }
}
