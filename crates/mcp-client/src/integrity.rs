//! Whether a server can be believed. That is another question than whether it is there: one that answers promptly under ids
//! of its own making is in the best of health. Nothing but somebody's word leads out of quarantine.

use std::collections::{BTreeSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use mcp_core::{Refusal, ServerName, ToolError, ToolOutput};
use mcp_transport::{Breach, BreachSink};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::Observer;
use crate::pipeline::Request;
use crate::server::Shared;

/// So many breaches within [`WINDOW`], and the server is in quarantine.
const BREACHES: usize = 3;
/// How long a breach counts.
const WINDOW: Duration = Duration::from_secs(600);

/// What is thought of a server's honesty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Integrity {
    /// It kept to the protocol.
    Clean,
    /// It broke the protocol in a way that no honest server does, within the last 10 minutes.
    Suspicious {
        /// How often; with the third time it is in quarantine.
        breaches: usize,
    },
    /// It is not called any more until somebody approves of it.
    Quarantined {
        /// What it did last.
        reason: String,
    },
}

/// Counts the breaches of one server.
pub(crate) struct Guardian {
    server: ServerName,
    observer: Arc<dyn Observer>,
    /// What each call looks at.
    quarantined: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    breaches: VecDeque<Instant>,
    /// What it asked for without being offered it: one that does not know better asks again and again, and that counts
    /// once.
    asked: BTreeSet<String>,
    quarantine: Option<String>,
}

impl Guardian {
    pub(crate) fn new(server: ServerName, observer: Arc<dyn Observer>) -> Arc<Self> {
        Arc::new(Self { server, observer, quarantined: AtomicBool::new(false), record: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is thought of the server now.
    pub(crate) fn state(&self, now: Instant) -> Integrity {
        let record = self.lock();
        match (&record.quarantine, record.recent(now)) {
            (Some(reason), _) => Integrity::Quarantined { reason: reason.clone() },
            (None, 0) => Integrity::Clean,
            (None, breaches) => Integrity::Suspicious { breaches },
        }
    }

    /// Takes a breach in.
    pub(crate) fn note(&self, breach: Breach) {
        let now = Instant::now();
        let (before, after) = {
            let mut record = self.lock();
            if record.quarantine.is_some() {
                return;
            }
            if let Breach::Undeclared { method } = &breach
                && (record.asked.len() >= BREACHES || !record.asked.insert(method.clone()))
            {
                return;
            }
            let before = record.recent(now);
            record.breaches.retain(|at| is_recent(*at, now));
            record.breaches.push_back(now);
            let breaches = record.breaches.len();
            let after = if breaches >= BREACHES {
                record.quarantine = Some(breach.to_string());
                self.quarantined.store(true, Ordering::Release);
                Integrity::Quarantined { reason: breach.to_string() }
            } else {
                Integrity::Suspicious { breaches }
            };
            (before, after)
        };
        let server = &self.server;
        match &after {
            Integrity::Quarantined { reason } => {
                tracing::warn!(%server, reason, "server quarantined");
                let notice = format!(
                    "it is in quarantine, because it broke the protocol {BREACHES} times: {reason}; its calls are refused \
                     until somebody approves of it"
                );
                self.observer.notice(server, &notice);
            }
            _ if before == 0 => tracing::warn!(%server, %breach, "server suspicious"),
            _ => tracing::debug!(%server, %breach, "another breach"),
        }
        self.observer.integrity_changed(server, &after);
    }

    /// Somebody has looked at it and lets it be called.
    pub(crate) fn approve(&self) {
        *self.lock() = Record::default();
        self.quarantined.store(false, Ordering::Release);
        self.observer.integrity_changed(&self.server, &Integrity::Clean);
    }

    /// Why it may not be called.
    fn refusal(&self) -> Option<ToolError> {
        if !self.quarantined.load(Ordering::Acquire) {
            return None;
        }
        let reason = self.lock().quarantine.clone()?;
        let refusal = Refusal {
            rule: "quarantined",
            reason: format!("it is in quarantine, because it broke the protocol {BREACHES} times: {reason}"),
            hint: "find out what is wrong with it; a new run starts it without this mark".to_owned(),
        };
        Some(ToolError::Refused { server: self.server.clone(), refusal })
    }
}

impl Record {
    fn recent(&self, now: Instant) -> usize {
        self.breaches.iter().filter(|at| is_recent(**at, now)).count()
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < WINDOW
}

impl BreachSink for Guardian {
    fn breach(&self, _: &ServerName, breach: Breach) {
        self.note(breach);
    }
}

/// Puts [`Believed`] around a service.
#[derive(Clone)]
pub(crate) struct IntegrityLayer {
    server: Arc<Shared>,
}

impl IntegrityLayer {
    pub(crate) fn new(server: Arc<Shared>) -> Self {
        Self { server }
    }
}

impl<S> Layer<S> for IntegrityLayer {
    type Service = Believed<S>;

    fn layer(&self, inner: S) -> Believed<S> {
        Believed { inner, server: self.server.clone() }
    }
}

/// Refuses the calls of a server that is in quarantine.
#[derive(Clone)]
pub(crate) struct Believed<S> {
    inner: S,
    server: Arc<Shared>,
}

impl<S> Service<Request> for Believed<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = BelievedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match self.server.integrity.refusal() {
            Some(error) => BelievedFuture::Refused { error: Some(error) },
            None => BelievedFuture::Passed { inner: self.inner.call(request) },
        }
    }
}

pin_project! {
    #[project = Projected]
    pub(crate) enum BelievedFuture<F> {
        Passed { #[pin] inner: F },
        Refused { error: Option<ToolError> },
    }
}

impl<F: Future<Output = Result<ToolOutput, ToolError>>> Future for BelievedFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Passed { inner } => inner.poll(cx),
            Projected::Refused { error } => {
                // Polled after its end, it has nothing more to say.
                Poll::Ready(Err(error.take().unwrap_or(ToolError::Cancelled)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Integrity>>);

    impl Observer for Heard {
        fn integrity_changed(&self, _: &ServerName, integrity: &Integrity) {
            self.0.lock().unwrap().push(integrity.clone());
        }
    }

    fn guardian() -> (Arc<Guardian>, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        (Guardian::new(ServerName::new("srv").unwrap(), heard.clone()), heard)
    }

    #[tokio::test(start_paused = true)]
    async fn three_breaches_within_ten_minutes_are_a_quarantine_that_ends_by_somebodys_word_only() {
        let (guardian, heard) = guardian();
        assert_eq!(guardian.state(Instant::now()), Integrity::Clean);
        for _ in 0..2 {
            guardian.note(Breach::ForeignId);
        }
        assert_eq!(guardian.state(Instant::now()), Integrity::Suspicious { breaches: 2 });
        tokio::time::advance(WINDOW).await;
        assert_eq!(guardian.state(Instant::now()), Integrity::Clean);
        for _ in 0..3 {
            assert!(guardian.refusal().is_none());
            guardian.note(Breach::SecondAnswer);
        }
        tokio::time::advance(WINDOW * 100).await;
        assert!(matches!(guardian.state(Instant::now()), Integrity::Quarantined { .. }));
        assert!(guardian.refusal().unwrap().to_string().contains("quarantine"));
        // What it does there changes nothing and is told to nobody.
        let told = heard.0.lock().unwrap().len();
        guardian.note(Breach::ForeignId);
        assert_eq!(heard.0.lock().unwrap().len(), told);
        guardian.approve();
        assert_eq!(guardian.state(Instant::now()), Integrity::Clean);
        assert!(guardian.refusal().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn asking_again_for_what_was_not_offered_counts_once() {
        let (guardian, _) = guardian();
        for _ in 0..10 {
            guardian.note(Breach::Undeclared { method: "roots/list".into() });
        }
        assert_eq!(guardian.state(Instant::now()), Integrity::Suspicious { breaches: 1 });
    }
}
