//! OAuth for remote servers (MCP basic/authorization): discovery, PKCE, resource indicators, client metadata documents
//! and dynamic registration, step-up to more scopes, refresh. On rmcp's building blocks; when what happens, who is
//! asked and where tokens are kept is decided here.
//!
//! A session that was given [`OAuthOptions`] answers a server's challenge itself. Without an [`Authorizer`] it only
//! uses and renews tokens that are there; a login then is an error that says how to make one.

mod client;
mod http;
mod login;
mod record;
mod tokens;
mod turn;

use std::fmt;
use std::sync::Arc;

use mcp_core::{BoxFuture, ServerName};
use url::Url;

pub(crate) use self::client::{AuthorizedClient, bear};
pub(crate) use self::login::Login;
pub use self::tokens::{FileTokens, MemoryTokens};
pub use self::turn::Turn;

/// Which login: where it was made, and what it is for. Servers at one address share it, whatever they are called; another
/// issuer at that address has no part in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LoginKey {
    /// The authorization server's issuer identifier; `None` where it has none.
    pub issuer: Option<String>,
    /// The address of the server that is logged in at.
    pub resource: Url,
}

/// Keeps the tokens of logins, one login for a resource. A record is opaque text and secret as a whole.
pub trait TokenStore: Send + Sync {
    /// The record for a resource, whoever issued it: it says itself who that is.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where there may be one that cannot be read.
    fn load<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Result<Option<String>, StoreError>>;

    /// Keeps a record in place of any other for the resource, other issuers' too; `None` removes those.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where it cannot be kept.
    fn save<'a>(
        &'a self,
        login: &'a LoginKey,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Waits until nobody else makes or renews the login for a resource: a refresh token may be good for one use only, and
    /// a page need not be shown twice. What was kept meanwhile is looked for afterwards. Default: there is nobody else.
    fn turn<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Turn> {
        let _ = resource;
        Box::pin(std::future::ready(Turn::default()))
    }
}

/// Tokens cannot be read or kept. The text names the place and holds no token.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// Takes a user to the page where a login is made, and brings the answer back.
pub trait Authorizer: Send + Sync {
    /// Whether it makes logins where there are none. Where not, it is only asked for more rights than a login has.
    fn makes_logins(&self) -> bool {
        true
    }

    /// The server wants rights that its login does not have. False: it does not get them. Default: it does.
    fn consent<'a>(&'a self, server: &'a ServerName, scopes: &'a [String]) -> BoxFuture<'a, bool> {
        let _ = (server, scopes);
        Box::pin(std::future::ready(true))
    }

    /// Where the authorization server sends the user back to.
    fn redirect_uri(&self) -> String;

    /// Opens the page; the address to which the user was sent back, query included.
    ///
    /// # Errors
    ///
    /// [`AuthorizeError`] where nobody came back.
    fn authorize<'a>(
        &'a self,
        server: &'a ServerName,
        page: &'a Url,
    ) -> BoxFuture<'a, Result<Url, AuthorizeError>>;
}

/// The user did not come back from the page.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthorizeError(pub String);

/// How this program is known to authorization servers.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ClientIdentity {
    /// An id that was given out beforehand. It is preferred to everything else.
    pub client_id: Option<String>,
    /// The secret that belongs to `client_id`.
    pub client_secret: Option<String>,
    /// The address of a client ID metadata document, for servers that take one.
    pub metadata_url: Option<String>,
}

/// Shows no secret.
impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientIdentity")
            .field("client_id", &self.client_id)
            .field("metadata_url", &self.metadata_url)
            .finish_non_exhaustive()
    }
}

/// How tokens are obtained.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Grant {
    /// By a user, on a page (authorization code with PKCE).
    #[default]
    User,
    /// By this program as itself, with the id and secret of its [`ClientIdentity`] (extension
    /// `io.modelcontextprotocol/oauth-client-credentials`).
    ClientSecret,
    /// By this program as itself, with a signed assertion (the same extension).
    PrivateKey {
        /// The key as PEM, for the `client_id` of the [`ClientIdentity`].
        key_pem: String,
        /// `RS256`, `RS384`, `RS512`, `ES256` or `ES384`.
        algorithm: String,
    },
    /// Through an enterprise's identity provider, which decides for its users (extension
    /// `io.modelcontextprotocol/enterprise-managed-authorization`). The [`ClientIdentity`] is the one at the server's
    /// authorization server.
    Enterprise(IdentityProvider),
}

/// An enterprise's identity provider, and the user's proof of identity there.
#[derive(Clone)]
pub struct IdentityProvider {
    /// Its issuer identifier.
    pub issuer: String,
    /// Its token endpoint.
    pub token_endpoint: String,
    /// This program's id there.
    pub client_id: String,
    /// The user's ID token, issued to that id.
    pub id_token: String,
}

/// How a session makes and keeps logins. Start from [`OAuthOptions::new`].
#[derive(Clone)]
#[non_exhaustive]
pub struct OAuthOptions {
    /// Where tokens are kept.
    pub store: Arc<dyn TokenStore>,
    /// Who takes the user to the page. `None`: nobody; a needed login is an error.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// How this program is known.
    pub identity: ClientIdentity,
    /// How tokens are obtained.
    pub grant: Grant,
    /// The scopes to ask for at first. Empty: those that the server names, and none where it names none.
    pub scopes: Vec<String>,
}

impl OAuthOptions {
    /// Logins by a user, without anybody who would make one.
    pub fn new(store: Arc<dyn TokenStore>) -> Self {
        Self {
            store,
            authorizer: None,
            identity: ClientIdentity::default(),
            grant: Grant::default(),
            scopes: Vec::new(),
        }
    }
}

/// Shows no secret.
impl fmt::Debug for OAuthOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grant = match &self.grant {
            Grant::User => "user",
            Grant::ClientSecret => "client secret",
            Grant::PrivateKey { .. } => "private key",
            Grant::Enterprise(_) => "enterprise",
        };
        f.debug_struct("OAuthOptions")
            .field("identity", &self.identity)
            .field("grant", &grant)
            .field("scopes", &self.scopes)
            .field("interactive", &self.authorizer.is_some())
            .finish_non_exhaustive()
    }
}
