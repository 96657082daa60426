//! An attempt timeout: how long one attempt may take. On expiry the attempt's future is dropped, which is how
//! whatever it had begun learns that nobody waits any more.
//!
//! An attempt that shows signs of life may take longer: a request that carries a [`Pulse`] is given up only when the
//! limit has passed since the last beat. No attempt lasts longer than its request's own deadline ([`HasDeadline`]): one
//! clock is watched for both.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::timeout::{Error, TimeoutLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = Duration::from_secs(60);
//! let silent = service_fn(|_: &str| std::future::pending::<Result<(), Infallible>>());
//! let error = TimeoutLayer::new(limit).layer(silent).oneshot("hello?").await.unwrap_err();
//! assert_eq!(error, Error::Elapsed { limit });
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use crate::deadline::HasDeadline;

mod error;
mod future;
mod layer;
mod pulse;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::TimeoutLayer;
pub use pulse::{HasPulse, Pulse, Vital};

/// Bounds one attempt of the inner service.
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    limit: Duration,
}

impl<S> Timeout<S> {
    /// Bounds each call of `inner` by `limit`.
    pub fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<S, R> Service<R> for Timeout<S>
where
    S: Service<R>,
    R: HasPulse + HasDeadline,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        // A pulse of its own for each attempt: the last beat of the one before says nothing about this one.
        let pulse = Pulse::default();
        request.set_pulse(&pulse);
        let (begun, deadline) = (Instant::now(), request.deadline());
        ResponseFuture::new(self.inner.call(request), self.limit, begun, deadline, pulse)
    }
}
