//! The right to pass once.

use std::fmt;

use tokio::time::Instant;

use super::Gate;
use crate::breaker::policy::{Outcome, Policy, Rules};

/// The right to pass once. [`Permit::record`] says how it went; a permit that is dropped says nothing, and where it was
/// the probe, the probe is free again: a cancelled call never wedges a circuit.
///
/// A permit carries the generation it was given in: what ends after the state has changed counts for nothing.
#[must_use = "a permit that is dropped at once says nothing"]
pub struct Permit<P: Policy = Rules> {
    gate: Option<Gate<P>>,
    generation: u64,
    probe: bool,
    begun: Instant,
}

impl<P: Policy> fmt::Debug for Permit<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { generation, probe, begun, .. } = self;
        f.debug_struct("Permit")
            .field("generation", generation)
            .field("probe", probe)
            .field("begun", begun)
            .finish_non_exhaustive()
    }
}

impl<P: Policy> Permit<P> {
    pub(super) fn new(gate: Gate<P>, generation: u64, probe: bool, begun: Instant) -> Self {
        Self { gate: Some(gate), generation, probe, begun }
    }

    /// Whether whoever holds it is the one who finds out.
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// Says how it went.
    pub fn record(mut self, outcome: Outcome, now: Instant) {
        if let Some(gate) = self.gate.take() {
            gate.settle(self.generation, outcome, now.saturating_duration_since(self.begun), now);
        }
    }
}

impl<P: Policy> Drop for Permit<P> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.release(self.generation);
        }
    }
}
