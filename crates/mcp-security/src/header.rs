//! Headers that a configuration sets for a remote server.

use std::collections::{BTreeMap, BTreeSet};

use mcp_core::Refusal;

use crate::{limits, refusal};

/// Headers that belong to the connection or the protocol; setting them breaks or fools one of the two.
const OWNED: &[&str] = &[
    "connection",
    "content-length",
    "content-type",
    "accept",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// May these be sent?
pub(crate) fn judge(headers: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if headers.len() > limits::HEADERS {
        let reason = format!("there are {} headers; {} are allowed", headers.len(), limits::HEADERS);
        return Err(refusal("header-limit", reason, "remove some"));
    }
    let mut seen = BTreeSet::new();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        if !is_token(name) {
            return Err(refusal(
                "header-name",
                format!("{name:?} cannot be the name of a header"),
                "use letters, digits and \"-\"",
            ));
        }
        if OWNED.contains(&lower.as_str()) || lower.starts_with("mcp-") || lower.starts_with("proxy-") {
            return Err(refusal(
                "header-owned",
                format!("the header {name} is set by the connection itself"),
                "remove it from headers:",
            ));
        }
        // The value itself stays out of the message: it is most likely a credential.
        if value.contains(|c: char| c.is_control() && c != '\t') {
            return Err(refusal(
                "control-character",
                format!("the value of the header {name} contains a control character"),
                "remove it; a line break at the end often comes from a file the value was read from",
            ));
        }
        if value.len() > limits::HEADER_BYTES {
            let reason =
                format!("the value of the header {name} is longer than {} bytes", limits::HEADER_BYTES);
            return Err(refusal("header-limit", reason, "shorten it"));
        }
        if !seen.insert(lower) {
            return Err(refusal(
                "header-name",
                format!("the header {name} is set twice, in different case"),
                "keep one of them",
            ));
        }
    }
    Ok(())
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
