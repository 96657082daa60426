//! Paths in arguments against the folders that a server may work in.
//!
//! The check is of names only and touches no disk: whoever opens a path on this side must open it beneath its root.

use mcp_core::Refusal;

use crate::{Finding, Platform, limits, refusal, text};

/// What is to be done with a path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Operation {
    /// Look at it.
    #[default]
    Read,
    /// Change, create or remove it.
    Write,
}

/// What is known about where paths are.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The folders that are allowed, absolute.
    pub roots: &'a [String],
    /// Whose conventions hold.
    pub platform: Platform,
    /// Names that differ in case only are one file.
    pub case_insensitive: bool,
    /// Where a symbolic link leads, for those that are known.
    pub link: &'a dyn Fn(&str) -> Option<String>,
}

/// No links are known.
pub fn no_links(_: &str) -> Option<String> {
    None
}

/// Symbolic links followed for one path.
const LINKS: usize = 40;

/// May this path be used? Relative ones are looked at below each root.
///
/// ```
/// use mcp_security::{Platform, path::{Operation, Scene, judge, no_links}};
/// let roots = ["/home/dev/p".to_owned()];
/// let scene = Scene { roots: &roots, platform: Platform::Unix, case_insensitive: false, link: &no_links };
/// assert!(judge("/home/dev/p/a..b/c", Operation::Read, &scene).is_ok());
/// assert_eq!(judge("/home/dev/p_evil/a", Operation::Read, &scene).unwrap_err().rule, "path-outside");
/// ```
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `path-outside`, `path-encoded`, `path-limit`, `control-character`,
/// `path-protected`, `path-remote`.
pub fn judge(path: &str, operation: Operation, scene: &Scene<'_>) -> Result<Vec<Finding>, Refusal> {
    let windows = scene.platform == Platform::Windows;
    if let Some(found) = path.chars().find(|c| c.is_control()) {
        return Err(refusal("control-character", format!("the path contains {found:?}"), "remove it"));
    }
    if let Some(found) = text::hidden(path).first {
        let reason = format!("the path contains the invisible character {}", found.escape_unicode());
        return Err(refusal("hidden-character", reason, "remove it"));
    }
    if path.is_empty() || path.len() > limits::PATH_BYTES {
        let reason =
            format!("the path is {} bytes long; 1 to {} are allowed", path.len(), limits::PATH_BYTES);
        return Err(refusal("path-limit", reason, "shorten it"));
    }
    let path = local(path)?;
    // Whoever decodes or normalises it once more ends up elsewhere.
    let plainly = climbs(&path);
    if climbs(&decoded(&path)) > plainly || climbs(&text::skeleton(&path)) > plainly {
        return Err(refusal(
            "path-encoded",
            format!("the path {path:?} climbs once it is decoded"),
            "write it plainly",
        ));
    }
    let folded = if windows { path.replace('/', "\\") } else { path.clone() };
    let separator = if windows { '\\' } else { '/' };
    if folded.split(separator).any(|part| part.len() > limits::PATH_COMPONENT_BYTES) {
        return Err(refusal("path-limit", "a name in the path is longer than a file's can be", "shorten it"));
    }
    if windows {
        judge_windows(&folded)?;
    }
    if folded.starts_with('~') {
        return Err(outside(&path, "begins in a home folder"));
    }
    // Whatever expands it, a name further on stays where it is, and most things do not.
    if folded.contains("${") || folded.starts_with("$HOME") || (windows && folded.matches('%').count() > 1) {
        return Err(refusal("path-encoded", format!("the path {path:?} holds a variable"), "write it out"));
    }
    let absolute = if windows {
        folded.as_bytes().get(1) == Some(&b':') || folded.starts_with('\\')
    } else {
        folded.starts_with('/')
    };
    let insensitive = windows || scene.case_insensitive;
    let mut inside = None;
    for root in scene.roots {
        let root = local(root)?;
        let root = if windows { root.replace('/', "\\") } else { root };
        let whole = if absolute { folded.clone() } else { format!("{root}{separator}{folded}") };
        let Some(parts) = resolve(&whole, separator, scene.link) else { continue };
        let Some(root) = resolve(&root, separator, scene.link) else { continue };
        let beneath = root.len() <= parts.len()
            && root.iter().zip(&parts).all(|(root, part)| same(root, part, insensitive, windows));
        if beneath {
            inside = Some(parts[root.len()..].to_vec());
            break;
        }
    }
    let Some(inside) = inside else {
        return Err(outside(&path, "is outside the folders that this server may work in"));
    };
    judge_protected(&inside, operation, windows)
}

fn outside(path: &str, what: &str) -> Refusal {
    refusal(
        "path-outside",
        format!("the path {path:?} {what}"),
        "name a path below one of the server's folders",
    )
}

/// The path of a `file:` URI, or the path as it is.
fn local(path: &str) -> Result<String, Refusal> {
    let Some(scheme) = path.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("file:")) else {
        return Ok(path.to_owned());
    };
    let rest = &path[scheme.len()..];
    let rest = match rest.strip_prefix("//") {
        Some(rest) => {
            let (host, _) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !(host.is_empty() || host.eq_ignore_ascii_case("localhost")) {
                return Err(refusal(
                    "path-remote",
                    format!("the path is on another computer, {host}"),
                    "name a local path",
                ));
            }
            &rest[host.len()..]
        }
        None => rest,
    };
    let lower = rest.to_ascii_lowercase();
    if lower.contains("%2f") || lower.contains("%5c") || lower.contains("%00") || lower.contains("%25") {
        return Err(refusal("path-encoded", "the path hides a separator", "write it plainly"));
    }
    let plain = percent_decoded(rest)
        .ok_or_else(|| refusal("path-encoded", "the path is not UTF-8", "write it plainly"))?;
    // file:///C:/x
    let bytes = plain.as_bytes();
    Ok(if bytes.first() == Some(&b'/') && bytes.get(2) == Some(&b':') {
        plain[1..].to_owned()
    } else {
        plain
    })
}

fn percent_decoded(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        bytes.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match rest {
            [high, low, after @ ..] if let (Some(high), Some(low)) = (digit(*high), digit(*low)) => {
                // Two hexadecimal digits are a byte.
                bytes.push((high * 16 + low) as u8);
                rest = after;
            }
            _ => bytes.push(b'%'),
        }
    }
    bytes.extend_from_slice(rest);
    String::from_utf8(bytes).ok()
}

/// What is left when everything percent-encoded is decoded, however often it was.
pub(crate) fn decoded(text: &str) -> String {
    // Two bytes for what one byte says are no UTF-8, and some decoders take them all the same.
    const LONG: &[(&str, &str)] =
        &[("%c0%ae", "."), ("%e0%80%ae", "."), ("%c0%af", "/"), ("%e0%80%af", "/"), ("%c1%9c", "\\")];
    let mut text = text.to_owned();
    for _ in 0..4 {
        let may_be_long = |pair: &[u8]| pair[0] == b'%' && matches!(pair[1], b'c' | b'C' | b'e' | b'E');
        if text.as_bytes().windows(2).any(may_be_long) {
            let lower = text.to_ascii_lowercase();
            if LONG.iter().any(|(long, _)| lower.contains(long)) {
                text = LONG.iter().fold(lower, |text, (long, short)| text.replace(long, short));
            }
        }
        match percent_decoded(&text) {
            Some(plain) if plain != text => text = plain,
            _ => break,
        }
    }
    text
}

/// How often a path climbs a folder up.
fn climbs(path: &str) -> usize {
    path.split(['/', '\\']).filter(|part| *part == "..").count()
}

/// The names of an absolute path, with `.` and `..` and known links worked out; `None`: links without end.
fn resolve(path: &str, separator: char, link: &dyn Fn(&str) -> Option<String>) -> Option<Vec<String>> {
    let split = |path: &str| -> Vec<String> {
        path.split(separator)
            .filter(|part| !part.is_empty() && *part != ".")
            .rev()
            .map(str::to_owned)
            .collect()
    };
    let mut todo = split(path);
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == ".." {
            done.pop();
            continue;
        }
        done.push(part);
        let here = format!("{separator}{}", done.join(&separator.to_string()));
        if let Some(target) = link(&here) {
            links += 1;
            if links > LINKS {
                return None;
            }
            if target.starts_with(separator) {
                done.clear();
            } else {
                done.pop();
            }
            todo.extend(split(&target));
        }
    }
    Some(done)
}

fn same(a: &str, b: &str, insensitive: bool, windows: bool) -> bool {
    let (a, b) =
        if windows { (a.trim_end_matches(['.', ' ']), b.trim_end_matches(['.', ' '])) } else { (a, b) };
    a == b || (insensitive && a.to_lowercase() == b.to_lowercase())
}

/// What Windows takes for something else than a file of a folder.
fn judge_windows(path: &str) -> Result<(), Refusal> {
    let remote = path.starts_with("\\\\");
    if remote {
        return Err(refusal(
            "path-remote",
            "the path is on another computer, or a device",
            "name a local path",
        ));
    }
    let behind = path.get(2..).unwrap_or_default();
    if behind.contains(':') || path.starts_with(':') {
        return Err(refusal("path-encoded", "the path names a stream of a file", "name the file"));
    }
    let is_device = |part: &str| {
        let stem = part.split(['.', ' ']).next().unwrap_or(part).to_ascii_uppercase();
        matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
            || (stem.len() == 4
                && (stem.starts_with("COM") || stem.starts_with("LPT"))
                && stem.ends_with(|c: char| c.is_ascii_digit()))
    };
    if path.split('\\').any(is_device) {
        return Err(refusal("path-encoded", "the path names a device", "name a file"));
    }
    // "PROGRA~1" is another spelling of a name.
    let short = |part: &str| {
        part.rsplit_once('~').is_some_and(|(stem, n)| {
            stem.len() <= 6 && !n.is_empty() && n.starts_with(|c: char| c.is_ascii_digit())
        })
    };
    if path.split('\\').any(short) {
        return Err(refusal("path-encoded", "the path is spelt in short names", "write it out"));
    }
    Ok(())
}

/// Files that decide what runs next: writing one is running code.
fn judge_protected(inside: &[String], operation: Operation, windows: bool) -> Result<Vec<Finding>, Refusal> {
    if operation == Operation::Read {
        return Ok(Vec::new());
    }
    let parts: Vec<String> = inside
        .iter()
        .map(|part| {
            let part = if windows { part.trim_end_matches(['.', ' ']) } else { part.as_str() };
            // In another case it may be the same file, and nobody needs one of these in another case.
            part.to_lowercase()
        })
        .collect();
    const FILES: &[&str] = &[
        ".mcp.json",
        "mcp.json",
        ".gitconfig",
        ".gitmodules",
        ".bashrc",
        ".bash_profile",
        ".zshrc",
        ".zprofile",
        ".zshenv",
        ".profile",
        ".bash_login",
        ".ripgreprc",
        ".npmrc",
        ".yarnrc",
        ".yarnrc.yml",
        "bunfig.toml",
        ".pypirc",
        ".netrc",
        ".envrc",
        "massgen.lock",
        "authorized_keys",
    ];
    const FOLDERS: &[&[&str]] = &[
        &[".git", "hooks"],
        &[".git", "config"],
        &[".git", "modules"],
        &[".vscode"],
        &[".idea"],
        &[".cursor"],
        &[".claude"],
        &[".massgen"],
        &[".ssh"],
        &[".husky"],
        &[".config", "massgen"],
        &[".config", "autostart"],
    ];
    let file = parts.last().is_some_and(|file| FILES.contains(&file.as_str()));
    let folder = FOLDERS.iter().any(|folder| {
        parts.windows(folder.len()).any(|window| window.iter().map(String::as_str).eq(folder.iter().copied()))
    });
    if file || folder {
        return Err(refusal(
            "path-protected",
            format!("{} decides what runs on this computer", parts.join("/")),
            "change it yourself",
        ));
    }
    let pipeline = parts.windows(2).any(|pair| pair == [".github", "workflows"])
        || parts.last().is_some_and(|file| {
            matches!(file.as_str(), ".gitlab-ci.yml" | "jenkinsfile" | "azure-pipelines.yml" | ".travis.yml")
        })
        || parts.iter().any(|part| part == ".circleci");
    if pipeline {
        let reason = format!("{} decides what runs when the project is built", parts.join("/"));
        return Ok(vec![Finding::new("path-pipeline", reason, "look at the change before it is used")]);
    }
    Ok(Vec::new())
}
