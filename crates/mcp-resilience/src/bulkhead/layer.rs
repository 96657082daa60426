use std::marker::PhantomData;

use tower_layer::Layer;

use super::{Bulkhead, BulkheadOptions};
use crate::observe::Hooks;

/// Puts a [`Bulkhead`] around a service. Each use makes a bulkhead of its own.
#[derive(Debug, Clone)]
pub struct BulkheadLayer<K = ()> {
    options: BulkheadOptions,
    hooks: Hooks,
    caller: PhantomData<fn() -> K>,
}

impl<K> BulkheadLayer<K> {
    /// A bulkhead with these numbers.
    pub fn new(options: BulkheadOptions) -> Self {
        Self { options, hooks: Hooks::default(), caller: PhantomData }
    }

    /// The same layer, measured.
    #[must_use]
    pub fn observed(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }
}

impl<S, K: Eq + Send> Layer<S> for BulkheadLayer<K> {
    type Service = Bulkhead<S, K>;

    fn layer(&self, inner: S) -> Bulkhead<S, K> {
        Bulkhead::new(inner, &self.options, self.hooks.clone())
    }
}
