//! How often the streams of one session are opened again: a server that ends each of them at once is not asked all the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// So many streams are opened again without a wait, and one more after each further [`EACH`]: ten in five minutes.
const AT_ONCE: u32 = 10;
const EACH: Duration = Duration::from_secs(30);
/// The shortest time before a stream is opened again.
pub(super) const LEAST: Duration = Duration::from_millis(250);

/// The account of one session. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reconnects(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    /// When all that was taken will have been earned.
    even: Option<Instant>,
    /// Whether the stream of what the server says unasked was opened before.
    listened: bool,
}

impl Reconnects {
    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until one more stream may be opened again. Whoever does not want to wait that long drops the future.
    pub(super) async fn turn(&self) {
        let wait = {
            let (mut account, now) = (self.account(), Instant::now());
            let even = account.even.unwrap_or(now).max(now);
            account.even = Some(even + EACH);
            (even - now).saturating_sub(EACH * (AT_ONCE - 1))
        };
        if !wait.is_zero() {
            tracing::debug!(
                seconds = wait.as_secs(),
                "streams break too often: the next one is opened later"
            );
            sleep(wait).await;
        }
    }

    /// The same for the stream of what the server says unasked. The first time is free.
    pub(crate) async fn turn_to_listen(&self) {
        if std::mem::replace(&mut self.account().listened, true) {
            sleep(LEAST).await;
            self.turn().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_at_once_and_ten_more_in_five_minutes() {
        let reconnects = Reconnects::default();
        let begun = Instant::now();
        for turn in 0..20 {
            reconnects.turn().await;
            let due = EACH * u32::saturating_sub(turn + 1, AT_ONCE);
            // A timer is a millisecond late.
            assert!(
                begun.elapsed() >= due && begun.elapsed() <= due + Duration::from_millis(20),
                "turn {turn}"
            );
        }
        // What is not taken is kept, and not more than that.
        tokio::time::advance(EACH * 1000).await;
        let begun = Instant::now();
        for _ in 0..AT_ONCE {
            reconnects.turn().await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        reconnects.turn().await;
        assert!(begun.elapsed() >= EACH);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_at_once_is_not_opened_again_at_once() {
        let reconnects = Reconnects::default();
        let begun = Instant::now();
        reconnects.turn_to_listen().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        reconnects.turn_to_listen().await;
        assert!(begun.elapsed() >= LEAST);
    }
}
