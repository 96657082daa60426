use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::Error;
use crate::oneshot::Oneshot;

pin_project! {
    /// The answer, or the word that there were too many.
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
        Limited { retry_at: Instant },
        Waiting { #[pin] sleep: Sleep, then: Option<(S, R)> },
        Running { #[pin] inner: S::Future },
        Late { #[pin] inner: Oneshot<S, R> },
    }
}

impl<S, R> ResponseFuture<S, R>
where
    S: Service<R>,
{
    pub(super) fn limited(retry_at: Instant) -> Self {
        Self { state: Step::Limited { retry_at } }
    }

    pub(super) fn running(inner: S::Future) -> Self {
        Self { state: Step::Running { inner } }
    }

    pub(super) fn waiting(due: Instant, inner: S, request: R) -> Self {
        Self { state: Step::Waiting { sleep: tokio::time::sleep_until(due), then: Some((inner, request)) } }
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
                StepProjection::Limited { retry_at } => {
                    return Poll::Ready(Err(Error::Limited { retry_at: *retry_at }));
                }
                StepProjection::Running { inner } => return inner.poll(cx).map_err(Error::Inner),
                StepProjection::Late { inner } => return inner.poll(cx).map_err(Error::Inner),
                StepProjection::Waiting { sleep, then } => {
                    ready!(sleep.poll(cx));
                    let Some((service, request)) = then.take() else { return Poll::Pending };
                    Step::Late { inner: Oneshot::new(service, request) }
                }
            };
            this.state.set(next);
        }
    }
}
