//! What agents have read, as far as it bears on what they may send away.

use std::fmt;

use mcp_core::ToolSpec;
use mcp_security::permission::Labels;

/// What a team has read so far. Agents show each other their answers, so what one has read all have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taint {
    /// The first tool that gave private data.
    private: Option<String>,
    /// The first tool that gave strangers' words.
    untrusted: Option<String>,
    /// The first tool whose answer looked like orders.
    steered: Option<String>,
}

impl Taint {
    /// Learns that an answer of this tool was read; `suspicious`: it looked like orders.
    pub(crate) fn learn(&mut self, spec: &ToolSpec, labels: Labels, suspicious: bool) {
        let name = || format!("{}/{}", spec.server, spec.name.as_str().escape_debug());
        if labels.private_data {
            self.private.get_or_insert_with(name);
        }
        if labels.untrusted_content {
            self.untrusted.get_or_insert_with(name);
        }
        if suspicious {
            self.steered.get_or_insert_with(name);
        }
    }

    /// Why nothing may leave for where others read it without somebody's word; `None`: it may.
    pub(crate) fn concern(&self) -> Option<String> {
        struct Read<'a>(&'a str);
        impl fmt::Display for Read<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an answer of {}", self.0)
            }
        }
        match (&self.steered, &self.private, &self.untrusted) {
            (Some(tool), ..) => Some(format!("{} looked like orders to the model", Read(tool))),
            (None, Some(private), Some(untrusted)) => Some(format!(
                "the team has read private data ({}) and words of strangers ({})",
                Read(private),
                Read(untrusted)
            )),
            _ => None,
        }
    }
}
