//! Which calls are made again, and what a caller is told of one that must not be.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mcp_core::{Class, ToolError, ToolOutput, ToolSpec};
use mcp_resilience::retry::{Cost, Decision, HasAttempt, Policy};
use tower::{Layer, Service};

use crate::classify::{Resend, is_ambiguous, meaning};
use crate::pipeline::Request;
use crate::server::Shared;
use crate::{ServerConfig, metrics};

impl HasAttempt for Request {
    fn attempt(&self) -> u32 {
        self.attempt
    }

    fn set_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
    }
}

/// Whether it does no harm when this tool runs twice: the operator says so, or a server whose hints are believed.
fn is_safe(config: &ServerConfig, tool: &ToolSpec) -> bool {
    let said = config.retry_safe.as_ref().is_some_and(|filter| filter.permits(&tool.server, &tool.name));
    said || (config.trust_hints && tool.annotations.is_idempotent())
}

/// Makes a call again where it certainly did not happen, or where it does no harm when it happens twice.
#[derive(Clone)]
pub(crate) struct Resends {
    server: Arc<Shared>,
}

impl Resends {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl Policy<Request, ToolOutput, ToolError> for Resends {
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }

    fn decide(&self, request: &Request, result: &Result<ToolOutput, ToolError>) -> Decision {
        if result.is_ok() {
            return Decision::Done;
        }
        let class = Class::of(result);
        let means = meaning(class);
        let again = match means.resend {
            Resend::Never => false,
            Resend::IfSafe => {
                let safe = is_safe(&self.server.config, &request.spec);
                if !safe {
                    metrics::unsafe_to_repeat(&self.server.options, &request.spec.server);
                }
                safe
            }
            Resend::Always => true,
        };
        let cost = if class == Class::Timeout { Cost::Timeout } else { Cost::Usual };
        if again { Decision::Again { cost, asked: means.asked } } else { Decision::GiveUp }
    }
}

/// Puts [`Truth`] around a service.
#[derive(Clone)]
pub(crate) struct TruthLayer {
    server: Arc<Shared>,
}

impl TruthLayer {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl<S> Layer<S> for TruthLayer {
    type Service = Truth<S>;

    fn layer(&self, inner: S) -> Truth<S> {
        Truth { inner, server: self.server.clone() }
    }
}

/// Says of a call that was sent and whose answer is lost that nobody knows what became of it.
#[derive(Clone)]
pub(crate) struct Truth<S> {
    inner: S,
    server: Arc<Shared>,
}

impl<S> Service<Request> for Truth<S>
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

    fn call(&mut self, request: Request) -> Self::Future {
        let safe = is_safe(&self.server.config, &request.spec);
        let (server, tool) = (request.spec.server.clone(), request.call.tool.clone());
        let attempt = self.inner.call(request);
        Box::pin(async move {
            match attempt.await {
                Err(error) if !safe && is_ambiguous(error.class()) => {
                    let reason = format!("connection lost after sending: {}", what(error));
                    Err(ToolError::OutcomeUnknown { server, tool, reason })
                }
                result => result,
            }
        })
    }
}

/// An error without what [`ToolError::OutcomeUnknown`] says anyway.
fn what(error: ToolError) -> String {
    match error {
        ToolError::Connection { reason, stderr, .. } => match stderr.last() {
            Some(last) => format!("{reason}; its last words: {last}"),
            None => reason,
        },
        ToolError::Http { status, .. } => format!("HTTP status {status}"),
        other => other.to_string(),
    }
}
