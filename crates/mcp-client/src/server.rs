//! One server over its whole life: opening the session, listing, following changes, noticing its death, bringing it
//! back. A task per server does that; everyone else only looks at what it publishes.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use mcp_core::{Class, ErrorKind, Guard, Refusal, ServerName, ToolError, ToolName, ToolSpec};
use mcp_resilience::breaker;
use mcp_resilience::health::{Health, HealthOptions};
use mcp_security::lock::ServerPins;
use mcp_security::permission::Nature;
use mcp_transport::{DroppedTool, EraPolicy, Notice, Session, TransportKind};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::asked::Questions;
use crate::chatter::Chatter;
use crate::circuit::Circuits;
use crate::classify;
use crate::clock::Drift;
use crate::examine;
use crate::giving_up::{self, Tries};
use crate::gone::Past;
use crate::integrity::{Guardian, SECURITY};
use crate::judged::{Judgement, Subject};
use crate::launch::Launches;
use crate::pins;
use crate::redact;
use crate::renewals;
use crate::repeats::Repeats;
use crate::rest::Rest;
use crate::state::{Failure, Known, Life, Login};
use crate::validate::Validators;
use crate::{ClientOptions, Observer, ServerConfig, ServerState, ServerStatus, Target, metrics};

mod open;
mod task;

pub(crate) use task::Task;

/// The first revision of the protocol in which HTTP has no sessions.
const WITHOUT_SESSIONS: &str = "2026-07-28";

/// What happens when the tools of a server change; called before anyone hears of the new state. Answers with what is
/// worth telling about the tools.
pub(crate) type ToolsHook = Box<dyn Fn(&ServerName, &Tools) -> Vec<String> + Send + Sync>;

/// Called when something changed of which the state of a server is made.
pub(crate) type Reassess = Box<dyn Fn() + Send + Sync>;

/// A server's tools, in its order.
pub(crate) type Tools = Arc<[Arc<ToolSpec>]>;

/// What the task of a server publishes, and what calls need.
pub(crate) struct Shared {
    pub(crate) config: ServerConfig,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) validators: Validators,
    pub(crate) circuits: Circuits,
    pub(crate) health: Health,
    pub(crate) integrity: Arc<Guardian>,
    pub(crate) repeats: Repeats,
    /// Whether the wall clock jumped, and with that perhaps the far end went.
    pub(crate) drift: Drift,
    pub(crate) rest: Rest,
    /// The generation of the protocol that it spoke last.
    era: Mutex<Option<EraPolicy>>,
    /// Calls that the server has now.
    pub(crate) in_flight: AtomicUsize,
    /// Somebody found out that the tools are not what they were.
    outdated: Notify,
    launches: Launches,
    guard: Arc<dyn Guard>,
    pub(crate) options: ClientOptions,
    hook: ToolsHook,
    state: watch::Sender<ServerState>,
    /// What the observer was told last; held while it is told, so that it hears of changes in their order.
    announced: Mutex<Option<ServerState>>,
    /// Whether the first start has ended, well or not.
    settled: watch::Sender<bool>,
    stop: watch::Sender<bool>,
    live: RwLock<Live>,
    /// Problems that were told; each is told once.
    told: Mutex<HashSet<String>>,
    chatter: Chatter,
    past: Past,
    /// Tools that are held back, and why.
    held: Mutex<BTreeMap<ToolName, Refusal>>,
    /// Tools that are withheld for what they say, by which rule.
    withheld: Mutex<BTreeMap<ToolName, &'static str>>,
    /// Tools and instructions word for word, as they were listed last.
    seen: Mutex<Seen>,
    pub(crate) questions: Arc<Questions>,
}

/// What is hashed when somebody wants to accept it, and not before.
#[derive(Default)]
struct Seen {
    instructions: Option<String>,
    tools: Vec<Arc<ToolSpec>>,
}

/// What there is to call.
#[derive(Default)]
struct Live {
    session: Option<Session>,
    tools: Tools,
    /// When a server that is away is tried again.
    retry_at: Option<Instant>,
    restarts: u32,
    /// Of the sessions before.
    peak_processes: Option<usize>,
    life: Life,
    /// A call was told that a login is wanted, and none has been answered since.
    login: Option<Login>,
}

/// Takes in what the transport noticed of a server, besides breaches of the protocol.
pub(crate) type Heed = Box<dyn Fn(Notice) + Send + Sync>;

fn heed_later(server: &Weak<Shared>) -> Heed {
    let server = server.clone();
    Box::new(move |notice| {
        if let Some(server) = server.upgrade() {
            server.heed(notice);
        }
    })
}

/// Looks at the state of a server again; for what is part of it and made before it.
fn assess_later(server: &Weak<Shared>) -> Reassess {
    let server = server.clone();
    Box::new(move || {
        if let Some(server) = server.upgrade() {
            server.assess();
        }
    })
}

/// How the row of events after a session goes on.
enum Next {
    Stop,
    Rest,
    Died(String),
}

impl Shared {
    pub(crate) fn new(
        config: ServerConfig,
        guard: Arc<dyn Guard>,
        observer: Arc<dyn Observer>,
        options: ClientOptions,
        hook: ToolsHook,
    ) -> Arc<Self> {
        Arc::new_cyclic(|server: &Weak<Self>| Self {
            circuits: Circuits::new(&config, observer.clone(), &options, assess_later(server)),
            health: Health::new(HealthOptions::default()),
            integrity: Guardian::new(
                config.name.clone(),
                observer.clone(),
                assess_later(server),
                heed_later(server),
            ),
            repeats: Repeats::default(),
            drift: Drift::new(options.wall_clock.clone()),
            held: Mutex::default(),
            withheld: Mutex::default(),
            rest: Rest::new(&config),
            era: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            outdated: Notify::new(),
            launches: Launches::default(),
            config,
            observer,
            validators: Validators::default(),
            guard,
            options,
            hook,
            state: watch::Sender::new(ServerState::Starting),
            announced: Mutex::default(),
            settled: watch::Sender::new(false),
            stop: watch::Sender::new(false),
            live: RwLock::default(),
            told: Mutex::default(),
            chatter: Chatter::default(),
            past: Past::default(),
            seen: Mutex::default(),
            questions: Arc::default(),
        })
    }

    pub(crate) fn state(&self) -> watch::Receiver<ServerState> {
        self.state.subscribe()
    }

    /// Waits until the first start has ended, well or not.
    pub(crate) async fn settled(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.settled.subscribe().wait_for(|settled| *settled).await;
    }

    /// The open session, where there is one.
    pub(crate) fn session(&self) -> Option<Session> {
        self.read().session.clone()
    }

    /// Waits until there is a session. One that is in quarantine is waited for until it is out of it.
    pub(crate) async fn present(&self) {
        let mut state = self.state.subscribe();
        // Not by `wait_for`: what it asks is asked under the watch's own lock.
        while self.read().session.is_none() {
            // The sender lives as long as `self`: the wait cannot fail.
            let _ = state.changed().await;
        }
    }

    /// Whether its tools are offered, as far as its session is concerned.
    pub(crate) fn offers(&self) -> bool {
        matches!(self.read().life, Life::Open { .. } | Life::Resting { .. })
    }

    /// Waits until it is degraded.
    pub(crate) async fn degrades(&self) {
        // The sender lives as long as `self`: the wait cannot fail.
        let _ = self.state.subscribe().wait_for(|state| matches!(state, ServerState::Degraded { .. })).await;
    }

    /// A call found out that it wants a login (`Some`), or that it does not.
    pub(crate) fn wants_login(&self, login: Option<Login>) {
        if self.read().login.is_none() && login.is_none() {
            return;
        }
        let login = login
            .map(|Login { reason, hint }| Login { reason: redact::text(&self.options, "log", reason), hint });
        self.write().login = login;
        self.assess();
    }

    /// Has the tools listed again.
    pub(crate) fn relist(&self) {
        self.outdated.notify_one();
    }

    /// Tells of an answer that held a registered secret: whoever keeps records each time, people once.
    pub(crate) fn tell_of_secret(&self, judgement: &Judgement) {
        self.observer.judged(&self.config.name, judgement);
        if let Subject::Answer(tool) = &judgement.subject {
            self.tell(format!("an answer of its tool {:?}: {}", tool.as_str(), judgement.finding.reason));
        }
    }

    pub(crate) fn close_grace(&self) -> Duration {
        self.options.session.close_grace
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn tools(&self) -> Tools {
        self.read().tools.clone()
    }

    /// Lets the session go at once. For clients that are dropped: the task that owns it ends a moment later.
    pub(crate) fn forget(&self) {
        self.write().session = None;
    }

    pub(crate) fn status(&self) -> ServerStatus {
        let state = self.state.borrow().clone();
        let live = self.read();
        ServerStatus {
            name: self.config.name.clone(),
            state,
            sandbox: live.session.as_ref().and(self.config.sandbox.as_ref()).map(|sandbox| sandbox.level),
            required: self.config.required,
            peer: live.session.as_ref().map(|session| session.peer().clone()),
            restarts: live.restarts,
            peak_processes: live.session.as_ref().and_then(Session::peak_processes).max(live.peak_processes),
            retry_at: self
                .circuits
                .server()
                .retry_at(Instant::now())
                .max(live.retry_at)
                .map(Instant::into_std),
            circuit: self.circuits.server().state(),
            integrity: self.integrity.state(Instant::now()),
            chatter: self.chatter.first(),
        }
    }

    /// Why the server cannot be called now.
    pub(crate) fn unavailable(&self) -> ToolError {
        if let Some(missing) = &self.config.missing_credential {
            return ToolError::CredentialUnavailable {
                server: self.config.name.clone(),
                missing: missing.clone(),
            };
        }
        let live = self.read();
        let reason = match &live.life {
            // The whole story was told when it happened; a model needs the first line.
            Life::Failed(Failure { reason, .. }) => {
                let line = reason.lines().next().unwrap_or_default();
                // The error names the server itself.
                match line.strip_prefix(&format!("server {} ", self.config.name)) {
                    Some(rest) => format!("it {rest}"),
                    None => line.to_owned(),
                }
            }
            Life::Open { .. } => "it is just going away".to_owned(),
            Life::Starting => ServerState::Starting.to_string(),
            Life::Resting { tools } => ServerState::Resting { tools: *tools }.to_string(),
            Life::Stopped => ServerState::Stopped.to_string(),
        };
        let retry_at = live.retry_at.map(Instant::into_std);
        ToolError::Unavailable { server: self.config.name.clone(), reason, retry_at }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Live> {
        self.live.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, session: Option<Session>, tools: Vec<Arc<ToolSpec>>, retry_at: Option<Instant>) {
        let tools: Tools = tools.into();
        {
            let mut live = self.write();
            live.session = session;
            live.tools = tools.clone();
            live.retry_at = retry_at;
        }
        for notice in (self.hook)(&self.config.name, &tools) {
            self.tell(notice);
        }
    }

    /// Remembers what is lost with the session.
    fn note_peak(&self, session: &Session) {
        let peak = session.peak_processes();
        let mut live = self.write();
        live.peak_processes = live.peak_processes.max(peak);
    }

    fn enter(&self, life: Life) {
        self.write().life = life;
        self.assess();
    }

    /// Makes the state of all that is known, and tells it where it is another one.
    pub(crate) fn assess(&self) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let state = self.known();
        if announced.as_ref().is_some_and(|before| state.is_still(before)) {
            return;
        }
        let name = &self.config.name;
        match state.reason() {
            Some(reason) => tracing::warn!(server = %name, state = state.name(), reason, "server state"),
            None => tracing::debug!(server = %name, ?state, "server state"),
        }
        self.observer.server_changed(name, &state);
        *announced = Some(state.clone());
        // The watch begins with the first state, which is announced all the same.
        self.state.send_if_modified(|before| {
            let changed = *before != state;
            *before = state;
            changed
        });
    }

    fn known(&self) -> ServerState {
        let (now, circuit) = (Instant::now(), self.circuits.server());
        let (integrity, slow) = (self.integrity.state(now), circuit.is_degraded(now));
        let circuit = circuit.state();
        let live = self.read();
        let suspended = self.options.permissions.suspended().filter(|_| {
            let offered =
                live.tools.iter().filter(|tool| self.config.filter.permits(&tool.server, &tool.name));
            offered.into_iter().any(|tool| Nature::of(&tool.annotations) != Nature::Reads)
        });
        let suspended = suspended.map(|refusal| refusal.reason);
        let (life, login, exhausted) = (&live.life, live.login.as_ref(), self.circuits.is_exhausted(now));
        Known { life, login, integrity, circuit, suspended, exhausted, slow }.state()
    }

    fn heed(&self, notice: Notice) {
        match notice {
            Notice::Exhausted { wait } => {
                self.circuits.exhausted(wait, Instant::now());
                self.assess();
            }
            Notice::Chatter { line } => {
                self.chatter.heard(&self.config.name, || redact::text(&self.options, "log", line));
            }
            notice => self.tell(notice.to_string()),
        }
    }

    /// Tells a problem that stops nothing, once.
    pub(crate) fn tell(&self, message: String) {
        if let Some(message) = self.is_news(message) {
            tracing::warn!(server = %self.config.name, message, "notice");
            self.observer.notice(&self.config.name, &message);
        }
    }

    /// The message as it may be told, where it was not told before.
    fn is_news(&self, message: String) -> Option<String> {
        let message = redact::text(&self.options, "log", message);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        (told.len() < 1000 && told.insert(message.clone())).then_some(message)
    }

    /// The tools that the filter lets through.
    async fn list(&self, session: &Session) -> Result<Vec<Arc<ToolSpec>>, ToolError> {
        let list = self.measured("tools/list", session.list_tools()).await?;
        for DroppedTool { name, reason, .. } in &list.dropped {
            self.tell(format!("its tool {name:?} is not valid and is left out: {reason}"));
        }
        if let Some(reason) = &list.truncated {
            // What there is of it is the beginning of what may never end: nobody has said that these are its tools.
            self.circuits.charge(breaker::Failure::Call, Instant::now());
            let reason = format!("its list of tools does not end: {reason}");
            return Err(ToolError::Malformed { server: self.config.name.clone(), reason });
        }
        // Against what was accepted first, as the server said it; then what it says is judged and made presentable.
        let tools = self.accepted(session, list.tools.into_iter().map(Arc::new).collect());
        if matches!(self.config.target, Target::InMemory(_)) {
            return Ok(tools);
        }
        let instructions = session.peer().instructions.as_deref();
        let examined =
            examine::tools(&self.config.name, instructions, tools, self.options.neighbours.clean()).await;
        examined.notices.into_iter().for_each(|notice| self.tell(notice));
        for judgement in &examined.judgements {
            self.observer.judged(&self.config.name, judgement);
        }
        let withheld = examined.judgements.iter().filter(|judgement| judgement.withheld);
        let withheld = withheld.filter_map(|judgement| match &judgement.subject {
            Subject::Tool(tool) => Some((tool.clone(), judgement.finding.rule)),
            _ => None,
        });
        *self.withheld.lock().unwrap_or_else(PoisonError::into_inner) = withheld.collect();
        Ok(examined.tools)
    }

    pub(crate) fn seen(&self) -> ServerPins {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        ServerPins::of(seen.instructions.as_deref(), seen.tools.iter().map(|tool| &**tool))
    }

    /// The tools that are what somebody accepted.
    fn accepted(&self, session: &Session, tools: Vec<Arc<ToolSpec>>) -> Vec<Arc<ToolSpec>> {
        let filter = &self.config.filter;
        let instructions = session.peer().instructions.as_deref();
        let wanted = tools.iter().filter(|tool| filter.permits(&tool.server, &tool.name));
        let seen = Seen { instructions: instructions.map(str::to_owned), tools: wanted.cloned().collect() };
        let wanted = seen.tools.len();
        let before = std::mem::replace(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner), seen);
        let Some(pins) = &self.config.pins else {
            pins::redefined(&before.tools, &tools).into_iter().for_each(|notice| self.tell(notice));
            return tools;
        };
        let (tools, drifts) = pins.sort(instructions, tools, |tool| filter.permits(&tool.server, &tool.name));
        metrics::pins(&self.options, &self.config.name, wanted, &drifts);
        for drift in &drifts {
            self.observer.drifted(&self.config.name, drift);
        }
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = pins::held(&drifts);
        for notice in pins::notices(&drifts) {
            if let Some(message) = self.is_news(notice) {
                tracing::warn!(target: SECURITY, server = %self.config.name, message, "drift");
                self.observer.notice(&self.config.name, &message);
            }
        }
        tools
    }

    /// Why this tool is held back, where it is.
    pub(crate) fn held(&self, is_wanted: impl Fn(&ToolName) -> bool) -> Option<ToolError> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, refusal) = held.iter().find(|(tool, _)| is_wanted(tool))?;
        Some(ToolError::Refused { server: self.config.name.clone(), refusal: refusal.clone() })
    }

    /// By which rule this tool is withheld for what it says, where it is.
    pub(crate) fn withheld(&self, is_wanted: impl Fn(&ToolName) -> bool) -> Option<&'static str> {
        let withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        withheld.iter().find(|(tool, _)| is_wanted(tool)).map(|(_, rule)| *rule)
    }

    /// The tool, where it is held back or withheld.
    pub(crate) fn kept_back(&self, is_wanted: impl Fn(&ToolName) -> bool) -> Option<ToolName> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        held.keys().chain(withheld.keys()).find(|tool| is_wanted(tool)).cloned()
    }

    /// What is said of this tool, where it was offered and is no longer.
    pub(crate) fn gone(&self, tool: &str) -> Option<ToolError> {
        let name = ToolName::new(tool).ok().filter(|name| self.past.has_lost(name))?;
        Some(ToolError::ToolGone { server: self.config.name.clone(), tool: name.as_str().to_owned() })
    }

    fn offered(&self, tools: &[Arc<ToolSpec>]) -> usize {
        tools.iter().filter(|tool| self.config.filter.permits(&tool.server, &tool.name)).count()
    }

    fn ready(&self, session: Session, tools: Vec<Arc<ToolSpec>>) {
        let offered = self.offered(&tools);
        let names = tools.iter().filter(|tool| self.config.filter.permits(&tool.server, &tool.name));
        let gone = self.past.listed(names.map(|tool| tool.name.clone()).collect());
        for tool in gone.iter().filter(|tool| self.kept_back(|kept| kept == *tool).is_none()) {
            tracing::info!(server = %self.config.name, tool = tool.as_str(), "its tool is gone");
        }
        self.publish(Some(session), tools, None);
        self.enter(Life::Open { tools: offered });
        self.rest.over();
    }

    /// The program may be ended: its tools stay.
    fn resting(&self) {
        let tools = self.tools();
        let offered = self.offered(&tools);
        self.write().session = None;
        self.enter(Life::Resting { tools: offered });
    }

    fn failed(&self, failure: Failure) {
        let reason = redact::text(&self.options, "log", failure.reason.clone());
        self.publish(None, Vec::new(), failure.retry_in.map(|delay| Instant::now() + delay));
        self.enter(Life::Failed(Failure { reason, ..failure }));
        self.rest.over();
    }

    async fn stopping(&self) {
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    /// Asks the server for a sign of life.
    pub(crate) async fn ping(&self, session: &Session) -> Result<(), ToolError> {
        // Revisions are dates, and sort as such.
        let has_ping = session.peer().protocol_version.as_str() < WITHOUT_SESSIONS;
        self.measured(if has_ping { "ping" } else { "server/discover" }, session.ping()).await
    }

    /// Makes a request other than a call, and tells how long it took.
    pub(crate) async fn measured<T>(
        &self,
        method: &'static str,
        request: impl Future<Output = Result<T, ToolError>>,
    ) -> Result<T, ToolError> {
        let begun = Instant::now();
        let result = request.await;
        let error = result.as_ref().map_or_else(ToolError::name, |_| "");
        metrics::request(&self.options, (&self.config.name, method, None), begun.elapsed(), error);
        result
    }

    /// Resolves when the server answers nothing any more, asked about it several times while nothing else was going on. A
    /// server of the revision without sessions is a stranger between two calls: nobody asks it.
    async fn falls_silent(&self, session: &Session) {
        let peer = session.peer();
        let watched = match peer.transport {
            TransportKind::Stdio => true,
            // Revisions are dates, and sort as such.
            TransportKind::Http => peer.protocol_version.as_str() < WITHOUT_SESSIONS,
            _ => false,
        };
        if !watched {
            return std::future::pending().await;
        }
        self.health.seen();
        let ask = || async {
            // One that is busy need not answer; the limits of its calls say when that takes too long.
            self.in_flight.load(Ordering::Relaxed) > 0 || self.ping(session).await.is_ok()
        };
        self.health.watch(ask).await;
    }

    /// Follows an open session until it is over. `changed` is older than the first listing, so that no change is lost.
    async fn follow(&self, session: &Session, mut changed: watch::Receiver<u64>) -> Next {
        let mut known = 0;
        loop {
            let listed = Instant::now();
            let change = async {
                let told = async {
                    // The sender is gone when the session is; who ended it is told by the other branches.
                    if changed.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                };
                tokio::select! {
                    () = told => {}
                    () = self.outdated.notified() => {}
                }
                // A server that announces a change with each breath is listed at most once per interval.
                sleep_until(listed + self.options.relist_interval).await;
            };
            tokio::select! {
                // A stop that coincides with the end it causes is a stop.
                biased;
                () = self.stopping() => return Next::Stop,
                reason = session.closed() => return Next::Died(reason),
                () = self.falls_silent(session) => {
                    return Next::Died("it does not answer any more".to_owned());
                }
                () = self.rest.begins() => return Next::Rest,
                () = change => {}
            }
            let count = *changed.borrow_and_update();
            // Of a storm, one word each time it is listed again.
            tracing::debug!(server = %self.config.name, changes = count - known, "its tools are listed again");
            known = count;
            let listing = async {
                match self.list(session).await {
                    Ok(tools) => self.ready(session.clone(), tools),
                    Err(error) => {
                        self.tell(format!("its tools changed but could not be listed again: {error}"))
                    }
                }
            };
            tokio::select! {
                biased;
                () = self.stopping() => return Next::Stop,
                reason = session.closed() => return Next::Died(reason),
                () = listing => {}
            }
        }
    }
}

/// The life of a server. `first` hears how the first start ended.
pub(crate) async fn run(shared: Arc<Shared>, first: oneshot::Sender<Result<(), ToolError>>) {
    {
        let life = std::pin::pin!(live(&shared, first));
        tokio::select! {
            // The life of an open session sees the stop itself, and closes the session in order.
            biased;
            () = life => {}
            // A start or a wait for the next one is simply dropped; what it began is killed with it.
            () = async {
                shared.stopping().await;
                if shared.read().session.is_some() {
                    std::future::pending::<()>().await;
                }
            } => {}
        }
    }
    shared.publish(None, Vec::new(), None);
    shared.enter(Life::Stopped);
    shared.rest.over();
    shared.settled.send_replace(true);
}

async fn live(shared: &Shared, first: oneshot::Sender<Result<(), ToolError>>) {
    let mut first = Some(first);
    let mut tries = Tries::new(&shared.config, &shared.options.restart);
    let mut was_ready = false;
    let mut rested = false;
    // Whether its circuit knows that it does not start. Its further tries are bounded by themselves: counted as well, they would
    // keep a circuit open before a server that is back.
    let mut is_counted = false;
    shared.enter(Life::Starting);
    loop {
        let unheard;
        let opened = shared.open_telling().await;
        shared.remember(opened.as_ref().ok().map(|(session, ..)| session));
        let delay = match opened {
            Ok((session, tools, changed)) => {
                if was_ready && !std::mem::take(&mut rested) {
                    shared.write().restarts += 1;
                }
                was_ready = true;
                (tries.quiet, unheard, is_counted) = (false, false, false);
                shared.write().login = None;
                shared.ready(session.clone(), tools);
                shared.settled.send_replace(true);
                if let Some(first) = first.take() {
                    let _ = first.send(Ok(()));
                }
                let opened = metrics::Opened::begin(&shared.options, &session);
                let next = tokio::select! {
                    biased;
                    next = shared.follow(&session, changed) => next,
                    never = metrics::watch_memory(&shared.options, &session) => match never {},
                    never = renewals::count(shared, &session) => match never {},
                };
                if let (Next::Died(_), Some(opened)) = (&next, opened) {
                    opened.broke();
                }
                match next {
                    Next::Stop => return session.close().await,
                    Next::Rest => {
                        shared.resting();
                        session.close().await;
                        shared.rest.ends().await;
                        rested = true;
                        Some(Duration::ZERO)
                    }
                    Next::Died(reason) => {
                        let stderr = session.stderr_tail();
                        let overgrown = session.is_overgrown();
                        shared.note_peak(&session);
                        let delay = if overgrown { None } else { tries.next(Instant::now()) };
                        shared.failed(Failure {
                            reason: died(&shared.config.name, &reason, &stderr),
                            hint: giving_up::hint(&reason, &stderr),
                            retry_in: delay,
                            login: false,
                        });
                        match delay {
                            None if overgrown => giving_up::overgrown(shared, &reason),
                            None => giving_up::crash_loop(shared, &stderr),
                            Some(_) => {}
                        }
                        // The process may be gone and its children not.
                        session.close().await;
                        delay
                    }
                }
            }
            Err(error) => {
                let error = redact::error(&shared.options, error);
                if let ToolError::Refused { refusal, .. } = &error {
                    let judgement = Judgement::withheld(Subject::Server, refusal.clone());
                    shared.observer.judged(&shared.config.name, &judgement);
                }
                if error.class() == Class::Start && !std::mem::replace(&mut is_counted, true) {
                    shared.circuits.charge(breaker::Failure::Connect, Instant::now());
                }
                // A program that ends while it starts may have met what passes, such as a registry that was away. Other
                // trouble that is nobody's passing trouble will be the same at the next try.
                let worth_a_try = error.class() != Class::Spawn
                    && (was_ready || error.class() == Class::Start || error.kind() == ErrorKind::Server);
                // Its first failure was told; that it fails again as it did is no news.
                unheard =
                    !was_ready && matches!(error.class(), Class::Start | Class::Violation | Class::Rejected);
                let mut delay = if worth_a_try { tries.next(Instant::now()) } else { None };
                if error.class() == Class::Tls {
                    // A certificate does not become good in a moment.
                    delay = delay.map(|delay| delay.max(classify::TLS));
                }
                let (text, stderr) = (error.to_string(), giving_up::last_words(&error).to_vec());
                shared.failed(Failure {
                    hint: error.hint().or_else(|| giving_up::hint(&text, &stderr)),
                    reason: text.clone(),
                    retry_in: delay,
                    login: error.class() == Class::Login,
                });
                let cannot_be_run = error.class() == Class::Spawn;
                if delay.is_none() && worth_a_try && !cannot_be_run {
                    if giving_up::has_ended(&error, &shared.config) {
                        giving_up::crash_loop(shared, &stderr);
                    } else {
                        giving_up::in_vain(shared, &text);
                    }
                }
                shared.settled.send_replace(true);
                if let Some(first) = first.take() {
                    let _ = first.send(Err(error));
                }
                if cannot_be_run {
                    giving_up::until_changed(shared, &text).await;
                    Some(Duration::ZERO)
                } else {
                    delay
                }
            }
        };
        let Some(delay) = delay else {
            // Given up. The task stays to answer a stop.
            return std::future::pending().await;
        };
        sleep(delay).await;
        if !tries.quiet && !unheard {
            shared.enter(Life::Starting);
        }
    }
}

/// A death in words for people.
fn died(server: &ServerName, reason: &str, stderr: &[String]) -> String {
    let mut text = format!("server {server} is gone: {reason}");
    if !stderr.is_empty() {
        text.push_str("\n  its last words:\n    ");
        text.push_str(&stderr.join("\n    "));
    }
    text
}
