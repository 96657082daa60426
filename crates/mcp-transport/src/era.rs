//! Two generations of the protocol over one stream (MCP 2026-07-28, basic/versioning).
//!
//! Revision 2026-07-28 has no handshake, the ones before have nothing else. The way to tell is to ask by
//! `server/discover`; servers of before answer with any error, with silence, or by dying. rmcp sees to the first. The
//! gate here makes silence and odd answers look like it, keeps what comes late from confusing the handshake, and
//! mends answers that lack a detail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, CustomResult, DiscoverResult, ErrorCode,
    ErrorData, Implementation, InitializeResult, JsonRpcMessage, ProtocolVersion, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use serde_json::{Value, json};
use tokio::time::Instant;

enum Stage {
    /// Nothing was asked yet.
    Fresh,
    /// `server/discover` is out.
    Probing { id: RequestId, until: Option<Instant> },
    /// `initialize` is out, perhaps after a probe that was not answered in time.
    Initializing { id: RequestId, probe: Option<RequestId> },
    /// The server came up late and answered the probe after all: what it says of `initialize` is void.
    Late,
    /// The handshake is over: everything passes.
    Open,
}

/// Stands between the service and a transport until the session is open.
pub(crate) struct Gate<T> {
    inner: T,
    stage: Stage,
    /// How long the probe may stay unanswered; `None` where there is nothing to fall back to.
    patience: Option<Duration>,
    initialize_sent: Arc<AtomicBool>,
}

impl<T> Gate<T> {
    pub(crate) fn new(inner: T, patience: Option<Duration>) -> Self {
        Self { inner, stage: Stage::Fresh, patience, initialize_sent: Arc::default() }
    }

    /// Turns true once `initialize` was sent: before that, a server's death may be its answer to the probe.
    pub(crate) fn initialize_sent(&self) -> Arc<AtomicBool> {
        self.initialize_sent.clone()
    }

    fn note(&mut self, request: &ClientRequest, id: &RequestId) {
        self.stage = match (request, std::mem::replace(&mut self.stage, Stage::Open)) {
            (_, Stage::Open) => Stage::Open,
            (ClientRequest::DiscoverRequest(_), _) => {
                let until = self.patience.map(|patience| Instant::now() + patience);
                Stage::Probing { id: id.clone(), until }
            }
            (ClientRequest::InitializeRequest(_), before) => {
                self.initialize_sent.store(true, Ordering::Release);
                let probe = match before {
                    Stage::Probing { id, .. } => Some(id),
                    _ => None,
                };
                Stage::Initializing { id: id.clone(), probe }
            }
            _ => Stage::Open,
        };
    }

    /// The probe is answered, or counts as answered: its time is over once, not again and again.
    fn waited(&mut self) {
        if let Stage::Probing { until, .. } = &mut self.stage {
            *until = None;
        }
    }

    /// What of the server's message the handshake may see.
    fn admit(&mut self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        match (&self.stage, message) {
            (Stage::Probing { id, .. }, JsonRpcMessage::Response(response)) if same(id, &response.id) => {
                let id = id.clone();
                Some(match discovered(response.result) {
                    Ok(result) => JsonRpcMessage::response(ServerResult::DiscoverResult(result), id),
                    Err(_) if self.patience.is_some() => not_modern(id, "not an answer to server/discover"),
                    Err(other) => JsonRpcMessage::response(*other, id),
                })
            }
            // An error without an id answers the probe when nothing else was asked.
            (Stage::Probing { id, .. }, JsonRpcMessage::Error(error))
                if error.id.as_ref().is_none_or(|answered| same(id, answered)) =>
            {
                Some(JsonRpcMessage::error(error.error, Some(id.clone())))
            }
            (Stage::Initializing { id, .. }, JsonRpcMessage::Response(response))
                if same(id, &response.id) =>
            {
                Some(JsonRpcMessage::response(initialized(response.result), id.clone()))
            }
            (Stage::Initializing { id, probe: Some(probe) }, JsonRpcMessage::Response(response))
                if same(probe, &response.id) =>
            {
                let id = id.clone();
                let result = late(discovered(response.result).ok()?)?;
                tracing::debug!("server/discover is answered late: the server is a modern one");
                self.stage = Stage::Late;
                Some(JsonRpcMessage::response(ServerResult::InitializeResult(result), id))
            }
            (Stage::Initializing { id, .. }, JsonRpcMessage::Error(error))
                if error.id.as_ref().is_some_and(|answered| same(id, answered)) =>
            {
                Some(JsonRpcMessage::error(error.error, error.id))
            }
            (Stage::Probing { .. } | Stage::Initializing { .. }, JsonRpcMessage::Response(response)) => {
                tracing::debug!(id = %response.id, "an answer to nothing that is waited for");
                None
            }
            (Stage::Probing { .. } | Stage::Initializing { .. }, JsonRpcMessage::Error(error)) => {
                tracing::debug!(error = %error.error.message, "an error that answers nothing that is waited for");
                None
            }
            (_, message) => Some(message),
        }
    }
}

/// Compares ids the way rmcp does: a number that comes back as text is the same id.
fn same(asked: &RequestId, answered: &RequestId) -> bool {
    asked == answered || asked.to_string() == answered.to_string()
}

fn not_modern(id: RequestId, reason: &'static str) -> ServerJsonRpcMessage {
    JsonRpcMessage::error(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, reason, None), Some(id))
}

/// The answer to `server/discover`, also where the parts that only tell a cache what to do are wrong.
fn discovered(result: ServerResult) -> Result<DiscoverResult, Box<ServerResult>> {
    match result {
        ServerResult::DiscoverResult(result) => Ok(result),
        ServerResult::CustomResult(CustomResult(mut value)) if value["supportedVersions"].is_array() => {
            value["ttlMs"] = json!(0);
            value["cacheScope"] = json!("private");
            value["resultType"] = json!("complete");
            defaulted(&mut value, "capabilities", || json!({}));
            serde_json::from_value(value.clone())
                .map_err(|_| Box::new(ServerResult::CustomResult(CustomResult(value))))
        }
        other => Err(Box::new(other)),
    }
}

/// The answer to `initialize`, also where it lacks what nothing depends on.
fn initialized(result: ServerResult) -> ServerResult {
    match result {
        ServerResult::CustomResult(CustomResult(mut value)) if value["protocolVersion"].is_string() => {
            defaulted(&mut value, "capabilities", || json!({}));
            defaulted(&mut value, "serverInfo", || json!({}));
            let info = &mut value["serverInfo"];
            defaulted(info, "name", || json!(""));
            defaulted(info, "version", || json!(""));
            match serde_json::from_value::<InitializeResult>(value.clone()) {
                Ok(result) => ServerResult::InitializeResult(result),
                Err(_) => ServerResult::CustomResult(CustomResult(value)),
            }
        }
        other => other,
    }
}

fn defaulted(value: &mut Value, key: &str, default: impl FnOnce() -> Value) {
    if let Some(object) = value.as_object_mut()
        && object.get(key).is_none_or(Value::is_null)
    {
        object.insert(key.to_owned(), default());
    }
}

/// A late answer to the probe, as the answer to `initialize` that the service waits for by now. rmcp takes one that
/// names a revision without handshake, and goes on as that revision wants.
fn late(discovered: DiscoverResult) -> Option<InitializeResult> {
    let latest = ProtocolVersion::LATEST;
    if !discovered.supported_versions.contains(&latest) {
        return None;
    }
    let server_info = discovered.server_info().unwrap_or_else(|| Implementation::new("", ""));
    let mut result = InitializeResult::new(discovered.capabilities);
    result.protocol_version = latest;
    result.server_info = server_info;
    result.instructions = discovered.instructions;
    Some(result)
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Gate<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        let mut passes = true;
        match &message {
            JsonRpcMessage::Request(request) => self.note(&request.request, &request.id),
            JsonRpcMessage::Notification(notification)
                if matches!(notification.notification, ClientNotification::InitializedNotification(_)) =>
            {
                // Revision 2026-07-28 does not know this notice.
                passes = !matches!(self.stage, Stage::Late);
                self.stage = Stage::Open;
            }
            _ => {}
        }
        let sending = passes.then(|| self.inner.send(message));
        async move {
            match sending {
                Some(sending) => sending.await,
                None => Ok(()),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let message = match &self.stage {
                Stage::Probing { id, until: Some(until) } => {
                    match tokio::time::timeout_at(*until, self.inner.receive()).await {
                        Ok(message) => message?,
                        Err(_) => {
                            tracing::debug!("server/discover stays unanswered: trying initialize");
                            let id = id.clone();
                            self.waited();
                            return Some(not_modern(id, "no answer to server/discover in time"));
                        }
                    }
                }
                _ => self.inner.receive().await?,
            };
            if let Some(message) = self.admit(message) {
                self.waited();
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::{DiscoverRequest, DiscoverRequestParams, NumberOrString};

    use super::*;

    /// A server that says nothing.
    struct Silent;

    impl Transport<RoleClient> for Silent {
        type Error = std::io::Error;

        fn send(
            &mut self,
            _: ClientJsonRpcMessage,
        ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
            std::future::ready(Ok(()))
        }

        async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
            std::future::pending().await
        }

        async fn close(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_probe_runs_out_once() {
        let patience = Duration::from_secs(5);
        let mut gate = Gate::new(Silent, Some(patience));
        let probe = ClientRequest::DiscoverRequest(DiscoverRequest::new(DiscoverRequestParams {}));
        gate.send(JsonRpcMessage::request(probe, NumberOrString::Number(0))).await.unwrap();
        let begun = Instant::now();
        let told = gate.receive().await;
        assert!(matches!(told, Some(JsonRpcMessage::Error(_))) && begun.elapsed() == patience);
        // From then on there is nothing to be told, however often it is asked.
        for _ in 0..3 {
            assert!(tokio::time::timeout(Duration::from_secs(3600), gate.receive()).await.is_err());
        }
    }
}
