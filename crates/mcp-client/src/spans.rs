//! Spans of a call, under the names of OpenTelemetry's conventions for MCP: one for the call as its caller sees it, and
//! within it one for each request that goes to the server. No argument and no text of an answer is in them. They are
//! of level INFO: where nobody collects them, they cost a comparison.

use mcp_core::{ToolError, ToolOutput};
use mcp_transport::{PeerInfo, TransportKind};
use tracing::Span;
use tracing::field::Empty;

use crate::metrics::error_type;
use crate::pipeline::Request;

/// A call, all attempts and waits together.
pub(crate) fn call(request: &Request) -> Span {
    tracing::info_span!(
        "call",
        otel.name = %format_args!("execute_tool {}", request.spec.name),
        otel.kind = "internal",
        otel.status_code = Empty,
        gen_ai.operation.name = "execute_tool",
        gen_ai.tool.name = %request.spec.name,
        gen_ai.tool.call.id = %request.call.id,
        gen_ai.agent.id = request.call.caller.as_ref().map(|caller| caller.as_str()),
        massgen.mcp.server = %request.spec.server,
        error.r#type = Empty,
    )
}

/// One request to the server.
pub(crate) fn request(request: &Request, peer: &PeerInfo) -> Span {
    tracing::info_span!(
        "request",
        otel.name = %format_args!("tools/call {}", request.spec.name),
        otel.kind = "client",
        otel.status_code = Empty,
        mcp.method.name = "tools/call",
        gen_ai.tool.name = %request.spec.name,
        mcp.protocol.version = %peer.protocol_version,
        network.transport = transport(peer.transport),
        massgen.mcp.server = %request.spec.server,
        massgen.mcp.attempt = request.attempt.max(1),
        error.r#type = Empty,
    )
}

fn transport(kind: TransportKind) -> Option<&'static str> {
    match kind {
        TransportKind::Stdio => Some("pipe"),
        TransportKind::Http => Some("tcp"),
        _ => None,
    }
}

/// How it ended.
pub(crate) fn end(span: &Span, result: &Result<ToolOutput, ToolError>) {
    if span.is_disabled() {
        return;
    }
    let mut text = String::new();
    let error = error_type(result, &mut text);
    if !error.is_empty() {
        span.record("error.type", error);
        span.record("otel.status_code", "ERROR");
    }
}
