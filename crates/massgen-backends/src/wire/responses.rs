//! The Responses format: OpenAI, Azure OpenAI, xAI.
//!
//! Every request carries the whole conversation and asks the provider to keep nothing (`store: false`); reasoning
//! comes back encrypted and is replayed verbatim.

mod decode;
mod encode;

use url::Url;

use super::{Codec, Decoder, Encoded, ModelOptions, Origin, endpoint};
use crate::Request;

/// The format's name in [`crate::Wire`].
pub const FORMAT: &str = "responses";

/// The format at one endpoint.
#[derive(Debug, Clone)]
pub struct Responses {
    origin: Origin,
    url: Url,
    profile: Profile,
}

/// Where providers of this format differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Where the system message goes.
    pub system: SystemPlace,
    /// Whether reasoning may be asked for in encrypted form, from models that reason.
    pub encrypted_reasoning: EncryptedReasoning,
}

/// Where the system message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SystemPlace {
    /// The field `instructions` (OpenAI).
    Instructions,
    /// The first item of the input (xAI).
    Input,
}

/// Whether `reasoning.encrypted_content` is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptedReasoning {
    /// From models that reason: others refuse it.
    ReasoningModels,
    /// Never.
    Never,
}

impl Responses {
    /// The format at `base` (such as `https://api.openai.com/v1`).
    pub fn new(origin: Origin, base: &Url, profile: Profile) -> Self {
        Self { origin, url: endpoint(base, "/responses"), profile }
    }
}

impl Codec for Responses {
    fn encode(&self, request: &Request, options: &ModelOptions) -> Encoded {
        let body = encode::body(request, options, &self.origin.wire, self.profile);
        Encoded { url: self.url.clone(), headers: Vec::new(), body }
    }

    fn decoder(&self, request: &Request) -> Box<dyn Decoder> {
        Box::new(decode::ResponsesDecoder::new(self.origin.clone(), request))
    }
}

/// Whether a model reasons before it answers, as far as its name tells.
pub(crate) fn is_reasoning_model(model: &str) -> bool {
    let model = model.rsplit('/').next().unwrap_or(model);
    let o_series = |m: &str| {
        let mut letters = m.chars();
        letters.next() == Some('o') && letters.next().is_some_and(|c| c.is_ascii_digit())
    };
    o_series(model)
        || (model.starts_with("gpt-5") && !model.contains("-chat"))
        || model.starts_with("gpt-6")
        || model.starts_with("codex-")
        || (model.starts_with("grok-4") && !model.contains("non-reasoning"))
        || model.starts_with("grok-3-mini")
}

/// Whether a model refuses sampling parameters.
pub(crate) fn refuses_sampling(model: &str) -> bool {
    is_reasoning_model(model) && !model.starts_with("grok")
}

#[cfg(test)]
mod tests;
