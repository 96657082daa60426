//! What may be linked: the licences, bans and sources of `deny.toml`, without a program to install. The known
//! weaknesses of crates are the one thing in that file which takes `cargo deny check` and the network.

use std::collections::BTreeSet;

use cargo_metadata::{DependencyKind, Metadata};

use super::Problems;

/// Where packages come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What this check reads of `deny.toml`.
#[derive(Debug, Default, PartialEq)]
struct Rules {
    /// Licences, as SPDX names them.
    allowed: BTreeSet<String>,
    banned: Vec<Ban>,
}

/// A package that nobody may depend on but the named.
#[derive(Debug, PartialEq)]
struct Ban {
    package: String,
    wrappers: Vec<String>,
    reason: String,
}

pub(super) fn check(metadata: &Metadata, deny: &str) -> Problems {
    let rules = Rules::read(deny);
    let mut problems = Vec::new();
    if rules.allowed.is_empty() || rules.banned.is_empty() {
        problems.push("deny.toml: no allowed licences or no bans found in it".to_owned());
    }
    for package in &metadata.packages {
        let named = format!("{} {}", package.name, package.version);
        match &package.license {
            Some(licence) if rules.allow(licence) => {}
            Some(licence) => problems.push(format!(
                "{named}: its licence, {licence}, is not among those that deny.toml allows: use another crate"
            )),
            None => problems.push(format!("{named}: it names no licence: use another crate")),
        }
        if let Some(source) = &package.source
            && source.repr != REGISTRY
        {
            problems.push(format!("{named}: it comes from {source}: use what is on crates.io"));
        }
    }
    for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
        let from = metadata[&node.id].name.as_str();
        for dependency in &node.deps {
            // A test of a third party is not built here.
            let linked = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            let to = metadata[&dependency.pkg].name.as_str();
            if linked || metadata.workspace_members.contains(&node.id) {
                problems.extend(rules.complaint(from, to));
            }
        }
    }
    problems
}

impl Rules {
    /// Reads the two lists; a list's item stands on a line of its own.
    fn read(deny: &str) -> Self {
        let mut rules = Self::default();
        let mut list = "";
        let mut section = "";
        for line in deny.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') && line.ends_with(']') {
                section = line;
            } else if let Some(key) = line.strip_suffix("= [") {
                list = key.trim();
            } else if line == "]" {
                list = "";
            } else if (section, list) == ("[licenses]", "allow") {
                rules.allowed.extend(quoted(line).map(str::to_owned));
            } else if (section, list) == ("[bans]", "deny") {
                rules.banned.extend(Ban::read(line));
            }
        }
        rules
    }

    /// Whether an SPDX expression can be met: `OR` leaves the choice, `AND` leaves none, and binds tighter.
    fn allow(&self, licence: &str) -> bool {
        // The spelling of before there were expressions: MIT/Apache-2.0.
        let spaced = licence.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<_> = spaced.split_whitespace().collect();
        let mut rest = &words[..];
        self.any(&mut rest) && rest.is_empty()
    }

    fn any(&self, words: &mut &[&str]) -> bool {
        let mut met = self.all(words);
        while let ["OR", rest @ ..] = words {
            *words = rest;
            met |= self.all(words);
        }
        met
    }

    fn all(&self, words: &mut &[&str]) -> bool {
        let mut met = self.one(words);
        while let ["AND", rest @ ..] = words {
            *words = rest;
            met &= self.one(words);
        }
        met
    }

    fn one(&self, words: &mut &[&str]) -> bool {
        match words {
            ["(", rest @ ..] => {
                *words = rest;
                let met = self.any(words);
                let [")", rest @ ..] = words else { return false };
                *words = rest;
                met
            }
            [name, "WITH", exception, rest @ ..] => {
                *words = rest;
                self.allowed.contains(*name) || self.allowed.contains(&format!("{name} WITH {exception}"))
            }
            [name, rest @ ..] => {
                *words = rest;
                self.allowed.contains(*name)
            }
            [] => false,
        }
    }

    fn complaint(&self, from: &str, to: &str) -> Option<String> {
        let ban = self.banned.iter().find(|ban| ban.package == to)?;
        let allowed = ban.wrappers.iter().any(|wrapper| wrapper == from);
        (!allowed).then(|| format!("{from} depends on {to}, which deny.toml bans: {}", ban.reason))
    }
}

impl Ban {
    /// `{ crate = "a", wrappers = ["b"], reason = "c" }`
    fn read(line: &str) -> Option<Self> {
        let value = |key: &str| line.split_once(&format!("{key} = ")).map(|(_, rest)| rest);
        let first = |key| value(key).and_then(|rest| quoted(rest).next()).map(str::to_owned);
        let list = value("wrappers").and_then(|rest| rest.split_once(']')).map_or("", |(list, _)| list);
        Some(Self {
            package: first("crate")?,
            wrappers: quoted(list).map(str::to_owned).collect(),
            reason: first("reason")?,
        })
    }
}

/// What stands between quotation marks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
[licenses]
# Comments are no licences: "GPL-3.0".
allow = [
    "MIT",
    "ISC",
    "Apache-2.0 WITH LLVM-exception",
]

[bans]
deny = [
    { crate = "rmcp", wrappers = ["mcp-transport", "other"], reason = "one crate" },
    { crate = "serde_yaml", reason = "unmaintained" },
]
"#;

    #[test]
    fn a_licence_that_is_not_allowed_is_found() {
        let rules = Rules::read(DENY);
        for (licence, allowed) in [
            ("MIT", true),
            ("MIT OR GPL-3.0-only", true),
            ("GPL-3.0-only OR MIT", true),
            ("GPL-3.0-only/MIT", true),
            ("MIT AND ISC", true),
            ("MIT AND GPL-3.0-only", false),
            ("MIT AND GPL-3.0-only OR ISC", true),
            ("(MIT OR GPL-3.0-only) AND ISC", true),
            ("(MIT OR ISC) AND GPL-3.0-only", false),
            ("Apache-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0-only", true),
            ("GPL-3.0-only WITH Classpath-exception-2.0", false),
            ("(MIT", false),
            ("MIT ISC", false),
            ("", false),
        ] {
            assert_eq!(rules.allow(licence), allowed, "{licence}");
        }
    }

    #[test]
    fn a_banned_package_is_for_its_wrappers_only() {
        let rules = Rules::read(DENY);
        assert_eq!(rules.complaint("mcp-transport", "rmcp"), None);
        assert_eq!(rules.complaint("anybody", "serde"), None);
        let complaint = rules.complaint("mcp-client", "rmcp").unwrap();
        assert_eq!(complaint, "mcp-client depends on rmcp, which deny.toml bans: one crate");
        assert!(rules.complaint("mcp-transport", "serde_yaml").is_some());
    }

    #[test]
    fn the_rules_of_the_project_are_read_whole() {
        let text = include_str!("../../../deny.toml");
        let rules = Rules::read(text);
        assert!(rules.allowed.contains("MIT") && rules.allowed.contains("Zlib"), "{:?}", rules.allowed);
        assert_eq!(rules.banned.len(), text.matches("{ crate = ").count());
    }
}
