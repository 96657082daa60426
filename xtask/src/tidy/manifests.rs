//! What every manifest must say.

use cargo_metadata::{DependencyKind, Metadata, Package};

use super::Problems;
use crate::project;

pub(super) fn check(metadata: &Metadata) -> Problems {
    let mut problems = Vec::new();
    for package in metadata.workspace_packages() {
        let text = std::fs::read_to_string(&package.manifest_path).unwrap_or_default();
        problems.extend(complaints(&text).map(|what| format!("{}/Cargo.toml: {what}", package.name)));
        if project::is_published(package) {
            problems.extend(unpublishable(package));
        }
    }
    problems
}

fn complaints(manifest: &str) -> impl Iterator<Item = &'static str> + '_ {
    let says = |line: &str| manifest.lines().any(|other| other.trim() == line);
    let rules = [
        (manifest.contains("[lints]\nworkspace = true"), "add `[lints] workspace = true`"),
        (says("edition.workspace = true"), "add `edition.workspace = true`"),
        (says("rust-version.workspace = true"), "add `rust-version.workspace = true`"),
        (says("license.workspace = true"), "add `license.workspace = true`"),
    ];
    rules.into_iter().filter(|(kept, _)| !kept).map(|(_, what)| what)
}

/// What the registry, or a reader of its page, would miss.
fn unpublishable(package: &Package) -> Problems {
    let mut problems = Vec::new();
    if package.description.is_none() {
        problems.push(format!("{}: published without a description", package.name));
    }
    for dependency in &package.dependencies {
        let versioned = dependency.req != cargo_metadata::semver::VersionReq::STAR;
        if dependency.path.is_some() && dependency.kind != DependencyKind::Development && !versioned {
            problems.push(format!("{}: {} needs a version beside its path", package.name, dependency.name));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_without_the_workspace_lints_is_found() {
        let whole = "edition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n";
        let found: Vec<_> = complaints(whole).collect();
        assert_eq!(found, ["add `[lints] workspace = true`"]);
        let text = format!("{whole}\n[lints]\nworkspace = true\n");
        assert_eq!(complaints(&text).count(), 0);
    }
}
