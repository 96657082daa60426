//! What a session can be told, and what it tells.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{ServerName, ToolSpec};
use url::Url;

use crate::breach::BreachSink;
use crate::host::Host;
use crate::oauth::OAuthOptions;

/// Which generation of the protocol to speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EraPolicy {
    /// Ask by `server/discover` (2026-07-28); where that is not answered well, open with `initialize`.
    #[default]
    Auto,
    /// `initialize` only (2025-11-25 and before).
    Legacy,
    /// `server/discover` only (2026-07-28 and later).
    Modern,
}

/// Receives every line that a child process writes to its standard error.
///
/// It is called from the task that drains the pipe: it must return at once (send to a channel, say) and not block.
pub trait StderrSink: Send + Sync {
    /// One line, without its end; long lines are cut and control characters escaped.
    fn line(&self, server: &ServerName, line: &str);
}

/// A program that starts servers in our stead and stays at the head of their processes, so that nothing of them
/// survives us, whatever ends us.
///
/// It is run as `program args… --parent PID -- COMMAND ARGUMENTS…`, with the server's environment, working folder and
/// standard streams, as the leader of a session. It must run the command as its child and end as the child ends, after
/// everything the child started. SIGTERM it passes on to all of these, on SIGQUIT it kills them, and it ends them when
/// the process PID is gone. `massgen __launch` is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launcher {
    /// The program, by its full path.
    pub program: PathBuf,
    /// Its own arguments. Everybody on the machine can read them: no secret belongs here.
    pub args: Vec<String>,
}

/// The trace that a request belongs to (W3C Trace Context), as it goes into the request's `_meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The `traceparent`: version, trace, span and flags.
    pub parent: String,
    /// The `tracestate`, where there is one.
    pub state: Option<String>,
}

/// Knows the trace of whatever is being done.
pub trait TraceSource: Send + Sync {
    /// The trace of the request that is about to be sent. Asked by the task that sends it; it must return at once.
    fn current(&self) -> Option<TraceContext>;
}

/// The proxies through which remote servers are reached.
///
/// Servers on this computer (`localhost`, `127.0.0.0/8`, `::1`) are always reached directly. Behind a proxy, the address that
/// is dialled in the end is the proxy's choice: the guard is asked about the addresses that a name has here, before the
/// proxy is, and about none where this network cannot resolve it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http:` addresses. It may carry a user name and a password.
    pub http: Option<Url>,
    /// For `https:` addresses; their traffic is encrypted past the proxy.
    pub https: Option<Url>,
    /// What is reached directly: host names (with what is below them), addresses and networks (`10.0.0.0/8`), separated
    /// by commas; `*` for everything.
    pub exempt: String,
}

impl Proxies {
    pub(crate) fn none(&self) -> String {
        format!("localhost,127.0.0.0/8,::1,{}", self.exempt)
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        [&self.http, &self.https].into_iter().flatten().filter_map(Url::host_str).map(str::to_owned).collect()
    }
}

/// Proxies may carry passwords: `Debug` shows their hosts only.
impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxies").field("hosts", &self.hosts()).field("exempt", &self.exempt).finish()
    }
}

/// How a session behaves. Start from [`Default`] and set the public fields.
///
/// ```
/// use std::time::Duration;
/// use mcp_transport::SessionOptions;
///
/// let mut options = SessionOptions::default();
/// options.startup_timeout = Duration::from_secs(90);
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The limit for starting and opening the session together, retries included. Default 30 s.
    pub startup_timeout: Duration,
    /// The limit for one page of the tool list. Default 30 s.
    pub list_timeout: Duration,
    /// How long each polite step of closing a child process may take: end of input, then a request to terminate,
    /// then a kill. Default 2 s.
    pub close_grace: Duration,
    /// Which generation of the protocol to speak. Default [`EraPolicy::Auto`].
    pub era: EraPolicy,
    /// How long `server/discover` may stay unanswered before `initialize` is sent; part of `startup_timeout`. At
    /// most 10 s have effect. Default 5 s.
    pub probe_timeout: Duration,
    /// The largest message accepted from the server, in bytes. Default 16 MiB.
    pub max_message_bytes: usize,
    /// The most processes that a child and all it started may be at a time: one that runs more is ended. They are counted every
    /// 2 s, on Linux. Those that left the process group are counted where there is a launcher. Default 256.
    pub max_processes: usize,
    /// The file `memory.events` (cgroup v2) of the control group that children run in: it says whether one that was killed was
    /// killed because memory was short. Default: this process's own, where it has one.
    pub memory_events: Option<PathBuf>,
    /// Idle HTTP connections kept per session, for 4 s; 0 dials for each request, which helps with servers that answer
    /// slowly on a connection used before. Default 128.
    pub idle_connections: usize,
    /// Which proxies remote servers are reached through. Default: none.
    pub proxies: Proxies,
    /// How long an answer over HTTP that has begun may bring nothing before its connection counts as broken. Default: as long as
    /// the request may take.
    pub read_timeout: Option<Duration>,
    /// A file of certificates (PEM) of authorities that are trusted besides the system's. Default: none.
    pub ca_file: Option<PathBuf>,
    /// The name under which this client introduces itself.
    pub client_name: String,
    /// The version under which this client introduces itself.
    pub client_version: String,
    /// Who answers what the server asks for. Default: nobody; servers are offered nothing.
    pub host: Option<Arc<dyn Host>>,
    /// How logins at a remote server are made and kept; it has no effect where an `Authorization` header is
    /// configured. Default: not at all; a server that wants one is an error.
    pub oauth: Option<OAuthOptions>,
    /// Knows which trace a request of tools belongs to: the server is told. Default: it is told nothing.
    pub trace: Option<Arc<dyn TraceSource>>,
    /// Where the lines of a child's standard error go, besides the tail that errors carry.
    pub stderr: Option<Arc<dyn StderrSink>>,
    /// Who hears of acts against the protocol that look like deceit. Default: nobody.
    pub breaches: Option<Arc<dyn BreachSink>>,
    /// What starts child processes. Default: they are started directly; then those that leave their process group, and
    /// all of them where this process is killed, are nobody's.
    pub launcher: Option<Launcher>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            startup_timeout: Duration::from_secs(30),
            list_timeout: Duration::from_secs(30),
            close_grace: Duration::from_secs(2),
            era: EraPolicy::Auto,
            probe_timeout: Duration::from_secs(5),
            max_message_bytes: 16 * 1024 * 1024,
            max_processes: 256,
            memory_events: None,
            idle_connections: 128,
            proxies: Proxies::default(),
            read_timeout: None,
            ca_file: None,
            client_name: "massgen".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            host: None,
            oauth: None,
            trace: None,
            stderr: None,
            breaches: None,
            launcher: None,
        }
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionOptions")
            .field("startup_timeout", &self.startup_timeout)
            .field("list_timeout", &self.list_timeout)
            .field("close_grace", &self.close_grace)
            .field("era", &self.era)
            .field("probe_timeout", &self.probe_timeout)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}

/// The road to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// A child process.
    Stdio,
    /// Streamable HTTP.
    Http,
    /// A remote server, over HTTP with a stream of events (revision 2024-11-05).
    Sse,
    /// A pipe inside this process.
    Memory,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdio => "stdio",
            Self::Http => "http",
            Self::Sse => "sse",
            Self::Memory => "memory",
        })
    }
}

/// What the server said about itself. It is for people to read; nothing may depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// The server's own name, where it gave one.
    pub name: Option<String>,
    /// Its version, where it gave one.
    pub version: Option<String>,
    /// The protocol revision in use, such as `2025-11-25`.
    pub protocol_version: String,
    /// How the server wants to be used, in its words.
    pub instructions: Option<String>,
    /// The road to it.
    pub transport: TransportKind,
    /// The process id, for a child process.
    pub pid: Option<u32>,
}

/// A server's tools.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ToolList {
    /// The tools, in the server's order.
    pub tools: Vec<ToolSpec>,
    /// The items that are not valid tools.
    pub dropped: Vec<DroppedTool>,
    /// Why the list ends early, where it does: pages, tools or bytes without end, or the same page over and over.
    pub truncated: Option<String>,
}

/// An item of a tool list that is not a valid tool.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DroppedTool {
    /// The name the item gives, or its place in the list, such as `#3`.
    pub name: String,
    /// What is wrong with it.
    pub reason: String,
}

/// How far a running call has come, as the server reports it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Progress {
    /// Grows with each report; without a unit.
    pub progress: f64,
    /// The value of `progress` at the end, where it is known.
    pub total: Option<f64>,
    /// What the server is doing.
    pub message: Option<String>,
}

/// Takes the reports of progress of one call. A channel is one: a report that finds it full is dropped, for the next one
/// says more.
pub trait ProgressSink: std::fmt::Debug + Send + Sync {
    /// Takes a report. Must not block: the session reads on only when it returns.
    fn report(&self, progress: Progress);
}

impl ProgressSink for tokio::sync::mpsc::Sender<Progress> {
    fn report(&self, progress: Progress) {
        let _ = self.try_send(progress);
    }
}

/// Where the progress of one call goes.
pub type ProgressSender = std::sync::Arc<dyn ProgressSink>;
