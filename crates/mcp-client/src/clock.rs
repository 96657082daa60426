//! Two clocks that drift apart: a machine that slept, or whose wall clock was set. Limits of time go by the clock that never
//! jumps, so none of them runs out; what may have gone meanwhile is the far end of every connection.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the clocks may be apart before something must have happened.
const DRIFT: Duration = Duration::from_secs(30);

/// Tells the time of day. Limits of time do not depend on it.
#[derive(Clone)]
pub struct WallClock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl WallClock {
    /// A clock of one's own.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl Default for WallClock {
    /// The system's.
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallClock")
    }
}

/// Watches the wall clock against the one that never jumps.
pub(crate) struct Drift {
    wall: WallClock,
    last: Mutex<(SystemTime, Instant)>,
}

impl Drift {
    pub(crate) fn new(wall: WallClock) -> Self {
        let now = (wall.0)();
        Self { wall, last: Mutex::new((now, Instant::now())) }
    }

    /// How far the wall clock has jumped since this was asked last, where it has.
    pub(crate) fn jumped(&self) -> Option<Duration> {
        let (wall, now) = ((self.wall.0)(), Instant::now());
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(last.1);
        let apart = match wall.duration_since(last.0) {
            Ok(ahead) => ahead.abs_diff(passed),
            Err(back) => back.duration() + passed,
        };
        *last = (wall, now);
        (apart > DRIFT).then_some(apart)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_jump_is_told_once_in_either_direction_and_the_passing_of_time_never() {
        let begun = (SystemTime::now(), Instant::now());
        let offset = Arc::new(AtomicI64::new(0));
        let seen = offset.clone();
        let drift = Drift::new(WallClock::new(move || {
            let now = begun.0 + begun.1.elapsed();
            let offset = seen.load(Ordering::Relaxed);
            let by = Duration::from_secs(offset.unsigned_abs());
            if offset < 0 { now - by } else { now + by }
        }));
        tokio::time::advance(Duration::from_secs(10_000)).await;
        assert_eq!(drift.jumped(), None);
        for (to, by) in [(3600, Some(3600)), (3600, None), (0, Some(3600)), (-20, None), (600, Some(620))] {
            offset.store(to, Ordering::Relaxed);
            assert_eq!(drift.jumped().map(|by| by.as_secs()), by, "{to}");
        }
    }
}
