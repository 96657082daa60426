use std::error;
use std::fmt;

use tokio::time::Instant;

/// Why a service behind a rate limit did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// Too many requests: nothing was sent.
    Limited {
        /// When to try again.
        retry_at: Instant,
    },
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limited { .. } => f.write_str("too many requests for now"),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Limited { .. } => None,
            Self::Inner(error) => error.source(),
        }
    }
}
