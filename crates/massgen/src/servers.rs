//! The configuration's servers as running clients: one for the team, one for each agent that has servers of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use massgen_config::{
    AgentConfig, Config, Isolation, McpServerConfig, McpTransport, Secret, SecurityConfig, SecurityLevel,
    Start,
};
use massgen_orchestrator::{Agent, Budget, Emitter};
use mcp_client::{
    ClientOptions, Duplicates, Gate, InFlightLimit, InFlightOptions, McpClient, MultiMcpClient, Observer,
    RuleOptions, ServerConfig, ServerStatus, Target,
};
use mcp_core::{
    AgentId, Catalogue, Environment, LaunchSpec, RemoteSpec, ServerName, ToolCall, ToolError, ToolFilter,
    ToolOutput, ToolService,
};
use mcp_security::lock::ServerPins;
use mcp_security::sandbox::{self, Sandbox};
use mcp_security::{Level, Policy, Rules, Trust, command, env};
use mcp_transport::{Proxies, SessionOptions};

use crate::asked::{Answers, Models, Setting};
use crate::assemble::Context;
use crate::board::{Board, Watch};
use crate::error::{AssembleError, Problem};
use crate::guards::{self, Guards};
use crate::places;
use crate::project;
use crate::proxies;
use crate::tools::{AgentTools, Part, Reader};

/// Calls of tools at a time, over all servers, where the configuration does not say.
const CALLS_IN_FLIGHT: usize = 64;

/// Every server of a configuration, running.
pub struct Servers {
    groups: Vec<Group>,
    board: Arc<Board>,
    gate: Gate,
    observer: Option<Arc<dyn Observer>>,
}

struct Group {
    owner: Owner,
    client: MultiMcpClient,
    /// What its servers are answered when they ask.
    answers: Arc<Answers>,
    /// Servers with an allow-list of their own.
    own_lists: Vec<ServerName>,
    /// The servers' names in a lock.
    lock_keys: BTreeMap<ServerName, String>,
}

/// Whose server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// All agents share it.
    Team,
    /// One agent has it for itself.
    Agent(AgentId),
}

/// How a server is.
#[derive(Debug, Clone)]
pub struct ServerReport {
    /// Whose it is.
    pub owner: Owner,
    /// Its name.
    pub name: ServerName,
    /// The name of its state: `ready`, `unreachable`; see [`mcp_client::ServerState::name`].
    pub state: &'static str,
    /// How many tools it offers now.
    pub tools: usize,
    /// Why its tools cannot be used, with the remedy.
    pub error: Option<String>,
    /// What else its client knows.
    pub status: ServerStatus,
}

impl std::fmt::Debug for Servers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.groups.iter().map(|group| &group.client)).finish()
    }
}

impl Servers {
    /// Begins to start the servers, all at the same time. `only`: just those of this name.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AssembleError`] where the configuration of a server cannot be used, such as an address that is none.
    pub fn start(config: &Config, context: &Context, only: Option<&str>) -> Result<Self, AssembleError> {
        Self::start_with(config, context, only, &Models::default())
    }

    /// As [`Servers::start`], for servers that may ask for a model's words.
    pub(crate) fn start_with(
        config: &Config,
        context: &Context,
        only: Option<&str>,
        models: &Models,
    ) -> Result<Self, AssembleError> {
        let wanted = |server: &&McpServerConfig| only.is_none_or(|name| server.name.as_str() == name);
        let board = Arc::new(Board::default());
        let narrowed;
        let config = match context.trust {
            Trust::User => config,
            Trust::Project => {
                let (config, left_out) = project::narrowed(config);
                for what in left_out {
                    board.notice(format!("the configuration came with this folder; left out: {what}"));
                }
                narrowed = config;
                &narrowed
            }
        };
        let guards = Guards::new(config, context).map_err(|problems| AssembleError { problems })?;
        let (shared, per_agent): (Vec<_>, Vec<_>) = config
            .mcp_servers
            .iter()
            .filter(wanted)
            .partition(|server| server.isolation == Isolation::Shared);
        let mut plans = vec![(Owner::Team, shared, None)];
        for agent in &config.agents {
            let own = agent.backend.mcp_servers.iter().filter(wanted);
            let copies = per_agent
                .iter()
                .copied()
                .filter(|server| !agent.backend.mcp_servers.iter().any(|s| s.name == server.name));
            plans.push((Owner::Agent(agent.id.clone()), copies.chain(own).collect(), Some(agent)));
        }
        let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
        let mut programs = config.mcp_servers.iter().chain(own).filter(wanted);
        if programs.any(|server| matches!(server.transport, McpTransport::Stdio { .. }))
            && let Some(finding) = env::withheld(&context.environment)
        {
            board.notice(format!("{}; {}", finding.reason, finding.hint));
        }
        let mut problems = Vec::new();
        let mut groups = Vec::new();
        let is_remote = |server: &&McpServerConfig| !matches!(server.transport, McpTransport::Stdio { .. });
        let remote = plans.iter().any(|(_, servers, _)| servers.iter().any(is_remote));
        let proxies = match proxies::read(&context.environment) {
            Ok(proxies) => proxies,
            Err(problem) => {
                // Without remote servers, what they would be reached through is nobody's concern.
                problems.extend(remote.then_some(problem));
                Proxies::default()
            }
        };
        let in_flight = InFlightLimit::new(&InFlightOptions {
            places: config.limits.max_calls_in_flight.map_or(CALLS_IN_FLIGHT, |limit| limit as usize),
            ..InFlightOptions::default()
        });
        for (owner, servers, agent) in plans.into_iter().filter(|(_, servers, _)| !servers.is_empty()) {
            let mut policy = Policy::new(Rules::at(Level::default()));
            let mut configs = Vec::new();
            let mut lock_keys = BTreeMap::new();
            for server in &servers {
                let key = guards::lock_key(&owner, agent, &server.name);
                let mut rules = rules(&server.security);
                rules.private_folders = places::private_folders_of(&server.transport);
                rules.inherited = inherited(server, &context.environment);
                rules.trust = context.trust;
                policy = policy.with_server(server.name.clone(), rules);
                match client_config(server, agent, context) {
                    Ok(mut config) => {
                        config.pins = guards::pins(context, &key);
                        config.consent = project::consent(context, &key, server, &guards.redactor);
                        configs.push(config);
                    }
                    Err(problem) => problems.push(problem),
                }
                lock_keys.insert(server.name.clone(), key);
            }
            let setting = Setting { config, models, board: &board, redactor: &guards.redactor };
            let own = agent.filter(|_| owner != Owner::Team);
            let answers = match Answers::new(context.person.clone(), &servers, own, &setting) {
                Ok(answers) => Arc::new(answers),
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let label = match &owner {
                Owner::Agent(id) if config.agents.len() > 1 => Some(id.to_string()),
                _ => None,
            };
            let sandboxes = configs.iter().filter_map(|config: &ServerConfig| {
                config.sandbox.as_ref().map(|sandbox| (config.name.clone(), sandbox.level))
            });
            let watch = Watch {
                board: board.clone(),
                agent: label,
                sandboxes: sandboxes.collect(),
                further: context.observer.clone(),
            };
            if problems.is_empty() {
                let mut options = options(context, &guards, answers.clone(), proxies.clone());
                options.in_flight = Some(in_flight.clone());
                let client = MultiMcpClient::start(configs, Arc::new(policy), Arc::new(watch), options);
                let own_lists =
                    servers.iter().filter(|s| s.allowed_tools.is_some()).map(|s| s.name.clone()).collect();
                groups.push(Group { owner, client, answers, own_lists, lock_keys });
            }
        }
        if problems.is_empty() {
            Ok(Self { groups, board, gate: guards.gate, observer: context.observer.clone() })
        } else {
            Err(AssembleError { problems })
        }
    }

    /// Waits until every server is ready or has failed; each is bounded by its own `startup_timeout`.
    pub async fn settled(&self) {
        for group in &self.groups {
            group.client.ready(Duration::from_secs(3600)).await;
        }
    }

    /// The required servers that are not ready, in words for people; empty: none.
    pub(crate) fn missing(&self) -> String {
        let is_missing = |report: &ServerReport| report.status.required && !report.status.state.is_usable();
        let missing: Vec<_> = self.reports().into_iter().filter(is_missing).collect();
        if missing.is_empty() {
            return String::new();
        }
        let line = |report: &ServerReport| {
            let why = report.error.as_deref().unwrap_or(report.state);
            format!("  {}: {}", report.name, why.lines().next().unwrap_or_default())
        };
        let lines: Vec<_> = missing.iter().map(line).collect();
        format!("the run ends, because servers it requires are missing:\n{}", lines.join("\n"))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// All servers as they are now: the team's first, then each agent's.
    pub fn reports(&self) -> Vec<ServerReport> {
        self.groups
            .iter()
            .flat_map(|group| group.client.servers().into_iter().map(|status| report(&group.owner, status)))
            .collect()
    }

    /// Every server that is ready, as a lock keeps it, by its name in a lock.
    pub fn pins(&self) -> BTreeMap<String, ServerPins> {
        let mut pins = BTreeMap::new();
        for group in &self.groups {
            for (name, key) in &group.lock_keys {
                let Some(client) = group.client.client(name.as_str()) else { continue };
                if client.status().state.is_usable() {
                    pins.entry(key.clone()).or_insert_with(|| client.pins());
                }
            }
        }
        pins
    }

    /// The clients of all servers, the team's first; for what servers have besides tools.
    pub fn clients(&self) -> impl Iterator<Item = &McpClient> {
        self.groups
            .iter()
            .flat_map(|group| group.lock_keys.keys().filter_map(|name| group.client.client(name.as_str())))
    }

    /// Lets calls through, or not.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// All tools of all servers.
    pub fn catalogue(&self) -> Catalogue {
        let catalogues: Vec<_> = self.groups.iter().map(|group| group.client.catalogue()).collect();
        Catalogue::union(catalogues.iter().map(AsRef::as_ref))
    }

    /// Calls a tool of whichever server has it, through the whole pipeline.
    ///
    /// # Errors
    ///
    /// As [`ToolService::call`].
    pub async fn call(&self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let holder =
            self.groups.iter().rev().find(|group| group.client.catalogue().find(&call.tool).is_some());
        if let Some(group) = holder {
            return group.client.call(call).await;
        }
        // Held back, or away with its server: whoever had it says so.
        let mut groups = self.groups.iter().rev();
        let had = groups.find(|group| group.client.target(&call.tool).is_some()).or(self.groups.first());
        match had.map(|group| group.client.refuse(&call)) {
            Some(ToolError::UnknownTool { .. }) | None => {
                Err(ToolError::unknown_tool(call.tool, &self.catalogue()))
            }
            Some(error) => Err(error),
        }
    }

    /// What an agent sees: the team's servers and its own, through its filters. Its own hides a shared one of the same
    /// name.
    pub(crate) fn tools_of(&self, agent: &AgentConfig) -> Result<Arc<dyn ToolService>, AssembleError> {
        let backend = &agent.backend;
        let bad = |error| {
            Problem::new(
                format!("agent {}: allowed_tools or exclude_tools: {error}", agent.id),
                "mend the pattern",
            )
        };
        let filter =
            ToolFilter::new(backend.allowed_tools.as_deref(), &backend.exclude_tools).map_err(bad)?;
        let exclusions = ToolFilter::new(None, &backend.exclude_tools).map_err(bad)?;
        let hidden: Vec<_> = backend.mcp_servers.iter().map(|server| server.name.clone()).collect();
        let mine = |group: &&Group| match &group.owner {
            Owner::Team => true,
            Owner::Agent(id) => *id == agent.id,
        };
        let parts = self.groups.iter().filter(mine).map(|group| Part {
            client: group.client.clone(),
            hidden: if group.owner == Owner::Team { hidden.clone() } else { Vec::new() },
            filter: filter.clone(),
            own_lists: group.own_lists.clone(),
            exclusions: exclusions.clone(),
        });
        let reader = Reader::new(self.gate.clone(), self.board.clone(), self.observer.clone());
        Ok(Arc::new(AgentTools { parts: parts.collect(), reader }))
    }

    /// A run begins: it is told about the servers, and what they have models asked is spent from its budget.
    pub(crate) fn attach(&self, emitter: &Emitter, budget: &Budget, agents: &[Agent]) {
        self.groups.iter().for_each(|group| group.answers.begin_run(budget, agents));
        self.board.attach(emitter);
    }

    /// The run goes on with whatever servers there are.
    pub(crate) fn go_on(&self) {
        self.board.settled();
    }

    pub(crate) fn detach(&self) {
        self.board.detach();
    }

    /// Ends every server, all at once, each within its bound.
    pub async fn close(&self) {
        let closing = self.groups.iter().map(|group| {
            let client = group.client.clone();
            tokio::spawn(async move { client.close().await })
        });
        for closed in closing.collect::<Vec<_>>() {
            if closed.await.is_err() {
                tracing::warn!("a server could not be closed in order; its process is ended by force");
            }
        }
    }
}

fn report(owner: &Owner, status: ServerStatus) -> ServerReport {
    let state = &status.state;
    let reason = state.reason().filter(|_| !state.is_usable());
    let error = reason.map(|reason| match state.hint() {
        Some(hint) => format!("{reason}\n  hint: {hint}"),
        None => reason.to_owned(),
    });
    ServerReport {
        owner: owner.clone(),
        name: status.name.clone(),
        state: state.name(),
        tools: state.tools(),
        error,
        status,
    }
}

fn options(context: &Context, guards: &Guards, answers: Arc<Answers>, proxies: Proxies) -> ClientOptions {
    let mut session = SessionOptions::default();
    session.stderr.clone_from(&context.stderr);
    session.oauth.clone_from(&context.oauth);
    session.launcher.clone_from(&context.launcher);
    session.proxies = proxies;
    session.trace.clone_from(&context.trace);
    session.host = Some(answers);
    let mut options = ClientOptions::default();
    options.session = session;
    options.permissions = guards.gate.clone();
    options.scopes = guards.scopes.clone();
    options.redactor = guards.redactor.clone();
    options.neighbours = guards.neighbours.clone();
    options.ledger.clone_from(&context.ledger);
    options.metrics.clone_from(&context.metrics);
    options.content_in_spans = context.content_in_spans;
    options
}

/// What the policy is told about a server. Nothing said means the policy's own default: the configuration is the user's.
pub(crate) fn rules(security: &SecurityConfig) -> Rules {
    let level = match security.level {
        None => Level::default(),
        Some(SecurityLevel::Strict) => Level::Strict,
        Some(SecurityLevel::Moderate) => Level::Moderate,
        Some(SecurityLevel::Permissive) => Level::Permissive,
    };
    let mut rules = Rules::at(level);
    rules.allow_private_ips |= security.allow_private_ips;
    rules.allow_loopback |= security.allow_localhost;
    if let Some(hosts) = &security.allowed_hostnames {
        rules.allowed_hosts = Some(hosts.iter().cloned().collect());
    }
    if !security.allowed_executables.is_empty() {
        rules.allowed_programs = Some(security.allowed_executables.iter().cloned().collect());
    }
    rules
}

fn client_config(
    server: &McpServerConfig,
    agent: Option<&AgentConfig>,
    context: &Context,
) -> Result<ServerConfig, Problem> {
    let name = &server.name;
    let target = target(server, &context.environment)?;
    let backend = agent.map(|agent| &agent.backend);
    let allowed =
        server.allowed_tools.as_ref().or(backend.and_then(|backend| backend.allowed_tools.as_ref()));
    let excluded: Vec<_> = server
        .exclude_tools
        .iter()
        .chain(backend.into_iter().flat_map(|backend| &backend.exclude_tools))
        .cloned()
        .collect();
    let mut config = ServerConfig::new(name.clone(), target);
    config.filter = ToolFilter::new(allowed.map(Vec::as_slice), &excluded).map_err(|error| {
        Problem::new(format!("server {name}: {error}"), "mend the pattern in allowed_tools or exclude_tools")
    })?;
    if let Some(timeout) = server.timeout {
        config.call_timeout = timeout;
        config.total_timeout = config.total_timeout.max(timeout);
    }
    if let Some(timeout) = server.startup_timeout {
        config.startup_timeout = timeout;
    }
    config.read_timeout = server.http_read_timeout;
    config.ca_file.clone_from(&server.ca_file);
    config.required = server.required;
    config.roots.clone_from(&server.roots);
    config.max_processes = server.max_processes.map(|limit| limit as usize);
    config.sandbox = sandbox(server, &config.target, context)?;
    config.missing_credential.clone_from(&server.missing_credential);
    if !server.retry_safe.is_empty() {
        let safe = ToolFilter::new(Some(&server.retry_safe), &[] as &[String]).map_err(|error| {
            Problem::new(format!("server {name}: {error}"), "mend the pattern in retry_safe")
        })?;
        config.retry_safe = Some(safe);
    }
    config.trust_hints = server.trusted;
    config.duplicates = match server.duplicates {
        massgen_config::Duplicates::Allow => Duplicates::Allow,
        massgen_config::Duplicates::Suppress => Duplicates::Suppress,
    };
    config.idle_timeout = server.idle_timeout;
    config.start = match server.start {
        Start::Eager => mcp_client::Start::Eager,
        Start::Lazy => mcp_client::Start::Lazy,
    };
    if let Some(retries) = server.max_retries {
        config.retry.attempts = retries.saturating_add(1);
    }
    let breaks =
        server.circuit_breaker.unwrap_or(backend.is_none_or(|backend| backend.circuit_breaker_enabled));
    if !breaks {
        config.breaker = RuleOptions::never();
    }
    Ok(config)
}

/// What a server's program has from the user's own environment.
fn inherited(server: &McpServerConfig, environment: &Environment) -> BTreeSet<String> {
    let McpTransport::Stdio { env: declared, .. } = &server.transport else { return BTreeSet::new() };
    let child = env::child_environment(environment, &BTreeMap::new());
    child.into_keys().filter(|name| !declared.contains_key(name)).collect()
}

pub(crate) fn target(server: &McpServerConfig, environment: &Environment) -> Result<Target, Problem> {
    let name = &server.name;
    match &server.transport {
        McpTransport::Stdio { command, args, env: declared, cwd } => {
            let (program, mut all) = split(name, command)?;
            all.extend(args.iter().cloned());
            let declared: BTreeMap<_, _> =
                declared.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect();
            let env = env::child_environment(environment, &declared);
            Ok(Target::Stdio(LaunchSpec { program, args: all, env, cwd: cwd.clone() }))
        }
        McpTransport::StreamableHttp { url, headers } => Ok(Target::Http(remote(name, url, headers)?)),
        McpTransport::Sse { url, headers } => Ok(Target::Sse(remote(name, url, headers)?)),
    }
}

/// What the server's program may touch, where the configuration says so.
fn sandbox(server: &McpServerConfig, target: &Target, context: &Context) -> Result<Option<Sandbox>, Problem> {
    let (Some(level), Target::Stdio(spec)) = (server.sandbox, target) else { return Ok(None) };
    let level = match level {
        massgen_config::Sandbox::Restrict => sandbox::Level::Restrict,
        massgen_config::Sandbox::Strict => sandbox::Level::Strict,
    };
    if context.launcher.is_none() {
        return Err(Problem::new(
            format!("server {}: sandbox: {level} takes the command massgen on Linux", server.name),
            "set sandbox: off, or run the server in a container",
        ));
    }
    let mut sandbox = Sandbox::plan(level, spec, &server.roots);
    sandbox.ports.clone_from(&server.sandbox_ports);
    Ok(Some(sandbox))
}

fn remote(name: &ServerName, url: &str, headers: &BTreeMap<String, Secret>) -> Result<RemoteSpec, Problem> {
    let url = url::Url::parse(url).map_err(|error| {
        Problem::new(
            format!("server {name}: {url:?} is not an address: {error}"),
            "write it as https://host/path",
        )
    })?;
    let headers = headers.iter().map(|(key, value)| (key.clone(), value.expose().to_owned())).collect();
    Ok(RemoteSpec { url, headers })
}

/// A command of several words, as old configurations have it, is split into program and arguments; no shell does it.
pub(crate) fn split(name: &ServerName, line: &str) -> Result<(String, Vec<String>), Problem> {
    if !line.contains(char::is_whitespace) || std::path::Path::new(line).is_file() {
        return Ok((line.to_owned(), Vec::new()));
    }
    let words = command::split(line).map_err(|refusal| Problem {
        message: format!("server {name}: {}", refusal.reason),
        hint: Some(refusal.hint),
    })?;
    let mut words = words.into_iter();
    match words.next() {
        Some(program) => Ok((program, words.collect())),
        None => Err(Problem::new(format!("server {name}: the command is empty"), "name a program")),
    }
}
