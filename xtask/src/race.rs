//! `race`: our whole pipeline against a bare client, on the same server, one after the other, again and again.

mod report;
mod runner;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::args::Args;
use crate::process;
use crate::project::{self, Profile};

/// After so long no further round begins.
const TIME: Duration = Duration::from_secs(480);

pub(crate) const HELP: &str = "\
races the whole pipeline of mcp-client against bare rmcp, as one table

Usage: cargo xtask race [--rounds-N] [--write] [SUITE...]

Suites: seq100, seq64k, big1m, conc128, conc1024, conc128-raw, list500, connect1, connect50, cold, http100, httpc128,
httpsleep-json. Default: all.

  --rounds-N   how often each suite is run, 1 to 9; default 5. After eight minutes no further round begins
  --write      put the table into docs/performance.md

Each round starts a fresh process and a fresh server for each contender, and the order changes. Figures are medians
over the rounds; a ratio is taken within a round. Any contender of the same protocol can be added by hand: see
examples/race, and the examples race_server and race_floor of mcp-transport.
";

/// What a suite does, and what is compared.
struct Suite {
    name: &'static str,
    what: &'static str,
    server: Server,
    rival: Rival,
    /// The contenders' arguments.
    args: &'static str,
    figure: Figure,
    /// What the ratios should be: of the figure, and of processor time.
    targets: (Option<f64>, Option<f64>),
    /// The most memory that ours should take, MB.
    memory: Option<f64>,
}

/// Who is raced against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rival {
    /// rmcp alone.
    Bare,
    /// A client that does next to nothing.
    Floor,
}

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// rmcp's server over stdio, with so many tools.
    Stdio { tools: usize },
    /// The same over streamable HTTP.
    Http,
    /// One that costs next to nothing, over stdio.
    Costless,
    /// One that costs next to nothing, over HTTP, with answers as JSON.
    CostlessHttp,
}

/// What is compared.
struct Figure {
    key: &'static str,
    unit: &'static str,
    more_is_better: bool,
}

const LATENCY: Figure = Figure { key: "p50_us", unit: "µs", more_is_better: false };
const RATE: Figure = Figure { key: "calls_per_s", unit: "calls/s", more_is_better: true };
const WALL: Figure = Figure { key: "wall_s", unit: "s", more_is_better: false };
const FIRST: Figure = Figure { key: runner::FIRST_RESULT, unit: "s", more_is_better: false };

const SEQUENCE: Suite = Suite {
    name: "seq100",
    what: "one call after the other, 100 bytes",
    server: Server::Stdio { tools: 50 },
    rival: Rival::Bare,
    args: "--scenario seq --calls 2000",
    figure: LATENCY,
    targets: (Some(0.75), Some(0.5)),
    memory: None,
};

const SUITES: &[Suite] = &[
    SEQUENCE,
    Suite {
        name: "seq64k",
        what: "64 KiB there and back",
        args: "--scenario seq --payload 65536 --calls 400",
        targets: (None, None),
        ..SEQUENCE
    },
    Suite {
        name: "big1m",
        what: "a result of 1 MiB",
        args: "--scenario seq --tool big --payload 1048576 --warmup 3 --calls 60",
        targets: (Some(0.5), Some(0.5)),
        ..SEQUENCE
    },
    Suite {
        name: "conc128",
        what: "128 calls in flight",
        args: "--scenario conc --inflight 128 --calls 6000",
        figure: RATE,
        targets: (Some(1.1), Some(0.6)),
        ..SEQUENCE
    },
    Suite {
        name: "conc1024",
        what: "1,024 calls in flight",
        args: "--scenario conc --inflight 1024 --calls 8000",
        figure: RATE,
        targets: (Some(1.1), Some(0.6)),
        ..SEQUENCE
    },
    Suite {
        name: "conc128-raw",
        what: "128 calls in flight, to a server that costs nothing",
        server: Server::Costless,
        args: "--scenario conc --inflight 128 --calls 20000",
        figure: RATE,
        targets: (Some(1.3), Some(0.6)),
        ..SEQUENCE
    },
    Suite {
        name: "list500",
        what: "listing 500 tools",
        server: Server::Stdio { tools: 500 },
        args: "--scenario list --calls 20",
        targets: (Some(0.5), Some(0.5)),
        ..SEQUENCE
    },
    Suite {
        name: "connect1",
        what: "starting one server of 50 tools",
        args: "--scenario connect --servers 1",
        figure: WALL,
        targets: (None, None),
        memory: Some(12.0),
        ..SEQUENCE
    },
    Suite {
        name: "connect50",
        what: "starting 50 servers of 50 tools",
        args: "--scenario connect --servers 50",
        figure: WALL,
        targets: (Some(1.0), Some(0.7)),
        memory: Some(60.0),
        ..SEQUENCE
    },
    Suite {
        name: "cold",
        what: "from the start of the process to the first result",
        rival: Rival::Floor,
        args: "--scenario cold",
        figure: FIRST,
        targets: (Some(1.3), None),
        ..SEQUENCE
    },
    Suite {
        name: "http100",
        what: "one call after the other over HTTP, 100 bytes",
        server: Server::Http,
        args: "--scenario seq --calls 1500",
        targets: (Some(0.45), Some(0.4)),
        ..SEQUENCE
    },
    Suite {
        name: "httpc128",
        what: "128 calls in flight over HTTP",
        server: Server::Http,
        args: "--scenario conc --inflight 128 --calls 3000",
        figure: RATE,
        targets: (None, None),
        ..SEQUENCE
    },
    Suite {
        name: "httpsleep-json",
        what: "128 calls in flight over HTTP, to a tool that takes 50 ms",
        server: Server::CostlessHttp,
        rival: Rival::Floor,
        args: "--scenario conc --inflight 128 --tool sleep --ms 50 --warmup 1 --calls 512",
        figure: WALL,
        targets: (Some(1.1), None),
        ..SEQUENCE
    },
];

pub(crate) fn run(mut args: Args) -> Result<()> {
    let write = args.switch("--write");
    let rounds = (1..=9).find(|n| args.switch(&format!("--rounds-{n}"))).unwrap_or(5);
    let names = args.names()?;
    if let Some(unknown) = names.iter().find(|name| SUITES.iter().all(|suite| suite.name != **name)) {
        bail!("no suite {unknown:?}. `--help` lists them");
    }
    let programs = build()?;
    let mut rows = Vec::new();
    let chosen: Vec<&Suite> = SUITES
        .iter()
        .filter(|suite| names.is_empty() || names.iter().any(|name| name == suite.name))
        .collect();
    let begun = Instant::now();
    for (at, suite) in chosen.iter().enumerate() {
        // Each suite has its share of the time, and what those before it left.
        let end = begun + TIME * u32::try_from(at + 1)? / u32::try_from(chosen.len())?;
        let pairs = runner::race(suite, &programs, rounds, end).with_context(|| suite.name.to_owned())?;
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

/// Builds the contenders and their server with all optimisations. The contenders are packages of their own: beside an
/// example cargo would build what the tests of its package need, and nobody who uses it has that.
fn build() -> Result<runner::Programs> {
    let build = |what: &[&str]| {
        let mut cargo = project::cargo();
        cargo.args(["build", Profile::Dist.option()]).args(what);
        process::run(&mut cargo)
    };
    build(&["--package", "massgen-race-contender"])?;
    build(&["--package", "massgen-race-bare"])?;
    build(&["--package", "mcp-transport", "--features", "serve-http", "--examples"])?;
    let folder = Profile::Dist.folder()?;
    let example = |name: &str| folder.join("examples").join(project::program(name));
    Ok(runner::Programs {
        ours: folder.join(project::program("massgen-race-contender")),
        bare: folder.join(project::program("massgen-race-bare")),
        server: example("race_server"),
        floor: example("race_floor"),
    })
}
