//! `release`: what must hold before a version is published, and the publishing itself.

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, Package};

use crate::args::Args;
use crate::process;
use crate::project;
use crate::steps::Steps;

pub(crate) const HELP: &str = "\
checks versions, tag, changelog and packages, and prints what would be published

Usage: cargo xtask release --dry-run
       cargo xtask release            (in CI only, with CARGO_REGISTRY_TOKEN set)
";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let dry_run = args.switch("--dry-run");
    args.finish()?;
    let may_publish = project::in_ci() && std::env::var_os("CARGO_REGISTRY_TOKEN").is_some();
    if !dry_run && !may_publish {
        bail!(
            "publishing happens in CI, with CARGO_REGISTRY_TOKEN set. Use --dry-run to see what would happen"
        );
    }
    let metadata = project::members()?;
    let order = publishing_order(&metadata)?;
    let version = one_version(&order)?;

    let mut steps = Steps::default();
    let mut fine = steps.run("tag", || {
        let named = |name| std::env::var(name).unwrap_or_default();
        tag(&named("GITHUB_REF_TYPE"), &named("GITHUB_REF_NAME"), &version)
    });
    fine &= steps.run("changelog", || changelog(&version));
    fine &= steps.run("packages", || package(&metadata));
    if fine && !dry_run {
        steps.run("publish", || {
            process::run(
                project::cargo().args(["publish", "--workspace", "--locked"]).args(unpublished(&metadata)),
            )
        });
    }
    println!("\nVersion {version}, in this order:");
    for package in &order {
        println!("  {} {}", package.name, package.version);
    }
    println!("Then: git tag v{version}");
    steps.finish()
}

/// The published packages, each after those it depends on.
fn publishing_order(metadata: &Metadata) -> Result<Vec<&Package>> {
    let mut waiting: Vec<&Package> =
        metadata.packages.iter().filter(|package| project::is_published(package)).collect();
    let mut order: Vec<&Package> = Vec::new();
    while !waiting.is_empty() {
        let blocked = |package: &Package| {
            let mut needs =
                package.dependencies.iter().filter(|need| need.kind != DependencyKind::Development);
            needs.any(|need| waiting.iter().any(|other| *other.name == need.name))
        };
        let (later, now): (Vec<&Package>, Vec<&Package>) =
            waiting.iter().partition(|package| blocked(package));
        if now.is_empty() {
            bail!("the packages depend on each other in a circle: {later:?}");
        }
        order.extend(now);
        waiting = later;
    }
    Ok(order)
}

/// All published packages have one version, and ask each other for that version.
fn one_version(packages: &[&Package]) -> Result<String> {
    let first = packages.first().context("nothing is published")?;
    for package in packages {
        if package.version != first.version {
            bail!("{} is {}, but {} is {}", package.name, package.version, first.name, first.version);
        }
        for need in &package.dependencies {
            let ours = packages.iter().any(|other| *other.name == need.name);
            if ours && need.kind != DependencyKind::Development && !need.req.matches(&first.version) {
                bail!("{} asks for {} {}, but this is {}", package.name, need.name, need.req, first.version);
            }
        }
    }
    Ok(first.version.to_string())
}

/// Where a tag is what is built, it names this version.
fn tag(kind: &str, name: &str, version: &str) -> Result<()> {
    let wanted = format!("v{version}");
    if kind != "tag" {
        println!("no tag is built; the tag of this version is {wanted}");
    } else if name == wanted {
        println!("the tag is {wanted}");
    } else {
        bail!(
            "the tag is {name:?}, but the version is {version}: tag {wanted}, or set the version in Cargo.toml"
        );
    }
    Ok(())
}

fn changelog(version: &str) -> Result<()> {
    let text =
        std::fs::read_to_string(project::root().join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
    let heading = format!("## [{version}]");
    if !text.lines().any(|line| line.starts_with(&heading)) {
        bail!("CHANGELOG.md has no heading `{heading}`");
    }
    println!("CHANGELOG.md has `{heading}`");
    Ok(())
}

fn package(metadata: &Metadata) -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["package", "--workspace", "--no-verify", "--allow-dirty", "--quiet"]);
    process::run(cargo.args(unpublished(metadata)))
}

fn unpublished(metadata: &Metadata) -> Vec<String> {
    let packages = metadata.packages.iter().filter(|package| !project::is_published(package));
    packages.flat_map(|package| ["--exclude".to_owned(), package.name.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_comes_after_those_it_needs() {
        let metadata = project::members().unwrap();
        let order = publishing_order(&metadata).unwrap();
        let place = |name: &str| order.iter().position(|package| *package.name == *name).unwrap();
        assert!(place("mcp-core") < place("mcp-transport"));
        assert!(place("mcp-client") < place("massgen"));
        assert!(place("massgen") < place("massgen-cli"));
        assert!(order.iter().all(|package| *package.name != *"massgen-testkit"));
        assert!(one_version(&order).is_ok());
    }

    #[test]
    fn a_tag_that_names_another_version_publishes_nothing() {
        for (kind, name, fits) in [
            ("tag", "v1.2.3", true),
            ("tag", "1.2.3", false),
            ("tag", "v1.2.4", false),
            ("tag", "", false),
            ("branch", "main", true),
            ("", "", true),
        ] {
            assert_eq!(tag(kind, name, "1.2.3").is_ok(), fits, "{kind} {name}");
        }
    }
}
