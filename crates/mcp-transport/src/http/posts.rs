//! Requests posted past rmcp: one POST, whose response carries the answer, as JSON or in a stream of events.
//!
//! rmcp opens the session, tells it what we have to tell, and keeps the stream of what the server says unasked. For a
//! request, though, it decodes by trying one type after another, hands messages through three tasks, and opens a
//! connection each time. Here the task that asked writes the bytes, reads the bytes, and decodes them once.
//!
//! What is encrypted or goes through a proxy goes through reqwest: its TLS, HTTP/2 and proxies are what a hand-made client
//! would have to repeat. The rest goes on connections that this task drives itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mcp_core::Schema;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode};
use rmcp::model::{JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::auth::WWWAuthenticateParams;
use rmcp::transport::streamable_http_client::{
    AuthRequiredError, HttpStatusError, InsufficientScopeError, StreamableHttpError,
};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use url::Url;

use super::awaited::Awaited;
use super::events::{Event, Events, TooLarge};
use super::headers::{self, ParamHeader};
use super::heard::{self, Heard};
use super::page;
use super::plain::Plain;
use super::reconnects::{self, Reconnects};
use super::response::{Kind, Response};
use super::unpack;
use crate::breach::{Breach, Breaches, Notice};
use crate::decoder::WITH_ARRAYS;
use crate::oauth::{self, AuthorizedClient};
use crate::options::ProgressSender;
use crate::raw::{self, Ids, Request};
use crate::received::Received;
use crate::traced;

pub(crate) type Error = StreamableHttpError<reqwest::Error>;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT: HeaderName = HeaderName::from_static("last-event-id");
/// How much of an error's body is read to find a JSON-RPC error in it.
const ERROR_BODY: usize = 64 * 1024;
/// How long the opening of a session waits for its stream.
const SETTLING: Duration = Duration::from_secs(2);
/// Attempts in a row to open a broken stream again that bring nothing new.
const RESUMES: u32 = 8;
/// How the wait before such an attempt grows where the server wants none.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// The session's id, which the server gives when a session is opened, or opened again after it was lost.
#[derive(Clone)]
pub(crate) struct SessionId {
    current: watch::Sender<Option<HeaderValue>>,
    /// Whether the server has said if it has a stream for what it says unasked.
    listening: watch::Sender<bool>,
    /// How often the server has lost the session and another was opened.
    renewals: watch::Sender<u64>,
    /// The account of streams that are opened again.
    pub(crate) reconnects: Reconnects,
    others: mpsc::Sender<ServerJsonRpcMessage>,
    breaches: Breaches,
}

impl SessionId {
    pub(crate) fn new(others: mpsc::Sender<ServerJsonRpcMessage>, breaches: Breaches) -> Self {
        Self {
            current: watch::Sender::default(),
            listening: watch::Sender::default(),
            renewals: watch::Sender::default(),
            reconnects: Reconnects::default(),
            others,
            breaches,
        }
    }

    /// The server wants its streams to be opened again after this time. What is waited, which is told once where it is another
    /// time.
    pub(crate) fn wants(&self, asked: Duration) -> Duration {
        let kept = reconnects::kept(asked);
        if kept != asked && self.reconnects.is_first_to_be_corrected() {
            self.breaches.notice(Notice::Retry { asked, kept });
        }
        kept
    }

    /// A session was opened.
    pub(crate) fn opened(&self, id: Option<&str>) {
        let id = id.and_then(|id| HeaderValue::from_str(id).ok());
        let before = self.current.send_replace(id);
        if before.is_some() {
            self.renewals.send_modify(|renewals| *renewals += 1);
            // A server that lost its sessions may be another by now.
            for kind in ["tools", "prompts", "resources"] {
                let notice = serde_json::json!({
                    "jsonrpc": "2.0", "method": format!("notifications/{kind}/list_changed")
                });
                if let Ok(notice) = serde_json::from_value(notice) {
                    // Where nobody has room for it, many notices are on their way already.
                    let _ = self.others.try_send(notice);
                }
            }
        }
    }

    /// A stream for what the server says unasked was opened, or refused.
    pub(crate) fn listening(&self) {
        self.listening.send_replace(true);
    }

    fn current(&self) -> Option<HeaderValue> {
        self.current.borrow().clone()
    }
}

/// How requests reach one server.
pub(super) struct Way {
    pub(super) client: AuthorizedClient,
    /// The shorter way, where there is one.
    pub(super) plain: Option<Plain>,
    pub(super) url: Url,
    /// What came back so far.
    pub(super) received: Received,
}

impl Way {
    async fn send(
        &self,
        method: Method,
        mut headers: HeaderMap,
        body: Option<Bytes>,
        token: Option<String>,
    ) -> Result<Response, Error> {
        if let Some(plain) = &self.plain {
            oauth::bear(&mut headers, token)?;
            let answer = plain.send(&method, &self.url, headers, body).await?;
            return Ok(Response::from(answer).counted(&self.received));
        }
        let mut request = reqwest::Request::new(method, self.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        Ok(Response::from(self.client.execute(request, token).await?).counted(&self.received))
    }
}

/// The way of requests to one server, and what they have in common.
pub(crate) struct Posts {
    way: Way,
    /// What goes with each request.
    headers: HeaderMap,
    session: SessionId,
    modern: bool,
    /// The revision is one whose messages may come several in one array.
    arrays: bool,
    /// The largest answer, and the longest silence in one.
    limits: Limits,
    ids: Ids,
    /// Tools of which arguments are repeated in headers.
    tools: Mutex<HashMap<String, Arc<[ParamHeader]>>>,
    /// Takes what a stream brings besides the answer.
    others: mpsc::Sender<ServerJsonRpcMessage>,
    awaited: Awaited,
    breaches: Breaches,
}

/// What an answer may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    /// How long it may bring nothing once it has begun.
    pub(crate) silence: Option<Duration>,
}

impl Limits {
    /// The next piece of a body.
    pub(super) async fn chunk(self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        let chunk = response.chunk();
        match self.silence {
            Some(silence) => tokio::time::timeout(silence, chunk).await.map_err(|_| {
                let reason = format!("the answer brought nothing for {silence:?}");
                std::io::Error::new(std::io::ErrorKind::TimedOut, reason)
            })?,
            None => chunk.await,
        }
    }
}

/// A response that can be read.
enum Body {
    Whole(Response),
    Stream(Response),
    /// An error, read already.
    Error(Bytes),
}

impl Posts {
    pub(super) fn new(
        way: Way,
        configured: &HashMap<HeaderName, HeaderValue>,
        session: SessionId,
        limits: Limits,
        (awaited, breaches): (Awaited, Breaches),
    ) -> Self {
        let mut headers = HeaderMap::with_capacity(configured.len() + 8);
        headers.extend(configured.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(Kind::Json.name()));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(unpack::accepted(&way.url)));
        let others = session.others.clone();
        Self {
            way,
            headers,
            session,
            modern: false,
            arrays: false,
            limits,
            ids: Ids::default(),
            tools: Mutex::default(),
            others,
            awaited,
            breaches,
        }
    }

    /// The same for the protocol revision that was agreed on.
    pub(crate) fn speaking(mut self, version: &str, modern: bool) -> Self {
        self.arrays = version == WITH_ARRAYS;
        if let Ok(version) = HeaderValue::from_str(version) {
            self.headers.insert(VERSION, version);
        }
        self.modern = modern;
        self
    }

    /// Waits until rmcp has asked for the stream of what the server says unasked, which it does right after the handshake of a
    /// session. A request that is faster may break, and that stream, asked for late, be taken for its continuation.
    pub(crate) async fn settled(&self) {
        if !self.modern && self.session.current().is_some() {
            let mut listening = self.session.listening.subscribe();
            // Some servers answer with the first thing they have to say.
            let _ = tokio::time::timeout(SETTLING, listening.wait_for(|listening| *listening)).await;
        }
    }

    /// Counts how often the server has lost the session and another was opened.
    pub(crate) fn renewals(&self) -> watch::Receiver<u64> {
        self.session.renewals.subscribe()
    }

    /// Counts what came back so far.
    pub(crate) fn received(&self) -> Received {
        self.way.received.clone()
    }

    /// An id for a request.
    pub(crate) fn id(&self) -> u64 {
        self.ids.make()
    }

    /// Tells of an answer that no honest server gives.
    pub(crate) fn breach(&self, breach: Breach) {
        self.breaches.note(breach);
    }

    /// Learns which arguments of a tool go into headers.
    ///
    /// # Errors
    ///
    /// Why the tool must not be used.
    pub(crate) fn learn(&self, tool: &str, schema: &Schema) -> Result<(), String> {
        if !self.modern {
            return Ok(());
        }
        let wanted = headers::wanted(schema)?;
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted.is_empty() {
            tools.remove(tool);
        } else {
            tools.insert(tool.to_owned(), wanted.into());
        }
        Ok(())
    }

    /// Sends a request and waits for the message that answers it. Dropping the future closes its connection.
    ///
    /// # Errors
    ///
    /// `SessionExpired`, where the server knows the session no longer and has done nothing.
    pub(crate) async fn ask(
        &self,
        id: u64,
        request: Request<'_>,
        progress: Option<&ProgressSender>,
    ) -> Result<Bytes, Error> {
        if self.modern {
            return self.exchange(id, request, progress).await;
        }
        let (_waiting, elsewhere) = self.awaited.open(id);
        tokio::select! {
            biased;
            answer = self.exchange(id, request, progress) => answer,
            Ok(answer) = elsewhere => Ok(answer),
        }
    }

    /// Sends a request and reads its response to the answer.
    async fn exchange(
        &self,
        id: u64,
        request: Request<'_>,
        progress: Option<&ProgressSender>,
    ) -> Result<Bytes, Error> {
        let line = Bytes::from(request.line(id, progress.is_some())?);
        let session = self.session.current();
        let tool = request.ask.tool().filter(|_| self.modern);
        let mirrored = tool
            .and_then(|tool| self.tools.lock().unwrap_or_else(PoisonError::into_inner).get(tool).cloned());
        let headers = || {
            let mut headers = self.headers.clone();
            if let Some(session) = &session {
                headers.insert(SESSION, session.clone());
            }
            if self.modern {
                headers::add(&mut headers, request.ask, mirrored.as_deref().unwrap_or_default());
            }
            headers
        };
        let post = |token| self.post(headers(), line.clone(), token, session.is_some());
        let body = self.way.client.with_token(post).await?;
        match body {
            Body::Error(error) => Ok(error),
            Body::Whole(response) => {
                let whole = read(response, self.limits).await?;
                let answer = self.take(whole.clone(), id, progress).await?;
                answer.ok_or_else(|| nonsense(&whole))
            }
            Body::Stream(response) => self.follow(response, id, progress, session).await,
        }
    }

    async fn post(
        &self,
        headers: HeaderMap,
        line: Bytes,
        token: Option<String>,
        in_session: bool,
    ) -> Result<Body, Error> {
        let session = headers.get(SESSION).cloned();
        let response = self.way.send(Method::POST, headers, Some(line), token).await?;
        traced::posted(response.version(), session.as_ref().map(HeaderValue::as_bytes));
        let status = response.status();
        if status == StatusCode::NOT_FOUND && in_session {
            response.done();
            return Err(Error::SessionExpired);
        }
        if !status.is_success() {
            return self.refused(response).await;
        }
        match response.kind() {
            Some(Kind::Json) => Ok(Body::Whole(response.unpacked()?)),
            Some(Kind::Events) => Ok(Body::Stream(response.unpacked()?)),
            None if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
                response.done();
                Err(Error::UnexpectedServerResponse("it takes the request and answers nothing".into()))
            }
            None => Err(held(page::NotMcp::read(response, self.limits).await)),
        }
    }

    /// Reads what comes with a status that says no: the error of JSON-RPC, or the status.
    async fn refused(&self, response: Response) -> Result<Body, Error> {
        let error = refusal(response.status(), response.headers(), &self.way.url);
        let Error::HttpStatus(status) = error else {
            response.done();
            return Err(error);
        };
        let mut body = Bytes::new();
        if matches!(status.status, 403 | 429) {
            response.done();
        } else if response.kind() == Some(Kind::Json) {
            if let Ok(response) = response.unpacked()
                && let Ok(whole) = read(response, Limits { bytes: ERROR_BODY, ..self.limits }).await
            {
                body = whole;
            }
            if matches!(raw::read::<Value>(&body), raw::Answer::Error { .. }) {
                return Ok(Body::Error(body));
            }
        } else if status.status >= 500 {
            body = page::beginning(response, page::EXCERPT, self.limits).await;
        } else {
            response.done();
        }
        if status.status < 500 {
            return Err(Error::HttpStatus(status));
        }
        body.truncate(page::EXCERPT);
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(held(page::Broken { status: status.status, retry_after: status.retry_after, body }))
    }

    /// Reads streams until one brings the answer: revisions up to 2025-11-25 let a stream be taken up again where it
    /// broke. From 2026-07-28 on, a request whose stream broke is lost.
    async fn follow(
        &self,
        mut response: Response,
        id: u64,
        progress: Option<&ProgressSender>,
        session: Option<HeaderValue>,
    ) -> Result<Bytes, Error> {
        let mut events = Events::new(self.limits.bytes);
        let mut attempts = 0;
        loop {
            let before = events.last_id().map(str::to_owned);
            loop {
                let event = events
                    .take()
                    .map_err(|TooLarge(limit)| Error::ResponseBodyTooLarge { max_size: limit })?;
                if let Some(asked) = events.retry() {
                    self.session.wants(asked);
                }
                match event {
                    Some(event @ Event { .. }) if event.is_message() && !event.data.is_empty() => {
                        if let Some(answer) = self.take(event.data.freeze(), id, progress).await? {
                            response.done();
                            return Ok(answer);
                        }
                        continue;
                    }
                    Some(_) => continue,
                    None => {}
                }
                match self.limits.chunk(&mut response).await {
                    Ok(Some(bytes)) => events.push(&bytes),
                    Ok(None) => break,
                    // It is there, and makes no sense.
                    Err(error) if is_nonsense(&error) => return Err(error),
                    Err(error) => {
                        tracing::debug!(%error, "a stream of events broke");
                        break;
                    }
                }
            }
            if events.last_id() != before.as_deref() {
                attempts = 0;
            }
            response = self.resume(&mut events, &mut attempts, session.as_ref()).await?;
        }
    }

    /// Opens a stream again after the last event that it brought.
    async fn resume(
        &self,
        events: &mut Events,
        attempts: &mut u32,
        session: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let last = events.last_id().filter(|_| !self.modern).and_then(|id| HeaderValue::from_str(id).ok());
        let Some(last) = last else { return Err(Error::UnexpectedEndOfStream) };
        let mut headers = self.headers.clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static(Kind::Events.name()));
        headers.insert(LAST_EVENT, last);
        if let Some(session) = session {
            headers.insert(SESSION, session.clone());
        }
        while *attempts < RESUMES {
            let grown = BACKOFF.0.saturating_mul(1 << *attempts).min(BACKOFF.1);
            *attempts += 1;
            tokio::time::sleep(reconnects::kept(events.retry().unwrap_or(grown))).await;
            let late = |wait| self.breaches.notice(Notice::Exhausted { wait });
            self.session.reconnects.turn(late).await;
            match self.way.client.with_token(|token| self.open(headers.clone(), token)).await {
                Ok(response) => {
                    events.restart();
                    return Ok(response);
                }
                Err(Error::HttpStatus(status)) if (400..500).contains(&status.status) => break,
                Err(error @ (Error::AuthRequired(_) | Error::InsufficientScope(_))) => return Err(error),
                Err(error) => tracing::debug!(%error, "a broken stream could not be opened again"),
            }
        }
        Err(Error::UnexpectedEndOfStream)
    }

    async fn open(&self, headers: HeaderMap, token: Option<String>) -> Result<Response, Error> {
        let response = self.way.send(Method::GET, headers, None, token).await?;
        if !response.status().is_success() {
            self.refused(response).await?;
            return Err(Error::ServerDoesNotSupportSse);
        }
        if response.kind() != Some(Kind::Events) {
            return Err(Error::ServerDoesNotSupportSse);
        }
        response.unpacked()
    }

    /// Takes what a response brings: the answer, where it is that.
    async fn take(
        &self,
        data: Bytes,
        id: u64,
        progress: Option<&ProgressSender>,
    ) -> Result<Option<Bytes>, Error> {
        if !self.arrays && heard::is_array(&data) {
            tracing::warn!("the server sent several messages in one array, which its revision does not know");
            return Err(nonsense(&data));
        }
        let mut answer = None;
        for heard in heard::all(data, id) {
            match heard {
                Heard::Answer(message) => answer = Some(message),
                Heard::Progress(report) => {
                    if let Some(progress) = progress {
                        // A full channel loses this report: the next one says more.
                        progress.report(report);
                    }
                }
                Heard::Other(message) if self.modern && matches!(*message, JsonRpcMessage::Request(_)) => {
                    tracing::debug!("a request from a server of a revision in which servers send none");
                }
                // It is closed where the session is over.
                Heard::Other(message) => drop(self.others.send(*message).await),
                // Only one request can be answered by this response.
                Heard::Foreign(id) => self.breach(Breach::foreign_id(id, 1)),
                Heard::Noise(error) => {
                    tracing::warn!(%error, "the server sent something that is not a message of MCP");
                }
            }
        }
        Ok(answer)
    }
}

/// The error of a status that says no.
pub(crate) fn refusal(status: StatusCode, headers: &HeaderMap, url: &Url) -> Error {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    match (status, text(WWW_AUTHENTICATE)) {
        // Where a login is made can be found without a challenge, too.
        (StatusCode::UNAUTHORIZED, challenge) => {
            Error::AuthRequired(AuthRequiredError::new(challenge.unwrap_or_default()))
        }
        (StatusCode::FORBIDDEN, Some(challenge)) => {
            let scope = WWWAuthenticateParams::parse(&challenge, url).scope;
            Error::InsufficientScope(InsufficientScopeError::new(challenge, scope))
        }
        _ => HttpStatusError::new(status.as_u16(), text(RETRY_AFTER)).into(),
    }
}

/// Reads a body up to a limit.
async fn read(mut response: Response, limits: Limits) -> Result<Bytes, Error> {
    let limit = limits.bytes;
    let too_large = |length: usize| length > limit;
    let length = response.length().map_or(Ok(0), usize::try_from).unwrap_or(usize::MAX);
    if too_large(length) {
        return Err(Error::ResponseBodyTooLarge { max_size: limit });
    }
    let first = limits.chunk(&mut response).await?.unwrap_or_default();
    if too_large(first.len()) {
        return Err(Error::ResponseBodyTooLarge { max_size: limit });
    }
    // Most come in one piece, and that is not copied.
    let mut more = BytesMut::new();
    while let Some(bytes) = limits.chunk(&mut response).await? {
        if more.is_empty() {
            more.reserve(length);
            more.extend_from_slice(&first);
        }
        if too_large(more.len() + bytes.len()) {
            return Err(Error::ResponseBodyTooLarge { max_size: limit });
        }
        more.extend_from_slice(&bytes);
    }
    response.done();
    Ok(if more.is_empty() { first } else { more.freeze() })
}

/// Whether a response is there and cannot be used: there is no point in taking it up again.
fn is_nonsense(error: &Error) -> bool {
    match error {
        Error::UnexpectedServerResponse(_) => true,
        Error::Io(error) => error.get_ref().is_some_and(|held| held.is::<raw::TooLarge>()),
        _ => false,
    }
}

fn held(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io(std::io::Error::other(error))
}

fn nonsense(body: &[u8]) -> Error {
    let start: String = String::from_utf8_lossy(body).chars().take(80).collect();
    Error::UnexpectedServerResponse(
        format!("a response that does not answer what was asked: {start:?}").into(),
    )
}
