//! A circuit breaker: what keeps failing is left alone for a while, and whoever asks is told at once until when.
//!
//! Mechanism and policy are apart. [`Gate`] hands out permits and takes them back, and lets exactly one probe through
//! when the time has come; [`Policy`] says when to open and for how long, and [`Rules`] is the one that is built in:
//! failures in a row, the rate of failures over a window, and times that grow while it does not help, further for a far
//! end that answers and fails than for one that nobody answers for. What a result means is the caller's to say.
//!
//! ```
//! use mcp_resilience::breaker::{BreakerLayer, Error, Failure, Gate, Outcome, Rules};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let gate = Gate::new(Rules::default());
//! let judge = |result: &Result<(), &'static str>| match result {
//!     Ok(()) => Outcome::Success,
//!     Err(_) => Outcome::Failure(Failure::Call),
//! };
//! let broken = service_fn(|_: &str| async { Err::<(), _>("no") });
//! let mut service = BreakerLayer::new(gate.clone(), judge).layer(broken);
//! for _ in 0..5 {
//!     assert_eq!(service.ready().await.unwrap().call("now?").await, Err(Error::Inner("no")));
//! }
//! let Err(Error::Rejected(rejected)) = service.ready().await.unwrap().call("now?").await else { unreachable!() };
//! assert_eq!(rejected.to_string(), "the circuit is open: it failed 5 times in a row");
//! assert_eq!(gate.state().name(), "open");
//! # }
//! ```

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tower_service::Service;

use crate::deadline::HasDeadline;

mod error;
mod future;
mod gate;
mod layer;
mod policy;
mod probe;
mod window;

pub use error::Error;
pub use future::ResponseFuture;
pub use gate::{Gate, Permit, Probing, Reason, Rejected, Snapshot, State, Transition};
pub use layer::BreakerLayer;
pub use policy::{Failure, Opening, Outcome, Policy, Rates, RuleOptions, Rules, Verdict};
pub use probe::probe;

/// How long a request waits for the verdict of a probe that is under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// A service behind a [`Gate`]. A request that comes while a probe is under way waits for its verdict, at most 1 s and
/// at most a tenth of its deadline; every other one that may not pass is rejected at once.
#[derive(Debug, Clone)]
pub struct Breaker<S, C, P = Rules> {
    inner: S,
    gate: Gate<P>,
    judge: C,
}

impl<S, C, P> Breaker<S, C, P> {
    /// Puts `inner` behind `gate`; `judge` says what a result means for it.
    pub fn new(inner: S, gate: Gate<P>, judge: C) -> Self {
        Self { inner, gate, judge }
    }
}

/// How long a request with this deadline may wait for the verdict of a probe: 1 s, or a tenth of its time.
pub fn patience(deadline: Option<Instant>, now: Instant) -> Duration {
    match deadline {
        Some(deadline) => PATIENCE.min(deadline.saturating_duration_since(now) / 10),
        None => PATIENCE,
    }
}

impl<P: Policy> Gate<P> {
    /// Waits until the state has changed, at most so long.
    pub fn verdict(&self, at_most: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut changed = self.changed();
        // From here on, so that a change between this call and the first poll is seen.
        changed.borrow_and_update();
        async move {
            let _ = timeout(at_most, changed.changed()).await;
        }
    }
}

impl<S, R, C, P> Service<R> for Breaker<S, C, P>
where
    S: Service<R> + Clone,
    R: HasDeadline,
    C: Fn(&Result<S::Response, S::Error>) -> Outcome + Clone,
    P: Policy,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R, C, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let now = Instant::now();
        let (gate, judge) = (self.gate.clone(), self.judge.clone());
        match gate.acquire(now) {
            Ok(permit) => ResponseFuture::running(gate, judge, self.inner.call(request), permit),
            Err(Rejected { reason: Reason::Probing, .. }) => {
                let wait = Box::pin(gate.verdict(patience(request.deadline(), now)));
                ResponseFuture::waiting(gate, judge, wait, (self.inner.clone(), request))
            }
            Err(rejected) => ResponseFuture::rejected(gate, judge, rejected),
        }
    }
}
