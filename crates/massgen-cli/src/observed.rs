//! What servers were seen to do, for commands that start them to look at them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use massgen::client::{Judgement, Observer, ServerState};
use massgen::core::ServerName;
use tokio::time::Instant;

use crate::output;
use crate::style::safe;

/// Keeps what is told about servers.
#[derive(Default)]
pub(crate) struct Observed(Mutex<Seen>);

/// What was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) judgements: Vec<(ServerName, Judgement)>,
    pub(crate) notices: Vec<(ServerName, String)>,
    /// How long each took from its start to its list of tools.
    pub(crate) starts: BTreeMap<ServerName, Duration>,
    begun: BTreeMap<ServerName, Instant>,
    /// Why each could not be used, and what to do about it: one that is tried again says nothing of it any more.
    pub(crate) failures: BTreeMap<ServerName, (String, Option<String>)>,
}

impl Observed {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub(crate) fn take(&self) -> Seen {
        std::mem::take(&mut self.lock())
    }

    /// Says what was told about the servers since the last time, each thing once.
    pub(crate) fn tell(&self) {
        let notices = std::mem::take(&mut self.lock().notices);
        let mut told = BTreeSet::new();
        for (server, notice) in notices.iter().filter(|notice| told.insert(*notice)) {
            output::note(safe(&format!("warning: server {server}: {notice}")));
        }
    }
}

impl Observer for Observed {
    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        let mut seen = self.lock();
        match state {
            ServerState::Starting => {
                seen.begun.insert(server.clone(), Instant::now());
            }
            ServerState::Ready { .. } => {
                seen.failures.remove(server);
                if let Some(begun) = seen.begun.remove(server) {
                    seen.starts.insert(server.clone(), begun.elapsed());
                }
            }
            state if !state.is_usable() => {
                if let Some(reason) = state.reason() {
                    let why = (reason.to_owned(), state.hint().map(str::to_owned));
                    seen.failures.insert(server.clone(), why);
                }
            }
            _ => {}
        }
    }

    fn judged(&self, server: &ServerName, judgement: &Judgement) {
        self.lock().judgements.push((server.clone(), judgement.clone()));
    }

    fn notice(&self, server: &ServerName, message: &str) {
        self.lock().notices.push((server.clone(), message.to_owned()));
    }
}
