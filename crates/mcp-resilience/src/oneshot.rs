//! One request of a service that may not be ready yet. That of `tower` comes with eight more crates.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tower_service::Service;

pin_project! {
    /// Waits until the service is ready, calls it, and lets it go.
    #[project = OneshotProjection]
    pub(crate) enum Oneshot<S, R>
    where
        S: Service<R>,
    {
        Waiting { service: S, request: Option<R> },
        Called { #[pin] inner: S::Future },
    }
}

impl<S, R> Oneshot<S, R>
where
    S: Service<R>,
{
    pub(crate) fn new(service: S, request: R) -> Self {
        Self::Waiting { service, request: Some(request) }
    }
}

impl<S, R> Future for Oneshot<S, R>
where
    S: Service<R>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let inner = match self.as_mut().project() {
                OneshotProjection::Called { inner } => return inner.poll(cx),
                OneshotProjection::Waiting { service, request } => {
                    ready!(service.poll_ready(cx))?;
                    let Some(request) = request.take() else { return Poll::Pending };
                    service.call(request)
                }
            };
            self.set(Self::Called { inner });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ready at the second look.
    struct Sleepy(u32);

    impl Service<u32> for Sleepy {
        type Response = u32;
        type Error = &'static str;
        type Future = std::future::Ready<Result<u32, &'static str>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            self.0 += 1;
            match self.0 {
                1 => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                2 => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err("too late")),
            }
        }

        fn call(&mut self, request: u32) -> Self::Future {
            assert_eq!(self.0, 2, "called when it is ready");
            std::future::ready(Ok(request + 1))
        }
    }

    #[tokio::test]
    async fn a_service_is_called_when_it_is_ready_and_one_that_failed_is_not() {
        assert_eq!(Oneshot::new(Sleepy(0), 6).await, Ok(7));
        assert_eq!(Oneshot::new(Sleepy(2), 6).await, Err("too late"));
    }
}
