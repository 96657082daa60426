//! A client of many servers, which is one service of all their tools.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use mcp_core::{
    BoxFuture, Catalogue, ExposedName, Guard, ServerName, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use mcp_security::Finding;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::audit::Trail;
use crate::judged::Subject;
use crate::neighbours::Seat;
use crate::pipeline::Request;
use crate::server::Tools;
use crate::{ClientOptions, McpClient, Observer, ServerConfig, ServerStatus};

/// A client of many servers. All are started at the same time; one that is slow joins later, one that fails costs only
/// its own tools. Tools are called by the names of its [`Catalogue`] (`mcp__server__tool`).
///
/// Clones share it; when the last one is dropped, and the last [`ToolService`] made by [`MultiMcpClient::scoped`],
/// everything ends: sessions, processes, tasks.
#[derive(Clone)]
pub struct MultiMcpClient {
    fleet: Arc<Fleet>,
}

struct Fleet {
    clients: BTreeMap<ServerName, McpClient>,
    /// The names in the order of the configuration.
    order: Vec<ServerName>,
    table: Arc<Table>,
    observer: Arc<dyn Observer>,
}

/// All tools. They are put together when somebody asks, and not for each server that joins.
struct Table {
    parts: Mutex<Vec<Part>>,
    /// Among the other servers of a team.
    seat: Seat,
    /// With the version of what is withheld for its neighbours' sake; `None`: those of a server changed.
    catalogue: RwLock<Option<(u64, Arc<Catalogue>)>>,
    /// Every name that was ever offered: a call to a tool that is away gets a better answer than "unknown".
    known: Mutex<HashMap<ExposedName, (ServerName, ToolName)>>,
    changes: watch::Sender<u64>,
}

struct Part {
    server: ServerName,
    filter: ToolFilter,
    tools: Tools,
}

impl Part {
    fn merged(&self, withheld: &BTreeSet<ToolName>) -> (ServerName, Vec<Arc<ToolSpec>>, ToolFilter) {
        let tools = if withheld.is_empty() {
            self.tools.to_vec()
        } else {
            self.tools.iter().filter(|tool| !withheld.contains(&tool.name)).cloned().collect()
        };
        (self.server.clone(), tools, self.filter.clone())
    }

    /// Those that the filter lets through.
    fn offered(&self) -> Tools {
        self.tools.iter().filter(|tool| self.filter.permits(&tool.server, &tool.name)).cloned().collect()
    }
}

impl Table {
    fn new(parts: Vec<Part>, seat: Seat) -> Self {
        Self {
            parts: Mutex::new(parts),
            seat,
            catalogue: RwLock::default(),
            known: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Takes a server's tools and tells what is worth telling about them; `observer` hears what they say of other servers'
    /// and others of them.
    fn replace(&self, server: &ServerName, tools: &Tools, observer: &dyn Observer) -> Vec<String> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = parts.iter_mut().find(|part| part.server == *server) else { return Vec::new() };
        part.tools = tools.clone();
        let news = self.seat.joins(server, &part.offered());
        // What is withheld is known as well: a call of it gets a better answer than "unknown".
        let own = Catalogue::build([part.merged(&BTreeSet::new())]);
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for entry in &own.catalogue {
                if !known.contains_key(&entry.exposed) {
                    known.insert(entry.exposed.clone(), (server.clone(), entry.spec.name.clone()));
                }
            }
        }
        // Still under the lock of the parts, so that no older catalogue is put in its place.
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = None;
        drop(parts);
        self.changes.send_modify(|count| *count += 1);
        for (server, judgement) in news {
            observer.judged(&server, &judgement);
            let Subject::Tool(tool) = &judgement.subject else { continue };
            let becomes = if judgement.withheld { "is held back" } else { "is doubtful" };
            let Finding { rule, reason, hint } = &judgement.finding;
            observer.notice(&server, &format!("its tool {tool:?} {becomes} ({rule}): {reason}; {hint}"));
        }
        own.notices.iter().map(ToString::to_string).collect()
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        // Before it is looked at what is withheld, so that nothing which is withheld later passes for this version.
        let version = self.seat.version();
        if let Some((of, catalogue)) = &*self.catalogue.read().unwrap_or_else(PoisonError::into_inner)
            && *of == version
        {
            return catalogue.clone();
        }
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let merged = parts.iter().map(|part| part.merged(&self.seat.withheld(&part.server)));
        let catalogue = Arc::new(Catalogue::build(merged).catalogue);
        *self.catalogue.write().unwrap_or_else(PoisonError::into_inner) = Some((version, catalogue.clone()));
        catalogue
    }

    /// The tool of this name that the filter of its server leaves out.
    fn left_out(&self, exposed: &str) -> Option<(ServerName, ToolName)> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().find_map(|part| {
            let is_named = is_named(&part.server, exposed);
            let is_left_out = |tool: &ToolName| is_named(tool) && !part.filter.permits(&part.server, tool);
            let tool = part.tools.iter().find(|tool| is_left_out(&tool.name))?;
            Some((part.server.clone(), tool.name.clone()))
        })
    }

    fn known(&self, exposed: &str) -> Option<(ServerName, ToolName)> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(exposed).cloned()
    }
}

impl std::fmt::Debug for MultiMcpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MultiMcpClient").field("servers", &self.servers()).finish()
    }
}

impl MultiMcpClient {
    /// Begins to start all servers and returns at once. Must be called on a tokio runtime.
    ///
    /// Of two servers with one name the first is used; the second is reported as a notice.
    pub fn start(
        servers: impl IntoIterator<Item = ServerConfig>,
        guard: Arc<dyn Guard>,
        observer: Arc<dyn Observer>,
        options: ClientOptions,
    ) -> Self {
        let mut configs: Vec<ServerConfig> = Vec::new();
        for config in servers {
            if configs.iter().any(|known| known.name == config.name) {
                tracing::warn!(server = %config.name, "named twice; the first is used");
                observer.notice(&config.name, "the configuration names this server twice; the first is used");
            } else {
                configs.push(config);
            }
        }
        let part = |config: &ServerConfig| Part {
            server: config.name.clone(),
            filter: config.filter.clone(),
            tools: Arc::default(),
        };
        let parts = configs.iter().map(part).collect();
        let table = Arc::new(Table::new(parts, options.neighbours.seat()));
        let order = configs.iter().map(|config| config.name.clone()).collect();
        let clients = configs.into_iter().map(|config| {
            let table = table.clone();
            let told = observer.clone();
            let hook = Box::new(move |server: &ServerName, tools: &Tools| {
                table.replace(server, tools, told.as_ref())
            });
            let name = config.name.clone();
            let (client, _) =
                McpClient::spawn(config, guard.clone(), observer.clone(), options.clone(), hook);
            (name, client)
        });
        let clients = clients.collect();
        Self { fleet: Arc::new(Fleet { clients, order, table, observer }) }
    }

    /// Waits until the first start of every server has ended, well or not, but at most `wait`; then says how they all
    /// are. A server that is still starting joins later.
    pub async fn ready(&self, wait: Duration) -> Vec<ServerStatus> {
        let all = async {
            // One after the other is as good as all at once: each only reports what happens elsewhere.
            for client in self.fleet.clients.values() {
                client.settled().await;
            }
        };
        let _ = timeout(wait, all).await;
        self.servers()
    }

    /// All servers as they are now, in the order of the configuration.
    pub fn servers(&self) -> Vec<ServerStatus> {
        self.fleet.order.iter().filter_map(|name| self.client(name.as_str())).map(McpClient::status).collect()
    }

    /// The client of one server.
    pub fn client(&self, server: &str) -> Option<&McpClient> {
        self.fleet.clients.get(server)
    }

    /// Counts the changes of the catalogue.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.fleet.table.changes.subscribe()
    }

    /// The same service restricted to some servers and tools, for one agent. `servers: None` means all of them.
    pub fn scoped(&self, servers: Option<BTreeSet<ServerName>>, filter: ToolFilter) -> Arc<dyn ToolService> {
        Arc::new(Scoped { client: self.clone(), servers, filter, cached: Mutex::default() })
    }

    /// Ends all sessions at the same time. Later calls are answered with [`ToolError::Unavailable`].
    pub async fn close(&self) {
        let mut closing = tokio::task::JoinSet::new();
        for name in &self.fleet.order {
            let (name, fleet) = (name.clone(), self.fleet.clone());
            closing.spawn(async move {
                if let Some(client) = fleet.clients.get(&name) {
                    client.close().await;
                }
            });
        }
        while closing.join_next().await.is_some() {}
    }

    /// The tool that a server has, or had, under this name, offered now or not.
    pub fn target(&self, exposed: &str) -> Option<(ServerName, ToolName)> {
        let table = &self.fleet.table;
        let held = || {
            self.fleet.clients.iter().find_map(|(server, client)| {
                let tool = client.shared().kept_back(is_named(server, exposed))?;
                Some((server.clone(), tool))
            })
        };
        table.known(exposed).or_else(held).or_else(|| table.left_out(exposed))
    }

    /// Ends a call of a tool that is not offered: says why, to whoever calls and on the record.
    pub fn refuse(&self, call: &ToolCall) -> ToolError {
        let (table, clients) = (&self.fleet.table, &self.fleet.clients);
        let target = self.target(&call.tool);
        let trail = Trail::begin(self.fleet.observer.clone(), call, target.clone());
        let held =
            clients.iter().find_map(|(server, client)| client.shared().held(is_named(server, &call.tool)));
        if let Some(error) = held.or_else(|| table.seat.refused(&call.tool)) {
            return trail.refuse(error);
        }
        let unknown = || ToolError::unknown_tool(call.tool.clone(), &table.catalogue());
        let withheld = clients
            .iter()
            .find_map(|(server, client)| client.shared().withheld(is_named(server, &call.tool)));
        // Not a word of what is withheld goes to a model.
        if let Some(rule) = withheld.or_else(|| table.left_out(&call.tool).map(|_| NOT_OFFERED)) {
            return trail.deny(unknown(), rule);
        }
        // Away with its server, or gone for good?
        let Some((client, tool)) =
            target.and_then(|(server, tool)| Some((self.client(server.as_str())?, tool)))
        else {
            return trail.refuse(unknown());
        };
        if !client.shared().offers() {
            return trail.refuse(client.unavailable());
        }
        trail.refuse(client.shared().gone(tool.as_str()).unwrap_or_else(unknown))
    }

    /// Puts on record that a call ended before it came here, because its tool is not offered to whoever called.
    pub fn deny(&self, call: &ToolCall, error: ToolError) -> ToolError {
        Trail::begin(self.fleet.observer.clone(), call, self.target(&call.tool)).deny(error, NOT_OFFERED)
    }
}

/// By which rule a call ends whose tool a filter leaves out.
pub(crate) const NOT_OFFERED: &str = "not-offered";

/// Whether a tool of this server has this name for those who call.
fn is_named<'a>(server: &'a ServerName, exposed: &'a str) -> impl Fn(&ToolName) -> bool + 'a {
    move |tool| ExposedName::for_tool(server, tool).as_str() == exposed
}

impl ToolService for MultiMcpClient {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.fleet.table.catalogue()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let catalogue = self.catalogue();
            let Some(entry) = catalogue.find(&call.tool) else { return Err(self.refuse(&call)) };
            let Some(client) = self.client(entry.spec.server.as_str()) else {
                let error = ToolError::Internal(format!("server {} has no client", entry.spec.server));
                return Err(Trail::begin(self.fleet.observer.clone(), &call, None).refuse(error));
            };
            client.send(Request::new(call, entry.spec.clone())).await
        })
    }
}

/// Some tools of a client.
struct Scoped {
    client: MultiMcpClient,
    servers: Option<BTreeSet<ServerName>>,
    filter: ToolFilter,
    /// The catalogue of the client, and what this scope makes of it.
    cached: Mutex<Option<(Arc<Catalogue>, Arc<Catalogue>)>>,
}

impl Scoped {
    fn permits(&self, server: &ServerName, tool: &ToolName) -> bool {
        self.servers.as_ref().is_none_or(|servers| servers.contains(server))
            && self.filter.permits(server, tool)
    }
}

impl ToolService for Scoped {
    fn catalogue(&self) -> Arc<Catalogue> {
        let whole = self.client.catalogue();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, scoped)) = &*cached
            && Arc::ptr_eq(of, &whole)
        {
            return scoped.clone();
        }
        let scoped = Arc::new(whole.filtered(|entry| self.permits(&entry.spec.server, &entry.spec.name)));
        *cached = Some((whole, scoped.clone()));
        scoped
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        // By the table of all names: a tool that is away now is still this agent's, or still is not.
        match self.client.target(&call.tool) {
            Some((server, tool)) if self.permits(&server, &tool) => self.client.call(call),
            _ => Box::pin(async move {
                let error = ToolError::unknown_tool(call.tool.clone(), &self.catalogue());
                Err(self.client.deny(&call, error))
            }),
        }
    }
}
