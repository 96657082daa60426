//! `soak`: a whole run beside a server that fails half of its calls, for as long as one likes.

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::project;

pub(crate) const HELP: &str = "\
run four agents and three servers, one of which fails half of its calls

Usage: cargo xtask soak [--seconds N] [--seed N] [--json] [--release]

  --seconds N   how long, 120 unless given
  --seed N      which of its calls the failing server fails, 11 unless given
  --json        one JSON document
  --release     the optimised program

Turns with the failing server and without it alternate. It fails where the run does not finish, where a call to a healthy
server goes wrong or p99 of their calls is 1.1 times as high or more while the failing one is used, where a change of a
circuit is not told in one line, and where a process is left. Where a busy machine alone may have made the difference,
the verdict says \"undecided\": run it longer, or on an idle machine.
";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let seconds = args.value("--seconds")?.unwrap_or_else(|| "120".to_owned());
    if seconds.parse::<u32>().is_err() {
        bail!("--seconds wants a whole number, not {seconds:?}");
    }
    let seed = args.value("--seed")?.unwrap_or_else(|| "11".to_owned());
    if seed.parse::<u64>().is_err() {
        bail!("--seed wants a whole number, not {seed:?}");
    }
    let mut command = project::cargo();
    command.args(["test", "--quiet", "--package", "massgen-cli", "--test", "soak"]);
    if args.switch("--release") {
        command.arg("--release");
    }
    command.args(["--", "--seconds", &seconds, "--seed", &seed]);
    if args.switch("--json") {
        command.arg("--json");
    }
    args.finish()?;
    // Nothing but the report on standard output, whatever it says.
    if !command.status().context("cannot start cargo")?.success() {
        bail!("the run is not as it should be");
    }
    Ok(())
}
