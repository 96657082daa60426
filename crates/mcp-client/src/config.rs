//! What a client is told about each server, and about all of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{LaunchSpec, RemoteSpec, ServerName, ToolFilter, ToolService};
use mcp_resilience::backoff::Backoff;
use mcp_security::Redactor;
use mcp_transport::{EraPolicy, SessionOptions};

use crate::Ledger;

/// Where a server is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Target {
    /// A program to start; it speaks over its standard input and output.
    Stdio(LaunchSpec),
    /// An endpoint of streamable HTTP.
    Http(RemoteSpec),
    /// A service of this process; its tools are offered under this server's name.
    InMemory(Arc<dyn ToolService>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio(spec) => spec.fmt(f),
            Self::Http(spec) => spec.fmt(f),
            Self::InMemory(_) => f.write_str("InMemory"),
        }
    }
}

/// One server: where it is, which of its tools are offered, how long things may take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Its name; part of the names of its tools.
    pub name: ServerName,
    /// Where it is.
    pub target: Target,
    /// Which of its tools are offered. Default: all.
    pub filter: ToolFilter,
    /// How long one attempt of a call may take, counted anew from each progress that the server reports. Default 60 s.
    pub call_timeout: Duration,
    /// How long a call may take, all attempts together. Default 300 s.
    pub total_timeout: Duration,
    /// How long starting it and opening the session may take. Default 60 s: a first start through npx or uvx downloads.
    pub startup_timeout: Duration,
    /// Which generation of the protocol to speak. Default: found out.
    pub era: EraPolicy,
    /// Whether there is no point in going on without it. It changes nothing here; [`crate::ServerStatus`] repeats it.
    pub required: bool,
}

impl ServerConfig {
    /// A server with the default filter and limits; the fields are there to be changed.
    pub fn new(name: ServerName, target: Target) -> Self {
        Self {
            name,
            target,
            filter: ToolFilter::default(),
            call_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(300),
            startup_timeout: Duration::from_secs(60),
            era: EraPolicy::Auto,
            required: false,
        }
    }
}

/// How a server that died is brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// The waits between tries, and how many there are.
    pub backoff: Backoff,
    /// A server that was up for this long begins with a fresh row of tries.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    /// Five tries, 0.5 s to 30 s apart; a fresh row after 5 minutes.
    fn default() -> Self {
        Self {
            backoff: Backoff { max_attempts: Some(5), ..Backoff::default() },
            reset_after: Duration::from_secs(300),
        }
    }
}

impl RestartPolicy {
    /// A server that died stays away.
    pub fn never() -> Self {
        Self { backoff: Backoff { max_attempts: Some(0), ..Backoff::default() }, ..Self::default() }
    }
}

/// What holds for all servers of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How sessions behave. The limit for starting and the era come from each [`ServerConfig`] instead.
    pub session: SessionOptions,
    /// How servers that died are brought back.
    pub restart: RestartPolicy,
    /// The least time between two listings of a server that keeps announcing changes. Default 1 s.
    pub relist_interval: Duration,
    /// Secrets that must not come back in errors, states and notices: servers print their keys when they fail.
    pub redactor: Redactor,
    /// Where calls are written down before they are sent. Default: nowhere.
    pub ledger: Option<Ledger>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            restart: RestartPolicy::default(),
            relist_interval: Duration::from_secs(1),
            redactor: Redactor::default(),
            ledger: None,
        }
    }
}
