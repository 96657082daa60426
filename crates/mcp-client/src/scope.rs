//! One server's secret does not go to another server.

use std::pin::Pin;
use std::task::{Context, Poll};

use mcp_core::{Refusal, ToolError, ToolOutput};
use mcp_security::Scopes;
use serde_json::Value;
use tower::{Layer, Service};

use crate::pipeline::Request;

/// Puts [`Scope`] around a service.
#[derive(Clone)]
pub(crate) struct ScopeLayer {
    scopes: Scopes,
}

impl ScopeLayer {
    pub(crate) fn new(scopes: Scopes) -> Self {
        Self { scopes }
    }
}

impl<S> Layer<S> for ScopeLayer {
    type Service = Scope<S>;

    fn layer(&self, inner: S) -> Scope<S> {
        Scope { inner, scopes: self.scopes.clone() }
    }
}

/// Refuses calls whose arguments hold a secret of another server.
#[derive(Clone)]
pub(crate) struct Scope<S> {
    inner: S,
    scopes: Scopes,
}

impl<S> Service<Request> for Scope<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
    S::Future: Send + 'static,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let server = request.spec.server.clone();
        let arguments = Value::Object(std::mem::take(&mut request.call.arguments));
        if let Some(foreign) = self.scopes.foreign(&server, &arguments) {
            let refusal = Refusal {
                rule: "foreign-secret",
                reason: format!("the arguments hold {foreign}, which is not for this server"),
                hint: "leave the value out; a server that needs it gets it through its own env or headers"
                    .into(),
            };
            return Box::pin(async move { Err(ToolError::Refused { server, refusal }) });
        }
        if let Value::Object(arguments) = arguments {
            request.call.arguments = arguments;
        }
        Box::pin(self.inner.call(request))
    }
}
