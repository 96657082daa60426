//! Which calls may happen, which a person is asked about, which are refused: by agent, tool, argument and what the tool
//! says about itself.

mod labels;
mod predicate;
mod rules;

pub use labels::{Label, Labels};
pub use rules::{Decision, Defaults, Nature, PermissionError, Permissions, Rule, Verdict};
