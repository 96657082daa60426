//! The Chat Completions format: every OpenAI-compatible server, and Azure OpenAI.

mod decode;
mod encode;
pub mod found;
mod schema;

use url::Url;

use super::{Codec, Decoder, Encoded, ModelOptions, Origin, endpoint};
use crate::{Request, ToolChoice};

/// The format's name in [`crate::Wire`].
pub const FORMAT: &str = "chat";

/// The format at one endpoint.
#[derive(Debug, Clone)]
pub struct Chat {
    origin: Origin,
    url: Url,
    profile: Profile,
}

/// Where servers of this format differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Profile {
    /// The name of the limit of output tokens.
    pub limit: LimitKey,
    /// Whether usage has to be asked for.
    pub usage: UsageRequest,
    /// How the server can be made to call a tool.
    pub forcing: Forcing,
    /// How reasoning settings are sent.
    pub reasoning: ReasoningKey,
    /// How tools are offered and calls are found.
    pub tool_mode: ToolMode,
}

/// The name of the limit of output tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitKey {
    /// `max_tokens`.
    #[default]
    MaxTokens,
    /// `max_completion_tokens`: OpenAI and Azure, whose reasoning models refuse the other.
    MaxCompletionTokens,
}

/// Whether usage has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageRequest {
    /// By `stream_options.include_usage`.
    #[default]
    Ask,
    /// The server refuses that.
    Silent,
}

/// How the server can be made to call a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Forcing {
    /// `tool_choice: required`.
    #[default]
    Required,
    /// Not at all: the server knows `auto` only.
    Never,
}

/// How reasoning settings are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReasoningKey {
    /// `reasoning_effort: EFFORT`.
    #[default]
    Effort,
    /// `reasoning: {...}` (OpenRouter).
    Object,
}

/// How tools are offered and calls are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolMode {
    /// By the format's own `tools`. What a model writes as text is text.
    Native,
    /// As the JSON Schema of the answer: the model cannot but write a call. For small models, most of which do not
    /// use `tools`.
    JsonSchema,
    /// Natively; where the answer has no call but its text is one, that is the call.
    #[default]
    Auto,
}

impl std::str::FromStr for ToolMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "native" => Ok(Self::Native),
            "json_schema" => Ok(Self::JsonSchema),
            "auto" => Ok(Self::Auto),
            _ => Err(format!("{text:?} is no tool mode; use native, json_schema or auto")),
        }
    }
}

impl Chat {
    /// The format at `base` (such as `https://api.groq.com/openai/v1`). A query in it stays.
    pub fn new(origin: Origin, base: &Url, profile: Profile) -> Self {
        Self { origin, url: endpoint(base, "/chat/completions"), profile }
    }
}

/// Whether an answer to this request is to be a call in JSON.
fn is_schema_bound(profile: Profile, request: &Request) -> bool {
    profile.tool_mode == ToolMode::JsonSchema
        && !request.tools.is_empty()
        && request.tool_choice != ToolChoice::None
}

impl Codec for Chat {
    fn encode(&self, request: &Request, options: &ModelOptions) -> Encoded {
        let body = encode::body(request, options, &self.origin.wire, self.profile);
        Encoded { url: self.url.clone(), headers: Vec::new(), body }
    }

    fn decoder(&self, request: &Request) -> Box<dyn Decoder> {
        Box::new(decode::ChatDecoder::new(self.origin.clone(), request, self.profile))
    }
}

#[cfg(test)]
mod tests;
