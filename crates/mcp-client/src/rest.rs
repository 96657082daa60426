//! Rest: a program that nobody calls is ended, and started again by the next call. Its tools stay listed meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::pipeline::Request;
use crate::server::Shared;
use crate::step::{Ended, Further, Stack, Step};
use crate::{ServerConfig, Start, Target};

/// Whether a server rests, and who wants it.
pub(crate) struct Rest {
    /// How long nobody may have wanted it; `None`: it never rests.
    after: Option<Duration>,
    /// It rests as soon as it has told its tools, until somebody wants it for the first time.
    at_once: AtomicBool,
    /// Who wants it now.
    callers: AtomicUsize,
    /// Since when nobody wants it.
    quiet_since: Mutex<Instant>,
    resting: watch::Sender<bool>,
    called: Notify,
}

impl Rest {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let program = matches!(config.target, Target::Stdio(_));
        Self {
            after: config.idle_timeout.filter(|_| program),
            at_once: AtomicBool::new(program && config.start == Start::Lazy),
            callers: AtomicUsize::new(0),
            quiet_since: Mutex::new(Instant::now()),
            resting: watch::Sender::new(false),
            called: Notify::new(),
        }
    }

    /// Whether it may ever rest.
    pub(crate) fn is_possible(&self) -> bool {
        self.after.is_some() || self.at_once.load(Ordering::Relaxed)
    }

    /// Says that the server is wanted until the answer is dropped; waits until it has been woken, well or not.
    pub(crate) async fn wanted(&self) -> Wanted<'_> {
        // First counted, then looked: whoever puts it to rest does it the other way round.
        self.callers.fetch_add(1, Ordering::SeqCst);
        let wanted = Wanted(self);
        self.at_once.store(false, Ordering::Relaxed);
        let mut resting = self.resting.subscribe();
        if *resting.borrow() {
            self.called.notify_one();
            // The sender lives as long as `self`: the wait cannot fail.
            let _ = resting.wait_for(|resting| !resting).await;
        }
        wanted
    }

    /// Resolves when nobody has wanted it for long enough; it rests from then on.
    pub(crate) async fn begins(&self) {
        loop {
            let quiet_since = *self.quiet_since.lock().unwrap_or_else(PoisonError::into_inner);
            let due = match self.after {
                _ if self.at_once.load(Ordering::Relaxed) => quiet_since,
                Some(after) => quiet_since + after,
                None => return std::future::pending().await,
            };
            let now = Instant::now();
            let begun = now >= due
                && self.resting.send_if_modified(|resting| {
                    *resting = self.callers.load(Ordering::SeqCst) == 0;
                    *resting
                });
            if begun {
                return;
            }
            // While there are callers nothing is due before the last of them has been gone for long enough.
            sleep_until(if due > now { due } else { now + self.after.unwrap_or(Duration::from_secs(1)) })
                .await;
        }
    }

    /// Resolves when somebody wants it.
    pub(crate) async fn ends(&self) {
        self.called.notified().await;
    }

    /// It has been started again, or will not be.
    pub(crate) fn over(&self) {
        self.resting.send_if_modified(std::mem::take);
    }
}

/// Somebody wants the server.
pub(crate) struct Wanted<'a>(&'a Rest);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        *self.0.quiet_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.callers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Wakes the server for each call. Where that fails, the session that is not there is what the call hears of.
#[derive(Clone)]
pub(crate) struct Woken {
    server: Arc<Shared>,
}

impl Woken {
    /// `None` for a server that never rests: its calls have nothing to wait for.
    pub(crate) fn new(server: &Arc<Shared>) -> Option<Self> {
        server.rest.is_possible().then(|| Self { server: server.clone() })
    }
}

impl Step for Woken {
    async fn take<S: Stack>(self, request: Request, further: Further<S>) -> Ended {
        let _wanted = self.server.rest.wanted().await;
        further.call(request).await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use mcp_core::{LaunchSpec, ServerName};

    use super::*;

    fn rest(start: Start, idle_timeout: Option<Duration>) -> Rest {
        let mut config =
            ServerConfig::new(ServerName::new("s").unwrap(), Target::Stdio(LaunchSpec::default()));
        (config.start, config.idle_timeout) = (start, idle_timeout);
        Rest::new(&config)
    }

    #[tokio::test(start_paused = true)]
    async fn rest_begins_after_a_quiet_stretch_and_not_before() {
        let begun = Instant::now();
        let rest = rest(Start::Eager, Some(Duration::from_secs(60)));
        let wanted = rest.wanted().await;
        let mut begins = pin!(rest.begins());
        let early = tokio::time::timeout(Duration::from_secs(600), &mut begins).await;
        assert!(early.is_err(), "somebody wants it");
        drop(wanted);
        begins.await;
        assert!(begun.elapsed() >= Duration::from_secs(660) && begun.elapsed() < Duration::from_secs(725));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_wants_it_waits_until_it_is_awake() {
        let rest = Arc::new(rest(Start::Eager, Some(Duration::from_secs(1))));
        rest.begins().await;
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let rest = rest.clone();
                tokio::spawn(async move { drop(rest.wanted().await) })
            })
            .collect();
        rest.ends().await;
        assert!(calls.iter().all(|call| !call.is_finished()));
        rest.over();
        for call in calls {
            call.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lazy_one_rests_until_it_is_wanted_and_then_no_more() {
        let rest = rest(Start::Lazy, None);
        assert!(rest.is_possible());
        rest.begins().await;
        rest.over();
        drop(rest.wanted().await);
        let again = tokio::time::timeout(Duration::from_secs(86_400), rest.begins()).await;
        assert!(again.is_err());
    }
}
