//! The middlewares around services that are slow, silent or late, on a paused clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so at once")]

mod breaker;
mod bulkhead;
mod even_odds;
mod health;
mod in_flight;
mod observed;
mod retry;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_resilience::deadline::{self, DeadlineLayer, HasDeadline};
use mcp_resilience::timeout::{self, HasPulse, Pulse, TimeoutLayer, Vital};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy)]
struct Request {
    takes: Duration,
    deadline: Option<Instant>,
}

impl HasPulse for Request {
    fn set_pulse(&mut self, _: &Pulse) {}
}

impl HasDeadline for Request {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }
}

/// Answers after the time the request asks for; counts what was begun and what is still there.
#[derive(Clone, Default)]
struct Counts {
    begun: Arc<AtomicUsize>,
    alive: Arc<AtomicUsize>,
}

impl Counts {
    fn service(
        &self,
    ) -> impl Service<Request, Response = Option<Instant>, Error = Infallible, Future: Send> + Clone + use<>
    {
        let counts = self.clone();
        service_fn(move |request: Request| {
            struct Alive(Arc<AtomicUsize>);
            impl Drop for Alive {
                fn drop(&mut self) {
                    self.0.fetch_sub(1, Ordering::SeqCst);
                }
            }
            counts.begun.fetch_add(1, Ordering::SeqCst);
            counts.alive.fetch_add(1, Ordering::SeqCst);
            let alive = Alive(counts.alive.clone());
            async move {
                let _alive = alive;
                tokio::time::sleep(request.takes).await;
                Ok(request.deadline)
            }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_lesser_of_the_two_deadlines_counts_and_travels_inwards() {
    // (own limit, caller's, the call takes) -> what was left inside, or the limit that ran out.
    let cases = [
        (10, None, 1, Ok(10)),
        (10, Some(5), 1, Ok(5)),
        (10, Some(50), 1, Ok(10)),
        (10, None, 11, Err(10)),
        (10, Some(5), 7, Err(5)),
        (10, Some(50), 11, Err(10)),
        (10, Some(0), 1, Err(0)),
    ];
    for case @ (own, callers, takes, expected) in cases {
        let begin = Instant::now();
        let service = DeadlineLayer::new(own * SECOND).layer(Counts::default().service());
        let request = Request { takes: takes * SECOND, deadline: callers.map(|s| begin + s * SECOND) };
        let outcome = service.oneshot(request).await;
        match (outcome, expected) {
            (Ok(deadline), Ok(seconds)) => assert_eq!(deadline, Some(begin + seconds * SECOND), "{case:?}"),
            (Err(deadline::Error::Exceeded { limit }), Err(seconds)) => {
                assert_eq!((limit, begin.elapsed()), (seconds * SECOND, seconds * SECOND), "{case:?}");
            }
            other => panic!("{case:?}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_too_late_is_never_sent() {
    let counts = Counts::default();
    let late = Request { takes: SECOND, deadline: Some(Instant::now()) };
    let outcome = DeadlineLayer::new(10 * SECOND).layer(counts.service()).oneshot(late).await;
    assert!(matches!(outcome, Err(deadline::Error::Exceeded { limit: Duration::ZERO })));
    assert_eq!(counts.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_endless_limit_is_no_limit() {
    let service = DeadlineLayer::new(Duration::MAX).layer(Counts::default().service());
    let outcome = service.oneshot(Request { takes: 3600 * SECOND, deadline: None }).await;
    assert!(matches!(outcome, Ok(None)), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_dropped_at_once() {
    let counts = Counts::default();
    let mut service = TimeoutLayer::new(2 * SECOND).layer(counts.service());
    let begin = Instant::now();
    let mut attempt = std::pin::pin!(service.call(Request { takes: 5 * SECOND, deadline: None }));
    let outcome = attempt.as_mut().await;
    assert!(matches!(outcome, Err(timeout::Error::Elapsed { limit }) if limit == 2 * SECOND));
    assert_eq!(begin.elapsed(), 2 * SECOND);
    // `attempt` still exists here; its work does not.
    assert_eq!((counts.begun.load(Ordering::SeqCst), counts.alive.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_with_the_last_tick_counts() {
    let request = Request { takes: 2 * SECOND, deadline: None };
    assert!(TimeoutLayer::new(2 * SECOND).layer(Counts::default().service()).oneshot(request).await.is_ok());
    assert!(DeadlineLayer::new(2 * SECOND).layer(Counts::default().service()).oneshot(request).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_future_ends_the_work() {
    let counts = Counts::default();
    let mut service =
        DeadlineLayer::new(9 * SECOND).layer(TimeoutLayer::new(9 * SECOND).layer(counts.service()));
    let call = service.call(Request { takes: 5 * SECOND, deadline: None });
    assert_eq!(counts.alive.load(Ordering::SeqCst), 1);
    drop(call);
    assert_eq!(counts.alive.load(Ordering::SeqCst), 0);
}

/// Beats every second, so many times, then says nothing more; or answers in time.
#[derive(Clone, Default)]
struct Beating {
    beats: u32,
    answers: bool,
    /// Until when its caller waits.
    deadline: Option<Instant>,
    pulse: Pulse,
}

impl HasPulse for Beating {
    fn set_pulse(&mut self, pulse: &Pulse) {
        self.pulse = pulse.clone();
    }
}

impl HasDeadline for Beating {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_shows_signs_of_life_may_take_longer() {
    let service = service_fn(|request: Beating| async move {
        for _ in 0..request.beats {
            tokio::time::sleep(SECOND).await;
            request.pulse.beat();
        }
        if request.answers { Ok::<_, Infallible>(()) } else { std::future::pending().await }
    });
    let service = TimeoutLayer::new(2 * SECOND).layer(service);
    for (beats, answers, took) in [(10, true, 10), (10, false, 12), (0, false, 2)] {
        let begin = Instant::now();
        let outcome = service.clone().oneshot(Beating { beats, answers, ..Beating::default() }).await;
        assert_eq!((outcome.is_ok(), begin.elapsed()), (answers, took * SECOND), "{beats} beats");
    }
}

#[tokio::test(start_paused = true)]
async fn no_sign_of_life_makes_an_attempt_outlast_its_caller() {
    let silent = service_fn(|_: Beating| std::future::pending::<Result<(), Infallible>>());
    let beating = service_fn(|request: Beating| async move {
        for _ in 0..100 {
            tokio::time::sleep(SECOND).await;
            request.pulse.beat();
        }
        Ok::<(), Infallible>(())
    });
    let begin = Instant::now();
    for (patience, limit) in [(1, 1), (5, 2)] {
        let deadline = Some(Instant::now() + patience * SECOND);
        let request = Beating { deadline, ..Beating::default() };
        let outcome = TimeoutLayer::new(2 * SECOND).layer(silent).oneshot(request).await;
        assert_eq!(outcome.unwrap_err(), timeout::Error::Elapsed { limit: limit * SECOND });
    }
    assert_eq!(begin.elapsed(), 3 * SECOND);
    let request = Beating { deadline: Some(Instant::now() + 5 * SECOND), ..Beating::default() };
    assert!(TimeoutLayer::new(2 * SECOND).layer(beating).oneshot(request).await.is_err());
    assert_eq!(begin.elapsed(), 8 * SECOND);
}

/// Shows that it is alive until then.
struct Until(Instant);

impl Vital for Until {
    fn last(&self) -> Option<Instant> {
        Some(self.0.min(Instant::now()))
    }
}

#[tokio::test(start_paused = true)]
async fn signs_of_life_from_elsewhere_count_too() {
    let begin = Instant::now();
    let service = service_fn(move |request: Beating| async move {
        request.pulse.follow(Arc::new(Until(begin + 5 * SECOND)));
        std::future::pending::<Result<(), Infallible>>().await
    });
    let outcome = TimeoutLayer::new(2 * SECOND).layer(service).oneshot(Beating::default()).await;
    assert_eq!(outcome.unwrap_err(), timeout::Error::Elapsed { limit: 2 * SECOND });
    assert_eq!(begin.elapsed(), 7 * SECOND);
}
