//! `faults`: plays the matrix of faults against the real pipeline.

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::{process, project};

pub(crate) const HELP: &str = "\
play every known fault of servers, wires and disks, and count what comes of them

Usage: cargo xtask faults [--all] [--release] [--json] [FAULT...]

  --all      the long ones too, and floods in full size
  --release  with optimised code, of which the processor time under a flood is judged as well
  --json     one JSON document: per fault and in sum, sends per call that may change something, lateness, survivors

FAULT is a name such as F39. A fault that is not played says why, and does not count as passed.
";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let mut words = vec!["--measure".to_owned()];
    for switch in ["--all", "--json"] {
        if args.switch(switch) {
            words.push(switch.to_owned());
        }
    }
    let profile = if args.switch("--release") { &["--release"][..] } else { &[] };
    words.extend(args.names()?);
    let mut command = project::cargo();
    command.args(["test", "--quiet", "--package", "mcp-client", "--test", "faults"]).args(profile);
    command.arg("--").args(&words);
    if !words.iter().any(|word| word == "--json") {
        return process::run(&mut command);
    }
    // Nothing but the document on standard output, whatever it says.
    if !command.status().context("cannot start cargo")?.success() {
        bail!("some faults are not taken as they should be");
    }
    Ok(())
}
