//! The open protocol session: rmcp's service, seen as "send this request, get that value".

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CancelledNotification, CancelledNotificationParam,
    ClientCapabilities, ClientConfig, ClientRequest, CustomResult, DiscoverRequest, DiscoverRequestParams,
    Implementation, JsonObject, ListToolsRequest, PaginatedRequestParams, PingRequest,
    ProgressNotificationParam, ProgressToken, ProtocolVersion, RequestId, ServerPeerInfo, ServerResult,
    SubscriptionFilter,
};
use rmcp::service::{
    ClientInitializeError, NotificationContext, Peer, PeerRequestOptions, RunningService,
    RunningServiceCancellationToken, ServiceError,
};
use rmcp::transport::Transport;
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use crate::era::Gate;
use crate::options::{EraPolicy, Progress, ProgressSender, SessionOptions};

/// How often a subscription to changes is renewed after it ended, before it is given up.
const RENEWALS: u32 = 6;

/// What the server sends unasked, on its way to whoever waits for it.
#[derive(Debug)]
struct Routes {
    changed: watch::Sender<u64>,
    progress: Mutex<HashMap<ProgressToken, ProgressSender>>,
}

impl Routes {
    fn progress(&self) -> std::sync::MutexGuard<'_, HashMap<ProgressToken, ProgressSender>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tools_changed(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

struct Handler {
    config: ClientConfig,
    routes: Arc<Routes>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        let sender = self.routes.progress().get(&params.progress_token).cloned();
        if let Some(sender) = sender {
            let report = Progress { progress: params.progress, total: params.total, message: params.message };
            // A full channel loses this report: the next one says more.
            let _ = sender.try_send(report);
        }
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.routes.tools_changed();
    }
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
    routes: Arc<Routes>,
    cancel: mpsc::UnboundedSender<RequestId>,
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
        let config = ClientConfig::new(ClientCapabilities::default(), me).with_protocol_version(legacy);
        let routes = Arc::new(Routes { changed: watch::Sender::new(0), progress: Mutex::default() });
        let handler = Handler { config, routes: routes.clone() };
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
        let listens = info.is_some_and(|info| {
            !info.protocol_version.has_initialize()
                && info.capabilities.tools.as_ref().is_some_and(|tools| tools.list_changed == Some(true))
        });
        let peer = running.peer().clone();
        let stop = Stop(Some(running.cancellation_token()));
        let (cancel, cancelled) = mpsc::unbounded_channel();
        let (ended, over) = watch::channel(false);
        tokio::spawn(keep(running, cancelled, listens.then(|| routes.clone()), ended));
        Ok((Self { peer, routes, cancel, over }, greeting, stop))
    }

    /// One page of `tools/list`, as the server sent it.
    pub(crate) async fn list(&self, cursor: Option<String>) -> Result<Value, ServiceError> {
        let mut request = ListToolsRequest::default();
        if let Some(cursor) = cursor {
            request.params = Some(PaginatedRequestParams::default().with_cursor(Some(cursor)));
        }
        self.request(ClientRequest::ListToolsRequest(request), None).await
    }

    /// `tools/call`; the result as the server sent it.
    pub(crate) async fn call(
        &self,
        tool: String,
        arguments: JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Value, ServiceError> {
        let params = CallToolRequestParams::new(tool).with_arguments(arguments);
        self.request(ClientRequest::CallToolRequest(CallToolRequest::new(params)), progress).await
    }

    /// Asks the server to answer anything at all: `ping`, or `server/discover` where there is no `ping` any more. An
    /// error from the server is an answer.
    pub(crate) async fn ping(&self) -> Result<(), ServiceError> {
        let modern = self.peer.peer_info().is_some_and(|info| !info.protocol_version.has_initialize());
        let request = if modern {
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
        self.routes.changed.subscribe()
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
    cancel: Option<(&'a mpsc::UnboundedSender<RequestId>, RequestId)>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.routes.progress().remove(&self.token);
        if let Some((cancel, id)) = self.cancel.take() {
            // The keeper sends it; where that is gone, so is the session.
            let _ = cancel.send(id);
        }
    }
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

/// Runs beside the session: passes cancellations on, listens for changes, and says when it is over.
async fn keep(
    running: RunningService<RoleClient, Handler>,
    mut cancelled: mpsc::UnboundedReceiver<RequestId>,
    listens: Option<Arc<Routes>>,
    ended: watch::Sender<bool>,
) {
    let peer = running.peer().clone();
    let forward = async {
        while let Some(id) = cancelled.recv().await {
            let params = CancelledNotificationParam::new(Some(id), Some("the caller went away".to_owned()));
            if let Err(error) = peer.send_notification(CancelledNotification::new(params).into()).await {
                tracing::debug!(%error, "could not tell the server that a request was cancelled");
            }
        }
        std::future::pending::<()>().await;
    };
    let listen = async {
        if let Some(routes) = listens {
            listen(&peer, &routes).await;
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

/// Revision 2026-07-28 sends changes only to who subscribed to them.
async fn listen(peer: &Peer<RoleClient>, routes: &Routes) {
    for renewal in 0..RENEWALS {
        let filter = SubscriptionFilter::builder().tools_list_changed().build();
        match peer.listen(filter).await {
            Ok(mut subscription) => {
                if renewal > 0 {
                    // What changed in between was not told.
                    routes.tools_changed();
                }
                while let Ok(Some(_)) = subscription.next().await {
                    routes.tools_changed();
                }
            }
            Err(ServiceError::McpError(error)) => {
                tracing::debug!(%error, "the server takes no subscription to changes of its tools");
                return;
            }
            Err(error) => tracing::debug!(%error, "the subscription to changes of the tools failed"),
        }
        tokio::time::sleep(Duration::from_secs(1 << renewal)).await;
    }
}
