use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::queue::{Slot, Turn};
use super::{Error, HasCaller};
use crate::observe::{Hooks, names};
use crate::oneshot::Oneshot;

pin_project! {
    /// The answer, or the word that there is no place.
    pub struct ResponseFuture<S, R>
    where
        S: Service<R>,
        R: HasCaller,
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
        R: HasCaller,
    {
        Full { limit: usize },
        Waiting {
            turn: Turn<R::Caller>,
            #[pin]
            sleep: Sleep,
            limit: Duration,
            since: Instant,
            then: Option<(S, R)>,
            hooks: Hooks,
        },
        // The inner future goes first: the place is free when the work has ended.
        Running { #[pin] inner: S::Future, slot: Option<Slot<R::Caller>> },
        Late { #[pin] inner: Oneshot<S, R>, slot: Option<Slot<R::Caller>> },
    }
}

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
    R: HasCaller,
{
    pub(super) fn full(limit: usize) -> Self {
        Self { state: Step::Full { limit } }
    }

    pub(super) fn running(inner: S::Future, slot: Slot<R::Caller>) -> Self {
        Self { state: Step::Running { inner, slot: Some(slot) } }
    }

    pub(super) fn waiting(
        turn: Turn<R::Caller>,
        limit: Duration,
        since: Instant,
        inner: S,
        request: R,
        hooks: Hooks,
    ) -> Self {
        let sleep = tokio::time::sleep_until(since.checked_add(limit).unwrap_or(since));
        Self { state: Step::Waiting { turn, sleep, limit, since, then: Some((inner, request)), hooks } }
    }
}

impl<S, R> Future for ResponseFuture<S, R>
where
    S: Service<R>,
    R: HasCaller,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StepProjection::Full { limit } => return Poll::Ready(Err(Error::Full { limit: *limit })),
                StepProjection::Running { inner, slot } => {
                    let result = ready!(inner.poll(cx));
                    drop(slot.take());
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                StepProjection::Late { inner, slot } => {
                    let result = ready!(inner.poll(cx));
                    drop(slot.take());
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                StepProjection::Waiting { turn, sleep, limit, since, then, hooks } => {
                    match Pin::new(turn).poll(cx) {
                        Poll::Ready(Ok(slot)) => {
                            hooks.histogram(names::BULKHEAD_WAIT, None, since.elapsed().as_secs_f64());
                            let Some((service, request)) = then.take() else { return Poll::Pending };
                            Step::Late { inner: Oneshot::new(service, request), slot: Some(slot) }
                        }
                        // The service below holds the queue, so a turn is always handed over.
                        Poll::Ready(Err(_)) => return Poll::Ready(Err(Error::Waited { limit: *limit })),
                        Poll::Pending => {
                            ready!(sleep.poll(cx));
                            hooks.count(names::SHED, &[("reason", "wait")]);
                            let limit = *limit;
                            // Leaves the queue now, not when the caller gets round to dropping this.
                            this.state.set(Step::Full { limit: 0 });
                            return Poll::Ready(Err(Error::Waited { limit }));
                        }
                    }
                }
            };
            this.state.set(next);
        }
    }
}
