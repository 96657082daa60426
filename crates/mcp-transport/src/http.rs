//! Streamable HTTP (MCP basic/transports, "streamable-http"), on rmcp's transport and a client of our own.

mod dial;

use std::sync::Arc;
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::transport::Transport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};

pub(crate) use self::dial::{Endpoint, endpoint};
use crate::oauth::AuthorizedClient;
use crate::options::SessionOptions;

/// Attempts to open a broken event stream again, which a legacy server allows; after about half a minute of them the
/// calls that wait for it fail.
const RECONNECTS: usize = 6;
/// The longest pause between two of them.
const RECONNECT_PAUSE: Duration = Duration::from_secs(10);
/// Requests in flight; more wait.
const CONCURRENCY: usize = 64;

pub(crate) fn transport(
    endpoint: Endpoint,
    options: &SessionOptions,
) -> impl Transport<RoleClient> + use<> + 'static {
    let mut reconnect = ExponentialBackoff::default();
    reconnect.max_times = Some(RECONNECTS);
    reconnect.max_delay = Some(RECONNECT_PAUSE);
    let mut config = StreamableHttpClientTransportConfig::with_uri(endpoint.url)
        .custom_headers(endpoint.headers)
        .max_concurrent_requests(CONCURRENCY)
        .max_json_response_size(options.max_message_bytes)
        .max_sse_event_size(options.max_message_bytes);
    config.retry_config = Arc::new(reconnect);
    let client = AuthorizedClient::new(endpoint.client, endpoint.login);
    StreamableHttpClientTransport::with_client(client, config)
}
