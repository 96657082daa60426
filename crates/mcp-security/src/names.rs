//! Names of tools: which ones are taken, which become an alias, which imitate another tool's.

use mcp_core::{ExposedName, Refusal, ServerName, ToolName};

use crate::{Finding, Verdict, refusal, text};

/// Judges the name of a tool beside those that are there already. `Allow`: models see it as `mcp__server__tool`.
///
/// ```
/// use mcp_security::{Verdict, names::judge};
/// assert_eq!(judge("files", "read_file", &[]), Verdict::Allow);
/// assert_eq!(judge("files", "re\u{430}d_file", &[]).rule(), Some("tool-lookalike"));
/// ```
pub fn judge(server: &str, tool: &str, existing: &[(&str, &str)]) -> Verdict<ExposedName> {
    let bad =
        |error: mcp_core::NameError| refusal("tool-name", error.to_string(), "the server has to rename it");
    let (server, tool) = match (ServerName::new(server), ToolName::new(tool)) {
        (Ok(server), Ok(tool)) => (server, tool),
        (Err(error), _) | (_, Err(error)) => return Verdict::Block(bad(error)),
    };
    let findings = match check(&server, &tool, existing.iter().copied()) {
        Ok(findings) => findings,
        Err(refusal) => return Verdict::Block(refusal),
    };
    if !findings.is_empty() {
        return Verdict::Flag(findings);
    }
    let exposed = ExposedName::for_tool(&server, &tool);
    if exposed.as_str() == format!("mcp__{server}__{tool}") {
        Verdict::Allow
    } else {
        Verdict::Sanitize(exposed)
    }
}

/// As [`judge`], for names that are valid by themselves.
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `tool-name`, `hidden-character`, `tool-lookalike`.
pub fn check<'a>(
    server: &ServerName,
    tool: &ToolName,
    existing: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Finding>, Refusal> {
    let name = tool.as_str();
    if name.trim().is_empty() {
        return Err(refusal("tool-name", "a tool's name is blank", "the server has to rename it"));
    }
    if let Some(found) = text::hidden(name).first {
        return Err(refusal(
            "hidden-character",
            format!(
                "the tool {:?} has the invisible character {} in its name",
                text::visible(name),
                found.escape_unicode()
            ),
            "the server has to rename it",
        ));
    }
    if let Some(found) = name.chars().find(|c| c.is_control() || text::is_separator(*c)) {
        return Err(refusal(
            "hidden-character",
            format!("a tool has the character {} in its name", found.escape_unicode()),
            "the server has to rename it",
        ));
    }
    let lookalike = |known: &str| {
        refusal(
            "tool-lookalike",
            format!("the tool {name:?} looks like {known:?} and is another"),
            "leave one of the two out by exclude_tools",
        )
    };
    if let Some(word) = name.split(|c: char| !c.is_alphanumeric()).find(|word| text::mixes_scripts(word)) {
        return Err(lookalike(&text::skeleton(word)));
    }
    let mut findings = Vec::new();
    if let Some(rest) = name.strip_prefix("mcp__") {
        findings.push(Finding::new(
            "tool-namespace",
            format!("the tool {name:?} calls itself as if it were {rest:?} of another server"),
            "leave it out by exclude_tools unless you know why",
        ));
    }
    let shown = text::skeleton(name);
    for (owner, known) in existing {
        if known == name || text::skeleton(known) != shown {
            continue;
        }
        // Two servers may well spell one word in different case; one server has no reason to.
        if !(name.is_ascii() && known.is_ascii()) || owner == server.as_str() {
            return Err(lookalike(known));
        }
    }
    Ok(findings)
}
