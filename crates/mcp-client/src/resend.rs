//! Which calls are made again, and what a caller is told of one that must not be.

use std::sync::Arc;

use mcp_core::{Class, ToolError, ToolOutput, ToolSpec};
use mcp_resilience::retry::{Cost, Decision, HasAttempt, Policy};

use crate::classify::{Resend, is_ambiguous, meaning};
use crate::pipeline::Request;
use crate::server::Shared;
use crate::step::{Ended, Further, Stack, Step};
use crate::{ServerConfig, metrics, spans};

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
                    let class = self.class(result);
                    metrics::unsafe_to_repeat(&self.server.options, &request.spec.server, class);
                }
                safe
            }
            Resend::Always => true,
        };
        let cost = if class == Class::Timeout { Cost::Timeout } else { Cost::Usual };
        if again { Decision::Again { cost, asked: means.asked } } else { Decision::GiveUp }
    }

    fn class(&self, result: &Result<ToolOutput, ToolError>) -> &'static str {
        match result {
            Ok(_) => "answered",
            Err(error) => error.name(),
        }
    }
}

/// Says of a call that was sent and whose answer is lost that nobody knows what became of it.
#[derive(Clone)]
pub(crate) struct Truth {
    server: Arc<Shared>,
}

impl Truth {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl Step for Truth {
    async fn take<S: Stack>(self, request: Request, further: Further<S>) -> Ended {
        let (spec, call) = (request.spec.clone(), request.call.clone());
        match further.call(request).await {
            Err(error) if is_ambiguous(error.class()) && !is_safe(&self.server.config, &spec) => {
                spans::outcome_unknown(&spec);
                let reason = format!("connection lost after sending: {}", what(error));
                Err(ToolError::OutcomeUnknown {
                    server: spec.server.clone(),
                    tool: call.tool.clone(),
                    reason,
                })
            }
            result => result,
        }
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
