//! SARIF 2.1.0, with what GitHub's code scanning asks for.

use std::collections::BTreeMap;
use std::path::Path;

use massgen::security::lock::sha256_hex;
use serde_json::{Value, json};

/// How bad a result is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Note,
    Warning,
    Error,
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// GitHub sorts by it: 7.0 and more is high, 4.0 and more is medium.
    fn security_severity(self) -> &'static str {
        match self {
            Self::Note => "2.0",
            Self::Warning => "5.0",
            Self::Error => "8.0",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) rule: String,
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) help: String,
    /// The file; `None`: it is about no file.
    pub(crate) file: Option<String>,
    /// The line, from 1; 0: the file as a whole.
    pub(crate) line: u64,
    /// What it is about, in words that stay when lines move.
    pub(crate) subject: String,
}

/// A whole SARIF document. Paths below `folder` are written from there.
pub(crate) fn document(entries: &[Entry], folder: &Path) -> Value {
    let mut rules: BTreeMap<&str, &Entry> = BTreeMap::new();
    for entry in entries {
        let worst = rules.entry(&entry.rule).or_insert(entry);
        if entry.level > worst.level {
            *worst = entry;
        }
    }
    let index = |rule: &str| rules.keys().position(|known| *known == rule);
    let results: Vec<Value> = entries
        .iter()
        .map(|entry| {
            let mut location = json!({
                "logicalLocations": [{"fullyQualifiedName": entry.subject, "kind": "object"}],
            });
            if let Some(file) = &entry.file {
                location["physicalLocation"] = json!({
                    "artifactLocation": {"uri": uri(file, folder)},
                    "region": {"startLine": entry.line.max(1)},
                });
            }
            json!({
                "ruleId": entry.rule,
                "ruleIndex": index(&entry.rule),
                "level": entry.level.as_str(),
                "message": {"text": format!("{}. {}", entry.message, entry.help).trim_end()},
                "locations": [location],
                "partialFingerprints": {
                    "massgenFinding/v1": sha256_hex(format!("{}\n{}\n{}", entry.rule, entry.subject, entry.message)),
                },
            })
        })
        .collect();
    let rules: Vec<Value> = rules
        .iter()
        .map(|(id, entry)| {
            json!({
                "id": id,
                "shortDescription": {"text": id.replace('-', " ")},
                "fullDescription": {"text": entry.message},
                "help": {"text": if entry.help.is_empty() { &entry.message } else { &entry.help }},
                "defaultConfiguration": {"level": entry.level.as_str()},
                "properties": {"tags": ["security", "mcp"], "security-severity": entry.level.security_severity()},
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "massgen", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// A path as a URI: relative to the folder where it lies below it.
fn uri(file: &str, folder: &Path) -> String {
    let path = Path::new(file);
    let path = path.strip_prefix(folder).unwrap_or(path);
    let path = path.strip_prefix(".").unwrap_or(path);
    let text = path.to_string_lossy().replace('\\', "/");
    let mut uri = if path.is_absolute() {
        if text.starts_with('/') { "file://" } else { "file:///" }.to_owned()
    } else {
        String::new()
    };
    for byte in text.bytes() {
        // A colon in a relative path would read as a scheme.
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/');
        if plain || (byte == b':' && path.is_absolute()) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        let folder = Path::new("/project");
        for (file, expected) in [
            ("team.yaml", "team.yaml"),
            ("./a b/team.yaml", "a%20b/team.yaml"),
            ("/project/sub/team.yaml", "sub/team.yaml"),
            ("/home/dev/.cursor/mcp.json", "file:///home/dev/.cursor/mcp.json"),
            ("c:team.yaml", "c%3Ateam.yaml"),
        ] {
            assert_eq!(uri(file, folder), expected);
        }
    }

    #[test]
    fn each_result_names_its_rule_and_its_place() {
        let entry = |rule: &str, level| Entry {
            rule: rule.to_owned(),
            level,
            message: "m".to_owned(),
            help: "h".to_owned(),
            file: Some("team.yaml".to_owned()),
            line: 7,
            subject: "mcp_servers.s".to_owned(),
        };
        let entries = [entry("b", Level::Warning), entry("a", Level::Note), entry("b", Level::Error)];
        let document = document(&entries, Path::new("/project"));
        let run = &document["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.len(), 2);
        assert_eq!(rules[1]["defaultConfiguration"]["level"], "error");
        for result in run["results"].as_array().unwrap() {
            let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(rules[index]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "team.yaml");
            assert_eq!(place["region"]["startLine"], 7);
            assert!(result["message"]["text"].is_string());
        }
    }
}
