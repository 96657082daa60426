//! Retries: a few more attempts where that is safe and there is time, and not at all where everybody would do it.
//!
//! A [`Policy`] says of each result whether another attempt is safe; this layer knows how often, how long between, and
//! what it may cost: at most [`RetryOptions::attempts`] attempts, decorrelated jitter between them, never a sleep past
//! the request's deadline, and a [`Budget`] shared by all who call the same far end. A request that is already an
//! attempt of another retry layer is made once: retries do not multiply.
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use mcp_resilience::retry::{Budget, Decision, Policy, RetryLayer, RetryOptions};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! #[derive(Clone)]
//! struct Always;
//! impl Policy<&'static str, u32, &'static str> for Always {
//!     fn copy(&self, request: &&'static str) -> Option<&'static str> { Some(*request) }
//!     fn decide(&self, _: &&'static str, result: &Result<u32, &'static str>) -> Decision {
//!         if result.is_ok() { Decision::Done } else { Decision::AGAIN }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let third_time_lucky = service_fn(|_| async {
//!     match CALLS.fetch_add(1, Ordering::SeqCst) { 0 | 1 => Err("not yet"), calls => Ok(calls + 1) }
//! });
//! let layer = RetryLayer::new(Always, RetryOptions::default(), Budget::default());
//! assert_eq!(layer.layer(third_time_lucky).oneshot("now?").await, Ok(3));
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use crate::deadline::HasDeadline;
use crate::observe::Hooks;

mod budget;
mod future;
mod layer;
mod policy;

pub use budget::{Budget, BudgetOptions};
pub use future::ResponseFuture;
pub use layer::RetryLayer;
pub use policy::{Cost, Decision, HasAttempt, Policy};

/// The numbers of a retry layer.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryOptions {
    /// Attempts in total, the first included. At most 3 have effect.
    pub attempts: u32,
    /// The shortest delay.
    pub base: Duration,
    /// The longest delay of our own.
    pub cap: Duration,
    /// The shortest and the longest time a far end can ask to wait.
    pub asked: (Duration, Duration),
}

impl Default for RetryOptions {
    /// 3 attempts, 250 ms to 30 s apart; what the far end asks for counts from 250 ms to 60 s.
    fn default() -> Self {
        let base = Duration::from_millis(250);
        Self { attempts: 3, base, cap: Duration::from_secs(30), asked: (base, Duration::from_secs(60)) }
    }
}

/// More attempts than this are never made.
const MOST: u32 = 3;

/// Makes more attempts of the inner service.
#[derive(Debug, Clone)]
pub struct Retry<S, P> {
    inner: S,
    policy: P,
    options: RetryOptions,
    budget: Budget,
    hooks: Hooks,
}

impl<S, P> Retry<S, P> {
    /// Retries `inner` by `policy`, paid from `budget`.
    pub fn new(inner: S, policy: P, options: RetryOptions, budget: Budget) -> Self {
        Self { inner, policy, options, budget, hooks: Hooks::default() }
    }
}

impl<S, R, P> Service<R> for Retry<S, P>
where
    S: Service<R> + Clone,
    R: HasDeadline + HasAttempt,
    P: Policy<R, S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S, R, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: R) -> Self::Future {
        // An attempt of somebody else's retry: that one decides.
        let nested = request.attempt() > 0;
        let copy = if nested || self.options.attempts <= 1 { None } else { self.policy.copy(&request) };
        if !nested {
            request.set_attempt(1);
        }
        let first = self.inner.call(request);
        ResponseFuture::new(first, copy.map(|copy| (self.clone(), copy)))
    }
}
