//! The dependency graph against the table of layers.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata};

use super::Problems;
use super::layers::{BANS, HOMES, LAYERS, Layer, RIVAL, STRANGERS, TESTKIT};

/// What the rules need to know: who declares whom, and who reaches whom.
#[derive(Default)]
pub(super) struct Graph {
    /// The workspace's packages.
    members: BTreeSet<String>,
    /// What a member's manifest names, with the kind.
    declared: Vec<(String, String, DependencyKind)>,
    /// What is linked in: normal and build dependencies, third parties included.
    linked: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(super) fn from_metadata(metadata: &Metadata) -> Self {
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            graph.members.insert(package.name.to_string());
            for dependency in &package.dependencies {
                graph.declared.push((package.name.to_string(), dependency.name.clone(), dependency.kind));
            }
        }
        let name = |id| metadata[id].name.to_string();
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let linked = node.deps.iter().filter(|dependency| {
                dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development)
            });
            graph
                .linked
                .entry(name(&node.id))
                .or_default()
                .extend(linked.map(|dependency| name(&dependency.pkg)));
        }
        graph
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    /// Edges inside the workspace that are not in the table, and third parties outside their home.
    pub(super) fn forbidden_edges(&self) -> Problems {
        let mut problems = Vec::new();
        for member in &self.members {
            if layer(member).is_none() {
                problems.push(format!("{member}: not in the table of layers (xtask/src/tidy/layers.rs)"));
            }
        }
        for (from, to, kind) in &self.declared {
            let strays = |home: &&Home| home.package == to && home.home != from && RIVAL != (from, to);
            if let Some(home) = HOMES.iter().find(strays) {
                let Home { home, why, .. } = home;
                problems.push(format!("{from} depends on {to}, which is for {home} only: {why}"));
            }
            let Some(layer) = layer(from).filter(|_| self.members.contains(to)) else { continue };
            if !may_depend(layer, to, *kind) {
                let kind = if *kind == DependencyKind::Development { "in tests " } else { "" };
                problems.push(format!(
                    "{from} depends {kind}on {to}: not in the table of layers. It may use: {}",
                    may_use(layer)
                ));
            }
        }
        problems
    }

    /// Packages reached, through whomever, that must not be.
    pub(super) fn forbidden_reach(&self) -> Problems {
        let mut problems = Vec::new();
        for ban in BANS {
            for from in self.members.iter().filter(|member| ban.from == "*" || ban.from == *member) {
                if ban.except_through == Some(from) || RIVAL == (from, ban.to) {
                    continue;
                }
                if let Some(path) = self.path(from, ban.to, ban.except_through) {
                    problems.push(format!("{} (banned: {})", path.join(" -> "), ban.why));
                }
            }
        }
        problems
    }

    /// The shortest way from one package to another that does not lead through `around`.
    fn path(&self, from: &str, to: &str, around: Option<&str>) -> Option<Vec<String>> {
        let mut seen = BTreeSet::from([from.to_owned()]);
        let mut paths = std::collections::VecDeque::from([vec![from.to_owned()]]);
        while let Some(path) = paths.pop_front() {
            let next = path.last().and_then(|last| self.linked.get(last));
            for package in next.into_iter().flatten() {
                if around == Some(package) || !seen.insert(package.clone()) {
                    continue;
                }
                let mut longer = path.clone();
                longer.push(package.clone());
                if package == to {
                    return Some(longer);
                }
                paths.push_back(longer);
            }
        }
        None
    }
}

use super::layers::Home;

fn layer(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().find(|layer| layer.name == name)
}

fn may_depend(from: &Layer, to: &str, kind: DependencyKind) -> bool {
    if from.may_use.contains(&to) {
        return true;
    }
    let strangers = STRANGERS.contains(&from.name) && STRANGERS.contains(&to);
    let lower = layer(to).and_then(|to| to.level).zip(from.level).is_some_and(|(to, from)| to < from);
    kind == DependencyKind::Development && (to == TESTKIT || (lower && !strangers))
}

fn may_use(layer: &Layer) -> String {
    if layer.may_use.is_empty() { "nothing of the workspace".to_owned() } else { layer.may_use.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph in which the first package of each pair declares the second, and is linked with it.
    fn graph(edges: &[(&str, &str, DependencyKind)]) -> Graph {
        let mut graph = Graph::default();
        for (from, to, kind) in edges {
            for name in [from, to] {
                if layer(name).is_some() {
                    graph.members.insert((*name).to_owned());
                }
            }
            if graph.members.contains(*from) {
                graph.declared.push(((*from).to_owned(), (*to).to_owned(), *kind));
            }
            if *kind != DependencyKind::Development {
                graph.linked.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            }
        }
        graph
    }

    fn check(edges: &[(&str, &str, DependencyKind)], complaints: &[&str]) {
        let graph = graph(edges);
        let mut problems = graph.forbidden_edges();
        problems.extend(graph.forbidden_reach());
        assert_eq!(problems.len(), complaints.len(), "{problems:#?}");
        for (problem, complaint) in problems.iter().zip(complaints) {
            assert!(problem.contains(complaint), "{problem:?} lacks {complaint:?}");
        }
    }

    use DependencyKind::{Build, Development, Normal};

    #[test]
    fn an_edge_of_the_table_is_allowed() {
        check(&[("mcp-client", "mcp-transport", Normal), ("mcp-transport", "mcp-core", Normal)], &[]);
    }

    #[test]
    fn a_forbidden_edge_is_found() {
        // Two crates of layer 1, as a normal and as a build dependency.
        check(&[("mcp-security", "mcp-transport", Normal)], &["mcp-security depends on mcp-transport"]);
        check(
            &[("massgen-config", "massgen-backends", Build)],
            &["massgen-config depends on massgen-backends"],
        );
        // Upwards.
        check(&[("mcp-core", "mcp-client", Normal)], &["It may use: nothing of the workspace"]);
        // Past the facade.
        check(&[("massgen-cli", "mcp-core", Normal)], &["It may use: massgen"]);
    }

    #[test]
    fn tests_may_use_the_testkit_and_lower_layers() {
        check(&[("mcp-core", "massgen-testkit", Development), ("massgen-cli", "mcp-core", Development)], &[]);
        check(&[("mcp-core", "massgen-testkit", Normal)], &["mcp-core depends on massgen-testkit"]);
        check(&[("mcp-core", "mcp-client", Development)], &["mcp-core depends in tests on mcp-client"]);
        // Strangers stay strangers.
        check(&[("mcp-security", "mcp-resilience", Development)], &["depends in tests on mcp-resilience"]);
    }

    #[test]
    fn a_banned_package_is_found_through_others() {
        check(
            &[("mcp-core", "globset", Normal), ("globset", "tokio", Normal)],
            &["mcp-core -> globset -> tokio (banned: the contract does no I/O)"],
        );
        check(&[("mcp-core", "globset", Normal), ("globset", "tokio", Development)], &[]);
    }

    #[test]
    fn rmcp_is_reached_through_transport_only() {
        check(&[("mcp-client", "mcp-transport", Normal), ("mcp-transport", "rmcp", Normal)], &[]);
        check(
            &[("mcp-client", "rmcp-extras", Normal), ("rmcp-extras", "rmcp", Normal)],
            &["mcp-client -> rmcp-extras -> rmcp"],
        );
        check(&[("massgen-testkit", "rmcp", Development)], &["which is for mcp-transport only"]);
        check(&[("massgen-race-bare", "rmcp", Normal)], &[]);
    }

    #[test]
    fn a_crate_that_is_not_in_the_table_is_found() {
        let mut graph = graph(&[]);
        graph.members.insert("mcp-extra".to_owned());
        assert!(graph.forbidden_edges()[0].contains("mcp-extra: not in the table"));
    }

    #[test]
    fn the_real_graph_keeps_the_table() {
        let graph = Graph::from_metadata(&crate::project::metadata().unwrap());
        assert_eq!(graph.forbidden_edges(), Problems::new());
        assert_eq!(graph.forbidden_reach(), Problems::new());
        // The rules looked at something: the one road to rmcp exists.
        assert!(graph.path("massgen-cli", "mcp-transport", None).is_some());
        assert!(LAYERS.iter().all(|layer| graph.members.contains(layer.name)), "a layer that does not exist");
    }
}
