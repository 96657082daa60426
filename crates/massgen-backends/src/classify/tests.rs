use super::*;
use crate::Wire;

fn origin() -> Origin {
    Origin {
        provider: "P".into(),
        wire: Wire { format: "chat", host: "h".into() },
        key_hint: "set P_API_KEY".into(),
    }
}

/// One word for a verdict: what, and `+` where the request may be sent again.
fn word(verdict: &Verdict) -> String {
    let what = match &verdict.error {
        BackendError::Http { status, .. } => format!("http {status}"),
        BackendError::Auth { hint, .. } => {
            assert_eq!(hint, "set P_API_KEY");
            "auth".into()
        }
        BackendError::Exhausted { what: Exhausted::Quota, .. } => "quota".into(),
        BackendError::Exhausted { what: Exhausted::Context, .. } => "context".into(),
        other => format!("{other:?}"),
    };
    if verdict.retry { what + "+" } else { what }
}

#[test]
fn statuses_and_codes() {
    for (status, body, want) in [
        (400, r#"{"error":{"message":"bad","type":"invalid_request_error","code":null}}"#, "http 400"),
        (401, r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#, "auth"),
        (401, r#"{"detail":"Invalid API Key"}"#, "auth"),
        (400, r#"{"code":"invalid-argument","error":"Incorrect API key provided: x"}"#, "auth"),
        (
            400,
            r#"[{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"API key not valid.","details":[{"reason":"API_KEY_INVALID"}]}}]"#,
            "auth",
        ),
        (
            400,
            r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"m","details":[{"reason":"API_KEY_INVALID"}]}}"#,
            "auth",
        ),
        (403, r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#, "auth"),
        (403, "<html>blocked</html>", "http 403"),
        (402, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, "quota"),
        (429, r#"{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}"#, "quota"),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            "quota",
        ),
        (429, r#"{"error":{"message":"slow down","code":"rate_limit_exceeded"}}"#, "http 429+"),
        (429, r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m"}}"#, "http 429+"),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, "http 529+"),
        (500, "", "http 500+"),
        (503, "busy", "http 503+"),
        (408, "", "http 408+"),
        (409, "", "http 409+"),
        (404, r#"{"error":{"message":"no such model","code":"model_not_found"}}"#, "http 404"),
        (400, r#"{"error":{"message":"This model's maximum context length is 8192 tokens"}}"#, "context"),
        (400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#, "context"),
        (
            400,
            r#"{"error":{"code":400,"type":"exceed_context_size_error","message":"m","n_ctx":1}}"#,
            "context",
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
            "context",
        ),
        (
            400,
            r#"{"error":{"code":400,"status":"INVALID_ARGUMENT","message":"The input token count (9) exceeds the maximum number of tokens allowed (8)."}}"#,
            "context",
        ),
        (400, r#"{"error":{"code":"content_filter","message":"m"}}"#, "http 400"),
        (307, "", "http 307"),
    ] {
        assert_eq!(word(&http(&origin(), status, &HeaderMap::new(), body)), want, "{status} {body}");
    }
}

#[test]
fn the_providers_word_on_retrying_wins_over_the_status() {
    for (status, header, want) in
        [(429, "false", "http 429"), (400, "true", "http 400+"), (500, "odd", "http 500+")]
    {
        let mut headers = HeaderMap::new();
        headers.insert("x-should-retry", header.parse().unwrap());
        assert_eq!(word(&http(&origin(), status, &headers, "")), want);
    }
}

#[test]
fn waits_are_read_from_headers_and_bodies() {
    let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m",
        "details":[{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17.5s"}]}}"#;
    for (headers, body, want) in [
        (vec![("retry-after", "7")], "", Some(7.0)),
        (vec![("retry-after-ms", "1500"), ("retry-after", "9")], "", Some(1.5)),
        (vec![("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT")], "", None),
        (vec![("retry-after", "-3")], "", None),
        (vec![("retry-after", "inf")], "", None),
        (vec![("retry-after", "NaN")], "", None),
        (vec![], body, Some(17.5)),
        (vec![("retry-after", "2")], body, Some(2.0)),
    ] {
        let headers: HeaderMap =
            headers.into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let verdict = http(&origin(), 429, &headers, body);
        assert_eq!(verdict.error.retry_after().map(|d| d.as_secs_f64()), want, "{headers:?}");
    }
}

#[test]
fn request_ids_codes_and_messages_are_kept() {
    let mut headers = HeaderMap::new();
    headers.insert("request-id", "req_1".parse().unwrap());
    let verdict =
        http(&origin(), 400, &headers, r#"{"error":{"code":400,"message":"odd","type":"bad_thing"}}"#);
    assert_eq!(verdict.error.to_string(), "P answered with status 400 (bad_thing): odd");
    assert!(matches!(verdict.error, BackendError::Http { request_id: Some(id), .. } if id == "req_1"));
}

#[test]
fn errors_inside_streams() {
    for (code, message, want) in [
        (Some("overloaded_error"), "Overloaded", "stream+"),
        (Some("rate_limit_exceeded"), "slow", "stream+"),
        (Some("server_error"), "oops", "stream+"),
        (Some("UNAVAILABLE"), "busy", "stream+"),
        (Some("502"), "upstream", "stream+"),
        (Some("429"), "upstream", "stream+"),
        (Some("400"), "bad", "stream"),
        (Some("401"), "who", "auth"),
        (Some("invalid_request_error"), "bad", "stream"),
        (Some("insufficient_quota"), "pay", "quota"),
        (Some("context_length_exceeded"), "long", "context"),
        (Some("invalid_api_key"), "who", "auth"),
        (None, "odd", "stream"),
    ] {
        let error = in_stream(&origin(), code, message);
        let got = match &error {
            BackendError::InStream { retryable: true, .. } => "stream+",
            BackendError::InStream { .. } => "stream",
            BackendError::Auth { .. } => "auth",
            BackendError::Exhausted { what: Exhausted::Quota, .. } => "quota",
            BackendError::Exhausted { .. } => "context",
            _ => "other",
        };
        assert_eq!(got, want, "{code:?} {message}");
    }
}

#[test]
fn an_answer_without_events_quotes_its_beginning() {
    for (body, want) in [
        (
            r#"{"error":{"message":"model is loading","code":"server_error"}}"#,
            r#"P broke off (server_error): model is loading ({"error":{"message":"model is loading","code":"server_error"}})"#,
        ),
        ("", "P's answer was cut off"),
        (
            "<html>welcome",
            "P sent something unreadable: no event before the end; is base_url right? The answer begins: <html>welcome",
        ),
        (
            r#"{"choices":[]}"#,
            r#"P sent something unreadable: no event before the end; is base_url right? The answer begins: {"choices":[]}"#,
        ),
    ] {
        assert_eq!(no_events(&origin(), body).to_string(), want);
    }
}
