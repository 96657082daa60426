//! The file `massgen.lock`.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ServerPins;

/// The version of the format.
const VERSION: u32 = 1;

/// Everything that somebody has accepted: servers' tools, and calls that need no more asking. The text is JSON with
/// sorted keys, made to be read in a review.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lock {
    /// Servers by name; an agent's own as `agent/server`.
    pub servers: BTreeMap<String, ServerPins>,
    /// Tools that may be called without asking, where a rule would ask.
    pub grants: BTreeSet<Grant>,
}

/// A tool that may be called without asking, as long as it is what it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The server's name.
    pub server: String,
    /// The tool's name on that server.
    pub tool: String,
    /// The tool's [`fingerprint`](super::fingerprint) when it was allowed.
    pub sha256: String,
}

/// Why a text is no lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// It is not JSON of this shape. Write it anew with `massgen mcp lock`.
    #[error("it is not a lock file: {0}")]
    Syntax(#[from] serde_json::Error),
    /// It was written by another version.
    #[error("its format is version {0}; this program reads version {VERSION}")]
    Version(u32),
    /// A hash is not that of what stands beside it: the file was edited, or merged by halves.
    #[error("the definition of {tool} of server {server} does not have the hash that stands beside it")]
    Altered {
        /// The server.
        server: String,
        /// The tool.
        tool: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    servers: BTreeMap<String, ServerPins>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    grants: BTreeSet<Grant>,
}

impl Lock {
    /// Reads a lock.
    ///
    /// # Errors
    ///
    /// [`LockError`] where the text is none, or was altered.
    pub fn parse(text: &str) -> Result<Self, LockError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let head: Head = serde_json::from_str(text)?;
        if head.version != VERSION {
            return Err(LockError::Version(head.version));
        }
        let file: File = serde_json::from_str(text)?;
        for (server, pins) in &file.servers {
            if let Some((tool, _)) = pins.tools.iter().find(|(_, pin)| !pin.is_sound()) {
                return Err(LockError::Altered { server: server.clone(), tool: tool.clone() });
            }
        }
        Ok(Self { servers: file.servers, grants: file.grants })
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let file = File { version: VERSION, servers: self.servers.clone(), grants: self.grants.clone() };
        // A tree of texts and numbers always has a spelling.
        let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::{ServerName, ToolName, ToolSpec};

    use super::*;

    fn lock() -> Lock {
        let tool =
            ToolSpec::new(ServerName::new("s").unwrap(), ToolName::new("t").unwrap()).with_description("d");
        let grant = Grant { server: "s".into(), tool: "t".into(), sha256: super::super::fingerprint(&tool) };
        Lock {
            servers: BTreeMap::from([("s".into(), ServerPins::of(Some("hello"), [&tool]))]),
            grants: BTreeSet::from([grant]),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let lock = lock();
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        assert!(lock.to_text().ends_with("}\n"));
    }

    #[test]
    fn an_edited_lock_is_no_lock() {
        let text = lock().to_text();
        for (edited, expected) in [
            (text.replace("\"description\": \"d\"", "\"description\": \"e\""), "does not have the hash"),
            (text.replace("\"version\": 1", "\"version\": 9"), "version 9"),
            (text.replace("\"tools\"", "\"tolls\""), "not a lock file"),
            (String::new(), "not a lock file"),
        ] {
            let error = Lock::parse(&edited).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
