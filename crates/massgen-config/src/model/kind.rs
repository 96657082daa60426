//! Which provider, and what follows from that.

use serde::Serialize;

/// `backend.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendKind {
    /// OpenAI, Responses API.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic, Messages API.
    Claude,
    /// Google Gemini, `generateContent`.
    Gemini,
    /// xAI.
    Grok,
    /// Any server that speaks OpenAI's Chat Completions.
    #[serde(rename = "chatcompletion")]
    ChatCompletion,
    /// Z.ai, Chat Completions.
    Zai,
    /// LM Studio on this machine, Chat Completions.
    #[serde(rename = "lmstudio")]
    LmStudio,
    /// Claude Code's command line.
    ClaudeCode,
    /// Azure OpenAI.
    #[serde(rename = "azure_openai")]
    AzureOpenAi,
    /// A rehearsal: the model is played from a script.
    Scripted,
}

impl BackendKind {
    /// All of them, in the order they are documented.
    pub const ALL: [Self; 10] = [
        Self::OpenAi,
        Self::Claude,
        Self::Gemini,
        Self::Grok,
        Self::ChatCompletion,
        Self::Zai,
        Self::LmStudio,
        Self::ClaudeCode,
        Self::AzureOpenAi,
        Self::Scripted,
    ];

    /// The value of `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Claude => "claude",
            Self::Gemini => "gemini",
            Self::Grok => "grok",
            Self::ChatCompletion => "chatcompletion",
            Self::Zai => "zai",
            Self::LmStudio => "lmstudio",
            Self::ClaudeCode => "claude_code",
            Self::AzureOpenAi => "azure_openai",
            Self::Scripted => "scripted",
        }
    }

    /// The kind with this name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().eq_ignore_ascii_case(name))
    }

    /// The provider's name for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::OpenAi => "OpenAI",
            Self::Claude => "Claude",
            Self::Gemini => "Gemini",
            Self::Grok => "Grok",
            Self::ChatCompletion => "ChatCompletion",
            Self::Zai => "ZAI",
            Self::LmStudio => "LM Studio",
            Self::ClaudeCode => "Claude Code",
            Self::AzureOpenAi => "Azure OpenAI",
            Self::Scripted => "Scripted",
        }
    }

    /// The model used where the configuration names none, as in v0.0.13.
    pub const fn default_model(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::LmStudio => Some("gpt-4o-mini"),
            Self::Claude => Some("claude-3-sonnet-20240229"),
            Self::Gemini => Some("gemini-2.5-flash"),
            Self::Grok => Some("grok-2-1212"),
            Self::ChatCompletion => Some("gpt-oss-120b"),
            Self::Zai => Some("glm-4.5"),
            Self::ClaudeCode | Self::AzureOpenAi | Self::Scripted => None,
        }
    }

    /// Where the provider listens; `None` for Azure (every customer has a host of their own) and where no address is
    /// dialled.
    pub const fn default_base_url(self) -> Option<&'static str> {
        match self {
            Self::OpenAi | Self::ChatCompletion => Some("https://api.openai.com/v1"),
            Self::Claude => Some("https://api.anthropic.com/v1"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com/v1beta"),
            Self::Grok => Some("https://api.x.ai/v1"),
            Self::Zai => Some("https://api.z.ai/api/paas/v4/"),
            Self::LmStudio => Some("http://localhost:1234/v1"),
            Self::ClaudeCode | Self::AzureOpenAi | Self::Scripted => None,
        }
    }

    /// Which kind a model's name belongs to: v0.0.13's list first, then the families newer names begin with. An
    /// empty name is OpenAI's, as it was. `None` where nothing is known.
    pub fn of_model(model: &str) -> Option<Self> {
        let name = model.trim().to_ascii_lowercase();
        if name.is_empty() {
            return Some(Self::OpenAi);
        }
        let known = KNOWN_MODELS.iter().find(|(_, names)| names.contains(&name.as_str()));
        let family = || FAMILIES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|&(_, kind)| kind);
        known.map(|&(kind, _)| kind).or_else(family)
    }
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// v0.0.13's list.
const KNOWN_MODELS: [(BackendKind, &[&str]); 5] = [
    (
        BackendKind::OpenAi,
        &[
            "gpt-5",
            "gpt-5-mini",
            "gpt-5-nano",
            "gpt-4.1",
            "gpt-4.1-mini",
            "gpt-4.1-nano",
            "gpt-4o-mini",
            "gpt-4o",
            "o3",
            "o3-low",
            "o3-medium",
            "o3-high",
            "o3-mini",
            "o3-mini-low",
            "o3-mini-medium",
            "o3-mini-high",
            "o4-mini",
            "o4-mini-low",
            "o4-mini-medium",
            "o4-mini-high",
        ],
    ),
    (
        BackendKind::Claude,
        &[
            "claude-opus-4-1-20250805",
            "claude-opus-4-20250514",
            "claude-sonnet-4-20250514",
            "claude-3-5-sonnet-latest",
            "claude-3-5-haiku-latest",
            "claude-3-5-sonnet-20250114",
            "claude-3-5-haiku-20241022",
            "claude-3-opus-20240229",
        ],
    ),
    (BackendKind::Gemini, &["gemini-2.5-flash", "gemini-2.5-pro"]),
    (BackendKind::Grok, &["grok-3-mini", "grok-3", "grok-4"]),
    (BackendKind::Zai, &["glm-4.5", "glm-4.5-air"]),
];

/// The beginnings of newer names. `gpt-oss` is open weights that anyone may serve, so it names no provider.
const FAMILIES: [(&str, BackendKind); 13] = [
    ("gpt-3", BackendKind::OpenAi),
    ("gpt-4", BackendKind::OpenAi),
    ("gpt-5", BackendKind::OpenAi),
    ("gpt-6", BackendKind::OpenAi),
    ("chatgpt-", BackendKind::OpenAi),
    ("o1", BackendKind::OpenAi),
    ("o3-", BackendKind::OpenAi),
    ("o4-", BackendKind::OpenAi),
    ("o5", BackendKind::OpenAi),
    ("claude-", BackendKind::Claude),
    ("gemini-", BackendKind::Gemini),
    ("grok-", BackendKind::Grok),
    ("glm-", BackendKind::Zai),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_follows_from_the_model() {
        for (model, kind) in [
            ("gpt-5-nano", Some(BackendKind::OpenAi)),
            ("GPT-4O", Some(BackendKind::OpenAi)),
            ("o3-mini-high", Some(BackendKind::OpenAi)),
            ("", Some(BackendKind::OpenAi)),
            ("claude-3-opus-20240229", Some(BackendKind::Claude)),
            ("claude-sonnet-4-5", Some(BackendKind::Claude)),
            ("gemini-3-pro", Some(BackendKind::Gemini)),
            ("grok-4", Some(BackendKind::Grok)),
            ("glm-4.5-air", Some(BackendKind::Zai)),
            ("gpt-oss-120b", None),
            ("llama3", None),
        ] {
            assert_eq!(BackendKind::of_model(model), kind, "{model}");
        }
    }

    #[test]
    fn names_and_serialization_agree() {
        for kind in BackendKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(BackendKind::from_name(&kind.as_str().to_uppercase()), Some(kind));
        }
    }
}
