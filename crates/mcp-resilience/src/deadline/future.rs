use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

use super::Error;

pin_project! {
    /// The answer, or the end of the wait for it.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Option<Sleep>,
        limit: Duration,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, deadline: Option<Instant>, now: Instant) -> Self {
        let limit = deadline.map_or(Duration::MAX, |deadline| deadline - now);
        Self { inner: Some(inner), sleep: deadline.map(tokio::time::sleep_until), limit }
    }

    /// For a request that came too late: nothing is sent.
    pub(super) fn over(deadline: Instant) -> Self {
        Self { inner: None, sleep: Some(tokio::time::sleep_until(deadline)), limit: Duration::ZERO }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The answer first: one that is there in time counts, however late it is looked at.
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(answer) = inner.poll(cx)
        {
            return Poll::Ready(answer.map_err(Error::Inner));
        }
        let Some(sleep) = this.sleep.as_pin_mut() else { return Poll::Pending };
        ready!(sleep.poll(cx));
        // Ends the work now, not when the caller gets round to dropping this future.
        this.inner.set(None);
        Poll::Ready(Err(Error::Exceeded { limit: *this.limit }))
    }
}
