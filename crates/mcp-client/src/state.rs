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

/// All that is known of how a server is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Condition {
    /// It is being started or dialled.
    Starting,
    /// Its tools can be used.
    Ready,
    /// Its tools can be used, but it answers mostly too slowly, or fails so often that it is left alone now and then.
    Degraded,
    /// Its program was ended because nobody called it; a call starts it again.
    Resting,
    /// It failed; its tools are away.
    Unreachable,
    /// It wants a login.
    AuthRequired,
    /// It broke the protocol as no honest server does; it is not called until somebody approves of it.
    Quarantined,
    /// It was stopped on purpose.
    Stopped,
}

impl Condition {
    /// Its name, as in events and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Resting => "resting",
            Self::Unreachable => "unreachable",
            Self::AuthRequired => "auth_required",
            Self::Quarantined => "quarantined",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name().replace('_', " "))
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
    /// Whether it is away because it wants a login, or a credential that cannot be had now.
    pub login: bool,
    /// Whether it answers, but mostly too slowly.
    pub degraded: bool,
}

impl ServerStatus {
    /// State, circuit and honesty together. What hinders calls most comes first.
    pub fn condition(&self) -> Condition {
        condition(
            &self.state,
            &self.integrity,
            self.login,
            self.degraded || self.circuit != CircuitState::Closed,
        )
    }
}

fn condition(state: &ServerState, integrity: &Integrity, login: bool, troubled: bool) -> Condition {
    match state {
        ServerState::Stopped => Condition::Stopped,
        _ if matches!(integrity, Integrity::Quarantined { .. }) => Condition::Quarantined,
        ServerState::Failed { .. } if login => Condition::AuthRequired,
        ServerState::Failed { .. } => Condition::Unreachable,
        ServerState::Starting => Condition::Starting,
        ServerState::Resting { .. } => Condition::Resting,
        ServerState::Ready { .. } if troubled => Condition::Degraded,
        ServerState::Ready { .. } => Condition::Ready,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_most_is_what_is_said() {
        let ready = ServerState::Ready { tools: 1 };
        let failed = ServerState::Failed { reason: String::new(), hint: None, retry_in: None };
        let bad = Integrity::Quarantined { reason: String::new() };
        let odd = Integrity::Suspicious { breaches: 1 };
        for (state, integrity, login, troubled, word) in [
            (&ServerState::Starting, &Integrity::Clean, false, false, "starting"),
            (&ready, &Integrity::Clean, false, false, "ready"),
            (&ready, &odd, false, false, "ready"),
            (&ready, &Integrity::Clean, false, true, "degraded"),
            (&ready, &bad, false, true, "quarantined"),
            (&ServerState::Resting { tools: 1 }, &Integrity::Clean, false, true, "resting"),
            (&failed, &Integrity::Clean, false, true, "unreachable"),
            (&failed, &Integrity::Clean, true, false, "auth required"),
            (&failed, &bad, true, true, "quarantined"),
            (&ServerState::Stopped, &bad, true, true, "stopped"),
        ] {
            assert_eq!(condition(state, integrity, login, troubled).to_string(), word);
        }
    }
}
