//! What flows through a tool: where private data comes from, where strangers' words do, and where data leaves.
//!
//! An agent that has read both private data and strangers' words may be made to carry the one to where the other wants
//! it. Neither reading is wrong by itself; what is watched is the way out.

use mcp_core::{Annotations, ToolFilter, ToolSpec};

use super::PermissionError;

/// What a tool does with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Label {
    /// Its answers hold what is not for everybody.
    PrivateData,
    /// Its answers hold words that anybody may have written.
    UntrustedContent,
    /// What it is given leaves for where others read it.
    PublicSink,
}

/// The labels of one tool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Labels {
    /// [`Label::PrivateData`].
    pub private_data: bool,
    /// [`Label::UntrustedContent`].
    pub untrusted_content: bool,
    /// [`Label::PublicSink`].
    pub public_sink: bool,
}

impl Labels {
    /// What a tool says about itself: one that reaches the open world and changes it is a way out. Nothing it says makes
    /// it harmless.
    pub fn of(hints: &Annotations) -> Self {
        let changes = hints.read_only_hint != Some(true);
        Self { public_sink: changes && hints.open_world_hint != Some(false), ..Self::default() }
    }

    fn set(&mut self, label: Label) {
        match label {
            Label::PrivateData => self.private_data = true,
            Label::UntrustedContent => self.untrusted_content = true,
            Label::PublicSink => self.public_sink = true,
        }
    }
}

/// Labels of the tools that a pattern matches.
#[derive(Debug, Clone)]
pub(super) struct Labelled {
    tools: ToolFilter,
    labels: Vec<Label>,
}

impl Labelled {
    pub(super) fn new(tool: &str, labels: &[Label]) -> Result<Self, PermissionError> {
        let error = |reason: String| PermissionError { pattern: tool.to_owned(), reason };
        let tools = ToolFilter::new(Some(&[tool]), &[]).map_err(error)?;
        Ok(Self { tools, labels: labels.to_vec() })
    }

    pub(super) fn apply(&self, spec: &ToolSpec, labels: &mut Labels) {
        if self.tools.permits(&spec.server, &spec.name) {
            self.labels.iter().for_each(|label| labels.set(*label));
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::{ServerName, ToolName};

    use super::*;
    use crate::permission::Permissions;

    #[test]
    fn labels_add_up_and_hints_make_nothing_harmless() {
        let mut permissions = Permissions::default();
        permissions.label("mcp__mail", &[Label::PrivateData]).unwrap();
        permissions.label("mcp__*__send_*", &[Label::PublicSink]).unwrap();
        permissions.label("mcp__web__fetch", &[Label::UntrustedContent]).unwrap();
        let labels = |server: &str, tool: &str, read_only: Option<bool>, open: Option<bool>| {
            let hints =
                Annotations { read_only_hint: read_only, open_world_hint: open, ..Annotations::default() };
            let spec = ToolSpec::new(ServerName::new(server).unwrap(), ToolName::new(tool).unwrap());
            let Labels { private_data, untrusted_content, public_sink } =
                permissions.labels(&spec.with_annotations(hints));
            (private_data, untrusted_content, public_sink)
        };
        assert_eq!(labels("mail", "read", Some(true), None), (true, false, false));
        assert_eq!(labels("mail", "send_mail", Some(true), Some(false)), (true, false, true));
        assert_eq!(labels("web", "fetch", Some(true), Some(true)), (false, true, false));
        assert_eq!(
            labels("forge", "comment", None, None),
            (false, false, true),
            "silence means the open world"
        );
        assert_eq!(labels("disk", "write", None, Some(false)), (false, false, false));
    }
}
