//! What only the transport knows of a request, for the span that it is made in. Whoever opened the span declares the fields,
//! under the names of OpenTelemetry's conventions; where nobody did, nothing is noted.

use reqwest::Version;
use sha2::{Digest, Sha256};
use tracing::Span;
use tracing::field::display;

/// The id of a request.
pub(crate) fn id(id: u64) {
    let span = Span::current();
    if !span.is_disabled() {
        span.record("jsonrpc.request.id", display(id));
    }
}

/// How a request went over HTTP: by which version, and in which session. Whoever knows a session's id can speak in it, so that
/// a digest stands for it.
pub(crate) fn posted(version: Version, session: Option<&[u8]>) {
    let span = Span::current();
    if span.is_disabled() {
        return;
    }
    let version = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "",
    };
    span.record("network.protocol.version", version);
    if let Some(session) = session {
        let digest = Sha256::digest(session);
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        span.record("mcp.session.id", &*digest);
    }
}
