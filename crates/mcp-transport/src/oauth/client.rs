//! An HTTP client that puts the token into each request, and makes or renews the login when the server says so.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use oauth2::http::header::AUTHORIZATION;
use oauth2::http::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse, StreamableHttpResponseLimits,
};

use super::Login;
use crate::http::SessionId;

/// How often one request may lead to another login, more scopes included.
const LOGINS: usize = 3;

type Error = StreamableHttpError<reqwest::Error>;
type EventStream = futures_util::stream::BoxStream<'static, Result<sse_stream_02::Sse, sse_stream_02::Error>>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// reqwest's client, logged in where there is a [`Login`].
#[derive(Clone)]
pub(crate) struct AuthorizedClient {
    http: reqwest::Client,
    login: Option<Arc<Login>>,
    session: Option<SessionId>,
}

impl AuthorizedClient {
    pub(crate) fn new(http: reqwest::Client, login: Option<Arc<Login>>) -> Self {
        Self { http, login, session: None }
    }

    /// The same client, which keeps the id of each session that is opened with it.
    pub(crate) fn noting(mut self, session: SessionId) -> Self {
        self.session = Some(session);
        self
    }

    /// Sends a request with this token.
    pub(crate) async fn execute(
        &self,
        mut request: reqwest::Request,
        token: Option<String>,
    ) -> Result<reqwest::Response, Error> {
        bear(request.headers_mut(), token)?;
        Ok(self.http.execute(request).await?)
    }

    fn note(&self, opens: bool, response: &StreamableHttpPostResponse) {
        use StreamableHttpPostResponse::{Json, Sse};
        if let (true, Some(session), Json(_, id) | Sse(_, id)) = (opens, &self.session, response) {
            session.opened(id.as_deref());
        }
    }

    /// The same events, with times to wait before the stream is opened again that can be kept to: rmcp takes a server at its
    /// word.
    fn tempered(&self, stream: EventStream) -> EventStream {
        let Some(session) = self.session.clone() else { return stream };
        let temper = move |mut event: sse_stream_02::Sse| {
            event.retry =
                event.retry.map(|asked| session.wants(Duration::from_millis(asked)).as_millis() as u64);
            event
        };
        stream.map_ok(temper).boxed()
    }

    /// Sends a request with the token there is, and again where that brings another token.
    pub(crate) async fn with_token<T, F>(&self, call: impl Fn(Option<String>) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        // Boxed: making a login is a large future, and hardly any request waits for one.
        let mut token = match &self.login {
            Some(login) => Box::pin(login.token()).await?,
            None => None,
        };
        let mut logins = 0;
        loop {
            let error = match call(token.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let login = match &self.login {
                Some(login) if logins < LOGINS => login,
                _ => return Err(error),
            };
            logins += 1;
            let sent = token.as_deref();
            let renewed = match &error {
                Error::AuthRequired(challenge) => {
                    Box::pin(login.rejected(sent, &challenge.www_authenticate_header)).await?
                }
                Error::InsufficientScope(challenge) => {
                    Box::pin(login.insufficient(sent, &challenge.www_authenticate_header)).await?
                }
                _ => return Err(error),
            };
            match renewed {
                Some(renewed) => token = Some(renewed),
                // There is no other login to be had: the server's answer stands.
                None => return Err(error),
            }
        }
    }
}

/// Puts a token into the headers of a request.
///
/// # Errors
///
/// For a token that HTTP cannot carry.
pub(crate) fn bear(headers: &mut HeaderMap, token: Option<String>) -> Result<(), Error> {
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            Error::UnexpectedServerResponse("the login's token is none that HTTP can carry".into())
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(())
}

impl StreamableHttpClient for AuthorizedClient {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Error> {
        self.with_token(|token| {
            self.http.post_message(uri.clone(), message.clone(), session.clone(), token, headers.clone())
        })
        .await
    }

    async fn post_message_with_response_limits(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _: Option<String>,
        headers: Headers,
        limits: StreamableHttpResponseLimits,
    ) -> Result<StreamableHttpPostResponse, Error> {
        let opens = matches!(
            &message,
            JsonRpcMessage::Request(request) if matches!(request.request, ClientRequest::InitializeRequest(_))
        );
        let response = self
            .with_token(|token| {
                self.http.post_message_with_response_limits(
                    uri.clone(),
                    message.clone(),
                    session.clone(),
                    token,
                    headers.clone(),
                    limits,
                )
            })
            .await?;
        self.note(opens, &response);
        Ok(match response {
            StreamableHttpPostResponse::Sse(stream, id) => {
                StreamableHttpPostResponse::Sse(self.tempered(stream), id)
            }
            whole => whole,
        })
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<(), Error> {
        // A session that ends is no reason for a login.
        let token = match &self.login {
            Some(login) => login.token().await?,
            None => None,
        };
        self.http.delete_session(uri, session, token, headers).await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: Headers,
    ) -> Result<EventStream, Error> {
        self.with_token(|token| {
            self.http.get_stream(uri.clone(), session.clone(), last_event.clone(), token, headers.clone())
        })
        .await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _: Option<String>,
        headers: Headers,
        max: usize,
    ) -> Result<EventStream, Error> {
        if let Some(session) = &self.session {
            // rmcp opens it again as soon as the server likes, and as often.
            session.reconnects.turn_to_listen().await;
        }
        let stream = self
            .with_token(|token| {
                self.http.get_stream_with_max_sse_event_size(
                    uri.clone(),
                    session.clone(),
                    last_event.clone(),
                    token,
                    headers.clone(),
                    max,
                )
            })
            .await;
        if let Some(session) = &self.session {
            session.listening();
        }
        Ok(self.tempered(stream?))
    }
}
