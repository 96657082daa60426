//! Who comes in, in which order, and who does not.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_resilience::bulkhead::{BulkheadLayer, BulkheadOptions, Error, HasCaller};
use mcp_resilience::deadline::HasDeadline;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone)]
struct Request {
    caller: &'static str,
    number: u32,
    deadline: Option<Instant>,
}

fn request(caller: &'static str, number: u32) -> Request {
    Request { caller, number, deadline: None }
}

impl HasCaller for Request {
    type Caller = &'static str;
    fn caller(&self) -> &'static str {
        self.caller
    }
}

impl HasDeadline for Request {
    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    fn set_deadline(&mut self, deadline: Instant) {
        self.deadline = Some(deadline);
    }
}

/// Writes down who began, and ends each when it is let go.
#[derive(Clone)]
struct Desk {
    begun: Arc<Mutex<Vec<String>>>,
    go: Arc<Semaphore>,
}

impl Desk {
    fn new() -> Self {
        Self { begun: Arc::default(), go: Arc::new(Semaphore::new(0)) }
    }

    fn service(
        &self,
    ) -> impl Service<Request, Response = (), Error = Infallible, Future: Send> + Clone + Send + use<> {
        let this = self.clone();
        service_fn(move |request: Request| {
            this.begun.lock().unwrap().push(format!("{}{}", request.caller, request.number));
            let go = this.go.clone();
            async move {
                go.acquire().await.unwrap().forget();
                Ok(())
            }
        })
    }

    fn begun(&self) -> String {
        self.begun.lock().unwrap().join(" ")
    }
}

fn options(in_flight: usize, queue: usize) -> BulkheadOptions {
    BulkheadOptions { in_flight, queue, wait: 5 * SECOND }
}

#[tokio::test(start_paused = true)]
async fn callers_take_turns() {
    let desk = Desk::new();
    let service = BulkheadLayer::new(options(1, 64)).layer(desk.service());
    let mut calls = tokio::task::JoinSet::new();
    for (caller, number) in [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 1), ("b", 2), ("c", 1)] {
        calls.spawn(service.clone().oneshot(request(caller, number)));
        tokio::task::yield_now().await;
    }
    desk.go.add_permits(100);
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(desk.begun(), "a1 a2 b1 c1 a3 b2 a4");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_are_inside_and_no_more_than_so_many_wait() {
    let desk = Desk::new();
    let service = BulkheadLayer::new(options(2, 3)).layer(desk.service());
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..5 {
        calls.spawn(service.clone().oneshot(request("a", number)));
        tokio::task::yield_now().await;
    }
    assert_eq!(desk.begun(), "a0 a1");
    let full = service.clone().oneshot(request("b", 0)).await;
    assert_eq!(full, Err(Error::Full { limit: 3 }));
    // Who goes away makes room, in the queue and inside.
    calls.abort_all();
    while calls.join_next().await.is_some() {}
    desk.go.add_permits(1);
    assert_eq!(service.oneshot(request("b", 1)).await, Ok(()));
    assert_eq!(desk.begun(), "a0 a1 b1");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_the_bound_or_a_fifth_of_its_time() {
    let desk = Desk::new();
    let service = BulkheadLayer::new(options(1, 3)).layer(desk.service());
    let inside = tokio::spawn(service.clone().oneshot(request("a", 0)));
    tokio::task::yield_now().await;
    for (deadline, limit) in [(None, 5 * SECOND), (Some(10), 2 * SECOND), (Some(100), 5 * SECOND)] {
        let begun = Instant::now();
        let deadline = deadline.map(|seconds| begun + seconds * SECOND);
        let waited = service.clone().oneshot(Request { deadline, ..request("b", 0) }).await;
        assert_eq!((waited, begun.elapsed()), (Err(Error::Waited { limit }), limit));
    }
    inside.abort();
    let _ = inside.await;
    desk.go.add_permits(1);
    assert_eq!(service.oneshot(request("c", 0)).await, Ok(()), "the place was given back");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_handed_to_one_who_just_went_away_goes_on() {
    for drops in 0..6 {
        let desk = Desk::new();
        let mut service = BulkheadLayer::new(options(1, 64)).layer(desk.service());
        let inside = service.call(request("a", 0));
        let mut waiting: Vec<_> = (0..6).map(|number| Box::pin(service.call(request("b", number)))).collect();
        drop(waiting.drain(..drops));
        drop(inside);
        desk.go.add_permits(100);
        for call in waiting {
            call.await.unwrap();
        }
        assert_eq!(service.oneshot(request("c", 0)).await, Ok(()));
    }
}
