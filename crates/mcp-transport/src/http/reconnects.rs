//! How often the streams of one session are opened again: a server that ends each of them at once is not asked all the time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// So many streams are opened again without a wait, and one more after each further [`EACH`]: ten in five minutes.
const AT_ONCE: u32 = 10;
const EACH: Duration = Duration::from_secs(30);
/// The shortest and the longest time before a stream is opened again, whatever the server wants.
const BOUNDS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// What is waited where a server wants this, before a stream is opened again.
pub(crate) fn kept(asked: Duration) -> Duration {
    asked.clamp(BOUNDS.0, BOUNDS.1)
}

/// The account of one session. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reconnects(Arc<Mutex<Account>>);

#[derive(Debug, Default)]
struct Account {
    /// When all that was taken will have been earned.
    even: Option<Instant>,
    /// Whether the stream of what the server says unasked was opened before.
    listened: bool,
    /// Whether a time to wait that the server named was not kept to.
    corrected: bool,
}

impl Reconnects {
    fn account(&self) -> std::sync::MutexGuard<'_, Account> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether no time to wait that the server named has been corrected so far. It has been from now on.
    pub(super) fn is_first_to_be_corrected(&self) -> bool {
        !std::mem::replace(&mut self.account().corrected, true)
    }

    /// Waits until one more stream may be opened again; `late` hears how long it will be until one may, where that is not now.
    /// Whoever does not want to wait that long drops the future, and takes nothing.
    pub(super) async fn turn(&self, late: impl FnOnce(Duration)) {
        let wait = {
            let (mut account, now) = (self.account(), Instant::now());
            let even = account.even.unwrap_or(now).max(now);
            account.even = Some(even + EACH);
            (even - now).saturating_sub(EACH * (AT_ONCE - 1))
        };
        if wait.is_zero() {
            return;
        }
        tracing::debug!(seconds = wait.as_secs(), "streams break too often: the next one is opened later");
        // Others may wait as well: there is a turn each half a minute.
        late(wait.min(EACH));
        let mut turn = Turn { account: self, is_due: false };
        sleep(wait).await;
        turn.is_due = true;
    }

    /// The same for the stream of what the server says unasked. The first time is free.
    pub(crate) async fn turn_to_listen(&self) {
        if std::mem::replace(&mut self.account().listened, true) {
            sleep(BOUNDS.0).await;
            self.turn(|_| ()).await;
        }
    }
}

/// A turn that is waited for. Dropped before it is due, it was none.
struct Turn<'a> {
    account: &'a Reconnects,
    is_due: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_due {
            let mut account = self.account.account();
            account.even = account.even.and_then(|even| even.checked_sub(EACH));
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
            reconnects.turn(|_| ()).await;
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
            reconnects.turn(|_| ()).await;
        }
        assert_eq!(begun.elapsed(), Duration::ZERO);
        reconnects.turn(|_| ()).await;
        assert!(begun.elapsed() >= EACH);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_ends_at_once_is_not_opened_again_at_once() {
        let reconnects = Reconnects::default();
        let begun = Instant::now();
        reconnects.turn_to_listen().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        reconnects.turn_to_listen().await;
        assert!(begun.elapsed() >= BOUNDS.0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_waited_for_is_not_taken_and_the_wait_is_told() {
        let reconnects = Reconnects::default();
        for _ in 0..AT_ONCE {
            reconnects.turn(|_| unreachable!("there are turns left")).await;
        }
        // A hundred that lose patience at once.
        for _ in 0..100 {
            let mut told = None;
            let turn = reconnects.turn(|wait| told = Some(wait));
            let _ = tokio::time::timeout(Duration::from_millis(1), turn).await;
            assert!(told.is_some_and(|wait| wait <= EACH), "{told:?}");
        }
        let begun = Instant::now();
        reconnects.turn(|_| ()).await;
        assert!(begun.elapsed() <= EACH, "{:?}", begun.elapsed());
    }
}
