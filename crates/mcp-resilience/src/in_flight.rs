//! A limit on the requests in flight over several services together, of which none can take it all.
//!
//! Each service that a layer of one [`InFlightLimit`] is put around is a party. A party takes a place where it holds fewer
//! than are free, or none at all: one alone gets half of the places, a second one half of the rest, and so on. So what hangs
//! in some services leaves places for the others, however many it hangs in; at most as many requests as there are parties
//! are in flight beyond the limit. Who finds no place waits, and parties take turns.
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use mcp_resilience::in_flight::{Error, InFlightLimit, InFlightOptions};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let limit = InFlightLimit::new(&InFlightOptions { places: 8, ..InFlightOptions::default() });
//! let hangs = limit.layer().layer(service_fn(|_: &str| std::future::pending::<Result<&str, Infallible>>()));
//! let works = limit.layer().layer(service_fn(|_: &str| async { Ok::<_, Infallible>("done") }));
//! let hanging: Vec<_> = (0..4).map(|_| tokio::spawn(hangs.clone().oneshot("?"))).collect();
//! tokio::task::yield_now().await;
//! assert!(matches!(hangs.oneshot("?").await, Err(Error::Waited { .. })), "half of the places are its share");
//! assert_eq!(works.oneshot("?").await.unwrap(), "done");
//! # drop(hanging);
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
mod places;

pub use error::Error;
pub use future::ResponseFuture;
pub use layer::InFlightLayer;

use places::{Entry, Party, Places};

/// The numbers of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InFlightOptions {
    /// Requests in flight at a time, over all services; 0 counts as 1.
    pub places: usize,
    /// The longest wait for a place; a request that has a deadline waits for a fifth of its time at most.
    pub wait: Duration,
}

impl Default for InFlightOptions {
    /// 64 places, and at most 5 s.
    fn default() -> Self {
        Self { places: 64, wait: Duration::from_secs(5) }
    }
}

/// A limit that services share. Clones are the same limit.
#[derive(Debug, Clone)]
pub struct InFlightLimit {
    places: Places,
    wait: Duration,
}

impl InFlightLimit {
    /// A limit with these numbers, and nobody who shares it yet.
    pub fn new(options: &InFlightOptions) -> Self {
        Self { places: Places::new(options.places), wait: options.wait }
    }

    /// What makes services share it: each one that it is put around is a party.
    pub fn layer(&self) -> InFlightLayer {
        InFlightLayer::new(self.clone())
    }

    /// Requests in flight now, over all services.
    pub fn in_flight(&self) -> usize {
        self.places.in_flight()
    }
}

/// A service that shares a limit with others. Clones are one party.
#[derive(Debug, Clone)]
pub struct InFlight<S> {
    inner: S,
    party: Party,
    wait: Duration,
    hooks: Hooks,
}

impl<S> InFlight<S> {
    /// Makes `inner` a party of this limit.
    pub fn new(inner: S, limit: &InFlightLimit, hooks: Hooks) -> Self {
        Self { inner, party: limit.places.party(), wait: limit.wait, hooks }
    }
}

impl<S, R> Service<R> for InFlight<S>
where
    S: Service<R> + Clone,
    R: HasDeadline,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.party.enter() {
            Entry::Free(place) => ResponseFuture::running(self.inner.call(request), place),
            Entry::Wait(turn) => {
                let now = Instant::now();
                let share = request.deadline().map(|deadline| deadline.saturating_duration_since(now) / 5);
                let wait = share.map_or(self.wait, |share| share.min(self.wait));
                ResponseFuture::waiting(turn, wait, now, (self.inner.clone(), request), self.hooks.clone())
            }
        }
    }
}
