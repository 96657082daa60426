use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

use super::{Decision, HasAttempt, MOST, Policy, Retry};
use crate::backoff::Decorrelated;
use crate::deadline::HasDeadline;
use crate::observe::names;
use crate::oneshot::Oneshot;

pin_project! {
    /// The answer of the last attempt.
    pub struct ResponseFuture<S, R, P>
    where
        S: Service<R>,
    {
        #[pin]
        state: Step<S, R>,
        // `None`: this attempt is the only one.
        again: Option<(Retry<S, P>, R)>,
        attempt: u32,
        delays: Option<Decorrelated>,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S, R>
    where
        S: Service<R>,
    {
        First { #[pin] inner: S::Future },
        Sleeping { #[pin] sleep: Sleep },
        Again { #[pin] inner: Oneshot<S, R> },
    }
}

impl<S, R, P> ResponseFuture<S, R, P>
where
    S: Service<R>,
{
    pub(super) fn new(first: S::Future, again: Option<(Retry<S, P>, R)>) -> Self {
        Self { state: Step::First { inner: first }, again, attempt: 1, delays: None }
    }
}

impl<S, P> Retry<S, P> {
    /// How long until the next attempt; `None`: there is none.
    fn delay<R, T, E>(
        &self,
        request: &R,
        result: &Result<T, E>,
        attempt: u32,
        delays: &mut Option<Decorrelated>,
    ) -> Option<Duration>
    where
        R: HasDeadline,
        P: Policy<R, T, E>,
    {
        let (cost, asked) = match self.policy.decide(request, result) {
            Decision::Done => {
                if self.budget.earn() {
                    self.tell_budget();
                }
                return None;
            }
            Decision::GiveUp => return None,
            Decision::Again { cost, asked } => (cost, asked),
        };
        let class = self.policy.class(result);
        let count = |decision| {
            self.hooks.count(names::RETRY_ATTEMPTS, &[("class", class), ("decision", decision)]);
        };
        if attempt >= self.options.attempts.min(MOST) {
            count("attempts");
            return None;
        }
        let (base, cap) = (self.options.base, self.options.cap);
        let own = delays.get_or_insert_with(|| Decorrelated::new(base, cap)).next().unwrap_or(cap);
        let (least, most) = self.options.asked;
        // Never earlier than asked, and those who were asked at the same time do not come back at the same time.
        let asked = asked.map(|asked| crate::backoff::upwards(asked.max(least).min(most), 0, most, 0.1));
        let delay = asked.map_or(own, |asked| asked.max(own));
        if let Some(deadline) = request.deadline() {
            let expected = self.policy.expected(request);
            if Instant::now().checked_add(delay + expected).is_none_or(|end| end >= deadline) {
                count("deadline");
                return None;
            }
        }
        if !self.budget.pay(cost) {
            count("budget");
            return None;
        }
        count("retried");
        self.tell_budget();
        Some(delay)
    }

    pub(super) fn tell_budget(&self) {
        self.hooks.gauge(names::RETRY_BUDGET, self.budget.tokens().into());
    }
}

impl<S, R, P> Future for ResponseFuture<S, R, P>
where
    S: Service<R> + Clone,
    R: HasDeadline + HasAttempt,
    P: Policy<R, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let result = match this.state.as_mut().project() {
                StepProjection::First { inner } => ready!(inner.poll(cx)),
                StepProjection::Again { inner } => ready!(inner.poll(cx)),
                StepProjection::Sleeping { sleep } => {
                    ready!(sleep.poll(cx));
                    // Only what can be repeated sleeps.
                    let Some((retry, mut request)) = this.again.take() else { return Poll::Pending };
                    *this.attempt += 1;
                    request.set_attempt(*this.attempt);
                    let copy = retry.policy.copy(&request);
                    let inner = Oneshot::new(retry.inner.clone(), request);
                    *this.again = copy.map(|copy| (retry, copy));
                    this.state.set(Step::Again { inner });
                    continue;
                }
            };
            let delay = match &*this.again {
                Some((retry, request)) => retry.delay(request, &result, *this.attempt, this.delays),
                None => None,
            };
            match delay {
                Some(delay) => this.state.set(Step::Sleeping { sleep: tokio::time::sleep(delay) }),
                None => return Poll::Ready(result),
            }
        }
    }
}
