//! Validated names. A value of one of these types has passed its check once and is trusted from then on.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty. Give it at least one character.
    #[error("{what} is empty")]
    Empty {
        /// Which kind of name.
        what: &'static str,
    },
    /// The name is longer than its kind allows. Shorten it.
    #[error("{what} {name:?} is {length} characters long; at most {limit} are allowed")]
    TooLong {
        /// Which kind of name.
        what: &'static str,
        /// The name, cut to 64 characters.
        name: String,
        /// Its length in characters.
        length: usize,
        /// The limit in characters.
        limit: usize,
    },
    /// The name holds a character that its kind does not allow. Remove or replace it.
    #[error("{what} {name:?} contains {found:?}; allowed are {allowed}")]
    Character {
        /// Which kind of name.
        what: &'static str,
        /// The name, cut to 64 characters.
        name: String,
        /// The first character that is not allowed.
        found: char,
        /// What is allowed, in words.
        allowed: &'static str,
    },
}

struct Rule {
    what: &'static str,
    limit: usize,
    allowed: &'static str,
    permits: fn(char) -> bool,
}

impl Rule {
    fn check(&self, name: &str) -> Result<(), NameError> {
        let shown = || name.chars().take(64).collect::<String>();
        if name.is_empty() {
            return Err(NameError::Empty { what: self.what });
        }
        let length = name.chars().count();
        if length > self.limit {
            return Err(NameError::TooLong { what: self.what, name: shown(), length, limit: self.limit });
        }
        match name.chars().find(|&c| !(self.permits)(c)) {
            Some(found) => {
                Err(NameError::Character { what: self.what, name: shown(), found, allowed: self.allowed })
            }
            None => Ok(()),
        }
    }
}

fn is_wire_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and keeps a name.
            ///
            /// # Errors
            ///
            /// [`NameError`] where the name breaks the rule of its kind.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                $rule.check(name.as_ref())?;
                Ok(Self(name.as_ref().into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    /// The name a configuration gives to a server: 1 to 100 of `[A-Za-z0-9_-]`.
    ServerName,
    Rule {
        what: "server name",
        limit: 100,
        allowed: "letters, digits, \"_\" and \"-\"",
        permits: is_wire_character
    }
);

name!(
    /// A tool's name as its server says it: 1 to 128 characters without control characters.
    ///
    /// Servers use dots, slashes and more; what a model sees is the [`ExposedName`].
    ToolName,
    Rule {
        what: "tool name",
        limit: 128,
        allowed: "all characters but control characters",
        permits: |c| !c.is_control()
    }
);

name!(
    /// A tool's name as every model sees it: 1 to 64 of `[A-Za-z0-9_-]`, the strictest provider's rule.
    ExposedName,
    Rule {
        what: "exposed tool name",
        limit: 64,
        allowed: "letters, digits, \"_\" and \"-\"",
        permits: is_wire_character
    }
);

name!(
    /// The name of an agent of a team: free text of 1 to 128 characters without control characters.
    AgentId,
    Rule {
        what: "agent id",
        limit: 128,
        allowed: "all characters but control characters",
        permits: |c| !c.is_control()
    }
);

impl ExposedName {
    /// The longest name that every provider takes, in characters.
    pub const LIMIT: usize = 64;

    /// `mcp__<server>__<tool>`, made legal: other characters become `_`. Where that changed anything, the name is
    /// too long, or one of its parts could begin or end elsewhere (`a__b` + `c` spells like `a` + `b__c`; a tool's name
    /// that begins with `_` or `-` is easily taken for another), it ends in a hash of the true names, so that two tools
    /// never meet in one name.
    ///
    /// The result depends on the two names only, so it is the same in every run.
    pub fn for_tool(server: &ServerName, tool: &ToolName) -> Self {
        let plain = format!("mcp__{server}__{tool}");
        let ambiguous = server.as_str().contains("__")
            || server.as_str().ends_with('_')
            || tool.as_str().contains("__")
            || tool.as_str().starts_with(['_', '-']);
        if !ambiguous && plain.len() <= Self::LIMIT && plain.chars().all(is_wire_character) {
            return Self(plain.into());
        }
        let hash = fnv1a(server.as_str().bytes().chain([0]).chain(tool.as_str().bytes()));
        let folded = (hash ^ (hash >> 32)) & 0xffff_ffff;
        let suffix = format!("_{folded:08x}");
        let mut name: String = plain
            .chars()
            .map(|c| if is_wire_character(c) { c } else { '_' })
            .take(Self::LIMIT - suffix.len())
            .collect();
        name.push_str(&suffix);
        Self(name.into())
    }
}

/// FNV-1a, 64 bits: stable across versions and platforms, unlike the standard library's hasher.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exposed(server: &str, tool: &str) -> String {
        ExposedName::for_tool(&ServerName::new(server).unwrap(), &ToolName::new(tool).unwrap()).into()
    }

    #[test]
    fn legal_names_are_kept_as_they_are() {
        assert_eq!(exposed("time", "now"), "mcp__time__now");
        assert_eq!(exposed("srv", "x-"), "mcp__srv__x-");
        // What is easily taken for another name is marked.
        for tool in ["-x-", "_foo", "b__c", "mcp__other__foo"] {
            let name = exposed("srv", tool);
            assert!(name.len() > format!("mcp__srv__{tool}").len(), "{name}");
        }
    }

    #[test]
    fn illegal_and_long_names_stay_legal_and_distinct() {
        let names = [
            exposed("s", "a.b"),
            exposed("s", "a/b"),
            exposed("s", "a b"),
            exposed("s", "ä_b"),
            exposed("s", &"x".repeat(100)),
            exposed("s", &"x".repeat(101)),
            exposed(&"s".repeat(100), "t"),
        ];
        for (i, name) in names.iter().enumerate() {
            assert!(ExposedName::new(name).is_ok(), "{name}");
            assert!(names.iter().skip(i + 1).all(|other| other != name), "{name} twice");
        }
    }

    #[test]
    fn errors_name_the_character_and_the_rule() {
        let error = ServerName::new("a.b").unwrap_err().to_string();
        assert_eq!(error, r#"server name "a.b" contains '.'; allowed are letters, digits, "_" and "-""#);
        assert!(ServerName::new("").is_err());
        assert!(ServerName::new("trailing\n").is_err());
        assert!(AgentId::new("gemini2.5flash").is_ok());
    }
}
