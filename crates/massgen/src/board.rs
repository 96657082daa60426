//! Keeps the servers' states and tells them to whatever run is on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use massgen_orchestrator::{Emitter, EventKind, ServerState as Shown};
use mcp_client::{
    AuditRecord, CircuitChange, CircuitState, Drift, Integrity, Judgement, Observer, ServerState,
};
use mcp_core::{ServerName, ToolName};
use mcp_security::sandbox::Level;

/// All servers' states. A run's emitter is attached when the run begins and is told the states so far, then each change.
#[derive(Default)]
pub(crate) struct Board {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    states: BTreeMap<String, (ServerState, Option<Level>)>,
    /// Those that cannot be used, also while they are tried again.
    away: BTreeSet<String>,
    /// All have been started once, well or not.
    is_settled: bool,
    /// It was said that all of them are away.
    is_told: bool,
    emitter: Option<Emitter>,
    /// Said once, to the first run that listens.
    notices: VecDeque<String>,
}

/// The most notices that wait for a run: between runs servers may go on for days.
const MOST_NOTICES: usize = 100;

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on this run is told.
    pub(crate) fn attach(&self, emitter: &Emitter) {
        let mut inner = self.lock();
        for (server, (state, sandbox)) in &inner.states {
            emitter.emit(event(server, state, *sandbox));
        }
        for message in std::mem::take(&mut inner.notices) {
            emitter.emit(EventKind::Warning { message });
        }
        inner.emitter = Some(emitter.clone());
    }

    /// The run is over.
    pub(crate) fn detach(&self) {
        self.lock().emitter = None;
    }

    fn changed(&self, server: &str, state: &ServerState, sandbox: Option<Level>) {
        let mut inner = self.lock();
        if let Some(emitter) = &inner.emitter {
            emitter.emit(event(server, state, sandbox));
        }
        inner.states.insert(server.to_owned(), (state.clone(), sandbox));
        if state.is_usable() {
            inner.away.remove(server);
            inner.is_told = false;
        } else if *state != ServerState::Starting {
            inner.away.insert(server.to_owned());
        }
        inner.tell_all_away();
    }

    /// Every server has been started once, well or not, and the run goes on.
    pub(crate) fn settled(&self) {
        let mut inner = self.lock();
        inner.is_settled = true;
        inner.tell_all_away();
    }

    pub(crate) fn notice(&self, message: String) {
        let mut inner = self.lock();
        match &inner.emitter {
            Some(emitter) => emitter.emit(EventKind::Warning { message }),
            None if inner.notices.contains(&message) => {}
            None => {
                if inner.notices.len() == MOST_NOTICES {
                    inner.notices.pop_front();
                }
                inner.notices.push_back(message);
            }
        }
    }
}

impl Inner {
    /// Says it in one line, once, where all of several servers are away.
    fn tell_all_away(&mut self) {
        let Some(emitter) = self.emitter.as_ref().filter(|_| self.is_settled && !self.is_told) else {
            return;
        };
        let count = self.states.len();
        if count > 1 && self.away.len() == count {
            let message =
                format!("none of the {count} servers can be used; the run goes on without their tools");
            emitter.emit(EventKind::Warning { message });
            self.is_told = true;
        }
    }
}

fn event(server: &str, state: &ServerState, sandbox: Option<Level>) -> EventKind {
    let shown = match state {
        ServerState::Starting => Shown::Starting,
        ServerState::Ready { .. } => Shown::Ready,
        ServerState::Degraded { .. } => Shown::Degraded,
        ServerState::Resting { .. } => Shown::Resting,
        ServerState::Unreachable { .. } => Shown::Unreachable,
        ServerState::AuthRequired { .. } => Shown::AuthRequired,
        ServerState::Quarantined { .. } => Shown::Quarantined,
        _ => Shown::Stopped,
    };
    let detail = match (state.reason(), state.hint()) {
        (Some(reason), Some(hint)) => Some(format!("{reason}\n  hint: {hint}")),
        (Some(reason), None) => Some(reason.to_owned()),
        // It runs in the sandbox that was asked for, or not at all.
        (None, _) if shown == Shown::Ready => sandbox.map(|level| format!("sandbox: {level}")),
        (None, _) => None,
    };
    EventKind::Server { server: server.to_owned(), state: shown, tools: state.tools(), detail }
}

/// Watches the servers of one owner: the team, or one agent.
pub(crate) struct Watch {
    pub(crate) board: Arc<Board>,
    /// The agent, where there could be doubt whose server it is.
    pub(crate) agent: Option<String>,
    /// The servers that run in a sandbox.
    pub(crate) sandboxes: BTreeMap<ServerName, Level>,
    /// Whoever else wants to know.
    pub(crate) further: Option<Arc<dyn Observer>>,
}

impl Watch {
    fn label(&self, server: &ServerName) -> String {
        match &self.agent {
            Some(agent) => format!("{agent}/{server}"),
            None => server.to_string(),
        }
    }
}

impl Observer for Watch {
    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        self.board.changed(&self.label(server), state, self.sandboxes.get(server).copied());
        if let Some(further) = &self.further {
            further.server_changed(server, state);
        }
    }

    fn call_finished(&self, record: &AuditRecord) {
        if let Some(further) = &self.further {
            further.call_finished(record);
        }
    }

    fn circuit_changed(&self, server: &ServerName, tool: Option<&ToolName>, change: &CircuitChange) {
        // Once when it is given a rest, once when it is back; the probes between are nobody's business. The circuit of
        // the whole server is part of its state.
        if let Some(tool) = tool {
            let what = format!("tool {tool} of server {}", self.label(server));
            match (&change.from, &change.to) {
                (
                    CircuitState::Closed,
                    CircuitState::Open { reason, .. } | CircuitState::ForcedOpen { reason },
                ) => {
                    self.board.notice(format!("{what} is left alone for a while: {reason}"));
                }
                (CircuitState::HalfOpen { .. }, CircuitState::Closed) => {
                    self.board.notice(format!("{what} can be used again"));
                }
                _ => {}
            }
        }
        if let Some(further) = &self.further {
            further.circuit_changed(server, tool, change);
        }
    }

    fn integrity_changed(&self, server: &ServerName, integrity: &Integrity) {
        if let Some(further) = &self.further {
            further.integrity_changed(server, integrity);
        }
    }

    fn judged(&self, server: &ServerName, judgement: &Judgement) {
        if let Some(further) = &self.further {
            further.judged(server, judgement);
        }
    }

    fn drifted(&self, server: &ServerName, drift: &Drift) {
        if let Some(further) = &self.further {
            further.drifted(server, drift);
        }
    }

    fn notice(&self, server: &ServerName, message: &str) {
        self.board.notice(format!("server {}: {message}", self.label(server)));
        if let Some(further) = &self.further {
            further.notice(server, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_run_is_said_once_and_has_a_bound() {
        let board = Board::default();
        (0..1000).for_each(|number| board.notice(format!("notice {number}")));
        (0..3).for_each(|_| board.notice("the same again".to_owned()));
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = told.clone();
        let emitter = Emitter::new(move |event| match &event.kind {
            EventKind::Warning { message } => sink.lock().unwrap().push(message.clone()),
            other => panic!("{other:?}"),
        });
        board.attach(&emitter);
        // While a run listens, everything is told.
        board.notice("the same again".to_owned());
        let told = told.lock().unwrap();
        assert_eq!(told.len(), MOST_NOTICES + 1);
        assert_eq!(told[MOST_NOTICES - 2..], ["notice 999", "the same again", "the same again"]);
    }
}
