//! Spans of a call, under the names of OpenTelemetry's conventions for MCP: one for the call as its caller sees it, and
//! within it one for each request that goes to the server. No argument and no text of an answer is in them, unless the
//! options say so, and then without registered secrets. They are of level INFO: where nobody collects them, they cost a
//! comparison. What the transport alone knows (`jsonrpc.request.id`, `mcp.session.id`, `network.protocol.version`) it adds
//! itself: it runs within the span of the request.

use mcp_core::{ServerName, ToolError, ToolName, ToolOutput, ToolSpec};
use mcp_resilience::breaker::Transition;
use mcp_transport::PeerInfo;
use tracing::Span;
use tracing::field::Empty;

use crate::Target;
use crate::metrics::{error_type, network};
use crate::pipeline::Request;
use crate::redact;
use crate::server::Shared;

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

/// The longest text of an argument or an answer that is put into a span, bytes.
const CONTENT: usize = 4096;

/// One request to the server.
pub(crate) fn request(server: &Shared, request: &Request, peer: &PeerInfo) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("tools/call {}", request.spec.name),
        otel.kind = "client",
        otel.status_code = Empty,
        mcp.method.name = "tools/call",
        gen_ai.tool.name = %request.spec.name,
        mcp.protocol.version = %peer.protocol_version,
        mcp.session.id = Empty,
        jsonrpc.request.id = Empty,
        rpc.response.status_code = Empty,
        network.transport = network(peer.transport),
        network.protocol.name = Empty,
        network.protocol.version = Empty,
        server.address = Empty,
        server.port = Empty,
        http.request.resend_count = Empty,
        gen_ai.tool.call.arguments = Empty,
        gen_ai.tool.call.result = Empty,
        massgen.mcp.server = %request.spec.server,
        massgen.mcp.attempt = request.attempt.max(1),
        error.r#type = Empty,
    );
    if span.is_disabled() {
        return span;
    }
    if let Target::Http(spec) | Target::Sse(spec) = &server.config.target {
        span.record("network.protocol.name", "http");
        span.record("server.address", spec.url.host_str());
        span.record("server.port", spec.url.port_or_known_default());
        if request.attempt > 1 {
            span.record("http.request.resend_count", request.attempt - 1);
        }
    }
    if server.options.content_in_spans {
        let arguments = serde_json::to_string(&request.call.arguments).unwrap_or_default();
        span.record("gen_ai.tool.call.arguments", &*presentable(server, arguments));
    }
    span
}

/// What came back, where that is wanted.
pub(crate) fn answered(span: &Span, server: &Shared, result: &Result<ToolOutput, ToolError>) {
    if let Ok(output) = result
        && server.options.content_in_spans
        && !span.is_disabled()
    {
        span.record("gen_ai.tool.call.result", &*presentable(server, output.to_text()));
    }
    end(span, result);
}

/// A text without registered secrets, cut to what a span may carry.
fn presentable(server: &Shared, text: String) -> String {
    let mut text = redact::text(&server.options, "telemetry", text);
    text.truncate(text.floor_char_boundary(CONTENT));
    text
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
    if let Err(ToolError::Server { code, .. }) = result {
        span.record("rpc.response.status_code", tracing::field::display(code));
    }
}

/// Tells what happened to a circuit, as an event of the span of the call that it happened in.
pub(crate) fn circuit_changed(server: &ServerName, tool: Option<&ToolName>, change: &Transition) {
    tracing::info!(
        %server,
        tool = tool.map(ToolName::as_str),
        from = change.from.name(),
        to = change.to.name(),
        reason = change.cause,
        "massgen.mcp.breaker.transition"
    );
}

/// Tells that a server is not believed any more, as an event.
pub(crate) fn quarantined(server: &ServerName) {
    tracing::info!(%server, "massgen.mcp.quarantine");
}

/// Tells that nobody knows whether a call took effect, as an event of its span.
pub(crate) fn outcome_unknown(spec: &ToolSpec) {
    tracing::info!(server = %spec.server, tool = %spec.name, "massgen.mcp.outcome_unknown");
}
