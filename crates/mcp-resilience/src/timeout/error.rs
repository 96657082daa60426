use std::error;
use std::fmt;
use std::time::Duration;

/// Why an attempt gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// It took too long.
    Elapsed {
        /// The limit of one attempt, or what was left of the caller's time, where that is less.
        limit: Duration,
    },
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elapsed { limit } => write!(f, "no answer within {} s", limit.as_secs_f32()),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Elapsed { .. } => None,
            Self::Inner(error) => error.source(),
        }
    }
}
