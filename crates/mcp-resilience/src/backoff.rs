//! How long to wait before the next try: exponential delays with jitter, bounded in time and number.
//!
//! The only file that names the `backoff` crate. It is unmaintained; should it have to go, the arithmetic behind
//! [`Schedule`] is all there is to replace.
//!
//! ```
//! use std::time::Duration;
//! use mcp_resilience::backoff::Backoff;
//!
//! let backoff = Backoff { max_attempts: Some(3), ..Backoff::default() };
//! let delays: Vec<Duration> = backoff.schedule().collect();
//! assert_eq!(delays.len(), 3);
//! assert!(delays.iter().all(|delay| *delay <= backoff.cap));
//! ```

use std::time::Duration;

use ::backoff::backoff::Backoff as _;
use ::backoff::exponential::ExponentialBackoff;

/// The shape of a row of delays. Delays are seconds to minutes long; each is drawn from
/// `interval * (1 - jitter) ..= interval * (1 + jitter)`, and never exceeds the cap.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The first interval.
    pub initial: Duration,
    /// What each interval is multiplied by to give the next; values below 1 count as 1.
    pub multiplier: f64,
    /// The longest delay.
    pub cap: Duration,
    /// How far a delay may stray from its interval: 0 (not at all) to 1 (from nothing to double).
    pub jitter: f64,
    /// Give up once this much time has passed since the schedule began, or would have by the end of the next delay.
    pub max_elapsed: Option<Duration>,
    /// Give up after this many delays.
    pub max_attempts: Option<u32>,
}

impl Default for Backoff {
    /// Half a second, doubled up to 30 s, half of it jitter, without an end.
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            multiplier: 2.0,
            cap: Duration::from_secs(30),
            jitter: 0.5,
            max_elapsed: None,
            max_attempts: None,
        }
    }
}

impl Backoff {
    /// A row of delays that begins now.
    pub fn schedule(&self) -> Schedule {
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        let multiplier = if self.multiplier.is_finite() { self.multiplier.max(1.0) } else { 1.0 };
        let initial = self.initial.min(self.cap);
        let delays = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            randomization_factor: jitter,
            multiplier,
            max_interval: self.cap,
            start_time: TokioClock.now_std(),
            max_elapsed_time: self.max_elapsed,
            clock: TokioClock,
        };
        Schedule { delays, cap: self.cap, left: self.max_attempts }
    }
}

/// A row of delays on its way. Each `next` is one more try; `None`: give up.
#[derive(Debug, Clone)]
pub struct Schedule {
    delays: ExponentialBackoff<TokioClock>,
    cap: Duration,
    left: Option<u32>,
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        // Jitter goes both ways around the interval; the cap is meant for the delay itself.
        self.delays.next_backoff().map(|delay| delay.min(self.cap))
    }
}

/// Delays each of which is drawn anew between the base and three times the one before ("decorrelated jitter"): callers
/// that failed together do not come back together.
///
/// ```
/// use std::time::Duration;
/// use mcp_resilience::backoff::Decorrelated;
///
/// let (base, cap) = (Duration::from_millis(250), Duration::from_secs(30));
/// let delays: Vec<Duration> = Decorrelated::new(base, cap).take(20).collect();
/// assert!(delays.iter().all(|delay| (base..=cap).contains(delay)));
/// ```
#[derive(Debug, Clone)]
pub struct Decorrelated {
    base: Duration,
    cap: Duration,
    previous: Duration,
}

impl Decorrelated {
    /// Endless delays from `base` up to `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        let base = base.min(cap);
        Self { base, cap, previous: base }
    }
}

impl Iterator for Decorrelated {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let most = self.previous.saturating_mul(3).min(self.cap);
        self.previous = self.base + most.saturating_sub(self.base).mul_f64(fastrand::f64());
        Some(self.previous)
    }
}

/// `base`, doubled so many times up to `cap`, and up to `share` of it on top: never early, and not in step.
pub(crate) fn upwards(base: Duration, doublings: u32, cap: Duration, share: f64) -> Duration {
    let factor = 2u32.checked_pow(doublings).unwrap_or(u32::MAX);
    let delay = base.saturating_mul(factor).min(cap);
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    delay.saturating_add(delay.mul_f64(share * fastrand::f64()))
}

/// `value` with up to `share` of it taken away or added.
pub(crate) fn around(value: Duration, share: f64) -> Duration {
    let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    value.mul_f64(1.0 + share * (2.0 * fastrand::f64() - 1.0))
}

/// The runtime's clock instead of the system's, so that tests can pause it.
#[derive(Debug, Clone, Copy, Default)]
struct TokioClock;

impl TokioClock {
    fn now_std(self) -> std::time::Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl ::backoff::Clock for TokioClock {
    fn now(&self) -> std::time::Instant {
        self.now_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn without_jitter_the_delays_double_up_to_the_cap() {
        let backoff = Backoff { initial: SECOND, cap: 5 * SECOND, jitter: 0.0, ..Backoff::default() };
        let delays: Vec<_> = backoff.schedule().take(5).map(|delay| delay.as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn jitter_stays_within_its_share_and_below_the_cap() {
        let backoff = Backoff { initial: SECOND, cap: 8 * SECOND, ..Backoff::default() };
        for _ in 0..200 {
            for (at, delay) in backoff.schedule().take(6).enumerate() {
                let interval = (SECOND * 2u32.pow(at as u32)).min(8 * SECOND);
                let allowed = interval.mul_f64(0.5)..=interval.mul_f64(1.5).min(8 * SECOND) + SECOND / 1000;
                assert!(allowed.contains(&delay), "delay {at}: {delay:?} not in {allowed:?}");
            }
        }
    }

    #[test]
    fn the_number_of_tries_is_bounded() {
        assert_eq!(Backoff { max_attempts: Some(4), ..Backoff::default() }.schedule().count(), 4);
        assert_eq!(Backoff { max_attempts: Some(0), ..Backoff::default() }.schedule().count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_for_trying_is_bounded() {
        let backoff = Backoff {
            initial: SECOND,
            multiplier: 1.0,
            jitter: 0.0,
            max_elapsed: Some(10 * SECOND),
            ..Backoff::default()
        };
        let mut tries = 0;
        for delay in backoff.schedule() {
            tokio::time::sleep(delay).await;
            tries += 1;
        }
        assert_eq!(tries, 10);
    }

    #[test]
    fn nonsense_settings_are_tamed() {
        for value in [f64::NAN, f64::INFINITY, -3.0, 0.0] {
            let backoff = Backoff { multiplier: value, jitter: value, ..Backoff::default() };
            assert!(backoff.schedule().take(100).all(|delay| delay <= backoff.cap), "{value}");
        }
        let backoff = Backoff { initial: Duration::MAX, cap: SECOND, ..Backoff::default() };
        assert!(backoff.schedule().take(10).all(|delay| delay <= SECOND));
    }
}
