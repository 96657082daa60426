//! From an agent's `backend` to a model that can be asked.

use std::sync::Arc;

use massgen_backends::wire::chat::ToolMode as WireToolMode;
use massgen_backends::{Backend, HttpClient, ProviderConfig, ProviderKind, Script, ScriptedBackend, profile};
use massgen_config::{
    AgentConfig, BackendConfig, BackendKind, Config, Disk, FileReader, ToolMode, from_yaml_str, keys,
};
use mcp_core::Environment;
use serde_json::{Map, Value};
use url::Url;

use crate::assemble::Context;
use crate::error::{AssembleError, Problem};

/// A model, and what came with it.
pub(crate) struct Model {
    pub(crate) backend: Arc<dyn Backend>,
    /// What the user should know about its configuration.
    pub(crate) notes: Vec<String>,
    /// Its key, where that came from the environment.
    pub(crate) secret: Option<String>,
}

/// Why an agent has no model.
pub(crate) enum Obstacle {
    /// Its provider's key: told together with the other agents'.
    Key(keys::MissingKey),
    /// Anything else.
    Other(AssembleError),
}

impl From<AssembleError> for Obstacle {
    fn from(error: AssembleError) -> Self {
        Self::Other(error)
    }
}

/// Connects every agent to its model. Nothing is dialled yet.
///
/// # Errors
///
/// Everything that stands in the way.
pub(crate) fn cast<'a>(
    config: &'a Config,
    context: &Context,
    client: &HttpClient,
) -> Result<Vec<(&'a AgentConfig, Model)>, AssembleError> {
    if !config.agents.is_empty()
        && config.agents.iter().all(|agent| agent.backend.kind == BackendKind::ClaudeCode)
    {
        // Said here, so that no server is started for a team that cannot run.
        return Err(Problem::new(
            "no agent of this team can run: type: claude_code is not supported yet",
            "use type: claude with ANTHROPIC_API_KEY for the same models",
        )
        .into());
    }
    let (mut cast, mut problems, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for agent in &config.agents {
        match connect(agent, config, context, client) {
            Ok(model) => cast.push((agent, model)),
            Err(Obstacle::Key(missing)) => keys.push(missing.of_agent(agent.id.as_str())),
            Err(Obstacle::Other(mut found)) => problems.append(&mut found.problems),
        }
    }
    if !keys.is_empty() {
        let (message, remedy) = keys::together(&keys);
        problems.insert(0, Problem::new(message, remedy));
    }
    if problems.is_empty() { Ok(cast) } else { Err(AssembleError { problems }) }
}

/// Connects an agent to its model. Nothing is dialled yet.
fn connect(
    agent: &AgentConfig,
    config: &Config,
    context: &Context,
    client: &HttpClient,
) -> Result<Model, Obstacle> {
    match provider_kind(agent.backend.kind) {
        None => Ok(scripted(agent, config, context)?),
        Some(kind) => provider(agent, kind, &context.environment, client),
    }
}

fn provider_kind(kind: BackendKind) -> Option<ProviderKind> {
    Some(match kind {
        BackendKind::OpenAi => ProviderKind::OpenAi,
        BackendKind::Claude => ProviderKind::Claude,
        BackendKind::Gemini => ProviderKind::Gemini,
        BackendKind::Grok => ProviderKind::Grok,
        BackendKind::ChatCompletion => ProviderKind::ChatCompletion,
        BackendKind::Zai => ProviderKind::Zai,
        BackendKind::LmStudio => ProviderKind::LmStudio,
        BackendKind::ClaudeCode => ProviderKind::ClaudeCode,
        BackendKind::AzureOpenAi => ProviderKind::AzureOpenAi,
        BackendKind::Scripted => return None,
    })
}

fn provider(
    agent: &AgentConfig,
    kind: ProviderKind,
    environment: &Environment,
    client: &HttpClient,
) -> Result<Model, Obstacle> {
    let backend = &agent.backend;
    let key = keys::api_key(backend, environment).map_err(Obstacle::Key)?;
    let base_url = base_url(agent, kind, environment)?;
    let mut provider = ProviderConfig::new(kind, base_url, backend.model.clone().unwrap_or_default());
    let secret = key.value.as_ref().filter(|value| !value.is_empty()).map(|value| value.expose().to_owned());
    if let Some(secret) = &secret {
        provider.api_key = Some(secret.clone().into());
    }
    provider.key_hint = match (&key.source, &key.hint) {
        (Some(source), _) => format!("the key came from {source}; is it right?"),
        (None, Some(hint)) => hint.clone(),
        (None, None) => provider.key_hint,
    };
    provider.label.clone_from(&backend.provider_name);
    provider.api_version = Some(keys::azure_api_version(backend, environment));
    provider.tool_mode = match backend.tool_mode {
        ToolMode::Auto => WireToolMode::Auto,
        ToolMode::Native => WireToolMode::Native,
        ToolMode::JsonSchema => WireToolMode::JsonSchema,
    };
    parameters(backend, &mut provider);
    let mut notes = profile::notes(&provider);
    notes.extend(sleeping(backend));
    Ok(Model { backend: massgen_backends::connect(provider, client), notes, secret })
}

fn base_url(
    agent: &AgentConfig,
    kind: ProviderKind,
    environment: &Environment,
) -> Result<Url, AssembleError> {
    let Some(endpoint) = keys::endpoint(&agent.backend, environment) else {
        // Claude Code dials nothing of ours; its backend says that it cannot run.
        return kind.default_base_url().or_else(|| Url::parse("http://localhost/").ok()).ok_or_else(|| {
            Problem::new(
                format!("agent {}: there is no address for {}", agent.id, kind.label()),
                "set base_url",
            )
            .into()
        });
    };
    Url::parse(&endpoint.url).map_err(|error| {
        Problem::new(
            format!("agent {}: {:?} is not an address: {error}", agent.id, endpoint.url),
            "write base_url as https://host/v1",
        )
        .into()
    })
}

fn parameters(backend: &BackendConfig, provider: &mut ProviderConfig) {
    let params = &backend.params;
    provider.temperature = params.temperature;
    provider.top_p = params.top_p;
    provider.max_tokens = params.max_tokens.map(u64::from);
    let object = |entries: [(&str, &Option<String>); 2]| {
        let set: Map<_, _> = entries
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), Value::from(value.clone()?))))
            .collect();
        (!set.is_empty()).then_some(Value::Object(set))
    };
    provider.reasoning =
        object([("effort", &params.reasoning_effort), ("summary", &params.reasoning_summary)]);
    provider.text = object([("verbosity", &params.verbosity), ("", &None)]);
    provider.extra.clone_from(&backend.extra);
}

/// What the configuration switches on and this version cannot do yet.
fn sleeping(backend: &BackendConfig) -> Vec<String> {
    let mut notes = Vec::new();
    if backend.kind == BackendKind::ClaudeCode {
        return notes;
    }
    for (on, what) in
        [(backend.enable_web_search, "web search"), (backend.enable_code_execution, "code execution")]
    {
        if on {
            notes.push(format!(
                "the provider's own {what} is not supported yet and stays off; an MCP server can do the same"
            ));
        }
    }
    notes
}

fn scripted(agent: &AgentConfig, config: &Config, context: &Context) -> Result<Model, AssembleError> {
    let id = &agent.id;
    let path = agent.backend.script.as_ref().ok_or_else(|| {
        Problem::new(format!("agent {id}: type: scripted needs a script"), "add script: PATH beside it")
    })?;
    let (name, text) = match context.scripts.get(path) {
        Some(text) => (path.display().to_string(), text.clone()),
        // The loader has made the path lead from here.
        None => read_script(agent, path)?,
    };
    let plain = |message: String| Problem { message, hint: None };
    let script: Script = from_yaml_str(&text, &name).map_err(|diagnostics| plain(diagnostics.to_string()))?;
    let team = config.agents.iter().map(|agent| agent.id.as_str());
    let problems = script.validate_for(team);
    if !problems.is_empty() {
        let problems = problems.iter().map(|problem| plain(format!("{name}: {problem}"))).collect();
        return Err(AssembleError { problems });
    }
    let model = agent.backend.model.clone().unwrap_or_default();
    let backend = ScriptedBackend::new(script, id.as_str(), model);
    Ok(Model { backend: Arc::new(backend), notes: Vec::new(), secret: None })
}

fn read_script(agent: &AgentConfig, path: &std::path::Path) -> Result<(String, String), Problem> {
    let name = path.display().to_string();
    match Disk.read(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(Problem::new(
            format!("agent {}: the script {name} cannot be read: {error}", agent.id),
            "script: is a path from the folder of the configuration file",
        )),
    }
}

/// The question a script was written for.
///
/// # Errors
///
/// What is wrong with the script, in a sentence.
pub fn rehearsal_question(script: &str) -> Result<String, String> {
    let script: Script =
        from_yaml_str(script, "the rehearsal").map_err(|diagnostics| diagnostics.to_string())?;
    script.question.ok_or_else(|| "the rehearsal has no question".to_owned())
}
