//! What is known about a call once it is over. No argument and no text of an answer is in it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use mcp_core::{AgentId, CallId, ErrorKind, ServerName, ToolCall, ToolError, ToolName, ToolOutput};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::pipeline::Request;
use crate::{Observer, spans};

mod file;

pub use file::AuditFile;

/// How much of a name that a model wrote is kept, bytes; that of a tool is shorter.
const LONGEST_NAME: usize = 256;

/// One call, from its arrival to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The call's id.
    pub call: CallId,
    /// Who asked; `None`: nobody of a team.
    pub caller: Option<AgentId>,
    /// The tool as it was asked for: the exposed name, or whatever a model made of it, of which the first 256 bytes are kept.
    pub asked: String,
    /// The server; `None` where no server has such a tool.
    pub server: Option<ServerName>,
    /// The tool's name on that server.
    pub tool: Option<ToolName>,
    /// When it arrived.
    pub started: SystemTime,
    /// How long it took, refusals included.
    pub duration: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The tool answered.
    Answered,
    /// The tool ran and says that it failed.
    ToolFailed,
    /// The tool did not answer.
    Failed {
        /// Who has to act.
        kind: ErrorKind,
        /// The stable name of the error, such as `timeout` or `invalid_arguments`.
        class: &'static str,
        /// The rule that refused it, where one did. It may be told to the caller as another error: a tool that is left out is an
        /// unknown one to it.
        rule: Option<&'static str>,
    },
    /// The caller dropped the call before its end.
    Dropped,
}

impl Outcome {
    fn of(result: &Result<ToolOutput, ToolError>) -> Self {
        match result {
            Ok(output) if output.is_error => Self::ToolFailed,
            Ok(_) => Self::Answered,
            Err(error) => Self::failed(error, None),
        }
    }

    /// By this rule, or the error's own.
    fn failed(error: &ToolError, rule: Option<&'static str>) -> Self {
        let own = match error {
            ToolError::Refused { refusal, .. } => Some(refusal.rule),
            _ => None,
        };
        Self::Failed { kind: error.kind(), class: error.name(), rule: rule.or(own) }
    }
}

/// The record of a call that is still running. Dropped without an end, it says that the caller went away.
pub(crate) struct Trail {
    observer: Arc<dyn Observer>,
    begun: Instant,
    /// `None` once it was told.
    record: Option<AuditRecord>,
}

impl Trail {
    pub(crate) fn begin(
        observer: Arc<dyn Observer>,
        call: &ToolCall,
        target: Option<(ServerName, ToolName)>,
    ) -> Self {
        let (server, tool) = target.unzip();
        let record = AuditRecord {
            call: call.id.clone(),
            caller: call.caller.clone(),
            asked: call.tool[..call.tool.floor_char_boundary(LONGEST_NAME)].to_owned(),
            server,
            tool,
            started: SystemTime::now(),
            duration: Duration::ZERO,
            outcome: Outcome::Dropped,
        };
        Self { observer, begun: Instant::now(), record: Some(record) }
    }

    pub(crate) fn end(mut self, result: &Result<ToolOutput, ToolError>) {
        self.tell(Outcome::of(result));
    }

    /// Ends a call that goes no further.
    pub(crate) fn refuse(mut self, error: ToolError) -> ToolError {
        self.tell(Outcome::failed(&error, None));
        error
    }

    /// Ends a call that goes no further, because of this rule, whatever the error says to its caller.
    pub(crate) fn deny(mut self, error: ToolError, rule: &'static str) -> ToolError {
        self.tell(Outcome::failed(&error, Some(rule)));
        error
    }

    fn tell(&mut self, outcome: Outcome) {
        let Some(mut record) = self.record.take() else { return };
        record.duration = self.begun.elapsed();
        record.outcome = outcome;
        tracing::debug!(
            call = %record.call,
            tool = %record.asked.escape_debug(),
            outcome = ?record.outcome,
            duration_ms = record.duration.as_millis() as u64,
            "tool call finished"
        );
        self.observer.call_finished(&record);
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.tell(Outcome::Dropped);
    }
}

/// Puts [`Audit`] around a service.
#[derive(Clone)]
pub(crate) struct AuditLayer {
    observer: Arc<dyn Observer>,
}

impl AuditLayer {
    pub(crate) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Audit<S>;

    fn layer(&self, inner: S) -> Audit<S> {
        Audit { inner, observer: self.observer.clone() }
    }
}

/// Tells the observer how each call ends.
#[derive(Clone)]
pub(crate) struct Audit<S> {
    inner: S,
    observer: Arc<dyn Observer>,
}

impl<S> Service<Request> for Audit<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = AuditFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let target = Some((request.spec.server.clone(), request.spec.name.clone()));
        let trail = Trail::begin(self.observer.clone(), &request.call, target);
        let span = spans::call(&request);
        let inner = span.in_scope(|| self.inner.call(request));
        AuditFuture { inner, trail: Some(trail), span }
    }
}

pin_project! {
    pub(crate) struct AuditFuture<F> {
        #[pin]
        inner: F,
        trail: Option<Trail>,
        span: tracing::Span,
    }
}

impl<F: Future<Output = Result<ToolOutput, ToolError>>> Future for AuditFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.span.in_scope(|| this.inner.poll(cx)));
        spans::end(this.span, &result);
        if let Some(trail) = this.trail.take() {
            trail.end(&result);
        }
        Poll::Ready(result)
    }
}
