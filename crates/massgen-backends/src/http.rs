//! Sending a request and reading its stream: limits, retries, cancellation. What a body means is `wire`'s.

mod body;
mod exchange;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mcp_resilience::backoff::Backoff;
use url::{Host, Url};

use crate::BackendError;

#[cfg(test)]
pub(crate) use body::Body;
pub(crate) use exchange::{Exchange, Key};

/// The limits of all requests of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpOptions {
    /// Until a connection stands.
    pub connect_timeout: Duration,
    /// From sending a request until the answer's headers.
    pub headers_timeout: Duration,
    /// Between two pieces of an answer.
    pub idle_timeout: Duration,
    /// The longest event, bytes.
    pub max_event_bytes: usize,
    /// The longest answer, bytes.
    pub max_answer_bytes: usize,
    /// How often and how long after a failure a request is sent again; only before its first content.
    pub retry: Backoff,
    /// What a provider's own wish to wait is held to.
    pub shortest_wait: Duration,
    /// As above; also the longest wait at all.
    pub longest_wait: Duration,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            headers_timeout: Duration::from_secs(120),
            idle_timeout: Duration::from_secs(120),
            max_event_bytes: 16 << 20,
            max_answer_bytes: 64 << 20,
            // Two more attempts after the first.
            retry: Backoff { max_attempts: Some(2), ..Backoff::default() },
            shortest_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// The connections of a program: one pool for all its models. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HttpClient {
    /// For this machine: past any proxy, and without the certificates of the world.
    inside: reqwest::Client,
    outside: Arc<Outside>,
    options: HttpOptions,
}

/// Connections to the world, set up when the first is needed: reading the system's certificates takes longer than
/// everything else at a start.
#[derive(Debug)]
struct Outside {
    connect_timeout: Duration,
    client: OnceLock<Result<reqwest::Client, String>>,
}

impl HttpClient {
    /// Opens no connection yet.
    ///
    /// # Errors
    ///
    /// [`BackendError::Transport`] where not even plain HTTP can be set up.
    pub fn new(options: HttpOptions) -> Result<Self, BackendError> {
        let connect_timeout = options.connect_timeout;
        let inside = builder(connect_timeout).no_proxy().tls_certs_only([]).build().map_err(|error| {
            BackendError::Transport { provider: "the HTTP client".to_owned(), reason: causes(&error) }
        })?;
        let outside = Arc::new(Outside { connect_timeout, client: OnceLock::new() });
        Ok(Self { inside, outside, options })
    }

    /// The limits.
    pub fn options(&self) -> &HttpOptions {
        &self.options
    }

    /// The same connections with other limits; `connect_timeout` stays as it was.
    #[must_use]
    pub fn with_options(mut self, options: HttpOptions) -> Self {
        self.options = options;
        self
    }

    /// The connections for a URL, or why TLS cannot be set up.
    pub(crate) async fn for_url(&self, url: &Url) -> Result<reqwest::Client, String> {
        if is_loopback(url) && url.scheme() == "http" {
            return Ok(self.inside.clone());
        }
        let outside = self.outside.clone();
        if let Some(ready) = outside.client.get() {
            return ready.clone();
        }
        // It reads files: not where all the others wait for their turn.
        let set_up = tokio::task::spawn_blocking(move || outside.set_up());
        set_up.await.unwrap_or_else(|error| Err(error.to_string()))
    }
}

impl Outside {
    fn set_up(&self) -> Result<reqwest::Client, String> {
        let build = || builder(self.connect_timeout).build().map_err(|error| causes(&error));
        self.client.get_or_init(build).clone()
    }
}

fn builder(connect_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("massgen/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        // A redirect could carry a key to another host.
        .redirect(reqwest::redirect::Policy::none())
}

/// Whether a URL points to this machine.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// Whether a host (with or without its port) is one of these domains or below one.
pub(crate) fn is_under(host: &str, domains: &[&str]) -> bool {
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    domains
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// The host and, where it is not the usual one, the port.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// An error and its causes in one line, without the URL.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// The cause behind all others, alone.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(further) = cause.source() {
        cause = further;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
