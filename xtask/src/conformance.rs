//! `conformance`: MCP's official suite against our client, scored strictly.
//!
//! The suite itself is lenient: in its set modes it ignores how the client ended, and a scenario in which nothing was
//! checked counts as passed. So the score is our own (`conformance/score.rs`).

mod score;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::process;
use crate::project;
use crate::tools;
use score::Report;

pub(crate) const HELP: &str = "\
runs MCP's official conformance suite against our client

Usage: cargo xtask conformance [--json] [--record] [--scenario NAME [--revision REVISION]]

Runs the required scenarios of 2025-11-25 and 2026-07-28, those for older authorization servers, the extensions for
client credentials and enterprise-managed authorization, and the preservation of schemas. A scenario passes if the
client ended as it should, no check failed or warned, and each check listed in xtask/src/conformance/expected.txt
succeeded. Results are kept in target/conformance.

  --json             print the score as JSON, too
  --record           write expected.txt anew from this run, which must otherwise be without a failure
  --scenario NAME    run one scenario only, and show all of it
  --revision DATE    with --scenario: the protocol revision to run it at

It installs the suite and Node 22 through npm (`cargo xtask tools conformance`).
";

/// The limit for one run of the suite.
const LIMIT: Duration = Duration::from_secs(240);

/// What is run: a name for its results, and what the suite is told.
const RUNS: &[(&str, &[&str])] = &[
    ("2025-11-25", &["--requirements", "2025-11-25"]),
    ("2026-07-28", &["--requirements", "2026-07-28"]),
    ("backcompat", &["--suite", "backcompat"]),
    ("extensions", &["--scenario", "auth/client-credentials-basic"]),
    ("extensions", &["--scenario", "auth/client-credentials-jwt"]),
    ("extensions", &["--scenario", "auth/enterprise-managed-authorization"]),
    (
        "schemas-2025-11-25",
        &["--scenario", "json-schema-2020-12-preservation", "--spec-version", "2025-11-25"],
    ),
    (
        "schemas-2026-07-28",
        &["--scenario", "json-schema-2020-12-preservation", "--spec-version", "2026-07-28"],
    ),
];

pub(crate) fn run(mut args: Args) -> Result<()> {
    let json = args.switch("--json");
    let record = args.switch("--record");
    let scenario = args.value("--scenario")?;
    let revision = args.value("--revision")?;
    args.finish()?;
    let suite = Suite::prepare()?;
    if let Some(scenario) = scenario {
        let mut options = vec!["--scenario", scenario.as_str(), "--verbose"];
        if let Some(revision) = &revision {
            options.extend(["--spec-version", revision.as_str()]);
        }
        return process::run(&mut suite.command("single", &options));
    }
    if revision.is_some() {
        bail!("--revision goes with --scenario");
    }
    let report = suite.run()?;
    if record {
        report.record(&expected())?;
    }
    print!("{}", report.text());
    if json {
        println!("{}", report.json());
    }
    report.verdict()
}

/// All runs; what `ci` does.
pub(crate) fn check() -> Result<()> {
    run(Args::new(Vec::new()))
}

fn expected() -> PathBuf {
    project::root().join("xtask/src/conformance/expected.txt")
}

/// The installed suite and the client that it is run against.
struct Suite {
    programs: PathBuf,
    client: PathBuf,
    results: PathBuf,
}

impl Suite {
    fn prepare() -> Result<Self> {
        let programs = tools::folder_of("conformance")?.join("node_modules/.bin");
        process::run(project::cargo().args(["build", "-p", "mcp-client", "--example", "conformance"]))?;
        let target = project::target()?;
        let client =
            target.join("debug/examples").join(format!("conformance{}", std::env::consts::EXE_SUFFIX));
        let results = target.join("conformance");
        if results.is_dir() {
            std::fs::remove_dir_all(&results)
                .with_context(|| format!("cannot empty {}", results.display()))?;
        }
        Ok(Self { programs, client, results })
    }

    /// The suite, which is told to put its results into a folder of this name.
    fn command(&self, results: &str, options: &[&str]) -> Command {
        // The suite hands the command to a shell.
        let client = format!("\"{}\"", self.client.display());
        let mut command = Command::new(self.programs.join("conformance"));
        command.args(["client", "--command", &client]).args(options);
        command.arg("-o").arg(self.results.join(results)).env("PATH", self.path());
        command
    }

    /// PATH with our Node in front of any older one.
    fn path(&self) -> std::ffi::OsString {
        let mut folders = vec![self.programs.clone()];
        folders.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
        std::env::join_paths(folders).unwrap_or_else(|_| self.programs.clone().into_os_string())
    }

    fn run(&self) -> Result<Report> {
        for (name, options) in RUNS {
            println!("running {name}: {}", options.join(" "));
            let mut command = self.command(name, options);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            // It fails for scenarios that are not required, too: the score says what its failure means.
            if let Err(error) = process::run_within(LIMIT, &mut command)
                && !self.results.join(name).is_dir()
            {
                return Err(error);
            }
        }
        Report::read(&self.results, &expected())
    }
}

/// The folders below one that hold the checks of a scenario, with the scenario's name.
fn scenarios(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        if current.join("checks.json").is_file() {
            let name = current.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
            found.push((without_time(&name).to_owned(), current));
            continue;
        }
        let entries =
            std::fs::read_dir(&current).with_context(|| format!("no results in {}", current.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A scenario's name without the time that the suite puts behind it.
fn without_time(name: &str) -> &str {
    let is_time = |at: usize| {
        let tail = &name.as_bytes()[at..];
        let shape = b"-0000-00-00T";
        tail.len() > shape.len()
            && shape.iter().zip(tail).all(|(shape, byte)| match shape {
                b'0' => byte.is_ascii_digit(),
                _ => shape == byte,
            })
    };
    let at = name.match_indices('-').map(|(at, _)| at).find(|at| is_time(*at));
    at.map_or(name, |at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_taken_from_a_name_and_nothing_else() {
        for (name, expected) in [
            ("auth/basic-cimd-2026-11-24T07-27-49-607Z", "auth/basic-cimd"),
            ("json-schema-2020-12-preservation-2026-11-24T07-27-49-607Z", "json-schema-2020-12-preservation"),
            ("auth/2025-03-26-oauth-endpoint-fallback", "auth/2025-03-26-oauth-endpoint-fallback"),
        ] {
            assert_eq!(without_time(name), expected);
        }
    }
}
