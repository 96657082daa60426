//! Tools that a server offered once: a call of one that is gone gets a better answer than "unknown".

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use mcp_core::ToolName;

/// The most tools that are remembered: a server may name others with each list.
const REMEMBERED: usize = 10_000;

/// What a server offered, now and before.
#[derive(Default)]
pub(crate) struct Past(Mutex<Offered>);

#[derive(Default)]
struct Offered {
    now: BTreeSet<ToolName>,
    gone: BTreeSet<ToolName>,
}

impl Past {
    /// It offers these now. Returns those that it offered the last time and does not any more.
    pub(crate) fn listed(&self, now: BTreeSet<ToolName>) -> Vec<ToolName> {
        let mut offered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone: Vec<ToolName> = offered.now.difference(&now).cloned().collect();
        let room = REMEMBERED.saturating_sub(offered.gone.len());
        offered.gone.extend(gone.iter().take(room).cloned());
        for tool in &now {
            offered.gone.remove(tool);
        }
        offered.now = now;
        gone
    }

    /// Whether it offered this tool once and does not now.
    pub(crate) fn has_lost(&self, tool: &ToolName) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).gone.contains(tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_gone_until_it_is_listed_again_and_so_many_are_remembered() {
        let name = |name: &str| ToolName::new(name).unwrap();
        let list = |names: &[&str]| names.iter().map(|tool| name(tool)).collect::<BTreeSet<_>>();
        let past = Past::default();
        assert!(past.listed(list(&["a", "b"])).is_empty());
        assert_eq!(past.listed(list(&["b"])), [name("a")]);
        assert!(past.has_lost(&name("a")) && !past.has_lost(&name("b")) && !past.has_lost(&name("c")));
        assert!(past.listed(list(&["b"])).is_empty(), "it is told once");
        assert!(past.listed(list(&["a", "b"])).is_empty());
        assert!(!past.has_lost(&name("a")));
        past.listed((0..REMEMBERED + 10).map(|number| name(&format!("t{number}"))).collect());
        past.listed(list(&[]));
        assert_eq!(past.0.lock().unwrap().gone.len(), REMEMBERED);
    }
}
