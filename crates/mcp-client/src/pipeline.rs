//! The one road of every tool call, outermost first. Read from the top: this is the order in which a call meets what
//! may stop it, and why each stands where it does.

use std::sync::Arc;

use mcp_core::{AgentId, Phase, ServerName, ToolCall, ToolError, ToolOutput, ToolSpec};
use mcp_resilience::bulkhead::{self, BulkheadLayer, HasCaller};
use mcp_resilience::deadline::{self, DeadlineLayer, HasDeadline};
use mcp_resilience::in_flight;
use mcp_resilience::retry::{Budget, RetryLayer};
use mcp_resilience::timeout::{self, HasPulse, Pulse, TimeoutLayer};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower::util::{BoxCloneSyncService, MapErrLayer};

use crate::arguments::Arguments;
use crate::attempt::SessionService;
use crate::audit::AuditLayer;
use crate::circuit::Guarded;
use crate::duplicates::Once;
use crate::integrity::Believed;
use crate::ledger::{Entry, Recorded};
use crate::permission::Permission;
use crate::redact::RedactLayer;
use crate::resend::{Resends, Truth};
use crate::rest::Woken;
use crate::scope::Scope;
use crate::server::Shared;
use crate::step::{CheckLayer, StepLayer};
use crate::validate::ValidateLayer;

/// A call that has found its tool.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Shared, for each attempt has it.
    pub(crate) call: Arc<ToolCall>,
    pub(crate) spec: Arc<ToolSpec>,
    /// Where the session reports progress of the attempt.
    pub(crate) pulse: Pulse,
    /// Which attempt this is, from 1 on.
    pub(crate) attempt: u32,
    /// Where the session says that it hands the call to the server.
    pub(crate) ledger: Option<Arc<Entry>>,
}

impl Request {
    pub(crate) fn new(call: ToolCall, spec: Arc<ToolSpec>) -> Self {
        Self { call: Arc::new(call), spec, pulse: Pulse::default(), attempt: 0, ledger: None }
    }

    /// To change it. Nobody else has it yet, outside of what makes several attempts: nothing is copied.
    pub(crate) fn call_mut(&mut self) -> &mut ToolCall {
        Arc::make_mut(&mut self.call)
    }
}

impl HasPulse for Request {
    fn set_pulse(&mut self, pulse: &Pulse) {
        self.pulse = pulse.clone();
    }
}

impl HasCaller for Request {
    type Caller = Option<AgentId>;

    fn caller(&self) -> Option<AgentId> {
        self.call.caller.clone()
    }
}

impl HasDeadline for Request {
    fn deadline(&self) -> Option<Instant> {
        self.call.deadline.map(Instant::from_std)
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.call_mut().deadline = Some(deadline.into_std());
    }
}

/// The road to the tools of one server.
pub(crate) type Pipeline = BoxCloneSyncService<Request, ToolOutput, ToolError>;

pub(crate) fn build(server: &Arc<Shared>) -> Pipeline {
    let name = &server.config.name;
    let stack = ServiceBuilder::new()
        // Audit: outermost, so that it sees every outcome, refusals and dropped calls included.
        .layer(AuditLayer::new(server.observer.clone()))
        // Secrets out of errors and answers: inside audit only, so that whatever failed further in cannot quote one, and what a
        // server echoes reaches no model, no log and no display.
        .layer(RedactLayer(server.clone()))
        // Quarantine: nobody is asked about a call to a server that cannot be believed.
        .layer(CheckLayer(Believed::new(server.integrity.clone())))
        // Permission: before anything that costs or leaks, and outside the cache, so that no cached answer bypasses a
        // permission that was taken back.
        .layer(StepLayer(Permission::new(server.options.permissions.clone())))
        // Scope: no word of a person sends one server's secret to another.
        .layer(CheckLayer(Scope::new(server.options.scopes.clone())))
        // Arguments: a path that leads out of the server's folders is refused before a schema is asked about it.
        .layer(StepLayer(Arguments::new(server.clone())))
        // Validate: before anything is planned, written down or sent. A model learns at once which argument is wrong,
        // and the server never sees it.
        .layer(ValidateLayer::new(server.validators.clone()))
        // The effects gate stands here: it plans calls whose arguments are known to be good.
        //
        // Duplicates: what another agent has done already is neither written down nor done again.
        .option_layer(Once::new(&server.config).map(StepLayer))
        // The ledger: inside all that may refuse, outside all that may send. What changes the world is written down first.
        .option_layer(Recorded::new(server.options.ledger.clone()).map(StepLayer))
        // The cache stands here: a hit costs no time limit, no try and no place in a queue.
        //
        // Total deadline: around all attempts and the waits between them.
        .map_err(after_deadline(name))
        .layer(DeadlineLayer::new(server.config.total_timeout))
        // Truth: outside retry, which must see what failed; a model is told where nobody knows whether the call took
        // effect.
        .layer(StepLayer(Truth::new(server.clone())))
        // Retry: outside the breaker, so that the breaker counts every attempt and an open one ends them. One budget per
        // server, whoever calls.
        .layer(
            RetryLayer::new(Resends::new(server.clone()), server.config.retry.clone(), Budget::default())
                .observed(server.circuits.hooks()),
        )
        // Wake: a program that rests is started, which is not the attempt's time, and by its own fault fails like any start.
        .option_layer(Woken::new(server).map(StepLayer))
        // Circuits, the server's and the tool's: outside the bulkhead, so that a dead server's queue empties at once.
        .layer(StepLayer(Guarded::new(server.clone())))
        // Bulkhead: waiting for a place is not the attempt's time. Agents take turns.
        .map_err(after_bulkhead(name))
        .layer(
            BulkheadLayer::<Option<AgentId>>::new(server.config.bulkhead.clone())
                .observed(server.circuits.hooks()),
        )
        // In flight: what hangs in some servers leaves places for the others. Inside the bulkhead: who waits for a place at the
        // server holds none of these.
        .option_layer(server.options.in_flight.as_ref().map(|limit| {
            (MapErrLayer::new(after_in_flight(name)), limit.layer().observed(server.circuits.hooks()))
        }))
        // Attempt timeout: innermost. On expiry the session's future is dropped, and with that the server is told. Progress
        // that the server reports pushes it back; the total deadline stays where it is.
        .map_err(after_timeout(name))
        .layer(TimeoutLayer::new(server.config.call_timeout))
        // Session.
        .service(SessionService::new(server.clone()));
    BoxCloneSyncService::new(stack)
}

fn after_deadline(
    server: &ServerName,
) -> impl Fn(deadline::Error<ToolError>) -> ToolError + Clone + Send + Sync + use<> {
    let server = server.clone();
    move |error| match error {
        deadline::Error::Inner(error) => error,
        deadline::Error::Exceeded { limit } => {
            ToolError::Timeout { server: server.clone(), phase: Phase::Call, limit }
        }
        other => ToolError::Internal(other.to_string()),
    }
}

fn after_bulkhead(
    server: &ServerName,
) -> impl Fn(bulkhead::Error<ToolError>) -> ToolError + Clone + Send + Sync + use<> {
    let server = server.clone();
    move |error| match error {
        bulkhead::Error::Inner(error) => error,
        full => ToolError::Unavailable {
            server: server.clone(),
            reason: format!("it is busy: {full}"),
            retry_at: None,
        },
    }
}

fn after_in_flight(
    server: &ServerName,
) -> impl Fn(in_flight::Error<ToolError>) -> ToolError + Clone + Send + Sync + use<> {
    let server = server.clone();
    move |error| match error {
        in_flight::Error::Inner(error) => error,
        waited => {
            ToolError::Unavailable { server: server.clone(), reason: waited.to_string(), retry_at: None }
        }
    }
}

fn after_timeout(
    server: &ServerName,
) -> impl Fn(timeout::Error<ToolError>) -> ToolError + Clone + Send + Sync + use<> {
    let server = server.clone();
    move |error| match error {
        timeout::Error::Inner(error) => error,
        timeout::Error::Elapsed { limit } => {
            ToolError::Timeout { server: server.clone(), phase: Phase::Call, limit }
        }
        other => ToolError::Internal(other.to_string()),
    }
}
