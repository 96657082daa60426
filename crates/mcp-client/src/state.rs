//! The states of a server.

use std::fmt;
use std::time::{Duration, Instant};

use mcp_core::ServerName;
use mcp_resilience::breaker::State as CircuitState;
use mcp_security::sandbox::Level;
use mcp_transport::PeerInfo;

use crate::Integrity;

/// The state of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerState {
    /// It is being started or dialled.
    Starting,
    /// Its tools can be used.
    Ready {
        /// How many tools it offers, those that the filter hides left out.
        tools: usize,
    },
    /// Nobody called it for a while, and its program was ended. Its tools are offered; a call starts it again.
    Resting {
        /// How many tools it offers.
        tools: usize,
    },
    /// It failed; its tools are away.
    Failed {
        /// What happened, with the last words of a child process.
        reason: String,
        /// What the user can do about it, where there is something.
        hint: Option<String>,
        /// How long until it is tried again; `None`: it is given up.
        retry_in: Option<Duration>,
    },
    /// It was stopped on purpose.
    Stopped,
}

impl ServerState {
    /// Whether its tools are offered.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Resting { .. })
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("it is starting"),
            Self::Ready { tools } => write!(f, "it is ready with {tools} tools"),
            Self::Resting { tools } => write!(f, "it rests until it is called, with {tools} tools"),
            Self::Failed { reason, .. } => f.write_str(reason),
            Self::Stopped => f.write_str("it was stopped"),
        }
    }
}

/// A server as it is now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its name.
    pub name: ServerName,
    /// Its state.
    pub state: ServerState,
    /// The sandbox that its program is in, while it runs: the one that was asked for, for it runs in no other.
    pub sandbox: Option<Level>,
    /// Whether its configuration calls it required.
    pub required: bool,
    /// What it said about itself, while it is ready.
    pub peer: Option<PeerInfo>,
    /// How often it was started again after it had been ready.
    pub restarts: u32,
    /// When it makes sense to call it again, while it is away, its circuit is open or it asks to be left alone.
    pub retry_at: Option<Instant>,
    /// The circuit in front of it.
    pub circuit: CircuitState,
    /// What is thought of its honesty.
    pub integrity: Integrity,
    /// Whether it answers, but mostly too slowly.
    pub degraded: bool,
}
