//! The states of a circuit, and why somebody does not pass.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

/// The state of a circuit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Everything passes.
    Closed,
    /// Nothing passes.
    Open {
        /// Why it opened.
        reason: Arc<str>,
        /// From when on it may be probed.
        retry_at: Instant,
    },
    /// One probe is on its way, nothing else passes.
    HalfOpen {
        /// From when on it could be probed.
        retry_at: Instant,
    },
    /// Nothing passes until somebody says otherwise.
    ForcedOpen {
        /// Why.
        reason: Arc<str>,
    },
    /// Everything passes and nothing is counted.
    Disabled,
}

impl State {
    /// The state in one word: `closed`, `open`, `half_open`, `forced_open`, `disabled`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen { .. } => "half_open",
            Self::ForcedOpen { .. } => "forced_open",
            Self::Disabled => "disabled",
        }
    }

    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Open { retry_at, .. } | Self::HalfOpen { retry_at } => Some(*retry_at),
            Self::Closed | Self::ForcedOpen { .. } | Self::Disabled => None,
        }
    }
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why, in one word of a short list: that of the policy where it opened ([`super::super::Verdict::Trip`]), else `probing`,
    /// `probe_answered`, `probe_failed`, `probe_given_back`, `forced`, `disabled` or `reset`.
    pub cause: &'static str,
    /// Why, in words for people.
    pub reason: Arc<str>,
}

/// Why nothing passes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It failed too much; the words of the policy.
    Open(Arc<str>),
    /// It is just being probed.
    Probing,
    /// The far end asked to be left alone for a while.
    Throttled,
    /// Somebody said so; their words.
    Forced(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(reason) | Self::Forced(reason) => f.write_str(reason),
            Self::Probing => f.write_str("it failed and is just being tried again"),
            Self::Throttled => f.write_str("it asked to be left alone for a while"),
        }
    }
}

/// Nothing may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Why.
    pub reason: Reason,
    /// When to try again; `None`: not before somebody acts.
    pub retry_at: Option<Instant>,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the circuit is open: {}", self.reason)
    }
}

impl Error for Rejected {}
