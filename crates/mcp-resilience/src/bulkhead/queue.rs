//! Places and who is next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::BulkheadOptions;
use crate::observe::{Hooks, names};

/// Where a place is handed over.
pub(super) type Turn<K> = oneshot::Receiver<Slot<K>>;

/// What somebody who comes gets.
pub(super) enum Entry<K: Eq + Send> {
    Free(Slot<K>),
    Wait(Turn<K>),
    Full,
}

pub(super) struct Queue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    limit: usize,
    places: usize,
    hooks: Hooks,
    inside: Mutex<Inside<K>>,
}

struct Inside<K> {
    in_flight: usize,
    waiting: usize,
    /// Callers in the order of their turns, each with its requests.
    callers: VecDeque<(K, VecDeque<oneshot::Sender<Slot<K>>>)>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K> fmt::Debug for Queue<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.shared.lock();
        f.debug_struct("Queue")
            .field("in_flight", &inside.in_flight)
            .field("waiting", &inside.waiting)
            .finish_non_exhaustive()
    }
}

impl<K> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, Inside<K>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measure(&self, inside: &Inside<K>) {
        self.hooks.gauge(names::BULKHEAD_IN_FLIGHT, inside.in_flight as f64);
        self.hooks.gauge(names::BULKHEAD_QUEUE, inside.waiting as f64);
    }
}

impl<K> Inside<K> {
    /// Forgets those who went away.
    fn sweep(&mut self) {
        for (_, row) in &mut self.callers {
            row.retain(|sender| !sender.is_closed());
        }
        self.callers.retain(|(_, row)| !row.is_empty());
        self.waiting = self.callers.iter().map(|(_, row)| row.len()).sum();
    }

    /// Whoever is next; its caller goes to the end of the row.
    fn next(&mut self) -> Option<oneshot::Sender<Slot<K>>> {
        let (caller, mut row) = self.callers.pop_front()?;
        let sender = row.pop_front();
        if !row.is_empty() {
            self.callers.push_back((caller, row));
        }
        self.waiting = self.waiting.saturating_sub(1);
        sender
    }
}

impl<K: Eq + Send> Queue<K> {
    pub(super) fn new(options: &BulkheadOptions, hooks: Hooks) -> Self {
        let inside = Inside { in_flight: 0, waiting: 0, callers: VecDeque::new() };
        Self {
            shared: Arc::new(Shared {
                limit: options.queue,
                places: options.in_flight.max(1),
                hooks,
                inside: Mutex::new(inside),
            }),
        }
    }

    pub(super) fn limit(&self) -> usize {
        self.shared.limit
    }

    pub(super) fn hooks(&self) -> Hooks {
        self.shared.hooks.clone()
    }

    pub(super) fn enter(&self, caller: impl FnOnce() -> K) -> Entry<K> {
        let mut inside = self.shared.lock();
        if inside.in_flight < self.shared.places {
            inside.in_flight += 1;
            self.shared.measure(&inside);
            return Entry::Free(Slot { shared: self.shared.clone() });
        }
        if inside.waiting >= self.shared.limit {
            inside.sweep();
            if inside.waiting >= self.shared.limit {
                drop(inside);
                self.shared.hooks.count(names::SHED, &[("reason", "queue")]);
                return Entry::Full;
            }
        }
        let caller = caller();
        let (sender, turn) = oneshot::channel();
        match inside.callers.iter_mut().find(|(known, _)| *known == caller) {
            Some((_, row)) => row.push_back(sender),
            None => inside.callers.push_back((caller, VecDeque::from([sender]))),
        }
        inside.waiting += 1;
        self.shared.measure(&inside);
        Entry::Wait(turn)
    }
}

/// A place. Dropped, it goes to whoever is next.
pub(super) struct Slot<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Drop for Slot<K> {
    fn drop(&mut self) {
        loop {
            let mut inside = self.shared.lock();
            let Some(next) = inside.next() else {
                inside.in_flight = inside.in_flight.saturating_sub(1);
                return self.shared.measure(&inside);
            };
            drop(inside);
            if next.is_closed() {
                continue;
            }
            // One who goes away at this very moment drops the place, and with that hands it on.
            drop(next.send(Slot { shared: self.shared.clone() }));
            return;
        }
    }
}
