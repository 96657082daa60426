//! What a run has used so far, live, and whether that is too much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use massgen_backends::Usage;
use tokio::sync::Notify;

use crate::state::Limit;
use crate::team::Limits;

/// Counts tokens, money and tool calls of a run, against its limits. Cheap to clone; clones share it.
///
/// A run has one of its own ([`crate::run`]), unless it is given one ([`crate::run_when`]): then others can spend from it
/// too, such as a server that has an agent's model asked.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    max_tokens: Option<u64>,
    max_cost_usd: Option<f64>,
    spent: Mutex<Spent>,
    exceeded: Notify,
}

#[derive(Debug, Default)]
struct Spent {
    agents: Vec<AgentSpent>,
    /// Turns that still run: a number, whose it is, what it used so far.
    open: Vec<(u64, usize, Usage)>,
    next: u64,
}

/// What one agent has used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AgentSpent {
    pub(crate) usage: Usage,
    pub(crate) tool_calls: u32,
}

impl Spent {
    fn total(&self) -> Usage {
        let mut total = Usage::default();
        self.agents.iter().for_each(|agent| total.add(&agent.usage));
        self.open.iter().for_each(|(_, _, usage)| total.add(usage));
        total
    }
}

impl Budget {
    /// A whole budget for so many agents. Of the limits, it keeps those of tokens and money.
    pub fn new(agents: usize, limits: &Limits) -> Self {
        let spent = Spent { agents: vec![AgentSpent::default(); agents], ..Spent::default() };
        Self(Arc::new(Inner {
            max_tokens: limits.max_tokens,
            max_cost_usd: limits.max_cost_usd,
            spent: Mutex::new(spent),
            exceeded: Notify::new(),
        }))
    }

    /// A meter for one conversation of an agent, by its place in the team.
    pub fn meter(&self, agent: usize) -> Meter {
        Meter { budget: self.clone(), agent, open: None }
    }

    /// Whether nothing is left.
    pub fn is_spent(&self) -> bool {
        self.tokens_left() == Some(0) || self.exceeded().is_some()
    }

    /// How many tokens are left; `None`: they are not limited.
    pub fn tokens_left(&self) -> Option<u64> {
        self.0.max_tokens.map(|limit| limit.saturating_sub(self.lock().total().total_tokens()))
    }

    /// Waits until a limit is exceeded.
    pub async fn spent_up(&self) {
        self.until_exceeded().await;
    }

    /// The limit that is exceeded, if any.
    pub(crate) fn exceeded(&self) -> Option<Limit> {
        self.check(&self.lock())
    }

    /// Waits until a limit is exceeded.
    pub(crate) async fn until_exceeded(&self) -> Limit {
        loop {
            let notified = self.0.exceeded.notified();
            if let Some(limit) = self.exceeded() {
                return limit;
            }
            notified.await;
        }
    }

    /// What each agent has used.
    pub(crate) fn spent(&self) -> Vec<AgentSpent> {
        let spent = self.lock();
        let mut agents = spent.agents.clone();
        for (_, agent, usage) in &spent.open {
            if let Some(agent) = agents.get_mut(*agent) {
                agent.usage.add(usage);
            }
        }
        agents
    }

    fn check(&self, spent: &Spent) -> Option<Limit> {
        if self.0.max_tokens.is_none() && self.0.max_cost_usd.is_none() {
            return None;
        }
        let total = spent.total();
        if self.0.max_tokens.is_some_and(|limit| total.total_tokens() > limit) {
            return Some(Limit::Tokens);
        }
        let cost = total.cost_usd.unwrap_or(0.0);
        self.0.max_cost_usd.is_some_and(|limit| cost > limit).then_some(Limit::Cost)
    }

    fn lock(&self) -> MutexGuard<'_, Spent> {
        self.0.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one conversation. What a turn used before it was stopped counts, too.
#[derive(Debug)]
pub struct Meter {
    budget: Budget,
    agent: usize,
    open: Option<u64>,
}

impl Meter {
    /// What the running turn has used so far.
    pub fn turn_so_far(&mut self, usage: Usage) {
        let mut spent = self.budget.lock();
        let number = *self.open.get_or_insert_with(|| {
            spent.next += 1;
            spent.next
        });
        match spent.open.iter_mut().find(|(open, ..)| *open == number) {
            Some((_, _, so_far)) => *so_far = usage,
            None => spent.open.push((number, self.agent, usage)),
        }
        if self.budget.check(&spent).is_some() {
            self.budget.0.exceeded.notify_waiters();
        }
    }

    /// The running turn is over.
    pub fn turn_over(&mut self) {
        let Some(number) = self.open.take() else { return };
        let mut spent = self.budget.lock();
        let Some(at) = spent.open.iter().position(|(open, ..)| *open == number) else { return };
        let (_, agent, usage) = spent.open.swap_remove(at);
        if let Some(agent) = spent.agents.get_mut(agent) {
            agent.usage.add(&usage);
        }
    }

    /// A tool call was made.
    pub(crate) fn tool_call(&self) {
        if let Some(agent) = self.budget.lock().agents.get_mut(self.agent) {
            agent.tool_calls += 1;
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.turn_over();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(tokens: u64, cost: Option<f64>) -> Usage {
        Usage { input_tokens: tokens, cost_usd: cost, ..Usage::default() }
    }

    #[test]
    fn later_figures_of_a_turn_replace_earlier_ones_and_a_stopped_turn_counts() {
        let budget = Budget::new(2, &Limits { max_tokens: Some(100), ..Limits::default() });
        let mut meter = budget.meter(1);
        meter.turn_so_far(usage(40, None));
        meter.turn_so_far(usage(60, None));
        assert_eq!(budget.spent()[1].usage.input_tokens, 60);
        meter.turn_over();
        meter.turn_so_far(usage(40, None));
        assert_eq!(budget.exceeded(), None);
        drop(meter);
        let mut other = budget.meter(0);
        other.turn_so_far(usage(1, None));
        assert_eq!(budget.exceeded(), Some(Limit::Tokens));
        assert_eq!((budget.tokens_left(), budget.is_spent()), (Some(0), true));
        assert_eq!(budget.spent()[1].usage.input_tokens, 100);
    }

    #[tokio::test]
    async fn the_limit_is_told_when_it_is_reached() {
        let budget = Budget::new(1, &Limits { max_cost_usd: Some(0.5), ..Limits::default() });
        let mut meter = budget.meter(0);
        let (limit, ()) = tokio::join!(budget.until_exceeded(), async {
            meter.turn_so_far(usage(1_000_000, None));
            meter.turn_so_far(usage(1_000_000, Some(0.6)));
        });
        assert_eq!(limit, Limit::Cost);
    }
}
