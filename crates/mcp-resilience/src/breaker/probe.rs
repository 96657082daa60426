//! Probing beside the calls: nobody's request is the one that finds out.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{Failure, Gate, Outcome, Policy};
use crate::observe::names;

/// How long after a probe that said nothing the next one is made.
const PAUSE: Duration = Duration::from_secs(1);

/// Probes an open circuit whenever its time has passed, one probe at a time, each bounded by `limit`; for a gate with
/// [`super::Probing::Background`]. It never ends by itself: run it beside the calls, and drop it to stop.
///
/// ```
/// use std::time::Duration;
/// use mcp_resilience::breaker::{self, Failure, Gate, Outcome, Probing, RuleOptions, Rules, State};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let rules = Rules::new(RuleOptions { failures_in_a_row: 1, ..RuleOptions::default() });
/// let gate = Gate::new(rules).probed_by(Probing::Background);
/// let ping = || async { Outcome::Success };
/// let probing = tokio::spawn(breaker::probe(gate.clone(), Duration::from_secs(5), ping));
///
/// gate.acquire(Instant::now()).unwrap().record(Outcome::Failure(Failure::Call), Instant::now());
/// assert!(matches!(gate.state(), State::Open { .. }));
/// tokio::time::sleep(Duration::from_secs(8)).await;
/// assert_eq!(gate.state(), State::Closed);
/// probing.abort();
/// # }
/// ```
pub async fn probe<P, F>(gate: Gate<P>, limit: Duration, mut probe: impl FnMut() -> F + Send)
where
    P: Policy,
    F: Future<Output = Outcome> + Send,
{
    let mut changed = gate.changed();
    loop {
        changed.borrow_and_update();
        let super::State::Open { retry_at, .. } = gate.state() else {
            // The gate is held here, so its sender lives.
            let _ = changed.changed().await;
            continue;
        };
        if timeout_at(retry_at, changed.changed()).await.is_ok() {
            continue;
        }
        let Some(permit) = gate.acquire_probe(Instant::now()) else { continue };
        let begun = Instant::now();
        let outcome = timeout(limit, probe()).await.unwrap_or(Outcome::Failure(Failure::Call));
        let result = match outcome {
            Outcome::Success => "success",
            Outcome::Neutral => "neutral",
            Outcome::Failure(_) | Outcome::Throttled(_) => "failure",
        };
        gate.hooks().histogram(
            names::PROBE_DURATION,
            Some(("result", result)),
            begun.elapsed().as_secs_f64(),
        );
        permit.record(outcome, Instant::now());
        if outcome == Outcome::Neutral {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
