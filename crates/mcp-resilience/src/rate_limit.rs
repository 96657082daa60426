//! A rate limit: a bucket of tokens that fills evenly. A request takes one; where none is left it waits for the next,
//! at most so long, and what would have to wait longer is refused at once, with the time from which on it makes sense.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::rate_limit::{Error, RateLimitLayer, RateLimitOptions};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let options = RateLimitOptions { burst: 2, every: Duration::from_secs(10), wait: Duration::from_secs(15) };
//! let mut service = RateLimitLayer::new(options).layer(service_fn(|_: &str| async { Ok::<_, Infallible>(()) }));
//! let begun = tokio::time::Instant::now();
//! let mut calls = Vec::new();
//! for _ in 0..4 {
//!     calls.push(service.ready().await.unwrap().call("hello"));
//! }
//! let last = calls.pop().unwrap().await.unwrap_err();
//! assert_eq!(last, Error::Limited { retry_at: begun + Duration::from_secs(20) });
//! for call in calls {
//!     call.await.unwrap();
//! }
//! assert_eq!(begun.elapsed(), Duration::from_secs(10));
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use crate::observe::{Hooks, names};

mod error;
mod future;
mod layer;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::RateLimitLayer;

/// The numbers of a rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimitOptions {
    /// Tokens that a full bucket holds; 0 counts as 1.
    pub burst: u32,
    /// The time in which one token comes.
    pub every: Duration,
    /// The longest wait for a token.
    pub wait: Duration,
}

/// A bucket of tokens. Clones share it.
#[derive(Debug, Clone)]
pub struct Bucket {
    options: RateLimitOptions,
    /// When the bucket will be full again, all tokens taken so far counted.
    full_at: Arc<Mutex<Option<Instant>>>,
}

impl Bucket {
    /// A full bucket.
    pub fn new(options: RateLimitOptions) -> Self {
        Self { options, full_at: Arc::default() }
    }

    /// Takes a token: at once, or one of those to come.
    ///
    /// # Errors
    ///
    /// From when on it makes sense to ask again; no token is taken.
    pub fn take(&self, now: Instant) -> Result<Instant, Instant> {
        let RateLimitOptions { burst, every, wait } = self.options;
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let full = full_at.map_or(now, |at| at.max(now));
        // The bucket may lack burst - 1 tokens and still have one.
        let spare = every.saturating_mul(burst.max(1) - 1);
        let due = full.checked_sub(spare).map_or(now, |at| at.max(now));
        if due.saturating_duration_since(now) > wait {
            return Err(due);
        }
        *full_at = Some(full.checked_add(every).unwrap_or(full));
        Ok(due)
    }
}

/// Bounds how often the inner service is called. Clones share the bucket.
#[derive(Debug, Clone)]
pub struct RateLimit<S> {
    inner: S,
    bucket: Bucket,
    hooks: Hooks,
}

impl<S> RateLimit<S> {
    /// Puts `inner` behind `bucket`.
    pub fn new(inner: S, bucket: Bucket, hooks: Hooks) -> Self {
        Self { inner, bucket, hooks }
    }
}

impl<S, R> Service<R> for RateLimit<S>
where
    S: Service<R> + Clone,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let now = Instant::now();
        match self.bucket.take(now) {
            Ok(due) if due <= now => ResponseFuture::running(self.inner.call(request)),
            Ok(due) => ResponseFuture::waiting(due, self.inner.clone(), request),
            Err(retry_at) => {
                self.hooks.count(names::SHED, &[("reason", "rate")]);
                ResponseFuture::limited(retry_at)
            }
        }
    }
}
