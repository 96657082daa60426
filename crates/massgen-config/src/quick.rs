//! Configurations made in code: v0.0.13's quick set-up, and the one made of what the environment offers.

use mcp_core::{AgentId, Environment};

use crate::{AgentConfig, BackendConfig, BackendKind, Config, Diagnostic, Diagnostics, Severity, keys};

/// v0.0.13's system message where `--system-message` is missing.
pub const DEFAULT_SYSTEM_MESSAGE: &str = "You are a helpful assistant.";

/// v0.0.13's model where `--model` is missing.
pub const DEFAULT_MODEL: &str = "gpt-4o-mini";

/// What the quick set-up flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuickSetup {
    /// `--backend`.
    pub backend: Option<BackendKind>,
    /// `--model`.
    pub model: Option<String>,
    /// `--system-message`.
    pub system_message: Option<String>,
    /// `--base-url`.
    pub base_url: Option<String>,
}

/// One agent, `agent1`, from the flags. Without `backend` it follows from the model; without a model the backend's own
/// default is used, and `claude_code` decides for itself.
///
/// # Errors
///
/// A model that belongs to no known provider, and Azure without a model (its deployment).
pub fn quick(setup: &QuickSetup) -> Result<Config, Diagnostics> {
    let model = setup.model.as_deref().map(str::trim).filter(|model| !model.is_empty());
    let error = |message: String, help: &str| {
        Diagnostics::from(Diagnostic::new(Severity::Error, message).with_help(help))
    };
    let kind = match (setup.backend, model) {
        (Some(kind), _) => kind,
        (None, Some(model)) => BackendKind::of_model(model).ok_or_else(|| {
            error(format!("Unknown model: {model}"), "name the provider too: --backend NAME")
        })?,
        (None, None) => BackendKind::OpenAi,
    };
    match kind {
        BackendKind::Scripted => {
            return Err(error(
                "scripted cannot be set up by flags".to_owned(),
                "write a configuration with type: scripted and script:",
            ));
        }
        BackendKind::AzureOpenAi if model.is_none() => {
            return Err(error(
                "azure_openai has no default model".to_owned(),
                "name your deployment: --model DEPLOYMENT",
            ));
        }
        _ => {}
    }
    let mut backend = BackendConfig::new(kind);
    if let Some(model) = model {
        backend.model = Some(model.to_owned());
    } else if kind == BackendKind::OpenAi {
        backend.model = Some(DEFAULT_MODEL.to_owned());
    }
    if let Some(url) = setup.base_url.as_deref().map(str::trim).filter(|url| !url.is_empty()) {
        match url::Url::parse(url) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {}
            _ => {
                return Err(error(
                    format!("{url:?} is not an http or https URL"),
                    "write it as https://host/path",
                ));
            }
        }
        if kind == BackendKind::AzureOpenAi {
            backend.azure_endpoint = Some(url.trim_end_matches('/').to_owned());
        }
        backend.base_url = Some(url.to_owned());
    }
    let message = setup.system_message.as_deref().unwrap_or(DEFAULT_SYSTEM_MESSAGE);
    single(backend, Some(message)).ok_or_else(|| error("the agent has no legal name".to_owned(), ""))
}

/// The first provider whose key is set, with a small model of its own: OpenAI, Claude, Gemini, Grok, Z.ai, then the
/// hosts of Chat Completions. `None` where no key is set.
pub fn from_environment(environment: &Environment) -> Option<Config> {
    let backends = PROVIDERS.iter().map(|&(kind, model, base_url)| {
        let mut backend = BackendConfig::new(kind);
        backend.model = Some(model.to_owned());
        if !base_url.is_empty() {
            backend.base_url = Some(base_url.to_owned());
        }
        backend
    });
    let usable =
        |backend: &BackendConfig| keys::api_key(backend, environment).is_ok_and(|key| key.value.is_some());
    let backend = backends.into_iter().find(usable)?;
    single(backend, Some(DEFAULT_SYSTEM_MESSAGE))
}

/// Kind, model, base URL where it is not the kind's own.
const PROVIDERS: [(BackendKind, &str, &str); 8] = [
    (BackendKind::OpenAi, "gpt-5-nano", ""),
    (BackendKind::Claude, "claude-3-5-haiku-latest", ""),
    (BackendKind::Gemini, "gemini-2.5-flash", ""),
    (BackendKind::Grok, "grok-3-mini", ""),
    (BackendKind::Zai, "glm-4.5-air", ""),
    (BackendKind::ChatCompletion, "gpt-oss-120b", "https://api.cerebras.ai/v1"),
    (
        BackendKind::ChatCompletion,
        "accounts/fireworks/models/gpt-oss-20b",
        "https://api.fireworks.ai/inference/v1",
    ),
    (BackendKind::ChatCompletion, "Qwen/Qwen3-4B-fast", "https://api.studio.nebius.ai/v1"),
];

fn single(backend: BackendConfig, system_message: Option<&str>) -> Option<Config> {
    let id = AgentId::new("agent1").ok()?;
    let system_message = system_message.map(str::to_owned);
    let agent = AgentConfig { id, backend, system_message, permissions: Vec::new() };
    Some(Config { agents: vec![agent], ..Config::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_up(setup: &QuickSetup) -> String {
        match quick(setup) {
            Ok(config) => {
                let backend = &config.agents[0].backend;
                format!("{} {:?} {:?}", backend.kind, backend.model, backend.base_url)
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn flags_make_a_configuration() {
        let flags = |backend: Option<BackendKind>, model: Option<&str>, base_url: Option<&str>| QuickSetup {
            backend,
            model: model.map(str::to_owned),
            base_url: base_url.map(str::to_owned),
            system_message: None,
        };
        for (setup, expected) in [
            (flags(None, None, None), r#"openai Some("gpt-4o-mini") None"#),
            (flags(None, Some("grok-4"), None), r#"grok Some("grok-4") None"#),
            (flags(Some(BackendKind::ClaudeCode), None, None), "claude_code None None"),
            (flags(Some(BackendKind::ClaudeCode), Some("x"), None), r#"claude_code Some("x") None"#),
            (
                flags(Some(BackendKind::Zai), None, None),
                r#"zai Some("glm-4.5") Some("https://api.z.ai/api/paas/v4/")"#,
            ),
            (
                flags(Some(BackendKind::ChatCompletion), Some("m"), None),
                r#"chatcompletion Some("m") Some("https://api.openai.com/v1")"#,
            ),
            (
                flags(None, Some("llama"), None),
                "error: Unknown model: llama\n  help: name the provider too: --backend NAME",
            ),
            (
                flags(Some(BackendKind::AzureOpenAi), None, None),
                "error: azure_openai has no default model\n  help: name your deployment: --model DEPLOYMENT",
            ),
            (
                flags(None, None, Some("example.com")),
                "error: \"example.com\" is not an http or https URL\n  help: write it as https://host/path",
            ),
        ] {
            assert_eq!(set_up(&setup), expected, "{setup:?}");
        }
        let config = quick(&QuickSetup::default()).unwrap();
        assert_eq!(config.agents[0].id.as_str(), "agent1");
        assert_eq!(config.agents[0].system_message.as_deref(), Some(DEFAULT_SYSTEM_MESSAGE));
    }

    #[test]
    fn the_first_provider_whose_key_is_set_is_taken() {
        let found = |names: &[&str]| {
            let environment = names.iter().map(|name| (*name, "k")).collect();
            from_environment(&environment).map(|config| config.agents[0].backend.kind.as_str())
        };
        assert_eq!(found(&[]), None);
        assert_eq!(found(&["GEMINI_API_KEY"]), Some("gemini"));
        assert_eq!(found(&["ZAI_API_KEY", "XAI_API_KEY"]), Some("grok"));
        assert_eq!(found(&["CEREBRAS_API_KEY"]), Some("chatcompletion"));
    }
}
