//! Requests on the short road, where the transport has one.

use std::any::TypeId;
use std::borrow::Cow;
use std::sync::PoisonError;

use bytes::Bytes;
use mcp_core::{JsonObject, ToolOutput, ToolSpec};
use rmcp::model::{
    ClientConfig, ClientRequest, CustomRequest, ErrorCode, ErrorData, ProgressToken, ProtocolVersion,
    RequestId, RequestMetaObject,
};
use rmcp::service::ServiceError;
use rmcp::transport::DynamicTransportError;
use serde_json::Value;

use super::{Link, Pending};
use crate::breach::{Breach, Flaw};
use crate::decoder::stand_in;
use crate::http::{self, Posts};
use crate::options::{DroppedTool, ProgressSender};
use crate::raw::{self, Answer, Ask, CallOutput, Direct, Failure, NeverSent, Outcome, Request};
use crate::traced;

/// The error of a server whose headers and body say different things.
const HEADER_MISMATCH: ErrorCode = ErrorCode(-32_020);

/// A result, as far as it is decoded.
#[derive(Debug)]
pub(crate) enum Reply<T> {
    /// All of it.
    Decoded(T),
    /// As the server sent it.
    Raw(Value),
}

/// The members of `_meta` that revision 2026-07-28 wants with each request, without the braces.
pub(super) fn context(config: &ClientConfig, version: ProtocolVersion) -> String {
    let meta = RequestMetaObject::with_client_context(
        version,
        config.client_info.clone(),
        config.capabilities.clone(),
    );
    let text = serde_json::to_string(&meta).unwrap_or_default();
    text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default().to_owned()
}

/// The way of requests past rmcp.
pub(crate) enum Road {
    /// Lines of a stream.
    Lines(Direct),
    /// POSTs.
    Posts(Box<Posts>),
}

impl Link {
    /// The same session, with a short road.
    pub(crate) fn shortened(mut self, road: Road) -> Self {
        self.road = Some(road);
        self
    }

    /// From now on, the server is told with each request to log from this level on.
    pub(crate) fn set_log_level(&self, level: &str) {
        *self.log_level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level.to_owned());
    }

    /// Members of `_meta`: those of the session, and those of the moment.
    fn context(&self) -> Cow<'_, str> {
        let trace = self.trace.as_ref().and_then(|trace| trace.current());
        let level = self.log_level.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let level = level.map(|level| ("io.modelcontextprotocol/logLevel", level));
        let (parent, state) = match trace {
            Some(trace) => {
                (Some(("traceparent", trace.parent)), trace.state.map(|state| ("tracestate", state)))
            }
            None => (None, None),
        };
        let mut context = Cow::Borrowed(self.context.as_str());
        for (key, value) in [level, parent, state].into_iter().flatten() {
            let context = context.to_mut();
            if !context.is_empty() {
                context.push(',');
            }
            context.push_str(&format!("\"{key}\":{}", Value::String(value)));
        }
        context
    }

    /// Whether a tool was called with other headers than it wants: what is known of its schema is out of date.
    pub(crate) fn is_header_mismatch(&self, error: &ServiceError) -> bool {
        matches!(error, ServiceError::McpError(error) if error.code == HEADER_MISMATCH)
            && matches!(self.road, Some(Road::Posts(_)))
    }

    /// Takes those out of a list of tools that the transport must not call.
    pub(crate) fn leave_out(&self, tools: &mut Vec<ToolSpec>) -> Vec<DroppedTool> {
        let mut dropped = Vec::new();
        if let Some(Road::Posts(posts)) = &self.road {
            tools.retain(|tool| match posts.learn(tool.name.as_str(), &tool.input_schema) {
                Ok(()) => true,
                Err(reason) => {
                    dropped.push(DroppedTool { name: tool.name.to_string(), reason });
                    false
                }
            });
        }
        dropped
    }

    /// `tools/call` on the short road. A result that may not be the last word comes undecoded.
    pub(super) async fn call_directly(
        &self,
        road: &Road,
        tool: &str,
        arguments: &JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Reply<ToolOutput>, ServiceError> {
        Ok(match self.ask::<CallOutput>(road, Ask::Call { tool, arguments }, progress).await? {
            Reply::Decoded(CallOutput(output)) => Reply::Decoded(output),
            Reply::Raw(result) => Reply::Raw(result),
        })
    }

    /// A request on the short road.
    pub(super) async fn ask<T: Outcome>(
        &self,
        road: &Road,
        ask: Ask<'_>,
        progress: Option<ProgressSender>,
    ) -> Result<Reply<T>, ServiceError> {
        let context = self.context();
        let request = Request { ask, context: &context };
        match road {
            Road::Lines(direct) => match direct.ask(request, progress).await {
                Ok(line) => decoded(&line, |flaw| direct.breach(Breach::Unreadable(flaw))),
                Err(Failure::Lost) => Err(ServiceError::TransportClosed),
                Err(Failure::Unsent) => Err(unsent(NeverSent)),
                Err(Failure::Unwritten(unwritten)) => Err(unsent(unwritten)),
                Err(failure) => Err(ServiceError::McpError(stand_in(failure))),
            },
            Road::Posts(posts) => match Box::pin(self.post(posts, request, progress.clone())).await {
                Ok(answer) => decoded(&answer, |flaw| posts.breach(Breach::Unreadable(flaw))),
                // Nothing was done. rmcp finds the session gone, too, opens another, once for all who ask, and asks again.
                Err(http::Error::SessionExpired) => {
                    let (method, params) = (ask.method(), ask.params());
                    let request = ClientRequest::CustomRequest(CustomRequest::new(method, params));
                    Box::pin(self.request(request, progress)).await.map(Reply::Raw)
                }
                Err(error) => Err(ServiceError::TransportSend(DynamicTransportError::from_parts(
                    "streamable HTTP",
                    TypeId::of::<Posts>(),
                    Box::new(error),
                ))),
            },
        }
    }

    /// Posts a request. When the future is dropped, a server that cannot tell from its connection is told.
    async fn post(
        &self,
        posts: &Posts,
        request: Request<'_>,
        progress: Option<ProgressSender>,
    ) -> Result<Bytes, http::Error> {
        let id = posts.id();
        traced::id(id);
        // It is below 2^53.
        let rmcp_id = RequestId::Number(id.cast_signed());
        let token = ProgressToken(rmcp_id.clone());
        if let Some(progress) = &progress {
            // Servers may report by the session's own stream, too.
            self.routes.progress().insert(token.clone(), progress.clone());
        }
        let cancel = (!self.modern).then_some((&self.cancel, rmcp_id));
        let mut pending = Pending { routes: &self.routes, token, cancel };
        let mut over = self.over.clone();
        let answered = tokio::select! {
            biased;
            answered = posts.ask(id, request, progress.as_ref()) => answered,
            _ = over.wait_for(|over| *over) => Err(http::Error::TransportChannelClosed),
        };
        pending.cancel = None;
        answered
    }
}

fn decoded<T: Outcome>(answer: &[u8], breach: impl FnOnce(Flaw)) -> Result<Reply<T>, ServiceError> {
    match raw::read::<T>(answer) {
        Answer::Result(result) => Ok(Reply::Decoded(result)),
        Answer::Odd(result) => Ok(Reply::Raw(result)),
        Answer::Error { code, message, data } => {
            Err(ServiceError::McpError(ErrorData::new(ErrorCode(code), message, data)))
        }
        Answer::Malformed(reason) => {
            tracing::debug!(reason, excerpt = excerpt(answer), "an answer that cannot be read");
            breach(Flaw::of(answer));
            Err(ServiceError::McpError(stand_in(Failure::Unreadable(reason))))
        }
    }
}

/// Up to 64 bytes of an answer in hexadecimal, from where it stops to be text, or from its start.
fn excerpt(answer: &[u8]) -> String {
    let flaw = std::str::from_utf8(answer).err().map_or(0, |error| error.valid_up_to().saturating_sub(16));
    answer.iter().skip(flaw).take(64).map(|byte| format!("{byte:02x}")).collect()
}

/// The error of a line that did not leave as a whole.
fn unsent(error: impl std::error::Error + Send + Sync + 'static) -> ServiceError {
    let error = DynamicTransportError::from_parts("lines", TypeId::of::<Direct>(), Box::new(error));
    ServiceError::TransportSend(error)
}
