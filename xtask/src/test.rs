//! `test`: the whole workspace's tests, the third-party servers included.

use anyhow::Result;

use crate::args::Args;
use crate::process;
use crate::project;

pub(crate) const HELP: &str = "\
the workspace's tests, the slow ones included

Usage: cargo xtask test [-- ARGUMENTS OF CARGO TEST]

Tests against third-party servers use what `cargo xtask tools` has installed, and say so where it is missing.
";

pub(crate) fn run(args: Args) -> Result<()> {
    tests(&args.rest())
}

/// `cargo test` over the workspace, with the slow suites.
pub(crate) fn tests(more: &[String]) -> Result<()> {
    process::run(
        project::cargo().args(["test", "--workspace", "--no-fail-fast"]).args(more).env("MASSGEN_SLOW", "1"),
    )
}
