//! Restarts: how long to wait before something that ended is started again, and when to stop trying. Something that
//! ends again and again within a short time is given up: it will not get better by itself.
//!
//! ```
//! use std::time::Duration;
//! use mcp_resilience::backoff::Backoff;
//! use mcp_resilience::restart::Restarts;
//! use tokio::time::Instant;
//!
//! // Five in five minutes, half a second to half a minute apart.
//! let mut restarts = Restarts::new(&Backoff::default(), Some(5), Duration::from_secs(300));
//! let begin = Instant::now();
//! let at = |seconds| begin + Duration::from_secs(seconds);
//! for second in 0..5 {
//!     assert!(restarts.next(at(second)).is_some());
//! }
//! assert_eq!(restarts.next(at(5)), None, "the sixth within five minutes");
//! assert!(restarts.next(at(303)).is_some(), "some of them are forgotten by now");
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::backoff::{Backoff, Schedule};

/// The most restarts that are remembered; a limit above it is none.
const REMEMBERED: usize = 10_000;

/// The restarts of one thing.
#[derive(Debug, Clone)]
pub struct Restarts {
    backoff: Backoff,
    schedule: Schedule,
    limit: Option<u32>,
    within: Duration,
    recent: VecDeque<Instant>,
}

impl Restarts {
    /// At most `limit` restarts `within` a stretch of time, with delays of this shape between them; `None`: without an end.
    /// The limits inside `backoff` do not count.
    pub fn new(backoff: &Backoff, limit: Option<u32>, within: Duration) -> Self {
        let backoff = Backoff { max_attempts: None, max_elapsed: None, ..backoff.clone() };
        Self { schedule: backoff.schedule(), backoff, limit, within, recent: VecDeque::new() }
    }

    /// It ended: how long to wait before it is started again. `None`: it is given up.
    pub fn next(&mut self, now: Instant) -> Option<Duration> {
        let within = self.within;
        self.recent.retain(|at| now.saturating_duration_since(*at) < within);
        if self.recent.is_empty() {
            // It was well for a while: the delays begin anew.
            self.schedule = self.backoff.schedule();
        }
        if self.limit.is_some_and(|limit| self.recent.len() >= limit as usize) {
            return None;
        }
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        self.schedule.next()
    }
}
