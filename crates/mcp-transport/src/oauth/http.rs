//! The HTTP of logins: the session's own rules for addresses, small bodies, little time, no redirect to elsewhere.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rmcp::transport::auth::{
    OAuthHttpClient, OAuthHttpClientError, OAuthHttpClientFuture, OAuthHttpRedirectPolicy, OAuthHttpRequest,
};
use tokio::sync::OnceCell;
use url::Url;

use crate::http::{Dialer, within_origin};

/// The limit for one request, answer included.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer.
const BODY: usize = 1024 * 1024;

pub(super) struct OAuthHttp {
    dialer: Arc<Dialer>,
    /// The server that the login is for.
    resource: Url,
    clients: OnceCell<Clients>,
}

struct Clients {
    /// Follows redirects within an origin.
    follows: reqwest::Client,
    /// Follows none: a code or a secret is in the request.
    stays: reqwest::Client,
}

impl OAuthHttp {
    pub(super) fn new(dialer: Arc<Dialer>, resource: Url) -> Self {
        Self { dialer, resource, clients: OnceCell::new() }
    }

    async fn send(&self, request: OAuthHttpRequest) -> Result<oauth2::HttpResponse, OAuthHttpClientError> {
        let mut url: Url = request.request.uri().to_string().parse()?;
        url.set_query(None);
        // An address that somebody else named: a server must not send us to where only we can go.
        self.dialer.guard().admit_login_url(self.dialer.server(), &url, &self.resource)?;
        self.dialer.admit(&url).await?;
        // Most sessions need no login.
        let clients = self.clients.get_or_try_init(async || {
            Ok::<_, String>(Clients {
                follows: self.dialer.client(Policy::custom(within_origin))?,
                stays: self.dialer.client(Policy::none())?,
            })
        });
        let clients = clients.await?;
        let client = match request.redirect_policy {
            OAuthHttpRedirectPolicy::Follow => &clients.follows,
            _ => &clients.stays,
        };
        let mut response =
            client.execute(request.request.try_into()?).await.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > BODY {
                return Err(format!("the answer is larger than {BODY} bytes").into());
            }
            body.extend_from_slice(&chunk);
        }
        let whole: oauth2::http::Response<reqwest::Body> = response.into();
        Ok(whole.map(|_| body))
    }
}

impl OAuthHttpClient for OAuthHttp {
    fn execute(&self, request: OAuthHttpRequest) -> OAuthHttpClientFuture<'_> {
        Box::pin(async move {
            match tokio::time::timeout(LIMIT, self.send(request)).await {
                Ok(answered) => answered,
                Err(_) => Err("the authorization server does not answer in time".into()),
            }
        })
    }
}
