//! What an error of a provider's means: pure tables, no I/O.
//!
//! Sources: the providers' references for error codes and the recorded error bodies of ten of them. A status alone says
//! too little: one provider answers a wrong key with 400, another an empty account with 429.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use crate::wire::{Origin, beginning};
use crate::{BackendError, Exhausted};

/// An error, and whether the same request may be sent again.
#[derive(Debug, Clone)]
pub(crate) struct Verdict {
    pub(crate) error: BackendError,
    pub(crate) retry: bool,
}

/// The provider's words about an error, wherever its body keeps them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Words {
    code: Option<String>,
    message: Option<String>,
    reasons: Vec<String>,
    delay: Option<Duration>,
}

/// What an HTTP answer with an error status means.
pub(crate) fn http(origin: &Origin, status: u16, headers: &HeaderMap, body: &str) -> Verdict {
    let words = words(body);
    let message = words.message.clone().unwrap_or_else(|| match beginning(body) {
        text if text.is_empty() => "(no words)".to_owned(),
        text => text,
    });
    let mut codes: Vec<&str> = words.code.as_deref().into_iter().collect();
    codes.extend(words.reasons.iter().map(String::as_str));

    if let Some(meaning) = meaning(Some(status), &codes, &message) {
        return Verdict { error: meaning.into_error(origin, message), retry: false };
    }
    let retry_after = header_delay(headers).or(words.delay);
    let error = BackendError::Http {
        provider: origin.provider.to_string(),
        status,
        code: words.code,
        message,
        retry_after,
        request_id: header(headers, "x-request-id")
            .or_else(|| header(headers, "request-id"))
            .map(str::to_owned),
    };
    // The provider knows best; only then does the status count.
    let retry = match header(headers, "x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => error.is_retryable(),
    };
    Verdict { error, retry }
}

/// What an error inside a stream means.
pub(crate) fn in_stream(origin: &Origin, code: Option<&str>, message: &str) -> BackendError {
    let codes: Vec<&str> = code.into_iter().collect();
    let message = if message.trim().is_empty() { "(no words)".to_owned() } else { beginning(message) };
    if let Some(meaning) = meaning(code.and_then(|code| code.parse().ok()), &codes, &message) {
        return meaning.into_error(origin, message);
    }
    BackendError::InStream {
        provider: origin.provider.to_string(),
        code: code.map(str::to_owned),
        retryable: code.is_some_and(is_passing),
        message,
    }
}

/// What a successful answer without a single event means: an error in JSON, or no stream at all.
pub(crate) fn no_events(origin: &Origin, body: &str) -> BackendError {
    let words = words(body);
    if words.message.is_some() && serde_json::from_str::<Value>(body).is_ok_and(|v| has_error(&v)) {
        let quoted = format!("{} ({})", words.message.unwrap_or_default(), beginning(body));
        return in_stream(origin, words.code.as_deref(), &quoted);
    }
    let provider = origin.provider.to_string();
    if body.trim().is_empty() {
        return BackendError::Truncated { provider };
    }
    let reason =
        format!("no event before the end; is base_url right? The answer begins: {}", beginning(body));
    BackendError::Decode { provider, reason }
}

/// An error of a stream's own JSON, in any of the forms that providers use: the code and the words.
pub(crate) fn error_words(value: &Value) -> (Option<String>, String) {
    let words = words_of(value);
    (words.code, words.message.unwrap_or_else(|| beginning(&value.to_string())))
}

/// Codes that say "not now" rather than "not ever".
fn is_passing(code: &str) -> bool {
    if let Ok(status) = code.parse::<u16>() {
        return matches!(status, 408 | 409 | 425 | 429 | 500..=599);
    }
    matches!(
        code.to_ascii_lowercase().as_str(),
        "overloaded_error"
            | "overloaded"
            | "rate_limit_error"
            | "rate_limit_exceeded"
            | "too_many_requests"
            | "server_error"
            | "server_is_overloaded"
            | "slow_down"
            | "api_error"
            | "internal_error"
            | "internal_server_error"
            | "timeout"
            | "timeout_error"
            | "gateway_timeout"
            | "service_unavailable"
            | "unavailable"
            | "internal"
            | "deadline_exceeded"
            | "resource_exhausted"
            | "aborted"
            | "bad_gateway"
            | "upstream_error"
            | "vector_store_timeout"
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Auth,
    Quota,
    Context,
}

impl Meaning {
    fn into_error(self, origin: &Origin, message: String) -> BackendError {
        let provider = origin.provider.to_string();
        match self {
            Self::Auth => BackendError::Auth { provider, message, hint: origin.key_hint.to_string() },
            Self::Quota => BackendError::Exhausted { provider, what: Exhausted::Quota, message },
            Self::Context => BackendError::Exhausted { provider, what: Exhausted::Context, message },
        }
    }
}

fn meaning(status: Option<u16>, codes: &[&str], message: &str) -> Option<Meaning> {
    for code in codes {
        match code.to_ascii_lowercase().as_str() {
            "invalid_api_key"
            | "authentication_error"
            | "api_key_invalid"
            | "unauthenticated"
            | "permission_error"
            | "permission_denied"
            | "invalid_authentication_error"
            | "unauthorized"
            | "incorrect_api_key_error" => {
                return Some(Meaning::Auth);
            }
            "insufficient_quota"
            | "billing_error"
            | "billing_hard_limit_reached"
            | "insufficient_balance"
            | "insufficient_credits"
            | "exceeded_current_quota_error"
            | "billing_not_active" => {
                return Some(Meaning::Quota);
            }
            "context_length_exceeded"
            | "exceed_context_size_error"
            | "model_context_window_exceeded"
            | "string_above_max_length" => {
                return Some(Meaning::Context);
            }
            _ => {}
        }
    }
    let message = message.to_ascii_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    match status {
        Some(401) => Some(Meaning::Auth),
        Some(402) => Some(Meaning::Quota),
        Some(400 | 403)
            if says(&[
                "incorrect api key",
                "invalid api key",
                "api key not valid",
                "api key expired",
                "no api key",
            ]) =>
        {
            Some(Meaning::Auth)
        }
        Some(400 | 403 | 429) if says(&["credit balance is too low", "insufficient balance"]) => {
            Some(Meaning::Quota)
        }
        None | Some(400 | 413 | 422 | 500)
            if says(&[
                "maximum context length",
                "prompt is too long",
                "context window",
                "exceeds the available context size",
                "exceeds the maximum number of tokens",
                "maximum prompt length",
            ]) =>
        {
            Some(Meaning::Context)
        }
        _ => None,
    }
}

fn has_error(value: &Value) -> bool {
    let value = first(value);
    value.get("error").is_some_and(|error| !error.is_null())
        || value.get("detail").is_some()
        || value.get("type").is_some_and(|t| t == "error")
        || value.get("object").is_some_and(|t| t == "error")
        || (value.get("code").is_some() && value.get("message").is_some())
}

fn words(body: &str) -> Words {
    serde_json::from_str::<Value>(body).map(|value| words_of(&value)).unwrap_or_default()
}

/// Gemini wraps an error into a list of one where the request was for a stream.
fn first(value: &Value) -> &Value {
    value.as_array().and_then(|list| list.first()).unwrap_or(value)
}

fn words_of(value: &Value) -> Words {
    let value = first(value);
    let error = value.get("error").filter(|error| !error.is_null()).unwrap_or(value);
    let text = |value: Option<&Value>| match value? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let field = |key| text(error.get(key));
    let message = text(Some(error).filter(|error| error.is_string()))
        .or_else(|| field("message"))
        .or_else(|| field("detail"))
        .or_else(|| {
            error.get("detail").filter(|d| d.is_array() || d.is_object()).map(|d| beginning(&d.to_string()))
        })
        .or_else(|| field("error"))
        .map(|message| beginning(&message));
    // A word says more than a number: `status` before Gemini's numeric `code`, `type` before OpenRouter's.
    let code = field("code").filter(|code| code.parse::<u16>().is_err());
    let code = code
        .or_else(|| field("status"))
        .or_else(|| field("type").filter(|kind| kind != "error"))
        .or_else(|| field("code"))
        .or_else(|| text(value.get("code")));
    let details = error.get("details").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let reasons = details.iter().filter_map(|detail| text(detail.get("reason"))).collect();
    let delay = details
        .iter()
        .filter_map(|detail| detail.get("retryDelay")?.as_str()?.strip_suffix('s')?.parse::<f64>().ok())
        .find_map(seconds);
    Words { code, message, reasons, delay }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// `retry-after-ms`, else `retry-after` in seconds. A date is not read: its clock is not ours.
fn header_delay(headers: &HeaderMap) -> Option<Duration> {
    let millis = header(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    millis
        .and_then(|millis| seconds(millis / 1000.0))
        .or_else(|| header(headers, "retry-after")?.parse().ok().and_then(seconds))
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests;
