//! Rules for every tracked text: nothing of the machine it was written on.

use std::path::Path;

use super::Problems;

/// Lock files name registries because they must.
const EXEMPT: [&str; 3] = ["Cargo.lock", "package-lock.json", "uv.lock"];

pub(super) fn check(root: &Path, files: &[String]) -> Problems {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| !EXEMPT.iter().any(|exempt| file.ends_with(exempt))) {
        // What is not text has no lines.
        let Ok(text) = std::fs::read_to_string(root.join(file)) else { continue };
        problems.extend(complaints(&text, root).map(|(line, what)| format!("{file}:{line}: {what}")));
    }
    problems
}

fn complaints<'a>(text: &'a str, root: &'a Path) -> impl Iterator<Item = (usize, String)> + 'a {
    let patterns = patterns(root);
    text.lines().enumerate().filter_map(move |(index, line)| {
        let pattern = patterns.iter().find(|pattern| stands_in(line, pattern))?;
        Some((index + 1, format!("{pattern:?} belongs to one machine or network; describe it instead")))
    })
}

/// Put together here, so that this file keeps its own rule.
fn patterns(root: &Path) -> Vec<String> {
    let parts: [&[&str]; 9] = [
        &["/wor", "k/"],
        &["/far", "m/"],
        &["/tmp/bash_", "jobs"],
        &["registry.npm", "js"],
        &["py", "pi.org"],
        &["files.python", "hosted.org"],
        &["deb.deb", "ian.org"],
        &["static.crates", ".io"],
        &["index.crates", ".io"],
    ];
    let mut patterns: Vec<String> = parts.iter().map(|parts| parts.concat()).collect();
    patterns.push(root.display().to_string());
    patterns
}

/// Whether the pattern is there and is not the tail of a longer path or name.
fn stands_in(line: &str, pattern: &str) -> bool {
    line.match_indices(pattern).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || "_.".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_this_machine_is_found() {
        let root = Path::new("/somewhere/checkout");
        let check = |text: &str, lines: &[usize]| {
            let found: Vec<usize> = complaints(text, root).map(|(line, _)| line).collect();
            assert_eq!(found, lines, "{text:?}");
        };
        check("fine\ncd /somewhere/checkout/docs\n", &[2]);
        check(&format!("see {}x\n", ["/wor", "k/"].concat()), &[1]);
        check(&format!("./target{}x and net{}x\n", ["/wor", "k/"].concat(), ["/wor", "k/"].concat()), &[]);
        check(&format!("https://{}/simple\n", ["py", "pi.org"].concat()), &[1]);
    }
}
