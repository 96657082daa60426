//! `tidy`: the rules of this project that no compiler checks. Each rule is a module and a test.

mod architecture;
mod code;
mod deny;
mod graph;
mod layers;
mod manifests;
mod text;
mod weight;

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::links;
use crate::project;

pub(crate) const HELP: &str = "\
the project's own rules: layers, licences, bans, where a thing may be named

Usage: cargo xtask tidy

The same rules run as tests: cargo test -p xtask
";

/// A broken rule: where, and what to do about it.
type Problems = Vec<String>;

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    check()
}

/// All rules over the whole tree.
pub(crate) fn check() -> Result<()> {
    let root = project::root();
    let files = project::files()?;
    let sources = read(&root, &files, ".rs")?;
    let metadata = project::metadata()?;

    let graph = graph::Graph::from_metadata(&metadata);
    let mut problems = graph.forbidden_edges();
    problems.extend(graph.forbidden_reach());
    problems.extend(deny::check(&metadata, &read_file(&root, "deny.toml")?));
    problems.extend(weight::check()?);
    problems.extend(manifests::check(&metadata));
    problems.extend(code::check(&sources));
    problems.extend(text::check(&root, &files));
    problems.extend(links::check(&root, &files));
    problems.extend(architecture::check(&read_file(&root, "ARCHITECTURE.md")?, &sources));

    for note in code::long_files(&sources) {
        println!("note: {note}");
    }
    if !problems.is_empty() {
        for problem in &problems {
            println!("{problem}");
        }
        bail!("{} rules broken", problems.len());
    }
    println!("tidy: {} packages, {} source files, no complaint", graph.len(), sources.len());
    Ok(())
}

/// A source file: its path from the root, and its text.
struct Source {
    path: String,
    text: String,
}

fn read(root: &Path, files: &[String], ending: &str) -> Result<Vec<Source>> {
    let wanted = files.iter().filter(|file| file.ends_with(ending));
    wanted.map(|file| Ok(Source { path: file.clone(), text: read_file(root, file)? })).collect()
}

fn read_file(root: &Path, file: &str) -> Result<String> {
    std::fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_rules() {
        check().unwrap();
    }
}
