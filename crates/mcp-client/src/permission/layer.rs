//! The gate as a layer of the pipeline.

use std::pin::Pin;
use std::task::{Context, Poll};

use mcp_core::{ToolError, ToolOutput};
use tower::{Layer, Service, ServiceExt};

use super::Gate;
use crate::pipeline::Request;

/// Puts [`Permission`] around a service.
#[derive(Clone)]
pub(crate) struct PermissionLayer {
    gate: Gate,
}

impl PermissionLayer {
    pub(crate) fn new(gate: Gate) -> Self {
        Self { gate }
    }
}

impl<S> Layer<S> for PermissionLayer {
    type Service = Permission<S>;

    fn layer(&self, inner: S) -> Permission<S> {
        Permission { inner, gate: self.gate.clone() }
    }
}

/// Calls the inner service with what the gate admits.
#[derive(Clone)]
pub(crate) struct Permission<S> {
    inner: S,
    gate: Gate,
}

impl<S> Service<Request> for Permission<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        // A person may take long: what is inside is made ready when the call is let through, not before.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let (inner, gate) = (self.inner.clone(), self.gate.clone());
        Box::pin(async move {
            gate.admit(&request.call, &request.spec)
                .await
                .map_err(|refusal| ToolError::Refused { server: request.spec.server.clone(), refusal })?;
            inner.oneshot(request).await
        })
    }
}
