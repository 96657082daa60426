//! Requests in flight, by id.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::breach::{Breach, Breaches};
use crate::options::{Progress, ProgressSender};
use crate::pause::{self, InFlight};

/// The least id of ours. rmcp counts from zero, so the two never meet; and a double holds every number below twice this.
const FIRST: u64 = 1 << 52;
/// Requests that are over and whose further answers are known for what they are.
const REMEMBERED: usize = 256;

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The session is over.
    Lost,
    /// The session was over before anything was sent.
    Unsent,
    /// The server did not take the request in.
    Unwritten(Unwritten),
    /// The answer cannot be read, for this reason.
    Unreadable(String),
    /// The answer is too large.
    TooLarge(TooLarge),
}

/// The error of a message beyond what is accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}; at most {limit} bytes are accepted")]
pub(crate) struct TooLarge {
    pub(crate) limit: usize,
    pub(crate) what: String,
}

/// The error of a request that the server did not take in within a time.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the server takes nothing in")]
pub(crate) struct Unwritten {
    /// A part of it had left.
    pub(crate) begun: bool,
    /// The time.
    pub(crate) limit: Duration,
}

/// The error of a request that was made when the session was over: nothing went out.
#[derive(Debug, thiserror::Error)]
#[error("the session is over")]
pub(crate) struct NeverSent;

type Answered = Result<BytesMut, Failure>;

/// Makes ids that nobody can guess: a server must not be able to answer what another was asked.
#[derive(Default)]
pub(crate) struct Ids {
    key: RandomState,
    count: AtomicU64,
}

impl Ids {
    /// One that was hardly ever made before.
    pub(crate) fn make(&self) -> u64 {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        FIRST | (self.key.hash_one(count) & (FIRST - 1))
    }
}

/// The requests that wait for an answer.
pub(crate) struct Calls {
    ids: Ids,
    /// `None` once the session is over.
    open: Mutex<Option<Open>>,
    /// Where answers go that no honest server gives.
    pub(crate) breaches: Breaches,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<u64, Waiting>,
    /// The last requests that are over.
    over: VecDeque<(u64, Over)>,
}

/// How a request came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Answered,
    GivenUp,
}

impl Open {
    /// Takes a request out of those that wait.
    fn take(&mut self, id: u64, over: Over) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        if self.over.len() == REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back((id, over));
        Some(waiting)
    }
}

struct Waiting {
    answer: oneshot::Sender<Answered>,
    progress: Option<ProgressSender>,
    _counted: InFlight,
}

impl Default for Calls {
    fn default() -> Self {
        Self { ids: Ids::default(), open: Mutex::new(Some(Open::default())), breaches: Breaches::default() }
    }
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a request: its id, how many others are in flight, and where its answer comes. `None`: the session is over.
    pub(crate) fn open(
        &self,
        progress: Option<ProgressSender>,
    ) -> Option<(u64, usize, oneshot::Receiver<Answered>)> {
        let (answer, answered) = oneshot::channel();
        let mut guard = self.lock();
        let open = &mut guard.as_mut()?.waiting;
        let others = open.len();
        let waiting = Waiting { answer, progress, _counted: InFlight::new() };
        loop {
            let id = self.ids.make();
            if let Entry::Vacant(place) = open.entry(id) {
                place.insert(waiting);
                return Some((id, others, answered));
            }
        }
    }

    /// Ends a request whose answer may still come and is not waited for.
    pub(crate) fn give_up(&self, id: u64, failure: Failure) {
        let waiting = self.lock().as_mut().and_then(|open| open.take(id, Over::GivenUp));
        if let Some(waiting) = waiting {
            // Whoever asked may just have gone away.
            let _ = waiting.answer.send(Err(failure));
        }
    }

    /// Whether this request waits for an answer.
    pub(crate) fn waits(&self, id: u64) -> bool {
        self.lock().as_ref().is_some_and(|open| open.waiting.contains_key(&id))
    }

    /// The request that waits, where it is exactly one.
    pub(crate) fn only(&self) -> Option<u64> {
        let guard = self.lock();
        let open = &guard.as_ref()?.waiting;
        if open.len() == 1 { open.keys().next().copied() } else { None }
    }

    /// How many requests wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().as_ref().map_or(0, |open| open.waiting.len())
    }

    /// Answers a request. `false`: nobody waits for that.
    pub(crate) fn answer(&self, id: u64, answer: Answered) -> bool {
        let mut guard = self.lock();
        let Some(open) = guard.as_mut() else { return false };
        let Some(waiting) = open.take(id, Over::Answered) else {
            let over = open.over.iter().find(|(known, _)| *known == id).map(|(_, over)| *over);
            let pending = open.waiting.len();
            drop(guard);
            match over {
                Some(Over::GivenUp) => self.breaches.late(),
                Some(Over::Answered) => self.breaches.note(second(&answer)),
                None => self.breaches.note(Breach::foreign_id(id, pending)),
            }
            return false;
        };
        drop(guard);
        pause::answered();
        // Whoever asked may just have gone away.
        let _ = waiting.answer.send(answer);
        true
    }

    /// Passes a report on. `false`: it is about no request of this table.
    pub(crate) fn report(&self, id: u64, progress: Progress) -> bool {
        let guard = self.lock();
        let Some(waiting) = guard.as_ref().and_then(|open| open.waiting.get(&id)) else { return id >= FIRST };
        if let Some(sender) = &waiting.progress {
            sender.report(progress);
        }
        true
    }

    /// Takes a request back. `false`: it was answered already.
    pub(crate) fn forget(&self, id: u64) -> bool {
        self.lock().as_mut().is_some_and(|open| open.take(id, Over::GivenUp).is_some())
    }

    /// Ends all requests, and any later one, for the session is over.
    pub(crate) fn end(&self) {
        let ended = self.lock().take();
        drop(ended);
    }

    /// The same, where what the server sent is the reason.
    pub(crate) fn end_too_large(&self, too_large: &TooLarge) {
        for (_, waiting) in self.lock().take().into_iter().flat_map(|open| open.waiting) {
            let _ = waiting.answer.send(Err(Failure::TooLarge(too_large.clone())));
        }
    }

    /// Ends any later request, where none waits. `false`: one does.
    pub(crate) fn end_if_idle(&self) -> bool {
        let mut guard = self.lock();
        let is_idle = guard.as_ref().is_none_or(|open| open.waiting.is_empty());
        if is_idle {
            *guard = None;
        }
        is_idle
    }
}

/// An answer to what was answered already.
fn second(answer: &Answered) -> Breach {
    let hex = |line: &BytesMut| Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect();
    Breach::SecondAnswer { hash: answer.as_ref().ok().map(hex) }
}

/// Whether an id is one of this road's.
pub(crate) fn is_ours(id: i64) -> bool {
    u64::try_from(id).is_ok_and(|id| (FIRST..2 * FIRST).contains(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_cannot_be_foretold() {
        let (one, two) = (Calls::default(), Calls::default());
        let open = |calls: &Calls| (0..100).map(|_| calls.open(None).unwrap().0).collect::<Vec<_>>();
        let (first, second) = (open(&one), open(&two));
        let all: std::collections::HashSet<_> = first.iter().chain(&second).collect();
        assert_eq!(all.len(), 200, "two tables give the same ids");
        assert!(first.windows(2).any(|pair| pair[1] != pair[0] + 1));
        assert!(all.iter().all(|id| is_ours(**id as i64) && **id as f64 as u64 == **id));
    }

    #[test]
    fn an_answer_is_taken_once() {
        let calls = Calls::default();
        let (id, others, mut answer) = calls.open(None).unwrap();
        assert_eq!((others, calls.only(), calls.len()), (0, Some(id), 1));
        assert!(calls.answer(id, Ok(BytesMut::new())) && !calls.answer(id, Ok(BytesMut::new())));
        assert!(answer.try_recv().unwrap().is_ok());
        assert!(!calls.forget(id) && !calls.waits(id));
    }

    #[test]
    fn the_end_ends_all() {
        let calls = Calls::default();
        let (_, _, mut answer) = calls.open(None).unwrap();
        calls.end();
        assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(calls.open(None).is_none());
    }
}
