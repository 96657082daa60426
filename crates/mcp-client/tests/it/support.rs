//! Services in memory, and an observer that writes everything down.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use massgen_testkit::{PATIENCE, ScriptedServer};
use mcp_client::{
    AuditRecord, Backoff, CircuitChange, ClientOptions, McpClient, MultiMcpClient, Observer, Outcome,
    RestartPolicy, ServerConfig, ServerState, Target,
};
use mcp_core::{
    BoxFuture, CallId, Catalogue, JsonObject, LaunchSpec, ServerName, ToolCall, ToolError, ToolFilter,
    ToolName, ToolOutput, ToolService, ToolSpec,
};
use mcp_security::{Policy, Rules};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Subscriber};

pub(crate) fn name(name: &str) -> ServerName {
    ServerName::new(name).unwrap()
}

pub(crate) fn object(value: Value) -> JsonObject {
    value.as_object().cloned().unwrap()
}

pub(crate) fn call(tool: &str, arguments: Value) -> ToolCall {
    ToolCall::new(CallId::new("c1"), tool, object(arguments))
}

/// What a tool in memory does.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    Echo,
    Fail,
    Hang,
}

/// A server in memory. It counts calls, and tells when one of them is dropped before its end.
pub(crate) struct Memory {
    catalogue: Arc<Catalogue>,
    does: BTreeMap<String, Does>,
    pub(crate) calls: AtomicUsize,
    pub(crate) begun: Arc<Notify>,
    pub(crate) dropped: Arc<Notify>,
}

impl Memory {
    pub(crate) fn new(tools: &[(&str, Does)]) -> Arc<Self> {
        let server = name("memory");
        let schema = json!({
            "type": "object",
            "properties": {"count": {"type": "integer"}},
            "required": ["count"],
        });
        let spec = |(tool, _): &(&str, Does)| {
            let spec = ToolSpec::new(server.clone(), ToolName::new(tool).unwrap());
            if *tool == "checked" { spec.with_input_schema(schema.clone()) } else { spec }
        };
        let specs: Vec<_> = tools.iter().map(spec).collect();
        let catalogue = Catalogue::build([(server, specs, ToolFilter::default())]).catalogue;
        let does = catalogue.iter().zip(tools).map(|(entry, (_, does))| (entry.exposed.to_string(), *does));
        Arc::new(Self {
            does: does.collect(),
            catalogue: Arc::new(catalogue),
            calls: AtomicUsize::new(0),
            begun: Arc::default(),
            dropped: Arc::default(),
        })
    }
}

impl ToolService for Memory {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        struct Told(Option<Arc<Notify>>);
        impl Drop for Told {
            fn drop(&mut self) {
                if let Some(dropped) = &self.0 {
                    dropped.notify_one();
                }
            }
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.begun.notify_one();
        let told = Told(Some(self.dropped.clone()));
        Box::pin(async move {
            let mut whole = told;
            let result = match self.does[&call.tool] {
                Does::Echo => Ok(ToolOutput::text(Value::Object(call.arguments).to_string())),
                Does::Fail => Ok(ToolOutput::error("it did not work")),
                Does::Hang => std::future::pending().await,
            };
            drop(whole.0.take());
            result
        })
    }
}

/// Writes everything down.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) records: Mutex<Vec<AuditRecord>>,
    pub(crate) states: Mutex<Vec<(String, ServerState)>>,
    pub(crate) notices: Mutex<Vec<String>>,
    /// Changes of circuits, as `server closed>open` or `server/tool closed>open`.
    pub(crate) circuits: Mutex<Vec<String>>,
}

impl Recorder {
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let shown = |record: &AuditRecord| match &record.outcome {
            Outcome::Answered => "answered".to_owned(),
            Outcome::ToolFailed => "tool failed".to_owned(),
            Outcome::Failed { class, .. } => (*class).to_owned(),
            Outcome::Dropped => "dropped".to_owned(),
            other => format!("{other:?}"),
        };
        self.records.lock().unwrap().iter().map(shown).collect()
    }

    /// The states of a server, one word each.
    pub(crate) fn states(&self, server: &str) -> Vec<&'static str> {
        let states = self.states.lock().unwrap();
        let word = |state: &ServerState| match state {
            ServerState::Unreachable { retry_in: Some(_), .. } => "failed",
            ServerState::Unreachable { retry_in: None, .. } => "given up",
            other => other.name(),
        };
        states.iter().filter(|(name, _)| name == server).map(|(_, state)| word(state)).collect()
    }
}

impl Observer for Recorder {
    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        self.states.lock().unwrap().push((server.to_string(), state.clone()));
    }

    fn call_finished(&self, record: &AuditRecord) {
        self.records.lock().unwrap().push(record.clone());
    }

    fn circuit_changed(&self, server: &ServerName, tool: Option<&ToolName>, change: &CircuitChange) {
        let tool = tool.map(|tool| format!("/{tool}")).unwrap_or_default();
        let line = format!("{server}{tool} {}>{}", change.from.name(), change.to.name());
        self.circuits.lock().unwrap().push(line);
    }

    fn notice(&self, _: &ServerName, message: &str) {
        self.notices.lock().unwrap().push(message.to_owned());
    }
}

pub(crate) fn memory(server: &str, service: &Arc<Memory>) -> ServerConfig {
    ServerConfig::new(name(server), Target::InMemory(service.clone()))
}

pub(crate) fn launch(program: &Path, args: &[&str]) -> LaunchSpec {
    LaunchSpec {
        program: program.to_str().unwrap().to_owned(),
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        ..LaunchSpec::default()
    }
}

pub(crate) fn child(server: &str, scripted: &ScriptedServer) -> ServerConfig {
    let args = scripted.args();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    ServerConfig::new(name(server), Target::Stdio(launch(scripted.program(), &args)))
}

/// Restarts that come at once, so many of them.
pub(crate) fn restarts(attempts: u32) -> ClientOptions {
    let backoff = Backoff {
        initial: Duration::from_millis(1),
        cap: Duration::from_millis(20),
        max_attempts: Some(attempts),
        ..Backoff::default()
    };
    let mut options = ClientOptions::default();
    options.restart = RestartPolicy { backoff, ..RestartPolicy::default() };
    options.relist_interval = Duration::from_millis(1);
    options
}

/// The default policy, in which the folder of the tests' own programs is known to be the user's: a clone may lie in a
/// place of everybody's.
pub(crate) fn policy() -> Arc<Policy> {
    let own = massgen_testkit::scripted_server();
    let folder = own.to_str().and_then(mcp_security::command::shared_folder);
    Arc::new(Policy::new(Rules { private_folders: folder.into_iter().collect(), ..Rules::default() }))
}

/// Starts servers with the default policy.
pub(crate) fn start(
    servers: impl IntoIterator<Item = ServerConfig>,
    options: ClientOptions,
) -> (MultiMcpClient, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let client = MultiMcpClient::start(servers, policy(), recorder.clone(), options);
    (client, recorder)
}

/// Waits for a state of a server.
pub(crate) async fn until(client: &McpClient, wanted: impl Fn(&ServerState) -> bool) -> ServerState {
    let mut state = client.state();
    let found = tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await;
    match found {
        Ok(Ok(state)) => state.clone(),
        _ => panic!("the awaited state did not come; it is {:?}", client.status().state),
    }
}

pub(crate) fn is_ready(state: &ServerState) -> bool {
    matches!(state, ServerState::Ready { .. } | ServerState::Degraded { .. })
}

pub(crate) fn is_failed(state: &ServerState) -> bool {
    matches!(state, ServerState::Unreachable { .. } | ServerState::AuthRequired { .. })
}

pub(crate) fn tools(service: &dyn ToolService) -> Vec<String> {
    service.catalogue().iter().map(|entry| entry.exposed.to_string()).collect()
}

/// Has `listener` hear what is said on this thread, until what is returned is dropped.
///
/// While there is one listener in the whole process, the line that speaks for the first time asks only the listener of the thread it
/// runs on, and keeps the answer for all threads: another test that comes first, with nobody listening, would make it silent here. So
/// there is a second one, which wants nothing: with two, all are asked.
pub(crate) fn listen(listener: impl Subscriber + Send + Sync + 'static) -> DefaultGuard {
    static SECOND: OnceLock<Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| Dispatch::new(NoSubscriber::default()));
    tracing::subscriber::set_default(listener)
}
