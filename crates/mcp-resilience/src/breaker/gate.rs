//! The mechanism: who may pass, and what becomes of permits. It knows no rule by which a circuit opens.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::policy::{Opening, Outcome, Policy, Rates, Rules, Verdict};
use crate::observe::{Hooks, names};
use crate::sync::{Arc, Mutex, MutexGuard};

#[cfg(test)]
mod model;
mod permit;
mod state;

pub use permit::Permit;
pub use state::{Reason, Rejected, State, Transition};

/// When a probe is under way, trying again makes sense after about this long.
const VERDICT: Duration = Duration::from_secs(1);

/// Where a transition is told.
type Listener = std::sync::Arc<dyn Fn(&Transition) + Send + Sync>;

/// Who probes a circuit whose time open has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Probing {
    /// The next caller.
    #[default]
    Callers,
    /// Only [`super::probe`], which runs beside: no caller is the one who finds out.
    Background,
}

/// A circuit. Clones share it.
///
/// All methods take the time: with a paused clock everything is repeatable.
pub struct Gate<P = Rules> {
    shared: Arc<Shared<P>>,
}

struct Shared<P> {
    core: Mutex<Core<P>>,
    changed: watch::Sender<u64>,
    listener: Option<Listener>,
    hooks: Hooks,
    probing: Probing,
}

struct Core<P> {
    state: State,
    /// Counts the changes of state. A permit of an earlier one says nothing about this one.
    generation: u64,
    policy: P,
    not_before: Option<Instant>,
    /// The rates that were told last: those of a healthy far end stay 0 and are not told again with each call.
    told: Rates,
}

/// The memory of a gate: state and counts, without the permits that are out.
#[derive(Debug, Clone)]
pub struct Snapshot<P = Rules> {
    state: State,
    policy: P,
    not_before: Option<Instant>,
}

impl<P> Clone for Gate<P> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<P> fmt::Debug for Gate<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("state", &self.lock().state).finish_non_exhaustive()
    }
}

impl<P> Gate<P> {
    fn lock(&self) -> MutexGuard<'_, Core<P>> {
        self.shared.core.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<P: Policy> Gate<P> {
    /// A closed circuit that opens by this policy.
    pub fn new(policy: P) -> Self {
        Self::assemble(Core::new(State::Closed, policy, None))
    }

    fn assemble(core: Core<P>) -> Self {
        Self {
            shared: Arc::new(Shared {
                core: Mutex::new(core),
                changed: watch::Sender::new(0),
                listener: None,
                hooks: Hooks::default(),
                probing: Probing::default(),
            }),
        }
    }

    fn with(self, change: impl FnOnce(&mut Shared<P>)) -> Self {
        let mut shared = self.shared;
        // Only a gate that nobody shares yet is changed; the methods below say so.
        if let Some(shared) = Arc::get_mut(&mut shared) {
            change(shared);
        }
        Self { shared }
    }

    /// The same gate, probed by these. Before it is shared.
    #[must_use]
    pub fn probed_by(self, probing: Probing) -> Self {
        self.with(|shared| shared.probing = probing)
    }

    /// The same gate, telling each change of state: after the fact, and outside its lock. Before it is shared.
    #[must_use]
    pub fn told(self, listener: impl Fn(&Transition) + Send + Sync + 'static) -> Self {
        self.with(|shared| shared.listener = Some(std::sync::Arc::new(listener)))
    }

    /// The same gate, measured. Before it is shared.
    #[must_use]
    pub fn observed(self, hooks: Hooks) -> Self {
        hooks.state(self.lock().state.name(), 1.0);
        tell_rates(&hooks, Some(Rates::default()));
        self.with(|shared| shared.hooks = hooks)
    }

    /// Asks to pass.
    ///
    /// # Errors
    ///
    /// [`Rejected`], at once, where nothing may pass; being rejected changes nothing.
    pub fn acquire(&self, now: Instant) -> Result<Permit<P>, Rejected> {
        let core = self.lock();
        let rejected = match &core.state {
            State::Disabled => return Ok(self.permit(&core, false, now)),
            State::Closed => match core.not_before {
                Some(at) if now < at => Rejected { reason: Reason::Throttled, retry_at: Some(at) },
                _ => return Ok(self.permit(&core, false, now)),
            },
            State::Open { reason, retry_at } => {
                if now >= *retry_at && self.shared.probing == Probing::Callers {
                    return Ok(self.half_open(core, now));
                }
                Rejected { reason: Reason::Open(reason.clone()), retry_at: Some((*retry_at).max(now)) }
            }
            State::HalfOpen { .. } => Rejected { reason: Reason::Probing, retry_at: Some(now + VERDICT) },
            State::ForcedOpen { reason } => {
                Rejected { reason: Reason::Forced(reason.clone()), retry_at: None }
            }
        };
        drop(core);
        self.shared.hooks.count(names::BREAKER_CALLS, &[("outcome", "rejected")]);
        Err(rejected)
    }

    /// Asks to be the probe: only where the circuit is open, its time has passed, and nobody else is.
    pub fn acquire_probe(&self, now: Instant) -> Option<Permit<P>> {
        let core = self.lock();
        match &core.state {
            State::Open { retry_at, .. } if now >= *retry_at => Some(self.half_open(core, now)),
            _ => None,
        }
    }

    fn permit(&self, core: &Core<P>, probe: bool, now: Instant) -> Permit<P> {
        Permit::new(self.clone(), core.generation, probe, now)
    }

    fn half_open(&self, mut core: MutexGuard<'_, Core<P>>, now: Instant) -> Permit<P> {
        core.policy.half_opened(now);
        let reason = std::sync::Arc::from("its time open has passed");
        let retry_at = core.state.retry_at().unwrap_or(now);
        let transition = core.enter(State::HalfOpen { retry_at }, "probing", reason);
        let permit = self.permit(&core, true, now);
        let rates = self.rates(&mut core, now);
        drop(core);
        tell_rates(&self.shared.hooks, rates);
        self.tell(&transition);
        permit
    }

    /// A permit comes back.
    fn settle(&self, generation: u64, outcome: Outcome, took: Duration, now: Instant) {
        let mut core = self.lock();
        let stale = generation != core.generation;
        let transition = if stale { None } else { core.settle(outcome, took, now) };
        let rates = self.rates(&mut core, now);
        let word = match outcome {
            Outcome::Success if core.policy.is_slow(took) => "slow",
            Outcome::Success => "success",
            Outcome::Neutral => "neutral",
            Outcome::Failure(_) | Outcome::Throttled(_) => "failure",
        };
        drop(core);
        self.shared.hooks.count(names::BREAKER_CALLS, &[("outcome", word)]);
        tell_rates(&self.shared.hooks, rates);
        if let Some(transition) = transition {
            self.tell(&transition);
        }
    }

    /// A permit was dropped: nothing was learnt, and a probe is free again.
    fn release(&self, generation: u64) {
        let mut core = self.lock();
        let transition = if generation == core.generation { core.give_back() } else { None };
        drop(core);
        if let Some(transition) = transition {
            self.tell(&transition);
        }
    }

    /// The rates, where somebody is told and they are others than before.
    fn rates(&self, core: &mut Core<P>, now: Instant) -> Option<Rates> {
        if !self.shared.hooks.is_told() {
            return None;
        }
        let rates = core.policy.rates(now)?;
        (std::mem::replace(&mut core.told, rates) != rates).then_some(rates)
    }

    fn tell(&self, transition: &Transition) {
        self.shared.hooks.transition(transition.from.name(), transition.to.name(), transition.cause);
        if let Some(listener) = &self.shared.listener {
            listener(transition);
        }
        self.shared.changed.send_modify(|count| *count += 1);
    }

    /// The state as it is. A pure read: a circuit whose time open has passed stays open until somebody probes it.
    pub fn state(&self) -> State {
        self.lock().state.clone()
    }

    /// When it makes sense to try again; `None`: now, or never without a human's word. A pure read.
    pub fn retry_at(&self, now: Instant) -> Option<Instant> {
        let core = self.lock();
        match &core.state {
            State::Closed => core.not_before.filter(|at| *at > now),
            State::Open { retry_at, .. } => Some(*retry_at),
            State::HalfOpen { .. } => Some(now + VERDICT),
            State::ForcedOpen { .. } | State::Disabled => None,
        }
    }

    /// Whether it answers, but badly, by the policy. A pure read.
    pub fn is_degraded(&self, now: Instant) -> bool {
        self.lock().policy.is_degraded(now)
    }

    pub(super) fn hooks(&self) -> &Hooks {
        &self.shared.hooks
    }

    /// Counts the changes of state.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Lets nothing through until [`Gate::reset`].
    pub fn force_open(&self, reason: impl Into<std::sync::Arc<str>>) {
        let reason = reason.into();
        self.put(State::ForcedOpen { reason: reason.clone() }, "forced", reason);
    }

    /// Lets everything through and counts nothing until [`Gate::reset`].
    pub fn disable(&self) {
        self.put(State::Disabled, "disabled", "it was disabled".into());
    }

    /// Closes a circuit that an operator had opened or disabled. It does nothing in any other state: out of `Open`, only
    /// a probe leads to `Closed`.
    pub fn reset(&self, now: Instant) {
        let mut core = self.lock();
        let transition = match core.state {
            State::ForcedOpen { .. } | State::Disabled => {
                core.policy.closed(now);
                core.not_before = None;
                Some(core.enter(State::Closed, "reset", "an operator's word".into()))
            }
            _ => None,
        };
        drop(core);
        if let Some(transition) = transition {
            self.tell(&transition);
        }
    }

    fn put(&self, state: State, cause: &'static str, reason: std::sync::Arc<str>) {
        let transition = self.lock().enter(state, cause, reason);
        self.tell(&transition);
    }
}

impl<P: Policy + Clone> Gate<P> {
    /// What the gate remembers. A pure read.
    pub fn snapshot(&self) -> Snapshot<P> {
        let core = self.lock();
        Snapshot { state: core.state.clone(), policy: core.policy.clone(), not_before: core.not_before }
    }

    /// A gate with this memory, and nothing let through yet: a probe that was under way may be made again.
    pub fn restore(snapshot: Snapshot<P>) -> Self {
        let state = match snapshot.state {
            State::HalfOpen { retry_at } => State::Open { reason: "it was being probed".into(), retry_at },
            state => state,
        };
        let Snapshot { policy, not_before, .. } = snapshot;
        Self::assemble(Core::new(state, policy, not_before))
    }
}

fn tell_rates(hooks: &Hooks, rates: Option<Rates>) {
    if let Some(Rates { failure, slow }) = rates {
        hooks.gauge(names::BREAKER_FAILURE_RATE, failure);
        hooks.gauge(names::BREAKER_SLOW_RATE, slow);
    }
}

impl<P: Policy> Core<P> {
    fn new(state: State, policy: P, not_before: Option<Instant>) -> Self {
        Self { state, generation: 0, policy, not_before, told: Rates::default() }
    }

    fn enter(&mut self, state: State, cause: &'static str, reason: std::sync::Arc<str>) -> Transition {
        self.generation += 1;
        let from = std::mem::replace(&mut self.state, state);
        Transition { from, to: self.state.clone(), cause, reason }
    }

    fn settle(&mut self, outcome: Outcome, took: Duration, now: Instant) -> Option<Transition> {
        let wait = match outcome {
            Outcome::Throttled(wait) => wait,
            _ => Duration::ZERO,
        };
        match &self.state {
            State::Closed => {
                if !wait.is_zero() {
                    let until = now.checked_add(wait);
                    self.not_before = self.not_before.max(until);
                }
                match self.policy.record(outcome, took, now) {
                    Verdict::Keep => None,
                    Verdict::Trip { cause, reason, at_least } => {
                        Some(self.open(Opening::Trip, (cause, reason), at_least.max(wait), now))
                    }
                }
            }
            State::HalfOpen { .. } => match outcome {
                Outcome::Success => {
                    self.policy.closed(now);
                    self.not_before = None;
                    Some(self.enter(State::Closed, "probe_answered", "the probe was answered".into()))
                }
                Outcome::Neutral => self.give_back(),
                Outcome::Failure(_) | Outcome::Throttled(_) => {
                    let at_least = match outcome {
                        Outcome::Failure(super::Failure::Lasting(at_least)) => at_least,
                        _ => wait,
                    };
                    let why = ("probe_failed", "the probe failed".into());
                    Some(self.open(Opening::FailedProbe(outcome), why, at_least, now))
                }
            },
            State::Open { .. } | State::ForcedOpen { .. } | State::Disabled => None,
        }
    }

    fn open(
        &mut self,
        opening: Opening,
        (cause, reason): (&'static str, std::sync::Arc<str>),
        at_least: Duration,
        now: Instant,
    ) -> Transition {
        let wait = self.policy.open_for(opening, now).max(at_least);
        // A wait beyond what the clock can say is a day: somebody should look by then.
        let day = Duration::from_secs(24 * 60 * 60);
        let retry_at = now.checked_add(wait).unwrap_or(now + day);
        self.enter(State::Open { reason: reason.clone(), retry_at }, cause, reason)
    }

    /// Out of half-open without an answer: open as before, its time still over.
    fn give_back(&mut self) -> Option<Transition> {
        let State::HalfOpen { retry_at } = self.state else { return None };
        let reason: std::sync::Arc<str> = "the probe was given back".into();
        Some(self.enter(State::Open { reason: reason.clone(), retry_at }, "probe_given_back", reason))
    }
}
