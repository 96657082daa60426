//! A [`ToolService`] offered as an MCP server, to clients of both protocol eras.
//!
//! Tools are offered by the names their servers gave them ([`mcp_core::ToolSpec::name`]); where two servers behind
//! the service use one name, the first is offered. A call that fails is answered by a result with `isError` that says
//! why; an unknown tool by error -32602.

#[cfg(feature = "serve-http")]
mod web;

use std::sync::Arc;

use mcp_core::ToolService;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::convert::Offer;

/// How a server introduces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it wants to be used, for the model that uses it.
    pub instructions: Option<String>,
}

impl ServerInfo {
    /// A server without instructions.
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), instructions: None }
    }

    /// The same server with instructions.
    #[must_use]
    pub fn with_instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }
}

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The client did not open a session: it sent something else, or went away. A client that goes away before it
    /// said anything is no error.
    #[error("the client did not open a session: {0}")]
    Handshake(String),
    /// The socket failed.
    #[error("serving over HTTP failed: {0}")]
    Http(#[source] std::io::Error),
    /// The task that served ended by a fault of ours. Please report it.
    #[error("serving failed: {0}")]
    Internal(String),
}

/// Serves over this process's standard input and output until the input ends.
///
/// Nothing else may write to standard output meanwhile. Since a read of standard input cannot be interrupted, a
/// program that drops this future should end by exiting.
///
/// # Errors
///
/// [`ServeError`] where the client spoke no MCP.
pub async fn stdio(service: Arc<dyn ToolService>, info: ServerInfo) -> Result<(), ServeError> {
    over(service, info, tokio::io::stdin(), tokio::io::stdout()).await
}

/// Serves over any two byte streams until the input ends. Dropping the future ends the service.
///
/// # Errors
///
/// [`ServeError`] where the client spoke no MCP.
pub async fn over<R, W>(
    service: Arc<dyn ToolService>,
    info: ServerInfo,
    read: R,
    write: W,
) -> Result<(), ServeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    Offer::new(service, &info.name, &info.version, info.instructions).serve_over(read, write).await
}

/// Serves over streamable HTTP at `/mcp`, to clients of both eras, until the future is dropped.
///
/// It is meant for this machine: requests must name a loopback host, and none may come from a page in a browser.
/// There is no authentication, so bind the listener to a loopback address.
///
/// # Errors
///
/// [`ServeError::Http`] where the socket fails.
#[cfg(feature = "serve-http")]
pub async fn http(
    service: Arc<dyn ToolService>,
    info: ServerInfo,
    listener: tokio::net::TcpListener,
) -> Result<(), ServeError> {
    let offer = Offer::new(service, &info.name, &info.version, info.instructions);
    web::serve(Arc::new(offer), listener).await.map_err(ServeError::Http)
}
