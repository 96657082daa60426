//! Who plays the models where no configuration says so: a provider whose key is set, else a local model server.

use std::fmt;
use std::time::Duration;

use massgen::backends::{HttpClient, HttpOptions, local};
use massgen::config::quick::{self, QuickSetup};
use massgen::config::{BackendConfig, BackendKind, Config, ToolMode, keys};
use massgen::core::Environment;

use crate::failure::Failure;

/// How long local servers have to answer.
const PROBE: Duration = Duration::from_millis(300);

/// What can be done where nobody is there to play.
pub(crate) const REMEDIES: &str = "do one of these:\n\
    \x20   - set a key, such as OPENAI_API_KEY, ANTHROPIC_API_KEY or GEMINI_API_KEY (./.env works too)\n\
    \x20   - start a local model server (Ollama, LM Studio, llama-server, vLLM)\n\
    \x20   - massgen demo --local-model: a small model is fetched and started here";

/// Where models were found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Players {
    config: Config,
    /// Why these: a variable that is set, a server that answers.
    because: String,
}

impl fmt::Display for Players {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend() {
            Some(backend) => {
                write!(
                    f,
                    "{} {} ({})",
                    backend.label(),
                    backend.model.as_deref().unwrap_or_default(),
                    self.because
                )
            }
            None => f.write_str(&self.because),
        }
    }
}

impl Players {
    /// A model so small that it has to be led: its answers are bound to the form of a tool call, and cut short.
    pub(crate) fn led(mut self) -> Self {
        if let Some(agent) = self.config.agents.first_mut() {
            agent.backend.tool_mode = ToolMode::JsonSchema;
            agent.backend.params.max_tokens = Some(300);
        }
        self
    }

    /// A model that a server on this machine serves.
    pub(crate) fn local(server: &str, base_url: &str, model: &str) -> Option<Self> {
        let setup = QuickSetup {
            backend: Some(BackendKind::ChatCompletion),
            model: Some(model.to_owned()),
            base_url: Some(base_url.to_owned()),
            system_message: None,
        };
        let mut config = quick::quick(&setup).ok()?;
        if let Some(agent) = config.agents.first_mut() {
            agent.backend.provider_name = Some(server.to_owned());
        }
        Some(Self { config, because: format!("it answers at {base_url}") })
    }

    /// The model.
    pub(crate) fn backend(&self) -> Option<&BackendConfig> {
        self.config.agents.first().map(|agent| &agent.backend)
    }

    /// A team of one.
    pub(crate) fn into_single_agent(self) -> Config {
        self.config
    }
}

/// Looks at keys first, then at local servers.
pub(crate) async fn find(environment: &Environment) -> Option<Players> {
    if let Some(config) = quick::from_environment(environment) {
        let key = config.agents.first().and_then(|agent| keys::api_key(&agent.backend, environment).ok());
        let variable = key.and_then(|key| key.source).unwrap_or_else(|| "its key".to_owned());
        return Some(Players { config, because: format!("{variable} is set") });
    }
    let client = HttpClient::new(HttpOptions::default()).ok()?;
    let servers = local::find_local(&client, PROBE).await;
    servers.iter().find_map(|server| {
        Players::local(&server.name, server.base_url.as_str().trim_end_matches('/'), server.models.first()?)
    })
}

/// Nobody is there to answer.
pub(crate) fn nobody() -> Failure {
    Failure::config(
        "no model to ask: no configuration, no provider's key and no local model server was found",
    )
    .with_hint(format!("{REMEDIES}\n  massgen demo shows a team at work without any of these."))
}
