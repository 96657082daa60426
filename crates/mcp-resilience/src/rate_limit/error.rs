use tokio::time::Instant;

/// Why a service behind a rate limit did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// Too many requests: nothing was sent.
    #[error("too many requests for now")]
    Limited {
        /// When to try again.
        retry_at: Instant,
    },
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
