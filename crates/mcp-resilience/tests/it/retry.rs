//! How often and when something is tried again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_resilience::deadline::HasDeadline;
use mcp_resilience::retry::{Budget, Cost, Decision, HasAttempt, Policy, RetryLayer, RetryOptions};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Default)]
struct Request {
    deadline: Option<Instant>,
    attempt: u32,
    /// How long the far end asks to wait.
    asked: Option<Duration>,
}

impl HasDeadline for Request {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }
}

impl HasAttempt for Request {
    fn attempt(&self) -> u32 {
        self.attempt
    }
    fn set_attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
    }
}

/// "temporary" may be tried again, "timeout" too, nothing else.
#[derive(Clone)]
struct Temporary;

impl Policy<Request, u32, &'static str> for Temporary {
    fn copy(&self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
    fn decide(&self, request: &Request, result: &Result<u32, &'static str>) -> Decision {
        match result {
            Ok(_) => Decision::Done,
            Err("temporary") => Decision::Again { cost: Cost::Usual, asked: request.asked },
            Err("timeout") => Decision::Again { cost: Cost::Timeout, asked: None },
            Err(_) => Decision::GiveUp,
        }
    }
}

/// Fails with one word so many times; when each attempt came, and which it was.
#[derive(Clone)]
struct Fails {
    word: &'static str,
    times: usize,
    seen: Arc<Mutex<Vec<(Instant, u32)>>>,
}

impl Fails {
    fn new(word: &'static str, times: usize) -> Self {
        Self { word, times, seen: Arc::default() }
    }

    fn service(
        &self,
    ) -> impl Service<Request, Response = u32, Error = &'static str, Future: Send> + Clone + Send + use<>
    {
        let this = self.clone();
        service_fn(move |request: Request| {
            let mut seen = this.seen.lock().unwrap();
            seen.push((Instant::now(), request.attempt));
            let result = if seen.len() <= this.times { Err(this.word) } else { Ok(request.attempt) };
            async move { result }
        })
    }

    fn attempts(&self) -> Vec<u32> {
        self.seen.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect()
    }
}

fn layer() -> RetryLayer<Temporary> {
    RetryLayer::new(Temporary, RetryOptions::default(), Budget::default())
}

#[tokio::test(start_paused = true)]
async fn what_is_temporary_is_tried_three_times_and_nothing_else_twice() {
    for (word, times, expected, attempts) in [
        ("temporary", 0, Ok(1), vec![1]),
        ("temporary", 1, Ok(2), vec![1, 2]),
        ("temporary", 2, Ok(3), vec![1, 2, 3]),
        ("temporary", 9, Err("temporary"), vec![1, 2, 3]),
        ("for good", 1, Err("for good"), vec![1]),
    ] {
        let fails = Fails::new(word, times);
        let result = layer().layer(fails.service()).oneshot(Request::default()).await;
        assert_eq!((result, fails.attempts()), (expected, attempts), "{word} {times} times");
    }
}

#[tokio::test(start_paused = true)]
async fn the_delays_are_within_their_bounds_and_not_all_alike() {
    let mut delays = Vec::new();
    for _ in 0..50 {
        let fails = Fails::new("temporary", 2);
        layer().layer(fails.service()).oneshot(Request::default()).await.unwrap();
        let seen = fails.seen.lock().unwrap().clone();
        let (first, second) = (seen[1].0 - seen[0].0, seen[2].0 - seen[1].0);
        let base = Duration::from_millis(250);
        let tick = Duration::from_millis(2);
        assert!(base <= first && first <= 3 * base + tick, "{first:?}");
        assert!(base <= second && second <= 3 * first + tick, "{second:?} after {first:?}");
        delays.push(first);
    }
    delays.dedup();
    assert!(delays.len() > 25);
}

#[tokio::test(start_paused = true)]
async fn what_the_far_end_asks_for_counts_within_bounds() {
    // (asked, at least, at most) in milliseconds
    for (asked, least, most) in [(5_000, 5_000, 5_502), (1, 250, 752), (99_999_999_000, 60_000, 66_002)] {
        let fails = Fails::new("temporary", 1);
        let request = Request { asked: Some(Duration::from_millis(asked)), ..Request::default() };
        let begun = Instant::now();
        layer().layer(fails.service()).oneshot(request).await.unwrap();
        let waited = begun.elapsed().as_millis() as u64;
        assert!((least..=most).contains(&waited), "asked for {asked} ms, waited {waited} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn no_sleep_goes_past_the_deadline() {
    let fails = Fails::new("temporary", 1);
    let deadline = Some(Instant::now() + 3 * SECOND);
    let request = Request { deadline, asked: Some(5 * SECOND), ..Request::default() };
    let begun = Instant::now();
    let result = layer().layer(fails.service()).oneshot(request).await;
    assert_eq!((result, fails.attempts(), begun.elapsed()), (Err("temporary"), vec![1], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_retry_within_a_retry_makes_one_attempt() {
    let fails = Fails::new("temporary", 100);
    let inner = layer().layer(fails.service());
    layer().layer(inner).oneshot(Request::default()).await.unwrap_err();
    assert_eq!(fails.attempts(), [1, 2, 3], "three, not nine");
}

#[tokio::test(start_paused = true)]
async fn a_storm_costs_a_fifth_more_and_ten() {
    let budget = Budget::default();
    let fails = Fails::new("temporary", usize::MAX);
    let service = RetryLayer::new(Temporary, RetryOptions::default(), budget.clone()).layer(fails.service());
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        callers.spawn(service.clone().oneshot(Request::default()));
    }
    callers.join_all().await;
    assert_eq!(fails.attempts().len(), 110);
    assert_eq!(budget.tokens(), 0.0);

    let late = Fails::new("timeout", usize::MAX);
    let service =
        RetryLayer::new(Temporary, RetryOptions::default(), Budget::default()).layer(late.service());
    for _ in 0..20 {
        service.clone().oneshot(Request::default()).await.unwrap_err();
    }
    assert_eq!(late.attempts().len(), 25, "after a timeout it costs double");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_ends_the_wait() {
    let fails = Fails::new("temporary", 100);
    let call = layer().layer(fails.service()).oneshot(Request::default());
    assert!(tokio::time::timeout(SECOND / 10, call).await.is_err());
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(fails.attempts(), [1]);
}
