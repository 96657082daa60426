//! One question to a provider, with its retries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use mcp_resilience::backoff::Schedule;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use super::body::{Body, ByteStream};
use super::{HttpClient, causes, host_of};
use crate::classify::{self, Verdict};
use crate::wire::{Codec, Encoded, ModelOptions, Origin};
use crate::{BackendError, Event, EventStream, Request, TimeoutPhase};

/// A key and the header it goes into.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) header: HeaderName,
    /// What stands before the key, such as `Bearer `.
    pub(crate) prefix: &'static str,
    pub(crate) secret: SecretString,
}

impl Key {
    fn value(&self) -> Option<HeaderValue> {
        let mut value =
            HeaderValue::from_str(&format!("{}{}", self.prefix, self.secret.expose_secret())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// A text without the key in it.
    fn scrub(&self, text: &mut String) {
        let secret = self.secret.expose_secret();
        // Shorter ones are no secrets, and would tear the text apart.
        const SHORTEST: usize = 6;
        if secret.len() < SHORTEST {
            return;
        }
        if text.contains(secret) {
            *text = text.replace(secret, "[key]");
        }
        // A quotation may end in the middle of the key.
        let quoted = text.strip_suffix('…').unwrap_or(text);
        let cut = (SHORTEST..secret.len())
            .rev()
            .find(|&n| secret.get(..n).is_some_and(|part| quoted.ends_with(part)));
        if let Some(cut) = cut {
            text.truncate(quoted.len() - cut);
            text.push_str("[key]…");
        }
    }
}

/// What is needed to ask one model.
pub(crate) struct Exchange {
    pub(crate) client: HttpClient,
    pub(crate) codec: Arc<dyn Codec>,
    pub(crate) origin: Origin,
    pub(crate) options: ModelOptions,
    pub(crate) key: Option<Key>,
}

impl Exchange {
    /// Asks. Nothing happens before the stream is polled.
    pub(crate) fn ask(self: Arc<Self>, request: Request, cancel: CancellationToken) -> EventStream {
        let retries = None;
        let run =
            Run { exchange: self, request, cancel, retries, held: VecDeque::new(), body: None, over: false };
        Box::pin(stream::unfold(run, |mut run| async move { run.next().await.map(|next| (next, run)) }))
    }

    fn scrub(&self, mut error: BackendError) -> BackendError {
        if let Some(key) = &self.key {
            use BackendError as E;
            match &mut error {
                E::Http { message, code, .. } | E::InStream { message, code, .. } => {
                    key.scrub(message);
                    code.iter_mut().for_each(|code| key.scrub(code));
                }
                E::Decode { reason, .. } | E::Transport { reason, .. } => key.scrub(reason),
                E::Auth { message, .. } | E::Exhausted { message, .. } => key.scrub(message),
                _ => {}
            }
        }
        error
    }

    async fn send(&self, request: &Request) -> Result<(HeaderMap, Body), Verdict> {
        let provider = || self.origin.provider.to_string();
        let Encoded { url, headers, body } = self.codec.encode(request, &self.options);
        let failed = |reason: String, retry| Verdict {
            error: BackendError::Transport { provider: provider(), reason },
            retry,
        };
        let body = serde_json::to_vec(&body).map_err(|error| failed(error.to_string(), false))?;
        let client = self.client.for_url(&url).await.map_err(|reason| failed(reason, false))?;
        let mut post = client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        for (name, value) in headers {
            post = post.header(name, value);
        }
        if let Some(key) = &self.key {
            let value = key.value().ok_or_else(|| Verdict {
                error: BackendError::Auth {
                    provider: provider(),
                    message: "the key holds characters that no key has, such as a line break".to_owned(),
                    hint: self.origin.key_hint.to_string(),
                },
                retry: false,
            })?;
            post = post.header(key.header.clone(), value);
        }
        let limit = self.client.options().headers_timeout;
        let response = match tokio::time::timeout(limit, post.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let host = host_of(&url);
                if error.is_timeout() && error.is_connect() {
                    let limit = self.client.options().connect_timeout;
                    let phase = TimeoutPhase::Connect;
                    let error = BackendError::Timeout { provider: provider(), phase, limit };
                    return Err(Verdict { error, retry: true });
                }
                // A refused connection on this machine is a server that is not running; asking again is no use.
                let hopeless = error.is_builder() || (error.is_connect() && super::is_loopback(&url));
                let reason = match error.is_connect() {
                    // What is around it says three times that it was a connection.
                    true => super::innermost(&error),
                    false => causes(&error.without_url()),
                };
                let doubt = if hopeless { "; is a model server running there?" } else { "" };
                return Err(failed(format!("{host}: {reason}{doubt}"), !hopeless));
            }
            Err(_) => {
                let error =
                    BackendError::Timeout { provider: provider(), phase: TimeoutPhase::Headers, limit };
                return Err(Verdict { error, retry: true });
            }
        };
        let status = response.status();
        let headers = response.headers().clone();
        if status.is_success() {
            let name = provider();
            let bytes: ByteStream = Box::pin(response.bytes_stream().map(move |chunk| {
                chunk.map_err(|error| {
                    tracing::debug!(provider = %name, reason = causes(&error.without_url()), "the connection broke");
                    BackendError::Truncated { provider: name.clone() }
                })
            }));
            let decoder = self.codec.decoder(request);
            return Ok((headers, Body::new(bytes, decoder, self.origin.clone(), self.client.options())));
        }
        if status.is_redirection() {
            let to = headers.get("location").and_then(|to| to.to_str().ok()).and_then(|to| url.join(to).ok());
            let to = to.map(|to| format!(" to {}", host_of(&to))).unwrap_or_default();
            let error = BackendError::Http {
                provider: provider(),
                status: status.as_u16(),
                code: None,
                message: format!(
                    "{} redirects{to}, and a key is never sent on; set base_url to the real address",
                    host_of(&url)
                ),
                retry_after: None,
                request_id: None,
            };
            return Err(Verdict { error, retry: false });
        }
        let text = error_body(response).await;
        Err(classify::http(&self.origin, status.as_u16(), &headers, &text))
    }

    fn wait(&self, error: &BackendError, schedule: &mut Schedule) -> Option<Duration> {
        let options = self.client.options();
        let drawn = schedule.next()?;
        let wait = error.retry_after().map_or(drawn, |asked| asked.max(options.shortest_wait));
        Some(wait.min(options.longest_wait))
    }
}

/// The body of an error answer: bounded, for a broken server may not even end it.
async fn error_body(response: reqwest::Response) -> String {
    const MOST: usize = 64 << 10;
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    let read = async {
        while let Some(Ok(chunk)) = chunks.next().await {
            let room = MOST.saturating_sub(body.len()).min(chunk.len());
            body.extend_from_slice(&chunk[..room]);
            if body.len() >= MOST {
                break;
            }
        }
    };
    // What came until then is better than nothing.
    _ = tokio::time::timeout(PATIENCE, read).await;
    String::from_utf8_lossy(&body).into_owned()
}

/// A question on its way.
struct Run {
    exchange: Arc<Exchange>,
    request: Request,
    cancel: CancellationToken,
    /// The waits between attempts, from the first failure on.
    retries: Option<Schedule>,
    /// Told before the first content: kept back, for until then a failed attempt leaves no trace.
    held: VecDeque<Event>,
    body: Option<Body>,
    over: bool,
}

impl Run {
    async fn next(&mut self) -> Option<Result<Event, BackendError>> {
        if self.over {
            return None;
        }
        let cancel = self.cancel.clone();
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(BackendError::Cancelled),
            next = self.advance() => next,
        };
        let next = next.map_err(|error| self.exchange.scrub(error));
        if matches!(next, Err(_) | Ok(Event::Done { .. })) {
            self.over = true;
            // Closes the connection now, not when the caller drops the stream.
            self.body = None;
        }
        Some(next)
    }

    async fn advance(&mut self) -> Result<Event, BackendError> {
        if self.body.is_none() {
            self.open().await?;
        }
        if let Some(event) = self.held.pop_front() {
            return Ok(event);
        }
        match &mut self.body {
            Some(body) => next_of(body, &self.exchange.origin).await,
            None => Err(BackendError::Truncated { provider: self.exchange.origin.provider.to_string() }),
        }
    }

    /// Sends the request until an answer has begun with something worth telling.
    async fn open(&mut self) -> Result<(), BackendError> {
        let exchange = self.exchange.clone();
        loop {
            let Verdict { error, retry } = match self.attempt().await {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                Err(verdict) => verdict,
            };
            self.held.clear();
            let schedule = self.retries.get_or_insert_with(|| exchange.client.options().retry.schedule());
            let wait = if retry { exchange.wait(&error, schedule) } else { None };
            let Some(wait) = wait else { return Err(error) };
            let error = exchange.scrub(error);
            tracing::warn!(provider = %exchange.origin.provider, %error, ?wait, "the request is sent again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn attempt(&mut self) -> Result<Body, Verdict> {
        let (headers, mut body) = self.exchange.send(&self.request).await?;
        let limits = rate_limits(&headers);
        if !limits.is_empty() {
            self.held.push_back(Event::RateLimit(limits));
        }
        loop {
            match next_of(&mut body, &self.exchange.origin).await {
                Ok(event) => {
                    let bare = matches!(
                        event,
                        Event::Start { .. } | Event::RateLimit(_) | Event::Usage(_) | Event::Unknown(_)
                    );
                    self.held.push_back(event);
                    if !bare {
                        return Ok(body);
                    }
                }
                Err(error) => {
                    let retry = error.is_retryable();
                    return Err(Verdict { error, retry });
                }
            }
        }
    }
}

/// The next event. A decoder always ends with one; should one not, that is an answer cut off.
async fn next_of(body: &mut Body, origin: &Origin) -> Result<Event, BackendError> {
    let cut = || Err(BackendError::Truncated { provider: origin.provider.to_string() });
    body.next().await.unwrap_or_else(cut)
}

fn rate_limits(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| name.as_str().contains("ratelimit"))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}
