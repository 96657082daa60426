use tower_layer::Layer;

use super::{Breaker, Gate, Rules};

/// Puts a [`Breaker`] around a service.
#[derive(Debug, Clone)]
pub struct BreakerLayer<C, P = Rules> {
    gate: Gate<P>,
    judge: C,
}

impl<C, P> BreakerLayer<C, P> {
    /// Everything behind this layer shares the gate; `judge` says what a result means for it.
    pub fn new(gate: Gate<P>, judge: C) -> Self {
        Self { gate, judge }
    }
}

impl<S, C: Clone, P> Layer<S> for BreakerLayer<C, P> {
    type Service = Breaker<S, C, P>;

    fn layer(&self, inner: S) -> Breaker<S, C, P> {
        Breaker::new(inner, self.gate.clone(), self.judge.clone())
    }
}
