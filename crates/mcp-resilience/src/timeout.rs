//! An attempt timeout: how long one attempt may take. On expiry the attempt's future is dropped, which is how
//! whatever it had begun learns that nobody waits any more.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::timeout::{Error, TimeoutLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = Duration::from_secs(60);
//! let silent = service_fn(|()| std::future::pending::<Result<(), Infallible>>());
//! let error = TimeoutLayer::new(limit).layer(silent).oneshot(()).await.unwrap_err();
//! assert_eq!(error, Error::Elapsed { limit });
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tower::Service;

mod error;
mod future;
mod layer;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::TimeoutLayer;

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
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.limit)
    }
}
