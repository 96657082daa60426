//! The HTTP half of serving: one endpoint, for browsers shut.

use std::future::IntoFuture;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use tokio::net::TcpListener;

/// Serves until the future is dropped, which ends the streams that are open, too.
pub(crate) async fn serve<H>(handler: Arc<H>, listener: TcpListener) -> std::io::Result<()>
where
    H: ServerHandler + Send + Sync + 'static,
{
    // By default only loopback names pass as `Host`; with it, no page of a browser can reach the server.
    let config = StreamableHttpServerConfig::default().enforce_origin_validation();
    let _ends = config.cancellation_token.clone().drop_guard();
    let service = StreamableHttpService::new(
        move || Ok(handler.clone()),
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let router = Router::new().nest_service("/mcp", service);
    // Without it, an answer in two parts waits for the other side's delayed acknowledgement: 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    axum::serve(listener, router).into_future().await
}
