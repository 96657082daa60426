//! What a client is told about each server, and about all of them.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{LaunchSpec, MissingCredential, RemoteSpec, ServerName, ToolFilter, ToolService};
use mcp_resilience::backoff::Backoff;
use mcp_resilience::breaker::RuleOptions;
use mcp_resilience::bulkhead::BulkheadOptions;
use mcp_resilience::in_flight::InFlightLimit;
use mcp_resilience::retry::RetryOptions;
use mcp_security::sandbox::Sandbox;
use mcp_security::{Redactor, Scopes};
use mcp_transport::{EraPolicy, SessionOptions};

use crate::{Consent, Duplicates, Gate, Ledger, Neighbours, Pins, WallClock, metrics};

/// Where a server is.
#[derive(Clone)]
#[non_exhaustive]
pub enum Target {
    /// A program to start; it speaks over its standard input and output.
    Stdio(LaunchSpec),
    /// An endpoint of streamable HTTP.
    Http(RemoteSpec),
    /// An address of HTTP with a stream of events, the transport of revision 2024-11-05.
    Sse(RemoteSpec),
    /// A service of this process; its tools are offered under this server's name.
    InMemory(Arc<dyn ToolService>),
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdio(spec) => spec.fmt(f),
            Self::Http(spec) | Self::Sse(spec) => spec.fmt(f),
            Self::InMemory(_) => f.write_str("InMemory"),
        }
    }
}

/// One server: where it is, which of its tools are offered, how long things may take.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Its name; part of the names of its tools.
    pub name: ServerName,
    /// Where it is.
    pub target: Target,
    /// Which of its tools are offered. Default: all.
    pub filter: ToolFilter,
    /// How long one attempt of a call may take, counted anew from each progress that the server reports. Default 60 s.
    pub call_timeout: Duration,
    /// How long a call may take, all attempts together. Default 300 s.
    pub total_timeout: Duration,
    /// How long starting it and opening the session may take. Default 60 s; 120 s where a launcher such as npx, uvx or docker
    /// may have to download the server first.
    pub startup_timeout: Duration,
    /// How long an answer over HTTP that has begun may bring nothing before its connection counts as broken. Default: as long as
    /// an attempt may take.
    pub read_timeout: Option<Duration>,
    /// A file of certificates (PEM) of authorities that are trusted for this server, besides the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// Which generation of the protocol to speak. Default: found out.
    pub era: EraPolicy,
    /// When a program is started. It has no effect on servers that are not ours to start.
    pub start: Start,
    /// How long nobody may have called it before its program is ended, to be started again by the next call; its tools stay
    /// listed. Default: it runs for as long as the client does.
    pub idle_timeout: Option<Duration>,
    /// Whether there is no point in going on without it. It changes nothing here; [`crate::ServerStatus`] repeats it.
    pub required: bool,
    /// Tools that do no harm when they run twice, by the operator's word: they may be called again after a failure that
    /// leaves it open whether they ran. Default: none.
    pub retry_safe: Option<ToolFilter>,
    /// Whether the server's hints about its tools are believed: what calls itself read-only or idempotent may then be
    /// called again as well. Default: no.
    pub trust_hints: bool,
    /// How often and when a call is made again.
    pub retry: RetryOptions,
    /// When the circuits of the server and of its tools open. Default: for 5 s at first, 10 s for a remote server.
    pub breaker: RuleOptions,
    /// How many calls run at a time and how many wait. Default: 128 at a time, and 1,024 that wait at most 5 s: a server
    /// that does less at a time queues by itself, and one that does more is not held back. Pings and listings take no
    /// place.
    pub bulkhead: BulkheadOptions,
    /// What becomes of calls that may change something and that another agent has made already. Default: they are made.
    pub duplicates: Duplicates,
    /// What its program may touch. It takes a launcher ([`SessionOptions::launcher`]) that keeps it to that: without one it
    /// is not started. Default: whatever its user may.
    pub sandbox: Option<Sandbox>,
    /// The most processes that its program and all it started may be at a time; one that runs more is ended and not started
    /// again. Default: that of the [`SessionOptions`].
    pub max_processes: Option<usize>,
    /// The folders that it may work in, absolute: a call whose path lies elsewhere is refused. Default: none are declared, and
    /// paths are not judged.
    pub roots: Vec<PathBuf>,
    /// How it may be started or dialled. Default: as it is, and each time as the first time.
    pub consent: Consent,
    /// What was accepted of it: a tool that changed since is held back. Default: nothing was, and nothing is.
    pub pins: Option<Pins>,
    /// A credential that it needs and that cannot be had: it is not started or dialled. Default: none.
    pub missing_credential: Option<MissingCredential>,
}

/// Whether starting it may begin with a download.
fn may_download(target: &Target) -> bool {
    const LAUNCHERS: [&str; 6] = ["npx", "bunx", "uvx", "pipx", "docker", "podman"];
    let Target::Stdio(launch) = target else { return false };
    let program = std::path::Path::new(&launch.program).file_stem();
    LAUNCHERS.iter().any(|launcher| program.is_some_and(|program| program == *launcher))
}

impl ServerConfig {
    /// A server with the default filter and limits; the fields are there to be changed.
    pub fn new(name: ServerName, target: Target) -> Self {
        let near = matches!(target, Target::Stdio(_) | Target::InMemory(_));
        let open_base = Duration::from_secs(if near { 5 } else { 10 });
        let startup = if may_download(&target) { 120 } else { 60 };
        Self {
            name,
            target,
            filter: ToolFilter::default(),
            call_timeout: Duration::from_secs(60),
            total_timeout: Duration::from_secs(300),
            startup_timeout: Duration::from_secs(startup),
            read_timeout: None,
            ca_file: None,
            era: EraPolicy::Auto,
            start: Start::default(),
            idle_timeout: None,
            required: false,
            retry_safe: None,
            trust_hints: false,
            retry: RetryOptions::default(),
            breaker: RuleOptions { open_base, ..RuleOptions::default() },
            bulkhead: BulkheadOptions { in_flight: 128, queue: 1024, ..BulkheadOptions::default() },
            duplicates: Duplicates::default(),
            sandbox: None,
            max_processes: None,
            roots: Vec::new(),
            consent: Consent::default(),
            pins: None,
            missing_credential: None,
        }
    }
}

/// When a server's program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At once; it stays.
    #[default]
    Eager,
    /// At once, to say which tools it has; then it is ended, and started again by the first call.
    Lazy,
}

/// How a server that died is brought back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestartPolicy {
    /// The waits between tries, and how many there are.
    pub backoff: Backoff,
    /// The stretch of time within which tries count together; one that was quiet for this long begins anew.
    pub reset_after: Duration,
}

impl Default for RestartPolicy {
    /// Five tries within 5 minutes, 0.5 s to 30 s apart.
    fn default() -> Self {
        Self {
            backoff: Backoff { max_attempts: Some(5), ..Backoff::default() },
            reset_after: Duration::from_secs(300),
        }
    }
}

impl RestartPolicy {
    /// A server that died stays away.
    pub fn never() -> Self {
        Self { backoff: Backoff { max_attempts: Some(0), ..Backoff::default() }, ..Self::default() }
    }
}

/// What holds for all servers of a client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ClientOptions {
    /// How sessions behave. The limits for starting and for silence, the certificates and the era come from each
    /// [`ServerConfig`] instead.
    pub session: SessionOptions,
    /// How servers that died are brought back.
    pub restart: RestartPolicy,
    /// The least time between two listings of a server that keeps announcing changes. Default 1 s.
    pub relist_interval: Duration,
    /// Where counters, gauges and histograms go; [`metrics::names`] lists them. Default: nowhere.
    pub metrics: Option<Arc<dyn metrics::Observer>>,
    /// Whether the arguments and answers of calls are put into spans, without registered secrets, at most 4 KiB of each. They may
    /// hold anything. Default: no.
    pub content_in_spans: bool,
    /// Secrets that must not come back in errors, states and notices: servers print their keys when they fail.
    pub redactor: Redactor,
    /// Who may call what. Default: everybody everything.
    pub permissions: Gate,
    /// Which secret belongs to which server: it goes to no other.
    pub scopes: Scopes,
    /// The servers that one model may see beside these: those of clients that have the same.
    pub neighbours: Neighbours,
    /// Tells the time of day; when it jumps, each server is asked whether it is there before it is called. Default: the
    /// system's.
    pub wall_clock: WallClock,
    /// Where calls are written down before they are sent. Default: nowhere.
    pub ledger: Option<Ledger>,
    /// How many calls may be in flight over all servers of all clients that have the same: what hangs in some servers leaves
    /// places for the others. Default: no limit but each server's own.
    pub in_flight: Option<InFlightLimit>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            session: SessionOptions::default(),
            restart: RestartPolicy::default(),
            relist_interval: Duration::from_secs(1),
            metrics: None,
            content_in_spans: false,
            redactor: Redactor::default(),
            permissions: Gate::default(),
            scopes: Scopes::default(),
            neighbours: Neighbours::default(),
            wall_clock: WallClock::default(),
            ledger: None,
            in_flight: None,
        }
    }
}
