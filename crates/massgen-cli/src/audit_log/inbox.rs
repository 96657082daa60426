//! Records on their way to the thread that writes them, in bounded number.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Records that wait while the disk takes none; beyond it, the oldest are lost. A full disk has the same bound.
const WAITING: usize = 1_000;

/// The writer's end.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    records: VecDeque<Value>,
    bound: usize,
    /// Of these, those that the writer has not heard of.
    lost: u64,
    ended: bool,
}

/// The next record.
pub(super) struct Taken {
    pub(super) record: Value,
    /// So many before it were lost.
    pub(super) lost: u64,
    /// So many wait behind it.
    pub(super) left: usize,
}

impl Inbox {
    /// One in which these wait already, all of them.
    pub(super) fn of(records: VecDeque<Value>) -> Arc<Self> {
        let bound = WAITING.max(records.len());
        Arc::new(Self { state: Mutex::new(State { records, bound, ..State::default() }), ..Self::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next record; `None`: there will be none.
    pub(super) fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            if let Some(record) = state.records.pop_front() {
                let (lost, left) = (std::mem::take(&mut state.lost), state.records.len());
                return Some(Taken { record, lost, left });
            }
            if state.ended {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The other end. When it is dropped, no record comes any more.
pub(super) struct Outbox(Arc<Inbox>);

impl Outbox {
    pub(super) fn of(inbox: &Arc<Inbox>) -> Self {
        Self(inbox.clone())
    }

    /// Hands over a record. Where the oldest was lost for it: how many wait.
    pub(super) fn put(&self, record: Value) -> Option<usize> {
        let mut state = self.0.lock();
        state.records.push_back(record);
        let is_over = state.records.len() > state.bound;
        if is_over {
            state.records.pop_front();
            state.lost += 1;
        }
        self.0.changed.notify_one();
        is_over.then_some(state.records.len())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().records.len()
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_one();
    }
}
