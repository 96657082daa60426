//! Arguments of a call before they are sent: sizes, paths against the server's folders, and what looks like something
//! that should not travel.

use mcp_core::{JsonObject, Refusal};
use serde_json::Value;

use crate::path::{self, Operation, Scene};
use crate::{Finding, Platform, Verdict, address, limits, refusal, secret, url};

/// What is known about the server that a call goes to.
#[derive(Debug, Clone, Default)]
pub struct Server {
    /// The folders that it may work in, absolute; none: paths are not judged.
    pub roots: Vec<String>,
    /// Whose conventions hold for paths.
    pub platform: Platform,
}

/// Judges the arguments of a call. `Sanitize`: the same without characters that people cannot see and models read.
///
/// ```
/// use mcp_security::{Verdict, args::{Server, judge}};
/// use serde_json::json;
/// let arguments = json!({"command": "grep -R 'a|b' . | sort -u > out.txt"});
/// let verdict = judge("shell", arguments.as_object().unwrap(), &Server::default());
/// assert_eq!(verdict, Verdict::Allow);
/// ```
pub fn judge(tool: &str, arguments: &JsonObject, server: &Server) -> Verdict<JsonObject> {
    judge_with_links(tool, arguments, server, &path::no_links)
}

/// As [`judge`]; `link` says where a symbolic link leads, so that a path which leaves the server's folders through one is
/// refused, too. It is asked about each folder on the way of each path, and may be asked of the disk.
///
/// What is a link now may be none, and the other way round, when the server opens the path: this keeps a model from
/// following a link that is there, not a program from racing us. [`crate::sandbox`] is for that.
pub fn judge_with_links(
    tool: &str,
    arguments: &JsonObject,
    server: &Server,
    link: &dyn Fn(&str) -> Option<String>,
) -> Verdict<JsonObject> {
    if let Err(refusal) = bounds(arguments) {
        return Verdict::Block(refusal);
    }
    let mut findings = Vec::new();
    let mut hidden = false;
    let mut open: Vec<(&str, &Value)> = arguments.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let operation = operation(tool);
    while let Some((key, value)) = open.pop() {
        match value {
            Value::String(text) => {
                if is_path(key) && !text.contains("://")
                    || text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("file:"))
                {
                    if text.contains('\0') {
                        return Verdict::Block(refusal(
                            "control-character",
                            format!("{key} contains a zero byte"),
                            "remove it",
                        ));
                    }
                    if !server.roots.is_empty() {
                        let scene = Scene {
                            roots: &server.roots,
                            platform: server.platform,
                            case_insensitive: false,
                            link,
                        };
                        match path::judge(text, operation, &scene) {
                            Ok(found) => findings.extend(found),
                            Err(refusal) => return Verdict::Block(refusal),
                        }
                    }
                }
                findings.extend(looks(key, text));
                hidden |= tags(text);
            }
            Value::Array(items) => open.extend(items.iter().map(|item| (key, item))),
            Value::Object(fields) => open.extend(fields.iter().map(|(key, value)| (key.as_str(), value))),
            _ => {}
        }
    }
    if !findings.is_empty() {
        return Verdict::Flag(findings);
    }
    if !hidden {
        return Verdict::Allow;
    }
    let mut clean = arguments.clone();
    for value in clean.values_mut() {
        strip(value);
    }
    Verdict::Sanitize(clean)
}

/// Are the arguments small and flat enough?
///
/// # Errors
///
/// A [`Refusal`] by the rule `argument-limit`.
pub fn bounds(arguments: &JsonObject) -> Result<(), Refusal> {
    let too = |what: String| Err(refusal("argument-limit", what, "send less at once"));
    let (mut nodes, mut bytes) = (0usize, 0usize);
    let mut open: Vec<(&Value, usize)> = arguments.values().map(|value| (value, 2)).collect();
    if arguments.len() > limits::CALL_KEYS {
        return too(format!("they have more than {} members", limits::CALL_KEYS));
    }
    bytes += arguments.keys().map(String::len).sum::<usize>();
    while let Some((value, depth)) = open.pop() {
        nodes += 1;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => open.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => {
                if fields.len() > limits::CALL_KEYS {
                    return too(format!("an object in them has more than {} members", limits::CALL_KEYS));
                }
                bytes += fields.keys().map(String::len).sum::<usize>();
                open.extend(fields.values().map(|field| (field, depth + 1)));
            }
            _ => bytes += 8,
        }
        if matches!(value, Value::Array(_) | Value::Object(_)) && depth > limits::CALL_DEPTH {
            return too(format!("they are nested deeper than {} levels", limits::CALL_DEPTH));
        }
        if nodes > limits::CALL_NODES {
            return too(format!("they have more than {} values", limits::CALL_NODES));
        }
        if bytes > limits::CALL_BYTES {
            return too(format!("they are larger than {} MiB", limits::CALL_BYTES >> 20));
        }
    }
    Ok(())
}

/// Words of an argument's name, in lower case.
fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in key.chars() {
        if !c.is_alphanumeric() {
            words.push(String::new());
            continue;
        }
        if c.is_uppercase() && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn is_path(key: &str) -> bool {
    let words = words(key);
    let last = words.last().map(String::as_str).unwrap_or_default();
    matches!(
        last,
        "path"
            | "paths"
            | "file"
            | "files"
            | "filename"
            | "filepath"
            | "dir"
            | "directory"
            | "directories"
            | "folder"
            | "cwd"
            | "workdir"
            | "root"
    ) || matches!(key, "source" | "destination" | "src" | "dst" | "repo_path")
}

fn operation(tool: &str) -> Operation {
    const WRITES: &[&str] = &[
        "write",
        "edit",
        "create",
        "delete",
        "remove",
        "move",
        "rename",
        "append",
        "save",
        "put",
        "update",
        "patch",
        "replace",
        "insert",
        "touch",
        "mkdir",
        "copy",
        "upload",
        "download",
        "set",
        "overwrite",
        "apply",
        "extract",
    ];
    if words(tool).iter().any(|word| WRITES.contains(&word.as_str())) {
        Operation::Write
    } else {
        Operation::Read
    }
}

/// Of a text longer than two of these, the beginning and the end are looked at.
const PIECE: usize = 64 * 1024;

fn looks(key: &str, text: &str) -> Option<Finding> {
    let pieces = if text.len() <= 2 * PIECE {
        [text, ""]
    } else {
        [&text[..text.floor_char_boundary(PIECE)], &text[text.ceil_char_boundary(text.len() - PIECE)..]]
    };
    if let Some(what) = pieces.into_iter().find_map(secret::resembles) {
        return Some(Finding::new(
            "secret-argument",
            format!("{key} holds {what}"),
            "look whether it should go there",
        ));
    }
    const VALUES: &[&str] = &[
        "url",
        "uri",
        "ref",
        "branch",
        "target",
        "path",
        "remote",
        "revision",
        "rev",
        "tag",
        "commit",
        "repo",
        "repository",
        "file",
        "host",
        "hostname",
        "origin",
        "base",
        "source",
        "destination",
        "start",
        "upstream",
        "package",
    ];
    let option = text
        .strip_prefix('-')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '-'));
    if option && words(key).iter().any(|word| VALUES.contains(&word.as_str())) {
        let reason = format!("{key} begins like an option, which programs behind a tool may obey");
        return Some(Finding::new("option-argument", reason, "look whether it should"));
    }
    if text.len() > limits::URL_BYTES || !text.contains("//") {
        return None;
    }
    let start = text.find("http")?;
    let address =
        text[start..].split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '>' | ')')).next()?;
    let place = ::url::Url::parse(address).ok()?;
    let metadata = match place.host()? {
        ::url::Host::Ipv4(ip) => address::classify(ip.into()) == address::Class::Metadata,
        ::url::Host::Ipv6(ip) => address::classify(ip.into()) == address::Class::Metadata,
        ::url::Host::Domain(name) => url::is_metadata_name(name),
    };
    metadata.then(|| {
        Finding::new(
            "metadata-address",
            format!("{key} leads to where clouds hand out credentials"),
            "look whether it should",
        )
    })
}

/// Tag characters that belong to no flag.
fn tags(text: &str) -> bool {
    !text.is_ascii()
        && text.contains(|c| matches!(c, '\u{e0000}'..='\u{e007f}'))
        && crate::text::hidden(text).hides
}

fn strip(value: &mut Value) {
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if tags(text) => *text = crate::text::visible(text).into_owned(),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => open.extend(fields.values_mut()),
            _ => {}
        }
    }
}
