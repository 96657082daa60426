//! Whether a server can be believed. That is another question than whether it is there: one that answers promptly under ids
//! of its own making is in the best of health. Nothing but somebody's word leads out of quarantine.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mcp_core::{Refusal, ServerName, ToolError};
use mcp_transport::{Breach, BreachSink, Notice};
use tokio::time::Instant;

use crate::Observer;
use crate::pipeline::Request;
use crate::server::{Heed, Reassess};
use crate::spans;
use crate::step::Check;

/// The target of what is logged about servers that cannot be believed.
pub(crate) const SECURITY: &str = "mcp_client::security";
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
    changed: Reassess,
    heed: Heed,
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
    /// `heed` takes in what is no breach.
    pub(crate) fn new(
        server: ServerName,
        observer: Arc<dyn Observer>,
        changed: Reassess,
        heed: Heed,
    ) -> Arc<Self> {
        Arc::new(Self {
            server,
            observer,
            changed,
            heed,
            quarantined: AtomicBool::new(false),
            record: Mutex::default(),
        })
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
                let reason = format!("it broke the protocol {BREACHES} times: {breach}");
                record.quarantine = Some(reason.clone());
                self.quarantined.store(true, Ordering::Release);
                Integrity::Quarantined { reason }
            } else {
                Integrity::Suspicious { breaches }
            };
            (before, after)
        };
        let server = &self.server;
        match &after {
            // Told as the state of the server.
            Integrity::Quarantined { .. } => spans::quarantined(server),
            _ if before == 0 => tracing::warn!(target: SECURITY, %server, %breach, "server suspicious"),
            _ => tracing::debug!(target: SECURITY, %server, %breach, "another breach"),
        }
        self.observer.integrity_changed(server, &after);
        (self.changed)();
    }

    /// Somebody has looked at it and lets it be called.
    pub(crate) fn approve(&self) {
        *self.lock() = Record::default();
        self.quarantined.store(false, Ordering::Release);
        self.observer.integrity_changed(&self.server, &Integrity::Clean);
        (self.changed)();
    }

    /// Why it may not be called.
    fn refusal(&self) -> Option<ToolError> {
        if !self.quarantined.load(Ordering::Acquire) {
            return None;
        }
        let reason = self.lock().quarantine.clone()?;
        let refusal = Refusal {
            rule: "quarantined",
            reason: format!("it is in quarantine, because {reason}"),
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

    fn notice(&self, _: &ServerName, notice: Notice) {
        (self.heed)(notice);
    }
}

/// Refuses the calls of a server that is in quarantine.
#[derive(Clone)]
pub(crate) struct Believed {
    guardian: Arc<Guardian>,
}

impl Believed {
    pub(crate) fn new(guardian: Arc<Guardian>) -> Self {
        Self { guardian }
    }
}

impl Check for Believed {
    fn check(&self, _: &Request) -> Result<(), ToolError> {
        self.guardian.refusal().map_or(Ok(()), Err)
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

    fn foreign() -> Breach {
        Breach::ForeignId { id: "99".into(), pending: 1 }
    }

    fn guardian() -> (Arc<Guardian>, Arc<Heard>) {
        let heard = Arc::new(Heard::default());
        let server = ServerName::new("srv").unwrap();
        (Guardian::new(server, heard.clone(), Box::new(|| {}), Box::new(|_| {})), heard)
    }

    #[tokio::test(start_paused = true)]
    async fn three_breaches_within_ten_minutes_are_a_quarantine_that_ends_by_somebodys_word_only() {
        let (guardian, heard) = guardian();
        assert_eq!(guardian.state(Instant::now()), Integrity::Clean);
        for _ in 0..2 {
            guardian.note(foreign());
        }
        assert_eq!(guardian.state(Instant::now()), Integrity::Suspicious { breaches: 2 });
        tokio::time::advance(WINDOW).await;
        assert_eq!(guardian.state(Instant::now()), Integrity::Clean);
        for _ in 0..3 {
            assert!(guardian.refusal().is_none());
            guardian.note(Breach::SecondAnswer { hash: None });
        }
        tokio::time::advance(WINDOW * 100).await;
        assert!(matches!(guardian.state(Instant::now()), Integrity::Quarantined { .. }));
        assert!(guardian.refusal().unwrap().to_string().contains("quarantine"));
        // What it does there changes nothing and is told to nobody.
        let told = heard.0.lock().unwrap().len();
        guardian.note(foreign());
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
