//! Reads a [`Node`] by its [`Table`]: everything wrong is reported, everything right is handed on.

use std::collections::hash_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use crate::diagnostic::{Diagnostic, Diagnostics, Place, Severity, Source};
use crate::node::{Entry, Node, Value};
use crate::schema::{EFFECTS, Kind, Role, Table, nearest};

/// The longest time limit: a day.
const LONGEST: f64 = 86_400.0;

/// A key's full name, such as `agents[1].backend.model`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyPath(String);

impl KeyPath {
    pub(crate) fn key(&self, key: &str) -> Self {
        let plain = !key.is_empty()
            && !key.contains(|c: char| c.is_whitespace() || c.is_control() || ".[]\"".contains(c));
        let key =
            if plain { key.to_owned() } else { format!("{:?}", key.chars().take(64).collect::<String>()) };
        Self(if self.0.is_empty() { key } else { format!("{}.{key}", self.0) })
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// Whether it ends with this key.
    pub(crate) fn is_key(&self, key: &str) -> bool {
        self.0.rsplit('.').next() == Some(key)
    }

    /// Whether this is a value of a server.
    pub(crate) fn is_inside_servers(&self) -> bool {
        let mut keys = self.0.split(['.', '[']);
        self.0.starts_with("servers.")
            || self.0.starts_with("mcp.servers.")
            || keys.any(|key| matches!(key, "mcp_servers" | "mcpServers"))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Collects the problems of one file.
pub(crate) struct Reader<'a> {
    pub source: &'a Source,
    pub diagnostics: &'a mut Diagnostics,
    /// Keys that need no warning where they are unknown: other programs' files have some of their own.
    pub tolerated: &'static [&'static str],
    /// The places of values that are wrong already: what follows from that is not worth a word.
    pub broken: Vec<Place>,
}

/// A mapping whose values have the right kind.
pub(crate) struct Section<'n> {
    pub path: KeyPath,
    pub place: Place,
    entries: Vec<&'n Entry>,
    /// Keys that no table knows.
    pub unknown: Vec<&'n Entry>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(source: &'a Source, diagnostics: &'a mut Diagnostics) -> Self {
        Self { source, diagnostics, tolerated: &[], broken: Vec::new() }
    }
}

impl Reader<'_> {
    pub(crate) fn error(
        &mut self,
        place: Place,
        path: &KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Error, place, path, message.into(), help.into());
    }

    pub(crate) fn warn(
        &mut self,
        place: Place,
        path: &KeyPath,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(Severity::Warning, place, path, message.into(), help.into());
    }

    fn report(&mut self, severity: Severity, place: Place, path: &KeyPath, message: String, help: String) {
        if self.broken.contains(&place) {
            return;
        }
        let diagnostic: Diagnostic = self.source.diagnostic(severity, place, path.to_string(), message);
        self.diagnostics.push(if help.is_empty() { diagnostic } else { diagnostic.with_help(help) });
    }

    /// A mapping by its table; `null` is an empty one. `None`, and reported, where it is something else.
    pub(crate) fn section<'n>(
        &mut self,
        node: &'n Node,
        path: &KeyPath,
        table: &'static Table,
    ) -> Option<Section<'n>> {
        let mut section = self.open(node, path, table)?;
        for entry in std::mem::take(&mut section.unknown) {
            self.unknown(entry, path, table);
        }
        Some(section)
    }

    /// The same, leaving unknown keys to the caller.
    pub(crate) fn open<'n>(
        &mut self,
        node: &'n Node,
        path: &KeyPath,
        table: &'static Table,
    ) -> Option<Section<'n>> {
        let mut section =
            Section { path: path.clone(), place: node.place, entries: Vec::new(), unknown: Vec::new() };
        let entries = match &node.value {
            Value::Null => return Some(section),
            Value::Map(entries) => entries,
            _ => {
                let keys: Vec<_> = table.keys.iter().take(3).map(|key| key.name).collect();
                let help = format!("write it as a mapping with keys such as {}", keys.join(", "));
                self.error(
                    node.place,
                    path,
                    format!("{path} must be a mapping, not {}", node.describe()),
                    help,
                );
                return None;
            }
        };
        self.duplicates(entries, path);
        let last: HashMap<&str, usize> =
            entries.iter().enumerate().map(|(i, entry)| (entry.key.as_str(), i)).collect();
        for (i, entry) in entries.iter().enumerate() {
            if last.get(entry.key.as_str()) != Some(&i) {
                continue;
            }
            let at = path.key(&entry.key);
            match table.key(&entry.key) {
                None => section.unknown.push(entry),
                Some(key) => {
                    if let Role::Idle(why) = key.role {
                        self.warn(entry.key_place, &at, why, "");
                    } else if !entry.node.is_null() && self.fits(&entry.node, &at, key.kind) {
                        section.entries.push(entry);
                    }
                }
            }
        }
        Some(section)
    }

    /// Later values win, as they did; that the earlier ones are lost is said.
    fn duplicates(&mut self, entries: &[Entry], path: &KeyPath) {
        let mut first: HashMap<&str, Place> = HashMap::new();
        for entry in entries {
            match first.entry(&entry.key) {
                Slot::Vacant(slot) => _ = slot.insert(entry.key_place),
                Slot::Occupied(first) => {
                    let at = path.key(&entry.key);
                    let message = format!("{at} is given twice; the later value is used");
                    let help = format!("remove one; the other is in line {}", first.get().line);
                    self.warn(entry.key_place, &at, message, help);
                }
            }
        }
    }

    pub(crate) fn unknown(&mut self, entry: &Entry, path: &KeyPath, table: &'static Table) {
        if self.tolerated.contains(&entry.key.as_str()) {
            return;
        }
        let at = path.key(&entry.key);
        let help = match table.nearest(&entry.key) {
            Some(near) => format!("did you mean {near}?"),
            None => {
                let names: Vec<_> =
                    table.keys.iter().filter(|key| key.role == Role::Read).map(|key| key.name).collect();
                if names.len() <= 10 {
                    format!("known keys here: {}", names.join(", "))
                } else {
                    String::new()
                }
            }
        };
        self.warn(entry.key_place, &at, format!("unknown key {at}; it is ignored"), help);
    }

    /// Whether a value has the right kind; reported where it has not. Sections check themselves when they are read.
    fn fits(&mut self, node: &Node, path: &KeyPath, kind: Kind) -> bool {
        let wanted: String = match kind {
            Kind::Text => match &node.value {
                Value::List(_) | Value::Map(_) => "text".into(),
                _ => return self.clean(node, path),
            },
            Kind::Bool => match node.as_bool() {
                Some(_) => return true,
                None => "true or false".into(),
            },
            Kind::Integer(least, most) => match as_integer(node) {
                Some(n) if (least..=most).contains(&n) => return true,
                _ if most == u64::MAX => format!("a whole number from {least} on"),
                _ => format!("a whole number from {least} to {most}"),
            },
            Kind::Number(least, most) => match as_number(node) {
                Some(n) if (least..=most).contains(&n) => return true,
                _ => format!("a number from {least} to {most}"),
            },
            Kind::Duration => match as_duration(node) {
                Some(_) => return true,
                None => "a time such as 30 (seconds), \"90s\", \"2m\" or \"500ms\", longer than nothing and at most a day".into(),
            },
            Kind::Choice(words) => match node.as_text() {
                Some(text) if choice(text, words).is_some() => return true,
                Some(text) => return self.no_choice(node, path, text, words),
                None => format!("one of {}", words.join(", ")),
            },
            Kind::TextList => match &node.value {
                Value::Map(_) => "a list of texts".into(),
                Value::List(items) => {
                    return items.iter().enumerate().fold(true, |good, (i, item)| {
                        let at = path.index(i);
                        let fits = match item.as_text() {
                            Some(_) => self.clean(item, &at),
                            None => {
                                let help = "put it in quotes, or remove it";
                                self.error(item.place, &at, format!("{at} must be text, not {}", item.describe()), help);
                                false
                            }
                        };
                        good && fits
                    });
                }
                _ => return self.clean(node, path),
            },
            Kind::TextMap => match &node.value {
                Value::Map(entries) => {
                    self.duplicates(entries, path);
                    return entries.iter().fold(true, |good, entry| {
                        let at = path.key(&entry.key);
                        let fits = match &entry.node.value {
                            Value::List(_) | Value::Map(_) => {
                                let message = format!("{at} must be text, not {}", entry.node.describe());
                                self.error(entry.node.place, &at, message, "write it as one text, in quotes");
                                false
                            }
                            _ => self.clean(&entry.node, &at),
                        };
                        good && fits
                    });
                }
                _ => "a mapping of names to texts".into(),
            },
            Kind::Switch => match &node.value {
                Value::Map(_) => {
                    let enabled = node.find("enabled").filter(|enabled| !enabled.is_null());
                    return enabled.is_none_or(|on| self.fits(on, &path.key("enabled"), Kind::Bool));
                }
                _ if node.as_bool().is_some() => return true,
                _ => "true, false, or a mapping with enabled".into(),
            },
            Kind::Effects => match &node.value {
                Value::Map(entries) => {
                    // Every wrong one is reported, not the first.
                    let mut good = true;
                    for entry in entries {
                        good &= self.fits(&entry.node, &path.key(&entry.key), Kind::Choice(&EFFECTS));
                    }
                    return good;
                }
                _ => return self.fits(node, path, Kind::Choice(&EFFECTS)),
            },
            Kind::Section(_) | Kind::List(_) | Kind::Servers(_) | Kind::Any => return true,
        };
        let found = match &node.value {
            Value::Number(_, text) | Value::Bool(_, text) => text.clone(),
            Value::Text(text)
                if !crate::mask::is_secret_name(path.0.rsplit('.').next().unwrap_or_default()) =>
            {
                short(text)
            }
            _ => node.describe().to_owned(),
        };
        self.error(node.place, path, format!("{path} must be {wanted}, not {found}"), "");
        false
    }

    fn no_choice(&mut self, node: &Node, path: &KeyPath, text: &str, words: &'static [&'static str]) -> bool {
        let help = match nearest(text, words.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("it is one of {}", words.join(", ")),
        };
        self.error(node.place, path, format!("{path} cannot be {}", short(text)), help);
        false
    }

    /// A NUL ends strings in every system call: nothing that takes one does what it seems to.
    fn clean(&mut self, node: &Node, path: &KeyPath) -> bool {
        if node.as_text().is_some_and(|text| text.contains('\0')) {
            self.error(node.place, path, format!("{path} contains a NUL character"), "remove it");
            return false;
        }
        true
    }
}

/// Text in quotes, cut where it is long.
pub(crate) fn short(text: &str) -> String {
    const LIMIT: usize = 60;
    if text.chars().count() <= LIMIT {
        format!("{text:?}")
    } else {
        format!("{:?}...", text.chars().take(LIMIT).collect::<String>())
    }
}

fn choice(text: &str, words: &'static [&'static str]) -> Option<&'static str> {
    let same = |word: &str| {
        word.eq_ignore_ascii_case(text.trim()) || word.replace('-', "_").eq_ignore_ascii_case(text.trim())
    };
    words.iter().copied().find(|word| same(word))
}

// Numbers may be text: that is how `${LIMIT:-5}` arrives.

fn as_integer(node: &Node) -> Option<u64> {
    match &node.value {
        // `3000.0` is a whole number, and Python wrote such.
        Value::Number(number, _) => number.as_u64().or_else(|| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole, not negative, below 2^53"
            )]
            number.as_f64().filter(|n| n.fract() == 0.0 && (0.0..9e15).contains(n)).map(|n| n as u64)
        }),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn as_number(node: &Node) -> Option<f64> {
    let number = match &node.value {
        Value::Number(number, _) => number.as_f64(),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|n| n.is_finite())
}

fn as_duration(node: &Node) -> Option<Duration> {
    let seconds = match &node.value {
        Value::Text(text) => {
            let text = text.trim();
            let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            let (number, unit) = text.split_at(digits);
            let factor = match unit.trim() {
                "" | "s" | "sec" | "seconds" => 1.0,
                "ms" => 0.001,
                "m" | "min" | "minutes" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            number.parse::<f64>().ok()? * factor
        }
        _ => as_number(node)?,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|d| !d.is_zero() && seconds <= LONGEST)
}

impl<'n> Section<'n> {
    /// The value, if it is there and of the right kind.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key).copied()
    }

    pub(crate) fn entries(&self) -> &[&'n Entry] {
        &self.entries
    }

    /// Takes entries away that mean nothing here.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&&'n Entry) -> bool) {
        self.entries.retain(keep);
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.node(key)?.as_text().map(str::to_owned)
    }

    pub(crate) fn bool(&self, key: &str) -> Option<bool> {
        self.node(key)?.as_bool()
    }

    pub(crate) fn integer(&self, key: &str) -> Option<u64> {
        as_integer(self.node(key)?)
    }

    pub(crate) fn small(&self, key: &str) -> Option<u32> {
        self.integer(key).and_then(|n| u32::try_from(n).ok())
    }

    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        as_number(self.node(key)?)
    }

    pub(crate) fn duration(&self, key: &str) -> Option<Duration> {
        as_duration(self.node(key)?)
    }

    /// One of the words, as the table spells it.
    pub(crate) fn choice(&self, key: &str, words: &'static [&'static str]) -> Option<&'static str> {
        choice(self.node(key)?.as_text()?, words)
    }

    pub(crate) fn list(&self, key: &str) -> Option<Vec<String>> {
        let node = self.node(key)?;
        Some(match &node.value {
            Value::List(items) => items.iter().filter_map(Node::as_text).map(str::to_owned).collect(),
            _ => node.as_text().map(str::to_owned).into_iter().collect(),
        })
    }

    /// Values that are `null` are empty texts.
    pub(crate) fn map(&self, key: &str) -> BTreeMap<String, String> {
        let entries = self.node(key).map(Node::entries).unwrap_or_default();
        entries.iter().map(|e| (e.key.clone(), e.node.as_text().unwrap_or_default().to_owned())).collect()
    }

    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.node(key).map_or(self.place, |node| node.place)
    }
}
