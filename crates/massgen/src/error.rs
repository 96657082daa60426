//! Why a team could not be put together.

use std::fmt;

/// Everything that stands in the way, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct AssembleError {
    /// The problems; at least one.
    pub problems: Vec<Problem>,
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, and where.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }
}

impl fmt::Display for AssembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            f.write_str(&problem.message)?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl From<Problem> for AssembleError {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }
}
