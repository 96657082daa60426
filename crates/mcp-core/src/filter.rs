//! Which tools of a server are offered: `allowed_tools` and `exclude_tools`.

use globset::{Glob, GlobMatcher};

use crate::{ExposedName, ServerName, ToolName};

/// A choice of tools by glob patterns; exclusion wins. The default allows everything.
///
/// A pattern matches a tool's own name (`search_*`) or its exposed name (`mcp__papers__search_*`): both spellings
/// are in use. `mcp__papers` alone means all tools of that server.
#[derive(Debug, Clone, Default)]
pub struct ToolFilter {
    allowed: Option<Vec<Pattern>>,
    excluded: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    matcher: GlobMatcher,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, String> {
        let glob = Glob::new(text).map_err(|error| format!("{text:?} is not a pattern: {error}"))?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    fn matches(&self, server: &ServerName, tool: &ToolName) -> bool {
        self.matcher.is_match(tool.as_str())
            || self.matcher.is_match(ExposedName::for_tool(server, tool).as_str())
            || self.text.strip_prefix("mcp__").is_some_and(|name| name == server.as_str())
    }
}

impl ToolFilter {
    /// Compiles the patterns; `allowed: None` allows every tool.
    ///
    /// # Errors
    ///
    /// The pattern that is not one, and why.
    pub fn new<S: AsRef<str>>(allowed: Option<&[S]>, excluded: &[S]) -> Result<Self, String> {
        let compile = |patterns: &[S]| patterns.iter().map(|p| Pattern::new(p.as_ref())).collect();
        Ok(Self { allowed: allowed.map(compile).transpose()?, excluded: compile(excluded)? })
    }

    /// Whether the tool is offered.
    pub fn permits(&self, server: &ServerName, tool: &ToolName) -> bool {
        let hit = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(server, tool));
        !hit(&self.excluded) && self.allowed.as_deref().is_none_or(hit)
    }

    /// The patterns that match none of these tools: most likely misspelt.
    pub fn idle_patterns<'a>(&'a self, server: &ServerName, tools: &[&ToolName]) -> Vec<&'a str> {
        (self.allowed.iter().flatten().chain(&self.excluded))
            .filter(|pattern| !tools.iter().any(|tool| pattern.matches(server, tool)))
            .map(|pattern| pattern.text.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(allowed: Option<&[&str]>, excluded: &[&str], tool: &str) -> bool {
        let filter = ToolFilter::new(allowed, excluded).unwrap();
        filter.permits(&ServerName::new("papers").unwrap(), &ToolName::new(tool).unwrap())
    }

    #[test]
    fn patterns_match_raw_and_exposed_names_and_exclusion_wins() {
        assert!(permits(None, &[], "search"));
        assert!(permits(Some(&["search_*"]), &[], "search_arxiv"));
        assert!(permits(Some(&["mcp__papers__search_*"]), &[], "search_arxiv"));
        assert!(permits(Some(&["mcp__papers"]), &[], "anything"));
        assert!(!permits(Some(&["search_*"]), &["*_arxiv"], "search_arxiv"));
        assert!(!permits(Some(&[]), &[], "search"));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named() {
        let filter = ToolFilter::new(Some(&["serch_*", "search_*"]), &[]).unwrap();
        let tool = ToolName::new("search_arxiv").unwrap();
        assert_eq!(filter.idle_patterns(&ServerName::new("papers").unwrap(), &[&tool]), ["serch_*"]);
        assert!(ToolFilter::new(Some(&["[a"]), &[]).is_err());
    }
}
