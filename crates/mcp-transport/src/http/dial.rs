//! The HTTP client of one session: own pool, own resolver that asks the guard, no redirect to elsewhere.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::{HttpConnector, dns};
use hyper_util::client::proxy::matcher::Matcher;
use mcp_core::{Admitted, BoxFuture, Guard, Refusal, RemoteSpec, ServerName, ToolError};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{NoProxy, Proxy, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tower_service::Service;
use url::{Host, Url};

use super::certificate;
use super::plain::Plain;
use crate::convert;
use crate::oauth::Login;
use crate::options::{Proxies, SessionOptions};

/// The limit for a connection, TLS included.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// Redirects followed for one request.
const REDIRECTS: usize = 4;
/// How long a connection is kept that nobody uses. Common servers close theirs after 5 s: a request that meets the end of its
/// connection is one of which nobody knows whether it arrived.
pub(super) const IDLE: Duration = Duration::from_secs(4);
/// How often a quiet far end is asked whether it is there, and how often it may fail to answer.
const KEEPALIVE: (Duration, u32) = (Duration::from_secs(15), 3);
/// The limit for resolving a name. Common resolvers ask a second time after 5 s.
const RESOLVE: Duration = Duration::from_secs(9);
/// The limit for resolving a name that a proxy will resolve again.
const LOOKUP: Duration = Duration::from_secs(5);
/// The largest file of certificates.
const CERTIFICATES: u64 = 4 * 1024 * 1024;

/// How one server is reached.
pub(crate) struct Endpoint {
    pub(crate) client: reqwest::Client,
    /// The shorter way of requests, where there is one.
    pub(crate) plain: Option<Plain>,
    pub(crate) url: Url,
    pub(crate) headers: HashMap<HeaderName, HeaderValue>,
    pub(crate) login: Option<Arc<Login>>,
}

pub(crate) async fn endpoint(
    server: &ServerName,
    remote: &Admitted<RemoteSpec>,
    guard: Arc<dyn Guard>,
    options: &SessionOptions,
) -> Result<Endpoint, ToolError> {
    let spec = remote.spec();
    let unusable = |reason: String| ToolError::Start { server: server.clone(), reason, stderr: Vec::new() };
    if spec.url.host().is_none() {
        return Err(unusable("its URL names no host".to_owned()));
    }
    let mut headers = HashMap::with_capacity(spec.headers.len());
    for (name, value) in &spec.headers {
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| unusable(format!("{name:?} is not a valid name of an HTTP header")))?;
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            unusable(format!(
                "the value of the header {name:?} contains a character that HTTP does not allow"
            ))
        })?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    let dialer = Arc::new(Dialer::new(server, guard, options).await.map_err(unusable)?);
    dialer
        .admit(&spec.url)
        .await
        .map_err(|refusal| ToolError::Refused { server: server.clone(), refusal })?;
    // The system's authorities lie in files: where none can be opened, there seem to be none.
    let client = dialer
        .client(Policy::custom(same_origin))
        .map_err(|reason| convert::without_descriptors(server).unwrap_or_else(|| unusable(reason)))?;
    let plain = Plain::to(&spec.url, &dialer);
    let login = match &options.oauth {
        // A configured header is the login.
        Some(oauth) if !headers.contains_key(&AUTHORIZATION) => {
            let (server, url, name) = (server.clone(), spec.url.clone(), options.client_name.clone());
            Some(Arc::new(Login::new(server, url, name, oauth.clone(), dialer)))
        }
        _ => None,
    };
    Ok(Endpoint { client, plain, url: spec.url.clone(), headers, login })
}

/// What all clients of one session have in common. A pool is one session's alone: what one server's user lets it reach,
/// another's may not use.
pub(crate) struct Dialer {
    server: ServerName,
    guard: Arc<dyn Guard>,
    agent: String,
    idle: usize,
    certificates: Vec<CertificateDer<'static>>,
    proxies: Proxies,
    /// Says which requests go through a proxy.
    proxied: Matcher,
}

impl Dialer {
    /// # Errors
    ///
    /// Why the session's certificates cannot be used.
    async fn new(
        server: &ServerName,
        guard: Arc<dyn Guard>,
        options: &SessionOptions,
    ) -> Result<Self, String> {
        let certificates = match &options.ca_file {
            Some(file) => {
                certificates(file).await.map_err(|reason| format!("{}: {reason}", file.display()))?
            }
            None => Vec::new(),
        };
        let proxies = options.proxies.clone();
        let text = |proxy: &Option<Url>| proxy.as_ref().map(Url::to_string).unwrap_or_default();
        let proxied = Matcher::builder()
            .http(text(&proxies.http))
            .https(text(&proxies.https))
            .no(proxies.none())
            .build();
        Ok(Self {
            server: server.clone(),
            guard,
            agent: format!("{}/{}", options.client_name, options.client_version),
            idle: options.idle_connections,
            certificates,
            proxies,
            proxied,
        })
    }

    /// A client of its own pool.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(crate) fn client(&self, redirects: Policy) -> Result<reqwest::Client, String> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.agent)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .tcp_keepalive(KEEPALIVE.0)
            .tcp_keepalive_interval(KEEPALIVE.0)
            .tcp_keepalive_retries(KEEPALIVE.1)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .http2_keep_alive_timeout(KEEPALIVE.0)
            .pool_max_idle_per_host(self.idle)
            .pool_idle_timeout(IDLE)
            .redirect(redirects)
            .tls_backend_preconfigured(certificate::tls(self.certificates.clone())?)
            // The environment is not ours to read.
            .no_proxy();
        let exempt = || NoProxy::from_string(&self.proxies.none());
        if let Some(proxy) = &self.proxies.http {
            builder = builder.proxy(Proxy::http(proxy.clone()).map_err(of_proxy)?.no_proxy(exempt()));
        }
        if let Some(proxy) = &self.proxies.https {
            builder = builder.proxy(Proxy::https(proxy.clone()).map_err(of_proxy)?.no_proxy(exempt()));
        }
        builder
            .dns_resolver(self.resolver())
            .build()
            .map_err(|error| format!("the HTTP client cannot be built: {}", error.without_url()))
    }

    fn resolver(&self) -> GuardedResolver {
        GuardedResolver {
            server: self.server.clone(),
            guard: self.guard.clone(),
            proxies: self.proxies.hosts().into(),
        }
    }

    /// Opens connections as those of a client are, without TLS and without a proxy.
    pub(super) fn connector(&self) -> HttpConnector<GuardedResolver> {
        let mut connector = HttpConnector::new_with_resolver(self.resolver());
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(KEEPALIVE.0));
        connector.set_keepalive_interval(Some(KEEPALIVE.0));
        connector.set_keepalive_retries(Some(KEEPALIVE.1));
        connector
    }

    /// Whether requests to this address go through a proxy.
    pub(super) fn is_proxied(&self, url: &Url) -> bool {
        url.as_str().parse().is_ok_and(|uri| self.proxied.intercept(&uri).is_some())
    }

    /// How many connections are kept that nobody uses.
    pub(super) fn idle(&self) -> usize {
        self.idle
    }

    /// How this program calls itself.
    pub(crate) fn agent(&self) -> &str {
        &self.agent
    }

    /// Asks about an address that nobody will resolve here, or that somebody else will resolve again.
    ///
    /// Behind a proxy the address that is dialled is the proxy's choice. So the name is resolved here, too, and refused for
    /// what it is found to be; where this network cannot resolve it, the proxy's word is taken.
    ///
    /// # Errors
    ///
    /// The guard's refusal.
    pub(crate) async fn admit(&self, url: &Url) -> Result<(), Refusal> {
        let name = url.host_str().unwrap_or_default();
        let ask = |address: IpAddr| self.guard.admit_address(&self.server, name, address);
        match url.host() {
            Some(Host::Ipv4(address)) => return ask(address.into()),
            Some(Host::Ipv6(address)) => return ask(address.into()),
            Some(Host::Domain(_)) | None => {}
        }
        if !self.is_proxied(url) {
            // The resolver asks.
            return Ok(());
        }
        match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name, 0))).await {
            Ok(Ok(mut addresses)) => addresses.try_for_each(|address| ask(address.ip())),
            _ => Ok(()),
        }
    }

    pub(crate) fn server(&self) -> &ServerName {
        &self.server
    }

    pub(crate) fn guard(&self) -> &dyn Guard {
        &*self.guard
    }
}

fn of_proxy(_: reqwest::Error) -> String {
    // The error would show the address, which may hold a password.
    "the address of the proxy cannot be used".to_owned()
}

async fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let length = tokio::fs::metadata(file).await.map_err(|error| error.to_string())?.len();
    if length > CERTIFICATES {
        return Err(format!("a file of certificates has at most {CERTIFICATES} bytes, this one {length}"));
    }
    let pem = tokio::fs::read(file).await.map_err(|error| error.to_string())?;
    match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned()),
    }
}

/// Follows any redirect that stays with the origin: what is asked for is public.
pub(crate) fn within_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// Follows what keeps method, body and origin: everything else would lose the message or give the headers away.
fn same_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let previous = attempt.previous();
    let Some(first) = previous.first() else { return attempt.stop() };
    match redirect(attempt.status(), first, attempt.url(), previous.len()) {
        Redirect::Follow => attempt.follow(),
        Redirect::Stop => attempt.stop(),
        Redirect::Refuse(refusal) => attempt.error(refusal),
    }
}

/// What is made of a redirect.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The request is sent again, to where it leads.
    Follow,
    /// It is the answer.
    Stop,
    /// It must not be followed.
    Refuse(Refusal),
}

/// Judges the redirect to `to` of a request that went to `first`; it is the `hops`-th of that request.
pub(super) fn redirect(status: StatusCode, first: &Url, to: &Url, hops: usize) -> Redirect {
    if first.origin() != to.origin() {
        let elsewhere = to.host_str().unwrap_or_default();
        return Redirect::Refuse(Refusal {
            rule: "url-origin",
            reason: format!("it redirects to {elsewhere}, which is another place than the server"),
            hint: "put the address it leads to into url: if it is right".to_owned(),
        });
    }
    let keeps_body = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    if keeps_body && hops <= REDIRECTS { Redirect::Follow } else { Redirect::Stop }
}

/// A name that could not be resolved.
#[derive(Debug, thiserror::Error)]
#[error("the name could not be resolved")]
pub(crate) struct Unresolved(#[source] std::io::Error);

/// Resolves names and lets only admitted addresses be dialled, each time anew.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    server: ServerName,
    guard: Arc<dyn Guard>,
    /// Hosts of proxies. Whoever set them up wants them dialled, wherever they are.
    proxies: Arc<[String]>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl GuardedResolver {
    async fn addresses(self, host: &str) -> Result<std::vec::IntoIter<SocketAddr>, BoxError> {
        let found = match tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, 0))).await {
            Ok(found) => found.map_err(Unresolved)?,
            Err(_) => {
                let reason = format!("no name server answers within {} s", RESOLVE.as_secs());
                return Err(Unresolved(std::io::Error::new(std::io::ErrorKind::TimedOut, reason)).into());
            }
        };
        if self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(host)) {
            return Ok(found.collect::<Vec<_>>().into_iter());
        }
        let mut refused = None;
        let mut admitted: Vec<SocketAddr> = Vec::new();
        for address in found {
            match self.guard.admit_address(&self.server, host, address.ip()) {
                Ok(()) => admitted.push(address),
                Err(refusal) => refused = Some(refusal),
            }
        }
        match refused {
            Some(refusal) if admitted.is_empty() => Err(refusal.into()),
            _ => Ok(admitted.into_iter()),
        }
    }
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move { Ok(Box::new(resolver.addresses(name.as_str()).await?) as Addrs) })
    }
}

impl Service<dns::Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        let resolver = self.clone();
        Box::pin(async move { resolver.addresses(name.as_str()).await })
    }
}
