//! A credential that cannot be had.

use std::fmt;

/// Why a credential that a configuration names cannot be had: its store is locked, absent, or does not answer. It holds
/// the credential's name and never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingCredential {
    /// The credential's name.
    pub name: String,
    /// Where it is kept, in words.
    pub store: String,
    /// Why it cannot be had.
    pub reason: String,
}

impl fmt::Display for MissingCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the credential {:?} cannot be had from {}: {}", self.name, self.store, self.reason)
    }
}
