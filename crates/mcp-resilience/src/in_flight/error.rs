use std::time::Duration;

/// Why a service that shares a limit did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// No place got free in time: nothing was sent.
    #[error("too many requests are in flight: no place got free within {} s", limit.as_secs_f32())]
    Waited {
        /// How long it waited.
        limit: Duration,
    },
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
