//! What the layers cost: a call that succeeds through all of them, and one that an open circuit refuses.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_resilience::breaker::{BreakerLayer, Failure, Gate, Outcome, Rules};
use mcp_resilience::bulkhead::{BulkheadLayer, BulkheadOptions};
use mcp_resilience::deadline::DeadlineLayer;
use mcp_resilience::rate_limit::{RateLimitLayer, RateLimitOptions};
use mcp_resilience::retry::{Budget, Decision, Policy, RetryLayer, RetryOptions};
use mcp_resilience::timeout::TimeoutLayer;
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, service_fn};

#[derive(Clone)]
struct Always;

impl<T, E> Policy<&'static str, T, E> for Always {
    fn copy(&self, request: &&'static str) -> Option<&'static str> {
        Some(*request)
    }
    fn decide(&self, _: &&'static str, result: &Result<T, E>) -> Decision {
        if result.is_ok() { Decision::Done } else { Decision::AGAIN }
    }
}

fn judge<T, E>(result: &Result<T, E>) -> Outcome {
    if result.is_ok() { Outcome::Success } else { Outcome::Failure(Failure::Call) }
}

fn answer(_: &'static str) -> Ready<Result<u32, Infallible>> {
    ready(Ok(42))
}

fn poll<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("everything here is ready at once"),
    }
}

fn layers(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return };
    let _inside = runtime.enter();
    let minute = Duration::from_secs(60);

    let mut bare = service_fn(answer);
    criterion.bench_function("bare", |bencher| bencher.iter(|| poll(bare.call(black_box("call")))));

    let rate = RateLimitOptions { burst: 1_000_000, every: Duration::from_nanos(1), wait: minute };
    let mut stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(5 * minute))
        .layer(RetryLayer::new(Always, RetryOptions::default(), Budget::default()))
        .layer(BreakerLayer::new(Gate::new(Rules::default()), judge))
        .layer(BulkheadLayer::<()>::new(BulkheadOptions::default()))
        .layer(RateLimitLayer::new(rate))
        .layer(TimeoutLayer::new(minute))
        .service(service_fn(answer));
    criterion.bench_function("whole stack, success", |bencher| {
        bencher.iter(|| poll(stack.call(black_box("call"))).is_ok())
    });

    let gate = Gate::new(Rules::default());
    gate.force_open("for the measurement");
    let mut refused = ServiceBuilder::new().layer(BreakerLayer::new(gate, judge)).service(service_fn(answer));
    criterion.bench_function("open circuit, refused", |bencher| {
        bencher.iter(|| poll(refused.call(black_box("call"))).is_err())
    });

    let gate = Gate::new(Rules::default());
    for _ in 0..5 {
        if let Ok(permit) = gate.acquire(Instant::now()) {
            permit.record(Outcome::Failure(Failure::Call), Instant::now());
        }
    }
    criterion.bench_function("tripped circuit, refused at the gate", |bencher| {
        bencher.iter(|| gate.acquire(black_box(Instant::now())).is_err())
    });
}

criterion_group!(benches, layers);
criterion_main!(benches);
