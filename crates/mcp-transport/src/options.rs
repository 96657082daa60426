//! What a session can be told, and what it tells.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{ServerName, ToolSpec};

use crate::host::Host;
use crate::oauth::OAuthOptions;

/// Which generation of the protocol to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EraPolicy {
    /// Ask by `server/discover` (2026-07-28); where that is not answered well, open with `initialize`.
    #[default]
    Auto,
    /// `initialize` only (2025-11-25 and before).
    Legacy,
    /// `server/discover` only (2026-07-28 and later).
    Modern,
}

/// Receives every line that a child process writes to its standard error.
///
/// It is called from the task that drains the pipe: it must return at once (send to a channel, say) and not block.
pub trait StderrSink: Send + Sync {
    /// One line, without its end; long lines are cut and control characters escaped.
    fn line(&self, server: &ServerName, line: &str);
}

/// How a session behaves. Start from [`Default`] and set the public fields.
///
/// ```
/// use std::time::Duration;
/// use mcp_transport::SessionOptions;
///
/// let mut options = SessionOptions::default();
/// options.startup_timeout = Duration::from_secs(90);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The limit for starting and opening the session together, retries included. Default 30 s.
    pub startup_timeout: Duration,
    /// The limit for one page of the tool list. Default 30 s.
    pub list_timeout: Duration,
    /// How long each polite step of closing a child process may take: end of input, then a request to terminate,
    /// then a kill. Default 2 s.
    pub close_grace: Duration,
    /// Which generation of the protocol to speak. Default [`EraPolicy::Auto`].
    pub era: EraPolicy,
    /// How long `server/discover` may stay unanswered before `initialize` is sent; part of `startup_timeout`. At
    /// most 10 s have effect. Default 5 s.
    pub probe_timeout: Duration,
    /// The largest message accepted from the server, in bytes. Default 16 MiB.
    pub max_message_bytes: usize,
    /// Idle HTTP connections kept per session; 0 dials for each request, which helps with servers that answer
    /// slowly on a connection used before. Default 4.
    pub idle_connections: usize,
    /// The name under which this client introduces itself.
    pub client_name: String,
    /// The version under which this client introduces itself.
    pub client_version: String,
    /// Who answers what the server asks for. Default: nobody; servers are offered nothing.
    pub host: Option<Arc<dyn Host>>,
    /// How logins at a remote server are made and kept; it has no effect where an `Authorization` header is
    /// configured. Default: not at all; a server that wants one is an error.
    pub oauth: Option<OAuthOptions>,
    /// Where the lines of a child's standard error go, besides the tail that errors carry.
    pub stderr: Option<Arc<dyn StderrSink>>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            startup_timeout: Duration::from_secs(30),
            list_timeout: Duration::from_secs(30),
            close_grace: Duration::from_secs(2),
            era: EraPolicy::Auto,
            probe_timeout: Duration::from_secs(5),
            max_message_bytes: 16 * 1024 * 1024,
            idle_connections: 4,
            client_name: "massgen".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: None,
            oauth: None,
            stderr: None,
        }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("startup_timeout", &self.startup_timeout)
            .field("list_timeout", &self.list_timeout)
            .field("close_grace", &self.close_grace)
            .field("era", &self.era)
            .field("probe_timeout", &self.probe_timeout)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}

/// The road to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// A child process.
    Stdio,
    /// Streamable HTTP.
    Http,
    /// A remote server, over HTTP with a stream of events (revision 2024-11-05).
    Sse,
    /// A pipe inside this process.
    Memory,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Memory => "memory",
        })
    }
}

/// What the server said about itself. It is for people to read; nothing may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The server's own name, where it gave one.
    pub name: Option<String>,
    /// Its version, where it gave one.
    pub version: Option<String>,
    /// The protocol revision in use, such as `2025-11-25`.
    pub protocol_version: String,
    /// How the server wants to be used, in its words.
    pub instructions: Option<String>,
    /// The road to it.
    pub transport: TransportKind,
    /// The process id, for a child process.
    pub pid: Option<u32>,
}

/// A server's tools.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolList {
    /// The tools, in the server's order.
    pub tools: Vec<ToolSpec>,
    /// The items that are not valid tools.
    pub dropped: Vec<DroppedTool>,
    /// Why the list ends early, where it does: pages without end, or the same page over and over.
    pub truncated: Option<String>,
}

/// An item of a tool list that is not a valid tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedTool {
    /// The name the item gives, or its place in the list, such as `#3`.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How far a running call has come, as the server reports it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Grows with each report; without a unit.
    pub progress: f64,
    /// The value of `progress` at the end, where it is known.
    pub total: Option<f64>,
    /// What the server is doing.
    pub message: Option<String>,
}

/// Where the progress of one call goes. Reports that find the channel full are dropped: the next one says more.
pub type ProgressSender = tokio::sync::mpsc::Sender<Progress>;
