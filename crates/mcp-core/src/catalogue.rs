//! All tools of all servers, under the names that models see.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{ExposedName, ServerName, ToolFilter, ToolName, ToolSpec};

/// The merged tools. Clones share them. Lookup is by table; order is that of the servers and, within each, the server's own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    entries: Vec<CatalogueEntry>,
    index: HashMap<ExposedName, usize>,
}

/// One tool and the name under which models see it.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogueEntry {
    /// The name that models see.
    pub exposed: ExposedName,
    /// The tool.
    pub spec: Arc<ToolSpec>,
}

/// A catalogue, and what is worth telling about how it came to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Merge {
    /// The tools.
    pub catalogue: Catalogue,
    /// What was left out or looks wrong; never a reason to stop.
    pub notices: Vec<Notice>,
}

/// Something worth telling about one server's tools.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The server offers two tools of one name; the first stays.
    Duplicate {
        /// The server.
        server: ServerName,
        /// The name that came twice.
        tool: ToolName,
    },
    /// A filter pattern matches none of the server's tools; most likely it is misspelt.
    IdlePattern {
        /// The server.
        server: ServerName,
        /// The pattern.
        pattern: String,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duplicate { server, tool } => {
                write!(
                    f,
                    "server {:?} offers the tool {:?} twice; the first is used",
                    server.as_str(),
                    tool.as_str()
                )
            }
            Self::IdlePattern { server, pattern } => {
                write!(
                    f,
                    "server {:?}: the tool pattern {pattern:?} matches none of its tools",
                    server.as_str()
                )
            }
        }
    }
}

impl Catalogue {
    /// Merges the servers' tools, each through its filter.
    pub fn build<T: Into<Arc<ToolSpec>>>(
        servers: impl IntoIterator<Item = (ServerName, Vec<T>, ToolFilter)>,
    ) -> Merge {
        let mut merge = Merge::default();
        for (server, tools, filter) in servers {
            let tools: Vec<Arc<ToolSpec>> = tools.into_iter().map(Into::into).collect();
            let names: Vec<&ToolName> = tools.iter().map(|tool| &tool.name).collect();
            // A server without tools (yet) says nothing about the patterns.
            if !names.is_empty() {
                let idle = filter.idle_patterns(&server, &names);
                merge.notices.extend(idle.into_iter().map(|pattern| Notice::IdlePattern {
                    server: server.clone(),
                    pattern: pattern.to_owned(),
                }));
            }
            for spec in tools {
                if filter.permits(&server, &spec.name) {
                    merge.add(spec);
                }
            }
        }
        merge
    }

    /// Several catalogues as one; where two hold the same exposed name, the later one's tool is used.
    pub fn union<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self::default();
        for entry in parts.into_iter().flatten() {
            match union.index.get(&entry.exposed) {
                Some(&at) => union.entries[at] = entry.clone(),
                None => {
                    union.index.insert(entry.exposed.clone(), union.entries.len());
                    union.entries.push(entry.clone());
                }
            }
        }
        union
    }

    /// The tool of this exposed name.
    pub fn find(&self, exposed: &str) -> Option<&CatalogueEntry> {
        self.index.get(exposed).map(|&at| &self.entries[at])
    }

    /// The tool of this server and this name.
    pub fn find_on(&self, server: &str, tool: &str) -> Option<&CatalogueEntry> {
        self.entries.iter().find(|e| e.spec.server.as_str() == server && e.spec.name.as_str() == tool)
    }

    /// All tools, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, CatalogueEntry> {
        self.entries.iter()
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The same catalogue with only the tools that `keep` says yes to.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(&CatalogueEntry) -> bool) -> Self {
        let entries: Vec<_> = self.entries.iter().filter(|entry| keep(entry)).cloned().collect();
        let index = entries.iter().enumerate().map(|(at, entry)| (entry.exposed.clone(), at)).collect();
        Self { entries, index }
    }
}

impl Merge {
    fn add(&mut self, spec: Arc<ToolSpec>) {
        let exposed = ExposedName::for_tool(&spec.server, &spec.name);
        let catalogue = &mut self.catalogue;
        if catalogue.index.contains_key(&exposed) {
            self.notices.push(Notice::Duplicate { server: spec.server.clone(), tool: spec.name.clone() });
            return;
        }
        catalogue.index.insert(exposed.clone(), catalogue.entries.len());
        catalogue.entries.push(CatalogueEntry { exposed, spec });
    }
}

impl<'a> IntoIterator for &'a Catalogue {
    type Item = &'a CatalogueEntry;
    type IntoIter = std::slice::Iter<'a, CatalogueEntry>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, tools: &[&str]) -> (ServerName, Vec<ToolSpec>, ToolFilter) {
        let server = ServerName::new(name).unwrap();
        let tools =
            tools.iter().map(|tool| ToolSpec::new(server.clone(), ToolName::new(tool).unwrap())).collect();
        (server, tools, ToolFilter::default())
    }

    #[test]
    fn ambiguous_splits_are_told_apart_by_the_table() {
        // "a__b" + "c" and "a" + "b__c" spell the same plain name: only one may have it.
        let merge = Catalogue::build([server("a__b", &["c"]), server("a", &["b__c", "d"])]);
        assert_eq!(merge.catalogue.len(), 3, "{:?}", merge.notices);
        let names: Vec<_> = merge.catalogue.iter().map(|e| e.exposed.as_str()).collect();
        for entry in &merge.catalogue {
            assert_eq!(merge.catalogue.find(entry.exposed.as_str()), Some(entry), "{names:?}");
        }
    }

    #[test]
    fn a_union_keeps_order_and_lets_the_later_part_win() {
        let shared = Catalogue::build([server("a", &["x", "y"])]).catalogue;
        let mut own = Catalogue::build([server("a", &["x"]), server("b", &["z"])]).catalogue;
        Arc::make_mut(&mut own.entries[0].spec).description = Some("own".into());
        let union = Catalogue::union([&shared, &own]);
        let names: Vec<_> = union.iter().map(|entry| entry.exposed.as_str()).collect();
        assert_eq!(names, ["mcp__a__x", "mcp__a__y", "mcp__b__z"]);
        assert_eq!(union.find("mcp__a__x").unwrap().spec.description.as_deref(), Some("own"));
    }

    #[test]
    fn one_name_twice_costs_only_the_second() {
        let merge = Catalogue::build([server("a", &["x", "x", "list", "search/items"])]);
        assert_eq!(merge.catalogue.len(), 3);
        assert_eq!(merge.notices.len(), 1);
    }
}
