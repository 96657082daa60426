//! Two generations of the protocol over one stream (MCP 2026-07-28, basic/versioning).
//!
//! Revision 2026-07-28 has no handshake, the ones before have nothing else. The way to tell is to ask by
//! `server/discover`; servers of before answer with any error, with silence, or by dying. rmcp sees to the first; the
//! gate here makes silence and odd answers look like it, and keeps what comes late from confusing the handshake.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, ErrorCode, ErrorData, JsonRpcMessage, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use tokio::time::Instant;

enum Stage {
    /// Nothing was asked yet.
    Fresh,
    /// `server/discover` is out.
    Probing { id: RequestId, until: Instant },
    /// `initialize` is out.
    Initializing { id: RequestId },
    /// The handshake is over: everything passes.
    Open,
}

pub(crate) struct Gate<T> {
    inner: T,
    stage: Stage,
    probe_timeout: Duration,
    initialize_sent: Arc<AtomicBool>,
}

impl<T> Gate<T> {
    pub(crate) fn new(inner: T, probe_timeout: Duration) -> Self {
        Self { inner, stage: Stage::Fresh, probe_timeout, initialize_sent: Arc::default() }
    }

    /// Turns true once `initialize` was sent: before that, a server's death may be its answer to the probe.
    pub(crate) fn initialize_sent(&self) -> Arc<AtomicBool> {
        self.initialize_sent.clone()
    }

    fn note(&mut self, message: &ClientJsonRpcMessage) {
        match message {
            JsonRpcMessage::Request(request) => match &request.request {
                ClientRequest::DiscoverRequest(_) if !matches!(self.stage, Stage::Open) => {
                    let until = Instant::now() + self.probe_timeout;
                    self.stage = Stage::Probing { id: request.id.clone(), until };
                }
                ClientRequest::InitializeRequest(_) => {
                    self.initialize_sent.store(true, Ordering::Release);
                    self.stage = Stage::Initializing { id: request.id.clone() };
                }
                _ => self.stage = Stage::Open,
            },
            JsonRpcMessage::Notification(notification)
                if matches!(notification.notification, ClientNotification::InitializedNotification(_)) =>
            {
                self.stage = Stage::Open;
            }
            _ => {}
        }
    }

    /// What of the server's message the handshake may see.
    fn admit(&self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let (expected, probing) = match &self.stage {
            Stage::Fresh | Stage::Open => return Some(message),
            Stage::Probing { id, .. } => (id, true),
            Stage::Initializing { id } => (id, false),
        };
        match &message {
            JsonRpcMessage::Response(response) if !expected.matches(&response.id) => {
                tracing::debug!(id = %response.id, "an answer to nothing that is waited for");
                None
            }
            JsonRpcMessage::Response(response)
                if probing && !matches!(response.result, ServerResult::DiscoverResult(_)) =>
            {
                Some(not_modern(expected.clone(), "not an answer to server/discover"))
            }
            JsonRpcMessage::Error(error) => match &error.id {
                Some(id) if expected.matches(id) => Some(message),
                // An error without an id answers the probe when nothing else was asked; later it is stale.
                None if probing => Some(JsonRpcMessage::error(error.error.clone(), Some(expected.clone()))),
                _ => {
                    tracing::debug!(error = %error.error.message, "an error that answers nothing that is waited for");
                    None
                }
            },
            _ => Some(message),
        }
    }
}

/// Compares ids the way rmcp does: a number that comes back as text is the same id.
trait Matches {
    fn matches(&self, answer: &RequestId) -> bool;
}

impl Matches for RequestId {
    fn matches(&self, answer: &RequestId) -> bool {
        self == answer || self.to_string() == answer.to_string()
    }
}

fn not_modern(id: RequestId, reason: &'static str) -> ServerJsonRpcMessage {
    JsonRpcMessage::error(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, reason, None), Some(id))
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Gate<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.note(&message);
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match &self.stage {
                Stage::Probing { id, until } => {
                    match tokio::time::timeout_at(*until, self.inner.receive()).await {
                        Ok(message) => message?,
                        Err(_) => {
                            tracing::debug!("server/discover stays unanswered: trying initialize");
                            return Some(not_modern(id.clone(), "no answer to server/discover in time"));
                        }
                    }
                }
                _ => self.inner.receive().await?,
            };
            if let Some(message) = self.admit(message) {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
