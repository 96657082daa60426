//! A total deadline: one bound for everything that is done to answer a request, all attempts together.
//!
//! The request itself says until when its caller waits ([`HasDeadline`]); the layer takes the lesser of that and its
//! own limit and writes it back, so that everything further in, and whatever it calls, shares one deadline.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::deadline::{DeadlineLayer, HasDeadline};
//! use tokio::time::Instant;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! struct Question(Option<Instant>);
//! impl HasDeadline for Question {
//!     fn deadline(&self) -> Option<Instant> { self.0 }
//!     fn set_deadline(&mut self, deadline: Instant) { self.0 = Some(deadline) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let inner = service_fn(|q: Question| async move { Ok::<_, Infallible>(q.0.unwrap() - Instant::now()) });
//! let service = DeadlineLayer::new(Duration::from_secs(300)).layer(inner);
//!
//! // The caller is more impatient than the layer: what is further in hears of ten seconds.
//! let caller = Instant::now() + Duration::from_secs(10);
//! assert_eq!(service.oneshot(Question(Some(caller))).await.unwrap(), Duration::from_secs(10));
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

mod error;
mod future;
mod layer;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::DeadlineLayer;

/// A request that knows until when its caller waits.
pub trait HasDeadline {
    /// Until when; `None`: the caller has no limit of its own.
    fn deadline(&self) -> Option<Instant>;

    /// Says until when from now on.
    fn set_deadline(&mut self, deadline: Instant);
}

macro_rules! without_deadline {
    ($($kind:ty),*) => {$(
        /// Carries no deadline: the layer's limit alone counts.
        impl HasDeadline for $kind {
            fn deadline(&self) -> Option<Instant> { None }
            fn set_deadline(&mut self, _: Instant) {}
        }
    )*};
}
without_deadline!((), String, &str);

/// Bounds the whole of what the inner service does for a request.
#[derive(Debug, Clone)]
pub struct Deadline<S> {
    inner: S,
    limit: Duration,
}

impl<S> Deadline<S> {
    /// Bounds `inner` by `limit`, counted from the call.
    pub fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S, R> Service<R> for Deadline<S>
where
    S: Service<R>,
    R: HasDeadline,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        let now = Instant::now();
        // A limit beyond what the clock can say is no limit; the caller's own may still be one.
        let own = now.checked_add(self.limit);
        let deadline = match (own, request.deadline()) {
            (Some(own), Some(callers)) => Some(own.min(callers)),
            (one, other) => one.or(other),
        };
        if let Some(deadline) = deadline {
            request.set_deadline(deadline);
            if deadline <= now {
                return ResponseFuture::over(deadline);
            }
        }
        ResponseFuture::new(self.inner.call(request), deadline, now)
    }
}
