//! What is special about each provider: addresses, key headers, wire formats and their variations. Pure.

use std::sync::Arc;

use url::Url;

use crate::http::{host_of, is_loopback, is_under};
use crate::wire::chat::{self, Chat, Forcing, LimitKey, ReasoningKey, ToolMode, UsageRequest};
use crate::wire::generate_content::{self, GenerateContent};
use crate::wire::messages::{self, Messages};
use crate::wire::responses::{self, EncryptedReasoning, Responses, SystemPlace};
use crate::wire::{Codec, ModelOptions, Origin};
use crate::{Capabilities, ProviderConfig, Wire};

/// The kinds of providers, by the names they have in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderKind {
    /// `openai`: the Responses format.
    OpenAi,
    /// `claude`: the Messages format.
    Claude,
    /// `gemini`: the `generateContent` format.
    Gemini,
    /// `grok`: the Responses format at xAI.
    Grok,
    /// `chatcompletion`: the Chat Completions format of any host.
    ChatCompletion,
    /// `zai`: Chat Completions at Z.AI.
    Zai,
    /// `lmstudio`: Chat Completions of LM Studio on this machine.
    LmStudio,
    /// `azure_openai`: Chat Completions at Azure.
    AzureOpenAi,
    /// `claude_code`: the Claude Code program.
    ClaudeCode,
}

impl ProviderKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OpenAi,
        Self::Claude,
        Self::Gemini,
        Self::Grok,
        Self::ChatCompletion,
        Self::Zai,
        Self::LmStudio,
        Self::AzureOpenAi,
        Self::ClaudeCode,
    ];

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Grok => "grok",
            Self::ChatCompletion => "chatcompletion",
            Self::Zai => "zai",
            Self::LmStudio => "lmstudio",
            Self::AzureOpenAi => "azure_openai",
            Self::ClaudeCode => "claude_code",
        }
    }

    /// The label for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Claude => "Claude",
            Self::Gemini => "Gemini",
            Self::Grok => "Grok",
            Self::ChatCompletion => "ChatCompletion",
            Self::Zai => "ZAI",
            Self::LmStudio => "LM Studio",
            Self::AzureOpenAi => "Azure OpenAI",
            Self::ClaudeCode => "Claude Code",
        }
    }

    /// Where its interface is; `None` for Azure, where every customer has an address of their own.
    pub fn default_base_url(self) -> Option<Url> {
        let url = match self {
            Self::OpenAi | Self::ChatCompletion => "https://api.openai.com/v1",
            Self::Claude | Self::ClaudeCode => "https://api.anthropic.com",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta",
            Self::Grok => "https://api.x.ai/v1",
            Self::Zai => "https://api.z.ai/api/paas/v4",
            Self::LmStudio => "http://localhost:1234/v1",
            Self::AzureOpenAi => return None,
        };
        Url::parse(url).ok()
    }

    /// The key to use where the user has none.
    pub(crate) fn default_key(self) -> Option<&'static str> {
        (self == Self::LmStudio).then_some("lm-studio")
    }

    fn needs_key(self) -> bool {
        !matches!(self, Self::ChatCompletion | Self::LmStudio | Self::ClaudeCode)
    }
}

/// The version of Azure's interface that the user gets without asking for one.
pub const AZURE_API_VERSION: &str = "2024-12-01-preview";

/// Keys of a configuration that are about massgen, not about the model: never sent.
const OWN_KEYS: [&str; 16] = [
    "type",
    "agent_id",
    "session_id",
    "api_key",
    "base_url",
    "api_version",
    "azure_endpoint",
    "azure_deployment",
    "cwd",
    "tool_mode",
    "mcp_servers",
    "allowed_tools",
    "exclude_tools",
    "enable_web_search",
    "enable_code_interpreter",
    "enable_code_execution",
];

/// The options without what is massgen's own.
pub(crate) fn model_options(config: &ProviderConfig) -> ModelOptions {
    let mut extra = config.extra.clone();
    extra.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
    ModelOptions {
        model: config.model.clone(),
        temperature: config.temperature,
        top_p: config.top_p,
        max_tokens: config.max_tokens,
        reasoning: config.reasoning.clone(),
        text: config.text.clone(),
        extra,
    }
}

/// The label, by the host where the kind says too little.
pub(crate) fn label(config: &ProviderConfig) -> Arc<str> {
    if let Some(label) = &config.label {
        return label.as_str().into();
    }
    let host = config.base_url.host_str().unwrap_or_default();
    let known = [
        ("api.openai.com", "OpenAI"),
        ("cerebras.ai", "Cerebras"),
        ("together.xyz", "Together"),
        ("together.ai", "Together"),
        ("fireworks.ai", "Fireworks"),
        ("groq.com", "Groq"),
        ("openrouter.ai", "OpenRouter"),
        ("nebius.ai", "Nebius"),
        ("moonshot.cn", "Kimi"),
        ("moonshot.ai", "Kimi"),
        ("aliyuncs.com", "Qwen"),
        ("deepseek.com", "DeepSeek"),
        ("mistral.ai", "Mistral"),
        ("z.ai", "ZAI"),
    ];
    let by_host = || known.iter().find(|(domain, _)| is_under(host, &[domain])).map(|(_, label)| *label);
    match config.kind {
        ProviderKind::ChatCompletion => by_host().unwrap_or(config.kind.label()),
        kind => kind.label(),
    }
    .into()
}

/// How a key is sent: the header, and what stands before the key.
pub(crate) fn key_header(kind: ProviderKind) -> (&'static str, &'static str) {
    match kind {
        ProviderKind::Claude => ("x-api-key", ""),
        ProviderKind::Gemini => ("x-goog-api-key", ""),
        ProviderKind::AzureOpenAi => ("api-key", ""),
        _ => ("authorization", "Bearer "),
    }
}

/// The format's name, its codec and what the model can be made to do; `None` where there is no wire.
pub(crate) fn codec(config: &ProviderConfig) -> Option<(Origin, Arc<dyn Codec>, Capabilities)> {
    let origin = |format| Origin {
        provider: label(config),
        wire: Wire { format, host: host_of(&config.base_url).into() },
        key_hint: config.key_hint.as_str().into(),
    };
    let base = &config.base_url;
    let mut forced = true;
    let (origin, codec): (Origin, Arc<dyn Codec>) = match config.kind {
        ProviderKind::OpenAi | ProviderKind::Grok => {
            let origin = origin(responses::FORMAT);
            (origin.clone(), Arc::new(Responses::new(origin, base, responses_profile(config))))
        }
        ProviderKind::Claude => {
            forced = messages::thinking(&model_options(config)).is_none();
            let origin = origin(messages::FORMAT);
            (origin.clone(), Arc::new(Messages::new(origin, base)))
        }
        ProviderKind::Gemini => {
            let origin = origin(generate_content::FORMAT);
            (origin.clone(), Arc::new(GenerateContent::new(origin, base)))
        }
        ProviderKind::ChatCompletion
        | ProviderKind::Zai
        | ProviderKind::LmStudio
        | ProviderKind::AzureOpenAi => {
            let profile = chat_profile(config);
            forced = profile.forcing == Forcing::Required || profile.tool_mode == ToolMode::JsonSchema;
            let origin = origin(chat::FORMAT);
            (origin.clone(), Arc::new(Chat::new(origin, &chat_base(config), profile)))
        }
        ProviderKind::ClaudeCode => return None,
    };
    Some((origin, codec, Capabilities { forced_tool_use: forced }))
}

fn responses_profile(config: &ProviderConfig) -> responses::Profile {
    let host = config.base_url.host_str().unwrap_or_default();
    let known = is_under(host, &["api.openai.com", "azure.com", "api.x.ai"]);
    responses::Profile {
        system: match config.kind {
            ProviderKind::Grok => SystemPlace::Input,
            _ => SystemPlace::Instructions,
        },
        encrypted_reasoning: match known {
            true => EncryptedReasoning::ReasoningModels,
            false => EncryptedReasoning::Never,
        },
    }
}

/// The versions of Azure's deployments interface that know `max_completion_tokens` and `stream_options`.
fn azure_is_recent(config: &ProviderConfig) -> bool {
    is_azure_v1(&config.base_url) || azure_version(config) >= "2024-09-01"
}

fn azure_version(config: &ProviderConfig) -> &str {
    config.api_version.as_deref().filter(|version| !version.is_empty()).unwrap_or(AZURE_API_VERSION)
}

fn is_azure_v1(base: &Url) -> bool {
    base.path().contains("/openai/v1")
}

/// The address below which `/chat/completions` is: Azure's older interface has one per deployment.
fn chat_base(config: &ProviderConfig) -> Url {
    let mut base = config.base_url.clone();
    if config.kind != ProviderKind::AzureOpenAi || is_azure_v1(&base) {
        return base;
    }
    if !base.path().contains("/deployments/")
        && let Ok(mut path) = base.path_segments_mut()
    {
        path.pop_if_empty();
        let has_openai = config.base_url.path().trim_end_matches('/').ends_with("/openai");
        if !has_openai {
            path.push("openai");
        }
        path.push("deployments").push(&config.model);
    }
    if !base.query_pairs().any(|(key, _)| key == "api-version") {
        base.query_pairs_mut().append_pair("api-version", azure_version(config));
    }
    base
}

fn chat_profile(config: &ProviderConfig) -> chat::Profile {
    let host = config.base_url.host_str().unwrap_or_default();
    let is = |domains: &[&str]| is_under(host, domains);
    let azure = config.kind == ProviderKind::AzureOpenAi;
    let recent_azure = azure && azure_is_recent(config);
    let is_openai = is(&["api.openai.com"]);
    let limit = if recent_azure || (is_openai && responses::is_reasoning_model(&config.model)) {
        LimitKey::MaxCompletionTokens
    } else {
        LimitKey::MaxTokens
    };
    let silent = is(&["api.mistral.ai"]) || (azure && !recent_azure);
    // These hosts know `auto` only, some of them for the models that think.
    let never = is(&["z.ai", "bigmodel.cn", "moonshot.cn", "moonshot.ai", "deepseek.com"]);
    chat::Profile {
        limit,
        usage: if silent { UsageRequest::Silent } else { UsageRequest::Ask },
        forcing: if never { Forcing::Never } else { Forcing::Required },
        reasoning: if is(&["openrouter.ai"]) { ReasoningKey::Object } else { ReasoningKey::Effort },
        tool_mode: config.tool_mode,
    }
}

/// What the user should know of this configuration: what is not sent, not active or not wise. Whole sentences.
pub fn notes(config: &ProviderConfig) -> Vec<String> {
    let mut notes = Vec::new();
    let kind = config.kind.name();
    let is_chat = matches!(
        config.kind,
        ProviderKind::ChatCompletion | ProviderKind::Zai | ProviderKind::LmStudio | ProviderKind::AzureOpenAi
    );
    for (key, what) in [
        ("enable_web_search", "web search"),
        ("enable_code_interpreter", "code interpreter"),
        ("enable_code_execution", "code execution"),
    ] {
        if config.extra.get(key).and_then(serde_json::Value::as_bool).unwrap_or(false) {
            notes.push(format!(
                "{key}: the provider's own {what} is not supported yet and stays off; an MCP server can do the same."
            ));
        }
    }
    let options = model_options(config);
    let samples = options.temperature.is_some() || options.top_p.is_some();
    match config.kind {
        ProviderKind::Claude => {
            if options.temperature.is_some_and(|t| !(0.0..=1.0).contains(&t)) {
                notes.push("temperature: Claude takes 0 to 1; the nearest is sent.".to_owned());
            }
            if messages::thinking(&options).is_some() {
                if samples {
                    notes.push("temperature and top_p are not sent while Claude thinks.".to_owned());
                }
            } else if options.temperature.is_some() && options.top_p.is_some() {
                notes
                    .push("top_p: Claude takes either temperature or top_p; temperature is sent.".to_owned());
            }
            if options.reasoning.is_some() && messages::thinking(&options).is_none() {
                notes.push(
                    "reasoning: not sent to Claude; use thinking: {type: enabled, budget_tokens: N} instead."
                        .to_owned(),
                );
            }
        }
        ProviderKind::Gemini => {
            let own = |value: &serde_json::Value| {
                value.get("thinkingBudget").is_some() || value.get("thinkingLevel").is_some()
            };
            if options.reasoning.as_ref().is_some_and(|value| !own(value)) {
                notes.push("reasoning: not sent to Gemini; use thinking_config: {...} instead.".to_owned());
            }
        }
        ProviderKind::OpenAi if samples && responses::refuses_sampling(&options.model) => {
            notes.push(format!("temperature and top_p are not sent: {} refuses them.", options.model));
        }
        _ => {}
    }
    if options.text.is_some() && matches!(config.kind, ProviderKind::Claude | ProviderKind::Gemini) {
        notes.push(format!("text: not sent to {kind}."));
    }
    if config.tool_mode == ToolMode::JsonSchema && !is_chat {
        notes.push(format!(
            "tool_mode: {kind} always uses its own tools; json_schema is for OpenAI-compatible servers."
        ));
    }
    if config.kind.needs_key() && config.api_key.is_none() {
        notes.push(format!("no key is set: {}.", config.key_hint));
    }
    if config.api_key.is_some() && config.base_url.scheme() == "http" && !is_loopback(&config.base_url) {
        notes.push(format!(
            "base_url: the key goes to {} without encryption; use https.",
            host_of(&config.base_url)
        ));
    }
    notes
}

/// Whether the provider would refuse a request for want of a key.
pub(crate) fn lacks_key(config: &ProviderConfig) -> bool {
    config.kind.needs_key() && config.api_key.is_none() && !is_loopback(&config.base_url)
}

#[cfg(test)]
mod tests;
