use std::error;
use std::fmt;
use std::time::Duration;

/// Why a service that shares a limit did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// No place got free in time: nothing was sent.
    Waited {
        /// How long it waited.
        limit: Duration,
    },
    /// The inner service's own error.
    Inner(E),
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waited { limit } => write!(
                f,
                "too many requests are in flight: no place got free within {} s",
                limit.as_secs_f32()
            ),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: error::Error + 'static> error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Waited { .. } => None,
            Self::Inner(error) => error.source(),
        }
    }
}
