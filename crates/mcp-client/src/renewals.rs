//! Sessions that an HTTP server loses. One is opened anew and nobody notices; a server that loses one after the other has
//! failed, although each call was answered in the end.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use mcp_resilience::breaker::Failure;
use mcp_transport::Session;
use tokio::time::Instant;

use crate::server::Shared;

/// So many within this time are a failure of the server.
const TOO_MANY: (usize, Duration) = (3, Duration::from_secs(60));

/// Counts them, for as long as it is polled.
pub(crate) async fn count(server: &Shared, session: &Session) -> Infallible {
    if let Some(mut renewals) = session.renewals() {
        let (mut known, mut lately) = (*renewals.borrow_and_update(), VecDeque::new());
        // The sender is gone when the session is; whoever follows that notices.
        while renewals.changed().await.is_ok() {
            let now = Instant::now();
            let count = *renewals.borrow_and_update();
            tracing::info!(server = %server.config.name, "it lost the session; another was opened");
            lately.extend((known..count).map(|_| now));
            known = count;
            lately.retain(|at| now.saturating_duration_since(*at) < TOO_MANY.1);
            if lately.len() >= TOO_MANY.0 {
                lately.clear();
                server.circuits.charge(Failure::Call, now);
            }
        }
    }
    std::future::pending().await
}
