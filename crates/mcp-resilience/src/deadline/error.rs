use std::time::Duration;

/// Why a bounded service did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The deadline passed. Zero: it had passed before the request was sent.
    #[error("the deadline passed after {} s", limit.as_secs_f32())]
    Exceeded {
        /// How long there was, from the call on.
        limit: Duration,
    },
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
