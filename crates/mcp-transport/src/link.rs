//! The open protocol session: rmcp's service, seen as "send this request, get that value".

mod direct;
mod handler;
mod pages;
mod resources;
mod rounds;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::{ServerName, ToolOutput};
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientConfig, ClientRequest, CustomRequest,
    CustomResult, DiscoverRequest, DiscoverRequestParams, Implementation, JsonObject, ListToolsRequest,
    PaginatedRequestParams, PingRequest, ProgressToken, ProtocolVersion, RequestId, ServerNotification,
    ServerPeerInfo, ServerResult, SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, Peer, PeerRequestOptions, RunningService, RunningServiceCancellationToken,
    ServiceError,
};
use rmcp::transport::Transport;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc, watch};

pub(crate) use self::direct::{Reply, Road};
use self::handler::Handler;
pub(crate) use self::pages::{REQUIRED, unvisited};
pub(crate) use self::resources::Watching;
use crate::era::Gate;
use crate::host::{self, Host};
use crate::options::{EraPolicy, ProgressSender, SessionOptions, TraceSource};
use crate::raw::{Ask, ListPage};

/// How often a subscription to changes is renewed after it ended, before it is given up.
const RENEWALS: u32 = 6;
/// News that a watcher may be behind; one that is further behind takes its resource for changed.
const UPDATES: usize = 64;

/// What the server sends unasked, on its way to whoever waits for it.
#[derive(Debug)]
struct Routes {
    tools: watch::Sender<u64>,
    prompts: watch::Sender<u64>,
    resources: watch::Sender<u64>,
    /// Addresses of resources that changed.
    updated: LazyLock<broadcast::Sender<String>>,
    /// Pages that have done what they were for, by id.
    completed: LazyLock<broadcast::Sender<String>>,
    /// How many watch each resource, where the server keeps one subscription for all of them.
    watched: Mutex<HashMap<String, usize>>,
    progress: Mutex<HashMap<ProgressToken, ProgressSender>>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            tools: watch::Sender::default(),
            prompts: watch::Sender::default(),
            resources: watch::Sender::default(),
            // Room for their news is made when there is some, or somebody waits for it.
            updated: LazyLock::new(|| broadcast::Sender::new(UPDATES)),
            completed: LazyLock::new(|| broadcast::Sender::new(UPDATES)),
            watched: Mutex::default(),
            progress: Mutex::default(),
        }
    }
}

impl Routes {
    fn progress(&self) -> std::sync::MutexGuard<'_, HashMap<ProgressToken, ProgressSender>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a notice of a change, and says whether it is one.
    fn note(&self, notice: &ServerNotification) -> bool {
        let counter = match notice {
            ServerNotification::ToolListChangedNotification(_) => &self.tools,
            ServerNotification::PromptListChangedNotification(_) => &self.prompts,
            ServerNotification::ResourceListChangedNotification(_) => &self.resources,
            ServerNotification::ResourceUpdatedNotification(update) => {
                // Nobody may be watching.
                let _ = self.updated.send(update.params.uri.clone());
                return true;
            }
            _ => return false,
        };
        counter.send_modify(|count| *count += 1);
        true
    }

    /// After a gap in which changes were not told, everything may have changed.
    fn all_changed(&self) {
        for counter in [&self.tools, &self.prompts, &self.resources] {
            counter.send_modify(|count| *count += 1);
        }
    }
}

/// What is no longer waited for.
enum Farewell {
    Request(RequestId),
    Task(String),
    Resource(String),
}

/// Why a session did not open.
#[derive(Debug)]
pub(crate) struct OpenError {
    pub(crate) error: ClientInitializeError,
    /// The server was asked by `server/discover` only, and the stream broke: it may be one that dies of the question.
    pub(crate) died_of_probe: bool,
}

/// Ends the protocol session when it is dropped or told to.
pub(crate) struct Stop(Option<RunningServiceCancellationToken>);

impl Stop {
    pub(crate) fn now(&mut self) {
        if let Some(token) = self.0.take() {
            token.cancel();
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.now();
    }
}

/// An open session.
pub(crate) struct Link {
    peer: Peer<RoleClient>,
    server: ServerName,
    host: Option<Arc<dyn Host>>,
    /// Whether the revision in use is one without `initialize`.
    modern: bool,
    /// The short road, where the transport has one.
    road: Option<Road>,
    /// Members of `_meta` that go with each request on it.
    context: String,
    /// The level from which on the server logs, where it is told with each request.
    log_level: Mutex<Option<String>>,
    trace: Option<Arc<dyn TraceSource>>,
    routes: Arc<Routes>,
    cancel: mpsc::UnboundedSender<Farewell>,
    over: watch::Receiver<bool>,
}

/// What the server said when the session opened.
pub(crate) struct Greeting {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) protocol_version: String,
    pub(crate) instructions: Option<String>,
}

impl Link {
    /// Opens a session over a transport. Not bounded in time: the caller is.
    pub(crate) async fn open<T>(
        server: &ServerName,
        transport: T,
        era: EraPolicy,
        options: &SessionOptions,
    ) -> Result<(Self, Greeting, Stop), Box<OpenError>>
    where
        T: Transport<RoleClient> + 'static,
    {
        let modern = vec![ProtocolVersion::LATEST];
        let legacy = ProtocolVersion::LATEST_WITH_INITIALIZE;
        let lifecycle = match era {
            EraPolicy::Auto => {
                ClientLifecycleMode::Auto { preferred_versions: modern, legacy_version: Some(legacy.clone()) }
            }
            EraPolicy::Legacy => ClientLifecycleMode::Initialize,
            EraPolicy::Modern => ClientLifecycleMode::Discover { preferred_versions: modern },
        };
        let me = Implementation::new(&options.client_name, &options.client_version);
        let host = options.host.clone();
        // They are written here as JSON; what rmcp would not understand of them, it would not send.
        let capabilities =
            serde_json::from_value(host::capabilities(host.as_deref(), server)).unwrap_or_default();
        let config = ClientConfig::new(capabilities, me).with_protocol_version(legacy);
        let routes = Arc::new(Routes::default());
        let introduction = config.clone();
        let handler = Handler {
            config,
            server: server.clone(),
            host: host.clone(),
            routes: routes.clone(),
            breaches: options.breaches.clone(),
        };
        let gate = Gate::new(transport, (era == EraPolicy::Auto).then_some(options.probe_timeout));
        let initialize_sent = gate.initialize_sent();

        let running = handler.serve_with_lifecycle(gate, lifecycle).await.map_err(|error| {
            let broke = matches!(
                error,
                ClientInitializeError::ConnectionClosed(_) | ClientInitializeError::TransportError { .. }
            );
            let died_of_probe = broke && era == EraPolicy::Auto && !initialize_sent.load(Ordering::Acquire);
            Box::new(OpenError { error, died_of_probe })
        })?;

        let info = running.peer().peer_info();
        let greeting = greet(info.as_deref());
        let modern = info.as_deref().is_some_and(|info| !info.protocol_version.has_initialize());
        let listens =
            info.as_deref().filter(|_| modern).and_then(wanted).map(|filter| (filter, routes.clone()));
        let peer = running.peer().clone();
        let stop = Stop(Some(running.cancellation_token()));
        let (cancel, cancelled) = mpsc::unbounded_channel();
        let (ended, over) = watch::channel(false);
        tokio::spawn(keep(running, cancelled, listens, ended));
        let server = server.clone();
        let context = match &info {
            Some(info) if modern => direct::context(&introduction, info.protocol_version.clone()),
            _ => String::new(),
        };
        let link = Self {
            peer,
            server,
            host,
            modern,
            road: None,
            context,
            log_level: Mutex::default(),
            trace: options.trace.clone(),
            routes,
            cancel,
            over,
        };
        Ok((link, greeting, stop))
    }

    /// One page of `tools/list`, as the server sent it.
    pub(crate) async fn list(&self, cursor: Option<String>) -> Result<Reply<ListPage>, ServiceError> {
        if let Some(road) = &self.road {
            return self.ask(road, Ask::List { cursor: cursor.as_deref() }, None).await;
        }
        let mut request = ListToolsRequest::default();
        if let Some(cursor) = cursor {
            request.params = Some(PaginatedRequestParams::default().with_cursor(Some(cursor)));
        }
        self.request(ClientRequest::ListToolsRequest(request), None).await.map(Reply::Raw)
    }

    /// `tools/call`, followed to its end; the result as the server sent it.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: &JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Reply<ToolOutput>, ServiceError> {
        let mut first = None;
        if let Some(road) = &self.road {
            match self.call_directly(road, tool, arguments, progress.clone()).await? {
                Reply::Raw(result) if self.modern => first = Some(result),
                reply => return Ok(reply),
            }
        }
        let params = JsonObject::from_iter([
            ("name".to_owned(), Value::String(tool.to_owned())),
            ("arguments".to_owned(), Value::Object(arguments.clone())),
        ]);
        // Boxed, as is all that most calls never come to: a call's future is moved more than once.
        Box::pin(self.follow_from(first, "tools/call", params, progress)).await.map(Reply::Raw)
    }

    /// Asks the server to answer anything at all: `ping`, or `server/discover` where there is no `ping` any more. An
    /// error from the server is an answer.
    pub(crate) async fn ping(&self) -> Result<(), ServiceError> {
        let request = if self.modern {
            // Past rmcp's cache, which would answer in the server's place.
            ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}))
        } else {
            ClientRequest::PingRequest(PingRequest::default())
        };
        match self.request(request, None).await {
            Ok(_) | Err(ServiceError::McpError(_) | ServiceError::UnexpectedResponse) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn request(
        &self,
        request: ClientRequest,
        progress: Option<ProgressSender>,
    ) -> Result<Value, ServiceError> {
        let handle = self.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await?;
        let token = handle.progress_token.clone();
        if let Some(progress) = progress {
            self.routes.progress().insert(token.clone(), progress);
        }
        let mut pending =
            Pending { routes: &self.routes, token, cancel: Some((&self.cancel, handle.id.clone())) };
        let result = handle.await_response().await;
        pending.cancel = None;
        Ok(match result? {
            ServerResult::CustomResult(CustomResult(value)) => value,
            // Over HTTP, rmcp has decoded already; what it did not understand comes undecoded too.
            decoded => serde_json::to_value(decoded).unwrap_or_default(),
        })
    }

    /// Counts the notices that the tools changed.
    pub(crate) fn tools_changed(&self) -> watch::Receiver<u64> {
        self.routes.tools.subscribe()
    }

    /// Counts the notices that the prompts changed.
    pub(crate) fn prompts_changed(&self) -> watch::Receiver<u64> {
        self.routes.prompts.subscribe()
    }

    /// Counts the notices that the list of resources changed.
    pub(crate) fn resources_changed(&self) -> watch::Receiver<u64> {
        self.routes.resources.subscribe()
    }

    /// The tools may have changed without a notice.
    pub(crate) fn note_tools_changed(&self) {
        self.routes.tools.send_modify(|count| *count += 1);
    }

    /// Whether the revision in use is one without `initialize`.
    pub(crate) fn is_modern(&self) -> bool {
        self.modern
    }

    /// Counts how often the server has lost the session and another was opened.
    pub(crate) fn renewals(&self) -> Option<watch::Receiver<u64>> {
        match &self.road {
            Some(Road::Posts(posts)) => Some(posts.renewals()),
            _ => None,
        }
    }

    /// Turns true when the protocol session is over.
    pub(crate) fn over(&self) -> watch::Receiver<bool> {
        self.over.clone()
    }
}

/// A request in flight: when its future is dropped, the server is told.
struct Pending<'a> {
    routes: &'a Routes,
    token: ProgressToken,
    cancel: Option<(&'a mpsc::UnboundedSender<Farewell>, RequestId)>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.routes.progress().remove(&self.token);
        if let Some((cancel, id)) = self.cancel.take() {
            // The keeper sends it; where that is gone, so is the session.
            let _ = cancel.send(Farewell::Request(id));
        }
    }
}

/// Whether this is a revision of the protocol that is spoken here.
pub(crate) fn is_known(revision: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS.iter().any(|known| known.as_str() == revision)
}

/// All revisions that are spoken here, for people.
pub(crate) fn revisions() -> String {
    let known: Vec<_> = ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
    known.join(", ")
}

fn greet(info: Option<&ServerPeerInfo>) -> Greeting {
    let server = info.and_then(|info| info.server_info.as_ref());
    Greeting {
        name: server.map(|server| server.name.clone()).filter(|name| !name.is_empty()),
        version: server.map(|server| server.version.clone()).filter(|version| !version.is_empty()),
        protocol_version: info.map(|info| info.protocol_version.to_string()).unwrap_or_default(),
        instructions: info.and_then(|info| info.instructions.clone()),
    }
}

/// Which changes of what a server has it can tell of.
fn wanted(info: &ServerPeerInfo) -> Option<SubscriptionFilter> {
    let offered = &info.capabilities;
    let mut filter = SubscriptionFilter::builder();
    let mut any = false;
    if offered.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true)) {
        (filter, any) = (filter.tools_list_changed(), true);
    }
    if offered.prompts.as_ref().is_some_and(|prompts| prompts.list_changed == Some(true)) {
        (filter, any) = (filter.prompts_list_changed(), true);
    }
    if offered.resources.as_ref().is_some_and(|resources| resources.list_changed == Some(true)) {
        (filter, any) = (filter.resources_list_changed(), true);
    }
    any.then(|| filter.build())
}

/// Runs beside the session: passes cancellations on, listens for changes, and says when it is over.
async fn keep(
    running: RunningService<RoleClient, Handler>,
    mut cancelled: mpsc::UnboundedReceiver<Farewell>,
    listens: Option<(SubscriptionFilter, Arc<Routes>)>,
    ended: watch::Sender<bool>,
) {
    let peer = running.peer().clone();
    let forward = async {
        while let Some(farewell) = cancelled.recv().await {
            let sent = match farewell {
                Farewell::Request(id) => {
                    let reason = Some("the caller went away".to_owned());
                    let params = CancelledNotificationParam::new(Some(id), reason);
                    peer.send_notification(CancelledNotification::new(params).into()).await
                }
                Farewell::Task(id) => tell(&peer, "tasks/cancel", serde_json::json!({"taskId": id})).await,
                Farewell::Resource(uri) => {
                    tell(&peer, "resources/unsubscribe", serde_json::json!({"uri": uri})).await
                }
            };
            if let Err(error) = sent {
                tracing::debug!(%error, "could not tell the server that a request was cancelled");
            }
        }
        std::future::pending::<()>().await;
    };
    let listen = async {
        if let Some((filter, routes)) = listens {
            listen(&peer, filter, &routes).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        reason = running.waiting() => tracing::debug!(?reason, "the protocol session is over"),
        () = forward => {}
        () = listen => {}
    }
    ended.send_replace(true);
}

/// Sends a request whose answer changes nothing.
async fn tell(peer: &Peer<RoleClient>, method: &'static str, params: Value) -> Result<(), ServiceError> {
    let request = ClientRequest::CustomRequest(CustomRequest::new(method, Some(params)));
    peer.send_request_with_option(request, PeerRequestOptions::no_options()).await.map(drop)
}

/// Revision 2026-07-28 sends changes only to who subscribed to them.
async fn listen(peer: &Peer<RoleClient>, filter: SubscriptionFilter, routes: &Routes) {
    for renewal in 0..RENEWALS {
        match peer.listen(filter.clone()).await {
            Ok(mut subscription) => {
                if renewal > 0 {
                    // What changed in between was not told.
                    routes.all_changed();
                }
                while let Ok(Some(notice)) = subscription.next().await {
                    routes.note(&notice);
                }
            }
            Err(ServiceError::McpError(error)) => {
                tracing::debug!(%error, "the server takes no subscription to changes");
                return;
            }
            Err(error) => tracing::debug!(%error, "the subscription to changes failed"),
        }
        tokio::time::sleep(Duration::from_secs(1 << renewal)).await;
    }
}
