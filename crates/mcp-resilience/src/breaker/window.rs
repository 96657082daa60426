//! Counts over the last stretch of time, in a ring of parts.

use std::time::Duration;

use tokio::time::Instant;

const PARTS: usize = 10;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u32,
    pub(super) failures: u32,
    /// Failures to which nobody answered.
    pub(super) unanswered: u32,
    pub(super) slow: u32,
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            failures: self.failures.saturating_add(other.failures),
            unanswered: self.unanswered.saturating_add(other.unanswered),
            slow: self.slow.saturating_add(other.slow),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Window {
    part: Duration,
    /// Where time begins: the first outcome.
    origin: Option<Instant>,
    /// Which part of time a place of the ring holds, and its counts.
    ring: [(u64, Counts); PARTS],
}

impl Window {
    pub(super) fn new(length: Duration) -> Self {
        let part = (length / PARTS as u32).max(Duration::from_millis(1));
        Self { part, origin: None, ring: [(0, Counts::default()); PARTS] }
    }

    fn epoch(&self, now: Instant) -> u64 {
        let since = self.origin.map(|origin| now.saturating_duration_since(origin)).unwrap_or_default();
        u64::try_from(since.as_nanos() / self.part.as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn add(&mut self, now: Instant, more: Counts) {
        self.origin.get_or_insert(now);
        let epoch = self.epoch(now);
        let (held, counts) = &mut self.ring[(epoch % PARTS as u64) as usize];
        if *held != epoch {
            (*held, *counts) = (epoch, Counts::default());
        }
        *counts = counts.plus(more);
    }

    /// What happened in the last ten parts, the one that is under way included. A pure read.
    pub(super) fn counts(&self, now: Instant) -> Counts {
        let epoch = self.epoch(now);
        let recent = self.ring.iter().filter(|(held, _)| held + PARTS as u64 > epoch);
        recent.fold(Counts::default(), |sum, (_, part)| sum.plus(*part))
    }

    pub(super) fn clear(&mut self) {
        self.origin = None;
        self.ring = [(0, Counts::default()); PARTS];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut window = Window::new(Duration::from_secs(60));
        // (when, a failure?) -> calls, failures afterwards
        for (second, failed, calls, failures) in [
            (0, true, 1, 1),
            (5, false, 2, 1),
            (7, true, 3, 2),
            (59, false, 4, 2),
            (61, false, 3, 1),
            (400, true, 1, 1),
        ] {
            let one = Counts { calls: 1, failures: u32::from(failed), ..Counts::default() };
            window.add(at(second), one);
            let counts = window.counts(at(second));
            assert_eq!((counts.calls, counts.failures), (calls, failures), "at {second} s");
        }
        assert_eq!(window.counts(at(1000)), Counts::default());
        window.clear();
        assert_eq!(window.counts(at(400)), Counts::default());
    }
}
