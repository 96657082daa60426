//! When a circuit opens and for how long: the rules, which know nothing of permits and probes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::window::{Counts, Window};
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
    /// The far end could not be reached or started: nobody answered.
    Connect,
    /// It was reached, and the way to it broke before anybody answered.
    Lost,
    /// An attempt failed.
    Call,
    /// It will not get better soon: the circuit opens at once, for at least this long.
    Lasting(Duration),
}

impl Failure {
    /// Whether nobody answered at all: to find out whether that is over costs one connect.
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::Connect | Self::Lost)
    }
}

/// What a policy says of an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Go on.
    Keep,
    /// Open the circuit.
    Trip {
        /// Why, in one word of a short list.
        cause: &'static str,
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
    /// A probe ended like this.
    FailedProbe(Outcome),
}

/// How attempts went over the recent past, as shares of all of them; 0 where there were none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Those that failed.
    pub failure: f64,
    /// Those that were slow.
    pub slow: f64,
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

    /// Whether an attempt that took so long is slow.
    fn is_slow(&self, _took: Duration) -> bool {
        false
    }

    /// The rates over the recent past, for whoever measures; `None`: the policy knows none.
    fn rates(&self, _now: Instant) -> Option<Rates> {
        None
    }

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
    /// The same where nobody answered, neither the attempts that opened it nor a probe since: a network that is away comes back
    /// by itself, and finding out costs one connect. The lesser of the two holds.
    pub unanswered_cap: Duration,
    /// How much jitter is added to the time open at most, as a share of it. Only upwards, so that nobody probes early.
    pub open_jitter: f64,
    /// How long it must have been closed before the time open begins at its base again.
    pub forget_after: Duration,
    /// How many successes there must have been in that time.
    pub forget_successes: u32,
}

impl Default for RuleOptions {
    /// 3 connects or 5 attempts in a row, half of at least 5 within 60 s; open for 5 s, doubled up to 300 s, or to 20 s where
    /// nobody answers, up to half as much on top; forgotten after 60 s and 3 successes. Degraded when 80 % take longer than
    /// 30 s.
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
            unanswered_cap: Duration::from_secs(20),
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
///
/// How long the circuit stays open depends on what opened it. A far end that answers and fails is left alone for longer each
/// time ([`RuleOptions::open_cap`]): each probe is work for somebody in trouble. One that nobody answers for is looked for
/// at short intervals ([`RuleOptions::unanswered_cap`]).
#[derive(Debug, Clone)]
pub struct Rules {
    options: RuleOptions,
    window: Window,
    connects: u32,
    failures: u32,
    /// Of these, those to which nobody answered.
    unanswered: u32,
    /// Whether nobody has answered since what opened it last, that included.
    away: bool,
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
            unanswered: 0,
            away: false,
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
        (self.connects, self.failures, self.unanswered) = (0, 0, 0);
    }

    fn judge(&mut self, now: Instant) -> Verdict {
        let options = &self.options;
        let trip =
            |cause, reason: String| Verdict::Trip { cause, reason: reason.into(), at_least: Duration::ZERO };
        self.away = self.unanswered == self.failures;
        if self.connects >= options.connects_in_a_row.max(1) {
            return trip("connects", format!("it could not be reached {} times in a row", self.connects));
        }
        if self.failures >= options.failures_in_a_row.max(1) {
            return trip("failures", format!("it failed {} times in a row", self.failures));
        }
        let counts = self.window.counts(now);
        if counts.calls >= options.minimum_calls.max(1)
            && f64::from(counts.failures) >= options.failure_rate * f64::from(counts.calls)
        {
            self.away = counts.unanswered == counts.failures;
            return trip(
                "failure_rate",
                format!("{} of the last {} calls failed", counts.failures, counts.calls),
            );
        }
        Verdict::Keep
    }

    /// Counts a failure in.
    fn fail(&mut self, failure: Failure, slow: bool, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if failure == Failure::Connect {
            self.connects = self.connects.saturating_add(1);
        }
        let unanswered = u32::from(failure.is_unanswered());
        self.unanswered = self.unanswered.saturating_add(unanswered);
        self.window.add(now, Counts { calls: 1, failures: 1, unanswered, slow: u32::from(slow) });
    }
}

impl Policy for Rules {
    fn record(&mut self, outcome: Outcome, took: Duration, now: Instant) -> Verdict {
        self.forget(now);
        let slow = self.is_slow(took);
        let answered = Counts { calls: 1, slow: u32::from(slow), ..Counts::default() };
        match outcome {
            Outcome::Neutral => return Verdict::Keep,
            Outcome::Success => {
                (self.connects, self.failures, self.unanswered) = (0, 0, 0);
                self.successes = self.successes.saturating_add(1);
                self.window.add(now, answered);
                self.forget(now);
                return Verdict::Keep;
            }
            Outcome::Throttled(_) => self.window.add(now, Counts { failures: 1, ..answered }),
            Outcome::Failure(Failure::Lasting(at_least)) => {
                self.window.add(now, Counts { failures: 1, ..answered });
                self.away = false;
                return Verdict::Trip { cause: "lasting", reason: "it failed for good".into(), at_least };
            }
            Outcome::Failure(failure) => self.fail(failure, slow, now),
        }
        self.judge(now)
    }

    fn open_for(&mut self, opening: Opening, now: Instant) -> Duration {
        self.forget(now);
        let failed_probe = match opening {
            Opening::Trip => false,
            Opening::FailedProbe(outcome) => {
                self.away &= matches!(outcome, Outcome::Failure(failure) if failure.is_unanswered());
                true
            }
        };
        // A relapse soon after closing is a recovery that failed, just as a failed probe is.
        if self.opened || failed_probe {
            self.relapses = self.relapses.saturating_add(1);
        }
        self.opened = true;
        self.closed_at = None;
        self.successes = 0;
        let RuleOptions { open_base, open_cap, unanswered_cap, open_jitter, .. } = self.options;
        let cap = if self.away { open_cap.min(unanswered_cap) } else { open_cap };
        backoff::upwards(open_base, self.relapses, cap, open_jitter)
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

    fn is_slow(&self, took: Duration) -> bool {
        took > self.options.slow_after
    }

    fn rates(&self, now: Instant) -> Option<Rates> {
        let counts = self.window.counts(now);
        let share = |part: u32| f64::from(part) / f64::from(counts.calls.max(1));
        Some(Rates { failure: share(counts.failures), slow: share(counts.slow) })
    }

    fn is_degraded(&self, now: Instant) -> bool {
        let counts = self.window.counts(now);
        counts.calls >= self.options.minimum_calls.max(1)
            && f64::from(counts.slow) >= self.options.slow_rate * f64::from(counts.calls)
    }
}
