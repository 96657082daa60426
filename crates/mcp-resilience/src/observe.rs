//! What the layers tell about themselves: counters, histograms and gauges for whoever collects them. Without a
//! telemetry library: an [`Observer`] passes on to one.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use mcp_resilience::breaker::{Gate, Outcome, Rules};
//! use mcp_resilience::observe::{Hooks, Label, Observer, names};
//! use tokio::time::Instant;
//!
//! #[derive(Default)]
//! struct Lines(Mutex<Vec<String>>);
//! impl Observer for Lines {
//!     fn count(&self, name: &'static str, labels: &[Label<'_>], by: u64) {
//!         self.0.lock().unwrap().push(format!("{name} {labels:?} +{by}"));
//!     }
//! }
//!
//! let lines = Arc::new(Lines::default());
//! let gate = Gate::new(Rules::default()).observed(Hooks::new(lines.clone(), "db"));
//! gate.acquire(Instant::now()).unwrap().record(Outcome::Success, Instant::now());
//! assert_eq!(lines.0.lock().unwrap()[0], r#"breaker.calls [("target", "db"), ("outcome", "success")] +1"#);
//! assert_eq!(names::BREAKER_CALLS, "breaker.calls");
//! ```

use std::fmt;
use std::sync::Arc;

/// One dimension of a measurement: its name and its value.
pub type Label<'a> = (&'static str, &'a str);

/// The names of what is measured. A host puts its own prefix in front. Where a part of a target is observed
/// ([`Hooks::part`]), the label `part` names it.
pub mod names {
    /// Gauge, 1 for the state that a circuit is in and 0 for the others; labels `target`, `state`.
    pub const BREAKER_STATE: &str = "breaker.state";
    /// Counter; labels `target`, `from`, `to`, `reason`: the cause of the change ([`crate::breaker::Transition::cause`]).
    pub const BREAKER_TRANSITIONS: &str = "breaker.transitions";
    /// Counter; labels `target`, `outcome` (`success`, `slow`, `failure`, `neutral`, `rejected`). `slow` is a success that took
    /// longer than the policy likes. What ends after the state has changed is counted by how it ended.
    pub const BREAKER_CALLS: &str = "breaker.calls";
    /// Gauge, the share of failures within the window, 0 to 1, as of the last outcome; label `target`.
    pub const BREAKER_FAILURE_RATE: &str = "breaker.failure_rate";
    /// Gauge, the share of slow attempts within the window, 0 to 1, as of the last outcome; label `target`.
    pub const BREAKER_SLOW_RATE: &str = "breaker.slow_rate";
    /// Histogram in seconds; labels `target`, `result` (`success`, `failure`, `neutral`).
    pub const PROBE_DURATION: &str = "probe.duration";
    /// Counter; labels `target`, `class` (the policy's word for the result), `decision` (`retried`, `attempts`, `budget`,
    /// `deadline`).
    pub const RETRY_ATTEMPTS: &str = "retry.attempts";
    /// Gauge; label `target`.
    pub const RETRY_BUDGET: &str = "retry.budget.tokens";
    /// Gauge; label `target`.
    pub const BULKHEAD_IN_FLIGHT: &str = "bulkhead.in_flight";
    /// Gauge; label `target`.
    pub const BULKHEAD_QUEUE: &str = "bulkhead.queue";
    /// Histogram in seconds; label `target`.
    pub const BULKHEAD_WAIT: &str = "bulkhead.wait";
    /// Counter; labels `target`, `reason` (`queue`, `wait`, `rate`).
    pub const SHED: &str = "shed";
}

/// Hears measurements. Methods are called where it happens: they must return at once.
pub trait Observer: Send + Sync {
    /// Something happened `by` times.
    fn count(&self, _name: &'static str, _labels: &[Label<'_>], _by: u64) {}

    /// One value of a distribution; durations are in seconds.
    fn histogram(&self, _name: &'static str, _labels: &[Label<'_>], _value: f64) {}

    /// A value as it is now.
    fn gauge(&self, _name: &'static str, _labels: &[Label<'_>], _value: f64) {}
}

/// Hears nothing.
impl Observer for () {}

impl fmt::Debug for dyn Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// An observer and the name of what is being observed, which becomes the label `target`. The default tells nobody.
#[derive(Clone, Default)]
pub struct Hooks(Option<Told>);

#[derive(Clone)]
struct Told {
    observer: Arc<dyn Observer>,
    target: Arc<str>,
    part: Option<Arc<str>>,
}

/// The most labels that a measurement has.
const LABELS: usize = 5;

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.as_ref().map(|told| (&told.target, &told.part))).finish()
    }
}

impl Hooks {
    /// Tells `observer` about `target`.
    pub fn new(observer: Arc<dyn Observer>, target: impl Into<Arc<str>>) -> Self {
        Self(Some(Told { observer, target: target.into(), part: None }))
    }

    /// The same for a part of the target, which becomes the label `part`.
    #[must_use]
    pub fn part(&self, part: impl Into<Arc<str>>) -> Self {
        Self(self.0.clone().map(|told| Told { part: Some(part.into()), ..told }))
    }

    /// Hands on a measurement with all of its labels. Nothing is allocated for it.
    fn tell(&self, own: &[Label<'_>], hand_on: impl FnOnce(&dyn Observer, &[Label<'_>])) {
        let Some(told) = &self.0 else { return };
        let mut labels = [("", ""); LABELS];
        let target = std::iter::once(("target", &*told.target));
        let all = target.chain(told.part.as_deref().map(|part| ("part", part))).chain(own.iter().copied());
        let mut count = 0;
        for (place, label) in labels.iter_mut().zip(all) {
            *place = label;
            count += 1;
        }
        hand_on(&*told.observer, &labels[..count]);
    }

    /// Whether anybody is told.
    pub(crate) fn is_told(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn count(&self, name: &'static str, labels: &[Label<'_>]) {
        self.tell(labels, |observer, labels| observer.count(name, labels, 1));
    }

    pub(crate) fn transition(&self, from: &str, to: &str, cause: &str) {
        let labels = [("from", from), ("to", to), ("reason", cause)];
        self.tell(&labels, |observer, labels| observer.count(names::BREAKER_TRANSITIONS, labels, 1));
        self.state(from, 0.0);
        self.state(to, 1.0);
    }

    /// Whether a circuit is in a state.
    pub(crate) fn state(&self, state: &str, value: f64) {
        self.tell(&[("state", state)], |observer, labels| {
            observer.gauge(names::BREAKER_STATE, labels, value)
        });
    }

    pub(crate) fn histogram(&self, name: &'static str, label: Option<Label<'_>>, seconds: f64) {
        self.tell(label.as_slice(), |observer, labels| observer.histogram(name, labels, seconds));
    }

    pub(crate) fn gauge(&self, name: &'static str, value: f64) {
        self.tell(&[], |observer, labels| observer.gauge(name, labels, value));
    }
}
