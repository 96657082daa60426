//! Retries, limits, keys and cancellation.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use massgen_backends::{
    Backend, BackendError, Event, HttpClient, HttpOptions, Message, ProviderConfig, ProviderKind, Request,
    TimeoutPhase, connect,
};
use massgen_testkit::{Ending, ModelEndpoint, ModelScript, PATIENCE, Reply, Wire};
use tokio_util::sync::CancellationToken;
use url::Url;

const KEY: &str = "sk-very-secret-key";

pub(crate) const KINDS: [(ProviderKind, Wire); 4] = [
    (ProviderKind::OpenAi, Wire::Responses),
    (ProviderKind::ChatCompletion, Wire::Chat),
    (ProviderKind::Claude, Wire::Messages),
    (ProviderKind::Gemini, Wire::Gemini),
];

/// Limits under which a retry takes no time worth telling.
fn quick() -> HttpOptions {
    let mut options = HttpOptions { shortest_wait: Duration::ZERO, ..HttpOptions::default() };
    options.retry.initial = Duration::from_millis(1);
    options
}

pub(crate) fn config(kind: ProviderKind, url: &str) -> ProviderConfig {
    let mut config = ProviderConfig::new(kind, Url::parse(url).unwrap(), "m");
    config.api_key = Some(KEY.into());
    config.key_hint = "set THE_API_KEY".into();
    config
}

pub(crate) fn backend(kind: ProviderKind, endpoint: &ModelEndpoint) -> Arc<dyn Backend> {
    with(kind, endpoint, quick())
}

fn with(kind: ProviderKind, endpoint: &ModelEndpoint, options: HttpOptions) -> Arc<dyn Backend> {
    connect(config(kind, &endpoint.url("/v1")), &HttpClient::new(options).unwrap())
}

pub(crate) fn question(text: &str) -> Request {
    Request { messages: vec![Message::User(text.into())], ..Request::default() }
}

/// Everything that the model says.
pub(crate) async fn ask(backend: &Arc<dyn Backend>, request: Request) -> Vec<Result<Event, BackendError>> {
    let all = backend.stream(request, CancellationToken::new()).collect();
    tokio::time::timeout(PATIENCE, all).await.expect("the stream ends")
}

pub(crate) fn text(events: &[Result<Event, BackendError>]) -> &str {
    match events.last() {
        Some(Ok(Event::Done { turn, .. })) => &turn.text,
        other => panic!("no end but {other:?}"),
    }
}

fn error(events: &[Result<Event, BackendError>]) -> &BackendError {
    match events.last() {
        Some(Err(error)) => error,
        other => panic!("no error but {other:?}"),
    }
}

#[tokio::test]
async fn a_rate_limit_is_waited_out() {
    for (kind, wire) in KINDS {
        let script = ModelScript::new()
            .turn(Reply::status(429).retry_after(0))
            .turn(Reply::status(503))
            .turn(Reply::text("finally"));
        let endpoint = ModelEndpoint::start(script);
        let events = ask(&backend(kind, &endpoint), question("hello")).await;
        assert_eq!(text(&events), "finally", "{wire:?}");
        assert_eq!(endpoint.requests().len(), 3);
        let starts = events.iter().filter(|event| matches!(event, Ok(Event::Start { .. }))).count();
        assert_eq!(starts, 1, "failed attempts leave no trace");
    }
}

#[tokio::test]
async fn a_rate_limit_for_ever_is_told_with_the_wait_asked_for() {
    for (kind, wire) in KINDS {
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::status(429).retry_after(7)));
        let mut options = quick();
        options.longest_wait = Duration::ZERO;
        let events = ask(&with(kind, &endpoint, options), question("hello")).await;
        let error = error(&events);
        assert!(matches!(error, BackendError::Http { status: 429, .. }) && error.is_retryable(), "{error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "{wire:?}");
        assert_eq!(endpoint.requests().len(), 3);
    }
}

#[tokio::test]
async fn a_server_that_fails_for_ever_is_asked_three_times() {
    for (kind, _) in KINDS {
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::status(500)));
        let events = ask(&backend(kind, &endpoint), question("hello")).await;
        assert!(matches!(error(&events), BackendError::Http { status: 500, .. }));
        assert_eq!(endpoint.requests().len(), 3);
    }
}

#[tokio::test]
async fn what_cannot_get_better_is_asked_once() {
    for (reply, want) in [
        (Reply::status(401), "auth"),
        (Reply::status(400), "http"),
        (Reply::status(404), "http"),
        (Reply::status(429).code("insufficient_quota"), "exhausted"),
        (Reply::status(400).code("context_length_exceeded"), "exhausted"),
        (Reply::status(503).header("x-should-retry", "false"), "http"),
    ] {
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
        let events = ask(&backend(ProviderKind::ChatCompletion, &endpoint), question("hello")).await;
        let got = match error(&events) {
            BackendError::Auth { hint, .. } => {
                assert_eq!(hint, "set THE_API_KEY");
                "auth"
            }
            BackendError::Exhausted { .. } => "exhausted",
            BackendError::Http { .. } => "http",
            other => panic!("{other}"),
        };
        assert_eq!((got, endpoint.requests().len()), (want, 1));
    }
}

#[tokio::test]
async fn an_overload_told_in_the_stream_before_any_content_is_retried() {
    for (kind, wire) in KINDS {
        let code = if wire == Wire::Gemini { "UNAVAILABLE" } else { "overloaded_error" };
        let ending = Ending::Error { code: code.into(), message: "busy".into() };
        // The first event of these two says only that the answer begins.
        let events = if matches!(wire, Wire::Responses | Wire::Messages) { 1 } else { 0 };
        let script =
            ModelScript::new().turn(Reply::text("lost").end_after(events, ending)).turn(Reply::text("kept"));
        let endpoint = ModelEndpoint::start(script);
        let events = ask(&backend(kind, &endpoint), question("hello")).await;
        assert_eq!(text(&events), "kept", "{wire:?}");
    }
}

#[tokio::test]
async fn a_stream_cut_off_after_its_first_words_is_an_error_and_is_not_repeated() {
    for (kind, wire) in KINDS {
        for ending in [Ending::Clean, Ending::Close, Ending::Reset] {
            let events = match wire {
                Wire::Responses => 6,
                Wire::Gemini => 2,
                _ => 4,
            };
            let reply = Reply::text("a rather long answer in many pieces").end_after(events, ending);
            let endpoint =
                ModelEndpoint::start(ModelScript::new().turn(reply).otherwise(Reply::text("again")));
            let events = ask(&backend(kind, &endpoint), question("hello")).await;
            assert!(error(&events).is_retryable(), "{wire:?} {:?}", error(&events));
            assert!(events.iter().any(|event| matches!(event, Ok(Event::Text(_)))), "{wire:?} {events:?}");
            assert_eq!(endpoint.requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn an_answer_in_tiny_pieces_is_read() {
    for (kind, _) in KINDS {
        let endpoint =
            ModelEndpoint::start(ModelScript::new().turn(Reply::text("Grüße aus Łódź 🌍").split(1)));
        assert_eq!(text(&ask(&backend(kind, &endpoint), question("hello")).await), "Grüße aus Łódź 🌍");
    }
}

#[tokio::test]
async fn a_key_is_in_one_header_and_nowhere_else() {
    for (kind, _) in KINDS.into_iter().chain([(ProviderKind::AzureOpenAi, Wire::Chat)]) {
        let endpoint = ModelEndpoint::start(ModelScript::new().turn(Reply::text("ok")));
        ask(&backend(kind, &endpoint), question("hello")).await;
        let requests = endpoint.http().requests();
        let [request] = requests.as_slice() else { panic!("{} requests", requests.len()) };
        let holders: Vec<_> = request.headers.iter().filter(|(_, value)| value.contains(KEY)).collect();
        assert_eq!(holders.len(), 1, "{kind:?}: {holders:?}");
        assert!(!request.path.contains(KEY) && !request.query.contains(KEY));
        assert!(!String::from_utf8_lossy(&request.body).contains(KEY));
    }
}

#[tokio::test]
async fn a_key_is_never_sent_on_to_where_a_redirect_points() {
    let thief = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("thanks")));
    for status in [301, 302, 307, 308] {
        let reply = Reply::status(status).header("location", thief.url("/v1/chat/completions"));
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
        let events = ask(&backend(ProviderKind::ChatCompletion, &endpoint), question("hello")).await;
        let error = error(&events);
        assert!(error.to_string().contains("base_url") && !error.is_retryable(), "{error}");
        assert_eq!(endpoint.requests().len(), 1);
    }
    assert!(thief.http().requests().is_empty());
}

#[tokio::test]
async fn a_provider_that_repeats_the_key_does_not_get_it_into_a_message() {
    for status in [400, 401, 403, 500] {
        let reply = Reply::status(status).message(format!("Incorrect API key provided: {KEY}."));
        let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
        let events = ask(&backend(ProviderKind::ChatCompletion, &endpoint), question("hello")).await;
        let error = error(&events);
        assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
        assert!(error.to_string().contains("[key]"));
    }
}

#[tokio::test]
async fn a_key_cut_by_the_end_of_a_quotation_stays_secret_too() {
    let reply = Reply::status(400).message(format!("{}{KEY} and more", "x".repeat(290)));
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
    let events = ask(&backend(ProviderKind::ChatCompletion, &endpoint), question("hello")).await;
    let error = error(&events);
    assert!(!error.to_string().contains(&KEY[..6]), "{error}");
}

#[tokio::test]
async fn an_error_in_json_with_status_200_is_an_error() {
    let body = r#"{"error": {"message": "the model is loading", "code": "bad_model"}}"#;
    for (kind, _) in KINDS {
        let endpoint =
            ModelEndpoint::start(ModelScript::new().turn(Reply::body(200, "application/json", body)));
        let events = ask(&backend(kind, &endpoint), question("hello")).await;
        assert!(error(&events).to_string().contains("the model is loading"));
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::hang()));
    let options = HttpOptions { headers_timeout: Duration::from_millis(20), ..quick() };
    let events = ask(&with(ProviderKind::ChatCompletion, &endpoint, options), question("hello")).await;
    assert!(matches!(error(&events), BackendError::Timeout { phase: TimeoutPhase::Headers, .. }));
    assert_eq!(endpoint.requests().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_at_once() {
    // A port that was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = config(ProviderKind::ChatCompletion, &format!("http://127.0.0.1:{port}/v1"));
    let backend = connect(config, &HttpClient::new(quick()).unwrap());
    let events = ask(&backend, question("hello")).await;
    let BackendError::Transport { reason, .. } = error(&events) else { panic!("{events:?}") };
    assert!(reason.starts_with(&format!("127.0.0.1:{port}: ")), "{reason}");
}

#[tokio::test]
async fn cancelling_closes_the_connection() {
    let reply = Reply::text("a rather long answer in many pieces").end_after(4, Ending::Hang);
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
    let cancel = CancellationToken::new();
    let mut stream =
        backend(ProviderKind::ChatCompletion, &endpoint).stream(question("hello"), cancel.clone());
    while !matches!(stream.next().await, Some(Ok(Event::Text(_)))) {}
    cancel.cancel();
    let rest: Vec<_> = stream.by_ref().collect().await;
    assert!(matches!(rest.as_slice(), [.., Err(BackendError::Cancelled)]), "{rest:?}");
    // The stream itself is still held: it is the cancellation that closed the connection.
    assert!(endpoint.http().requests()[0].until_abandoned().await);
    drop(stream);
}

#[tokio::test]
async fn dropping_the_stream_closes_the_connection() {
    let reply = Reply::text("a rather long answer in many pieces").end_after(4, Ending::Hang);
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
    let mut stream =
        backend(ProviderKind::Claude, &endpoint).stream(question("hello"), CancellationToken::new());
    while !matches!(stream.next().await, Some(Ok(Event::Text(_)))) {}
    drop(stream);
    assert!(endpoint.http().requests()[0].until_abandoned().await);
}

#[tokio::test]
async fn a_wait_between_attempts_can_be_cancelled() {
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::status(429).retry_after(50)));
    let cancel = CancellationToken::new();
    let stream = backend(ProviderKind::ChatCompletion, &endpoint).stream(question("hello"), cancel.clone());
    let asking = tokio::spawn(stream.collect::<Vec<_>>());
    endpoint.http().await_request(|_| true).await;
    cancel.cancel();
    let events = tokio::time::timeout(PATIENCE, asking).await.expect("it ends at once").unwrap();
    assert!(matches!(events.as_slice(), [Err(BackendError::Cancelled)]), "{events:?}");
}

#[tokio::test]
async fn nothing_is_sent_before_the_stream_is_polled() {
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(Reply::text("hi")));
    drop(backend(ProviderKind::OpenAi, &endpoint).stream(question("hello"), CancellationToken::new()));
    assert_eq!(endpoint.http().connections(), 0);
}

#[tokio::test]
async fn rate_limit_headers_and_the_cost_are_told() {
    let reply = Reply::text("hi").header("x-ratelimit-remaining-requests", "9");
    let endpoint = ModelEndpoint::start(ModelScript::new().otherwise(reply));
    let events = ask(&backend(ProviderKind::OpenAi, &endpoint), question("hello")).await;
    let limits = vec![("x-ratelimit-remaining-requests".to_owned(), "9".to_owned())];
    assert!(events.iter().any(|event| matches!(event, Ok(Event::RateLimit(got)) if *got == limits)));
    let cost = events.iter().find_map(|event| match event {
        Ok(Event::Usage(usage)) => Some(usage.cost_usd),
        _ => None,
    });
    assert_eq!(cost, Some(Some(0.0)), "a model on this machine costs nothing");
}

#[tokio::test]
async fn what_cannot_run_says_what_to_do() {
    let client = HttpClient::new(quick()).unwrap();
    let url = "https://api.invalid";
    let events = ask(&connect(config(ProviderKind::ClaudeCode, url), &client), question("hello")).await;
    let BackendError::Unsupported(message) = error(&events) else { panic!("{events:?}") };
    assert!(message.contains("claude_code") && message.contains("ANTHROPIC_API_KEY"));

    let mut keyless = config(ProviderKind::Claude, url);
    keyless.api_key = None;
    let events = ask(&connect(keyless, &client), question("hello")).await;
    assert!(matches!(error(&events), BackendError::Auth { hint, .. } if hint == "set THE_API_KEY"));

    let mut broken = config(ProviderKind::Claude, url);
    broken.api_key = Some("sk-with-a\nline-break".into());
    let events = ask(&connect(broken, &client), question("hello")).await;
    let error = error(&events);
    assert!(matches!(error, BackendError::Auth { .. }) && !format!("{error:?}").contains("sk-with"));
}
