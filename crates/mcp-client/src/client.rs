//! A client of one server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use mcp_core::{
    CallId, Guard, JsonObject, ServerName, ToolCall, ToolError, ToolName, ToolOutput, ToolSpec, caught,
};
use mcp_security::lock::ServerPins;
use tokio::sync::{oneshot, watch};
use tower::ServiceExt;

use crate::audit::Trail;
use crate::circuit;
use crate::metrics;
use crate::multi::NOT_OFFERED;
use crate::pipeline::{self, Pipeline, Request};
use crate::server::{self, Shared, Task, ToolsHook};
use crate::{ClientOptions, Observer, ServerConfig, ServerState, ServerStatus, Target};

/// What remains of an end after all polite steps of the transport.
const SLACK: Duration = Duration::from_secs(7);

/// A client of one server: it keeps the session, follows changes of the tools, brings the server back when it died,
/// and sends every call down the pipeline. Dropping it ends the session, and a child's whole process tree.
pub struct McpClient {
    shared: Arc<Shared>,
    pipeline: Pipeline,
    /// The server's life, and what runs beside its calls.
    tasks: Mutex<Option<(Task, Task)>>,
}

impl std::fmt::Debug for McpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("McpClient").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl McpClient {
    /// Starts or dials a server and opens a session with it. Must be called on a tokio runtime.
    ///
    /// # Errors
    ///
    /// The [`ToolError`] for which there is no session: refused by the guard, not started, too slow, not MCP.
    pub async fn connect(
        config: ServerConfig,
        guard: Arc<dyn Guard>,
        observer: Arc<dyn Observer>,
        options: ClientOptions,
    ) -> Result<Self, ToolError> {
        let (client, first) = Self::spawn(config, guard, observer, options, Box::new(|_, _| Vec::new()));
        match first.await {
            Ok(Ok(())) => Ok(client),
            Ok(Err(error)) => Err(error),
            // The task can only be gone together with the runtime.
            Err(_) => Err(ToolError::Cancelled),
        }
    }

    /// Begins to connect and returns at once; the receiver hears how the first start ended.
    pub(crate) fn spawn(
        config: ServerConfig,
        guard: Arc<dyn Guard>,
        observer: Arc<dyn Observer>,
        options: ClientOptions,
        hook: ToolsHook,
    ) -> (Self, oneshot::Receiver<Result<(), ToolError>>) {
        let observer = metrics::measured(observer, &options);
        if !matches!(config.target, Target::InMemory(_)) {
            // While the server starts there is time for it.
            static PREPARED: Once = Once::new();
            PREPARED.call_once(|| drop(tokio::task::spawn_blocking(mcp_security::scan::prepare)));
        }
        let shared = Shared::new(config, guard, observer, options, hook);
        let (first, ended) = oneshot::channel();
        let task = Task::spawn(server::run(shared.clone(), first));
        let attendant = Task::spawn(circuit::attend(shared.clone()));
        let pipeline = pipeline::build(&shared);
        (Self { shared, pipeline, tasks: Mutex::new(Some((task, attendant))) }, ended)
    }

    /// The server's name.
    pub fn name(&self) -> &ServerName {
        &self.shared.config.name
    }

    /// The server as it is now.
    pub fn status(&self) -> ServerStatus {
        self.shared.status()
    }

    /// Follows the server's state. [`McpClient::status`] and [`Observer::server_changed`] say the same.
    pub fn state(&self) -> watch::Receiver<ServerState> {
        self.shared.state()
    }

    /// The tools offered now, in the server's order; none while the server is away.
    pub fn tools(&self) -> Vec<Arc<ToolSpec>> {
        let filter = &self.shared.config.filter;
        let tools = self.shared.tools();
        tools.iter().filter(|tool| filter.permits(&tool.server, &tool.name)).cloned().collect()
    }

    /// The tools that the filter lets through and the instructions, word for word as the server listed them last, for
    /// somebody to accept.
    pub fn pins(&self) -> ServerPins {
        self.shared.seen()
    }

    /// Calls a tool by the name that its server gives it.
    ///
    /// # Errors
    ///
    /// Those of [`McpClient::call`].
    pub async fn call_tool(&self, tool: &str, arguments: JsonObject) -> Result<ToolOutput, ToolError> {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let id = CallId::new(format!("call-{}", COUNTER.fetch_add(1, Ordering::Relaxed)));
        self.call(ToolCall::new(id, tool, arguments)).await
    }

    /// Makes a call whose `tool` is the name that the server gives it. Dropping the future cancels the call.
    ///
    /// # Errors
    ///
    /// [`ToolError::UnknownTool`] for a tool that is not offered, [`ToolError::ToolGone`] for one that is not offered any more,
    /// [`ToolError::Unavailable`] while the server is away,
    /// [`ToolError::InvalidArguments`], [`ToolError::Timeout`], and what the transport says. A tool that ran and
    /// failed is an output with `is_error`.
    pub async fn call(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let filter = &self.shared.config.filter;
        let offered = |tool: &&Arc<ToolSpec>| {
            tool.name.as_str() == call.tool && filter.permits(&tool.server, &tool.name)
        };
        let spec = self.shared.tools().iter().find(offered).cloned();
        match spec {
            Some(spec) => self.send(Request::new(call, spec)).await,
            None => Err(self.refuse(call)),
        }
    }

    /// Ends a call of a tool that is not offered, on the record too.
    fn refuse(&self, call: ToolCall) -> ToolError {
        let is_meant = |tool: &ToolName| tool.as_str() == call.tool;
        let listed = self.shared.tools().iter().map(|spec| spec.name.clone()).find(is_meant);
        let is_left_out = listed.is_some();
        let target =
            listed.or_else(|| self.shared.kept_back(is_meant)).map(|tool| (self.name().clone(), tool));
        let trail = Trail::begin(self.shared.observer.clone(), &call, target);
        if let Some(held) = self.shared.held(is_meant) {
            return trail.refuse(held);
        }
        let unknown = || {
            let tools = self.tools();
            let names = tools.iter().map(|tool| tool.name.as_str());
            ToolError::UnknownTool { nearest: nearest(&call.tool, names), name: call.tool.clone() }
        };
        match self.shared.withheld(is_meant).or(is_left_out.then_some(NOT_OFFERED)) {
            Some(rule) => trail.deny(unknown(), rule),
            None if self.shared.offers() => {
                trail.refuse(self.shared.gone(&call.tool).unwrap_or_else(unknown))
            }
            None => trail.refuse(self.unavailable()),
        }
    }

    /// Takes a server out of quarantine ([`crate::Integrity`]): somebody has looked at what it did.
    pub fn approve(&self) {
        self.shared.integrity.approve();
    }

    /// Ends the session: a child gets the end of its input, then a request to terminate, then a kill. Later calls are
    /// answered with [`ToolError::Unavailable`]. Returns when all of it is over, in bounded time.
    pub async fn close(&self) {
        self.shared.stop();
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut task, _attendant)) = tasks {
            task.end(self.shared.close_grace() * 3 + SLACK).await;
        }
    }

    pub(crate) async fn send(&self, request: Request) -> Result<ToolOutput, ToolError> {
        let key = self.shared.repeats.key(&request.call);
        // A fault of ours ends this call, and no agent.
        let result = caught(self.pipeline.clone().oneshot(request)).await;
        match key {
            Some(key) => self.shared.repeats.told(key, result),
            None => result,
        }
    }

    pub(crate) async fn settled(&self) {
        self.shared.settled().await;
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn unavailable(&self) -> ToolError {
        self.shared.unavailable()
    }
}

impl Drop for McpClient {
    fn drop(&mut self) {
        self.shared.forget();
    }
}

fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|known| (strsim::levenshtein(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 3)
        .map(|(_, known)| known.to_owned())
}
