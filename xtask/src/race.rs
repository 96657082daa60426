//! `race`: our whole pipeline against a bare client, on the same server, one after the other, again and again.

mod report;
mod runner;

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::process;
use crate::project;

pub(crate) const HELP: &str = "\
races the whole pipeline of mcp-client against bare rmcp, as one table

Usage: cargo xtask race [--rounds-N] [--write] [SUITE...]

Suites: seq100, seq64k, big1m, conc128, conc1024, list500, connect1, connect50, cold, http100, httpc128. Default: all.

  --rounds-N   how often each suite is run, 1 to 9; default 3
  --write      put the table into docs/performance.md

Each round starts a fresh process and a fresh server for each contender, and the order changes. Figures are medians
over the rounds; a ratio is taken within a round. Any contender of the same protocol can be added by hand: see the
examples contender (mcp-client), bare_rmcp and race_server (mcp-transport).
";

/// What a suite does, and what is compared.
struct Suite {
    name: &'static str,
    what: &'static str,
    /// The server's arguments; over HTTP where it is so.
    server: &'static str,
    http: bool,
    /// The contender's arguments.
    args: &'static str,
    /// The figure that is compared, its unit, and whether more of it is better.
    figure: &'static str,
    unit: &'static str,
    more_is_better: bool,
    /// What the ratios should be: of the figure, and of processor time.
    targets: (&'static str, &'static str),
}

const STDIO: Suite = Suite {
    name: "",
    what: "",
    server: "",
    http: false,
    args: "",
    figure: "p50_us",
    unit: "µs",
    more_is_better: false,
    targets: ("", ""),
};

const SUITES: &[Suite] = &[
    Suite {
        name: "seq100",
        what: "one call after the other, 100 bytes",
        args: "--scenario seq --calls 2000",
        targets: ("≤ 0.75", "≤ 0.5"),
        ..STDIO
    },
    Suite {
        name: "seq64k",
        what: "64 KiB there and back",
        args: "--scenario seq --payload 65536 --calls 400",
        ..STDIO
    },
    Suite {
        name: "big1m",
        what: "a result of 1 MiB",
        args: "--scenario seq --tool big --payload 1048576 --warmup 3 --calls 60",
        targets: ("≤ 0.5", "≤ 0.5"),
        ..STDIO
    },
    Suite {
        name: "conc128",
        what: "128 calls in flight",
        args: "--scenario conc --inflight 128 --calls 6000",
        figure: "calls_per_s",
        unit: "calls/s",
        more_is_better: true,
        targets: ("≥ 1.1", "≤ 0.6"),
        ..STDIO
    },
    Suite {
        name: "conc1024",
        what: "1,024 calls in flight",
        args: "--scenario conc --inflight 1024 --calls 8000",
        figure: "calls_per_s",
        unit: "calls/s",
        more_is_better: true,
        targets: ("≥ 1.1", "≤ 0.6"),
        ..STDIO
    },
    Suite {
        name: "list500",
        what: "listing 500 tools",
        server: "--tools 500",
        args: "--scenario list --calls 20",
        targets: ("≤ 0.5", "≤ 0.5"),
        ..STDIO
    },
    Suite {
        name: "connect1",
        what: "starting one server of 50 tools",
        args: "--scenario connect --servers 1",
        figure: "wall_s",
        unit: "s",
        ..STDIO
    },
    Suite {
        name: "connect50",
        what: "starting 50 servers of 50 tools",
        args: "--scenario connect --servers 50",
        figure: "wall_s",
        unit: "s",
        targets: ("≤ 1.0", "≤ 0.7"),
        ..STDIO
    },
    Suite {
        name: "cold",
        what: "from the start of the process to its end, with one call",
        args: "--scenario cold",
        figure: "process_s",
        unit: "s",
        ..STDIO
    },
    Suite {
        name: "http100",
        what: "one call after the other over HTTP, 100 bytes",
        http: true,
        args: "--scenario seq --calls 1500",
        targets: ("≤ 0.45", "≤ 0.4"),
        ..STDIO
    },
    Suite {
        name: "httpc128",
        what: "128 calls in flight over HTTP",
        http: true,
        args: "--scenario conc --inflight 128 --calls 3000",
        figure: "calls_per_s",
        unit: "calls/s",
        more_is_better: true,
        ..STDIO
    },
];

pub(crate) fn run(mut args: Args) -> Result<()> {
    let write = args.switch("--write");
    let rounds = (1..=9).find(|n| args.switch(&format!("--rounds-{n}"))).unwrap_or(3);
    let names = args.names()?;
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        bail!("no suite {unknown:?}. `--help` lists them");
    }
    let programs = build()?;
    let mut rows = Vec::new();
    for suite in SUITES.iter().filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name))
    {
        let pairs = runner::race(suite, &programs, rounds).with_context(|| suite.name.to_owned())?;
        rows.push(report::row(suite, &pairs));
        println!("{}", rows.last().map(String::as_str).unwrap_or_default());
    }
    let table = report::table(&rows);
    println!("\n{table}");
    if write {
        report::write(&table).context("docs/performance.md")?;
    }
    Ok(())
}

/// Builds the contenders and their server with all optimisations.
fn build() -> Result<runner::Programs> {
    let example = |package: &str, name: &str, features: &[&str]| {
        let mut cargo = project::cargo();
        cargo.args(["build", "--release", "--package", package, "--example", name]).args(features);
        process::run(&mut cargo)
    };
    example("mcp-client", "contender", &[])?;
    example("mcp-transport", "bare_rmcp", &["--features", "serve-http"])?;
    example("mcp-transport", "race_server", &["--features", "serve-http"])?;
    let folder = project::release_folder()?.join("examples");
    let path = |name: &str| folder.join(project::program(name));
    Ok(runner::Programs { ours: path("contender"), bare: path("bare_rmcp"), server: path("race_server") })
}
