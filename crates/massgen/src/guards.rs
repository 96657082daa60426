//! What the configuration says about permissions, secrets and accepted tools, as the clients take it.

use massgen_config::{AgentConfig, Config, DataLabel, McpServerConfig, McpTransport, PermissionRule};
use mcp_client::{Gate, Neighbours, NewTools, Pins, Redactor, Scopes};
use mcp_core::ServerName;
use mcp_security::permission::{Decision, Label, Nature, Permissions, Rule};

use crate::assemble::Context;
use crate::error::Problem;
use crate::servers::Owner;

/// What guards the calls of all servers alike.
#[derive(Clone, Default)]
pub(crate) struct Guards {
    pub(crate) gate: Gate,
    pub(crate) scopes: Scopes,
    pub(crate) redactor: Redactor,
    pub(crate) neighbours: Neighbours,
}

impl Guards {
    pub(crate) fn new(config: &Config, context: &Context) -> Result<Self, Vec<Problem>> {
        let mut permissions = Permissions::new(context.permission_defaults);
        let mut problems = Vec::new();
        for agent in &config.agents {
            for rule in &agent.permissions {
                match compile(rule) {
                    Ok(rule) => permissions.add(Some(agent.id.clone()), rule),
                    Err(problem) => problems.push(problem),
                }
            }
        }
        for rule in &config.permissions {
            match compile(rule) {
                Ok(rule) => permissions.add(None, rule),
                Err(problem) => problems.push(problem),
            }
        }
        for rule in &config.labels {
            let labels: Vec<_> = rule.labels.iter().map(|label| flow(*label)).collect();
            if let Err(error) = permissions.label(&rule.tool, &labels) {
                problems.push(Problem::new(format!("labels: {error}"), "mend the pattern"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let gate = Gate::new(permissions, context.ask.clone());
        for grant in context.lock.iter().flat_map(|accepted| &accepted.lock.grants) {
            gate.grant(grant);
        }
        let (redactor, scopes) = (Redactor::default(), Scopes::default());
        let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
        for server in config.mcp_servers.iter().chain(own) {
            for (label, secret) in secrets(server, config) {
                scopes.register(&server.name, label, secret);
                redactor.register_as(&format!("{label} of server {}", server.name), secret);
            }
        }
        for agent in &config.agents {
            if let Some(key) = &agent.backend.api_key {
                redactor.register_as(&format!("api_key of agent {}", agent.id), key.expose());
            }
        }
        for secret in config.secrets() {
            redactor.register(secret.expose());
        }
        Ok(Self { gate, scopes, redactor, neighbours: Neighbours::default() })
    }
}

fn compile(rule: &PermissionRule) -> Result<Rule, Problem> {
    let decision = match rule.decision {
        massgen_config::Decision::Allow => Decision::Allow,
        massgen_config::Decision::Ask => Decision::Ask,
        massgen_config::Decision::Deny => Decision::Deny,
    };
    let mut compiled = Rule::new(&rule.tool, decision);
    for (argument, pattern) in &rule.when {
        compiled = compiled.and_then(|compiled| compiled.when(argument, pattern));
    }
    let compiled =
        compiled.map_err(|error| Problem::new(format!("permissions: {error}"), "mend the pattern"))?;
    Ok(match rule.nature {
        None => compiled,
        Some(massgen_config::Nature::Reads) => compiled.only(Nature::Reads),
        Some(massgen_config::Nature::Changes) => compiled.only(Nature::Changes),
        Some(massgen_config::Nature::Destroys) => compiled.only(Nature::Destroys),
    })
}

fn flow(label: DataLabel) -> Label {
    match label {
        DataLabel::PrivateData => Label::PrivateData,
        DataLabel::UntrustedContent => Label::UntrustedContent,
        DataLabel::PublicSink => Label::PublicSink,
    }
}

/// The credentials among a server's variables and headers, with the names that hold them. A value is one where its name
/// says so: folders and addresses go into variables, too, and have to be spoken of.
fn secrets<'a>(server: &'a McpServerConfig, config: &'a Config) -> Vec<(&'a str, &'a str)> {
    const SAY_SO: [&str; 8] = ["key", "token", "secret", "pass", "auth", "credential", "cookie", "pat"];
    let named = match &server.transport {
        McpTransport::Stdio { env, .. } => env,
        McpTransport::StreamableHttp { headers, .. } | McpTransport::Sse { headers, .. } => headers,
    };
    let says_so = |name: &str| {
        let name = name.to_ascii_lowercase();
        !name.ends_with("path") && SAY_SO.iter().any(|word| name.contains(word))
    };
    let mut found = Vec::new();
    for (name, value) in named.iter().filter(|(name, _)| says_so(name)) {
        for secret in config.secrets().iter().map(|secret| secret.expose()) {
            if value.expose().contains(secret)
                && !secret.starts_with(['/', '~', '.'])
                && !secret.contains("://")
            {
                found.push((name.as_str(), secret));
            }
        }
    }
    found
}

/// The name of a server in a lock: an agent's own one is not another agent's.
pub(crate) fn lock_key(owner: &Owner, agent: Option<&AgentConfig>, server: &ServerName) -> String {
    match owner {
        Owner::Agent(id)
            if agent.is_some_and(|a| a.backend.mcp_servers.iter().any(|own| own.name == *server)) =>
        {
            format!("{id}/{server}")
        }
        _ => server.to_string(),
    }
}

/// What was accepted of a server. What is new of one that was looked at waits until somebody looks again.
pub(crate) fn pins(context: &Context, key: &str) -> Option<Pins> {
    let lock = context.lock.as_ref().filter(|lock| lock.pinned)?;
    let accepted = lock.lock.servers.get(key).cloned().unwrap_or_default();
    let new_tools = if accepted.knows_it() { NewTools::Hold } else { lock.new_tools };
    Some(Pins { accepted, new_tools })
}
