//! From a configuration to a team that can be asked.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use massgen_backends::HttpClient;
use massgen_config::{AgentConfig, Config};
use massgen_orchestrator::{Agent, Limits, Options};
use mcp_client::{Ask, Ledger, NewTools, Observer, metrics};
use mcp_core::Environment;
use mcp_security::Trust;
use mcp_security::lock::{LaunchPin, Lock};
use mcp_security::permission::Defaults;
use mcp_transport::{Launcher, StderrSink};

use crate::asked::Person;
use crate::error::{AssembleError, Problem};
use crate::measured::measured;
use crate::models;
use crate::servers::Servers;
use crate::team::Team;

/// What a team needs from outside: nothing here is read from the process.
#[derive(Clone, Default)]
pub struct Context {
    /// Where keys are looked up, and what child processes get their few inherited variables from.
    pub environment: Environment,
    /// Where the lines of the servers' standard error go.
    pub stderr: Option<Arc<dyn StderrSink>>,
    /// Texts of scripts (`type: scripted`) by the path that the configuration names; others are read from disk.
    pub scripts: BTreeMap<PathBuf, String>,
    /// Told about every server's state and every call.
    pub observer: Option<Arc<dyn Observer>>,
    /// Where counters, gauges and histograms of models, servers and calls go; `None`: nowhere.
    pub metrics: Option<Arc<dyn metrics::Observer>>,
    /// Where calls are written down before they are sent; `None`: nowhere.
    pub ledger: Option<Ledger>,
    /// Knows which trace a call belongs to: its server is told. `None`: no server is told anything.
    pub trace: Option<Arc<dyn mcp_transport::TraceSource>>,
    /// Whether the arguments and answers of calls are put into spans, without registered secrets.
    pub content_in_spans: bool,
    /// How logins at remote servers are made and kept; `None`: not at all.
    pub oauth: Option<mcp_transport::oauth::OAuthOptions>,
    /// What becomes of agents' calls that no permission rule speaks of; everything is allowed unless said otherwise.
    pub permission_defaults: Defaults,
    /// Asks a person where a rule says so; `None`: such calls are refused.
    pub ask: Option<Arc<dyn Ask>>,
    /// Whom servers' questions are put to; `None`: servers are offered no questions.
    pub person: Option<Arc<dyn Person>>,
    /// What starts the servers' programs; `None`: they are started directly, and outlive this process where it is killed.
    pub launcher: Option<Launcher>,
    /// Who wrote the configuration. One that came with a project can only narrow what is allowed, and its servers are not
    /// started before somebody accepted how.
    pub trust: Trust,
    /// How servers are reached, as somebody accepted it on this computer, by their names in a lock.
    pub launches: BTreeMap<String, LaunchPin>,
    /// What was accepted (`massgen.lock`); `None`: nothing was, and nothing is held back.
    pub lock: Option<AcceptedLock>,
}

/// A lock, and what becomes of servers that it does not know.
#[derive(Debug, Clone)]
pub struct AcceptedLock {
    /// The lock.
    pub lock: Arc<Lock>,
    /// What becomes of the tools of servers of which it has none. Those that are new on a server that it knows are held back.
    pub new_tools: NewTools,
    /// Whether it speaks of tools at all, and not of permissions alone.
    pub pinned: bool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("environment", &self.environment).finish_non_exhaustive()
    }
}

/// Puts a team together and begins to start its servers, all at the same time and in the background.
///
/// Must be called within a tokio runtime.
///
/// # Errors
///
/// [`AssembleError`] with everything that stands in the way of the agents (a missing key, a script that is not there),
/// or else of their servers (a pattern that is not one). A server that does not start is no error here: it costs its own tools only, and the run's events say so.
pub fn assemble(config: &Config, context: Context) -> Result<Team, AssembleError> {
    let client = HttpClient::new(Default::default())
        .map_err(|error| AssembleError::from(Problem { message: error.to_string(), hint: None }))?;
    // Before any server is started: a team that cannot run needs none.
    let mut cast = models::cast(config, &context, &client)?;
    for (_, model) in &mut cast {
        // Before anyone has it, so that what servers ask it is counted too.
        model.backend = measured(model.backend.clone(), context.metrics.clone());
    }
    let models = cast.iter().map(|(agent, model)| (agent.id.clone(), model.backend.clone())).collect();
    let servers = Servers::start_with(config, &context, None, &models)?;
    let mut notes = Vec::new();
    let mut secrets = Vec::new();
    let mut agents = Vec::new();
    for (agent, model) in cast {
        notes.extend(model.notes.into_iter().map(|note| format!("{}: {note}", agent.id)));
        secrets.extend(model.secret);
        let tools = servers.tools_of(agent)?;
        agents.push(with_message(agent, Agent::new(agent.id.clone(), model.backend).with_tools(tools)));
    }
    Ok(Team::new(agents, options(config), servers, notes, secrets))
}

/// What would stand in the way of [`assemble`] on the agents' side, such as keys that are not set. Nothing is started and
/// nothing dialled; empty where nothing does.
pub fn obstacles(config: &Config, context: &Context) -> Vec<Problem> {
    let client = HttpClient::new(Default::default())
        .map_err(|error| Problem { message: error.to_string(), hint: None });
    match client {
        Ok(client) => {
            models::cast(config, context, &client).err().map_or_else(Vec::new, |error| error.problems)
        }
        Err(problem) => vec![problem],
    }
}

fn with_message(config: &AgentConfig, agent: Agent) -> Agent {
    match &config.system_message {
        Some(message) => agent.with_system_message(message),
        None => agent,
    }
}

fn options(config: &Config) -> Options {
    let defaults = Limits::default();
    let set = &config.limits;
    Options {
        limits: Limits {
            total: config.timeouts.orchestrator,
            presentation: set.presentation_timeout.unwrap_or(defaults.presentation),
            round: set.agent_timeout.unwrap_or(defaults.round),
            max_answers_per_agent: set.max_answers_per_agent.unwrap_or(defaults.max_answers_per_agent),
            max_rounds: set.max_rounds.unwrap_or(defaults.max_rounds),
            max_tokens: set.max_tokens.or(defaults.max_tokens),
            max_cost_usd: set.max_cost_usd.or(defaults.max_cost_usd),
            ..defaults
        },
        single_agent_direct: !config.ui.use_orchestrator_for_single_agent,
        ..Options::default()
    }
}
