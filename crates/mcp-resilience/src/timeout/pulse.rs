//! Signs of life: what lets an attempt take longer than its limit.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Something else whose signs of life count for an attempt as well.
pub trait Vital: Send + Sync {
    /// When it last showed that it is alive; `None`: never.
    fn last(&self) -> Option<Instant>;
}

/// Signs of life of one attempt. Clones share it.
#[derive(Clone, Default)]
pub struct Pulse(Arc<Mutex<Signs>>);

#[derive(Default)]
struct Signs {
    last: Option<Instant>,
    other: Option<Arc<dyn Vital>>,
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pulse").field(&self.lock().last).finish()
    }
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, Signs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt is alive now.
    pub fn beat(&self) {
        self.lock().last = Some(Instant::now());
    }

    /// From now on the signs of life of `other` count as well. It is asked for them when the time is up, and not before.
    pub fn follow(&self, other: Arc<dyn Vital>) {
        self.lock().other = Some(other);
    }

    /// When the attempt last showed that it is alive; `None`: never.
    pub fn last(&self) -> Option<Instant> {
        let (last, other) = {
            let signs = self.lock();
            (signs.last, signs.other.clone())
        };
        last.max(other.and_then(|other| other.last()))
    }
}

/// A request whose attempt can show signs of life.
pub trait HasPulse {
    /// Gives the request the pulse of its next attempt. One that ignores it is bounded by the limit alone.
    fn set_pulse(&mut self, pulse: &Pulse);
}

macro_rules! without_pulse {
    ($($kind:ty),*) => {$(
        /// Shows no signs of life: the limit alone counts.
        impl HasPulse for $kind {
            fn set_pulse(&mut self, _: &Pulse) {}
        }
    )*};
}
without_pulse!((), String, &str);
