use std::time::Duration;

/// Why a service behind a bulkhead did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// As many requests wait as may wait: nothing was sent.
    #[error("{limit} requests are waiting already")]
    Full {
        /// How many may wait.
        limit: usize,
    },
    /// No place got free in time: nothing was sent.
    #[error("no place got free within {} s", limit.as_secs_f32())]
    Waited {
        /// How long it waited.
        limit: Duration,
    },
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
