use tower_layer::Layer;

use super::{InFlight, InFlightLimit};
use crate::observe::Hooks;

/// Makes services share an [`InFlightLimit`]. Each use makes a party of its own.
#[derive(Debug, Clone)]
pub struct InFlightLayer {
    limit: InFlightLimit,
    hooks: Hooks,
}

impl InFlightLayer {
    /// Parties of this limit.
    pub fn new(limit: InFlightLimit) -> Self {
        Self { limit, hooks: Hooks::default() }
    }

    /// The same layer, measured.
    #[must_use]
    pub fn observed(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }
}

impl<S> Layer<S> for InFlightLayer {
    type Service = InFlight<S>;

    fn layer(&self, inner: S) -> InFlight<S> {
        InFlight::new(inner, &self.limit, self.hooks.clone())
    }
}
