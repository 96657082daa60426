//! `crates`: every published crate alone, so that none leans on a feature that another one switched on.

use anyhow::{Result, bail};
use cargo_metadata::Package;

use crate::args::Args;
use crate::process;
use crate::project;
use crate::steps::Steps;

pub(crate) const HELP: &str = "\
builds and tests every published crate alone, with each of its features

Usage: cargo xtask crates [--check-only] [CRATE...]

  --check-only   compile each crate and feature, run no tests
";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let work = if args.switch("--check-only") { Work::Compile } else { Work::CompileAndTest };
    each(work, &args.names()?)
}

/// How far to go with each crate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Compile,
    CompileAndTest,
}

/// Every published crate, or those with these names.
pub(crate) fn each(work: Work, names: &[String]) -> Result<()> {
    let mut steps = Steps::default();
    let mut known = Vec::new();
    for package in project::members()?.packages.iter().filter(|package| project::is_published(package)) {
        known.push(package.name.to_string());
        if !names.is_empty() && !names.iter().any(|name| *name == *package.name) {
            continue;
        }
        steps.run(&package.name, || alone(package, work));
    }
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        bail!("no published crate {unknown:?}. There are: {}", known.join(", "));
    }
    steps.finish()
}

fn alone(package: &Package, work: Work) -> Result<()> {
    for features in feature_sets(package.features.keys()) {
        // Without `--all-targets`: dev-dependencies would switch on features that a user of the crate does not get.
        process::run(project::cargo().args(["check", "--package", &package.name]).args(features))?;
    }
    if work == Work::CompileAndTest {
        process::run(project::cargo().args(["test", "--package", &package.name, "--all-features"]))?;
    }
    Ok(())
}

/// The sets of features to compile with: none, each alone, the default, all.
fn feature_sets<'a>(names: impl Iterator<Item = &'a String>) -> Vec<Vec<String>> {
    let names: Vec<&String> = names.collect();
    let mut sets = vec![vec!["--no-default-features".to_owned()]];
    for name in names.iter().filter(|name| **name != "default") {
        sets.push(["--no-default-features", "--features", name].map(str::to_owned).to_vec());
    }
    if names.iter().any(|name| *name == "default") {
        sets.push(Vec::new());
    }
    if names.len() > 1 {
        sets.push(vec!["--all-features".to_owned()]);
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_is_compiled_alone_and_all_together() {
        let check = |names: &[&str], expected: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let sets: Vec<String> = feature_sets(names.iter()).iter().map(|set| set.join(" ")).collect();
            assert_eq!(sets, expected);
        };
        check(&[], &["--no-default-features"]);
        check(&["a"], &["--no-default-features", "--no-default-features --features a"]);
        check(
            &["a", "default"],
            &["--no-default-features", "--no-default-features --features a", "", "--all-features"],
        );
    }
}
