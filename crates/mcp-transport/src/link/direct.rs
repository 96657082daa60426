//! Tool requests on the short road, where the transport has one.

use mcp_core::{JsonObject, ToolOutput};
use rmcp::model::{ClientConfig, ErrorCode, ErrorData, ProtocolVersion, RequestMetaObject};
use rmcp::service::ServiceError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Link;
use crate::decoder::UNREADABLE;
use crate::options::ProgressSender;
use crate::raw::{self, Answer, Ask, CallOutput, Direct, Failure, ListPage, Request};

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

impl Link {
    /// The same session, with a short road for tools.
    pub(crate) fn shortened(mut self, direct: Direct) -> Self {
        self.direct = Some(direct);
        self
    }

    /// `tools/call` on the short road. A result that may not be the last word comes undecoded.
    pub(super) async fn call_directly(
        &self,
        direct: &Direct,
        tool: &str,
        arguments: &JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Reply<ToolOutput>, ServiceError> {
        let request = Request { ask: Ask::Call { tool, arguments }, context: &self.context };
        Ok(match ask::<CallOutput>(direct, request, progress).await? {
            Reply::Decoded(CallOutput(output)) => Reply::Decoded(output),
            Reply::Raw(result) => Reply::Raw(result),
        })
    }

    /// A page of `tools/list` on the short road.
    pub(super) async fn list_directly(
        &self,
        direct: &Direct,
        cursor: Option<&str>,
    ) -> Result<Reply<ListPage>, ServiceError> {
        ask(direct, Request { ask: Ask::List { cursor }, context: &self.context }, None).await
    }
}

async fn ask<T: DeserializeOwned>(
    direct: &Direct,
    request: Request<'_>,
    progress: Option<ProgressSender>,
) -> Result<Reply<T>, ServiceError> {
    let failed = |code, message: String| Err(ServiceError::McpError(ErrorData::new(code, message, None)));
    let line = match direct.ask(request, progress).await {
        Ok(line) => line,
        Err(Failure::Lost) => return Err(ServiceError::TransportClosed),
        Err(Failure::Unreadable(reason)) => return failed(UNREADABLE, reason),
    };
    match raw::read::<T>(&line) {
        Answer::Result(result) => Ok(Reply::Decoded(result)),
        Answer::Odd(result) => Ok(Reply::Raw(result)),
        Answer::Error { code, message } => failed(ErrorCode(code), message),
        Answer::Malformed(reason) => failed(UNREADABLE, reason),
    }
}
