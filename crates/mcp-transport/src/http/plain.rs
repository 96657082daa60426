//! Requests to an `http:` address that no proxy stands before, on connections that the asking task drives itself.
//!
//! A pool such as reqwest's gives each connection a task of its own. A request and its answer then change tasks twice, and a
//! connection is free again only once that task has run: of a call to a server on the same machine, this is the larger part.
//! hyper speaks the protocol in both. What is encrypted or goes through a proxy takes the way of reqwest: a network that
//! needs either takes a thousand times as long as a change of tasks.

mod connection;
mod idle;
mod wire;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::body::{Body, Incoming};
use hyper::http::response::Parts;
use hyper_util::client::legacy::connect::HttpConnector;
use mcp_core::Refusal;
use reqwest::Method;
use reqwest::header::{HOST, HeaderMap, HeaderValue, LOCATION, USER_AGENT};
use tower_service::Service;
use url::{Position, Url};

use self::connection::Connection;
use self::idle::Idle;
use super::dial::{CONNECT, Dialer, GuardedResolver, Redirect, redirect};
use super::posts::Error;

type Request = hyper::Request<Full<Bytes>>;

/// A request that certainly did not reach its server, because there was no connection.
#[derive(Debug, thiserror::Error)]
#[error("no connection")]
pub(crate) struct Undialled(#[source] Box<dyn std::error::Error + Send + Sync>);

/// The way to one origin.
pub(crate) struct Plain {
    connector: HttpConnector<GuardedResolver>,
    /// What is dialled.
    origin: Uri,
    host: HeaderValue,
    agent: HeaderValue,
    idle: Arc<Idle>,
}

impl Plain {
    /// The way to this address; `None` where it must be another.
    pub(super) fn to(url: &Url, dialer: &Dialer) -> Option<Self> {
        // reqwest makes a header of a name and a password.
        let is_bare = url.username().is_empty() && url.password().is_none();
        if url.scheme() != "http" || !is_bare || dialer.is_proxied(url) {
            return None;
        }
        path(url)?;
        Some(Self {
            connector: dialer.connector(),
            origin: url[..Position::BeforePath].parse().ok()?,
            host: HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).ok()?,
            agent: HeaderValue::from_str(dialer.agent()).ok()?,
            idle: Arc::new(Idle::new(dialer.idle())),
        })
    }

    /// Sends a request, and follows where the server sends it within its origin.
    ///
    /// # Errors
    ///
    /// [`Undialled`] within [`Error::Io`] for what was certainly not sent.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, Error> {
        let mut at = url.clone();
        for hops in 1.. {
            let answer = loop {
                let request = self.request(method, &at, headers.clone(), body.clone())?;
                if let Some(answer) = self.exchange(request).await? {
                    break answer;
                }
            };
            let Some(to) = answer.leads_to(&at) else { return Ok(answer) };
            match redirect(answer.head().status, url, &to, hops) {
                Redirect::Follow => answer.done(),
                Redirect::Stop => return Ok(answer),
                Redirect::Refuse(refusal) => return Err(held(Elsewhere(refusal))),
            }
            at = to;
        }
        Err(Error::UnexpectedEndOfStream)
    }

    /// One request. `None`: the kept connection was gone before anything of it had left. Each time that is one connection less.
    async fn exchange(&self, mut request: Request) -> Result<Option<Answer>, Error> {
        loop {
            let (mut connection, is_new) = match self.idle.take() {
                Some(connection) => (connection, false),
                None => (self.dial().await?, true),
            };
            let mut error = match connection.send(request).await {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    return Ok(Some(Answer { head, body, connection, idle: self.idle.clone() }));
                }
                Err(error) => error,
            };
            match error.take_message() {
                // The connection had ended, and nothing was sent.
                Some(unsent) if !is_new => request = unsent,
                Some(_) => return Err(held(Undialled(Box::new(error.into_error())))),
                // A reset that came before the first write, and was found out by it.
                None if !connection.has_written() && !is_new => return Ok(None),
                None if !connection.has_written() => {
                    return Err(held(Undialled(Box::new(error.into_error()))));
                }
                None => return Err(held(error.into_error())),
            }
        }
    }

    async fn dial(&self) -> Result<Connection, Error> {
        let mut connector = self.connector.clone();
        let dialling = async {
            std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
            let stream = connector.call(self.origin.clone()).await?;
            Ok(Connection::over(stream).await?)
        };
        let dialled = tokio::time::timeout(CONNECT, dialling).await.unwrap_or_else(|_| {
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "no connection in time").into())
        });
        dialled.map_err(|error| held(Undialled(error)))
    }

    fn request(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Request, Error> {
        let path = path(url).ok_or_else(|| {
            Error::UnexpectedServerResponse("it redirects to an address that HTTP cannot carry".into())
        })?;
        let mut request = Request::new(Full::new(body.unwrap_or_default()));
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method.clone(), path, headers);
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.entry(USER_AGENT).or_insert_with(|| self.agent.clone());
        Ok(request)
    }
}

/// A redirect to where a request may not go.
#[derive(Debug, thiserror::Error)]
#[error("redirected")]
struct Elsewhere(#[source] Refusal);

/// What a URL asks its host for.
fn path(url: &Url) -> Option<Uri> {
    url[Position::BeforePath..Position::AfterQuery].parse().ok()
}

fn held(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Io(std::io::Error::other(error))
}

/// What a server answers, and the connection by which the rest of it comes.
pub(super) struct Answer {
    head: Parts,
    body: Incoming,
    connection: Connection,
    idle: Arc<Idle>,
}

impl Answer {
    pub(super) fn head(&self) -> &Parts {
        &self.head
    }

    /// How long the body says it is.
    pub(super) fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece of the body. Dropping the future loses nothing.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Self { body, connection, .. } = self;
        let piece = std::future::poll_fn(|cx| connection.poll_piece(body, cx)).await;
        piece.transpose().map_err(held)
    }

    /// No more of it is read. Another request may have the connection, once what is left has come.
    pub(super) fn done(self) {
        self.idle.keep(self.connection, self.body);
    }

    /// Where it sends whoever asked.
    fn leads_to(&self, from: &Url) -> Option<Url> {
        if !self.head.status.is_redirection() {
            return None;
        }
        from.join(self.head.headers.get(LOCATION)?.to_str().ok()?).ok()
    }
}
