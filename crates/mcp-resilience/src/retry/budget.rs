use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::Cost;

/// The numbers of a budget, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetOptions {
    /// What it holds at most, and at the beginning.
    pub capacity: f32,
    /// What a retry costs.
    pub usual: f32,
    /// What a retry after a timeout costs.
    pub timeout: f32,
    /// What each success gives back.
    pub success: f32,
}

impl Default for BudgetOptions {
    /// 10 tokens; a retry costs 1, after a timeout 2; a success gives back 0.2: at worst a fifth more requests.
    fn default() -> Self {
        Self { capacity: 10.0, usual: 1.0, timeout: 2.0, success: 0.2 }
    }
}

/// How many retries a far end may cost. Clones share it; everybody who calls the same far end should.
#[derive(Debug, Clone)]
pub struct Budget {
    /// In thousandths.
    tokens: Arc<AtomicU32>,
    options: BudgetOptions,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(BudgetOptions::default())
    }
}

fn thousandths(tokens: f32) -> u32 {
    // `as` saturates, and makes nothing of what is not a number.
    (tokens * 1000.0).round() as u32
}

impl Budget {
    /// A full budget.
    pub fn new(options: BudgetOptions) -> Self {
        Self { tokens: Arc::new(AtomicU32::new(thousandths(options.capacity))), options }
    }

    /// What is left, in tokens.
    pub fn tokens(&self) -> f32 {
        self.tokens.load(Ordering::Relaxed) as f32 / 1000.0
    }

    /// Pays for a retry; false: there is not enough left.
    pub fn pay(&self, cost: Cost) -> bool {
        let cost = thousandths(match cost {
            Cost::Usual => self.options.usual,
            Cost::Timeout => self.options.timeout,
        });
        let take = |tokens: u32| tokens.checked_sub(cost);
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// A success gives something back; false: it was full.
    pub fn earn(&self) -> bool {
        let (gain, most) = (thousandths(self.options.success), thousandths(self.options.capacity));
        let give = |tokens: u32| (tokens < most).then(|| tokens.saturating_add(gain).min(most));
        self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_retries_or_five_after_timeouts_and_five_successes_buy_one_more() {
        for (cost, times) in [(Cost::Usual, 10), (Cost::Timeout, 5)] {
            let budget = Budget::default();
            for _ in 0..times {
                assert!(budget.pay(cost));
            }
            assert!(!budget.pay(cost));
        }
        let budget = Budget::default();
        while budget.pay(Cost::Usual) {}
        for _ in 0..4 {
            budget.earn();
            assert!(!budget.pay(Cost::Usual));
        }
        budget.earn();
        assert!(budget.pay(Cost::Usual));
        for _ in 0..100 {
            budget.earn();
        }
        assert_eq!(budget.tokens(), 10.0);
    }
}
