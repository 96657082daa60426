//! What the policy says about a server and about what it says, for whoever keeps or shows it.

use mcp_core::{Refusal, ToolName};
use mcp_security::Finding;

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// Where it was found.
    pub subject: Subject,
    /// Whether that is kept away for it: the tool is not offered, the server not reached. Otherwise it is told and stays.
    pub withheld: bool,
    /// What was found, by which rule.
    pub finding: Finding,
}

/// What was judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Subject {
    /// How the server is started or reached.
    Server,
    /// What the server says about itself.
    Instructions,
    /// A tool: its name, its texts, its schemas.
    Tool(ToolName),
    /// The arguments of a call of this tool.
    Call(ToolName),
    /// An answer of this tool.
    Answer(ToolName),
}

impl Judgement {
    /// Something that is told and stays.
    pub fn told(subject: Subject, finding: Finding) -> Self {
        Self { subject, withheld: false, finding }
    }

    pub(crate) fn withheld(subject: Subject, refusal: Refusal) -> Self {
        let finding = Finding { rule: refusal.rule, reason: refusal.reason, hint: refusal.hint };
        Self { subject, withheld: true, finding }
    }
}
