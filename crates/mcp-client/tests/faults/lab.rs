//! How a fault is played and judged: one server that fails, one beside it that must not notice, and a count of what was
//! sent, how long it took and what is still alive.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use massgen_testkit::{
    CallReply, HttpFault, Journal, McpHttpOptions, McpHttpServer, Outcome, PATIENCE, ScriptedServer,
    ServerScript, ToolScript,
};
use mcp_client::{ClientOptions, MultiMcpClient, ServerConfig, ServerState, Target};
use mcp_core::{RemoteSpec, ToolError, ToolOutput, ToolService};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::{Recorder, call, child, is_ready, name, restarts, start, until};
use crate::{Fault, Play};

/// A fault of its own kind at work.
pub(crate) type Playing = Pin<Box<dyn Future<Output = Measured> + Send>>;

/// Whether limits of time are judged.
pub(crate) static MEASURING: AtomicBool = AtomicBool::new(false);
/// Calls of the innocent server before the trouble begins, and at least as many while it lasts: with and without measuring.
const CALM: (usize, usize) = (240, 20);
/// So many of them at a time, where they are measured.
pub(crate) const LANES: usize = 8;
/// What its tool takes, where calls are measured: what a machine does to each call besides is little against it.
pub(crate) const WORK: Duration = Duration::from_millis(20);
/// The time between two calls.
pub(crate) const PACE: Duration = Duration::from_millis(3);
/// A machine that does other things as well is slower by so many times what a calm call takes at worst, its work not counted.
const SLACK: u32 = 40;
/// How long a circuit stays open where it is only of interest whether it opens.
const SHORT: Duration = Duration::from_millis(50);
/// What every caller is promised: an end at its deadline and a second.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// What came of a fault.
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) verdict: Verdict,
    pub(crate) got: String,
    pub(crate) took: Duration,
    pub(crate) late: Duration,
    pub(crate) sends: f64,
    pub(crate) survivors: usize,
    pub(crate) beside: Beside,
}

/// How long calls of the innocent server took, and when.
#[derive(Default, Clone)]
pub(crate) struct Beside {
    /// Before the trouble began.
    pub(crate) calm: Samples,
    /// While it lasted.
    pub(crate) troubled: Samples,
}

/// When a call began, and how long it took.
pub(crate) type Samples = Vec<(Instant, Duration)>;

pub(crate) enum Verdict {
    Passed,
    Failed(String),
    NotCovered(&'static str),
}

impl Verdict {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::NotCovered(_) => "not covered",
        }
    }

    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed => None,
            Self::Failed(reason) => Some(reason),
            Self::NotCovered(reason) => Some(reason),
        }
    }
}

/// What a play has seen.
#[derive(Default)]
pub(crate) struct Measured {
    /// What is wrong.
    pub(crate) problems: Vec<String>,
    /// What the caller got.
    pub(crate) got: String,
    pub(crate) late: Duration,
    /// The most sends of one call that is not known to be safe to repeat.
    pub(crate) sends: f64,
    pub(crate) survivors: usize,
    pub(crate) beside: Beside,
    /// It cannot be played on this machine, for this reason.
    pub(crate) impossible: Option<&'static str>,
}

impl Measured {
    /// Notes a problem where something took too long. On a machine that does other things as well, time says nothing:
    /// it counts where it was asked for.
    pub(crate) fn in_time(&mut self, holds: bool, problem: impl Into<String>) {
        self.expect(holds || !is_measuring(), problem);
    }

    /// Notes a problem where something does not hold.
    pub(crate) fn expect(&mut self, holds: bool, problem: impl Into<String>) {
        if !holds {
            self.problems.push(problem.into());
        }
    }
}

/// Plays one fault.
pub(crate) async fn play(fault: Fault) -> Finding {
    let began = Instant::now();
    let playing: Playing = match fault.play {
        Play::Scene(scene) => Box::pin(async move { scene().play().await }),
        Play::Own(playing) => playing(),
    };
    // On a task of its own: a panic is a finding, too.
    let measured = match tokio::spawn(playing).await {
        Ok(measured) => measured,
        Err(error) => Measured { problems: vec![format!("it panicked: {error}")], ..Measured::default() },
    };
    let verdict = match (measured.impossible, measured.problems.as_slice()) {
        (Some(reason), []) => Verdict::NotCovered(reason),
        (_, []) => Verdict::Passed,
        (_, problems) => Verdict::Failed(problems.join("; ")),
    };
    finding(&fault, verdict, measured, began.elapsed())
}

fn finding(fault: &Fault, verdict: Verdict, measured: Measured, took: Duration) -> Finding {
    let Measured { got, late, sends, survivors, beside, .. } = measured;
    Finding { id: fault.id, what: fault.what, verdict, got, took, late, sends, survivors, beside }
}

/// Who fails.
pub(crate) enum Server {
    /// A child process.
    Child(ServerScript),
    /// Over streamable HTTP, with faults for the next requests of a method.
    Web(ServerScript, McpHttpOptions, Vec<(&'static str, u32, HttpFault)>),
}

/// A call to a server that fails.
pub(crate) struct Scene {
    server: Server,
    tool: &'static str,
    /// What the caller may get: `answered`, `tool_failed`, or the class of an error.
    expect: &'static [&'static str],
    /// The call's own limit, one attempt and in total.
    limit: Duration,
    total: Duration,
    /// By when the caller must have it.
    within: Duration,
    tune: fn(&mut ClientOptions, &mut ServerConfig),
    /// Whose circuit the failure counts for, where that is judged.
    account: Option<Account>,
    /// Calls of the same tool, one after another; the last one is judged.
    calls: usize,
    /// The last one is made when the server has been given up.
    after_all: bool,
    /// Afterwards this tool must answer, on the same server.
    recovers: Option<&'static str>,
    checks: Vec<Check>,
}

/// Whose circuit a failure counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account {
    Server,
    Tool,
    Nobody,
}

type Check = Box<dyn Fn(&Seen, &mut Measured) + Send>;

/// What there is to look at afterwards.
pub(crate) struct Seen {
    pub(crate) journal: Option<Journal>,
    pub(crate) web: Option<McpHttpServer>,
    /// Its folder holds the journal.
    _scripted: Option<ScriptedServer>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) client: MultiMcpClient,
    pub(crate) text: String,
}

impl Seen {
    /// All messages of a method that reached the server.
    pub(crate) fn method(&self, method: &str) -> Vec<Value> {
        match (&self.journal, &self.web) {
            (Some(journal), _) => journal.method(method),
            (_, Some(web)) => web.method(method),
            _ => Vec::new(),
        }
    }
}

impl Scene {
    /// The tool `do` of a child process that misbehaves.
    pub(crate) fn child(script: ServerScript) -> Self {
        Self::new(Server::Child(script))
    }

    /// The same over HTTP.
    pub(crate) fn web(script: ServerScript) -> Self {
        Self::new(Server::Web(script, McpHttpOptions::default(), Vec::new()))
    }

    fn new(server: Server) -> Self {
        Self {
            server,
            tool: "do",
            expect: &["answered"],
            limit: Duration::from_secs(10),
            total: Duration::from_secs(20),
            within: Duration::from_secs(2),
            tune: |_, _| (),
            account: None,
            calls: 1,
            after_all: false,
            recovers: None,
            checks: Vec::new(),
        }
    }

    pub(crate) fn expect(mut self, classes: &'static [&'static str]) -> Self {
        self.expect = classes;
        self
    }

    /// The call's limit; the answer must be there a second later.
    pub(crate) fn limit_ms(mut self, ms: u64) -> Self {
        self.limit = Duration::from_millis(ms);
        self.total = self.limit;
        self.within = self.limit + GRACE;
        self
    }

    /// An attempt's limit that is longer than the total.
    pub(crate) fn total_ms(mut self, ms: u64) -> Self {
        self.total = Duration::from_millis(ms);
        self.limit = self.total * 10;
        self.within = self.total + GRACE;
        self
    }

    pub(crate) fn within_ms(mut self, ms: u64) -> Self {
        self.within = Duration::from_millis(ms);
        self
    }

    pub(crate) fn tune(mut self, tune: fn(&mut ClientOptions, &mut ServerConfig)) -> Self {
        self.tune = tune;
        self
    }

    /// Whose circuit the failure counts for.
    pub(crate) fn account(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    pub(crate) fn calls(mut self, calls: usize) -> Self {
        self.calls = calls;
        self
    }

    /// The call that is judged comes when the server has been given up.
    pub(crate) fn after_all(mut self) -> Self {
        self.after_all = true;
        self
    }

    pub(crate) fn recovers(mut self, tool: &'static str) -> Self {
        self.recovers = Some(tool);
        self
    }

    pub(crate) fn check(mut self, check: impl Fn(&Seen, &mut Measured) + Send + 'static) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// The next so many calls meet this.
    pub(crate) fn fault(mut self, times: u32, fault: HttpFault) -> Self {
        if let Server::Web(_, _, faults) = &mut self.server {
            faults.push(("tools/call", times, fault));
        }
        self
    }

    pub(crate) async fn play(self) -> Measured {
        let mut measured = Measured::default();
        let stage = Stage::set(&self.server);
        let mut options = restarts(50);
        let mut config = stage.config();
        config.call_timeout = self.limit;
        config.total_timeout = self.total;
        (self.tune)(&mut options, &mut config);
        if self.account.is_some() {
            // One failure is enough to show whose it is, and soon over.
            config.breaker.failures_in_a_row = 1;
            config.breaker.connects_in_a_row = 1;
            config.breaker.slow_after = SHORT;
            config.breaker.open_base = SHORT;
            config.breaker.open_cap = SHORT;
        }
        let innocent = innocent();
        let (client, recorder) = start([config, child("innocent", &innocent)], options);
        client.ready(PATIENCE).await;
        let calm = measured.calm(&client).await;
        let slack = calm * SLACK;
        stage.begin(&self.server);

        let tool = format!("mcp__faulty__{}", self.tool);
        for _ in 1..self.calls {
            let _ = client.call(call(&tool, json!({}))).await;
        }
        if self.after_all {
            let given_up =
                |state: &ServerState| matches!(state, ServerState::Unreachable { retry_in: None, .. });
            until(client.client("faulty").unwrap(), given_up).await;
        }
        let began = Instant::now();
        let over = tokio::sync::Notify::new();
        let (result, others_well) = tokio::join!(
            async {
                let result = tokio::time::timeout(PATIENCE, client.call(call(&tool, json!({})))).await;
                let took = began.elapsed();
                over.notify_one();
                (result, took)
            },
            measured.troubled(&client, over.notified()),
        );
        let (result, took) = result;
        measured.late = took.saturating_sub(self.within);
        let (class, text) = match result {
            Ok(result) => named(&result),
            Err(_) => ("never".to_owned(), String::new()),
        };
        measured.expect(
            self.expect.contains(&class.as_str()),
            format!("the caller got {class} ({text:.200}), not {}", self.expect.join(" or ")),
        );
        let within = self.within + slack;
        measured.in_time(took <= within, format!("it took {took:?}, more than {within:?}"));
        measured.expect(others_well, "the other server failed");
        measured.got = class;
        if let Some(account) = self.account {
            measured.judge_account(account, &recorder).await;
        }
        if let Some(tool) = self.recovers {
            let back = tokio::time::timeout(PATIENCE, until_answered(&client, tool)).await;
            measured.expect(back.is_ok(), "it did not come back");
        }
        let seen = match stage {
            Stage::Child(scripted) => Seen {
                journal: Some(scripted.journal()),
                web: None,
                _scripted: Some(scripted),
                recorder,
                client: client.clone(),
                text,
            },
            Stage::Web(web) => {
                let client = client.clone();
                Seen { journal: None, web: Some(web), _scripted: None, recorder, client, text }
            }
        };
        measured.count_sends(&seen, self.tool, self.calls);
        for check in &self.checks {
            check(&seen, &mut measured);
        }
        client.close().await;
        let journals: Vec<Journal> = seen.journal.iter().cloned().chain([innocent.journal()]).collect();
        measured.count_survivors(&journals).await;
        measured
    }
}

impl Measured {
    /// Looks whose circuit noticed. Where that is nobody's, there is nothing to wait for: a later change would be missed.
    pub(crate) async fn judge_account(&mut self, account: Account, recorder: &Recorder) {
        let opened = || -> Vec<String> {
            let circuits = recorder.circuits.lock().unwrap();
            circuits.iter().filter_map(|line| line.strip_suffix(" closed>open")).map(str::to_owned).collect()
        };
        let expected: &[&str] = match account {
            Account::Server => &["faulty"],
            Account::Tool => &["faulty/do"],
            Account::Nobody => &[],
        };
        if account != Account::Nobody {
            massgen_testkit::process::until(PATIENCE, || !opened().is_empty()).await;
        }
        let first: Vec<String> = opened().into_iter().take(1).collect();
        self.expect(first == expected, format!("it was charged to {first:?}, not to {account:?}"));
    }

    /// Calls the innocent server while nothing is wrong; what the slowest answer took besides its work.
    async fn calm(&mut self, client: &MultiMcpClient) -> Duration {
        // The first one pays for what is made once.
        let _ = client.call(call("mcp__innocent__look", json!({}))).await;
        let (samples, _) = neighbour(client, calls(), std::future::ready(())).await;
        self.beside.calm = samples;
        let slowest = self.beside.calm.iter().map(|(_, took)| *took).max().unwrap_or_default();
        slowest.saturating_sub(work())
    }

    /// Calls the innocent server until the trouble is over, and a few times at least. False: it did not answer.
    async fn troubled(&mut self, client: &MultiMcpClient, over: impl Future<Output = ()>) -> bool {
        let (samples, well) = neighbour(client, calls(), over).await;
        self.beside.troubled = samples;
        well
    }

    /// Counts how often a tool that may change something was sent for each call.
    fn count_sends(&mut self, seen: &Seen, tool: &str, calls: usize) {
        let of_tool = |message: &&Value| message["params"]["name"] == tool;
        let listed = seen.recorder.records.lock().unwrap();
        let arrived = seen.method("tools/call").iter().filter(of_tool).count();
        let made = listed
            .iter()
            .filter(|record| record.tool.as_ref().is_some_and(|name| name.as_str() == tool))
            .count();
        drop(listed);
        // `safe` and `look` are the names of tools that only read.
        if !matches!(tool, "safe" | "look") {
            let sends = arrived as f64 / made.max(calls) as f64;
            self.sends = self.sends.max(sends);
            self.expect(sends <= 1.0, format!("{arrived} sends of {made} calls that may change something"));
        }
    }

    pub(crate) async fn count_survivors(&mut self, journals: &[Journal]) {
        for journal in journals {
            if !journal.all_gone(Duration::from_secs(5)).await {
                self.survivors += journal.alive().len();
                self.problems.push(format!("still alive: {:?}", journal.alive()));
            }
        }
    }
}

/// The failing server, running.
enum Stage {
    Child(ScriptedServer),
    Web(McpHttpServer),
}

impl Stage {
    fn set(server: &Server) -> Self {
        match server {
            Server::Child(script) => Self::Child(script.launch()),
            Server::Web(script, options, _) => {
                Self::Web(McpHttpServer::with_options(script.clone(), options.clone()))
            }
        }
    }

    /// The trouble begins.
    fn begin(&self, server: &Server) {
        if let (Self::Web(web), Server::Web(_, _, faults)) = (self, server) {
            for (method, times, fault) in faults {
                web.fail_method(method, *times, fault.clone());
            }
        }
    }

    fn config(&self) -> ServerConfig {
        match self {
            Self::Child(scripted) => child("faulty", scripted),
            Self::Web(web) => remote("faulty", &web.url()),
        }
    }
}

pub(crate) fn remote(server: &str, url: &str) -> ServerConfig {
    let spec = RemoteSpec { url: url.parse().unwrap(), headers: Default::default() };
    ServerConfig::new(name(server), Target::Http(spec))
}

/// A server beside the failing one.
pub(crate) fn innocent() -> ScriptedServer {
    let reply = CallReply::new(Outcome::Echo).delay_ms(work().as_millis() as u64);
    ServerScript::new().tool(ToolScript::new("look").replies(reply).read_only()).launch()
}

fn is_measuring() -> bool {
    MEASURING.load(Ordering::Relaxed)
}

fn calls() -> usize {
    if is_measuring() { CALM.0 } else { CALM.1 }
}

fn work() -> Duration {
    if is_measuring() { WORK } else { Duration::ZERO }
}

/// Calls the innocent server, a few calls at a time, until that is over and so many calls at least; how long they took, and
/// whether all were answered.
pub(crate) async fn neighbour(
    client: &MultiMcpClient,
    least: usize,
    over: impl Future<Output = ()>,
) -> (Samples, bool) {
    let lanes = if is_measuring() { LANES } else { 1 };
    let is_over = Arc::new(AtomicBool::new(false));
    let made = Arc::new(AtomicUsize::new(0));
    let mut running = JoinSet::new();
    for _ in 0..lanes {
        let (client, is_over, made) = (client.clone(), is_over.clone(), made.clone());
        running.spawn(async move {
            let (mut samples, mut well) = (Samples::new(), true);
            while well && !(is_over.load(Ordering::Relaxed) && made.load(Ordering::Relaxed) >= least) {
                let began = Instant::now();
                well = client.call(call("mcp__innocent__look", json!({}))).await.is_ok();
                samples.push((began, began.elapsed()));
                made.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PACE).await;
            }
            (samples, well)
        });
    }
    over.await;
    is_over.store(true, Ordering::Relaxed);
    let (samples, well): (Vec<Samples>, Vec<bool>) = running.join_all().await.into_iter().unzip();
    (samples.concat(), well.into_iter().all(|well| well))
}

/// Asks the innocent server a few times; the slowest answer.
pub(crate) async fn ask_innocent(client: &MultiMcpClient) -> Duration {
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        let began = Instant::now();
        if client.call(call("mcp__innocent__look", json!({}))).await.is_err() {
            return Duration::MAX;
        }
        slowest = slowest.max(began.elapsed());
    }
    slowest
}

/// Calls a tool of the failing server until it answers: each time once the server says that something has changed, or as late
/// as it said.
pub(crate) async fn until_answered(client: &MultiMcpClient, tool: &str) {
    let one = client.client("faulty").unwrap();
    let tool = format!("mcp__faulty__{tool}");
    let mut state = one.state();
    loop {
        let _ = state.wait_for(is_ready).await;
        match client.call(call(&tool, json!({}))).await {
            Ok(_) => return,
            Err(ToolError::Unavailable { retry_at: Some(at), .. }) => {
                tokio::time::sleep_until(at.into()).await;
            }
            Err(_) => {
                let _ = state.changed().await;
            }
        }
    }
}

/// The class of an outcome, and its words.
pub(crate) fn named(result: &Result<ToolOutput, ToolError>) -> (String, String) {
    match result {
        Ok(output) if output.is_error => ("tool_failed".into(), output.to_text()),
        Ok(output) => ("answered".into(), output.to_text()),
        Err(error) => (error.name().to_owned(), error.to_string()),
    }
}
