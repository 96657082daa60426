//! Places, who holds them, and who is next.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Where a place is handed over.
pub(super) type Turn = oneshot::Receiver<Place>;

/// What somebody who comes gets.
pub(super) enum Entry {
    Free(Place),
    Wait(Turn),
}

#[derive(Clone)]
pub(super) struct Places(Arc<Shared>);

struct Shared {
    places: usize,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    in_flight: usize,
    /// How many places each party holds; who holds none is not listed.
    held: HashMap<u64, usize>,
    /// Who waits, party by party in the order of their turns.
    waiting: VecDeque<(u64, VecDeque<oneshot::Sender<Place>>)>,
    parties: u64,
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.0.lock();
        f.debug_struct("Places")
            .field("places", &self.0.places)
            .field("in_flight", &inside.in_flight)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    /// Whether this party may hold one more.
    fn admits(&self, party: u64, places: usize) -> bool {
        let held = self.held.get(&party).copied().unwrap_or_default();
        held == 0 || held < places.saturating_sub(self.in_flight)
    }

    fn take(&mut self, party: u64) {
        self.in_flight += 1;
        *self.held.entry(party).or_default() += 1;
    }

    fn give_back(&mut self, party: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(held) = self.held.get_mut(&party) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                self.held.remove(&party);
            }
        }
    }

    /// Whoever is next among those who may; its party goes to the end of the row.
    fn next(&mut self, places: usize) -> Option<(u64, oneshot::Sender<Place>)> {
        // Forgets those who went away.
        for (_, row) in &mut self.waiting {
            while row.front().is_some_and(oneshot::Sender::is_closed) {
                row.pop_front();
            }
        }
        self.waiting.retain(|(_, row)| !row.is_empty());
        let at = self.waiting.iter().position(|(party, _)| self.admits(*party, places))?;
        let (party, mut row) = self.waiting.remove(at)?;
        let sender = row.pop_front()?;
        if !row.is_empty() {
            self.waiting.push_back((party, row));
        }
        Some((party, sender))
    }
}

impl Places {
    pub(super) fn new(places: usize) -> Self {
        Self(Arc::new(Shared { places: places.max(1), inside: Mutex::default() }))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    pub(super) fn party(&self) -> Party {
        let mut inside = self.0.lock();
        inside.parties += 1;
        Party { shared: self.0.clone(), party: inside.parties }
    }
}

/// One of those who share the places. Clones are the same one.
#[derive(Clone)]
pub(super) struct Party {
    shared: Arc<Shared>,
    party: u64,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Party").field(&self.party).finish()
    }
}

impl Party {
    pub(super) fn enter(&self) -> Entry {
        let mut inside = self.shared.lock();
        let row = inside.waiting.iter().position(|(party, _)| *party == self.party);
        if row.is_none() && inside.admits(self.party, self.shared.places) {
            inside.take(self.party);
            return Entry::Free(Place { shared: self.shared.clone(), party: self.party });
        }
        let (sender, turn) = oneshot::channel();
        match row.and_then(|at| inside.waiting.get_mut(at)) {
            Some((_, row)) => row.push_back(sender),
            None => inside.waiting.push_back((self.party, VecDeque::from([sender]))),
        }
        Entry::Wait(turn)
    }
}

/// A place. Dropped, it goes to whoever is next.
pub(super) struct Place {
    shared: Arc<Shared>,
    party: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().give_back(self.party);
        loop {
            let mut inside = self.shared.lock();
            let Some((party, sender)) = inside.next(self.shared.places) else { return };
            inside.take(party);
            drop(inside);
            // One who goes away at this very moment drops the place, and with that hands it on.
            drop(sender.send(Place { shared: self.shared.clone(), party }));
        }
    }
}
