//! What is measured: counters, gauges and histograms for whoever collects them, under the names that exporters show.
//! Without a telemetry library: an [`Observer`] passes on to one.
//!
//! Where OpenTelemetry has a convention for MCP, its names are used (semantic conventions for MCP and generative AI, in
//! development); the others begin with `massgen.mcp.`. Values of labels come from the configuration, from tools that
//! the filter lets through and from fixed words, but a server names its tools itself: a collector bounds how many
//! series it keeps.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::{ServerName, ToolError, ToolName, ToolOutput};
use mcp_resilience::breaker::Transition;
use mcp_resilience::observe::{self, Hooks};
use mcp_transport::{Breach, BreachSink};
use tokio::time::Instant;

pub use mcp_resilience::observe::{Label, Observer};

use crate::audit;
use crate::{AuditRecord, ClientOptions, Drift, Integrity, Judgement, Outcome, ServerState, Subject};

/// The names of what is measured.
pub mod names {
    /// Histogram in seconds, one value per request that went to a server; labels `mcp.method.name`, `server`,
    /// `gen_ai.tool.name`, and `error.type` where it failed.
    pub const OPERATION_DURATION: &str = "mcp.client.operation.duration";
    /// Gauge, 1 for the state that a circuit is in and 0 for the others; labels `server`, `tool` for a tool's circuit,
    /// `state`.
    pub const BREAKER_STATE: &str = "massgen.mcp.breaker.state";
    /// Counter of changes of a circuit's state; labels `server`, `tool` for a tool's circuit, `from`, `to`.
    pub const BREAKER_TRANSITIONS: &str = "massgen.mcp.breaker.transitions";
    /// Counter; labels `server`, `tool` for a tool's circuit, `outcome` (`success`, `failure`, `throttled`, `neutral`,
    /// `stale`, `rejected`).
    pub const BREAKER_CALLS: &str = "massgen.mcp.breaker.calls";
    /// Histogram in seconds; labels `server`, `result` (`success`, `failure`, `neutral`).
    pub const PROBE_DURATION: &str = "massgen.mcp.probe.duration";
    /// Counter; labels `server`, `decision` (`retried`, `attempts`, `budget`, `deadline`, `unsafe`).
    pub const RETRY_ATTEMPTS: &str = "massgen.mcp.retry.attempts";
    /// Gauge; label `server`.
    pub const RETRY_BUDGET: &str = "massgen.mcp.retry.budget.tokens";
    /// Gauge; label `server`.
    pub const BULKHEAD_IN_FLIGHT: &str = "massgen.mcp.bulkhead.in_flight";
    /// Gauge; label `server`.
    pub const BULKHEAD_QUEUE: &str = "massgen.mcp.bulkhead.queue";
    /// Histogram in seconds, of calls that had to wait; label `server`.
    pub const BULKHEAD_WAIT: &str = "massgen.mcp.bulkhead.wait";
    /// Counter of calls that found no place; labels `server`, `reason` (`queue`, `wait`, `rate`).
    pub const SHED: &str = "massgen.mcp.shed";
    /// Gauge, 1 while a server's tools can be used; label `server`.
    pub const SERVER_UP: &str = "massgen.mcp.server.up";
    /// Counter of starts after the first one that worked, those from a rest left out; label `server`.
    pub const SERVER_RESTARTS: &str = "massgen.mcp.server.restarts";
    /// Histogram in seconds, from the start of a server to its list of tools; label `server`.
    pub const SERVER_START_DURATION: &str = "massgen.mcp.server.start.duration";
    /// Counter of messages that break the protocol; labels `server`, `reason` (`foreign_id`, `second_answer`, `id_type`,
    /// `unreadable`, `endless_line`, `flood`, `misled`, `undeclared`).
    pub const FRAMES_REJECTED: &str = "massgen.mcp.frames.rejected";
    /// Counter of calls that may have taken effect and whose outcome nobody knows; labels `server`, `tool`.
    pub const LEDGER_UNKNOWN: &str = "massgen.mcp.ledger.unknown";
    /// Counter; labels `server`, `category` (`call`, `pin`, `server`, `instructions`, `tool`), `rule`, `verdict` (`deny`, `flag`).
    pub const SECURITY_DECISIONS: &str = "massgen.mcp.security.decisions";
}

/// Boundaries for histograms in seconds, as the conventions advise.
pub const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Gives what the layers measure the names of this module.
struct Named(Arc<dyn Observer>);

impl Named {
    fn name(name: &'static str) -> &'static str {
        match name {
            observe::names::BREAKER_STATE => names::BREAKER_STATE,
            observe::names::BREAKER_TRANSITIONS => names::BREAKER_TRANSITIONS,
            observe::names::BREAKER_CALLS => names::BREAKER_CALLS,
            observe::names::PROBE_DURATION => names::PROBE_DURATION,
            observe::names::RETRY_ATTEMPTS => names::RETRY_ATTEMPTS,
            observe::names::RETRY_BUDGET => names::RETRY_BUDGET,
            observe::names::BULKHEAD_IN_FLIGHT => names::BULKHEAD_IN_FLIGHT,
            observe::names::BULKHEAD_QUEUE => names::BULKHEAD_QUEUE,
            observe::names::BULKHEAD_WAIT => names::BULKHEAD_WAIT,
            observe::names::SHED => names::SHED,
            other => other,
        }
    }

    fn labels<'a>(labels: &[Label<'a>], into: &mut [Label<'a>; 4]) -> usize {
        let renamed = labels.iter().map(|(name, value)| match *name {
            "target" => ("server", *value),
            "part" => ("tool", *value),
            name => (name, *value),
        });
        into.iter_mut().zip(renamed).map(|(place, label)| *place = label).count()
    }
}

impl Observer for Named {
    fn count(&self, name: &'static str, labels: &[Label<'_>], by: u64) {
        let mut own = [("", ""); 4];
        let count = Self::labels(labels, &mut own);
        self.0.count(Self::name(name), &own[..count], by);
    }

    fn histogram(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        let mut own = [("", ""); 4];
        let count = Self::labels(labels, &mut own);
        self.0.histogram(Self::name(name), &own[..count], value);
    }

    fn gauge(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        let mut own = [("", ""); 4];
        let count = Self::labels(labels, &mut own);
        self.0.gauge(Self::name(name), &own[..count], value);
    }
}

/// Where the layers of a server's calls tell what they do.
pub(crate) fn hooks(options: &ClientOptions, server: &ServerName) -> Hooks {
    match &options.metrics {
        Some(metrics) => Hooks::new(Arc::new(Named(metrics.clone())), server.as_str()),
        None => Hooks::default(),
    }
}

/// An observer of a server's life that is measured on the way, where somebody collects that.
pub(crate) fn measured(
    observer: Arc<dyn crate::Observer>,
    options: &ClientOptions,
) -> Arc<dyn crate::Observer> {
    match &options.metrics {
        Some(metrics) => {
            Arc::new(Measured { inner: observer, metrics: metrics.clone(), life: Mutex::default() })
        }
        None => observer,
    }
}

struct Measured {
    inner: Arc<dyn crate::Observer>,
    metrics: Arc<dyn Observer>,
    life: Mutex<Life>,
}

#[derive(Default)]
struct Life {
    /// When the start that is under way began.
    starting: Option<Instant>,
    was_ready: bool,
    /// Its program was ended because nobody called it: the next start is none that went before in vain.
    rested: bool,
    /// What was told last.
    up: Option<bool>,
}

impl crate::Observer for Measured {
    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        let label = [("server", server.as_str())];
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        let up = match state {
            ServerState::Starting => {
                life.starting = Some(Instant::now());
                false
            }
            ServerState::Ready { .. } => {
                // A list that changed is told as the same state again: nothing was started for it.
                if let Some(begun) = life.starting.take() {
                    let took = begun.elapsed().as_secs_f64();
                    self.metrics.histogram(names::SERVER_START_DURATION, &label, took);
                    let rested = std::mem::take(&mut life.rested);
                    if std::mem::replace(&mut life.was_ready, true) && !rested {
                        self.metrics.count(names::SERVER_RESTARTS, &label, 1);
                    }
                }
                true
            }
            ServerState::Resting { .. } => {
                life.rested = true;
                true
            }
            _ => false,
        };
        if life.up.replace(up) != Some(up) {
            self.metrics.gauge(names::SERVER_UP, &label, f64::from(u8::from(up)));
        }
        drop(life);
        self.inner.server_changed(server, state);
    }

    fn circuit_changed(&self, server: &ServerName, tool: Option<&ToolName>, change: &Transition) {
        self.inner.circuit_changed(server, tool, change);
    }

    fn call_finished(&self, record: &AuditRecord) {
        if let (Some(server), Some(tool), Outcome::Failed { class, rule, .. }) =
            (&record.server, &record.tool, &record.outcome)
        {
            match *class {
                "outcome_unknown" => {
                    let labels = [("server", server.as_str()), ("tool", tool.as_str())];
                    self.metrics.count(names::LEDGER_UNKNOWN, &labels, 1);
                }
                "refused" => self.decided(server, "call", rule.unwrap_or("none"), "deny"),
                _ => {}
            }
        }
        self.inner.call_finished(record);
    }

    fn integrity_changed(&self, server: &ServerName, integrity: &Integrity) {
        self.inner.integrity_changed(server, integrity);
    }

    fn judged(&self, server: &ServerName, judgement: &Judgement) {
        let category = match judgement.subject {
            Subject::Server => "server",
            Subject::Instructions => "instructions",
            Subject::Tool(_) => "tool",
            Subject::Call(_) => "arguments",
            Subject::Answer(_) => "answer",
        };
        let verdict = if judgement.withheld { "deny" } else { "flag" };
        self.decided(server, category, judgement.finding.rule, verdict);
        self.inner.judged(server, judgement);
    }

    fn drifted(&self, server: &ServerName, drift: &Drift) {
        match drift {
            Drift::Changed { .. } => self.decided(server, "pin", "tool-changed", "deny"),
            Drift::New { held, .. } => {
                self.decided(server, "pin", "tool-new", if *held { "deny" } else { "flag" });
            }
            Drift::Instructions { .. } => self.decided(server, "pin", "instructions-changed", "flag"),
        }
        self.inner.drifted(server, drift);
    }

    fn notice(&self, server: &ServerName, message: &str) {
        self.inner.notice(server, message);
    }
}

impl Measured {
    fn decided(&self, server: &ServerName, category: &str, rule: &str, verdict: &str) {
        let labels =
            [("server", server.as_str()), ("category", category), ("rule", rule), ("verdict", verdict)];
        self.metrics.count(names::SECURITY_DECISIONS, &labels, 1);
    }
}

/// A sink of breaches of the protocol that counts them on the way, where somebody collects that.
pub(crate) fn counted(sink: Arc<dyn BreachSink>, options: &ClientOptions) -> Arc<dyn BreachSink> {
    match &options.metrics {
        Some(metrics) => Arc::new(Counted { inner: sink, metrics: metrics.clone() }),
        None => sink,
    }
}

struct Counted {
    inner: Arc<dyn BreachSink>,
    metrics: Arc<dyn Observer>,
}

impl BreachSink for Counted {
    fn breach(&self, server: &ServerName, breach: Breach) {
        let reason = match &breach {
            Breach::ForeignId => "foreign_id",
            Breach::SecondAnswer => "second_answer",
            Breach::IdType => "id_type",
            Breach::Unreadable => "unreadable",
            Breach::EndlessLine => "endless_line",
            Breach::Flood => "flood",
            Breach::Misled { .. } => "misled",
            Breach::Undeclared { .. } => "undeclared",
            _ => "other",
        };
        let labels = [("server", server.as_str()), ("reason", reason)];
        self.metrics.count(names::FRAMES_REJECTED, &labels, 1);
        self.inner.breach(server, breach);
    }
}

/// A request that went to a server, and how it ended.
pub(crate) fn request(
    options: &ClientOptions,
    (server, tool): (&ServerName, &ToolName),
    took: Duration,
    result: &Result<ToolOutput, ToolError>,
) {
    let Some(metrics) = &options.metrics else { return };
    let mut error = String::new();
    let labels = [
        ("mcp.method.name", "tools/call"),
        ("server", server.as_str()),
        ("gen_ai.tool.name", tool.as_str()),
        ("error.type", error_type(result, &mut error)),
    ];
    let count = if labels[3].1.is_empty() { 3 } else { 4 };
    metrics.histogram(names::OPERATION_DURATION, &labels[..count], took.as_secs_f64());
}

/// A call that may not be made again, although that might help: nobody says that it does no harm when it runs twice.
pub(crate) fn unsafe_to_repeat(options: &ClientOptions, server: &ServerName) {
    if let Some(metrics) = &options.metrics {
        let labels = [("server", server.as_str()), ("decision", "unsafe")];
        metrics.count(names::RETRY_ATTEMPTS, &labels, 1);
    }
}

/// `error.type` by the convention: `tool_error`, the code of a JSON-RPC error, else the stable name of ours; empty
/// where there is no error.
pub(crate) fn error_type<'a>(result: &Result<ToolOutput, ToolError>, text: &'a mut String) -> &'a str {
    match result {
        Ok(output) if output.is_error => "tool_error",
        Ok(_) => "",
        Err(ToolError::Server { code, .. }) => {
            *text = code.to_string();
            text
        }
        Err(ToolError::Http { status, .. }) => {
            *text = status.to_string();
            text
        }
        Err(error) => audit::class(error),
    }
}
