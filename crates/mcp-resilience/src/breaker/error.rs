use std::error;
use std::fmt;

use super::Rejected;

/// Why a service behind a breaker did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The circuit is open: nothing was sent. Try again at `retry_at`.
    Rejected(Rejected),
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Rejected(_) => None,
            Self::Inner(error) => error.source(),
        }
    }
}
