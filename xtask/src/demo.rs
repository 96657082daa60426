//! `demo`: the first command of the README. A team of agents answers a question with real tools.

use std::process::Command;

use anyhow::Result;

use crate::args::Args;
use crate::process;
use crate::project::{self, Profile};

pub(crate) const HELP: &str = "\
builds massgen and lets a team of three answer a question with real tools

Usage: cargo xtask demo [\"QUESTION\"] [--local-model] [OPTIONS OF MASSGEN]

Who plays the models: a provider whose key is set, else a local model server, else a script (the rehearsal).
The output says which.

  --local-model   bring a small model and a server for it (downloaded once, after asking)
";

/// The packages whose binaries a demo needs.
const PACKAGES: [&str; 3] = ["massgen-cli", "massgen-example-desk", "massgen-example-library"];

pub(crate) fn run(args: Args) -> Result<()> {
    build(Profile::Release)?;
    replace(demo()?.args(args.rest()))
}

/// Builds the product and the two example servers.
pub(crate) fn build(profile: Profile) -> Result<()> {
    let packages = PACKAGES.iter().flat_map(|name| ["--package", name]);
    process::run(project::cargo().args(["build", profile.option()]).args(packages))
}

/// `massgen demo` with the repository's own team, ready to be started.
pub(crate) fn demo() -> Result<Command> {
    let folder = Profile::Release.folder()?;
    let mut command = Command::new(folder.join(project::program("massgen")));
    command.current_dir(project::root()).env("MASSGEN_EXAMPLES_BIN", &folder);
    command.args(["demo", "--team", "examples/quickstart/team.yaml"]);
    Ok(command)
}

/// Becomes the command: Ctrl-C and the exit code are then its own.
#[cfg(unix)]
fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    eprintln!();
    Err(command.exec().into())
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> Result<()> {
    eprintln!();
    let status = command.status()?;
    std::process::exit(status.code().unwrap_or(1));
}
