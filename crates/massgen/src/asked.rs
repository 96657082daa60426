//! What servers ask of a team: input from a person, a model's words, the folders they may work in.

mod sampling;

use std::collections::BTreeMap;
use std::sync::Arc;

use massgen_backends::Backend;
use massgen_config::{AgentConfig, Config, McpServerConfig};
use massgen_orchestrator::{Agent, Budget};
use mcp_core::{AgentId, BoxFuture, ServerName};
use mcp_security::Redactor;
use mcp_transport::host::{
    Abilities, Elicitation, ElicitationReply, Host, LogMessage, Root, SamplingRefusal, SamplingReply,
    SamplingRequest,
};
use url::Url;

use self::sampling::Sampler;
use crate::board::Board;
use crate::error::Problem;

/// A person whom servers' questions are put to. Whoever has a terminal implements this.
///
/// A future that is dropped takes its question back.
pub trait Person: Send + Sync {
    /// The server wants input. Where nobody is there: [`ElicitationReply::Decline`].
    fn elicit<'a>(&'a self, server: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply>;

    /// The server wants a model of the team to continue a conversation, at the user's cost. Where nobody is there: false.
    fn agree<'a>(&'a self, question: SamplingQuestion<'a>) -> BoxFuture<'a, bool>;
}

/// A request for a model's words that waits for somebody's consent: exactly what would be sent. Its texts are a server's,
/// so show them with control characters escaped.
#[derive(Debug)]
#[non_exhaustive]
pub struct SamplingQuestion<'a> {
    /// The server.
    pub server: &'a ServerName,
    /// The agent whose model would answer.
    pub agent: &'a AgentId,
    /// The model.
    pub model: &'a str,
    /// What it would be told.
    pub request: &'a SamplingRequest,
    /// The most tokens that the answer would have.
    pub max_tokens: u64,
}

/// The agents' models, by agent.
pub(crate) type Models = BTreeMap<AgentId, Arc<dyn Backend>>;

/// Answers the servers of one owner.
pub(crate) struct Answers {
    person: Option<Arc<dyn Person>>,
    servers: BTreeMap<ServerName, Server>,
}

struct Server {
    sampler: Option<Sampler>,
    roots: Vec<Root>,
}

/// What all servers' answers need.
pub(crate) struct Setting<'a> {
    pub(crate) config: &'a Config,
    pub(crate) models: &'a Models,
    pub(crate) board: &'a Arc<Board>,
    pub(crate) redactor: &'a Redactor,
}

impl Answers {
    /// Answers for these servers. `owner`: the agent that has them for itself.
    pub(crate) fn new(
        person: Option<Arc<dyn Person>>,
        servers: &[&McpServerConfig],
        owner: Option<&AgentConfig>,
        setting: &Setting<'_>,
    ) -> Result<Self, Problem> {
        let server = |config: &&McpServerConfig| {
            let roots = config.roots.iter().map(|path| root(&config.name, path)).collect::<Result<_, _>>()?;
            let sampler = sampler(config, owner, setting, person.clone())?;
            Ok((config.name.clone(), Server { sampler, roots }))
        };
        let servers = servers.iter().map(server).collect::<Result<_, Problem>>()?;
        Ok(Self { person, servers })
    }

    /// A new run has its budgets whole.
    pub(crate) fn begin_run(&self, budget: &Budget, agents: &[Agent]) {
        for sampler in self.servers.values().filter_map(|server| server.sampler.as_ref()) {
            sampler.begin_run(budget, agents);
        }
    }
}

/// The model that answers a server; `None`: none does.
fn sampler(
    server: &McpServerConfig,
    owner: Option<&AgentConfig>,
    setting: &Setting<'_>,
    person: Option<Arc<dyn Person>>,
) -> Result<Option<Sampler>, Problem> {
    let Setting { config, models, .. } = setting;
    if !server.sampling.enabled {
        return Ok(None);
    }
    let agent = match &server.sampling.agent {
        Some(id) => config.agent(id).ok_or_else(|| {
            let ids: Vec<_> = config.agents.iter().map(|agent| agent.id.as_str()).collect();
            Problem::new(
                format!("server {}: sampling.agent names no agent: {id:?}", server.name),
                format!("the agents are {}", ids.join(", ")),
            )
        })?,
        None => match owner.or(config.agents.first()) {
            Some(agent) => agent,
            None => return Ok(None),
        },
    };
    // Where servers are merely looked at, there are no models.
    let Some(model) = models.get(&agent.id) else { return Ok(None) };
    Ok(Some(Sampler::new(&server.sampling, agent.id.clone(), model.clone(), person, setting)))
}

fn root(server: &ServerName, path: &std::path::Path) -> Result<Root, Problem> {
    let uri = Url::from_directory_path(path).map_err(|()| {
        Problem::new(
            format!("server {server}: the root {} is no absolute path", path.display()),
            "write it as /folder, ~/folder, or from the folder of the configuration file",
        )
    })?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let uri = uri.as_str().trim_end_matches('/');
    // The root of the file system is all slash.
    let uri = if uri == "file:" { "file:///".to_owned() } else { uri.to_owned() };
    Ok(Root { uri, name })
}

impl Host for Answers {
    fn abilities(&self, server: &ServerName) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.form = self.person.is_some();
        abilities.url = self.person.is_some();
        if let Some(server) = self.servers.get(server) {
            abilities.sampling = server.sampler.is_some();
            abilities.roots = !server.roots.is_empty();
        }
        abilities
    }

    fn elicit<'a>(&'a self, server: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        match &self.person {
            Some(person) => person.elicit(server, request),
            None => Box::pin(std::future::ready(ElicitationReply::Decline)),
        }
    }

    fn sample<'a>(
        &'a self,
        server: &'a ServerName,
        request: SamplingRequest,
    ) -> BoxFuture<'a, Result<SamplingReply, SamplingRefusal>> {
        match self.servers.get(server).and_then(|server| server.sampler.as_ref()) {
            Some(sampler) => Box::pin(sampler.answer(server, request)),
            None => Box::pin(std::future::ready(Err(SamplingRefusal::NotAgreed))),
        }
    }

    fn roots(&self, server: &ServerName) -> Vec<Root> {
        self.servers.get(server).map(|server| server.roots.clone()).unwrap_or_default()
    }

    fn log(&self, server: &ServerName, message: LogMessage) {
        tracing::debug!(%server, level = message.level, logger = message.logger, data = %message.data, "server log");
    }
}
