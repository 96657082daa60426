//! What is measured: counters, gauges and histograms for whoever collects them, under the names that exporters show.
//! Without a telemetry library: an [`Observer`] passes on to one.
//!
//! Where OpenTelemetry has a convention for MCP, its names are used (semantic conventions for MCP and generative AI, in
//! development); the others begin with `massgen.mcp.`. Values of labels come from the configuration, from tools that
//! the filter lets through and from fixed words, but a server names its tools itself: a collector bounds how many
//! series it keeps.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::{ServerName, ToolError, ToolName, ToolOutput};
use mcp_resilience::breaker::Transition;
use mcp_resilience::observe::{self, Hooks};
use mcp_transport::{Breach, BreachSink, Flaw, Notice, Session, TransportKind};
use tokio::time::{Instant, sleep};

pub use mcp_resilience::observe::{Label, Observer};

use crate::{AuditRecord, ClientOptions, Drift, Integrity, Judgement, Outcome, ServerState, Subject};

pub mod names;

/// Boundaries for histograms in seconds, as the conventions advise.
pub const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// The most labels that a measurement has.
const LABELS: usize = 5;

/// Gives what the layers measure the names of this module.
struct Named(Arc<dyn Observer>);

impl Named {
    fn name(name: &'static str) -> &'static str {
        match name {
            observe::names::BREAKER_STATE => names::BREAKER_STATE,
            observe::names::BREAKER_TRANSITIONS => names::BREAKER_TRANSITIONS,
            observe::names::BREAKER_CALLS => names::BREAKER_CALLS,
            observe::names::BREAKER_FAILURE_RATE => names::BREAKER_FAILURE_RATE,
            observe::names::BREAKER_SLOW_RATE => names::BREAKER_SLOW_RATE,
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

    fn labels<'a>(labels: &[Label<'a>], into: &mut [Label<'a>; LABELS]) -> usize {
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
        let mut own = [("", ""); LABELS];
        let count = Self::labels(labels, &mut own);
        self.0.count(Self::name(name), &own[..count], by);
    }

    fn histogram(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        let mut own = [("", ""); LABELS];
        let count = Self::labels(labels, &mut own);
        self.0.histogram(Self::name(name), &own[..count], value);
    }

    fn gauge(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        let mut own = [("", ""); LABELS];
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
            ServerState::Ready { .. } | ServerState::Degraded { .. } => {
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
            Breach::ForeignId { .. } | Breach::IdType => "id",
            Breach::SecondAnswer { .. } => "duplicate",
            Breach::EndlessLine => "size",
            Breach::Unreadable(Flaw::Depth) => "depth",
            Breach::Unreadable(Flaw::Encoding) => "utf8",
            Breach::Unreadable(_) => "garbage",
            Breach::Flood => "flood",
            Breach::Misled { .. } => "misled",
            Breach::Undeclared { .. } => "undeclared",
            _ => "other",
        };
        let labels = [("server", server.as_str()), ("reason", reason)];
        self.metrics.count(names::FRAMES_REJECTED, &labels, 1);
        self.inner.breach(server, breach);
    }

    fn late(&self, server: &ServerName) {
        self.metrics.count(names::LATE_RESPONSES, &[("server", server.as_str())], 1);
        self.inner.late(server);
    }

    fn notice(&self, server: &ServerName, notice: Notice) {
        if matches!(notice, Notice::Chatter { .. }) {
            let labels = [("server", server.as_str()), ("reason", "chatter")];
            self.metrics.count(names::FRAMES_REJECTED, &labels, 1);
        }
        self.inner.notice(server, notice);
    }
}

/// A request that went to a server, of a tool or not, and how it ended.
pub(crate) fn request(
    options: &ClientOptions,
    (server, method, tool): (&ServerName, &'static str, Option<&ToolName>),
    took: Duration,
    error: &str,
) {
    let Some(metrics) = &options.metrics else { return };
    let labels = [("mcp.method.name", method), ("server", server.as_str())];
    let further = [("gen_ai.tool.name", tool.map_or("", ToolName::as_str)), ("error.type", error)];
    tell_with(&**metrics, names::OPERATION_DURATION, labels, further, took);
}

/// A value of a histogram in seconds, with those of its further labels that have a value.
fn tell_with<const N: usize, const M: usize>(
    metrics: &dyn Observer,
    name: &'static str,
    labels: [Label<'_>; N],
    further: [Label<'_>; M],
    took: Duration,
) {
    let mut all = [("", ""); LABELS];
    let mut count = 0;
    let labels = labels.into_iter().chain(further.into_iter().filter(|(_, value)| !value.is_empty()));
    for (place, label) in all.iter_mut().zip(labels) {
        *place = label;
        count += 1;
    }
    metrics.histogram(name, &all[..count], took.as_secs_f64());
}

/// A session from its opening on. It ends when it is said to, or when it is dropped.
pub(crate) struct Opened {
    metrics: Arc<dyn Observer>,
    server: ServerName,
    transport: &'static str,
    version: String,
    begun: Instant,
    error: &'static str,
}

impl Opened {
    /// `None`: nobody collects it.
    pub(crate) fn begin(options: &ClientOptions, session: &Session) -> Option<Self> {
        let peer = session.peer();
        Some(Self {
            metrics: options.metrics.clone()?,
            server: session.server().clone(),
            transport: network(peer.transport),
            version: peer.protocol_version.clone(),
            begun: Instant::now(),
            error: "",
        })
    }

    /// It broke.
    pub(crate) fn broke(mut self) {
        self.error = "connection";
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let labels = [
            ("server", self.server.as_str()),
            ("network.transport", self.transport),
            ("mcp.protocol.version", &self.version),
        ];
        let further = [("error.type", self.error)];
        tell_with(&*self.metrics, names::SESSION_DURATION, labels, further, self.begun.elapsed());
    }
}

/// `network.transport` by the convention; what it has no word for is called as .NET calls it.
pub(crate) fn network(kind: TransportKind) -> &'static str {
    match kind {
        TransportKind::Stdio => "pipe",
        TransportKind::Http | TransportKind::Sse => "tcp",
        _ => "inproc",
    }
}

/// How a server's tools stand against what was accepted.
pub(crate) fn pins(options: &ClientOptions, server: &ServerName, wanted: usize, drifts: &[Drift]) {
    let Some(metrics) = &options.metrics else { return };
    let count = |is: fn(&Drift) -> bool| drifts.iter().filter(|drift| is(drift)).count();
    let changed = count(|drift| matches!(drift, Drift::Changed { .. }));
    let pending = count(|drift| matches!(drift, Drift::New { .. }));
    let approved = wanted.saturating_sub(changed + pending);
    for (state, count) in [("approved", approved), ("pending", pending), ("changed", changed)] {
        let labels = [("server", server.as_str()), ("state", state)];
        metrics.gauge(names::PINS, &labels, count as f64);
    }
}

/// How often a server's memory is looked at.
const LOOKS: Duration = Duration::from_secs(10);

/// Tells a server's memory now and then, for as long as it is polled. Whoever collects nothing is told nothing.
pub(crate) async fn watch_memory(options: &ClientOptions, session: &Session) -> Infallible {
    let Some(metrics) = options.metrics.as_ref().filter(|_| session.peer().pid.is_some()) else {
        return std::future::pending().await;
    };
    loop {
        let of = session.clone();
        // Files are read on a thread for that.
        let read = tokio::task::spawn_blocking(move || of.resident_memory()).await;
        if let Ok(Some(bytes)) = read {
            metrics.gauge(names::SERVER_RSS, &[("server", session.server().as_str())], bytes as f64);
        }
        sleep(LOOKS).await;
    }
}

/// A text on its way to `sink` held a registered secret.
pub(crate) fn redacted(options: &ClientOptions, sink: &'static str) {
    if let Some(metrics) = &options.metrics {
        metrics.count(names::SECRET_REDACTIONS, &[("sink", sink)], 1);
    }
}

/// A call that may not be made again, although that might help: nobody says that it does no harm when it runs twice.
pub(crate) fn unsafe_to_repeat(options: &ClientOptions, server: &ServerName, class: &'static str) {
    if let Some(metrics) = &options.metrics {
        let labels = [("server", server.as_str()), ("class", class), ("decision", "unsafe")];
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
        Err(ToolError::Http { status, .. } | ToolError::Throttled { status, .. }) => {
            *text = status.to_string();
            text
        }
        Err(error) => error.name(),
    }
}
