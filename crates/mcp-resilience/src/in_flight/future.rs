use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::Error;
use super::places::{Place, Turn};
use crate::observe::{Hooks, names};
use crate::oneshot::Oneshot;

pin_project! {
    /// The answer, or the word that there is no place.
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
    {
        #[pin]
        state: Step<S, R>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S, R>
    where
        S: Service<R>,
    {
        Waiting {
            turn: Turn,
            #[pin]
            sleep: Sleep,
            limit: Duration,
            then: Option<(S, R)>,
            hooks: Hooks,
        },
        Waited { limit: Duration },
        // The inner future goes first: the place is free when the work has ended.
        Running { #[pin] inner: S::Future, place: Option<Place> },
        Late { #[pin] inner: Oneshot<S, R>, place: Option<Place> },
    }
}

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
{
    pub(super) fn running(inner: S::Future, place: Place) -> Self {
        Self { state: Step::Running { inner, place: Some(place) } }
    }

    pub(super) fn waiting(turn: Turn, limit: Duration, since: Instant, then: (S, R), hooks: Hooks) -> Self {
        let sleep = tokio::time::sleep_until(since.checked_add(limit).unwrap_or(since));
        Self { state: Step::Waiting { turn, sleep, limit, then: Some(then), hooks } }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StepProjection::Waited { limit } => return Poll::Ready(Err(Error::Waited { limit: *limit })),
                StepProjection::Running { inner, place } => {
                    let result = ready!(inner.poll(cx));
                    drop(place.take());
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                StepProjection::Late { inner, place } => {
                    let result = ready!(inner.poll(cx));
                    drop(place.take());
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                StepProjection::Waiting { turn, sleep, limit, then, hooks } => {
                    match Pin::new(turn).poll(cx) {
                        Poll::Ready(Ok(place)) => {
                            let Some((service, request)) = then.take() else { return Poll::Pending };
                            Step::Late { inner: Oneshot::new(service, request), place: Some(place) }
                        }
                        // The service holds the places, so a turn is always handed over.
                        Poll::Ready(Err(_)) => Step::Waited { limit: *limit },
                        Poll::Pending => {
                            ready!(sleep.poll(cx));
                            hooks.count(names::SHED, &[("reason", "wait")]);
                            // Leaves the row now, not when the caller gets round to dropping this.
                            Step::Waited { limit: *limit }
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}
