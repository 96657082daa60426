//! Why a command ends without what was asked: a kind, which gives the exit code, a message, and what to do next.

use std::fmt;

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The owner of the configuration, the environment or the question.
    Config,
    /// The person at the command line.
    Usage,
    /// Nobody here: every agent failed, or a server did not answer.
    NoAnswer,
    /// Whoever keeps what was looked at: it is not as it was left.
    Altered,
    /// Whoever owns what was looked at: something was found in it.
    Found,
    /// The time is over; the best answer so far was printed.
    TimedOut,
    /// The user stopped it.
    Interrupted,
}

/// The end of a command that did not get there.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// Empty where everything has been said already.
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// A failure that was told before.
    pub(crate) fn silent(kind: Kind) -> Self {
        Self::new(kind, "")
    }

    #[must_use]
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Config => 1,
            Kind::Usage => 2,
            Kind::NoAnswer | Kind::Altered => 3,
            Kind::TimedOut => 4,
            Kind::Found => 5,
            Kind::Interrupted => 130,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}
