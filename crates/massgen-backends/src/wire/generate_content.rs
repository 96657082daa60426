//! The `generateContent` format of Gemini.

mod decode;
mod encode;

use url::Url;

use super::{Codec, Decoder, Encoded, ModelOptions, Origin};
use crate::Request;

/// The format's name in [`crate::Wire`].
pub const FORMAT: &str = "generate_content";

/// The format at one endpoint.
#[derive(Debug, Clone)]
pub struct GenerateContent {
    origin: Origin,
    base: Url,
}

impl GenerateContent {
    /// The format at `base` (such as `https://generativelanguage.googleapis.com/v1beta`).
    pub fn new(origin: Origin, base: &Url) -> Self {
        Self { origin, base: base.clone() }
    }

    fn url(&self, model: &str) -> Url {
        let mut url = self.base.clone();
        let model = model.strip_prefix("models/").unwrap_or(model);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty();
            match model.split_once('/') {
                Some((collection, model)) => {
                    path.push(collection).push(&format!("{model}:streamGenerateContent"))
                }
                None => path.push("models").push(&format!("{model}:streamGenerateContent")),
            };
        }
        url.query_pairs_mut().append_pair("alt", "sse");
        url
    }
}

impl Codec for GenerateContent {
    fn encode(&self, request: &Request, options: &ModelOptions) -> Encoded {
        let body = encode::body(request, options, &self.origin.wire);
        Encoded { url: self.url(&options.model), headers: Vec::new(), body }
    }

    fn decoder(&self, request: &Request) -> Box<dyn Decoder> {
        Box::new(decode::GenerateContentDecoder::new(self.origin.clone(), request))
    }
}

#[cfg(test)]
mod tests;
