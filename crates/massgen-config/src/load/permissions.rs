//! `permissions` and `labels`: what may be called, and what flows through tools.

use crate::node::{Node, Value};
use crate::read::{Reader, Section, short};
use crate::schema::{LABEL, LABELS, NATURES, PERMISSION};
use crate::{DataLabel, Decision, LabelRule, Nature, PermissionRule};

/// The rules under `permissions` of an agent or of the top.
pub(super) fn rules(parent: &Section<'_>, reader: &mut Reader<'_>) -> Vec<PermissionRule> {
    let path = parent.path.key("permissions");
    let mut rules = Vec::new();
    let Some(node) = parent.node("permissions") else { return rules };
    let Value::List(items) = &node.value else {
        let message = format!("{path} must be a list, not {}", node.describe());
        reader.error(node.place, &path, message, "write - { tool: \"mcp__server__*\", decision: ask }");
        return rules;
    };
    for (i, item) in items.iter().enumerate() {
        let at = path.index(i);
        let Some(section) = reader.section(item, &at, &PERMISSION) else { continue };
        let tool = section.text("tool").filter(|tool| !tool.is_empty());
        let decision = match section.choice("decision", &["allow", "ask", "deny"]) {
            Some("allow") => Some(Decision::Allow),
            Some("ask") => Some(Decision::Ask),
            Some("deny") => Some(Decision::Deny),
            _ => None,
        };
        let raw = |key: &str| item.find(key).is_none_or(Node::is_null);
        if tool.is_none() {
            reader.error(
                item.place,
                &at,
                format!("{at} has no tool"),
                "name the tools by a pattern, such as mcp__tracker__*",
            );
        }
        if raw("decision") {
            reader.error(item.place, &at, format!("{at} has no decision"), "decision is allow, ask or deny");
        }
        let mut good = tool.as_ref().is_none_or(|tool| glob(tool, "tool", &section, reader));
        let when = section.map("when");
        for pattern in when.values() {
            good &= glob(pattern, "when", &section, reader);
        }
        let nature = match section.choice("nature", &NATURES) {
            Some("reads") => Some(Nature::Reads),
            Some("changes") => Some(Nature::Changes),
            Some("destroys") => Some(Nature::Destroys),
            _ => {
                // A rule for some tools must not become one for all of them.
                good &= raw("nature");
                None
            }
        };
        good &= raw("when") || !when.is_empty();
        if let (Some(tool), Some(decision), true) = (tool, decision, good) {
            rules.push(PermissionRule { tool, decision, when, nature });
        }
    }
    rules
}

/// Whether this is a glob. A bad one must not wait until it is used.
fn glob(pattern: &str, key: &str, section: &Section<'_>, reader: &mut Reader<'_>) -> bool {
    let made = mcp_core::ToolFilter::new(None, &[pattern]);
    if let Err(error) = &made {
        let at = section.path.key(key);
        reader.error(section.place_of(key), &at, error.clone(), "close every [ and {");
    }
    made.is_ok()
}

/// What flows through tools, by `labels` of the top.
pub(super) fn labels(top: &Section<'_>, reader: &mut Reader<'_>) -> Vec<LabelRule> {
    let path = top.path.key("labels");
    let mut rules = Vec::new();
    let Some(node) = top.node("labels") else { return rules };
    let Value::List(items) = &node.value else {
        let message = format!("{path} must be a list, not {}", node.describe());
        reader.error(
            node.place,
            &path,
            message,
            "write - { tool: \"mcp__mail__*\", labels: [private_data] }",
        );
        return rules;
    };
    for (i, item) in items.iter().enumerate() {
        let at = path.index(i);
        let Some(section) = reader.section(item, &at, &LABEL) else { continue };
        let Some(tool) = section.text("tool").filter(|tool| !tool.is_empty()) else {
            let help = "name the tools by a pattern, such as mcp__mail__*";
            reader.error(item.place, &at, format!("{at} has no tool"), help);
            continue;
        };
        if !glob(&tool, "tool", &section, reader) {
            continue;
        }
        let mut labels = Vec::new();
        for word in section.list("labels").unwrap_or_default() {
            match word.as_str() {
                "private_data" => labels.push(DataLabel::PrivateData),
                "untrusted_content" => labels.push(DataLabel::UntrustedContent),
                "public_sink" => labels.push(DataLabel::PublicSink),
                _ => {
                    let message = format!("{} is not a label", short(&word));
                    let help = format!("the labels are {}", LABELS.join(", "));
                    reader.error(section.place_of("labels"), &at.key("labels"), message, help);
                }
            }
        }
        if labels.is_empty() && section.node("labels").is_none() {
            reader.error(
                item.place,
                &at,
                format!("{at} has no labels"),
                format!("add {}", LABELS.join(", ")),
            );
        }
        rules.push(LabelRule { tool, labels });
    }
    rules
}
