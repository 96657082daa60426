use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::{Error, Gate, Outcome, Permit, Policy, Rejected};
use crate::oneshot::Oneshot;

/// The wait for the verdict of somebody else's probe.
type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

pin_project! {
    /// The answer, or the word that nothing passes.
    pub struct ResponseFuture<S, R, C, P>
    where
        S: Service<R>,
        P: Policy,
    {
        #[pin]
        state: Step<S, R, P>,
        gate: Gate<P>,
        judge: C,
    }
}

pin_project! {
    #[project = StepProjection]
    enum Step<S, R, P>
    where
        S: Service<R>,
        P: Policy,
    {
        Rejected { rejected: Option<Rejected> },
        Waiting { wait: Wait, then: Option<(S, R)> },
        Running { #[pin] inner: S::Future, permit: Option<Permit<P>> },
        Late { #[pin] inner: Oneshot<S, R>, permit: Option<Permit<P>> },
    }
}

impl<S, R, C, P> ResponseFuture<S, R, C, P>
where
    S: Service<R>,
    P: Policy,
{
    pub(super) fn rejected(gate: Gate<P>, judge: C, rejected: Rejected) -> Self {
        Self { state: Step::Rejected { rejected: Some(rejected) }, gate, judge }
    }

    pub(super) fn waiting(gate: Gate<P>, judge: C, wait: Wait, then: (S, R)) -> Self {
        Self { state: Step::Waiting { wait, then: Some(then) }, gate, judge }
    }

    pub(super) fn running(gate: Gate<P>, judge: C, inner: S::Future, permit: Permit<P>) -> Self {
        Self { state: Step::Running { inner, permit: Some(permit) }, gate, judge }
    }
}

fn settle<T, E, P: Policy>(
    judge: &impl Fn(&Result<T, E>) -> Outcome,
    permit: &mut Option<Permit<P>>,
    result: Result<T, E>,
) -> Result<T, Error<E>> {
    if let Some(permit) = permit.take() {
        permit.record(judge(&result), Instant::now());
    }
    result.map_err(Error::Inner)
}

impl<S, R, C, P> Future for ResponseFuture<S, R, C, P>
where
    S: Service<R>,
    C: Fn(&Result<S::Response, S::Error>) -> Outcome,
    P: Policy,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StepProjection::Rejected { rejected } => {
                    let Some(rejected) = rejected.take() else { return Poll::Pending };
                    return Poll::Ready(Err(Error::Rejected(rejected)));
                }
                StepProjection::Running { inner, permit } => {
                    let result = ready!(inner.poll(cx));
                    return Poll::Ready(settle(this.judge, permit, result));
                }
                StepProjection::Late { inner, permit } => {
                    let result = ready!(inner.poll(cx));
                    return Poll::Ready(settle(this.judge, permit, result));
                }
                StepProjection::Waiting { wait, then } => {
                    ready!(wait.as_mut().poll(cx));
                    let Some((service, request)) = then.take() else { return Poll::Pending };
                    match this.gate.acquire(Instant::now()) {
                        Ok(permit) => {
                            Step::Late { inner: Oneshot::new(service, request), permit: Some(permit) }
                        }
                        Err(rejected) => Step::Rejected { rejected: Some(rejected) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}
