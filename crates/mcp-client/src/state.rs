//! The states of a server, and how one is made of what is known.

use std::fmt;
use std::time::{Duration, Instant};

use mcp_core::ServerName;
use mcp_resilience::breaker::State as CircuitState;
use mcp_security::sandbox::Level;
use mcp_transport::PeerInfo;

use crate::Integrity;
use crate::circuit::EXHAUSTED;

/// How a server is: its life, its circuit and its honesty together. What hinders calls most is what is said.
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
    /// It is there, but it answers mostly too slowly, or it fails or breaks its streams so often that it is left alone now and
    /// then, or nothing may change the world for now, as where the audit log cannot be written.
    Degraded {
        /// How many tools it offers.
        tools: usize,
        /// What was noticed first.
        reason: String,
    },
    /// Nobody called it for a while, and its program was ended. Its tools are offered; a call starts it again.
    Resting {
        /// How many tools it offers.
        tools: usize,
    },
    /// It failed; its tools are away.
    Unreachable {
        /// What happened, with the last words of a child process.
        reason: String,
        /// What the user can do about it, where there is something.
        hint: Option<String>,
        /// How long until it is tried again; `None`: it is given up.
        retry_in: Option<Duration>,
    },
    /// It wants a login, or a credential that cannot be had now.
    AuthRequired {
        /// How many tools it offers: none where it asked when it was dialled, all of them where a call found out.
        tools: usize,
        /// What is wanted. No secret is in it.
        reason: String,
        /// What the user can do about it, where there is something.
        hint: Option<String>,
    },
    /// It broke the protocol as no honest server does: its calls are refused until somebody approves of it.
    Quarantined {
        /// What it did last.
        reason: String,
    },
    /// It was stopped on purpose.
    Stopped,
}

impl ServerState {
    /// Whether its tools can be used.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Degraded { .. } | Self::Resting { .. })
    }

    /// Its name, as in events and documents: `auth_required`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready { .. } => "ready",
            Self::Degraded { .. } => "degraded",
            Self::Resting { .. } => "resting",
            Self::Unreachable { .. } => "unreachable",
            Self::AuthRequired { .. } => "auth_required",
            Self::Quarantined { .. } => "quarantined",
            Self::Stopped => "stopped",
        }
    }

    /// How many tools can be called.
    pub fn tools(&self) -> usize {
        match self {
            Self::Ready { tools }
            | Self::Degraded { tools, .. }
            | Self::Resting { tools }
            | Self::AuthRequired { tools, .. } => *tools,
            _ => 0,
        }
    }

    /// Why it is not simply ready, where there is more to say than its name.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Degraded { reason, .. }
            | Self::Unreachable { reason, .. }
            | Self::AuthRequired { reason, .. }
            | Self::Quarantined { reason } => Some(reason),
            _ => None,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Unreachable { hint, .. } | Self::AuthRequired { hint, .. } => hint.as_deref(),
            Self::Quarantined { .. } => {
                Some("find out what is wrong with it; a new run starts it without this mark")
            }
            _ => None,
        }
    }

    /// Whether it is this state still. What a server is degraded by may change a hundred times a minute: that it is
    /// degraded is the news, and not by what. So it is with one that is away and tried again without a word.
    pub(crate) fn is_still(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Degraded { tools, .. }, Self::Degraded { tools: before, .. }) => tools == before,
            (Self::Unreachable { retry_in: Some(_), .. }, Self::Unreachable { retry_in: Some(_), .. }) => {
                true
            }
            _ => self == before,
        }
    }
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("it is starting"),
            Self::Ready { tools } => write!(f, "it is ready with {tools} tools"),
            Self::Degraded { reason, .. } => write!(f, "it is degraded: {reason}"),
            Self::Resting { tools } => write!(f, "it rests until it is called, with {tools} tools"),
            Self::Unreachable { reason, .. } | Self::AuthRequired { reason, .. } => f.write_str(reason),
            Self::Quarantined { reason } => write!(f, "it is in quarantine: {reason}"),
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
    /// How it is, all in all.
    pub state: ServerState,
    /// The sandbox that its program is in, while it runs: the one that was asked for, for it runs in no other.
    pub sandbox: Option<Level>,
    /// Whether its configuration calls it required.
    pub required: bool,
    /// What it said about itself, while there is a session with it.
    pub peer: Option<PeerInfo>,
    /// How often it was started again after it had been ready.
    pub restarts: u32,
    /// The most processes that its program and all it started were at a time, since it was started first; `None`: nobody has
    /// looked yet, or the system does not tell.
    pub peak_processes: Option<usize>,
    /// When it makes sense to call it again, while it is away, its circuit is open or it asks to be left alone.
    pub retry_at: Option<Instant>,
    /// The circuit in front of it.
    pub circuit: CircuitState,
    /// What is thought of its honesty.
    pub integrity: Integrity,
    /// How the first thing begins that it wrote to its standard output and that is no message; at most 80 characters, without
    /// registered secrets.
    pub chatter: Option<String>,
}

/// What the task of a server knows of it: the part of its state that is about its session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Life {
    #[default]
    Starting,
    Open {
        tools: usize,
    },
    Resting {
        tools: usize,
    },
    Failed(Failure),
    Stopped,
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
    /// `None`: it is given up.
    pub(crate) retry_in: Option<Duration>,
    /// It wants a login.
    pub(crate) login: bool,
}

/// What a call found out: the server wants a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) reason: String,
    pub(crate) hint: Option<String>,
}

/// All that the state of a server is made of.
pub(crate) struct Known<'a> {
    pub(crate) life: &'a Life,
    pub(crate) login: Option<&'a Login>,
    pub(crate) integrity: Integrity,
    pub(crate) circuit: CircuitState,
    /// Why its tools that may change the world are refused for now.
    pub(crate) suspended: Option<String>,
    /// The streams that bring its answers may not be opened again for now.
    pub(crate) exhausted: bool,
    /// It answers mostly too slowly.
    pub(crate) slow: bool,
}

impl Known<'_> {
    pub(crate) fn state(self) -> ServerState {
        let Self { life, login, integrity, circuit, suspended, exhausted, slow } = self;
        if *life == Life::Stopped {
            return ServerState::Stopped;
        }
        if let Integrity::Quarantined { reason } = integrity {
            return ServerState::Quarantined { reason };
        }
        let tools = match life.clone() {
            Life::Failed(Failure { reason, hint, login: true, .. }) => {
                return ServerState::AuthRequired { tools: 0, reason, hint };
            }
            Life::Failed(Failure { reason, hint, retry_in, .. }) => {
                return ServerState::Unreachable { reason, hint, retry_in };
            }
            Life::Starting => return ServerState::Starting,
            Life::Resting { tools } => return ServerState::Resting { tools },
            Life::Stopped => return ServerState::Stopped,
            Life::Open { tools } => tools,
        };
        if let Some(Login { reason, hint }) = login.cloned() {
            return ServerState::AuthRequired { tools, reason, hint };
        }
        let reason = match circuit {
            CircuitState::Open { reason, .. } => format!("it is left alone for a while: {reason}"),
            CircuitState::ForcedOpen { reason } => format!("it is not called any more: {reason}"),
            CircuitState::HalfOpen { .. } => "it was left alone, and is asked whether it is back".to_owned(),
            _ => match suspended {
                Some(reason) => format!("its tools that may change the world are refused: {reason}"),
                None if exhausted => format!("it is left alone for a while: {EXHAUSTED}"),
                None if slow => "it answers mostly too slowly".to_owned(),
                None => return ServerState::Ready { tools },
            },
        };
        ServerState::Degraded { tools, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hinders_most_is_what_is_said() {
        let open = Life::Open { tools: 1 };
        let failed =
            |login| Life::Failed(Failure { reason: String::new(), hint: None, retry_in: None, login });
        let bad = Integrity::Quarantined { reason: String::new() };
        let odd = Integrity::Suspicious { breaches: 1 };
        let forced = CircuitState::ForcedOpen { reason: "why".into() };
        let closed = CircuitState::Closed;
        let login = Login { reason: String::new(), hint: None };
        for (life, integrity, login, circuit, slow, word) in [
            (Life::Starting, Integrity::Clean, None, &closed, false, "starting"),
            (open.clone(), Integrity::Clean, None, &closed, false, "ready"),
            (open.clone(), odd, None, &closed, false, "ready"),
            (open.clone(), Integrity::Clean, None, &closed, true, "degraded"),
            (open.clone(), Integrity::Clean, None, &forced, false, "degraded"),
            (open.clone(), Integrity::Clean, Some(&login), &forced, true, "auth_required"),
            (open, bad.clone(), Some(&login), &forced, true, "quarantined"),
            (Life::Resting { tools: 1 }, Integrity::Clean, Some(&login), &forced, true, "resting"),
            (failed(false), Integrity::Clean, None, &forced, true, "unreachable"),
            (failed(true), Integrity::Clean, None, &closed, false, "auth_required"),
            (failed(true), bad.clone(), None, &forced, true, "quarantined"),
            (Life::Stopped, bad, None, &forced, true, "stopped"),
        ] {
            let suspended = None;
            let (circuit, exhausted) = (circuit.clone(), false);
            let known = Known { life: &life, login, integrity, circuit, suspended, exhausted, slow };
            assert_eq!(known.state().name(), word);
        }
        let suspended = Some("the disk is full".to_owned());
        let (life, integrity) = (Life::Open { tools: 1 }, Integrity::Clean);
        let (login, exhausted, slow) = (None, true, true);
        let known = Known { life: &life, login, integrity, circuit: closed, suspended, exhausted, slow };
        let ServerState::Degraded { reason, .. } = known.state() else { unreachable!("it is degraded") };
        assert_eq!(reason, "its tools that may change the world are refused: the disk is full");
    }

    #[test]
    fn by_what_it_is_degraded_is_no_news() {
        let degraded = |tools, reason: &str| ServerState::Degraded { tools, reason: reason.to_owned() };
        assert!(degraded(1, "one").is_still(&degraded(1, "another")));
        assert!(!degraded(1, "one").is_still(&degraded(2, "one")));
        assert!(!degraded(1, "one").is_still(&ServerState::Ready { tools: 1 }));
    }
}
