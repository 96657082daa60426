//! The innermost service: one attempt of a call, handed to the open session.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use mcp_core::{ToolError, ToolOutput};
use mcp_resilience::timeout::Pulse;
use mcp_transport::{Breach, PeerInfo, Progress, ProgressSink, TransportKind};
use tokio::time::Instant;
use tower::Service;
use tracing::Instrument;

use crate::pipeline::Request;
use crate::server::Shared;
use crate::{metrics, spans};

/// JSON-RPC's code for a fault of the server's own program.
const INTERNAL: i64 = -32603;

/// Takes every report that says more than the one before for a sign of life.
#[derive(Debug)]
struct Reports {
    pulse: Pulse,
    furthest: Mutex<f64>,
}

impl ProgressSink for Reports {
    fn report(&self, report: Progress) {
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

/// A server in this process that fails as a program does has a fault of ours, and says nothing about any server.
fn whose(error: ToolError, peer: &PeerInfo) -> ToolError {
    match error {
        ToolError::Server { code: INTERNAL, message, .. } if peer.transport == TransportKind::Memory => {
            ToolError::Internal(message)
        }
        error => error,
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
            let reports = Reports { pulse: request.pulse.clone(), furthest: Mutex::new(f64::NEG_INFINITY) };
            let (span, begun) = (spans::request(&server, &request, session.peer()), Instant::now());
            let call =
                session.call_tool(&request.spec.name, &request.call.arguments, Some(Arc::new(reports)));
            let result = call.instrument(span.clone()).await.map_err(|error| whose(error, session.peer()));
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
