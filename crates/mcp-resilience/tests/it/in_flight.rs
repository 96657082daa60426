//! Services that share a limit, and what hangs in some of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mcp_resilience::in_flight::{Error, InFlight, InFlightLimit, InFlightOptions};
use proptest::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// A party whose requests end when they are let go, and how many of them are at work.
#[derive(Clone)]
struct Desk {
    go: Arc<Semaphore>,
    at_work: Arc<AtomicUsize>,
}

impl Desk {
    fn new() -> Self {
        Self { go: Arc::new(Semaphore::new(0)), at_work: Arc::default() }
    }

    fn at_work(&self) -> usize {
        self.at_work.load(Ordering::SeqCst)
    }

    fn party(
        &self,
        limit: &InFlightLimit,
    ) -> InFlight<impl Service<(), Response = (), Error = Infallible, Future: Send> + Clone + use<>> {
        struct Worker(Arc<AtomicUsize>);
        impl Drop for Worker {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let this = self.clone();
        limit.layer().layer(service_fn(move |()| {
            let this = this.clone();
            async move {
                this.at_work.fetch_add(1, Ordering::SeqCst);
                let _worker = Worker(this.at_work.clone());
                this.go.acquire().await.unwrap().forget();
                Ok(())
            }
        }))
    }
}

fn limit(places: usize) -> InFlightLimit {
    InFlightLimit::new(&InFlightOptions { places, ..InFlightOptions::default() })
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_in_three_services_leaves_room_for_the_fourth() {
    let limit = limit(64);
    let mut hanging = JoinSet::new();
    let mut held = Vec::new();
    for _ in 0..3 {
        let desk = Desk::new();
        let party = desk.party(&limit);
        for _ in 0..100 {
            hanging.spawn(party.clone().oneshot(()));
        }
        settle().await;
        held.push(desk.at_work());
    }
    assert_eq!(held, [32, 16, 8]);
    // The fourth is not held up: not one of its requests takes any time.
    let desk = Desk::new();
    desk.go.add_permits(1000);
    let party = desk.party(&limit);
    let begun = tokio::time::Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..200 {
        calls.spawn(party.clone().oneshot(()));
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(begun.elapsed(), Duration::ZERO);
    // Those that found no place were told after 5 s.
    tokio::time::sleep(6 * SECOND).await;
    let mut waited = 0;
    while let Some(ended) = hanging.try_join_next() {
        assert_eq!(ended.unwrap(), Err(Error::Waited { limit: 5 * SECOND }));
        waited += 1;
    }
    assert_eq!((waited, limit.in_flight()), (300 - 32 - 16 - 8, 32 + 16 + 8));
    // Whoever is dropped gives its place back.
    hanging.shutdown().await;
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_waits_comes_in_when_a_place_gets_free_and_parties_take_turns() {
    let limit = limit(4);
    let desks = [Desk::new(), Desk::new()];
    let parties = desks.each_ref().map(|desk| desk.party(&limit));
    let mut calls = JoinSet::new();
    for party in &parties {
        for _ in 0..5 {
            calls.spawn(party.clone().oneshot(()));
        }
        settle().await;
    }
    assert_eq!(desks.each_ref().map(Desk::at_work), [2, 1]);
    for desk in &desks {
        desk.go.add_permits(100);
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    assert_eq!(limit.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn everybody_gets_one_however_little_is_left() {
    let limit = limit(1);
    let desks: Vec<_> = (0..20).map(|_| Desk::new()).collect();
    let mut calls = JoinSet::new();
    for desk in &desks {
        let party = desk.party(&limit);
        for _ in 0..3 {
            calls.spawn(party.clone().oneshot(()));
        }
    }
    settle().await;
    assert!(desks.iter().all(|desk| desk.at_work() == 1));
    assert_eq!(limit.in_flight(), 20);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, ..ProptestConfig::default() })]

    /// Whatever comes, ends and is dropped: the limit holds up to one for each party, and no place is lost.
    #[test]
    fn places_are_neither_lost_nor_made(
        places in 1..20usize,
        steps in prop::collection::vec((0..4usize, 0..3u8), 1..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limit = limit(places);
            let desks: Vec<_> = (0..4).map(|_| Desk::new()).collect();
            let parties: Vec<_> = desks.iter().map(|desk| desk.party(&limit)).collect();
            let mut calls: Vec<_> = Vec::new();
            for (at, step) in steps {
                match step {
                    0 => calls.push((at, tokio::spawn(parties[at].clone().oneshot(())))),
                    1 => desks[at].go.add_permits(1),
                    _ => {
                        if let Some(found) = calls.iter().position(|(of, _)| *of == at) {
                            calls.swap_remove(found).1.abort();
                        }
                    }
                }
                settle().await;
                let at_work: usize = desks.iter().map(Desk::at_work).sum();
                prop_assert_eq!(limit.in_flight(), at_work);
                prop_assert!(at_work <= places + parties.len());
            }
            for desk in &desks {
                desk.go.add_permits(1000);
            }
            settle().await;
            prop_assert_eq!(limit.in_flight(), 0);
            Ok(())
        })?;
    }
}
