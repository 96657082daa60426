//! Every order in which threads can take, return and drop permits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use loom::sync::Arc;
use loom::sync::atomic::AtomicUsize;
use loom::thread;
use tokio::time::Instant;

use super::*;
use crate::breaker::policy::{Failure, RuleOptions};

fn opened(now: Instant) -> Gate {
    let options = RuleOptions { failures_in_a_row: 1, open_jitter: 0.0, ..RuleOptions::default() };
    let gate = Gate::new(Rules::new(options));
    gate.acquire(now).unwrap().record(Outcome::Failure(Failure::Call), now);
    assert_eq!(gate.state().name(), "open");
    gate
}

/// What a thread does with the permit it gets.
#[derive(Clone, Copy)]
enum Does {
    Succeed,
    Fail,
    Drop,
}

fn race(plan: [Does; 2], expected: fn(&State) -> bool) {
    loom::model(move || {
        let now = Instant::now();
        let gate = opened(now);
        let later = now + Duration::from_secs(5);
        let in_flight = Arc::new(AtomicUsize::new(0));
        let threads = plan.map(|does| {
            let (gate, in_flight) = (gate.clone(), in_flight.clone());
            thread::spawn(move || {
                let Ok(permit) = gate.acquire(later) else { return };
                if permit.is_probe() {
                    assert_eq!(in_flight.fetch_add(1, Ordering::SeqCst), 0, "two probes at once");
                    in_flight.fetch_sub(1, Ordering::SeqCst);
                }
                match does {
                    Does::Succeed => permit.record(Outcome::Success, later),
                    Does::Fail => permit.record(Outcome::Failure(Failure::Call), later),
                    Does::Drop => drop(permit),
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        let state = gate.state();
        assert!(expected(&state), "{state:?}");
        // Whatever happened, the next one finds a way in sooner or later: no slot was lost.
        let far = later + Duration::from_secs(3600);
        drop(gate.acquire(far).unwrap());
    });
}

#[test]
fn one_probe_at_a_time_and_no_slot_is_lost() {
    race([Does::Succeed, Does::Succeed], |state| matches!(state, State::Closed));
    race([Does::Drop, Does::Drop], |state| matches!(state, State::Open { .. }));
    race([Does::Fail, Does::Drop], |state| matches!(state, State::Open { .. }));
    // A success closes it; a failure opens it; which one is first is anybody's guess.
    race([Does::Succeed, Does::Fail], |state| matches!(state, State::Closed | State::Open { .. }));
    race([Does::Succeed, Does::Drop], |state| matches!(state, State::Closed | State::Open { .. }));
}

#[test]
fn a_reader_sees_whole_states_and_changes_none() {
    loom::model(|| {
        let now = Instant::now();
        let gate = opened(now);
        let later = now + Duration::from_secs(5);
        let reader = {
            let gate = gate.clone();
            thread::spawn(move || (gate.state().name(), gate.retry_at(later).is_some()))
        };
        gate.acquire(later).unwrap().record(Outcome::Success, later);
        let (name, _) = reader.join().unwrap();
        assert!(["open", "half_open", "closed"].contains(&name));
        assert_eq!(gate.state(), State::Closed);
    });
}
