//! Before a thread sleeps: answers that come one by one are let come together.
//!
//! A server that works writes each answer by itself, and a client that is quicker is woken for each of them. Both then spend
//! more on being woken than on the answer, and where they share the processors it is the server's work that waits. Network
//! cards had the same trouble, and the same remedy: with much under way, the interrupt comes a moment later.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Below so many requests in flight, whoever waits for an answer gets it at once.
const MANY: usize = 32;
/// Where at least this share of what is in flight came together, there is nothing to gain.
const SHARE: usize = 16;
/// How long they may gather. The system adds about half as much.
const PAUSE: Duration = Duration::from_micros(100);

/// Requests in flight over byte streams, of all sessions: a thread that sleeps, sleeps for all of them.
static WAITING: AtomicUsize = AtomicUsize::new(0);
/// Answers since a thread last went to sleep.
static ANSWERED: AtomicUsize = AtomicUsize::new(0);

/// A request in flight, counted until it is dropped.
pub(crate) struct InFlight(());

impl InFlight {
    pub(crate) fn new() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request was answered.
pub(crate) fn answered() {
    ANSWERED.fetch_add(1, Ordering::Relaxed);
}

/// For `on_thread_park` of a runtime of one thread: lets whoever waits for the processor go first, and where many answers are
/// awaited and come one by one, lets some of them come before the thread looks again, for about 0.15 ms. Where nothing came, or
/// few are awaited, it costs one question to the system.
///
/// ```
/// let runtime = tokio::runtime::Builder::new_current_thread()
///     .on_thread_park(mcp_transport::pause)
///     .enable_all()
///     .build();
/// # runtime.unwrap();
/// ```
pub fn pause() {
    let pays = pays(ANSWERED.swap(0, Ordering::Relaxed), WAITING.load(Ordering::Relaxed));
    #[expect(clippy::disallowed_methods, reason = "it measures the system's scheduling, not a limit")]
    let begun = pays.then(Instant::now);
    std::thread::yield_now();
    // Where others had the processor meanwhile, the answers had their time.
    if begun.is_some_and(|begun| begun.elapsed() < PAUSE) {
        #[expect(clippy::disallowed_methods, reason = "the thread is about to sleep: it has nothing to do")]
        std::thread::sleep(PAUSE);
    }
}

/// Whether more answers are worth a wait, after so many came and with so many awaited.
fn pays(answered: usize, waiting: usize) -> bool {
    answered > 0 && waiting >= MANY && answered <= waiting / SHARE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_crowd_that_trickles_in_is_waited_for() {
        for (answered, waiting, expected) in [
            (1, 128, true),
            (8, 128, true),
            (9, 128, false),
            (64, 1024, true),
            (0, 128, false),
            (1, 31, false),
            (1, 0, false),
            (2, 32, true),
            (3, 32, false),
        ] {
            assert_eq!(pays(answered, waiting), expected, "{answered} of {waiting}");
        }
    }
}
