//! Headers that a configuration sets for a remote server.

use std::collections::{BTreeMap, BTreeSet};

use mcp_core::Refusal;
use serde_json::Value;

use crate::{Finding, Verdict, limits, refusal, secret};

/// Headers that belong to the connection or the protocol; setting them breaks or fools one of the two.
const OWNED: &[&str] = &[
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "accept",
    "host",
    "keep-alive",
    "last-event-id",
    "expect",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// May these be sent?
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `header-limit`, `header-name`, `header-owned`, `header-value`, `control-character`.
pub fn judge(headers: &BTreeMap<String, String>) -> Result<(), Refusal> {
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
        if !value.is_ascii() {
            return Err(refusal(
                "header-value",
                format!("the value of the header {name} is not plain ASCII"),
                "encode it the way the server wants it",
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

/// What is worth telling about headers as a configuration spells them: credentials that are written out in it.
pub fn written_out(headers: &BTreeMap<String, String>) -> Vec<Finding> {
    const CREDENTIAL: &[&str] =
        &["api-key", "apikey", "auth-token", "access-token", "secret-key", "private-token"];
    let written = |(name, value): &(&String, &String)| {
        let lower = name.to_ascii_lowercase().replace('_', "-");
        let names_one = CREDENTIAL.iter().any(|part| lower.contains(part));
        let bearer = lower == "authorization" && value.to_ascii_lowercase().starts_with("bearer ");
        let scheme = value.split_once(' ').map_or(value.as_str(), |(_, rest)| rest);
        !value.contains("${")
            && ((names_one && value.len() >= 12)
                || (bearer && scheme.len() >= 24)
                || secret::resembles(value).is_some())
    };
    let told = headers.iter().filter(written).map(|(name, _)| {
        Finding::new(
            "secret-written-out",
            format!("the value of the header {name} is written out in the configuration"),
            "refer to it: ${NAME} from the environment or the secret store",
        )
    });
    told.collect()
}

/// The value of a header made of a tool's argument (SEP-2243): as it is, or in base64 where a header could not carry it.
///
/// ```
/// use mcp_security::{Verdict, header::parameter};
/// assert_eq!(parameter(&serde_json::json!("eu-west")), Verdict::Allow);
/// assert_eq!(parameter(&serde_json::json!(" x")), Verdict::Sanitize("=?base64?IHg=?=".to_owned()));
/// ```
pub fn parameter(value: &Value) -> Verdict<String> {
    /// Beyond it, two readers of one number see two (RFC 8259, 6).
    const SAFE: u64 = (1 << 53) - 1;
    let block = |reason: &str| Verdict::Block(refusal("header-value", reason, "pass it as an argument only"));
    match value {
        Value::Bool(_) => Verdict::Allow,
        Value::Number(number) => match number.as_i64() {
            Some(number) if number.unsigned_abs() <= SAFE => Verdict::Allow,
            _ => block("the number has no exact form that every reader sees"),
        },
        Value::String(text) => {
            if text.contains('\0') {
                return block("the text contains a zero byte");
            }
            let plain = text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t'))
                && text.trim() == text
                && !(text.starts_with("=?") && text.ends_with("?="));
            let carried =
                if plain { text.clone() } else { format!("=?base64?{}?=", base64(text.as_bytes())) };
            if carried.len() > limits::HEADER_BYTES {
                return block("the text is too long for a header");
            }
            if plain { Verdict::Allow } else { Verdict::Sanitize(carried) }
        }
        _ => block("only text, integers and booleans have a form as a header"),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0u32, |group, (at, byte)| group | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * at)) as usize & 63];
            text.push(if at <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
