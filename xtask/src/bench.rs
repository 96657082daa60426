//! `bench`: criterion benches, and measurements of whole processes that no bench inside one can make.

mod measure;
mod report;

use anyhow::{Context, Result};
use cargo_metadata::TargetKind;

use crate::args::Args;
use crate::demo;
use crate::process;
use crate::project::{self, Profile};

pub(crate) const HELP: &str = "\
criterion benches, start-up time, memory and size of the binary, as one table

Usage: cargo xtask bench [--process-only] [--write]

  --process-only   measure whole processes, run no criterion benches
  --write          put the table into docs/performance.md
";

/// One figure, and what it should be.
struct Figure {
    what: &'static str,
    value: String,
    target: &'static str,
}

pub(crate) fn run(mut args: Args) -> Result<()> {
    let process_only = args.switch("--process-only");
    let write = args.switch("--write");
    args.finish()?;
    demo::build(Profile::Dist)?;
    let mut figures = measure::processes()?;
    if !process_only {
        // All at once: what they have in common is built once. Shorter than criterion's own times, whose last digits
        // nobody reads here.
        let packages = with_benches()?;
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        let times = ["--noplot", "--warm-up-time", "1", "--measurement-time", "2"];
        process::run(project::cargo().arg("bench").args(packages).args(["--bench", "*", "--"]).args(times))?;
        figures.extend(measure::criterion()?);
    }
    let table = report::table(&figures);
    println!("\n{table}");
    if write {
        report::write(&table).context("docs/performance.md")?;
    }
    Ok(())
}

/// The packages with a bench of their own.
fn with_benches() -> Result<Vec<String>> {
    let has_bench = |package: &&cargo_metadata::Package| {
        package.targets.iter().any(|target| target.kind.contains(&TargetKind::Bench))
    };
    Ok(project::members()?
        .packages
        .iter()
        .filter(has_bench)
        .map(|package| package.name.to_string())
        .collect())
}
