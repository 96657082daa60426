//! Health: whether the far end is alive. Passive first: whatever comes from it is a sign of life. Only when nothing has
//! come for a while is it asked, and only several questions in a row without an answer mean that it is gone.
//!
//! ```
//! use std::time::Duration;
//! use mcp_resilience::health::{Health, HealthOptions};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let health = Health::new(HealthOptions { jitter: 0.0, ..HealthOptions::default() });
//! health.seen();
//! let begun = tokio::time::Instant::now();
//! // It never answers: asked after 30, 39 and 48 s, each time for 5 s.
//! health.watch(std::future::pending::<bool>).await;
//! assert_eq!(begun.elapsed(), Duration::from_secs(53));
//! # }
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::backoff;

/// The numbers of a health watch.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthOptions {
    /// How long nothing may come before it is asked.
    pub idle: Duration,
    /// How far that time may stray, as a share of it: not all are asked at the same time.
    pub jitter: f64,
    /// How long after a question without an answer it is asked again.
    pub again: Duration,
    /// How long it may take to answer.
    pub limit: Duration,
    /// So many questions in a row without an answer, and it is gone; 0 counts as 1.
    pub misses: u32,
}

impl Default for HealthOptions {
    /// Asked after 30 s, a fifth more or less, for 5 s; again 4 s after a miss; gone after 3, which is within a minute.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            jitter: 0.2,
            again: Duration::from_secs(4),
            limit: Duration::from_secs(5),
            misses: 3,
        }
    }
}

/// The signs of life of one far end. Clones share them.
#[derive(Debug, Clone)]
pub struct Health {
    options: HealthOptions,
    seen: Arc<Mutex<Option<Instant>>>,
}

impl Health {
    /// Nothing seen yet.
    pub fn new(options: HealthOptions) -> Self {
        Self { options, seen: Arc::default() }
    }

    /// It is alive now.
    pub fn seen(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When it last showed that it is alive; `None`: never.
    pub fn last_seen(&self) -> Option<Instant> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches, and asks by `probe` whenever it is needed (true: it answered); ends when it is gone.
    pub async fn watch<F>(&self, mut probe: impl FnMut() -> F)
    where
        F: Future<Output = bool>,
    {
        let begun = Instant::now();
        let mut misses = 0;
        let mut asked = begun;
        loop {
            let idle = match misses {
                0 => backoff::around(self.options.idle, self.options.jitter),
                _ => self.options.again,
            };
            let quiet_since = self.last_seen().unwrap_or(begun).max(asked);
            let Some(due) = quiet_since.checked_add(idle) else { return std::future::pending().await };
            sleep_until(due).await;
            if self.last_seen().is_some_and(|seen| seen > quiet_since) {
                misses = 0;
                continue;
            }
            let alive = timeout(self.options.limit, probe()).await.unwrap_or(false);
            asked = Instant::now();
            let heard = self.last_seen().is_some_and(|seen| seen > quiet_since);
            if alive || heard {
                misses = 0;
                continue;
            }
            misses += 1;
            if misses >= self.options.misses {
                return;
            }
        }
    }
}
