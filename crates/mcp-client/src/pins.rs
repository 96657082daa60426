//! Tools as they were accepted, against tools as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use mcp_core::{Refusal, ToolName, ToolSpec};
use mcp_security::lock::{Change, ServerPins, Standing};

/// What was accepted of one server, and what becomes of tools that were not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pins {
    /// What was accepted.
    pub accepted: ServerPins,
    /// What becomes of tools that are new.
    pub new_tools: NewTools,
}

/// What becomes of a tool that nobody has accepted yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewTools {
    /// It is offered, and the user is told.
    #[default]
    Offer,
    /// It is held back until it is accepted.
    Hold,
}

/// What a server says now that it did not say when it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drift {
    /// A tool is another one now. It is held back.
    Changed {
        /// The tool.
        tool: ToolName,
        /// What differs.
        change: Change,
    },
    /// A tool was not there.
    New {
        /// The tool.
        tool: ToolName,
        /// Whether it is held back.
        held: bool,
    },
    /// The server's instructions are others now.
    Instructions {
        /// What differs.
        change: Change,
    },
}

impl Pins {
    /// The tools that may be offered, and everything that is not as it was. Tools that `is_wanted` leaves out are
    /// nobody's concern and stay.
    pub(crate) fn sort(
        &self,
        instructions: Option<&str>,
        tools: Vec<Arc<ToolSpec>>,
        is_wanted: impl Fn(&ToolSpec) -> bool,
    ) -> (Vec<Arc<ToolSpec>>, Vec<Drift>) {
        let mut drifts = Vec::new();
        // A server that was never accepted has not changed its instructions.
        if self.accepted.knows_it()
            && let Some(change) = self.accepted.judge_instructions(instructions)
        {
            drifts.push(Drift::Instructions { change });
        }
        let mut kept = Vec::with_capacity(tools.len());
        for spec in tools {
            let standing = if is_wanted(&spec) { self.accepted.judge(&spec) } else { Standing::Known };
            let tool = spec.name.clone();
            match standing {
                Standing::Changed(change) => drifts.push(Drift::Changed { tool, change }),
                Standing::New => {
                    let held = self.new_tools == NewTools::Hold;
                    drifts.push(Drift::New { tool, held });
                    if !held {
                        kept.push(spec);
                    }
                }
                _ => kept.push(spec),
            }
        }
        (kept, drifts)
    }
}

/// The tools that are held back, each with what a caller is told.
pub(crate) fn held(drifts: &[Drift]) -> BTreeMap<ToolName, Refusal> {
    let hint = "do without it; a person may accept it with: massgen mcp lock --accept";
    let refusal = |rule, reason| Refusal { rule, reason, hint: hint.to_owned() };
    let held = drifts.iter().filter_map(|drift| match drift {
        Drift::Changed { tool, change } => {
            let reason = format!("its tool {tool} is not what was accepted and is held back:\n{change}");
            Some((tool.clone(), refusal("tool-changed", reason)))
        }
        Drift::New { tool, held: true } => {
            let reason = format!("nobody has accepted its tool {tool} yet");
            Some((tool.clone(), refusal("tool-new", reason)))
        }
        _ => None,
    });
    held.collect()
}

/// What differs between two listings of a server that nobody has accepted anything of, as notices for people.
pub(crate) fn redefined(before: &[Arc<ToolSpec>], now: &[Arc<ToolSpec>]) -> Vec<String> {
    let known: BTreeMap<_, _> = before.iter().map(|tool| (&tool.name, tool)).collect();
    let notice = |tool: &Arc<ToolSpec>| {
        let before = known.get(&tool.name).filter(|before| **before != tool)?;
        match ServerPins::of(None, [&***before]).judge(tool) {
            Standing::Changed(change) => Some(format!(
                "its tool {:?} is not what it was before:\n    {}",
                tool.name,
                change.to_string().replace('\n', "\n    ")
            )),
            _ => None,
        }
    };
    now.iter().filter_map(notice).collect()
}

/// Everything that drifted, as notices for people.
pub(crate) fn notices(drifts: &[Drift]) -> Vec<String> {
    let accept = "look at it, then accept it with: massgen mcp lock --accept";
    let indented = |change: &Change| change.to_string().replace('\n', "\n    ");
    let mut notices = Vec::new();
    let (mut held, mut offered) = (Vec::new(), Vec::new());
    for drift in drifts {
        match drift {
            Drift::Changed { tool, change } => notices.push(format!(
                "its tool {tool:?} is not what massgen.lock says and is held back:\n    {}\n  {accept}",
                indented(change)
            )),
            Drift::Instructions { change } => notices.push(format!(
                "its instructions are not what massgen.lock says:\n    {}\n  {accept}",
                indented(change)
            )),
            Drift::New { tool, held: true } => held.push(format!("{tool:?}")),
            Drift::New { tool, .. } => offered.push(format!("{tool:?}")),
        }
    }
    if !held.is_empty() {
        notices.push(format!(
            "new tools wait, as massgen.lock does not have them: {}\n  {accept}",
            held.join(", ")
        ));
    }
    if !offered.is_empty() {
        notices.push(format!("massgen.lock does not have its tools {}\n  {accept}", offered.join(", ")));
    }
    notices
}
