//! How a server is reached, as it was accepted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Change;

/// How a server is reached, as somebody accepted it: the command line, or the address, and what is run by it. No value of
/// a variable or header is in it, only their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchPin {
    /// The program, as the configuration names it. A package's name and version are among the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// The names of the variables that it is given besides those that every server inherits.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub env: BTreeSet<String>,
    /// Its working folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The address of a server that is not started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The names of the headers that are sent there.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub headers: BTreeSet<String>,
    /// The scripts among its arguments, as they are named there, each with the SHA-256 of its content.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, String>,
    /// The program that was found under that name on this computer; `None`: it may lie elsewhere on each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved: Option<ProgramPin>,
}

/// A program on this computer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramPin {
    /// Where it is.
    pub path: String,
    /// The SHA-256 of its content; `None`: the system's administrator alone can change it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl LaunchPin {
    /// What of it is the same on each computer: the one that goes into a lock that several people share.
    #[must_use]
    pub fn shared(&self) -> Self {
        Self { resolved: None, ..self.clone() }
    }

    /// What differs now; `None`: nothing. Where the program was found counts only where this says so.
    ///
    /// ```
    /// use mcp_security::lock::LaunchPin;
    /// let pin = |script: &str| LaunchPin { program: Some("cmd".into()), args: vec![script.into()], ..LaunchPin::default() };
    /// assert_eq!(pin("a.js").judge(&pin("a.js")), None);
    /// assert_eq!(pin("a.js").judge(&pin("b.js")).unwrap().to_string(), "args[0]\n  - \"a.js\"\n  + \"b.js\"");
    /// ```
    pub fn judge(&self, now: &Self) -> Option<Change> {
        let tree = |pin: &Self| {
            let pin = if self.resolved.is_some() { pin.clone() } else { pin.shared() };
            // A tree of texts always has a spelling.
            let mut tree = serde_json::to_value(&pin).unwrap_or(Value::Null);
            // A name that came or went is told by itself, and not by how it moved the others.
            for (key, names) in [("env", &pin.env), ("headers", &pin.headers)] {
                if let Some(list) = tree.get_mut(key) {
                    *list = names.iter().map(|name| (name.clone(), Value::from("given"))).collect();
                }
            }
            tree
        };
        let change = Change::between(&tree(self), &tree(now));
        (!change.is_empty()).then_some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pin() -> LaunchPin {
        LaunchPin {
            program: Some("python".into()),
            args: vec!["server.py".into()],
            env: BTreeSet::from(["TOKEN".into()]),
            scripts: BTreeMap::from([("server.py".into(), "00ff".into())]),
            resolved: Some(ProgramPin { path: "/usr/bin/python3".into(), sha256: None }),
            ..LaunchPin::default()
        }
    }

    #[test]
    fn everything_that_would_start_something_else_is_a_change() {
        type Twist = fn(&mut LaunchPin);
        let twists: [(Twist, &str); 7] = [
            (|pin| pin.program = Some("node".into()), "program"),
            (|pin| pin.args.push("--evil".into()), "args[1]"),
            (|pin| pin.env.extend(["NODE_OPTIONS".to_owned()]), "env.NODE_OPTIONS"),
            (|pin| pin.cwd = Some("/elsewhere".into()), "cwd"),
            (|pin| drop(pin.scripts.insert("server.py".into(), "11".into())), "scripts.server.py"),
            (|pin| pin.url = Some("https://elsewhere.example/".into()), "url"),
            (
                |pin| pin.resolved = Some(ProgramPin { path: "/tmp/python".into(), sha256: None }),
                "resolved.path",
            ),
        ];
        for (twist, path) in twists {
            let mut now = pin();
            twist(&mut now);
            let change = pin().judge(&now).unwrap();
            assert_eq!(change.paths().next().unwrap(), path, "{change}");
            assert_eq!(pin().shared().judge(&now).is_some(), path != "resolved.path", "{path}");
        }
        assert_eq!(pin().judge(&pin()), None);
    }

    #[test]
    fn what_is_written_is_read() {
        let text = serde_json::to_string(&pin()).unwrap();
        assert_eq!(serde_json::from_str::<LaunchPin>(&text).unwrap(), pin());
        assert!(!serde_json::to_string(&pin().shared()).unwrap().contains("resolved"));
    }
}
