//! A bulkhead: so many requests at a time, a queue of so many more, and nobody's flood drowns the others.
//!
//! Who waits is served round robin by caller ([`HasCaller`]): a caller with fifty requests in the queue and one with a
//! single request take turns. A request waits at most for [`BulkheadOptions::wait`] and a fifth of its own time.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::bulkhead::{BulkheadLayer, BulkheadOptions, Error};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let slow = service_fn(|_: &str| async {
//!     tokio::time::sleep(Duration::from_secs(60)).await;
//!     Ok::<_, Infallible>("done")
//! });
//! let options = BulkheadOptions { in_flight: 1, ..BulkheadOptions::default() };
//! let service = BulkheadLayer::new(options).layer(slow);
//! let (first, second) = tokio::join!(service.clone().oneshot("one"), service.oneshot("two"));
//! assert_eq!(first.unwrap(), "done");
//! assert!(matches!(second.unwrap_err(), Error::Waited { .. }), "a place did not get free within 5 s");
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower_service::Service;

use crate::deadline::HasDeadline;
use crate::observe::Hooks;

mod error;
mod future;
mod layer;
mod queue;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::BulkheadLayer;

use queue::{Entry, Queue};

/// The numbers of a bulkhead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkheadOptions {
    /// Requests at a time; 0 counts as 1.
    pub in_flight: usize,
    /// Requests that wait.
    pub queue: usize,
    /// The longest wait.
    pub wait: Duration,
}

impl Default for BulkheadOptions {
    /// 16 at a time, 64 waiting, at most 5 s.
    fn default() -> Self {
        Self { in_flight: 16, queue: 64, wait: Duration::from_secs(5) }
    }
}

/// A request that knows whose it is.
pub trait HasCaller {
    /// What tells callers apart.
    type Caller: Eq + Send;

    /// Whose request it is.
    fn caller(&self) -> Self::Caller;
}

macro_rules! without_caller {
    ($($kind:ty),*) => {$(
        /// All are of one caller.
        impl HasCaller for $kind {
            type Caller = ();
            fn caller(&self) {}
        }
    )*};
}
without_caller!((), String, &str);

/// Bounds how many requests are in the inner service at a time. Clones share the bound.
#[derive(Debug)]
pub struct Bulkhead<S, K> {
    inner: S,
    queue: Queue<K>,
    wait: Duration,
}

impl<S: Clone, K> Clone for Bulkhead<S, K> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), queue: self.queue.clone(), wait: self.wait }
    }
}

impl<S, K: Eq + Send> Bulkhead<S, K> {
    /// Puts `inner` behind a bulkhead of its own.
    pub fn new(inner: S, options: &BulkheadOptions, hooks: Hooks) -> Self {
        Self { inner, queue: Queue::new(options, hooks), wait: options.wait }
    }
}

impl<S, R> Service<R> for Bulkhead<S, R::Caller>
where
    S: Service<R> + Clone,
    R: HasDeadline + HasCaller,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.queue.enter(|| request.caller()) {
            Entry::Free(slot) => ResponseFuture::running(self.inner.call(request), slot),
            Entry::Full => ResponseFuture::full(self.queue.limit()),
            Entry::Wait(turn) => {
                let now = Instant::now();
                let share = request.deadline().map(|deadline| deadline.saturating_duration_since(now) / 5);
                let wait = share.map_or(self.wait, |share| share.min(self.wait));
                ResponseFuture::waiting(turn, wait, now, self.inner.clone(), request, self.queue.hooks())
            }
        }
    }
}
