//! What is measured, and how.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Figure;
use crate::ci::without_keys;
use crate::process;
use crate::project::{self, Profile};

/// Enough for a stable median of something that takes milliseconds.
const STARTS: usize = 31;

/// Agents and words of the run that nothing slows down.
const AGENTS: u64 = 3;
const WORDS: u64 = 99_999;

/// Start-up, memory and size of the product.
pub(super) fn processes() -> Result<Vec<Figure>> {
    let massgen = Profile::Dist.folder()?.join(project::program("massgen"));
    let size = std::fs::metadata(&massgen).with_context(|| format!("{}", massgen.display()))?.len();

    println!("measuring {STARTS} starts of a bare clap program");
    let baseline = baseline()?;
    let bare = median(|| whole(Command::new(&baseline).arg("--help")))?;
    println!("measuring {STARTS} starts of massgen --help");
    let help = median(|| whole(Command::new(&massgen).arg("--help")))?;
    println!("measuring {STARTS} starts of a rehearsal, each ended after its first event");
    let first = median(first_event)?;
    println!("measuring the memory of one whole rehearsal");
    let memory = peak_memory()?;
    println!("measuring a run of {} events", thousands(AGENTS * WORDS));
    let rate = whole_run(&massgen)?;

    let mut figures = vec![
        Figure { what: "bare clap program, `--help`, whole process", value: millis(bare), target: "" },
        Figure { what: "`massgen --help`, whole process", value: millis(help), target: "" },
        Figure { what: "start to first event of a rehearsal", value: millis(first), target: "" },
    ];
    if let Some(kib) = memory {
        let value = format!("{:.1} MB", kib as f64 * 1024.0 / 1e6);
        figures.push(Figure {
            what: "peak resident memory, three agents and two servers",
            value,
            target: "30 MB",
        });
    }
    figures.push(Figure {
        what: "events per second, coordinator, journal and plain display",
        value: thousands(rate),
        target: "200,000",
    });
    figures.push(Figure {
        what: "size of the stripped binary",
        value: format!("{:.1} MB", size as f64 / 1e6),
        target: "20 MB",
    });
    Ok(figures)
}

/// A program that does nothing but what clap does: what no command line of ours can be faster than.
fn baseline() -> Result<PathBuf> {
    let folder = project::members()?.target_directory.join("xtask/clap-baseline").into_std_path_buf();
    std::fs::create_dir_all(folder.join("src"))?;
    // Outside the workspace, with the workspace's lock file, so that it is the same clap.
    let manifest = "[package]\nname = \"clap-baseline\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
        [dependencies]\nclap = { version = \"4\", features = [\"derive\", \"wrap_help\", \"env\"] }\n\n\
        [profile.release]\nlto = \"thin\"\nstrip = true\n";
    let program = "#[derive(clap::Parser)]\nstruct Args {\n    question: Option<String>,\n}\n\n\
        fn main() {\n    let _ = <Args as clap::Parser>::parse().question;\n}\n";
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::write(folder.join("src/main.rs"), program)?;
    std::fs::copy(project::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let mut build = process::cargo();
    process::run(build.current_dir(&folder).args([
        "build",
        "--release",
        "--quiet",
        "--target-dir",
        "target",
    ]))?;
    Ok(folder.join("target/release").join(project::program("clap-baseline")))
}

fn whole(command: &mut Command) -> Result<Duration> {
    let start = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = start.elapsed();
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(took)
}

/// A rehearsal that prints its events; nothing else is on its standard output. Its logs stay out of the way.
fn rehearsal() -> Result<Command> {
    let release = Profile::Dist.folder()?;
    let folder = project::members()?.target_directory.join("xtask/rehearsals").into_std_path_buf();
    std::fs::create_dir_all(&folder)?;
    let mut command = Command::new(release.join(project::program("massgen")));
    command.current_dir(folder).env("MASSGEN_EXAMPLES_BIN", &release);
    command.args(["demo", "--output", "events", "--team"]);
    command.arg(project::root().join("examples/quickstart/team.yaml"));
    without_keys(&mut command).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Ok(command)
}

fn first_event() -> Result<Duration> {
    let mut command = rehearsal()?;
    let start = Instant::now();
    let mut child = command.spawn()?;
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    output.read_line(&mut line)?;
    let took = start.elapsed();
    // Its servers end when their standard input closes.
    child.kill()?;
    child.wait()?;
    serde_json::from_str::<Value>(&line).with_context(|| format!("the first line is no event: {line:?}"))?;
    Ok(took)
}

/// A team of scripted agents that say all their words without a pause: how many events a second pass through the
/// coordinator, the journal and the plain display.
fn whole_run(massgen: &Path) -> Result<u64> {
    let folder = project::members()?.target_directory.join("xtask/whole-run").into_std_path_buf();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let words = "kilometres and miles, ".repeat(WORDS as usize / 3);
    let turns = format!(
        "chunk_delay: 0\nturns:\n  - {{ when: {{ candidates: none }}, text: \"{words}\", answer: \"17\" }}\n  \
         - {{ when: {{ candidates: some, phase: coordination }}, vote: {{ for: first }}, repeat: true }}\n  \
         - {{ when: {{ phase: presentation }}, text: \"17\" }}\n"
    );
    std::fs::write(folder.join("script.yaml"), turns)?;
    let agents: String = (1..=AGENTS)
        .map(|number| {
            format!("  - {{ id: agent{number}, backend: {{ type: scripted, script: script.yaml }} }}\n")
        })
        .collect();
    std::fs::write(folder.join("team.yaml"), format!("agents:\n{agents}"))?;
    let mut command = Command::new(massgen);
    command.current_dir(&folder).args(["--config", "team.yaml", "--no-display", "How far?"]);
    let took = whole(&mut command)?;
    let log = std::fs::read_dir(folder.join("massgen_logs"))?.next().context("no log directory")??.path();
    let events = std::fs::read_to_string(log.join("events.jsonl"))?.lines().count();
    Ok((events as f64 / took.as_secs_f64()) as u64)
}

/// The highest resident memory of one whole rehearsal, in KiB. `None` where the system does not tell.
fn peak_memory() -> Result<Option<u64>> {
    let mut child = rehearsal()?.spawn()?;
    let status = PathBuf::from(format!("/proc/{}/status", child.id()));
    let mut output = BufReader::new(child.stdout.take().context("no standard output")?);
    let (mut line, mut peak) = (String::new(), None);
    // Read with every event: the last ones come when everything has been done.
    while output.read_line(&mut line)? > 0 {
        peak = high_water(&status).or(peak);
        line.clear();
    }
    let code = child.wait()?;
    if !code.success() {
        bail!("the rehearsal failed ({code})");
    }
    Ok(peak)
}

fn high_water(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn median(mut measure: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    // Once for the page cache.
    measure()?;
    let mut all = (0..STARTS).map(|_| measure()).collect::<Result<Vec<_>>>()?;
    all.sort_unstable();
    Ok(all[STARTS / 2])
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// The benches' last results: throughputs in elements, and times of single calls.
pub(super) fn criterion() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let folder = project::members()?.target_directory.join("criterion").into_std_path_buf();
    for (what, id, target) in [
        ("events per second, emitter and journal", "events/journal", "200,000"),
        ("events per second, emitter alone", "events/emitter", ""),
    ] {
        let new = folder.join(id).join("new");
        let (Some(benchmark), Some(estimates)) =
            (read(&new.join("benchmark.json")), read(&new.join("estimates.json")))
        else {
            println!("no result for {id}");
            continue;
        };
        if let Some(rate) = rate(&benchmark, &estimates) {
            figures.push(Figure { what, value: thousands(rate), target });
        }
    }
    for (what, id, target) in [
        ("all layers of mcp-resilience, a call that succeeds", "whole stack, success", "5 µs"),
        ("the same call, refused by an open circuit", "open circuit, refused", "1 µs"),
        (
            "a call through the whole pipeline of mcp-client, server in memory, 100 bytes",
            "call_100_bytes",
            "",
        ),
    ] {
        match read(&folder.join(id).join("new/estimates.json")).as_ref().and_then(median_of) {
            Some(nanoseconds) => figures.push(Figure { what, value: micros(nanoseconds), target }),
            None => println!("no result for {id}"),
        }
    }
    Ok(figures)
}

fn median_of(estimates: &Value) -> Option<f64> {
    estimates["median"]["point_estimate"].as_f64()
}

fn micros(nanoseconds: f64) -> String {
    format!("{:.2} µs", nanoseconds / 1e3)
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(file).ok()?).ok()
}

/// Elements per second from criterion's nanoseconds per iteration.
fn rate(benchmark: &Value, estimates: &Value) -> Option<u64> {
    let elements = benchmark["throughput"]["Elements"].as_f64()?;
    let nanoseconds = median_of(estimates)?;
    Some((elements * 1e9 / nanoseconds) as u64)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_rate_comes_from_elements_and_nanoseconds() {
        let benchmark = json!({"throughput": {"Elements": 1000}});
        let estimates = json!({"median": {"point_estimate": 2_000_000.0}});
        assert_eq!(rate(&benchmark, &estimates), Some(500_000));
        assert_eq!(rate(&json!({}), &estimates), None);
        assert_eq!(median_of(&estimates).map(micros).as_deref(), Some("2000.00 µs"));
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1234), "1,234");
        assert_eq!(thousands(1234567), "1,234,567");
    }
}
