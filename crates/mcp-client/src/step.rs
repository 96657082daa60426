//! What the layers of the pipeline have in common, so that each of them says only what it does.
//!
//! A [`Check`] looks at a request and lets it on or does not. A [`Step`] may wait, goes on when it likes, and sees how the
//! call ended.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mcp_core::{ToolError, ToolOutput};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::pipeline::Request;

/// How a call ends.
pub(crate) type Ended = Result<ToolOutput, ToolError>;

/// A service of the pipeline.
pub(crate) trait Stack:
    Service<Request, Response = ToolOutput, Error = ToolError, Future: Send> + Clone + Send + Sync + 'static
{
}

impl<S> Stack for S where
    S: Service<Request, Response = ToolOutput, Error = ToolError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// All that stands further in. A step takes it along until it goes on, so it is cheap to clone, and what it is made of is
/// cloned once for each call.
pub(crate) struct Further<S>(Arc<S>);

impl<S> Clone for Further<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Stack> Further<S> {
    /// Goes on.
    pub(crate) async fn call(&self, request: Request) -> Ended {
        let call = {
            let mut inner = S::clone(&self.0);
            poll_fn(|cx| inner.poll_ready(cx)).await?;
            inner.call(request)
        };
        call.await
    }
}

/// A layer's own part, where it may wait or wants to know how the call ended.
pub(crate) trait Step: Clone + Send + Sync + 'static {
    /// Takes the request as far as it goes.
    fn take<S: Stack>(self, request: Request, further: Further<S>) -> impl Future<Output = Ended> + Send;
}

/// Puts a [`Step`] before a service.
#[derive(Clone)]
pub(crate) struct StepLayer<T>(pub(crate) T);

impl<T: Clone, S> Layer<S> for StepLayer<T> {
    type Service = Stepped<T, S>;

    fn layer(&self, inner: S) -> Stepped<T, S> {
        Stepped { step: self.0.clone(), further: Further(Arc::new(inner)) }
    }
}

/// A service behind a step.
pub(crate) struct Stepped<T, S> {
    step: T,
    further: Further<S>,
}

impl<T: Clone, S> Clone for Stepped<T, S> {
    fn clone(&self) -> Self {
        Self { step: self.step.clone(), further: self.further.clone() }
    }
}

impl<T: Step, S: Stack> Service<Request> for Stepped<T, S> {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Ended> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        // A step may take long: what is further in is made ready when it goes on, not before.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        Box::pin(self.step.clone().take(request, self.further.clone()))
    }
}

/// A layer's own part, where it has nothing to wait for.
pub(crate) trait Check: Clone + Send + Sync + 'static {
    /// Lets a request on, or says why not.
    fn check(&self, request: &Request) -> Result<(), ToolError>;
}

/// Puts a [`Check`] before a service.
#[derive(Clone)]
pub(crate) struct CheckLayer<T>(pub(crate) T);

impl<T: Clone, S> Layer<S> for CheckLayer<T> {
    type Service = Checked<T, S>;

    fn layer(&self, inner: S) -> Checked<T, S> {
        Checked { check: self.0.clone(), inner }
    }
}

/// A service behind a check.
#[derive(Clone)]
pub(crate) struct Checked<T, S> {
    check: T,
    inner: S,
}

impl<T: Check, S: Stack> Service<Request> for Checked<T, S> {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = CheckedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.check.check(&request) {
            Ok(()) => CheckedFuture::Passed { inner: self.inner.call(request) },
            Err(error) => CheckedFuture::Refused { error: Some(error) },
        }
    }
}

pin_project! {
    #[project = Projected]
    pub(crate) enum CheckedFuture<F> {
        Passed { #[pin] inner: F },
        Refused { error: Option<ToolError> },
    }
}

impl<F: Future<Output = Ended>> Future for CheckedFuture<F> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        match self.project() {
            Projected::Passed { inner } => inner.poll(cx),
            Projected::Refused { error } => {
                // Polled after its end, it has nothing more to say.
                Poll::Ready(Err(error.take().unwrap_or(ToolError::Cancelled)))
            }
        }
    }
}
