//! A response, whichever way it came, unpacked.

use bytes::Bytes;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use reqwest::{StatusCode, Version};

use super::plain::Answer;
use super::posts::Error;
use super::unpack::Unpack;
use crate::received::Received;

/// The two media types that carry messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Events,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Events => "text/event-stream",
        }
    }
}

/// A response of which the head is there.
pub(super) struct Response {
    way: Way,
    packed: Option<Unpack>,
    received: Received,
}

enum Way {
    Pooled(reqwest::Response),
    Plain(Box<Answer>),
}

impl From<reqwest::Response> for Response {
    fn from(response: reqwest::Response) -> Self {
        Self { way: Way::Pooled(response), packed: None, received: Received::default() }
    }
}

impl From<Answer> for Response {
    fn from(answer: Answer) -> Self {
        Self { way: Way::Plain(Box::new(answer)), packed: None, received: Received::default() }
    }
}

impl Response {
    /// Counts what comes of its body there.
    pub(super) fn counted(mut self, received: &Received) -> Self {
        self.received = received.clone();
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        match &self.way {
            Way::Pooled(response) => response.status(),
            Way::Plain(answer) => answer.head().status,
        }
    }

    pub(super) fn version(&self) -> Version {
        match &self.way {
            Way::Pooled(response) => response.version(),
            Way::Plain(_) => Version::HTTP_11,
        }
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        match &self.way {
            Way::Pooled(response) => response.headers(),
            Way::Plain(answer) => &answer.head().headers,
        }
    }

    /// The kind of its body, if it is one of the two that carry messages.
    pub(super) fn kind(&self) -> Option<Kind> {
        let kind = self.headers().get(CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        [Kind::Json, Kind::Events].into_iter().find(|known| known.name().eq_ignore_ascii_case(kind))
    }

    /// Makes what follows the body as it was before it was compressed.
    ///
    /// # Errors
    ///
    /// For a coding that is not known here.
    pub(super) fn unpacked(mut self) -> Result<Self, Error> {
        let Some(coding) = self.headers().get(CONTENT_ENCODING) else { return Ok(self) };
        let coding = String::from_utf8_lossy(coding.as_bytes()).trim().to_ascii_lowercase();
        match coding.as_str() {
            "" | "identity" => {}
            "gzip" | "x-gzip" => self.packed = Some(Unpack::default()),
            _ => {
                let coding: String = coding.chars().take(40).collect();
                return Err(Error::UnexpectedServerResponse(
                    format!("an answer in the encoding {coding:?}, which was not asked for").into(),
                ));
            }
        }
        Ok(self)
    }

    /// How long the body says it is, where that is known of what it is unpacked to.
    pub(super) fn length(&self) -> Option<u64> {
        match &self.way {
            _ if self.packed.is_some() => None,
            Way::Pooled(response) => response.content_length(),
            Way::Plain(answer) => answer.length(),
        }
    }

    /// The next piece of the body. Dropping the future loses nothing.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(packed) = &mut self.packed
                && let Some(piece) = packed.next()?
            {
                return Ok(Some(piece));
            }
            let piece = match &mut self.way {
                Way::Pooled(response) => response.chunk().await.map_err(reqwest::Error::without_url)?,
                Way::Plain(answer) => answer.chunk().await?,
            };
            self.received.add(piece.as_ref().map_or(0, Bytes::len));
            match (piece, &mut self.packed) {
                (Some(piece), Some(packed)) => packed.push(piece),
                (None, Some(packed)) => return packed.end(),
                (piece, None) => return Ok(piece),
            }
        }
    }

    /// No more of it is read. Its connection may be used again.
    pub(super) fn done(self) {
        if let Way::Plain(answer) = self.way {
            answer.done();
        }
    }
}
