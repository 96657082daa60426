use tower_layer::Layer;

use super::{Bucket, RateLimit, RateLimitOptions};
use crate::observe::Hooks;

/// Puts a [`RateLimit`] around a service. Everything behind one layer shares its bucket.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    bucket: Bucket,
    hooks: Hooks,
}

impl RateLimitLayer {
    /// A full bucket with these numbers.
    pub fn new(options: RateLimitOptions) -> Self {
        Self { bucket: Bucket::new(options), hooks: Hooks::default() }
    }

    /// The same layer, measured.
    #[must_use]
    pub fn observed(mut self, hooks: Hooks) -> Self {
        self.hooks = hooks;
        self
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit::new(inner, self.bucket.clone(), self.hooks.clone())
    }
}
