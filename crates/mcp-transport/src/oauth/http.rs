//! The HTTP of logins: the session's own rules for addresses, small bodies, little time, no redirect to elsewhere.

use std::sync::Arc;
use std::time::Duration;

use mcp_core::{Guard, RemoteSpec, ServerName};
use rmcp::transport::auth::{
    OAuthHttpClient, OAuthHttpClientError, OAuthHttpClientFuture, OAuthHttpRedirectPolicy, OAuthHttpRequest,
};

/// The limit for one request, answer included.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest answer.
const BODY: usize = 1024 * 1024;

pub(super) struct OAuthHttp {
    server: ServerName,
    guard: Arc<dyn Guard>,
    /// Follows redirects within an origin.
    follows: reqwest::Client,
    /// Follows none: a code or a secret is in the request.
    stays: reqwest::Client,
}

impl OAuthHttp {
    pub(super) fn new(
        server: ServerName,
        guard: Arc<dyn Guard>,
        follows: reqwest::Client,
        stays: reqwest::Client,
    ) -> Self {
        Self { server, guard, follows, stays }
    }

    async fn send(&self, request: OAuthHttpRequest) -> Result<oauth2::HttpResponse, OAuthHttpClientError> {
        let mut url: url::Url = request.request.uri().to_string().parse()?;
        url.set_query(None);
        // An address that somebody else named is judged like one in the configuration.
        self.guard.admit_url(&self.server, RemoteSpec { url: url.clone(), headers: Default::default() })?;
        let literal = match url.host() {
            Some(url::Host::Ipv4(address)) => Some(address.into()),
            Some(url::Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if let Some(address) = literal {
            self.guard.admit_address(&self.server, url.host_str().unwrap_or_default(), address)?;
        }
        let client = match request.redirect_policy {
            OAuthHttpRedirectPolicy::Follow => &self.follows,
            _ => &self.stays,
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
