//! What the breaker and the retries tell whoever measures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_resilience::breaker::{Failure, Gate, Outcome, RuleOptions, Rules};
use mcp_resilience::observe::{Hooks, Label, Observer};
use tokio::time::Instant;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Lines {
    fn add(&self, name: &str, labels: &[Label<'_>], value: impl std::fmt::Display) {
        let labels: Vec<_> = labels.iter().skip(1).map(|(name, value)| format!("{name}={value}")).collect();
        self.0.lock().unwrap().push(format!("{name} {} {value}", labels.join(" ")));
    }

    fn take(&self, of: &str) -> Vec<String> {
        let mut lines = self.0.lock().unwrap();
        let (found, others) = std::mem::take(&mut *lines).into_iter().partition(|line| line.starts_with(of));
        *lines = others;
        found
    }
}

impl Observer for Lines {
    fn count(&self, name: &'static str, labels: &[Label<'_>], by: u64) {
        self.add(name, labels, by);
    }
    fn gauge(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        self.add(name, labels, value);
    }
}

#[test]
fn a_breaker_tells_outcomes_rates_and_why_it_changed() {
    let lines = Arc::new(Lines::default());
    let rules = Rules::new(RuleOptions { open_jitter: 0.0, ..RuleOptions::default() });
    let gate = Gate::new(rules).observed(Hooks::new(lines.clone(), "db"));
    let begun = Instant::now();
    let at = |seconds: u64| begun + Duration::from_secs(seconds);
    let failed = Outcome::Failure(Failure::Call);
    // A success, one that took longer than the rules like, three failures of five, a straggler of before.
    let slow = gate.acquire(at(0)).unwrap();
    let straggler = gate.acquire(at(0)).unwrap();
    gate.acquire(at(40)).unwrap().record(Outcome::Success, at(40));
    slow.record(Outcome::Success, at(40));
    for outcome in [failed, Outcome::Throttled(Duration::ZERO), failed] {
        gate.acquire(at(40)).unwrap().record(outcome, at(40));
    }
    straggler.record(Outcome::Neutral, at(40));
    assert!(gate.acquire(at(41)).is_err());
    gate.acquire(at(45)).unwrap().record(failed, at(45));
    gate.acquire(at(55)).unwrap().record(Outcome::Success, at(55));

    assert_eq!(
        lines.take("breaker.calls"),
        ["success", "slow", "failure", "failure", "failure", "neutral", "rejected", "failure", "success"]
            .map(|outcome| format!("breaker.calls outcome={outcome} 1"))
    );
    assert_eq!(
        lines.take("breaker.transitions"),
        [
            "from=closed to=open reason=failure_rate",
            "from=open to=half_open reason=probing",
            "from=half_open to=open reason=probe_failed",
            "from=open to=half_open reason=probing",
            "from=half_open to=closed reason=probe_answered",
        ]
        .map(|labels| format!("breaker.transitions {labels} 1"))
    );
    let failure_rates = lines.take("breaker.failure_rate");
    let expected = ["0", "0", "0.333", "0.5", "0.6", "0"];
    assert_eq!(failure_rates.len(), expected.len(), "{failure_rates:?}");
    for (line, expected) in failure_rates.iter().zip(expected) {
        assert!(line.starts_with(&format!("breaker.failure_rate  {expected}")), "{line} {expected}");
    }
    let slow_rates = lines.take("breaker.slow_rate");
    assert_eq!(slow_rates[1], "breaker.slow_rate  0.5");
}
