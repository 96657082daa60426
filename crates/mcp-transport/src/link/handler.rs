//! The client's half of what a server starts: requests to us, and notices.

use std::sync::Arc;

use mcp_core::ServerName;
use rmcp::RoleClient;
use rmcp::model::{
    ClientConfig, ClientResult, CustomResult, ErrorCode, ErrorData, ServerNotification, ServerRequest,
};
use rmcp::service::{NotificationContext, RequestContext, Service};
use serde_json::{Value, json};

use super::Routes;
use super::pages::COMPLETE;
use crate::breach::{Breach, BreachSink};
use crate::host::{self, Asked, Host};
use crate::options::Progress;

pub(super) struct Handler {
    pub(super) config: ClientConfig,
    pub(super) server: ServerName,
    pub(super) host: Option<Arc<dyn Host>>,
    pub(super) routes: Arc<Routes>,
    pub(super) breaches: Option<Arc<dyn BreachSink>>,
}

impl Service<RoleClient> for Handler {
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        if matches!(request, ServerRequest::PingRequest(_)) {
            return Ok(ClientResult::empty(()));
        }
        let request = serde_json::to_value(request).unwrap_or_default();
        let method = request["method"].as_str().unwrap_or_default();
        let answer = host::answer(self.host.as_deref(), &self.server, method, &request["params"]);
        let asked = tokio::select! {
            asked = answer => asked,
            // The server takes its question back, or the session is over: nobody need answer any longer.
            () = context.ct.cancelled() => Asked::TakenBack,
        };
        match asked {
            Asked::Answer(value) => Ok(ClientResult::CustomResult(CustomResult(value))),
            Asked::NotOffered => {
                if let Some(sink) = &self.breaches {
                    sink.breach(&self.server, Breach::Undeclared { method: method.to_owned() });
                }
                Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, "this client does not offer that", None))
            }
            // The code that MCP gives for a rejected sampling request.
            Asked::Refused(refusal) => Err(ErrorData::new(
                ErrorCode(-1),
                format!("the request was refused: {refusal}"),
                Some(json!({"reason": refusal.name()})),
            )),
            Asked::TakenBack => Err(ErrorData::new(ErrorCode(-1), "the request was taken back", None)),
            Asked::Invalid(reason) => Err(ErrorData::invalid_params(reason, None)),
        }
    }

    async fn handle_notification(
        &self,
        notification: ServerNotification,
        _: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        match notification {
            ServerNotification::ProgressNotification(notification) => {
                let params = notification.params;
                let sender = self.routes.progress().get(&params.progress_token).cloned();
                if let Some(sender) = sender {
                    let report =
                        Progress { progress: params.progress, total: params.total, message: params.message };
                    sender.report(report);
                }
            }
            ServerNotification::CancelledNotification(_) => {}
            other if self.routes.note(&other) => {}
            other => {
                let notice = serde_json::to_value(other).unwrap_or(Value::Null);
                let method = notice["method"].as_str().unwrap_or_default();
                if let (COMPLETE, Some(id)) = (method, notice["params"]["elicitationId"].as_str()) {
                    // Nobody may be waiting.
                    let _ = self.routes.completed.send(id.to_owned());
                }
                host::hear(self.host.as_deref(), &self.server, method, &notice["params"]);
            }
        }
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }
}
