//! The Messages format of Anthropic.

mod decode;
mod encode;

use url::Url;

use super::{Codec, Decoder, Encoded, ModelOptions, Origin, endpoint};
use crate::Request;

pub(crate) use encode::thinking;

/// The format's name in [`crate::Wire`].
pub const FORMAT: &str = "messages";

/// The version of the API that the requests are written for.
pub const VERSION: &str = "2023-06-01";

/// The most tokens to write where the user sets no limit: the format demands one.
pub const DEFAULT_MAX_TOKENS: u64 = 4096;

/// The format at one endpoint.
#[derive(Debug, Clone)]
pub struct Messages {
    origin: Origin,
    url: Url,
}

impl Messages {
    /// The format at `base`, with or without the version at its end (such as `https://api.anthropic.com`).
    pub fn new(origin: Origin, base: &Url) -> Self {
        let versioned = base.path().trim_end_matches('/').ends_with("/v1");
        let url = endpoint(base, if versioned { "/messages" } else { "/v1/messages" });
        Self { origin, url }
    }
}

impl Codec for Messages {
    fn encode(&self, request: &Request, options: &ModelOptions) -> Encoded {
        let body = encode::body(request, options, &self.origin.wire);
        Encoded { url: self.url.clone(), headers: vec![("anthropic-version", VERSION)], body }
    }

    fn decoder(&self, request: &Request) -> Box<dyn Decoder> {
        Box::new(decode::MessagesDecoder::new(self.origin.clone(), request))
    }
}

#[cfg(test)]
mod tests;
