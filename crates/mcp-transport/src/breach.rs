//! What a server does that no honest one does: told apart from trouble, because it says nothing about whether the server
//! is there, and much about whether it can be believed.

use std::fmt;
use std::sync::{Arc, OnceLock};

use mcp_core::ServerName;

/// One act against the protocol that looks like an attempt to deceive or to harm.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Breach {
    /// An answer under an id that was never given out.
    ForeignId,
    /// A further answer to a request that was answered already.
    SecondAnswer,
    /// An answer whose id has another JSON type than the request's.
    IdType,
    /// An answer that cannot be read: nested too deep, not UTF-8, a member twice.
    Unreadable,
    /// A line longer than anything that is accepted, without an end and without an id.
    EndlessLine,
    /// More than 1,000 notices a second for 5 seconds.
    Flood,
    /// It led a request to where none may go: by a redirect, or by its name.
    Misled {
        /// Why nothing may go there.
        where_to: String,
    },
    /// A request for something that was never offered.
    Undeclared {
        /// The request's method.
        method: String,
    },
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForeignId => f.write_str("it answered under an id that was never given out"),
            Self::SecondAnswer => f.write_str("it answered one request twice"),
            Self::IdType => f.write_str("it answered under an id of another type than the request's"),
            Self::Unreadable => f.write_str("it sent an answer that cannot be read"),
            Self::EndlessLine => f.write_str("it sent a line without end"),
            Self::Flood => f.write_str("it floods us with notices"),
            Self::Misled { where_to } => write!(f, "it leads where nothing may go: {where_to}"),
            Self::Undeclared { method } => write!(f, "it asked for {method:?}, which was never offered"),
        }
    }
}

/// Hears of breaches. It is called from the task that reads what the server sends: it must return at once.
pub trait BreachSink: Send + Sync {
    /// One breach.
    fn breach(&self, server: &ServerName, breach: Breach);
}

/// Where the breaches of one session go; nowhere until it is told.
#[derive(Clone, Default)]
pub(crate) struct Breaches(Arc<OnceLock<(ServerName, Arc<dyn BreachSink>)>>);

impl Breaches {
    /// Tells them from now on.
    pub(crate) fn report_to(&self, server: &ServerName, sink: Option<&Arc<dyn BreachSink>>) {
        if let Some(sink) = sink {
            // Set once, when the session is opened.
            let _ = self.0.set((server.clone(), sink.clone()));
        }
    }

    pub(crate) fn note(&self, breach: Breach) {
        tracing::debug!(%breach, "breach of the protocol");
        if let Some((server, sink)) = self.0.get() {
            sink.breach(server, breach);
        }
    }
}

impl fmt::Debug for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaches").field("told", &self.0.get().is_some()).finish()
    }
}
