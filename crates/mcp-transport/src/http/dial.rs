//! The HTTP client of one session: own pool, own resolver that asks the guard, no redirect to elsewhere.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mcp_core::{Admitted, Guard, RemoteSpec, ServerName, ToolError};
use reqwest::StatusCode;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use url::{Host, Url};

use crate::oauth::Login;
use crate::options::SessionOptions;

/// The limit for a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// Redirects followed for one request.
const REDIRECTS: usize = 4;

/// How one server is reached.
pub(crate) struct Endpoint {
    pub(crate) client: reqwest::Client,
    pub(crate) url: Url,
    pub(crate) headers: HashMap<HeaderName, HeaderValue>,
    pub(crate) login: Option<Arc<Login>>,
}

pub(crate) fn endpoint(
    server: &ServerName,
    remote: &Admitted<RemoteSpec>,
    guard: Arc<dyn Guard>,
    options: &SessionOptions,
) -> Result<Endpoint, ToolError> {
    let spec = remote.spec();
    let unusable = |reason: String| ToolError::Start { server: server.clone(), reason, stderr: Vec::new() };
    // The resolver is not asked about an address that is written as one.
    let literal: Option<IpAddr> = match spec.url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) => None,
        None => return Err(unusable("its URL names no host".to_owned())),
    };
    if let Some(address) = literal {
        let host = spec.url.host_str().unwrap_or_default();
        guard
            .admit_address(server, host, address)
            .map_err(|refusal| ToolError::Refused { server: server.clone(), refusal })?;
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

    let build = |redirects: Policy| {
        reqwest::Client::builder()
            .user_agent(format!("{}/{}", options.client_name, options.client_version))
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .pool_max_idle_per_host(options.idle_connections)
            .redirect(redirects)
            // A proxy would resolve names itself, out of the guard's sight; and the variables are not ours to read.
            .no_proxy()
            .dns_resolver(GuardedResolver { server: server.clone(), guard: guard.clone() })
            .build()
            .map_err(|error| ToolError::Internal(format!("the HTTP client cannot be built: {error}")))
    };
    let client = build(Policy::custom(same_origin))?;
    let login = match &options.oauth {
        // A configured header is the login.
        Some(oauth) if !headers.contains_key(&AUTHORIZATION) => {
            let clients = (build(Policy::custom(within_origin))?, build(Policy::none())?);
            let (server, url, name) = (server.clone(), spec.url.clone(), options.client_name.clone());
            Some(Arc::new(Login::new(server, url, name, oauth.clone(), guard.clone(), clients)))
        }
        _ => None,
    };
    Ok(Endpoint { client, url: spec.url.clone(), headers, login })
}

/// Follows any redirect that stays with the origin: what is asked for is public.
fn within_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if same && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

/// Follows what keeps method, body and origin: everything else would lose the message or give the headers away.
fn same_origin(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let keeps_body =
        matches!(attempt.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if keeps_body && same && attempt.previous().len() <= REDIRECTS {
        attempt.follow()
    } else {
        attempt.stop()
    }
}

/// Resolves names and lets only admitted addresses be dialled, each time anew.
struct GuardedResolver {
    server: ServerName,
    guard: Arc<dyn Guard>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (server, guard) = (self.server.clone(), self.guard.clone());
        Box::pin(async move {
            let host = name.as_str();
            let mut refused = None;
            let mut admitted: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((host, 0)).await? {
                match guard.admit_address(&server, host, address.ip()) {
                    Ok(()) => admitted.push(address),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            match refused {
                Some(refusal) if admitted.is_empty() => Err(refusal.into()),
                _ => Ok(Box::new(admitted.into_iter()) as Addrs),
            }
        })
    }
}
