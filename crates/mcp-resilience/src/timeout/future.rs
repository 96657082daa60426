use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

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
        begun: Instant,
        deadline: Option<Instant>,
        pulse: Pulse,
    }
}

/// After so long nobody waits any more; the clock may end before a limit does.
const EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// The end of `limit` from `since` on, but not later than the deadline.
fn end(since: Instant, limit: Duration, deadline: Option<Instant>) -> Instant {
    let own = since.checked_add(limit).unwrap_or_else(|| since + EVER);
    deadline.map_or(own, |deadline| deadline.min(own))
}

impl<F> ResponseFuture<F> {
    pub(super) fn new(
        inner: F,
        limit: Duration,
        begun: Instant,
        deadline: Option<Instant>,
        pulse: Pulse,
    ) -> Self {
        let sleep = tokio::time::sleep_until(end(begun, limit, deadline));
        Self { inner: Some(inner), sleep, limit, begun, deadline, pulse }
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
            let later = this.pulse.last().map(|last| end(last, *this.limit, *this.deadline));
            match later {
                Some(later) if later > this.sleep.deadline() => this.sleep.as_mut().reset(later),
                _ => break,
            }
        }
        // Less than the limit, where the caller had less time than that.
        let had = this.sleep.deadline().saturating_duration_since(*this.begun);
        // The drop is the cancellation, and it must not wait for whoever holds this future.
        this.inner.set(None);
        Poll::Ready(Err(Error::Elapsed { limit: had.min(*this.limit) }))
    }
}
