use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::{Error, Pulse};

pin_project! {
    /// The answer of one attempt, or the end of the wait for it.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Sleep,
        limit: Duration,
        pulse: Pulse,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(inner: F, limit: Duration, pulse: Pulse) -> Self {
        Self { inner: Some(inner), sleep: tokio::time::sleep(limit), limit, pulse }
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(answer) = inner.poll(cx)
        {
            return Poll::Ready(answer.map_err(Error::Inner));
        }
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            // Beats are only looked at when the time is up, so that they cost next to nothing.
            let end = this.pulse.last().and_then(|last| last.checked_add(*this.limit));
            match end {
                Some(end) if end > this.sleep.deadline() => this.sleep.as_mut().reset(end),
                _ => break,
            }
        }
        // The drop is the cancellation, and it must not wait for whoever holds this future.
        this.inner.set(None);
        Poll::Ready(Err(Error::Elapsed { limit: *this.limit }))
    }
}
