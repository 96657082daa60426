use std::time::Duration;

/// Why an attempt gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// It took too long.
    #[error("no answer within {} s", limit.as_secs_f32())]
    Elapsed {
        /// The limit of one attempt, or what was left of the caller's time, where that is less.
        limit: Duration,
    },
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
