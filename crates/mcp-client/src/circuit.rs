//! The circuits of a server and of its tools. One server has one circuit for all agents: what one of them finds out, none
//! of the others has to.
//!
//! A timeout does not say whether the server is gone or its tool is slow, so the server is asked: by one ping, however
//! many calls ran into their limit at the same time, and beside the calls, so that nobody waits longer for it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_core::{Class, Phase, ServerName, ToolError, ToolName, ToolOutput};
use mcp_resilience::breaker::{
    self, Failure, Gate, Outcome, Permit, Probing, Reason, Rejected, Rules, State, Transition,
};
use mcp_resilience::deadline::HasDeadline;
use mcp_resilience::observe::Hooks;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::classify::meaning;
use crate::pipeline::Request;
use crate::server::{Reassess, Shared};
use crate::state::Login;
use crate::step::{Ended, Further, Stack, Step};
use crate::{ClientOptions, Observer, ServerConfig, metrics, spans};

/// How long a server may take to answer a ping that asks whether it or its tool is slow.
const SUSPECT: Duration = Duration::from_secs(2);
/// A ping that was answered as recently as this answers that question too.
const RECENT: Duration = Duration::from_secs(2);
/// How long a probe may take once there is a session.
const PROBE: Duration = Duration::from_secs(5);
/// Timeouts that wait for the ping; one more says nothing.
const SUSPECTS: usize = 1024;
/// So many times in a row a server may say that there is no endpoint at its address.
const MISDIRECTED: u32 = 3;
/// The circuit of a tool that has not failed for so long is forgotten.
const CLEAN: Duration = Duration::from_secs(600);

/// Why a server is left alone whose streams break.
pub(crate) const EXHAUSTED: &str = "its streams of events break too often";

/// The circuits of one server and of its tools.
pub(crate) struct Circuits {
    server: Gate,
    tools: Arc<Mutex<BTreeMap<ToolName, ToolCircuit>>>,
    suspects: mpsc::Sender<Suspect>,
    waiting: Mutex<Option<mpsc::Receiver<Suspect>>>,
    /// When a ping was last answered.
    answered: Mutex<Option<Instant>>,
    name: ServerName,
    observer: Arc<dyn Observer>,
    rules: breaker::RuleOptions,
    hooks: Hooks,
    /// Answers in a row that say that the address is no endpoint of MCP.
    misdirected: AtomicU32,
    /// Whether the clocks have drifted apart and nobody has asked yet whether the server is still there.
    stale: AtomicBool,
    /// Until when it asked to be left alone.
    throttled: Mutex<Option<Instant>>,
    /// Until when no stream that is to bring an answer may be opened again.
    exhausted: Mutex<Option<Instant>>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

/// A healthy tool has none.
struct ToolCircuit {
    gate: Gate,
    failed: Instant,
}

/// A call that ran into its limit.
struct Suspect {
    server: Permit,
    tool: Option<Permit>,
    name: ToolName,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Circuits {
    pub(crate) fn new(
        config: &ServerConfig,
        observer: Arc<dyn Observer>,
        options: &ClientOptions,
        changed: Reassess,
    ) -> Self {
        let name = config.name.clone();
        let hooks = metrics::hooks(options, &name);
        let tools: Arc<Mutex<BTreeMap<ToolName, ToolCircuit>>> = Arc::default();
        let server = {
            let (name, observer, tools) = (name.clone(), observer.clone(), tools.clone());
            Gate::new(Rules::new(config.breaker.clone()))
                .probed_by(Probing::Background)
                .observed(hooks.clone())
                .told(move |change| {
                    if change.to == State::Closed {
                        // What its tools did while the server was failing says little about them.
                        lock(&tools).retain(|_, tool| tool.gate.state() != State::Closed);
                    }
                    tell(&*observer, &name, None, change);
                    changed();
                })
        };
        let (suspects, waiting) = mpsc::channel(SUSPECTS);
        let waiting = Mutex::new(Some(waiting));
        let (rules, answered) = (config.breaker.clone(), Mutex::default());
        Self {
            server,
            tools,
            suspects,
            waiting,
            answered,
            name,
            observer,
            rules,
            hooks,
            misdirected: AtomicU32::new(0),
            stale: AtomicBool::new(false),
            throttled: Mutex::default(),
            exhausted: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// The server's own circuit.
    pub(crate) fn server(&self) -> &Gate {
        &self.server
    }

    pub(crate) fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }

    /// The circuit of a tool that failed not long ago.
    fn tool(&self, name: &ToolName, now: Instant) -> Option<Gate> {
        let mut tools = lock(&self.tools);
        if tools.is_empty() {
            return None;
        }
        tools.retain(|_, tool| {
            tool.gate.state() != State::Closed || now.saturating_duration_since(tool.failed) < CLEAN
        });
        tools.get(name).map(|tool| tool.gate.clone())
    }

    /// Takes the outcome of a tool, whose circuit begins with its first failure.
    fn settle_tool(&self, name: &ToolName, permit: Option<Permit>, outcome: Outcome, now: Instant) {
        if !matches!(outcome, Outcome::Failure(_)) {
            if let Some(permit) = permit {
                permit.record(outcome, now);
            }
            return;
        }
        let gate = {
            let mut tools = lock(&self.tools);
            let tool = tools
                .entry(name.clone())
                .or_insert_with(|| ToolCircuit { gate: self.new_tool(name), failed: now });
            tool.failed = now;
            tool.gate.clone()
        };
        match permit {
            Some(permit) => permit.record(outcome, now),
            None => {
                if let Ok(permit) = gate.acquire(now) {
                    permit.record(outcome, now);
                }
            }
        }
    }

    fn new_tool(&self, tool: &ToolName) -> Gate {
        let (name, observer, tool) = (self.name.clone(), self.observer.clone(), tool.clone());
        Gate::new(Rules::new(self.rules.clone()))
            .observed(self.hooks.part(tool.as_str()))
            .told(move |change| self::tell(&*observer, &name, Some(&tool), change))
    }

    /// The right to call a tool.
    async fn admit(
        &self,
        tool: &ToolName,
        deadline: Option<Instant>,
    ) -> Result<(Permit, Option<Permit>), ToolError> {
        let server = pass(&self.server, deadline)
            .await
            .map_err(|rejected| self.rejected("its circuit is open", rejected))?;
        let Some(gate) = self.tool(tool, Instant::now()) else { return Ok((server, None)) };
        let permit = pass(&gate, deadline).await.map_err(|rejected| {
            self.rejected(&format!("the circuit of its tool {tool} is open"), rejected)
        })?;
        Ok((server, Some(permit)))
    }

    fn rejected(&self, what: &str, rejected: Rejected) -> ToolError {
        let mut reason = match &rejected.reason {
            Reason::Throttled if self.is_exhausted(Instant::now()) => EXHAUSTED.to_owned(),
            Reason::Throttled => rejected.reason.to_string(),
            reason => format!("{what}: {reason}"),
        };
        if let Some(at) = rejected.retry_at {
            let seconds = at.saturating_duration_since(Instant::now()).as_secs_f32();
            reason.push_str(&format!("; try again in {:.0} s", seconds.ceil().max(1.0)));
        }
        let retry_at = rejected.retry_at.map(Instant::into_std);
        ToolError::Unavailable { server: self.name.clone(), reason, retry_at }
    }

    /// Learns from an answer whether the address is one of an MCP server at all.
    fn look_at_address(&self, result: &Result<ToolOutput, ToolError>) {
        match result {
            Err(ToolError::Http { status: status @ (404 | 405 | 415), .. }) => {
                if self.misdirected.fetch_add(1, Ordering::AcqRel) + 1 == MISDIRECTED {
                    self.server.force_open(format!(
                        "config: its address is none of an MCP server (HTTP status {status}, {MISDIRECTED} times in a row); mend it \
                         in the configuration"
                    ));
                }
            }
            Ok(_) => self.misdirected.store(0, Ordering::Release),
            Err(_) => {}
        }
    }

    /// Counts a failure that no call has met.
    pub(crate) fn charge(&self, failure: Failure, now: Instant) {
        // Where the circuit is open, it is known.
        if let Ok(permit) = self.server.acquire(now) {
            permit.record(Outcome::Failure(failure), now);
        }
    }

    /// The streams that bring its answers broke as often as they may be opened again: for so long another call would only wait
    /// for the same.
    pub(crate) fn exhausted(&self, wait: Duration, now: Instant) {
        // Where the circuit is open, nothing is called.
        let Ok(permit) = self.server.acquire(now) else { return };
        *lock(&self.exhausted) = now.checked_add(wait);
        permit.record(Outcome::Throttled(wait), now);
    }

    /// Whether none of these streams may be opened again now.
    pub(crate) fn is_exhausted(&self, now: Instant) -> bool {
        lock(&self.exhausted).is_some_and(|until| now < until)
    }

    /// It asks to be left alone for so long, which is told once.
    fn leave_alone(&self, wait: Duration, now: Instant) {
        let mut throttled = lock(&self.throttled);
        if throttled.is_none_or(|until| until <= now) {
            tracing::warn!(server = %self.name, seconds = wait.as_secs_f32(), "it asks to be left alone for a while");
        }
        *throttled = now.checked_add(wait).max(*throttled);
    }

    fn settle(&self, class: Class, (server, tool): (Permit, Option<Permit>), name: &ToolName) {
        let now = Instant::now();
        let means = meaning(class);
        if let Some(wait) = means.asked {
            self.leave_alone(wait, now);
        }
        match means.server {
            Some(outcome) => {
                server.record(outcome, now);
                self.settle_tool(name, tool, means.tool, now);
            }
            None => {
                // Where there is no room, the permits are dropped: one timeout more or less says nothing.
                let _ = self.suspects.try_send(Suspect { server, tool, name: name.clone() });
            }
        }
    }
}

/// Tells a change once: in the log, and to the observer.
fn tell(observer: &dyn Observer, server: &ServerName, tool: Option<&ToolName>, change: &Transition) {
    let tool_name = tool.map(ToolName::as_str);
    match &change.to {
        State::Open { reason, .. } if change.from == State::Closed => {
            tracing::warn!(%server, tool = tool_name, %reason, "circuit opened");
        }
        State::ForcedOpen { reason } => tracing::warn!(%server, tool = tool_name, %reason, "circuit opened"),
        State::Closed => tracing::info!(%server, tool = tool_name, reason = %change.reason, "circuit closed"),
        to => tracing::debug!(%server, tool = tool_name, to = to.name(), "circuit"),
    }
    spans::circuit_changed(server, tool, change);
    observer.circuit_changed(server, tool, change);
}

/// Passes a gate; the verdict of a probe that is under way is waited for.
async fn pass(gate: &Gate, deadline: Option<Instant>) -> Result<Permit, Rejected> {
    let now = Instant::now();
    match gate.acquire(now) {
        Err(Rejected { reason: Reason::Probing, .. }) => {
            gate.verdict(breaker::patience(deadline, now)).await;
            gate.acquire(Instant::now())
        }
        passed => passed,
    }
}

/// Runs beside the calls of a server: probes its open circuit, and finds out about timeouts.
pub(crate) async fn attend(server: Arc<Shared>) {
    let probe = || {
        let server = server.clone();
        async move {
            // While it is being started again there is nothing to ask.
            server.present().await;
            answered(&server, PROBE).await
        }
    };
    let limit = server.config.startup_timeout + PROBE;
    let suspects = lock(&server.circuits.waiting).take();
    let suspected = async {
        if let Some(suspects) = suspects {
            find_out(&server, suspects).await;
        }
    };
    let probing = breaker::probe(server.circuits.server.clone(), limit, probe);
    tokio::join!(probing, suspected, recovers(&server), follows_suspensions(&server));
}

/// Notices that calls which may change the world are refused for now, and that they are not any more.
async fn follows_suspensions(server: &Shared) {
    let mut suspensions = server.options.permissions.suspensions();
    while suspensions.changed().await.is_ok() {
        server.assess();
    }
}

/// Notices that a server is not degraded any more: slow answers are forgotten as time passes, and nothing else tells.
async fn recovers(server: &Shared) {
    loop {
        server.degrades().await;
        sleep(server.config.breaker.window / 10).await;
        server.assess();
    }
}

async fn answered(server: &Shared, limit: Duration) -> Outcome {
    let Some(session) = server.session() else { return Outcome::Failure(Failure::Connect) };
    match timeout(limit, server.ping(&session)).await {
        Ok(Ok(())) => {
            server.health.seen();
            *lock(&server.circuits.answered) = Some(Instant::now());
            Outcome::Success
        }
        // Nobody is there, or the way there is broken.
        Ok(Err(ToolError::Connection { .. })) => Outcome::Failure(Failure::Lost),
        _ => Outcome::Failure(Failure::Call),
    }
}

/// After the clocks have drifted apart: asks the server once whether it is still there, however many calls wait for it.
async fn ask_if_stale(server: &Shared) {
    let circuits = &server.circuits;
    if let Some(by) = server.drift.jumped() {
        tracing::warn!(server = %circuits.name, seconds = by.as_secs(), "the clock jumped: asking whether it is still there");
        circuits.stale.store(true, Ordering::Release);
    }
    if !circuits.stale.load(Ordering::Acquire) {
        return;
    }
    let _turn = circuits.asking.lock().await;
    if !circuits.stale.load(Ordering::Acquire) {
        return;
    }
    // One that is being started again will be asked by that.
    if server.session().is_some() && answered(server, PROBE).await != Outcome::Success {
        let now = Instant::now();
        if let Ok(permit) = circuits.server.acquire(now) {
            permit.record(Outcome::Failure(Failure::Lasting(Duration::ZERO)), now);
        }
    }
    circuits.stale.store(false, Ordering::Release);
}

/// Whose fault the timeouts are: the tool's where the server answers a ping, the server's where it does not.
async fn find_out(server: &Shared, mut suspects: mpsc::Receiver<Suspect>) {
    while let Some(first) = suspects.recv().await {
        let recent = lock(&server.circuits.answered).is_some_and(|at| at.elapsed() < RECENT);
        let verdict = if recent { Outcome::Success } else { answered(server, SUSPECT).await };
        let now = Instant::now();
        let mut next = Some(first);
        // Those that came meanwhile are answered too.
        while let Some(Suspect { server: permit, tool, name }) = next {
            if verdict == Outcome::Success {
                permit.record(Outcome::Neutral, now);
                server.circuits.settle_tool(&name, tool, Outcome::Failure(Failure::Call), now);
            } else {
                permit.record(verdict, now);
            }
            next = suspects.try_recv().ok();
        }
        server.assess();
    }
}

/// Lets a call through where both circuits are closed, and learns from how it ends.
#[derive(Clone)]
pub(crate) struct Guarded {
    server: Arc<Shared>,
}

impl Guarded {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl Step for Guarded {
    async fn take<S: Stack>(self, request: Request, further: Further<S>) -> Ended {
        let server = &*self.server;
        let tool = request.spec.name.clone();
        let deadline = request.deadline();
        ask_if_stale(server).await;
        let permits = server.circuits.admit(&tool, deadline).await?;
        let begun = Instant::now();
        let result = further.call(request).await;
        if let Err(ToolError::Timeout { phase: Phase::Call, limit, .. }) = &result
            && *limit < server.config.breaker.slow_after.min(server.config.call_timeout)
        {
            // The caller's time ended before that of the attempt: impatience says nothing about the server, and the
            // permits are dropped. Callers who are less patient than its limit, but not by much, do notice one that
            // never answers.
            return result;
        }
        server.circuits.look_at_address(&result);
        if is_unknown_tool(&result) {
            server.relist();
        }
        let class = Class::of(&result);
        match (class, &result) {
            (Class::Success | Class::ToolFailed, _) => {
                server.health.seen();
                server.wants_login(None);
            }
            (Class::Stale, _) => server.relist(),
            (Class::Login, Err(error)) => {
                server.wants_login(Some(Login { reason: error.to_string(), hint: error.hint() }));
            }
            _ => {}
        }
        server.circuits.settle(class, permits, &tool);
        if begun.elapsed() > server.config.breaker.slow_after {
            server.assess();
        }
        result
    }
}

/// Whether the server says that it has no such tool: then what is known of its tools is out of date.
fn is_unknown_tool(result: &Result<ToolOutput, ToolError>) -> bool {
    let Err(ToolError::Server { code: -32602, message, .. }) = result else { return false };
    let message = message.to_ascii_lowercase();
    message.contains("tool") && (message.contains("unknown") || message.contains("not found"))
}
