//! What a judgement says.

use mcp_core::Refusal;

/// Something that may go on and is worth telling: recorded, shown, and never silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The rule, by its stable name.
    pub rule: &'static str,
    /// What was found.
    pub reason: String,
    /// What can be done about it.
    pub hint: String,
}

impl Finding {
    pub(crate) fn new(rule: &'static str, reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { rule, reason: reason.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<Finding> for Refusal {
    fn from(finding: Finding) -> Self {
        Self { rule: finding.rule, reason: finding.reason, hint: finding.hint }
    }
}

/// The outcome of judging a value of type `T`.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<T = ()> {
    /// It is used as it is.
    Allow,
    /// It is used in this changed form.
    Sanitize(T),
    /// It is used as it is, and what was found is told.
    Flag(Vec<Finding>),
    /// It is not used.
    Block(Refusal),
}

impl<T> Verdict<T> {
    /// The verdict's name: `allow`, `sanitize`, `flag` or `block`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Sanitize(_) => "sanitize",
            Self::Flag(_) => "flag",
            Self::Block(_) => "block",
        }
    }

    /// The rule that decided; `None` for what is allowed or made safe.
    pub fn rule(&self) -> Option<&'static str> {
        match self {
            Self::Allow | Self::Sanitize(_) => None,
            Self::Flag(findings) => findings.first().map(|finding| finding.rule),
            Self::Block(refusal) => Some(refusal.rule),
        }
    }
}

impl<T> From<Result<Vec<Finding>, Refusal>> for Verdict<T> {
    fn from(judged: Result<Vec<Finding>, Refusal>) -> Self {
        match judged {
            Ok(findings) if findings.is_empty() => Self::Allow,
            Ok(findings) => Self::Flag(findings),
            Err(refusal) => Self::Block(refusal),
        }
    }
}
