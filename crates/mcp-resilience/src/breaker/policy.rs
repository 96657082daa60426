//! When a circuit opens and for how long: the rules, which know nothing of permits and probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::window::Window;
use crate::backoff;

/// How an attempt ended, as far as a breaker is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The far end answered.
    Success,
    /// It says nothing about the far end: a wrong request, a caller that went away.
    Neutral,
    /// The far end failed.
    Failure(Failure),
    /// The far end asks to be left alone for this long. It counts towards the rate of failures and not towards
    /// failures in a row; until then nothing is let through.
    Throttled(Duration),
}

/// What kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The far end could not be reached or started.
    Connect,
    /// An attempt failed.
    Call,
    /// It will not get better soon: the circuit opens at once, for at least this long.
    Lasting(Duration),
}

/// What a policy says of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on.
    Keep,
    /// Open the circuit.
    Trip {
        /// Why, in words for people.
        reason: Arc<str>,
        /// The least time to stay open.
        at_least: Duration,
    },
}

/// Why a circuit opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// The policy said so while it was closed.
    Trip,
    /// A probe failed.
    FailedProbe,
}

/// Decides when a circuit opens and for how long. The gate calls it under its lock: it must return at once.
pub trait Policy: Send + 'static {
    /// An attempt that was let through while closed ended, after this long.
    fn record(&mut self, outcome: Outcome, took: Duration, now: Instant) -> Verdict;

    /// How long the circuit, opening now, stays open.
    fn open_for(&mut self, opening: Opening, now: Instant) -> Duration;

    /// A probe is on its way.
    fn half_opened(&mut self, now: Instant);

    /// The probe succeeded.
    fn closed(&mut self, now: Instant);

    /// Whether it answers, but badly.
    fn is_degraded(&self, _now: Instant) -> bool {
        false
    }
}

/// The numbers of [`Rules`].
#[derive(Debug, Clone, PartialEq)]
pub struct RuleOptions {
    /// Failures in a row to connect that open the circuit.
    pub connects_in_a_row: u32,
    /// Failures of attempts in a row that open it.
    pub failures_in_a_row: u32,
    /// The share of failures within the window that opens it, 0 to 1.
    pub failure_rate: f64,
    /// The share of slow answers within the window that makes it degraded, 0 to 1.
    pub slow_rate: f64,
    /// From when on an attempt is slow.
    pub slow_after: Duration,
    /// The least number of attempts within the window for a rate to mean anything.
    pub minimum_calls: u32,
    /// The length of the window, in ten parts.
    pub window: Duration,
    /// How long it stays open the first time.
    pub open_base: Duration,
    /// The longest time it stays open, jitter not counted.
    pub open_cap: Duration,
    /// How much jitter is added to the time open at most, as a share of it. Only upwards, so that nobody probes early.
    pub open_jitter: f64,
    /// How long it must have been closed before the time open begins at its base again.
    pub forget_after: Duration,
    /// How many successes there must have been in that time.
    pub forget_successes: u32,
}

impl Default for RuleOptions {
    /// 3 connects or 5 attempts in a row, half of at least 5 within 60 s; open for 5 s, doubled up to 300 s, up to half
    /// as much on top; forgotten after 60 s and 3 successes. Degraded when 80 % take longer than 30 s.
    fn default() -> Self {
        Self {
            connects_in_a_row: 3,
            failures_in_a_row: 5,
            failure_rate: 0.5,
            slow_rate: 0.8,
            slow_after: Duration::from_secs(30),
            minimum_calls: 5,
            window: Duration::from_secs(60),
            open_base: Duration::from_secs(5),
            open_cap: Duration::from_secs(300),
            open_jitter: 0.5,
            forget_after: Duration::from_secs(60),
            forget_successes: 3,
        }
    }
}

impl RuleOptions {
    /// Nothing opens the circuit, except a failure that lasts.
    pub fn never() -> Self {
        Self {
            connects_in_a_row: u32::MAX,
            failures_in_a_row: u32::MAX,
            failure_rate: f64::INFINITY,
            ..Self::default()
        }
    }
}

/// Failures in a row, the rate of failures, and the rate of slow answers over a ring of time.
#[derive(Debug, Clone)]
pub struct Rules {
    options: RuleOptions,
    window: Window,
    connects: u32,
    failures: u32,
    /// How often in a row it did not help to close; the time open is doubled so many times.
    relapses: u32,
    /// Whether it has opened before, as far as is remembered.
    opened: bool,
    closed_at: Option<Instant>,
    successes: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self::new(RuleOptions::default())
    }
}

impl Rules {
    /// Rules with these numbers.
    pub fn new(options: RuleOptions) -> Self {
        Self {
            window: Window::new(options.window),
            options,
            connects: 0,
            failures: 0,
            relapses: 0,
            opened: false,
            closed_at: None,
            successes: 0,
        }
    }

    fn forget(&mut self, now: Instant) {
        let since = self.closed_at.map(|at| now.saturating_duration_since(at));
        if self.opened
            && self.successes >= self.options.forget_successes
            && since.is_some_and(|since| since >= self.options.forget_after)
        {
            (self.opened, self.relapses) = (false, 0);
        }
    }

    fn clear(&mut self) {
        self.window.clear();
        (self.connects, self.failures) = (0, 0);
    }

    fn judge(&self, now: Instant) -> Verdict {
        let options = &self.options;
        let trip = |reason: String| Verdict::Trip { reason: reason.into(), at_least: Duration::ZERO };
        if self.connects >= options.connects_in_a_row.max(1) {
            return trip(format!("it could not be reached {} times in a row", self.connects));
        }
        if self.failures >= options.failures_in_a_row.max(1) {
            return trip(format!("it failed {} times in a row", self.failures));
        }
        let counts = self.window.counts(now);
        if counts.calls >= options.minimum_calls.max(1)
            && f64::from(counts.failures) >= options.failure_rate * f64::from(counts.calls)
        {
            return trip(format!("{} of the last {} calls failed", counts.failures, counts.calls));
        }
        Verdict::Keep
    }
}

impl Policy for Rules {
    fn record(&mut self, outcome: Outcome, took: Duration, now: Instant) -> Verdict {
        self.forget(now);
        let slow = took > self.options.slow_after;
        match outcome {
            Outcome::Neutral => return Verdict::Keep,
            Outcome::Success => {
                (self.connects, self.failures) = (0, 0);
                self.successes = self.successes.saturating_add(1);
                self.window.add(now, false, slow);
                self.forget(now);
                return Verdict::Keep;
            }
            Outcome::Throttled(_) => self.window.add(now, true, slow),
            Outcome::Failure(Failure::Lasting(at_least)) => {
                self.window.add(now, true, slow);
                return Verdict::Trip { reason: "it failed for good".into(), at_least };
            }
            Outcome::Failure(Failure::Connect) => {
                self.connects = self.connects.saturating_add(1);
                self.failures = self.failures.saturating_add(1);
                self.window.add(now, true, slow);
            }
            Outcome::Failure(Failure::Call) => {
                self.failures = self.failures.saturating_add(1);
                self.window.add(now, true, slow);
            }
        }
        self.judge(now)
    }

    fn open_for(&mut self, opening: Opening, now: Instant) -> Duration {
        self.forget(now);
        // A relapse soon after closing is a recovery that failed, just as a failed probe is.
        if self.opened || opening == Opening::FailedProbe {
            self.relapses = self.relapses.saturating_add(1);
        }
        self.opened = true;
        self.closed_at = None;
        self.successes = 0;
        backoff::upwards(
            self.options.open_base,
            self.relapses,
            self.options.open_cap,
            self.options.open_jitter,
        )
    }

    fn half_opened(&mut self, _: Instant) {
        self.clear();
    }

    fn closed(&mut self, now: Instant) {
        // Kept, the failures of old would open the circuit again at the first new one.
        self.clear();
        self.closed_at = Some(now);
        self.successes = 0;
    }

    fn is_degraded(&self, now: Instant) -> bool {
        let counts = self.window.counts(now);
        counts.calls >= self.options.minimum_calls.max(1)
            && f64::from(counts.slow) >= self.options.slow_rate * f64::from(counts.calls)
    }
}
