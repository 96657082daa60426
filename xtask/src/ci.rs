//! `ci`: everything a change must pass, on a machine that has only Rust, Node and Python.

mod rehearsal;

pub(crate) use rehearsal::without_keys;

use anyhow::Result;

use crate::args::Args;
use crate::check;
use crate::conformance;
use crate::crates::{self, Work};
use crate::demo;
use crate::docs;
use crate::process;
use crate::project::{self, Profile};
use crate::steps::Steps;
use crate::test;
use crate::tools;

pub(crate) const HELP: &str = "\
everything a change must pass, with a table at the end

Usage: cargo xtask ci

Formatting, clippy, tidy, third-party tools, all tests, MCP's conformance suite, every crate alone, documentation, and a rehearsal with the
release binary. Set CI=true to turn a skipped set of tools into a failure.
";

pub(crate) fn run(args: Args) -> Result<()> {
    args.finish()?;
    let mut steps = Steps::default();
    check::add_to(&mut steps);
    steps.run("tools", tools::install_all);
    // Tests start our own programs; built beforehand, no test waits for a compiler.
    if steps.run("build", || process::run(project::cargo().args(["build", "--workspace", "--all-targets"]))) {
        steps.run("test", || test::tests(&[]));
        steps.run("conformance", conformance::check);
        // Each crate's tests have just run; what is left to see is that it compiles alone, with each feature.
        steps.run("crates", || crates::each(Work::Compile, &[]));
    } else {
        steps.skip("test", "the workspace does not build");
        steps.skip("conformance", "the workspace does not build");
        steps.skip("crates", "the workspace does not build");
    }
    steps.run("docs", docs::check);
    if steps.run("release build", || demo::build(Profile::Release)) {
        steps.run("rehearsal", rehearsal::check);
    } else {
        steps.skip("rehearsal", "there is no release binary");
    }
    steps.finish()
}
