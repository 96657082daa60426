use tower_layer::Layer;

use super::{Budget, Retry, RetryOptions};
use crate::observe::Hooks;

/// Puts a [`Retry`] around a service.
#[derive(Debug, Clone)]
pub struct RetryLayer<P> {
    policy: P,
    options: RetryOptions,
    budget: Budget,
    hooks: Hooks,
}

impl<P> RetryLayer<P> {
    /// Retries by `policy`, paid from `budget`.
    pub fn new(policy: P, options: RetryOptions, budget: Budget) -> Self {
        Self { policy, options, budget, hooks: Hooks::default() }
    }

    /// The same layer, measured.
    #[must_use]
    pub fn observed(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }
}

impl<S, P: Clone> Layer<S> for RetryLayer<P> {
    type Service = Retry<S, P>;

    fn layer(&self, inner: S) -> Retry<S, P> {
        let mut retry = Retry::new(inner, self.policy.clone(), self.options.clone(), self.budget.clone());
        retry.hooks = self.hooks.clone();
        retry.tell_budget();
        retry
    }
}
