//! Limits of a body, on the paused clock and without sockets.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};

use super::*;
use crate::wire::testing::{codec, origin, question};
use crate::{Event, TimeoutPhase};

fn body(bytes: body::ByteStream, options: HttpOptions) -> Body {
    Body::new(bytes, codec("chat").decoder(&question()), origin("chat"), &options)
}

fn piece(text: &str) -> Result<Bytes, BackendError> {
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

const CHUNK: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";

async fn all(mut body: Body) -> Vec<Result<Event, BackendError>> {
    let mut events = Vec::new();
    while let Some(event) = body.next().await {
        events.push(event);
    }
    events
}

#[test]
fn of_a_connection_that_failed_only_the_reason_is_told() {
    let refused = std::io::Error::other("connection refused");
    let error = std::io::Error::other(std::io::Error::other(refused));
    assert_eq!(innermost(&error), "connection refused");
}

#[tokio::test(start_paused = true)]
async fn silence_between_two_pieces_ends_the_answer() {
    let start = tokio::time::Instant::now();
    let bytes = Box::pin(stream::iter([piece(CHUNK)]).chain(stream::pending()));
    let events = all(body(bytes, HttpOptions::default())).await;
    assert_eq!(start.elapsed(), Duration::from_secs(120));
    let phase = match events.last() {
        Some(Err(BackendError::Timeout { phase, .. })) => phase,
        other => panic!("{other:?}"),
    };
    assert_eq!(*phase, TimeoutPhase::Idle);
    assert!(events.iter().any(|event| *event.as_ref().unwrap() == Event::Text("a".into())));
}

#[tokio::test(start_paused = true)]
async fn comments_keep_a_slow_answer_alive() {
    let slow = |text: &'static str| async move {
        tokio::time::sleep(Duration::from_secs(100)).await;
        piece(text)
    };
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let bytes = Box::pin(stream::iter([CHUNK, ": ping\n\n", ": ping\n\n", end]).then(slow));
    let events = all(body(bytes, HttpOptions::default())).await;
    assert!(matches!(events.last(), Some(Ok(Event::Done { .. }))), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn an_endless_answer_is_cut_off_at_the_limit() {
    let options = HttpOptions { max_answer_bytes: 10_000, ..HttpOptions::default() };
    let bytes = Box::pin(stream::repeat_with(|| piece(CHUNK)));
    let events = all(body(bytes, options)).await;
    let Some(Err(error)) = events.last() else { panic!("no error") };
    assert_eq!(error.to_string(), "P sent something unreadable: the answer is longer than 10000 bytes");
}

#[tokio::test(start_paused = true)]
async fn a_broken_connection_cuts_the_answer_off() {
    let broken = BackendError::Truncated { provider: "P".into() };
    let events = all(body(Box::pin(stream::iter([piece(CHUNK), Err(broken)])), HttpOptions::default())).await;
    assert!(matches!(events.last(), Some(Err(BackendError::Truncated { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_behind_the_end_costs_nothing() {
    let broken = BackendError::Truncated { provider: "P".into() };
    let end = piece("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    let bytes = Box::pin(stream::iter([piece(CHUNK), end, Err(broken)]));
    let events = all(body(bytes, HttpOptions::default())).await;
    assert!(matches!(events.last(), Some(Ok(Event::Done { .. }))), "{events:?}");
}

#[test]
fn this_machine_is_known_by_its_names() {
    for (url, want) in [
        ("http://localhost:1234/v1", true),
        ("http://127.0.0.1/", true),
        ("http://127.8.8.8/", true),
        ("http://[::1]:8080/", true),
        ("http://a.localhost/", true),
        ("http://localhost.evil.example/", false),
        ("http://10.0.0.1/", false),
        ("https://api.openai.com/", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(url).unwrap()), want, "{url}");
    }
}

#[test]
fn a_domain_is_not_found_in_the_middle_of_a_word() {
    for (host, want) in [
        ("z.ai", true),
        ("api.z.ai", true),
        ("api.z.ai:8443", true),
        ("quiz.ai", false),
        ("z.ai.evil.example", false),
        ("", false),
    ] {
        assert_eq!(is_under(host, &["z.ai"]), want, "{host}");
    }
}
