//! Configurations that came with a folder: what they may not do, and how their servers would be reached.

use std::collections::BTreeMap;

use massgen_config::{
    AgentConfig, Config, Decision, McpServerConfig, McpTransport, PermissionRule, SamplingApproval,
    SecurityLevel,
};
use mcp_client::{Consent, launch_pin};
use mcp_core::Environment;
use mcp_security::lock::LaunchPin;
use mcp_security::{Redactor, Trust};

use crate::assemble::Context;
use crate::error::AssembleError;
use crate::guards;
use crate::servers::{self, Owner};

/// The configuration without what would widen what the user allows, and what that was, in words for people. Everything
/// that makes it stricter stays.
pub(crate) fn narrowed(config: &Config) -> (Config, Vec<String>) {
    let mut config = config.clone();
    let mut left_out = Vec::new();
    let mut rules = |rules: &mut Vec<PermissionRule>, of: &str| {
        let before = rules.len();
        rules.retain(|rule| rule.decision != Decision::Allow);
        if rules.len() < before {
            left_out.push(format!("{} of its rules that allow calls ({of})", before - rules.len()));
        }
    };
    rules(&mut config.permissions, "permissions");
    for agent in &mut config.agents {
        rules(&mut agent.permissions, &format!("permissions of {}", agent.id));
    }
    let own = config.agents.iter_mut().flat_map(|agent| &mut agent.backend.mcp_servers);
    for server in config.mcp_servers.iter_mut().chain(own) {
        let mut keys = Vec::new();
        let security = &mut server.security;
        if security.level == Some(SecurityLevel::Permissive) {
            security.level = Some(SecurityLevel::Moderate);
            keys.push("security.level: permissive");
        }
        if std::mem::take(&mut security.allow_private_ips) {
            keys.push("security.allow_private_ips");
        }
        if std::mem::take(&mut server.trusted) {
            keys.push("trust: trusted");
        }
        if !std::mem::take(&mut server.retry_safe).is_empty() {
            keys.push("retry_safe");
        }
        if server.sampling.enabled && server.sampling.approval == SamplingApproval::Allow {
            server.sampling.approval = SamplingApproval::Ask;
            keys.push("sampling.approval: allow");
        }
        if !keys.is_empty() {
            left_out.push(format!("{} of server {}", keys.join(", "), server.name));
        }
    }
    (config, left_out)
}

/// How every server of a configuration would be started or dialled now, by its name in a lock. Nothing is started; the
/// programs are looked for and read.
///
/// # Errors
///
/// [`AssembleError`] where the configuration of a server cannot be used.
pub async fn launches(
    config: &Config,
    environment: &Environment,
) -> Result<BTreeMap<String, LaunchPin>, AssembleError> {
    let redactor = Redactor::default();
    config.secrets().iter().for_each(|secret| redactor.register(secret.expose()));
    let shared = config.mcp_servers.iter().map(|server| (server, None));
    let own = config
        .agents
        .iter()
        .flat_map(|agent| agent.backend.mcp_servers.iter().map(move |server| (server, Some(agent))));
    let mut found = BTreeMap::new();
    let mut problems = Vec::new();
    for (server, agent) in shared.chain(own) {
        match servers::target(server, environment) {
            Ok(target) => match launch_pin(&target, &declared(server, &redactor)).await {
                Ok(pin) => drop(found.insert(key(server, agent), pin)),
                Err(refusal) => problems.push(crate::error::Problem {
                    message: format!("server {}: {}", server.name, refusal.reason),
                    hint: Some(refusal.hint),
                }),
            },
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(AssembleError { problems }) }
}

fn key(server: &McpServerConfig, agent: Option<&AgentConfig>) -> String {
    let owner = agent.map_or(Owner::Team, |agent| Owner::Agent(agent.id.clone()));
    guards::lock_key(&owner, agent, &server.name)
}

/// How a server is reached, as its configuration says it.
fn declared(server: &McpServerConfig, redactor: &Redactor) -> LaunchPin {
    let clean = |text: &str| redactor.redact(text).into_owned();
    match &server.transport {
        McpTransport::Stdio { command, args, env, cwd } => {
            let (program, mut all) =
                servers::split(&server.name, command).unwrap_or_else(|_| (command.clone(), Vec::new()));
            all.extend(args.iter().cloned());
            LaunchPin {
                program: Some(clean(&program)),
                args: all.iter().map(|arg| clean(arg)).collect(),
                env: env.keys().cloned().collect(),
                cwd: cwd.as_ref().map(|cwd| clean(&cwd.display().to_string())),
                ..LaunchPin::default()
            }
        }
        McpTransport::StreamableHttp { url, headers } | McpTransport::Sse { url, headers } => LaunchPin {
            url: Some(clean(url)),
            headers: headers.keys().cloned().collect(),
            ..LaunchPin::default()
        },
    }
}

/// What was accepted of how a server is reached. A lock that came with a project is nobody's word.
pub(crate) fn consent(
    context: &Context,
    key: &str,
    server: &McpServerConfig,
    redactor: &Redactor,
) -> Consent {
    let needed = context.trust == Trust::Project;
    let of_lock = context.lock.as_ref().filter(|accepted| accepted.pinned && !needed);
    let of_lock = of_lock.and_then(|accepted| accepted.lock.servers.get(key)?.launch.clone());
    let here = context.launches.get(key).cloned();
    Consent {
        declared: declared(server, redactor),
        accepted: of_lock.into_iter().chain(here).collect(),
        needed,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use massgen_config::{Disk, Format, LoadOptions, load_str};

    use super::*;

    #[test]
    fn a_project_may_only_narrow() {
        let text = "
permissions: [{ tool: a, decision: allow }, { tool: b, decision: deny }]
agents:
  - { id: x, backend: { model: gpt-5 }, permissions: [{ tool: c, decision: allow }, { tool: d, decision: ask }] }
mcp_servers:
  s:
    command: uvx
    args: [x@1.0.0]
    security: { level: permissive, allow_private_ips: true }
    trust: trusted
    retry_safe: ['*']
    sampling: { enabled: true, approval: allow }
  strict: { command: uvx, args: [y@1.0.0], security: { level: strict } }
";
        let loaded = load_str(text, Path::new("massgen.yaml"), Format::Yaml, &LoadOptions::default(), &Disk);
        let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics));
        let (narrow, left_out) = narrowed(&config);
        assert_eq!(left_out.len(), 3, "{left_out:?}");
        assert!(narrow.permissions.len() == 1 && narrow.agents[0].permissions.len() == 1);
        let server = &narrow.mcp_servers[0];
        assert_eq!(server.security.level, Some(SecurityLevel::Moderate));
        assert!(!server.security.allow_private_ips && !server.trusted && server.retry_safe.is_empty());
        assert_eq!(server.sampling.approval, SamplingApproval::Ask);
        assert_eq!(narrow.mcp_servers[1], config.mcp_servers[1]);
        let (again, nothing) = narrowed(&narrow);
        assert!(again == narrow && nothing.is_empty());
    }
}
