//! `check`: what a change must pass before anybody looks at it.

use anyhow::Result;

use crate::args::Args;
use crate::process;
use crate::project;
use crate::steps::Steps;
use crate::tidy;

pub(crate) const HELP: &str = "\
formatting, clippy without warnings, and the project's own rules (tidy)

Usage: cargo xtask check
";

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    let mut steps = Steps::default();
    add_to(&mut steps);
    steps.finish()
}

/// The three steps, for `ci` as well.
pub(crate) fn add_to(steps: &mut Steps) {
    steps.run("format", || process::run(project::cargo().args(["fmt", "--all", "--check"])));
    steps.run("clippy", || {
        let args = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked"];
        process::run(project::cargo().args(args).args(["--", "-D", "warnings"]))
    });
    steps.run("tidy", tidy::check);
}
