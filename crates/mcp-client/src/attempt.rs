//! The innermost service: one attempt of a call, handed to the open session.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use mcp_core::{Phase, ToolError, ToolOutput, ToolSpec};
use mcp_resilience::timeout::Pulse;
use mcp_transport::{Breach, PeerInfo, Progress, ProgressSink, Session, TransportKind};
use tokio::time::Instant;
use tower::Service;
use tracing::Instrument;

use crate::pipeline::Request;
use crate::server::Shared;
use crate::{metrics, redact, spans};

/// JSON-RPC's code for a fault of the server's own program.
const INTERNAL: i64 = -32603;

/// Takes every report that says more than the one before for a sign of life.
#[derive(Debug)]
struct Reports {
    pulse: Pulse,
    furthest: Mutex<f64>,
    count: AtomicU64,
}

impl ProgressSink for Reports {
    fn report(&self, report: Progress) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut furthest = self.furthest.lock().unwrap_or_else(PoisonError::into_inner);
        if report.progress > *furthest {
            *furthest = report.progress;
            self.pulse.beat();
        }
    }
}

/// Counts a call while it is with the server.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An attempt that waits for its answer. Where none comes, what did come is written down: whoever looks for the reason sees
/// whether the server was silent, reported progress for ever, or dripped.
struct Waiting<'a> {
    session: &'a Session,
    spec: &'a ToolSpec,
    reports: Arc<Reports>,
    begun: Instant,
    received: u64,
    is_over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let elapsed = self.begun.elapsed();
        let bytes = self.session.received().saturating_sub(self.received);
        tracing::debug!(
            server = %self.spec.server,
            tool = %self.spec.name,
            phase = %Phase::Call,
            elapsed_ms = elapsed.as_millis() as u64,
            progress = self.reports.count.load(Ordering::Relaxed),
            bytes,
            bytes_per_second = bytes as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            "a call is given up before its answer"
        );
    }
}

/// A server in this process that fails as a program does has a fault of ours, and says nothing about any server.
fn whose(error: ToolError, peer: &PeerInfo) -> ToolError {
    match error {
        ToolError::Server { code: INTERNAL, message, .. } if peer.transport == TransportKind::Memory => {
            ToolError::Internal(message)
        }
        error => error,
    }
}

/// The longest beginning of an error's body that is written down, bytes.
const BODY: usize = 1024;

/// Writes down what came instead of an answer, where a server of HTTP failed or is none of MCP.
fn told(server: &Shared, error: &ToolError) {
    let clean = |text: &String| redact::text(&server.options, "log", text.clone());
    match error {
        ToolError::Http { server: name, status, body } if !body.is_empty() => {
            let mut body = clean(body);
            body.truncate(body.floor_char_boundary(BODY));
            tracing::debug!(server = %name, status, ?body, "the server failed");
        }
        ToolError::NotMcp { server: name, content_type, title } => {
            let (content_type, title) = (clean(content_type), clean(title));
            tracing::debug!(server = %name, ?content_type, ?title, "something that is no server of MCP answers");
        }
        _ => {}
    }
}

/// Hands a call to the open session.
#[derive(Clone)]
pub(crate) struct SessionService {
    server: Arc<Shared>,
}

impl SessionService {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl Service<Request> for SessionService {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let server = self.server.clone();
        Box::pin(async move {
            let Some(session) = server.session() else { return Err(server.unavailable()) };
            let _busy = Busy::new(&server.in_flight);
            if let Some(entry) = &request.ledger {
                entry.sent();
            }
            request.pulse.follow(server.questions.clone());
            let reports = Arc::new(Reports {
                pulse: request.pulse.clone(),
                furthest: Mutex::new(f64::NEG_INFINITY),
                count: AtomicU64::new(0),
            });
            let (span, begun) = (spans::request(&server, &request, session.peer()), Instant::now());
            let mut waiting = Waiting {
                session: &session,
                spec: &request.spec,
                reports: reports.clone(),
                begun,
                received: session.received(),
                is_over: false,
            };
            let call = session.call_tool(&request.spec.name, &request.call.arguments, Some(reports));
            let result = call.instrument(span.clone()).await.map_err(|error| whose(error, session.peer()));
            waiting.is_over = true;
            if let Err(error) = &result {
                told(&server, error);
            }
            if let Err(ToolError::Refused { refusal, .. }) = &result {
                // The call was let out; it is the server that led it where nothing may go.
                server.integrity.note(Breach::Misled { where_to: refusal.reason.clone() });
            }
            spans::answered(&span, &server, &result);
            let (of, mut error) = (&*request.spec, String::new());
            let error = metrics::error_type(&result, &mut error);
            let of = (&of.server, "tools/call", Some(&of.name));
            metrics::request(&server.options, of, begun.elapsed(), error);
            result
        })
    }
}
