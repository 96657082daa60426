//! Every key of the format, once. The reader checks files against these tables, suggestions for unknown keys come
//! from them, and so does the JSON Schema.

mod backend;
mod json;
mod mcp;
mod top;

use crate::BackendKind;

pub(crate) use backend::BACKEND;
pub use json::json_schema;
pub(crate) use mcp::{FOREIGN, MCP_SERVER, SAMPLING, SECURITY, SECURITY_ENV};
pub(crate) use top::{AGENT, LABEL, LABELS, LIMITS, NATURES, ORCHESTRATOR, PERMISSION, TIMEOUTS, TOP, UI};

/// A mapping with known keys.
#[derive(Debug)]
pub(crate) struct Table {
    /// Its name in the JSON Schema.
    pub name: &'static str,
    pub doc: &'static str,
    pub keys: &'static [Key],
}

impl Table {
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The known key that is spelt most like this one, if any is near.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keys.iter().map(|key| key.name))
    }
}

/// The candidate that is spelt most like `name`: within one edit for every three characters.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let name = plain(&name.chars().take(64).collect::<String>());
    let limit = (name.chars().count() / 3).clamp(1, 3);
    (candidates.into_iter())
        .map(|candidate| (strsim::damerau_levenshtein(&name, &plain(candidate)), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// One key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub doc: &'static str,
    pub role: Role,
    /// The backend types it means something to.
    pub only: Kinds,
}

/// What becomes of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It is read into the typed configuration.
    Read,
    /// It goes into the request as it is.
    Pass,
    /// massgen sets it in every request; a file's value would break the conversation.
    Reserved,
    /// Accepted, and does nothing; the text says why.
    Idle(&'static str),
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Any scalar, as it is written.
    Text,
    Bool,
    /// A whole number of this range.
    Integer(u64, u64),
    /// A number of this range.
    Number(f64, f64),
    /// Seconds, or text such as `90s`, `2m`, `500ms`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts; one text alone is a list of one.
    TextList,
    /// A mapping to texts; numbers and booleans are taken as they are written.
    TextMap,
    /// A mapping with known keys.
    Section(&'static Table),
    /// A list of mappings with known keys.
    List(&'static Table),
    /// A mapping of names to such mappings, or a list of such mappings with `name`.
    Servers(&'static Table),
    /// `planned`, `immediate`, or a mapping of patterns to these.
    Effects,
    /// A boolean, or a mapping with `enabled`.
    Switch,
    /// Anything.
    Any,
}

pub(crate) const EFFECTS: [&str; 2] = ["planned", "immediate"];

/// A set of backend types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds(u16);

impl Kinds {
    pub(crate) const ALL: Self = Self(u16::MAX);

    pub(crate) const fn of(kinds: &[BackendKind]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < kinds.len() {
            bits |= 1 << kinds[i] as u16;
            i += 1;
        }
        Self(bits)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn contains(self, kind: BackendKind) -> bool {
        self.0 & (1 << kind as u16) != 0
    }

    /// Their names, for people.
    pub(crate) fn names(self) -> String {
        let names: Vec<_> = BackendKind::ALL
            .into_iter()
            .filter(|&kind| self.contains(kind))
            .map(BackendKind::as_str)
            .collect();
        names.join(", ")
    }
}

const fn key(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, doc, role: Role::Read, only: Kinds::ALL }
}

const fn pass(name: &'static str, only: Kinds, doc: &'static str) -> Key {
    Key { name, kind: Kind::Any, doc, role: Role::Pass, only }
}

const fn reserved(name: &'static str) -> Key {
    Key {
        name,
        kind: Kind::Any,
        doc: "Set by massgen in every request; ignored here.",
        role: Role::Reserved,
        only: Kinds::ALL,
    }
}

const fn idle(name: &'static str, kind: Kind, why: &'static str) -> Key {
    Key { name, kind, doc: why, role: Role::Idle(why), only: Kinds::ALL }
}

const fn only(kinds: Kinds, key: Key) -> Key {
    Key { only: kinds, ..key }
}

const ANY_NUMBER: Kind = Kind::Integer(1, u32::MAX as u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_misses_are_found_and_far_ones_are_not() {
        for (name, expected) in [
            ("modle", Some("model")),
            ("Model", Some("model")),
            ("system-message", Some("system_message")),
            ("temprature", Some("temperature")),
            ("zzz", None),
            ("id", None),
        ] {
            assert_eq!(nearest(name, ["model", "system_message", "temperature", "type"]), expected, "{name}");
        }
    }

    #[test]
    fn no_table_has_a_key_twice() {
        for table in
            [&TOP, &AGENT, &BACKEND, &MCP_SERVER, &SECURITY, &SECURITY_ENV, &UI, &LIMITS, &ORCHESTRATOR]
        {
            for (i, key) in table.keys.iter().enumerate() {
                assert!(
                    table.keys[..i].iter().all(|other| other.name != key.name),
                    "{} {}",
                    table.name,
                    key.name
                );
            }
        }
    }
}
