//! Connections that wait for the next request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hyper::body::Incoming;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::connection::{Connection, Rest};
use crate::http::dial::IDLE;

/// The connections of one origin.
pub(super) struct Idle {
    kept: Mutex<Kept>,
    limit: usize,
}

#[derive(Default)]
struct Kept {
    /// The last one in is the first one out.
    connections: Vec<Resting>,
    /// Closes those that nobody wanted.
    sweeper: Option<AbortHandle>,
}

struct Resting {
    connection: Connection,
    rest: Option<Incoming>,
    since: Instant,
}

impl Idle {
    /// Keeps at most so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { kept: Mutex::default(), limit }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that can take a request.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut kept = self.lock();
        // The newest first: a server closes the oldest first.
        for at in (0..kept.connections.len()).rev() {
            let resting = &mut kept.connections[at];
            let state = if resting.since.elapsed() < IDLE {
                resting.connection.settle(&mut resting.rest)
            } else {
                Rest::Over
            };
            match state {
                Rest::Free => return Some(kept.connections.remove(at).connection),
                Rest::Waiting => {}
                Rest::Over => drop(kept.connections.remove(at)),
            }
        }
        None
    }

    /// Keeps a connection, by which the rest of a body may still come.
    pub(super) fn keep(self: &Arc<Self>, mut connection: Connection, body: Incoming) {
        let mut rest = Some(body);
        // Now, so that the task which had it is not woken for it again.
        if connection.settle(&mut rest) == Rest::Over {
            return;
        }
        let mut kept = self.lock();
        if kept.connections.len() >= self.limit {
            return;
        }
        kept.connections.push(Resting { connection, rest, since: Instant::now() });
        if kept.sweeper.is_none() {
            kept.sweeper = Some(tokio::spawn(sweep(Arc::downgrade(self))).abort_handle());
        }
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(sweeper) = self.lock().sweeper.take() {
            sweeper.abort();
        }
    }
}

/// Closes connections that were not wanted for a while, until none is left.
async fn sweep(idle: Weak<Idle>) {
    loop {
        sleep(IDLE).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut kept = idle.lock();
        kept.connections.retain(|resting| resting.since.elapsed() < IDLE);
        if kept.connections.is_empty() {
            kept.sweeper = None;
            return;
        }
    }
}
