//! Text that must never be shown.

use std::fmt;

use mcp_core::MissingCredential;

/// Where `${keyring:NAME}` is looked up. The lookup blocks, so it must be bounded: load a configuration before the
/// runtime is busy.
pub trait SecretSource: Send + Sync {
    /// The secret of this name.
    ///
    /// # Errors
    ///
    /// [`SecretError::Unknown`] where there is none of that name, [`SecretError::Unavailable`] where nobody can tell.
    fn secret(&self, name: &str) -> Result<Secret, SecretError>;
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretError {
    /// No secret has this name.
    Unknown {
        /// Where it was looked for, in words.
        store: String,
    },
    /// The place where it is kept cannot be used now.
    Unavailable(MissingCredential),
}

/// A key, token or other value that `Debug`, `Display` and serialization never show.
///
/// ```
/// let key = massgen_config::Secret::new("sk-123");
/// assert_eq!(format!("{key:?}"), "Secret(***)");
/// assert_eq!(key.expose(), "sk-123");
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(String);

impl Secret {
    /// Keeps a value out of sight.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Call it where the value is used, and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}
