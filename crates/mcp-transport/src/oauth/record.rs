//! What is kept of a login.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oauth2::basic::BasicTokenType;
use oauth2::{AccessToken, RefreshToken, TokenResponse};
use rmcp::transport::auth::{
    AuthError, CredentialStore, InMemoryCredentialStore, OAuthTokenResponse, StoredCredentials,
    VendorExtraTokenFields,
};
use serde::{Deserialize, Serialize};

/// A token is renewed this long before it expires.
const EARLY: u64 = 30;

/// Who a login speaks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Party {
    /// The user.
    #[default]
    User,
    /// This program.
    Program,
    /// The user, by the word of an enterprise.
    Enterprise,
}

/// A login: who made it, where, and its tokens. Bound to one issuer: tokens and ids of one are never shown to another.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) issuer: Option<String>,
    /// Who it speaks for. Servers at one address share a login only where they log in the same way.
    #[serde(default)]
    pub(super) by: Party,
    pub(super) client_id: String,
    pub(super) client_secret: Option<String>,
    /// The address that the client id was registered with.
    pub(super) redirect_uri: Option<String>,
    /// What was asked for, whether or not all of it was granted.
    pub(super) scopes: Vec<String>,
    pub(super) access_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    /// In seconds since 1970.
    pub(super) expires_at: Option<u64>,
}

impl Record {
    /// Takes the tokens of a response over.
    pub(super) fn take(&mut self, response: &OAuthTokenResponse) {
        self.access_token = Some(response.access_token().secret().clone());
        if let Some(refresh) = response.refresh_token() {
            self.refresh_token = Some(refresh.secret().clone());
        }
        self.expires_at = response.expires_in().map(|lifetime| now() + lifetime.as_secs());
        if let Some(granted) = response.scopes() {
            for scope in granted.iter().map(|scope| scope.to_string()) {
                if !self.scopes.contains(&scope) {
                    self.scopes.push(scope);
                }
            }
        }
    }

    /// Takes a token that lives for so long.
    pub(super) fn take_token(&mut self, token: String, lifetime: Option<Duration>) {
        self.access_token = Some(token);
        self.expires_at = lifetime.map(|lifetime| now() + lifetime.as_secs());
    }

    /// The token, where it is good for a while yet.
    pub(super) fn fresh(&self) -> Option<&str> {
        let token = self.access_token.as_deref()?;
        // A token that lives shorter than the margin is used up to its end.
        self.expires_at
            .is_none_or(|end| now() + EARLY < end || now() < end && end - now() < EARLY / 2)
            .then_some(token)
    }

    /// Forgets the tokens, and keeps who we are at the issuer.
    pub(super) fn without_tokens(mut self) -> Self {
        (self.access_token, self.refresh_token, self.expires_at) = (None, None, None);
        self
    }

    /// The login in rmcp's form, for a refresh.
    pub(super) async fn credentials(&self) -> Result<InMemoryCredentialStore, AuthError> {
        let access = AccessToken::new(self.access_token.clone().unwrap_or_default());
        let mut response =
            OAuthTokenResponse::new(access, BasicTokenType::Bearer, VendorExtraTokenFields::default());
        response.set_refresh_token(self.refresh_token.clone().map(RefreshToken::new));
        let stored =
            StoredCredentials::new(self.client_id.clone(), Some(response), self.scopes.clone(), None);
        let store = InMemoryCredentialStore::new();
        store.save(stored.with_issuer(self.issuer.clone())).await?;
        Ok(store)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
