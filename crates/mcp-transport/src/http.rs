//! Streamable HTTP (MCP basic/transports, "streamable-http"): rmcp's transport keeps the session, on a client of our own,
//! and most requests go past it.

mod awaited;
mod certificate;
mod dial;
mod events;
mod headers;
pub(crate) mod heard;
mod merged;
mod page;
mod plain;
mod posts;
mod reconnects;
mod response;
mod unpack;

use std::sync::Arc;
use std::time::Duration;

use mcp_core::ServerName;
use rmcp::RoleClient;
use rmcp::transport::Transport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};

use tokio::sync::mpsc;

use self::awaited::Awaited;
pub(crate) use self::certificate::RefusedCertificate;
pub(crate) use self::dial::{Dialer, Endpoint, Unresolved, endpoint, within_origin};
pub(crate) use self::events::{Event, Events, TooLarge};
use self::merged::Merged;
pub(crate) use self::page::{Broken, NotMcp};
pub(crate) use self::plain::Undialled;
pub(crate) use self::posts::{Error, Posts, SessionId, refusal};
use self::posts::{Limits, Way};
#[cfg(feature = "fuzz")]
pub(crate) use self::unpack::Unpack;
use crate::breach::Breaches;
use crate::oauth::AuthorizedClient;
use crate::options::SessionOptions;
use crate::received::Received;

/// Attempts to open a broken event stream again, which a legacy server allows; after about half a minute of them the
/// calls that wait for it fail.
const RECONNECTS: usize = 6;
/// The longest pause between two of them.
const RECONNECT_PAUSE: Duration = Duration::from_secs(10);
/// Requests in flight; more wait.
const CONCURRENCY: usize = 64;

/// Messages that wait for rmcp to take them.
const OTHERS: usize = 64;

/// The transport of a session, and the way of requests past it.
pub(crate) fn transport(
    server: &ServerName,
    endpoint: Endpoint,
    options: &SessionOptions,
) -> (impl Transport<RoleClient> + use<> + 'static, Posts) {
    let Endpoint { client, plain, url, headers, login } = endpoint;
    let mut reconnect = ExponentialBackoff::default();
    reconnect.max_times = Some(RECONNECTS);
    reconnect.max_delay = Some(RECONNECT_PAUSE);
    let mut config = StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(headers.clone())
        .max_concurrent_requests(CONCURRENCY)
        .max_json_response_size(options.max_message_bytes)
        .max_sse_event_size(options.max_message_bytes);
    config.retry_config = Arc::new(reconnect);
    let (others, taken) = mpsc::channel(OTHERS);
    let breaches = Breaches::default();
    breaches.report_to(server, options.breaches.as_ref());
    let session = SessionId::new(others, breaches.clone());
    let client = AuthorizedClient::new(client, login).noting(session.clone());
    let limits = Limits { bytes: options.max_message_bytes, silence: options.read_timeout };
    let awaited = Awaited::default();
    let way = Way { client: client.clone(), plain, url, received: Received::default() };
    let posts = Posts::new(way, &headers, session, limits, (awaited.clone(), breaches));
    let rmcp = StreamableHttpClientTransport::with_client(client, config);
    (Merged::new(rmcp, taken, awaited), posts)
}
