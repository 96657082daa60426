//! The HTTP transport of revision 2024-11-05, "HTTP with SSE": one stream of events for everything the server says,
//! and an address that the stream's first event names, to which everything it is told is posted.
//!
//! Newer servers speak streamable HTTP; this one is for those that have not moved. Client and guard are the same.

mod transport;

use std::collections::HashMap;

use mcp_core::{Phase, ServerName, ToolError};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request, Response};
use url::Url;

pub(crate) use self::transport::SseTransport;
use crate::convert::{self, Scene};
use crate::http::{self, Endpoint, Event, Events, TooLarge};
use crate::oauth::AuthorizedClient;
use crate::received::Received;

/// The stream of a session, and where its messages are posted.
pub(crate) struct Stream {
    client: AuthorizedClient,
    headers: HashMap<HeaderName, HeaderValue>,
    post: Url,
    response: Response,
    events: Events,
    received: Received,
    /// Nothing more is read of it.
    over: bool,
}

/// Opens the stream and waits for the address. Not bounded in time: the caller is.
///
/// # Errors
///
/// [`ToolError::AuthRequired`], [`ToolError::Forbidden`] and [`ToolError::Http`] by status, [`ToolError::Malformed`] for
/// something else than a stream that names an address of the same origin, [`ToolError::TooLarge`], [`ToolError::Connection`] where there is none.
pub(crate) async fn open(server: &ServerName, endpoint: Endpoint, limit: usize) -> Result<Stream, ToolError> {
    let malformed = |reason: String| ToolError::Malformed { server: server.clone(), reason };
    let Endpoint { client, url: base, headers, login, .. } = endpoint;
    let client = AuthorizedClient::new(client, login);
    let get = |token| {
        let mut request = Request::new(Method::GET, base.clone());
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        send(&client, request, &headers, token)
    };
    let opening = client.with_token(get);
    let response = opening.await.map_err(|error| {
        let scene = Scene { server, phase: Phase::Handshake, reason: None, stderr: Vec::new() };
        convert::http_error(error, scene)
    })?;
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.trim_start().to_ascii_lowercase().starts_with("text/event-stream") {
        return Err(malformed(
            "it answers with something else than a stream of events. Is this an address of streamable HTTP?"
                .to_owned(),
        ));
    }
    let (events, received) = (Events::new(limit), Received::default());
    let mut stream = Stream { client, headers, post: base.clone(), response, events, received, over: false };
    loop {
        match stream.next().await {
            Some(Ok(Event { kind, data })) if kind == "endpoint" => {
                let post = base
                    .join(String::from_utf8_lossy(&data).trim())
                    .map_err(|error| malformed(format!("the address it gives for messages: {error}")))?;
                // Headers with secrets go there: it must be where its user said.
                if post.origin() != base.origin() {
                    return Err(malformed(
                        "the address it gives for messages is of another origin".to_owned(),
                    ));
                }
                stream.post = post;
                return Ok(stream);
            }
            // Nothing was asked yet.
            Some(Ok(_)) => {}
            Some(Err(TooLarge(limit))) => {
                let what = "an event of its stream".to_owned();
                return Err(ToolError::TooLarge { server: server.clone(), limit, what });
            }
            None => return Err(malformed("its stream ended before it named an address".to_owned())),
        }
    }
}

/// Sends a request with the configured headers, or the token of a login.
async fn send(
    client: &AuthorizedClient,
    mut request: Request,
    headers: &HashMap<HeaderName, HeaderValue>,
    token: Option<String>,
) -> Result<Response, http::Error> {
    request.headers_mut().extend(headers.iter().map(|(name, value)| (name.clone(), value.clone())));
    let server = request.url().clone();
    let response = client.execute(request, token).await?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(http::refusal(response.status(), response.headers(), &server))
    }
}

impl Stream {
    /// Counts what it has brought so far.
    pub(crate) fn received(&self) -> Received {
        self.received.clone()
    }

    /// The next event; `None` where the stream ends or breaks. An event that is too large is the last one. Dropping the
    /// future loses nothing.
    async fn next(&mut self) -> Option<Result<Event, TooLarge>> {
        loop {
            if self.over {
                return None;
            }
            match self.events.take() {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(too_large) => {
                    tracing::warn!(%too_large, "the stream of events is given up");
                    self.over = true;
                    return Some(Err(too_large));
                }
            }
            match self.response.chunk().await {
                Ok(Some(bytes)) => {
                    self.received.add(bytes.len());
                    self.events.push(&bytes);
                }
                Ok(None) => return None,
                Err(error) => {
                    tracing::debug!(error = %error.without_url(), "the stream of events broke");
                    return None;
                }
            }
        }
    }
}
