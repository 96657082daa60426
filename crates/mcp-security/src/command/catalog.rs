//! Packages by reputation: a few that are known to be bad, and the well-known ones that others imitate.

use mcp_core::Refusal;

use super::grammar::Case;
use crate::refusal;

/// Which registry a package is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ecosystem {
    Npm,
    PyPi,
}

/// Versions of a package that are known to be bad.
struct Bad {
    name: &'static str,
    /// First bad version; `None`: from the beginning.
    from: Option<[u64; 3]>,
    /// First good version after it; `None`: none yet.
    until: Option<[u64; 3]>,
    why: &'static str,
}

/// Public advisories about MCP packages.
const BAD: &[Bad] = &[
    Bad {
        name: "postmark-mcp",
        from: Some([1, 0, 16]),
        until: None,
        why: "sends a hidden copy of every mail to somebody else",
    },
    Bad {
        name: "mcp-remote",
        from: None,
        until: Some([0, 1, 16]),
        why: "runs commands that a server puts into its authorization address (CVE-2025-6514)",
    },
];

/// What others imitate.
const WELL_KNOWN: &[&str] = &[
    "@modelcontextprotocol/server-filesystem",
    "@modelcontextprotocol/server-github",
    "@modelcontextprotocol/server-gitlab",
    "@modelcontextprotocol/server-memory",
    "@modelcontextprotocol/server-sequential-thinking",
    "@modelcontextprotocol/server-everything",
    "@modelcontextprotocol/server-brave-search",
    "@modelcontextprotocol/server-puppeteer",
    "@modelcontextprotocol/server-postgres",
    "@modelcontextprotocol/server-slack",
    "@modelcontextprotocol/server-google-maps",
    "@modelcontextprotocol/server-gdrive",
    "@modelcontextprotocol/server-redis",
    "@modelcontextprotocol/server-everart",
    "@modelcontextprotocol/server-aws-kb-retrieval",
    "@modelcontextprotocol/inspector",
    "@playwright/mcp",
    "@upstash/context7-mcp",
    "@notionhq/notion-mcp-server",
    "@supabase/mcp-server-supabase",
    "@browsermcp/mcp",
    "@wonderwhy-er/desktop-commander",
    "chrome-devtools-mcp",
    "firecrawl-mcp",
    "tavily-mcp",
    "mcp-remote",
    "mcp-server-fetch",
    "mcp-server-git",
    "mcp-server-time",
    "mcp-server-sqlite",
    "mcp-server-sentry",
    "figma-developer-mcp",
];

/// Judges a package of a registry, such as `@acme/mcp@1.2.3` or `acme-mcp[cli]==1.2`.
pub(super) fn judge(spec: &str, ecosystem: Ecosystem, case: &mut Case<'_>) -> Result<(), Refusal> {
    let (name, version) = split(spec, ecosystem);
    let name = match ecosystem {
        Ecosystem::Npm => name.to_ascii_lowercase(),
        // PyPI takes "_", "." and "-" for one.
        Ecosystem::PyPi => name.to_ascii_lowercase().replace(['_', '.'], "-"),
    };
    if let Some(bad) = BAD.iter().find(|bad| bad.name == name && is_bad(bad, version)) {
        return Err(refusal(
            "known-bad-package",
            format!("the package {spec:?} {}", bad.why),
            match bad.until {
                Some([a, b, c]) => format!("use version {a}.{b}.{c} or later"),
                None => "use another server, and change every key that this one has seen".to_owned(),
            },
        ));
    }
    if let Some(known) = imitates(&name) {
        case.tell(
            "package-imitates",
            format!("the package {name:?} is spelt almost like {known:?}"),
            "look whether that one is meant",
        );
    }
    Ok(())
}

/// The package that a name is almost, but not quite.
fn imitates(name: &str) -> Option<&'static str> {
    if WELL_KNOWN.contains(&name) {
        return None;
    }
    WELL_KNOWN.iter().copied().find(|known| known.len() >= 8 && is_one_edit_away(known, name))
}

/// One letter too many, too few, another, or two exchanged.
fn is_one_edit_away(known: &str, name: &str) -> bool {
    if name.is_ascii() && known.is_ascii() {
        return is_one_item_away(known.as_bytes(), name.as_bytes());
    }
    let (known, name): (Vec<char>, Vec<char>) = (known.chars().collect(), name.chars().collect());
    is_one_item_away(&known, &name)
}

fn is_one_item_away<T: PartialEq>(a: &[T], b: &[T]) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (&a[same..], &b[same..]);
    match (a, b) {
        ([x, y, rest_a @ ..], [v, w, rest_b @ ..]) if x == w && y == v && rest_a == rest_b => true,
        _ if a.len() == b.len() => a.get(1..) == b.get(1..),
        _ if a.len() > b.len() => a.get(1..) == Some(b),
        _ => b.get(1..) == Some(a),
    }
}

fn split(spec: &str, ecosystem: Ecosystem) -> (&str, Option<&str>) {
    match ecosystem {
        Ecosystem::Npm => match spec.char_indices().skip(1).find(|(_, c)| *c == '@') {
            Some((at, _)) => (&spec[..at], Some(&spec[at + 1..])),
            None => (spec, None),
        },
        Ecosystem::PyPi => {
            let end = spec.find(['=', '<', '>', '~', '!', '@', ' ', ';']).unwrap_or(spec.len());
            let name = spec[..end].split('[').next().unwrap_or_default();
            let version = spec[end..].trim_start_matches(['=', '@', ' ']);
            (name, (!version.is_empty()).then_some(version))
        }
    }
}

/// Without a version, a registry gives the newest.
fn is_bad(bad: &Bad, version: Option<&str>) -> bool {
    let Some(version) = version.and_then(number) else { return bad.until.is_none() };
    bad.from.is_none_or(|from| version >= from) && bad.until.is_none_or(|until| version < until)
}

/// `None`: a tag or a range, which means the newest.
fn number(text: &str) -> Option<[u64; 3]> {
    let text = text.trim_start_matches(['=', 'v', ' ']);
    let mut parts = text.split(['.', '-', '+']).map(str::parse::<u64>);
    let first = parts.next()?.ok()?;
    let mut next = || parts.next().and_then(Result::ok).unwrap_or(0);
    Some([first, next(), next()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imitations_are_one_edit_away() {
        for name in [
            "@modelcontextprotocol/server-filesytem",
            "@modelcontextprotoco1/server-github",
            "@modelcontextprotocol/server-memroy",
            "mcp-server-gitt",
            "mcp-remot",
        ] {
            assert!(imitates(name).is_some(), "{name}");
        }
        for name in ["mcp-remote", "@acme/mcp", "mcp-server-redis", "@modelcontextprotocol/server-other"] {
            assert_eq!(imitates(name), None, "{name}");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let bad = |spec: &str| {
            let (name, version) = split(spec, Ecosystem::Npm);
            BAD.iter().any(|bad| bad.name == name && is_bad(bad, version))
        };
        for spec in ["postmark-mcp", "postmark-mcp@1.0.16", "postmark-mcp@latest", "mcp-remote@0.1.9"] {
            assert!(bad(spec), "{spec}");
        }
        for spec in ["postmark-mcp@1.0.12", "mcp-remote", "mcp-remote@0.1.16", "mcp-remote@latest"] {
            assert!(!bad(spec), "{spec}");
        }
    }
}
