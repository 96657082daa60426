//! One session with one server, whichever road leads to it.

mod offers;

pub use self::offers::ResourceWatch;

use std::borrow::Borrow;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use mcp_core::{
    Admitted, Guard, JsonObject, LaunchSpec, Phase, RemoteSpec, ServerName, ToolError, ToolName, ToolOutput,
    ToolService,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::convert::{self, Scene};
use crate::decoder::Verdict;
use crate::framing::LineTransport;
use crate::http;
use crate::link::{self, Greeting, Link, OpenError, Stop};
use crate::options::{EraPolicy, PeerInfo, ProgressSender, SessionOptions, ToolList, TransportKind};
use crate::process::{self, Child};
use crate::received::Received;
use crate::serve::{self, ServerInfo};
use crate::sse_legacy::{self, SseTransport};
use crate::stderr::Tail;

/// Pages of a tool list.
const PAGES: usize = 200;
/// Tools of a server, those that are left out counted.
const TOOLS: usize = 10_000;
/// Bytes of a list of tools, all its pages together.
const LIST: usize = 32 * 1024 * 1024;
/// Bytes in flight in each direction of a session in memory.
const PIPE: usize = 64 * 1024;
/// How long a stream may stay open after its process ended: a descendant may hold it.
const LINGER: Duration = Duration::from_millis(250);
/// How long an error waits to learn why the session is over.
const WHY: Duration = Duration::from_secs(2);
/// How long the far end of an HTTP session may take to be told that it is over.
const FAREWELL: Duration = Duration::from_secs(6);

/// An open session with one server. Clones share it; when the last one is dropped the session ends, and with it the
/// server's whole process tree.
#[derive(Clone)]
pub struct Session {
    inner: Arc<Inner>,
}

struct Inner {
    server: ServerName,
    peer: PeerInfo,
    link: Link,
    stop: Arc<Mutex<Stop>>,
    child: Option<Arc<Child>>,
    options: SessionOptions,
    /// Set once, when the session is over, to what is known of the reason at once.
    lost: watch::Receiver<Option<String>>,
    /// Set once, a moment later, to the reason.
    over: watch::Receiver<Option<String>>,
    closing: watch::Sender<bool>,
    received: Received,
    /// The serving half of a session in memory.
    _serving: Option<AbortOnDrop>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        lock(&self.stop).now();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("server", &self.inner.server).field("peer", &self.inner.peer).finish()
    }
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn lock(stop: &Mutex<Stop>) -> std::sync::MutexGuard<'_, Stop> {
    stop.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Starts a server as a child process and opens a session with it over its standard input and output.
    ///
    /// # Errors
    ///
    /// [`ToolError::Spawn`] where the program is missing, [`ToolError::Start`] where it ends too early (with its exit code and
    /// last words),
    /// [`ToolError::Timeout`] where all of it takes longer than `startup_timeout`, [`ToolError::Server`] and
    /// [`ToolError::Malformed`] where it answers the handshake wrongly.
    pub async fn stdio(
        server: ServerName,
        launch: Admitted<LaunchSpec>,
        options: SessionOptions,
    ) -> Result<Self, ToolError> {
        // What a server says that does not come up, such as that it is downloading, is worth telling.
        let said: Mutex<Option<Arc<Tail>>> = Mutex::default();
        let opening = async {
            let mut era = options.era;
            loop {
                let (child, pipes) = process::start(&server, &launch, &options).await?;
                *said.lock().unwrap_or_else(PoisonError::into_inner) = Some(child.shared_tail());
                let received = Received::default();
                let stdout = received.counting(pipes.stdout);
                let transport = LineTransport::new(stdout, pipes.stdin, options.max_message_bytes);
                transport.breaches().report_to(&server, options.breaches.as_ref());
                let (verdict, short) = (transport.verdict(), Some(link::Road::Lines(transport.direct())));
                match Link::open(&server, transport, era, &options).await {
                    Ok(opened) => {
                        let kind = Road::new(TransportKind::Stdio);
                        let road = Road { child: Some(child), verdict, short, received, ..kind };
                        return Ok(Self::assemble(server.clone(), opened, road, options.clone()));
                    }
                    Err(failure) if failure.died_of_probe => {
                        // Servers of an earlier era may die of a question they do not know: ask a new one less.
                        tracing::debug!(%server, "ended when asked by server/discover: starting it again");
                        child.close().await;
                        era = EraPolicy::Legacy;
                    }
                    Err(failure) => return Err(stdio_failure(&server, *failure, &child, &verdict).await),
                }
            }
        };
        let opened = bounded(&server, &options, opening).await;
        if let Err(ToolError::Timeout { .. }) = &opened {
            let said = said.lock().unwrap_or_else(PoisonError::into_inner).take();
            let stderr = said.map(|tail| tail.lines()).unwrap_or_default();
            tracing::warn!(%server, ?stderr, "the server did not come up in time");
        }
        opened
    }

    /// Opens a session with a remote server over streamable HTTP.
    ///
    /// The guard is asked about each address before it is dialled, also for those a name resolves to.
    ///
    /// # Errors
    ///
    /// [`ToolError::Refused`] where the guard says no, [`ToolError::AuthRequired`], [`ToolError::Forbidden`] and
    /// [`ToolError::Http`] by the server's status, [`ToolError::Connection`] where it cannot be reached,
    /// [`ToolError::Timeout`] where all of it takes longer than `startup_timeout`.
    pub async fn http(
        server: ServerName,
        remote: Admitted<RemoteSpec>,
        guard: Arc<dyn Guard>,
        options: SessionOptions,
    ) -> Result<Self, ToolError> {
        let opening = async {
            let endpoint = http::endpoint(&server, &remote, guard, &options).await?;
            let (transport, posts) = http::transport(&server, endpoint, &options);
            match Link::open(&server, transport, options.era, &options).await {
                Ok(opened) => {
                    let posts = posts.speaking(&opened.1.protocol_version, opened.0.is_modern());
                    posts.settled().await;
                    let received = posts.received();
                    let short = Some(link::Road::Posts(Box::new(posts)));
                    let road = Road { short, received, ..Road::new(TransportKind::Http) };
                    Ok(Self::assemble(server.clone(), opened, road, options.clone()))
                }
                Err(failure) => {
                    let scene =
                        Scene { server: &server, phase: Phase::Handshake, reason: None, stderr: Vec::new() };
                    Err(convert::open_error(failure.error, scene).unwrap_or_else(|| {
                        closed_early(&server, "it ended the connection before it answered".to_owned())
                    }))
                }
            }
        };
        bounded(&server, &options, opening).await
    }

    /// Opens a session with a remote server that still speaks HTTP with a stream of events (revision 2024-11-05).
    ///
    /// The guard is asked about each address before it is dialled. Messages are posted to the address that the server
    /// names, which must be of the same origin.
    ///
    /// # Errors
    ///
    /// Those of [`Session::http`], and [`ToolError::Malformed`] where there is no such stream at that address.
    pub async fn sse(
        server: ServerName,
        remote: Admitted<RemoteSpec>,
        guard: Arc<dyn Guard>,
        options: SessionOptions,
    ) -> Result<Self, ToolError> {
        let opening = async {
            let endpoint = http::endpoint(&server, &remote, guard, &options).await?;
            let stream = sse_legacy::open(&server, endpoint, options.max_message_bytes).await?;
            let received = stream.received();
            let transport = SseTransport::new(stream);
            // Whoever speaks this transport speaks a revision with a handshake.
            match Link::open(&server, transport, EraPolicy::Legacy, &options).await {
                Ok(opened) => {
                    let road = Road { received, ..Road::new(TransportKind::Sse) };
                    Ok(Self::assemble(server.clone(), opened, road, options.clone()))
                }
                Err(failure) => {
                    let scene =
                        Scene { server: &server, phase: Phase::Handshake, reason: None, stderr: Vec::new() };
                    Err(convert::open_error(failure.error, scene).unwrap_or_else(|| {
                        closed_early(&server, "it ended the stream before it answered".to_owned())
                    }))
                }
            }
        };
        bounded(&server, &options, opening).await
    }

    /// Serves `service` inside this process and opens a session with it: the same protocol without a process.
    ///
    /// # Errors
    ///
    /// As for [`Session::stdio`].
    pub async fn in_memory(
        service: Arc<dyn ToolService>,
        server: ServerName,
        options: SessionOptions,
    ) -> Result<Self, ToolError> {
        let opening = async {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            let (read, write) = tokio::io::split(theirs);
            let info = ServerInfo::new(server.as_str(), env!("CARGO_PKG_VERSION"));
            let serving = tokio::spawn(async move {
                if let Err(error) = serve::over(service, info, read, write).await {
                    tracing::debug!(%error, "serving in memory ended");
                }
            });
            let serving = AbortOnDrop(serving);
            let (read, write) = tokio::io::split(ours);
            let received = Received::default();
            let transport = LineTransport::new(received.counting(read), write, options.max_message_bytes);
            let (verdict, short) = (transport.verdict(), Some(link::Road::Lines(transport.direct())));
            match Link::open(&server, transport, options.era, &options).await {
                Ok(opened) => {
                    let kind = Road::new(TransportKind::Memory);
                    let road = Road { serving: Some(serving), verdict, short, received, ..kind };
                    Ok(Self::assemble(server.clone(), opened, road, options.clone()))
                }
                Err(failure) => {
                    let scene =
                        Scene { server: &server, phase: Phase::Handshake, reason: None, stderr: Vec::new() };
                    Err(convert::open_error(failure.error, scene)
                        .unwrap_or_else(|| closed_early(&server, "it ended before it answered".to_owned())))
                }
            }
        };
        bounded(&server, &options, opening).await
    }

    fn assemble(
        server: ServerName,
        (link, greeting, stop): (Link, Greeting, Stop),
        road: Road,
        options: SessionOptions,
    ) -> Self {
        let child = road.child.map(Arc::new);
        let link = match road.short {
            Some(short) => link.shortened(short),
            None => link,
        };
        let peer = PeerInfo {
            name: greeting.name,
            version: greeting.version,
            protocol_version: greeting.protocol_version,
            instructions: greeting.instructions,
            transport: road.kind,
            pid: child.as_ref().and_then(|child| child.pid()),
        };
        tracing::debug!(%server, protocol = peer.protocol_version, transport = %peer.transport, "session open");
        let stop = Arc::new(Mutex::new(stop));
        let (told, lost) = watch::channel(None);
        let (ended, over) = watch::channel(None);
        let (closing, asked) = watch::channel(false);
        let watcher = Watcher {
            child: child.as_ref().map(Arc::downgrade),
            exit: child.as_ref().map(|child| child.watch_exit()),
            stop: Arc::downgrade(&stop),
            over: link.over(),
            verdict: road.verdict,
            asked,
        };
        tokio::spawn(watcher.run(told, ended));
        Self {
            inner: Arc::new(Inner {
                server,
                peer,
                link,
                stop,
                child,
                options,
                lost,
                over,
                closing,
                received: road.received,
                _serving: road.serving,
            }),
        }
    }

    /// The server's name in the configuration.
    pub fn server(&self) -> &ServerName {
        &self.inner.server
    }

    /// What the server said about itself.
    pub fn peer(&self) -> &PeerInfo {
        &self.inner.peer
    }

    /// How many bytes the server has sent so far: what its program wrote to its standard output, the bodies of its answers over
    /// HTTP, packed as they came, or its lines in memory.
    pub fn received(&self) -> u64 {
        self.inner.received.total()
    }

    /// Lists the server's tools, all pages: 200 pages, 10,000 tools and 32 MiB at most. Invalid items are left out and named.
    ///
    /// # Errors
    ///
    /// [`ToolError::Timeout`] where a page takes longer than `list_timeout`, [`ToolError::Connection`] where the
    /// session breaks, [`ToolError::Server`] and [`ToolError::Malformed`] by the server's answer.
    pub async fn list_tools(&self) -> Result<ToolList, ToolError> {
        let Inner { server, link, options, .. } = &*self.inner;
        let mut list = ToolList::default();
        let mut seen = HashSet::new();
        let mut cursor = None;
        let mut bytes = 0;
        for _ in 0..PAGES {
            let result = match timeout(options.list_timeout, link.list(cursor)).await {
                Ok(result) => result,
                Err(_) => {
                    return Err(ToolError::Timeout {
                        server: server.clone(),
                        phase: Phase::List,
                        limit: options.list_timeout,
                    });
                }
            };
            let result = match result {
                Ok(result) => result,
                Err(error) => {
                    let scene = self.scene(Phase::List, Lost(convert::is_lost(&error))).await;
                    return Err(convert::request_error(error, scene));
                }
            };
            let mut page = convert::page(server, result, list.tools.len() + list.dropped.len())?;
            page.dropped.extend(link.leave_out(&mut page.tools));
            for dropped in &page.dropped {
                tracing::warn!(%server, tool = dropped.name, reason = dropped.reason, "left out a tool that is not valid");
            }
            list.tools.extend(page.tools);
            list.dropped.extend(page.dropped);
            if list.tools.len() + list.dropped.len() > TOOLS {
                list.truncated = Some(format!("the server has more than {TOOLS} tools"));
                break;
            }
            bytes += page.bytes;
            if bytes > LIST {
                list.truncated = Some(format!("the server's tools take more than {LIST} bytes"));
                break;
            }
            match page.next {
                None => return Ok(list),
                Some(next) if !seen.insert(next.clone()) => {
                    list.truncated = Some("the server's pages repeat".to_owned());
                    break;
                }
                Some(next) => cursor = Some(next),
            }
        }
        let reason = list.truncated.get_or_insert_with(|| format!("the server has more than {PAGES} pages"));
        tracing::debug!(%server, reason, "the list of tools is given up");
        Ok(list)
    }

    /// Asks the server for a sign of life, by whatever its protocol revision has for that: any answer counts, an error
    /// too. No cache answers in its place, and at most `list_timeout` is waited.
    ///
    /// # Errors
    ///
    /// [`ToolError::Timeout`] where no answer comes, [`ToolError::Connection`] where the session is over, and for HTTP
    /// those of [`Session::http`].
    pub async fn ping(&self) -> Result<(), ToolError> {
        let Inner { server, link, options, .. } = &*self.inner;
        let limit = options.list_timeout;
        match timeout(limit, link.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let scene = self.scene(Phase::Ping, Lost(convert::is_lost(&error))).await;
                Err(convert::request_error(error, scene))
            }
            Err(_) => Err(ToolError::Timeout { server: server.clone(), phase: Phase::Ping, limit }),
        }
    }

    /// Calls a tool and waits for its answer, without a limit of its own. Dropping the future tells the server that
    /// the answer is no longer wanted.
    ///
    /// # Errors
    ///
    /// [`ToolError::Connection`] where the session breaks, [`ToolError::Server`] where the server answers with a
    /// protocol error, [`ToolError::Malformed`] where its answer cannot be understood, and for HTTP those of
    /// [`Session::http`]. A tool that ran and failed is an output with `is_error`.
    pub async fn call_tool(
        &self,
        tool: &ToolName,
        arguments: impl Borrow<JsonObject>,
        progress: Option<ProgressSender>,
    ) -> Result<ToolOutput, ToolError> {
        let arguments = arguments.borrow();
        let Inner { server, link, .. } = &*self.inner;
        // Over HTTP, servers of revision 2026-07-28 refuse a call whose headers are not those that the tool's schema wants:
        // nothing was done, and the list says what it wants now.
        let posted = self.inner.peer.transport == TransportKind::Http;
        let mut called = link.call(tool.as_str(), arguments, progress.clone()).await;
        if let Err(error) = &called
            && posted
            && link.is_modern()
            && link.is_header_mismatch(error)
        {
            Box::pin(self.list_tools()).await?;
            link.note_tools_changed();
            called = Box::pin(link.call(tool.as_str(), arguments, progress.clone())).await;
        }
        // Nothing was done: the user must visit a page first. Once, for the visit may have been in vain.
        if let Err(error) = &called
            && link.wants_visits(error)
            && Box::pin(link.visited(error)).await
        {
            called = Box::pin(link.call(tool.as_str(), arguments, progress)).await;
        }
        match called {
            Ok(result) => convert::output(server, result),
            Err(error) => {
                let scene = Box::pin(self.scene(Phase::Call, Lost(convert::is_lost(&error)))).await;
                Err(convert::request_error(error, scene))
            }
        }
    }

    /// Counts the server's notices that its tools changed. On revision 2026-07-28 they are subscribed to.
    pub fn tools_changed(&self) -> watch::Receiver<u64> {
        self.inner.link.tools_changed()
    }

    /// Counts how often the server has lost the session and another was opened in its place, as HTTP has it; `None` for other
    /// transports.
    pub fn renewals(&self) -> Option<watch::Receiver<u64>> {
        self.inner.link.renewals()
    }

    /// Resolves when the session is over, with the reason: closed by us, the process ended, the connection was lost.
    pub async fn closed(&self) -> String {
        reason(self.inner.over.clone()).await
    }

    /// The most processes that a child and all it started were at a time, as far as was seen; `None` for other transports and
    /// where the system does not tell.
    pub fn peak_processes(&self) -> Option<usize> {
        self.inner.child.as_ref().and_then(|child| child.peak_processes())
    }

    /// Whether it was ended because it ran more processes than [`SessionOptions::max_processes`].
    pub fn is_overgrown(&self) -> bool {
        self.inner.child.as_ref().is_some_and(|child| child.is_overgrown())
    }

    /// The last lines (at most 20) of a child's standard error; none for other transports.
    pub fn stderr_tail(&self) -> Vec<String> {
        self.inner.child.as_ref().map(|child| child.tail()).unwrap_or_default()
    }

    /// The resident memory of a child and of what it started, bytes; `None`: there is no child, or nobody says (it takes
    /// Linux). It reads files: not on a runtime.
    pub fn resident_memory(&self) -> Option<u64> {
        self.inner.child.as_ref()?.resident_memory()
    }

    /// Ends the session, and a child's whole process tree: end of its input, then a request to terminate, then a
    /// kill, `close_grace` apart. Returns when all of it is over; calling it again does no harm.
    pub async fn close(&self) {
        let inner = &self.inner;
        inner.closing.send_replace(true);
        lock(&inner.stop).now();
        match &inner.child {
            Some(child) => child.close().await,
            None => {
                let _ = timeout(FAREWELL, self.closed()).await;
            }
        }
    }

    /// What an error is made of: of a session that is over, the reason too.
    async fn scene(&self, phase: Phase, lost: Lost) -> Scene<'_> {
        let mut over = self.inner.link.over();
        let is_over = match (lost, self.inner.peer.transport) {
            (Lost(false), _) => false,
            // A broken stream is one request's; the session may well live on.
            (_, TransportKind::Http) => *over.borrow(),
            // The requests of a session that ends fail a moment before the end itself is known, and the reason.
            _ => timeout(LINGER, turned(&mut over)).await.is_ok(),
        };
        // Whoever waited for an answer does not wait for a process that stopped speaking to end.
        let reason = if is_over { timeout(WHY, reason(self.inner.lost.clone())).await.ok() } else { None };
        Scene { server: &self.inner.server, phase, reason, stderr: self.stderr_tail() }
    }
}

/// What differs between the roads.
struct Road {
    kind: TransportKind,
    child: Option<Child>,
    serving: Option<AbortOnDrop>,
    verdict: Verdict,
    /// The way of requests past rmcp.
    short: Option<link::Road>,
    received: Received,
}

impl Road {
    fn new(kind: TransportKind) -> Self {
        Self {
            kind,
            child: None,
            serving: None,
            verdict: Verdict::default(),
            short: None,
            received: Received::default(),
        }
    }
}

/// Whether a request failed because the session is over.
struct Lost(bool);

/// Runs beside a session: notices its end, whichever side it comes from, and says why.
struct Watcher {
    child: Option<Weak<Child>>,
    exit: Option<watch::Receiver<Option<String>>>,
    stop: Weak<Mutex<Stop>>,
    over: watch::Receiver<bool>,
    verdict: Verdict,
    asked: watch::Receiver<bool>,
}

impl Watcher {
    async fn run(mut self, told: watch::Sender<Option<String>>, ended: watch::Sender<Option<String>>) {
        let exited = async {
            match &mut self.exit {
                // An error means that the supervising task is gone, and so is the child.
                Some(exit) => drop(exit.wait_for(Option::is_some).await),
                None => std::future::pending().await,
            }
        };
        let exited = tokio::select! {
            () = turned(&mut self.over) => false,
            () = exited => true,
        };
        // What the server said last is still to be read; after that nothing more can come from a process that
        // ended, although a descendant may hold the stream open.
        if exited && timeout(LINGER, turned(&mut self.over)).await.is_err() {
            if let Some(stop) = self.stop.upgrade() {
                lock(&stop).now();
            }
            turned(&mut self.over).await;
        }
        let child = self.child.as_ref().and_then(Weak::upgrade);
        if let Some(child) = &child {
            let exit = child.quick_words().await;
            told.send_replace(Some(self.reason(exit)));
        }
        let exit = match &child {
            Some(child) => child.last_words().await,
            None => self.exit.as_ref().and_then(|exit| exit.borrow().clone()),
        };
        let reason = self.reason(exit);
        tracing::debug!(reason, "session over");
        told.send_replace(Some(reason.clone()));
        ended.send_replace(Some(reason));
        if let Some(child) = child {
            // A server that stopped speaking but runs on is of no use to anybody.
            child.close().await;
        }
    }

    /// Why it is over, of a process that ended like this.
    fn reason(&self, exit: Option<String>) -> String {
        if *self.asked.borrow() {
            "the session was closed".to_owned()
        } else if let Some(verdict) = self.verdict.reason() {
            verdict
        } else if let Some(exit) = exit {
            self.verdict.with_partial(exit)
        } else if self.exit.is_some() {
            self.verdict.with_partial("it closed its output".to_owned())
        } else {
            "the connection was lost".to_owned()
        }
    }
}

/// Waits for the reason why a session is over.
async fn reason(mut told: watch::Receiver<Option<String>>) -> String {
    match told.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => "the session was closed".to_owned(),
    }
}

/// Resolves when the value is true, or nobody is left to make it so.
async fn turned(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}

async fn bounded(
    server: &ServerName,
    options: &SessionOptions,
    opening: impl Future<Output = Result<Session, ToolError>>,
) -> Result<Session, ToolError> {
    match timeout(options.startup_timeout, opening).await {
        Ok(opened) => speaks(opened?),
        Err(_) => Err(ToolError::Timeout {
            server: server.clone(),
            phase: Phase::Handshake,
            limit: options.startup_timeout,
        }),
    }
}

/// The session, where both ends mean the same by what they say. Otherwise it ends here.
fn speaks(session: Session) -> Result<Session, ToolError> {
    let theirs = &session.peer().protocol_version;
    if link::is_known(theirs) {
        return Ok(session);
    }
    let (server, theirs) = (session.server().clone(), theirs.chars().take(40).collect());
    Err(ToolError::Version { server, ours: link::revisions(), theirs })
}

fn closed_early(server: &ServerName, reason: String) -> ToolError {
    ToolError::Connection {
        server: server.clone(),
        phase: Phase::Handshake,
        reason,
        stderr: Vec::new(),
        source: None,
    }
}

async fn stdio_failure(
    server: &ServerName,
    failure: OpenError,
    child: &Child,
    verdict: &Verdict,
) -> ToolError {
    let scene = Scene { server, phase: Phase::Handshake, reason: verdict.reason(), stderr: child.tail() };
    if let Some(error) = convert::open_error(failure.error, scene) {
        return error;
    }
    let exit = child.last_words().await;
    let reason = match (verdict.reason(), exit) {
        (Some(verdict), _) => verdict,
        (None, Some(exit)) => format!("{exit} before it answered"),
        (None, None) => "it closed its output before it answered".to_owned(),
    };
    ToolError::Start { server: server.clone(), reason, stderr: child.tail() }
}
