//! One server's login: the token in use, and how it is made, renewed and given more scopes.

use std::sync::Arc;

use mcp_core::ServerName;
use oauth2::ClientSecret;
use rmcp::transport::auth::enterprise::{
    EmaAuthorizationServer, EmaClientAuthentication, EmaExchangeRequest,
};
use rmcp::transport::auth::{
    AuthError, AuthorizationCallback, AuthorizationManager, AuthorizationMetadata, ClientCredentialsConfig,
    JwtSigningAlgorithm, OAuthClientConfig, WWWAuthenticateParams,
};
use tokio::sync::Mutex;
use url::Url;

use super::http::OAuthHttp;
use super::record::{Party, Record};
use super::{Grant, IdentityProvider, LoginKey, OAuthOptions};
use crate::http::Dialer;

/// One login, shared by all requests of a session. The lock is held while it is renewed, so that many requests which
/// find their token expired renew it once; sessions that share the login take turns at the store.
pub(crate) struct Login {
    server: ServerName,
    resource: Url,
    client_name: String,
    options: OAuthOptions,
    http: Arc<OAuthHttp>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    loaded: bool,
    record: Option<Record>,
}

/// An authorization server that was found, and what it says about itself.
struct Found {
    manager: AuthorizationManager,
    metadata: AuthorizationMetadata,
    /// What the resource or its challenge asks for.
    scopes: Vec<String>,
}

impl Login {
    pub(crate) fn new(
        server: ServerName,
        resource: Url,
        client_name: String,
        options: OAuthOptions,
        dialer: Arc<Dialer>,
    ) -> Self {
        let http = Arc::new(OAuthHttp::new(dialer, resource.clone()));
        Self { server, resource, client_name, options, http, state: Mutex::default() }
    }

    /// The token to send, renewed where it is about to expire. `None`: there is no login yet.
    pub(super) async fn token(&self) -> Result<Option<String>, AuthError> {
        let mut state = self.state.lock().await;
        if !state.loaded {
            state.record = self.load().await?;
            state.loaded = true;
        }
        let Some(record) = &state.record else { return Ok(None) };
        if let Some(token) = record.fresh() {
            return Ok(Some(token.to_owned()));
        }
        let sent = record.access_token.clone();
        let _turn = self.options.store.turn(&self.resource).await;
        self.catch_up(&mut state).await;
        if let Some(token) = self.newer(&state, sent.as_deref()) {
            return Ok(Some(token));
        }
        if state.record.as_ref().is_none_or(|record| record.refresh_token.is_none()) {
            return Ok(None);
        }
        let found = self.discover(None).await?;
        self.refresh(&mut state, found).await
    }

    /// The server does not take the token that was sent, or wants one: another token, or `None` where none is to be
    /// had.
    pub(super) async fn rejected(
        &self,
        sent: Option<&str>,
        challenge: &str,
    ) -> Result<Option<String>, AuthError> {
        let mut state = self.state.lock().await;
        if let Some(token) = self.newest(&mut state, sent).await {
            return Ok(Some(token));
        }
        let may_log_in = !self.is_by_user()
            || self.options.authorizer.as_ref().is_some_and(|authorizer| authorizer.makes_logins());
        let has_refresh = |state: &State| {
            sent.is_some() && state.record.as_ref().is_some_and(|record| record.refresh_token.is_some())
        };
        if !may_log_in && !has_refresh(&state) {
            return Ok(None);
        }
        let _turn = self.options.store.turn(&self.resource).await;
        if let Some(token) = self.newest(&mut state, sent).await {
            return Ok(Some(token));
        }
        let refreshable = has_refresh(&state);
        if !may_log_in && !refreshable {
            return Ok(None);
        }
        let mut found = self.discover(Some(challenge)).await?;
        if refreshable {
            if let Some(token) = self.refresh(&mut state, found).await? {
                return Ok(Some(token));
            }
            if !may_log_in {
                return Ok(None);
            }
            found = self.discover(Some(challenge)).await?;
        }
        let scopes = match &self.options.scopes {
            scopes if scopes.is_empty() => found.scopes.clone(),
            scopes => scopes.clone(),
        };
        self.obtain(&mut state, found, scopes).await
    }

    /// The server wants more scopes than the token has: a token with those too, or `None` where none is to be had.
    pub(super) async fn insufficient(
        &self,
        sent: Option<&str>,
        challenge: &str,
    ) -> Result<Option<String>, AuthError> {
        let mut state = self.state.lock().await;
        if let Some(token) = self.newest(&mut state, sent).await {
            return Ok(Some(token));
        }
        if self.is_by_user() && self.options.authorizer.is_none() {
            return Ok(None);
        }
        let _turn = self.options.store.turn(&self.resource).await;
        if let Some(token) = self.newest(&mut state, sent).await {
            return Ok(Some(token));
        }
        let wanted = WWWAuthenticateParams::parse(challenge, &self.resource).scope.unwrap_or_default();
        let mut scopes = state.record.as_ref().map(|record| record.scopes.clone()).unwrap_or_default();
        let had = scopes.len();
        let new = |scopes: &Vec<String>| scopes.get(had..).map(<[_]>::to_vec).unwrap_or_default();
        for scope in wanted.split_whitespace() {
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
        if scopes.len() == had && sent.is_some() {
            tracing::warn!(server = %self.server, "it asks for scopes that were granted already");
            return Ok(None);
        }
        if let (true, Some(authorizer)) = (self.is_by_user(), &self.options.authorizer)
            && !authorizer.consent(&self.server, &new(&scopes)).await
        {
            return Ok(None);
        }
        let found = self.discover(Some(challenge)).await?;
        self.obtain(&mut state, found, scopes).await
    }

    /// A token that somebody else has got meanwhile, in this session or in another one.
    async fn newest(&self, state: &mut State, sent: Option<&str>) -> Option<String> {
        if let Some(token) = self.newer(state, sent) {
            return Some(token);
        }
        self.catch_up(state).await;
        self.newer(state, sent)
    }

    /// Takes over what is kept: other servers at this address share the login, and other programs use it.
    async fn catch_up(&self, state: &mut State) {
        match self.load().await {
            Ok(Some(record)) => state.record = Some(record),
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "the login that is kept cannot be read again"),
        }
    }

    /// The token in use, where it is another than was sent: somebody else was faster.
    fn newer(&self, state: &State, sent: Option<&str>) -> Option<String> {
        let token = state.record.as_ref()?.fresh()?;
        (Some(token) != sent).then(|| token.to_owned())
    }

    fn is_by_user(&self) -> bool {
        self.party() == Party::User
    }

    fn party(&self) -> Party {
        match self.options.grant {
            Grant::User => Party::User,
            Grant::ClientSecret | Grant::PrivateKey { .. } => Party::Program,
            Grant::Enterprise(_) => Party::Enterprise,
        }
    }

    /// Whether a record is of somebody as whom this session logs in.
    fn is_ours(&self, record: &Record) -> bool {
        let id = self.options.identity.client_id.as_ref();
        record.by == self.party() && id.is_none_or(|id| *id == record.client_id)
    }

    async fn discover(&self, challenge: Option<&str>) -> Result<Found, AuthError> {
        let http = self.http.clone();
        let mut manager =
            AuthorizationManager::new_with_oauth_http_client(self.resource.clone(), http).await?;
        let resolution = manager.resolve_metadata_from_challenge(challenge).await?;
        let metadata = resolution.metadata;
        // A server that publishes what it can do and does not name PKCE cannot be told from one that lost it on the
        // way (MCP basic/authorization, "Authorization Code Protection").
        if self.is_by_user()
            && resolution.source.is_discovered()
            && metadata.code_challenge_methods_supported.is_none()
        {
            return Err(AuthError::PkceUnsupported);
        }
        manager.set_metadata(metadata.clone());
        let scopes = manager.select_initial_scopes(&[]).await;
        Ok(Found { manager, metadata, scopes })
    }

    /// Renews the token with the refresh token. `None`: another login is needed.
    async fn refresh(&self, state: &mut State, found: Found) -> Result<Option<String>, AuthError> {
        let Some(mut record) = state.record.clone() else { return Ok(None) };
        let Found { mut manager, metadata, .. } = found;
        if record.issuer != metadata.issuer {
            tracing::info!(server = %self.server, "its authorization server changed: a new login is needed");
            self.keep(state, None).await?;
            return Ok(None);
        }
        manager.set_credential_store(record.credentials().await?);
        let redirect = record.redirect_uri.clone().unwrap_or_else(|| self.resource.to_string());
        manager.configure_client(client(&record.client_id, record.client_secret.as_deref(), &redirect))?;
        match manager.refresh_token().await {
            Ok(response) => {
                record.take(&response);
                let token = record.access_token.clone();
                self.keep(state, Some(record)).await?;
                Ok(token)
            }
            Err(AuthError::AuthorizationRequired | AuthError::TokenRefreshRejected(_)) => {
                self.keep(state, Some(record.without_tokens())).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a login.
    async fn obtain(
        &self,
        state: &mut State,
        found: Found,
        scopes: Vec<String>,
    ) -> Result<Option<String>, AuthError> {
        let record = match &self.options.grant {
            Grant::User => match self.by_user(state.record.as_ref(), found, scopes).await? {
                Some(record) => record,
                None => return Ok(None),
            },
            Grant::ClientSecret | Grant::PrivateKey { .. } => self.as_itself(found, scopes).await?,
            Grant::Enterprise(provider) => self.through(provider, found, scopes).await?,
        };
        let token = record.access_token.clone();
        self.keep(state, Some(record)).await?;
        Ok(token)
    }

    async fn by_user(
        &self,
        before: Option<&Record>,
        found: Found,
        mut scopes: Vec<String>,
    ) -> Result<Option<Record>, AuthError> {
        let Some(authorizer) = &self.options.authorizer else { return Ok(None) };
        let Found { mut manager, metadata, .. } = found;
        let offline = "offline_access".to_owned();
        if !scopes.is_empty()
            && !scopes.contains(&offline)
            && metadata.scopes_supported.as_ref().is_some_and(|supported| supported.contains(&offline))
        {
            scopes.push(offline);
        }
        let redirect = authorizer.redirect_uri();
        let identity = &self.options.identity;
        let takes_documents =
            metadata.additional_fields.get("client_id_metadata_document_supported") == Some(&true.into());
        let known = before.filter(|record| {
            record.issuer == metadata.issuer && record.redirect_uri.as_ref() == Some(&redirect)
        });
        let asked: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let config = if let Some(id) = &identity.client_id {
            client(id, identity.client_secret.as_deref(), &redirect)
        } else if let (Some(document), true) = (&identity.metadata_url, takes_documents) {
            client(document, None, &redirect)
        } else if let Some(record) = known {
            client(&record.client_id, record.client_secret.as_deref(), &redirect)
        } else {
            manager.register_client(&self.client_name, &redirect, &asked).await?
        };
        manager.configure_client(config.clone())?;

        let page = Url::parse(&manager.get_authorization_url(&asked).await?)?;
        if !is_web(&page) {
            return Err(failed("the login page's address is not one of the web"));
        }
        let back =
            authorizer.authorize(&self.server, &page).await.map_err(|error| failed(&error.to_string()))?;
        if let Some((_, reason)) = back.query_pairs().find(|(key, _)| key == "error") {
            return Err(failed(&format!("the authorization server says {reason:?}")));
        }
        let answer = AuthorizationCallback::from_redirect_url(back.as_str())?;
        let response = manager
            .exchange_code_for_token_with_issuer(&answer.code, &answer.csrf_token, answer.issuer.as_deref())
            .await?;
        let mut record = Record {
            issuer: metadata.issuer,
            by: self.party(),
            client_id: config.client_id,
            client_secret: config.client_secret,
            redirect_uri: Some(redirect),
            scopes,
            access_token: None,
            refresh_token: None,
            expires_at: None,
        };
        record.take(&response);
        Ok(Some(record))
    }

    async fn as_itself(&self, found: Found, scopes: Vec<String>) -> Result<Record, AuthError> {
        let Found { mut manager, metadata, .. } = found;
        let id = self.client_id()?;
        let resource = Some(self.resource.to_string());
        let config = match &self.options.grant {
            Grant::PrivateKey { key_pem, algorithm } => ClientCredentialsConfig::PrivateKeyJwt {
                client_id: id.clone(),
                signing_key: key_pem.clone().into_bytes(),
                signing_algorithm: signing(algorithm)?,
                token_endpoint_audience: None,
                scopes: scopes.clone(),
                resource,
            },
            _ => ClientCredentialsConfig::ClientSecret {
                client_id: id.clone(),
                client_secret: self.options.identity.client_secret.clone().unwrap_or_default(),
                scopes: scopes.clone(),
                resource,
            },
        };
        manager.validate_client_credentials_metadata(&config)?;
        manager.configure_client_credentials(&config)?;
        // rmcp's future for this cannot be sent between threads, so it stays on one. Its requests are bounded.
        let runtime = tokio::runtime::Handle::current();
        let exchange = move || runtime.block_on(manager.exchange_client_credentials(&config));
        let response = tokio::task::spawn_blocking(exchange)
            .await
            .map_err(|error| AuthError::InternalError(error.to_string()))??;
        let mut record = self.record(metadata, id, scopes);
        record.take(&response);
        Ok(record)
    }

    async fn through(
        &self,
        provider: &IdentityProvider,
        found: Found,
        scopes: Vec<String>,
    ) -> Result<Record, AuthError> {
        let metadata = found.metadata;
        let id = self.client_id()?;
        let Some(issuer) = metadata.issuer.clone() else {
            return Err(failed("the authorization server does not name itself"));
        };
        let mut here = EmaAuthorizationServer::new(issuer, &metadata.token_endpoint, &id);
        if let Some(secret) = &self.options.identity.client_secret {
            let secret = ClientSecret::new(secret.clone());
            here = here.with_client_authentication(EmaClientAuthentication::ClientSecretBasic(secret));
        }
        let there =
            EmaAuthorizationServer::new(&provider.issuer, &provider.token_endpoint, &provider.client_id);
        let exchange =
            EmaExchangeRequest::new_with_id_token(there, here, self.resource.as_str(), &provider.id_token);
        let token = exchange
            .with_scopes(scopes.clone())
            .exchange(&*self.http, &*self.http)
            .await
            .map_err(|error| failed(&error.to_string()))?;
        let mut record = self.record(metadata, id, scopes);
        record.take_token(token.access_token.secret().clone(), token.expires_in);
        Ok(record)
    }

    fn client_id(&self) -> Result<String, AuthError> {
        let id = self.options.identity.client_id.clone();
        id.ok_or_else(|| failed("this kind of login needs a client_id"))
    }

    fn record(&self, metadata: AuthorizationMetadata, client_id: String, scopes: Vec<String>) -> Record {
        Record {
            issuer: metadata.issuer,
            by: self.party(),
            client_id,
            // It is in the configuration.
            client_secret: None,
            redirect_uri: None,
            scopes,
            access_token: None,
            refresh_token: None,
            expires_at: None,
        }
    }

    async fn load(&self) -> Result<Option<Record>, AuthError> {
        let text = self.options.store.load(&self.resource).await.map_err(store_failed)?;
        Ok(match text.map(|text| serde_json::from_str(&text)) {
            Some(Ok(record)) => Some(record).filter(|record| self.is_ours(record)),
            Some(Err(_)) => {
                tracing::warn!(server = %self.server, "the login that was kept cannot be understood");
                None
            }
            None => None,
        })
    }

    async fn keep(&self, state: &mut State, record: Option<Record>) -> Result<(), AuthError> {
        let text = record.as_ref().map(serde_json::to_string).transpose();
        let text = text.map_err(|error| AuthError::InternalError(error.to_string()))?;
        let issuer = record.as_ref().and_then(|record| record.issuer.clone());
        let login = LoginKey { issuer, resource: self.resource.clone() };
        state.record = record;
        self.options.store.save(&login, text).await.map_err(store_failed)
    }
}

fn client(id: &str, secret: Option<&str>, redirect: &str) -> OAuthClientConfig {
    let config = OAuthClientConfig::new(id, redirect);
    match secret {
        Some(secret) => config.with_client_secret(secret),
        None => config,
    }
}

fn failed(reason: &str) -> AuthError {
    AuthError::AuthorizationFailed(reason.to_owned())
}

fn store_failed(error: super::StoreError) -> AuthError {
    AuthError::CredentialStoreError(error.to_string())
}

fn signing(name: &str) -> Result<JwtSigningAlgorithm, AuthError> {
    Ok(match name {
        "RS256" => JwtSigningAlgorithm::RS256,
        "RS384" => JwtSigningAlgorithm::RS384,
        "RS512" => JwtSigningAlgorithm::RS512,
        "ES256" => JwtSigningAlgorithm::ES256,
        "ES384" => JwtSigningAlgorithm::ES384,
        _ => return Err(failed("the signing algorithm is not known")),
    })
}

/// Whether an address may be handed to a browser: https, or http on this machine, and nothing that a program could
/// take for an option or a command.
fn is_web(page: &Url) -> bool {
    let local = match page.host() {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    (page.scheme() == "https" && page.has_host()) || (page.scheme() == "http" && local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_opened() {
        for (page, expected) in [
            ("https://auth.example/authorize?a=b&state=x(1)$y", true),
            ("http://localhost:4000/authorize", true),
            ("http://127.0.0.1/authorize", true),
            ("http://auth.example/authorize", false),
            ("file:///etc/passwd", false),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
        ] {
            assert_eq!(is_web(&Url::parse(page).unwrap()), expected, "{page}");
        }
    }
}
