//! Which requests may be sent again: the caller says so.

use std::time::Duration;

/// What another attempt takes from the budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// One token.
    Usual,
    /// Two tokens: an attempt that ran into its time limit has cost the far end more.
    Timeout,
}

/// What a policy makes of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// The far end answered; it counts towards the budget.
    Done,
    /// It failed and another attempt is not safe or not worth it.
    GiveUp,
    /// Another attempt is safe.
    Again {
        /// What it costs.
        cost: Cost,
        /// How long the far end asks to wait. Counts where it is longer than the delay that is due.
        asked: Option<Duration>,
    },
}

impl Decision {
    /// Another attempt, without any wish of the far end.
    pub const AGAIN: Self = Self::Again { cost: Cost::Usual, asked: None };
}

/// Says which requests may be sent again.
pub trait Policy<R, T, E> {
    /// A copy for another attempt; `None`: the request is made once.
    fn copy(&self, request: &R) -> Option<R>;

    /// Whether another attempt is safe. `request` is the copy.
    fn decide(&self, request: &R, result: &Result<T, E>) -> Decision;

    /// What kind of result that is, in one word of a short list, for whoever counts retries.
    fn class(&self, result: &Result<T, E>) -> &'static str {
        if result.is_ok() { "ok" } else { "error" }
    }

    /// How long an attempt usually takes: one that would not end before the deadline is not begun.
    fn expected(&self, _request: &R) -> Duration {
        Duration::ZERO
    }
}

/// A request that knows which attempt it is.
pub trait HasAttempt {
    /// Which attempt, from 1 on; 0: no retry layer has seen it.
    fn attempt(&self) -> u32;

    /// Says which attempt it is.
    fn set_attempt(&mut self, attempt: u32);
}

macro_rules! without_attempt {
    ($($kind:ty),*) => {$(
        /// Does not know: a retry inside another one is not noticed.
        impl HasAttempt for $kind {
            fn attempt(&self) -> u32 { 0 }
            fn set_attempt(&mut self, _: u32) {}
        }
    )*};
}
without_attempt!((), String, &str);
