use super::Rejected;

/// Why a service behind a breaker did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The circuit is open: nothing was sent. Try again at `retry_at`.
    #[error(transparent)]
    Rejected(Rejected),
    /// The inner service's own error.
    #[error(transparent)]
    Inner(E),
}
