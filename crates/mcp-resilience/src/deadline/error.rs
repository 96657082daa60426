use std::error;
use std::fmt;
use std::time::Duration;

/// Why a bounded service did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The deadline passed. Zero: it had passed before the request was sent.
    Exceeded {
        /// How long there was, from the call on.
        limit: Duration,
    },
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exceeded { limit } => write!(f, "the deadline passed after {} s", limit.as_secs_f32()),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Exceeded { .. } => None,
            Self::Inner(error) => error.source(),
        }
    }
}
