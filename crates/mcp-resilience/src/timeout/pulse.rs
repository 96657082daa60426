use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// Signs of life of one attempt. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// The attempt is alive now.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// When the attempt last showed that it is alive; `None`: never.
    pub fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
