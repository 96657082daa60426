//! The invariants of a circuit, on random histories, and the service around it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_resilience::breaker::{
    self, BreakerLayer, Error, Failure, Gate, Outcome, Permit, Probing, Reason, RuleOptions, Rules, State,
    Transition,
};
use proptest::prelude::*;
use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Outcome = Outcome::Failure(Failure::Call);

#[derive(Debug, Clone, Copy)]
enum Step {
    Acquire,
    AcquireProbe,
    /// Of the permits that are out, this one, modulo their number.
    Record(usize, Outcome),
    Drop(usize),
    Panic(usize),
    Advance(u64),
    ForceOpen,
    Disable,
    Reset,
    Read,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        3 => Just(Outcome::Success),
        4 => Just(FAILED),
        1 => Just(Outcome::Failure(Failure::Connect)),
        3 => Just(Outcome::Failure(Failure::Lost)),
        1 => Just(Outcome::Neutral),
        1 => (1..20u64).prop_map(|seconds| Outcome::Throttled(Duration::from_secs(seconds))),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Acquire),
        2 => Just(Step::AcquireProbe),
        8 => (0..8usize, outcome()).prop_map(|(at, outcome)| Step::Record(at, outcome)),
        2 => (0..8usize).prop_map(Step::Drop),
        1 => (0..8usize).prop_map(Step::Panic),
        4 => (0..20_000u64).prop_map(Step::Advance),
        2 => (100..400u64).prop_map(|seconds| Step::Advance(seconds * 1000)),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::Disable),
        3 => Just(Step::Reset),
        2 => Just(Step::Read),
    ]
}

fn rules(jitter: f64) -> Rules {
    Rules::new(RuleOptions { open_jitter: jitter, ..RuleOptions::default() })
}

fn memory(gate: &Gate) -> String {
    format!("{:?}", gate.snapshot())
}

/// A permit that ends by a panic of whoever held it.
fn panic_with(permit: Permit) {
    let thread = std::thread::Builder::new().spawn(move || {
        let _permit = permit;
        std::panic::resume_unwind(Box::new("the holder of a permit panics"));
    });
    assert!(thread.unwrap().join().is_err());
}

fn unanswered(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Failure(failure) if failure.is_unanswered())
}

/// Whether nobody answered the attempts that opened a circuit, by what it says of them.
fn nobody_answered(history: &[Outcome], reason: &str) -> bool {
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failure(_) | Outcome::Throttled(_));
    let counted: Vec<Outcome> = match reason.split_once(" of the last ") {
        Some((failures, _)) => {
            let failures = failures.parse().unwrap();
            history.iter().copied().filter(failed).rev().take(failures).collect()
        }
        None => {
            let row = history.iter().copied().rev().take_while(|outcome| *outcome != Outcome::Success);
            row.filter(|outcome| matches!(outcome, Outcome::Failure(_))).collect()
        }
    };
    counted.into_iter().all(unanswered)
}

/// What happened, checked from outside while it happens.
struct Checker {
    gate: Gate,
    told: Arc<Mutex<Vec<Transition>>>,
    seen: usize,
    now: Instant,
    permits: Vec<(Permit, u64)>,
    /// Changes of state so far: the generation.
    generation: u64,
    /// How often in a row a recovery failed, as the outside can tell.
    doublings: u32,
    opened: bool,
    closed_at: Option<Instant>,
    successes: u32,
    /// What counted since the circuit closed.
    history: Vec<Outcome>,
    /// Whether nobody answered, neither the attempts that opened it nor a probe since.
    away: bool,
}

impl Checker {
    fn new() -> Self {
        let told: Arc<Mutex<Vec<Transition>>> = Arc::default();
        let gate = Gate::new(rules(0.5)).told({
            let told = told.clone();
            move |change| told.lock().unwrap().push(change.clone())
        });
        Self {
            gate,
            told,
            seen: 0,
            now: Instant::now(),
            permits: Vec::new(),
            generation: 0,
            doublings: 0,
            opened: false,
            closed_at: None,
            successes: 0,
            history: Vec::new(),
            away: false,
        }
    }

    /// Looks at the changes since the last look. `cause`: the outcome that was just recorded by a current permit.
    fn look(&mut self, cause: Option<(Outcome, bool)>, by_operator: bool) {
        let told: Vec<Transition> = self.told.lock().unwrap()[self.seen..].to_vec();
        self.seen += told.len();
        for change in told {
            self.generation += 1;
            if change.to == State::Closed {
                self.history.clear();
            }
            match (&change.from, &change.to) {
                (State::HalfOpen { .. }, State::Closed) => {
                    assert_eq!(cause, Some((Outcome::Success, true)), "closed without a probe's success");
                    (self.closed_at, self.successes) = (Some(self.now), 0);
                }
                (_, State::Closed) => {
                    assert!(by_operator, "{change:?}");
                    (self.closed_at, self.successes) = (Some(self.now), 0);
                }
                (State::HalfOpen { retry_at }, State::Open { retry_at: again, .. })
                    if !matches!(cause, Some((Outcome::Failure(_) | Outcome::Throttled(_), true))) =>
                {
                    assert_eq!(retry_at, again, "a probe that says nothing changes no time");
                }
                (from, State::Open { retry_at, .. }) => {
                    let calm = self.closed_at.is_some_and(|at| self.now - at >= 60 * SECOND);
                    if self.opened && calm && self.successes >= 3 {
                        (self.opened, self.doublings) = (false, 0);
                    }
                    if self.opened || matches!(from, State::HalfOpen { .. }) {
                        self.doublings += 1;
                    }
                    self.opened = true;
                    self.closed_at = None;
                    self.away = match from {
                        State::HalfOpen { .. } => {
                            self.away && cause.is_some_and(|(probe, _)| unanswered(probe))
                        }
                        _ => nobody_answered(&self.history, &change.reason),
                    };
                    let cap = if self.away { 20 } else { 300 };
                    let base = (5 * SECOND * 2u32.saturating_pow(self.doublings.min(10))).min(cap * SECOND);
                    let asked = match cause {
                        Some((Outcome::Throttled(wait), _)) => wait,
                        _ => Duration::ZERO,
                    };
                    let wait = *retry_at - self.now;
                    let longest = base.mul_f64(1.5).max(asked) + SECOND / 1000;
                    assert!(base <= wait && wait <= longest, "{wait:?} after {} relapses", self.doublings);
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, at: usize) -> Option<(Permit, u64)> {
        (!self.permits.is_empty()).then(|| self.permits.swap_remove(at % self.permits.len()))
    }

    fn probes_in_flight(&self) -> usize {
        let current =
            |(permit, generation): &&(Permit, u64)| permit.is_probe() && *generation == self.generation;
        self.permits.iter().filter(current).count()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Acquire => {
                let (state, before) = (self.gate.state(), memory(&self.gate));
                let acquired = self.gate.acquire(self.now);
                match (&state, &acquired) {
                    (State::Open { retry_at, .. }, Ok(_)) => {
                        assert!(self.now >= *retry_at, "passed an open one")
                    }
                    (State::ForcedOpen { .. } | State::HalfOpen { .. }, Ok(_)) => panic!("passed {state:?}"),
                    (State::Disabled, Err(rejected)) => panic!("{rejected}"),
                    (_, Err(rejected)) => {
                        assert_eq!(memory(&self.gate), before, "being rejected changes nothing");
                        assert!(rejected.retry_at.is_some() || matches!(state, State::ForcedOpen { .. }));
                    }
                    _ => {}
                }
                self.look(None, false);
                if let Ok(permit) = acquired {
                    self.permits.push((permit, self.generation));
                }
            }
            Step::AcquireProbe => {
                let probe = self.gate.acquire_probe(self.now);
                self.look(None, false);
                if let Some(permit) = probe {
                    assert!(permit.is_probe());
                    self.permits.push((permit, self.generation));
                }
            }
            Step::Record(at, outcome) => {
                let Some((permit, generation)) = self.take(at) else { return };
                let (probe, before) = (permit.is_probe(), memory(&self.gate));
                let current = generation == self.generation;
                permit.record(outcome, self.now);
                if current && !probe {
                    self.history.push(outcome);
                }
                if current && outcome == Outcome::Success && !probe {
                    self.successes += 1;
                }
                if !current {
                    assert_eq!(memory(&self.gate), before, "what is stale counts for nothing");
                }
                self.look(Some((outcome, probe && current)), false);
            }
            Step::Drop(at) => {
                drop(self.take(at));
                self.look(None, false);
            }
            Step::Panic(at) => {
                if let Some((permit, _)) = self.take(at) {
                    panic_with(permit);
                }
                self.look(None, false);
            }
            Step::Advance(millis) => self.now += Duration::from_millis(millis),
            Step::ForceOpen => {
                self.gate.force_open("an operator");
                self.look(None, true);
            }
            Step::Disable => {
                self.gate.disable();
                self.look(None, true);
            }
            Step::Reset => {
                self.gate.reset(self.now);
                self.look(None, true);
            }
            Step::Read => {
                let before = memory(&self.gate);
                let _ = (self.gate.state(), self.gate.retry_at(self.now), self.gate.is_degraded(self.now));
                assert_eq!(memory(&self.gate), before, "a read changes nothing");
            }
        }
        assert!(self.probes_in_flight() <= 1, "two probes at once");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Nothing passes an open circuit; one probe at a time; a rejected call, a read and a stale outcome change nothing;
    /// only a current probe's success closes; the time open is what it should be; no permit is lost.
    #[test]
    fn the_invariants_hold_on_random_histories(steps in prop::collection::vec(step(), 1..200)) {
        let mut checker = Checker::new();
        for step in steps {
            checker.step(step);
        }
        // However permits ended, a slot is never lost: with all of them back, somebody passes again.
        checker.permits.clear();
        checker.look(None, false);
        checker.step(Step::Reset);
        checker.step(Step::Advance(1_000_000));
        let permit = checker.gate.acquire(checker.now).unwrap();
        permit.record(Outcome::Success, checker.now);
        prop_assert_eq!(checker.gate.state(), State::Closed);
    }

    #[test]
    fn nothing_but_success_never_opens(gaps in prop::collection::vec((0..5000u64, 0..90_000u64), 1..300)) {
        let gate = Gate::new(Rules::default());
        let mut now = Instant::now();
        for (gap, took) in gaps {
            now += Duration::from_millis(gap);
            let permit = gate.acquire(now).unwrap();
            now += Duration::from_millis(took);
            permit.record(Outcome::Success, now);
            prop_assert_eq!(gate.state(), State::Closed);
        }
    }

    #[test]
    fn a_gate_brought_back_from_a_snapshot_goes_on_as_the_first(
        before in prop::collection::vec((outcome(), 0..30_000u64), 0..60),
        after in prop::collection::vec((outcome(), 0..30_000u64), 1..60),
    ) {
        let first = Gate::new(rules(0.0));
        let mut now = Instant::now();
        let play = |gate: &Gate, outcome, now| {
            let acquired = gate.acquire(now);
            let passed = acquired.is_ok();
            if let Ok(permit) = acquired {
                permit.record(outcome, now);
            }
            (passed, gate.state(), gate.retry_at(now), gate.is_degraded(now))
        };
        for (outcome, gap) in before {
            now += Duration::from_millis(gap);
            play(&first, outcome, now);
        }
        let second = Gate::restore(first.snapshot());
        for (outcome, gap) in after {
            now += Duration::from_millis(gap);
            prop_assert_eq!(play(&first, outcome, now), play(&second, outcome, now));
        }
    }
}

/// Plays outcomes at seconds; the state afterwards, in one word.
fn after(options: RuleOptions, outcomes: &[(u64, Outcome)]) -> &'static str {
    let gate = Gate::new(Rules::new(options));
    let begin = Instant::now();
    for (second, outcome) in outcomes {
        let now = begin + Duration::from_secs(*second);
        if let Ok(permit) = gate.acquire(now) {
            permit.record(*outcome, now);
        }
    }
    gate.state().name()
}

#[test]
fn each_rule_opens_when_it_should() {
    let connect = Outcome::Failure(Failure::Connect);
    let lasting = Outcome::Failure(Failure::Lasting(300 * SECOND));
    let wait = Outcome::Throttled(Duration::from_millis(250));
    let every = |gap: u64, outcomes: &[Outcome]| -> Vec<(u64, Outcome)> {
        outcomes.iter().enumerate().map(|(at, outcome)| (at as u64 * gap, *outcome)).collect()
    };
    use Outcome::{Neutral, Success};
    for (what, outcomes, state) in [
        ("two connects", every(1, &[connect; 2]), "closed"),
        ("three connects", every(1, &[connect; 3]), "open"),
        ("four failures", every(1, &[FAILED; 4]), "closed"),
        ("five failures", every(1, &[FAILED; 5]), "open"),
        (
            "five failures with neutral ones between",
            every(1, &[FAILED, Neutral, FAILED, FAILED, Neutral, FAILED, FAILED]),
            "open",
        ),
        ("a success between, too few for a rate", every(1, &[FAILED, FAILED, Success, FAILED]), "closed"),
        ("half of six", every(1, &[Success, FAILED, Success, FAILED, Success, FAILED]), "open"),
        ("a third of six", every(1, &[Success, FAILED, Success, FAILED, Success, Success]), "closed"),
        (
            "half, but spread over minutes",
            every(30, &[Success, FAILED, Success, FAILED, Success, FAILED]),
            "closed",
        ),
        ("five in a row, spread over minutes", every(90, &[FAILED; 5]), "open"),
        ("asked to wait four times", every(1, &[wait; 4]), "closed"),
        ("asked to wait five times: half of all calls", every(1, &[wait; 5]), "open"),
        ("one that lasts", every(1, &[lasting]), "open"),
    ] {
        assert_eq!(after(RuleOptions::default(), &outcomes), state, "{what}");
    }
}

#[test]
fn rules_that_never_open_never_do() {
    let failures: Vec<_> = (0..200).map(|second| (second, FAILED)).collect();
    assert_eq!(after(RuleOptions::never(), &failures), "closed");
}

#[test]
fn slow_answers_degrade_and_open_nothing() {
    let gate = Gate::new(Rules::default());
    let mut now = Instant::now();
    let slow = RuleOptions::default().slow_after + SECOND;
    let permits: Vec<_> = (0..5).map(|_| gate.acquire(now).unwrap()).collect();
    now += slow;
    permits.into_iter().for_each(|permit| permit.record(Outcome::Success, now));
    assert_eq!(gate.state(), State::Closed);
    assert!(gate.is_degraded(now) && !gate.is_degraded(now + 70 * SECOND));
}

#[test]
fn who_is_asked_to_wait_lets_nobody_through_until_then() {
    let gate = Gate::new(Rules::default());
    let now = Instant::now();
    gate.acquire(now).unwrap().record(Outcome::Throttled(5 * SECOND), now);
    let rejected = gate.acquire(now + 4 * SECOND).unwrap_err();
    assert_eq!((rejected.reason, rejected.retry_at), (Reason::Throttled, Some(now + 5 * SECOND)));
    assert_eq!(gate.state(), State::Closed);
    drop(gate.acquire(now + 5 * SECOND).unwrap());
}

#[test]
fn the_time_open_grows_and_is_forgotten_after_a_calm_minute() {
    let options = RuleOptions { failures_in_a_row: 1, open_jitter: 0.0, ..RuleOptions::default() };
    let gate = Gate::new(Rules::new(options));
    let mut now = Instant::now();
    let opens = |calm: bool, now: &mut Instant| {
        gate.acquire(*now).unwrap().record(FAILED, *now);
        let State::Open { retry_at, .. } = gate.state() else { panic!() };
        let open = retry_at - *now;
        *now = retry_at;
        gate.acquire(*now).unwrap().record(Outcome::Success, *now);
        if calm {
            for _ in 0..3 {
                gate.acquire(*now).unwrap().record(Outcome::Success, *now);
            }
            *now += 60 * SECOND;
        }
        open.as_secs()
    };
    let seconds: Vec<_> = (0..8).map(|_| opens(false, &mut now)).collect();
    assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300]);
    assert_eq!(opens(true, &mut now), 300);
    assert_eq!(opens(false, &mut now), 5);
}

#[test]
fn who_answers_nothing_is_looked_for_at_short_intervals() {
    const LOST: Outcome = Outcome::Failure(Failure::Lost);
    const CONNECT: Outcome = Outcome::Failure(Failure::Connect);
    let success = Outcome::Success;
    // What opens it, the probes that fail then, and how long it stays open each time.
    for (trip, probes, seconds) in [
        (vec![CONNECT; 3], vec![CONNECT; 4], vec![5, 10, 20, 20, 20]),
        (vec![LOST; 5], vec![CONNECT, LOST, LOST], vec![5, 10, 20, 20]),
        (vec![success, LOST, success, LOST, success, LOST], vec![LOST; 3], vec![5, 10, 20, 20]),
        // Somebody answered: before it opened, or when it was probed.
        (vec![LOST, LOST, FAILED, LOST, LOST], vec![LOST; 4], vec![5, 10, 20, 40, 80]),
        (vec![success, LOST, success, FAILED, success, LOST], vec![LOST; 3], vec![5, 10, 20, 40]),
        (vec![LOST; 5], vec![LOST, LOST, LOST, FAILED, LOST], vec![5, 10, 20, 20, 80, 160]),
        (vec![FAILED; 5], vec![CONNECT; 3], vec![5, 10, 20, 40]),
        (vec![FAILED, success, LOST, LOST, LOST], vec![LOST; 3], vec![5, 10, 20, 40]),
        // What was answered before the last success is no part of what opened it.
        (
            vec![FAILED, success, success, success, success, success, success, LOST, LOST, LOST, LOST, LOST],
            vec![LOST; 3],
            vec![5, 10, 20, 20],
        ),
    ] {
        let gate = Gate::new(rules(0.0));
        let mut now = Instant::now();
        for outcome in &trip {
            gate.acquire(now).unwrap().record(*outcome, now);
        }
        let mut open = Vec::new();
        for probe in probes.iter().map(Some).chain([None]) {
            let State::Open { retry_at, .. } = gate.state() else {
                panic!("{:?} after {trip:?}", gate.state())
            };
            open.push((retry_at - now).as_secs());
            now = retry_at;
            if let Some(probe) = probe {
                gate.acquire(now).unwrap().record(*probe, now);
            }
        }
        assert_eq!(open, seconds, "{trip:?}, then {probes:?}");
    }
}

fn judge(result: &Result<&'static str, &'static str>) -> Outcome {
    if result.is_ok() { Outcome::Success } else { FAILED }
}

fn open_gate(probing: Probing) -> Gate {
    let options = RuleOptions { failures_in_a_row: 1, open_jitter: 0.0, ..RuleOptions::default() };
    let gate = Gate::new(Rules::new(options)).probed_by(probing);
    gate.acquire(Instant::now()).unwrap().record(FAILED, Instant::now());
    gate
}

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_the_probe_back() {
    let gate = open_gate(Probing::Callers);
    tokio::time::sleep(5 * SECOND).await;
    let hang = service_fn(|_: &str| std::future::pending::<Result<&str, &str>>());
    let mut hanging = BreakerLayer::new(gate.clone(), judge).layer(hang);
    for _ in 0..3 {
        let probe = hanging.ready().await.unwrap().call("?");
        assert_eq!(gate.state().name(), "half_open");
        drop(probe);
        assert_eq!(gate.state().name(), "open");
    }
    let good = service_fn(|_: &str| async { Ok::<_, &str>("yes") });
    let service = BreakerLayer::new(gate.clone(), judge).layer(good);
    assert_eq!(service.oneshot("?").await, Ok("yes"));
    assert_eq!(gate.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_callers_one_probes_and_the_others_wait_for_its_verdict() {
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let gate = open_gate(Probing::Callers);
    tokio::time::sleep(5 * SECOND).await;
    let service = BreakerLayer::new(gate.clone(), judge).layer(service_fn({
        let calls = calls.clone();
        move |_: &str| {
            let number = calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                tokio::time::sleep(if number == 0 { SECOND / 2 } else { Duration::ZERO }).await;
                if number == 0 { Err("still broken") } else { Ok("yes") }
            }
        }
    }));
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        callers.spawn(service.clone().oneshot("?"));
    }
    let answers = callers.join_all().await;
    assert_eq!(calls.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(begun.elapsed() <= SECOND);
    let rejected =
        |answer: &&Result<_, Error<_>>| matches!(answer, Err(Error::Rejected(r)) if r.retry_at.is_some());
    assert_eq!(answers.iter().filter(rejected).count(), 999);
}

#[tokio::test(start_paused = true)]
async fn the_background_probes_until_it_is_answered_and_callers_never_do() {
    let gate = open_gate(Probing::Background);
    let probes = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let probing = tokio::spawn(breaker::probe(gate.clone(), 2 * SECOND, {
        let probes = probes.clone();
        move || {
            let number = {
                let mut probes = probes.lock().unwrap();
                probes.push(begun.elapsed().as_secs());
                probes.len()
            };
            async move {
                match number {
                    1 => std::future::pending().await,
                    2 => FAILED,
                    _ => Outcome::Success,
                }
            }
        }
    }));
    for _ in 0..60 {
        tokio::time::sleep(SECOND).await;
        if gate.state() != State::Closed {
            assert!(gate.acquire(Instant::now()).is_err());
        }
    }
    // 5 s; then 2 s for the probe that hangs and 10 s more; then 20 s.
    assert_eq!(*probes.lock().unwrap(), [5, 17, 37]);
    assert_eq!(gate.state(), State::Closed);
    probing.abort();
}
