//! Relative links in Markdown files lead somewhere.

use std::path::{Component, Path, PathBuf};

/// The links of all Markdown files among `files` that lead nowhere.
pub(crate) fn check(root: &Path, files: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.ends_with(".md")) {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        for (line, target) in relative_links(&text) {
            let path = target.split('#').next().unwrap_or_default();
            let Some(path) = normal(&folder.join(path)) else {
                problems.push(format!("{file}:{line}: the link {target:?} leaves the repository"));
                continue;
            };
            if !root.join(&path).exists() {
                problems.push(format!("{file}:{line}: the link {target:?} leads nowhere"));
            }
        }
    }
    problems
}

/// `[text](target)` outside code, where the target is a path.
fn relative_links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            let Some((target, after)) = after.split_once(')') else { break };
            // An odd number of backticks before it: inside a code span.
            let quoted = before.matches('`').count() % 2 == 1;
            let elsewhere =
                target.contains("://") || target.starts_with("mailto:") || target.starts_with('#');
            if !quoted && !elsewhere && !target.is_empty() {
                links.push((index + 1, target));
            }
            rest = after;
        }
    }
    links
}

/// Resolves `..` without asking the file system; `None` above the root.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir if out.pop() => {}
            Component::ParentDir => return None,
            Component::Normal(part) => out.push(part),
            _ => {}
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_outside_code_are_links() {
        let text = "[a](b.md#c) and [d](https://e) `[f](g.md)`\n```\n[h](i.md)\n```\n[j](#k) ![l](m.png)\n";
        assert_eq!(relative_links(text), [(1, "b.md#c"), (5, "m.png")]);
    }

    #[test]
    fn parents_are_resolved_inside_the_root_only() {
        assert_eq!(normal(Path::new("docs/../README.md")), Some("README.md".into()));
        assert_eq!(normal(Path::new("docs/../../x")), None);
    }
}
