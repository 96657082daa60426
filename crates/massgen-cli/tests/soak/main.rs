//! Four agents and three servers, one of which fails half of its calls, in one real run of the binary: the run finishes,
//! and the two healthy servers are as quick while the third one is used as while it is not. Turns with it and without
//! it alternate, so that whatever else the machine does meets both alike.
//!
//! Whether they are as quick is judged by p99 of their calls: all of those of the windows in which the failing server is used,
//! against all of those of the windows in which it is not. A machine that is busy for a while spoils whole windows, so that
//! the calls of one window say less than as many calls would: how far the ratio can be trusted is found out by drawing
//! windows again and again (the bootstrap), not calls.
//!
//! As a test it is a short run, in which nothing is timed. `cargo xtask soak` makes it as long as it is told and prints
//! the figures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test code: a panic is how it reports, and it starts the program it is about"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use massgen_testkit::{
    CallReply, ModelEndpoint, ModelRequest, ModelScript, Outcome, PATIENCE, Reply, ScriptedServer,
    ServerScript, ToolScript, Turn, process,
};
use serde_json::{Value, json};

/// The servers that are well.
const HEALTHY: [&str; 2] = ["steady", "sturdy"];
/// Turns with tools in a round of an agent, after which it answers and all begin anew.
const TURNS: usize = 20;
/// How long the failing server is used, and then left alone for as long.
const PHASE: Duration = Duration::from_secs(2);

/// How often windows are drawn to find out how far a figure can be trusted.
const DRAWS: usize = 1000;
/// By how much the healthy servers' p99 may be higher.
const BOUND: f64 = 1.1;
/// The fewest windows of either kind that a verdict is made of.
const WINDOWS: usize = 8;

/// How long it goes on.
#[derive(Clone, Copy)]
enum Length {
    Time(Duration),
    /// So many requests to models, nothing is slowed down.
    Requests(usize),
}

impl Length {
    /// How long a healthy tool works, milliseconds.
    fn work(self) -> u64 {
        if matches!(self, Self::Time(_)) { 20 } else { 0 }
    }

    /// How long a model thinks.
    fn thought(self) -> Duration {
        if matches!(self, Self::Time(_)) { Duration::from_millis(150) } else { Duration::ZERO }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| words.iter().any(|word| word == name);
    if has("--list") {
        return ExitCode::SUCCESS;
    }
    judges_alike();
    let number =
        |name: &str| words.iter().position(|word| word == name).map(|at| words[at + 1].parse().unwrap());
    let (seconds, seed) = (number("--seconds"), number("--seed").unwrap_or(SEED));
    let length = seconds.map_or(Length::Requests(160), |seconds| Length::Time(Duration::from_secs(seconds)));
    let report = soak(length, seed);
    if has("--json") {
        println!("{}", serde_json::to_string_pretty(&report.json()).unwrap());
    } else {
        report.print();
    }
    let problems = report.problems(length);
    for problem in &problems {
        eprintln!("soak: {problem}");
    }
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The draws of the failing server, unless others are asked for.
const SEED: u64 = 11;

/// What the models do, all four of them.
struct Play {
    begun: Instant,
    length: Length,
    requests: AtomicUsize,
}

impl Play {
    fn reply(&self, request: &ModelRequest) -> Reply {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let passed = self.begun.elapsed();
        let (over, with) = match self.length {
            Length::Time(whole) => {
                (passed >= whole, (passed.as_millis() / PHASE.as_millis()).is_multiple_of(2))
            }
            Length::Requests(count) => (number >= count, number.is_multiple_of(2)),
        };
        if !request.offers("new_answer") && !request.offers("vote") {
            return Reply::text("they held");
        }
        if over && request.offers("vote") {
            return Reply::call("vote", json!({"agent_id": "agent1", "reason": "it is over"}));
        }
        if over || !request.offers("mcp__steady__look") || request.turns() > TURNS {
            return Reply::call("new_answer", json!({"content": format!("after {number} requests")}));
        }
        let arguments = json!({"with": with, "window": (passed.as_millis() / PHASE.as_millis()) as u64});
        // As many calls in either phase, so that only their failing makes the difference.
        let third = if with { "mcp__frail__look" } else { "mcp__sturdy__glance" };
        let calls = ["mcp__steady__look", "mcp__sturdy__look", third].map(|tool| (tool, arguments.clone()));
        Reply::from(Turn::calls(calls)).delay(self.length.thought())
    }
}

fn server(work: u64) -> ScriptedServer {
    let well = || CallReply::new(Outcome::Text("all is well".into()));
    ServerScript::new()
        .tool(ToolScript::new("look").read_only().replies(well().delay_ms(work)))
        .tool(ToolScript::new("glance").read_only().replies(well()))
        .launch()
}

fn soak(length: Length, seed: u64) -> Report {
    let play = Play { begun: Instant::now(), length, requests: AtomicUsize::new(0) };
    let play = Arc::new(play);
    let models = play.clone();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(move |request| models.reply(request)));
    let servers = [server(length.work()), server(length.work()), server(0)];
    let massgen = env!("CARGO_BIN_EXE_massgen");
    let drawn = seed.to_string();
    let chaos = ["mcp", "chaos", "--error", "-32603", "--error-rate", "0.5", "--seed", &drawn, "--"];
    let behind = chaos.into_iter().map(str::to_owned).chain([servers[2].command()]).chain(servers[2].args());
    let frail = json!({"name": "frail", "command": massgen, "args": behind.collect::<Vec<_>>()});
    let agent = |(number, (kind, path)): (usize, &(&str, &str))| {
        json!({"id": format!("a{}", number + 1), "backend": {
            "type": kind, "model": "m", "base_url": endpoint.url(path), "api_key": "test-key-of-nobody",
        }})
    };
    let kinds = [("openai", "/v1"), ("claude", "/v1"), ("gemini", "/v1beta"), ("chatcompletion", "/v1")];
    let folder = tempfile::tempdir().unwrap();
    let config = json!({
        "mcp_servers": [servers[0].config("steady"), servers[1].config("sturdy"), frail],
        "agents": kinds.iter().enumerate().map(agent).collect::<Vec<_>>(),
        "limits": {"max_answers_per_agent": 100_000, "max_rounds": 100_000},
    });
    std::fs::write(folder.path().join("team.yaml"), config.to_string()).unwrap();
    let output = Command::new(massgen)
        .args(["--config", "team.yaml", "--no-display", "--changes", "allow", "Will they hold?"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let mut report = Report::read(folder.path());
    report.seed = seed;
    report.seconds = play.begun.elapsed().as_secs_f64();
    report.code = output.status.code();
    if report.code != Some(0) {
        eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    let alive = || servers.iter().flat_map(|server| server.journal().alive()).collect::<Vec<_>>();
    process::until_blocking(PATIENCE, || alive().is_empty());
    report.survivors = alive().len();
    report
}

/// What came of it.
#[derive(Default)]
struct Report {
    code: Option<i32>,
    outcome: String,
    seed: u64,
    seconds: f64,
    /// Calls by server and status.
    calls: BTreeMap<(String, String), usize>,
    /// How long the calls of the healthy servers took: while the third is used, and while it is not.
    with: Windows,
    without: Windows,
    /// What the circuit of the failing tool did, by why: its probes and how they ended among it.
    changes: BTreeMap<String, u64>,
    /// What the user was told about circuits, in order.
    lines: Vec<String>,
    survivors: usize,
}

impl Report {
    fn read(folder: &Path) -> Self {
        let mut report = Self::default();
        let Ok(mut logs) = std::fs::read_dir(folder.join("massgen_logs")) else { return report };
        let log = logs.next().unwrap().unwrap().path();
        let text = std::fs::read_to_string(log.join("events.jsonl")).unwrap();
        let mut phases = BTreeMap::new();
        let mut rests = std::collections::BTreeSet::new();
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            // Ids of calls are the providers' and come again in the next round.
            let key = (word("agent"), word("call"));
            match event["type"].as_str().unwrap_or_default() {
                "tool_started" => {
                    let window = event["arguments"]["window"].as_u64().unwrap_or_default();
                    phases.insert(key, (event["arguments"]["with"].as_bool(), window));
                }
                "tool_finished" => {
                    let server = word("tool").split("__").nth(1).unwrap_or_default().to_owned();
                    let took = event["duration_ms"].as_u64().unwrap();
                    match phases.remove(&key) {
                        _ if !HEALTHY.contains(&server.as_str()) || word("tool").ends_with("glance") => {}
                        Some((Some(true), window)) => report.with.add(window, took),
                        Some((Some(false), window)) => report.without.add(window, took),
                        _ => {}
                    }
                    *report.calls.entry((server, word("status"))).or_default() += 1;
                }
                "warning" => report.lines.push(word("message")),
                // The circuit of a whole server is part of its state.
                "server" if word("state") == "degraded" => {
                    rests.insert(word("server"));
                    report.lines.push(format!("server {}: {}", word("server"), word("detail")));
                }
                "server" if word("state") == "ready" && rests.remove(&word("server")) => {
                    report.lines.push(format!("server {} can be used again", word("server")));
                }
                "run_finished" => report.outcome = word("outcome"),
                _ => {}
            }
        }
        report.changes = changes(&log);
        report
    }

    /// How often the circuit of the failing tool changed for this reason.
    fn change(&self, reason: &str) -> u64 {
        self.changes.get(reason).copied().unwrap_or_default()
    }

    /// What is not as it should be. Time is judged where it was asked for.
    fn problems(&self, length: Length) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |fine: bool, what: String| {
            if !fine {
                problems.push(what);
            }
        };
        check(self.code == Some(0), format!("the run ended with code {:?}", self.code));
        check(self.outcome == "answered", format!("the run's outcome is {:?}", self.outcome));
        check(self.survivors == 0, format!("{} processes are left", self.survivors));
        let count = |server: &str, status: &str| {
            self.calls.get(&(server.to_owned(), status.to_owned())).copied().unwrap_or_default()
        };
        for server in HEALTHY {
            let all: usize =
                self.calls.iter().filter(|((of, _), _)| of == server).map(|(_, count)| count).sum();
            let ok = count(server, "ok");
            check(ok > 0 && ok == all, format!("{server}: {ok} of {all} calls were answered"));
        }
        check(count("frail", "failed") > 0, "the failing server did not fail".to_owned());
        check(self.lines.iter().all(|line| line.contains("frail")), format!("{:#?}", self.lines));
        // One line when it is given a rest, one when it is back, and so on.
        for (at, line) in self.lines.iter().enumerate() {
            let begins = line.contains("is left alone for a while");
            let ends = line.contains("can be used again");
            check(if at % 2 == 0 { begins } else { ends }, format!("line {at} out of turn: {line}"));
        }
        check(!self.lines.is_empty(), "the circuit never opened".to_owned());
        if let Length::Time(_) = length {
            let verdict = verdict(&self.with, &self.without);
            check(
                verdict.word() != "slower",
                format!("p99 beside the failing server is {:.2} times as high: {verdict:?}", verdict.ratio),
            );
        }
        // Each probe has one verdict, and may lack it at the end.
        let (probes, verdicts) =
            (self.change("probing"), self.change("probe_answered") + self.change("probe_failed"));
        check(probes.abs_diff(verdicts) <= 1, format!("{probes} probes, {verdicts} verdicts"));
        problems
    }

    fn json(&self) -> Value {
        let calls: BTreeMap<_, _> = self
            .calls
            .iter()
            .map(|((server, status), count)| (format!("{server} {status}"), count))
            .collect();
        let figures = |windows: &Windows| {
            let times = windows.all();
            json!({
                "calls": times.len(), "windows": windows.0.len(),
                "p50_ms": percentile(&times, 50), "p99_ms": percentile(&times, 99),
            })
        };
        let verdict = verdict(&self.with, &self.without);
        json!({
            "seed": self.seed,
            "seconds": self.seconds,
            "exit_code": self.code,
            "outcome": self.outcome,
            "calls": calls,
            "healthy_without": figures(&self.without),
            "healthy_with": figures(&self.with),
            "p99_ratio": verdict.ratio,
            "p99_ratio_95": [verdict.low, verdict.high],
            "verdict": verdict.word(),
            "tool_circuit": self.changes,
            "circuit": self.lines,
            "survivors": self.survivors,
        })
    }

    fn print(&self) {
        println!("{:.0} s, outcome {}, {} processes left", self.seconds, self.outcome, self.survivors);
        for ((server, status), count) in &self.calls {
            println!("{server:<8} {status:<12} {count:>8}");
        }
        for (what, windows) in [("without", &self.without), ("with", &self.with)] {
            let times = windows.all();
            println!(
                "healthy servers {what} the failing one: {} calls in {} windows, p50 {} ms, p99 {} ms",
                times.len(),
                windows.0.len(),
                percentile(&times, 50),
                percentile(&times, 99)
            );
        }
        let verdict = verdict(&self.with, &self.without);
        println!(
            "p99 ratio {:.3}, 95 % of draws from {:.3} to {:.3}: {}",
            verdict.ratio,
            verdict.low,
            verdict.high,
            verdict.word()
        );
        println!(
            "the failing tool's circuit opened {} times; {} probes, {} answered, {} failed",
            self.change("failure_rate") + self.change("failures"),
            self.change("probing"),
            self.change("probe_answered"),
            self.change("probe_failed")
        );
        for line in &self.lines {
            println!("{line}");
        }
    }
}

/// Times of calls, milliseconds, by the window that they began in.
#[derive(Default)]
struct Windows(BTreeMap<u64, Vec<u64>>);

impl Windows {
    fn add(&mut self, window: u64, took: u64) {
        self.0.entry(window).or_default().push(took);
    }

    /// All of them, sorted.
    fn all(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.0.values().flatten().copied().collect();
        all.sort_unstable();
        all
    }

    /// p99 of as many windows, drawn with replacement.
    fn drawn(&self, dice: &mut Dice) -> u64 {
        let windows: Vec<_> = self.0.values().collect();
        if windows.is_empty() {
            return 0;
        }
        let mut all: Vec<u64> =
            windows.iter().flat_map(|_| windows[dice.below(windows.len())]).copied().collect();
        all.sort_unstable();
        percentile(&all, 99)
    }
}

/// The same draws each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// p99 with the failing server in use, as a multiple of p99 without, and between which values 95 % of draws lie.
#[derive(Debug)]
struct Verdict {
    ratio: f64,
    low: f64,
    high: f64,
    /// Windows of the kind of which there are fewer.
    windows: usize,
}

impl Verdict {
    /// `slower`: it is above the bound, and that is no accident of this run. `as quick`: whatever the accident, it is below.
    /// `undecided`: this run cannot tell; a longer one can, or a calmer machine.
    fn word(&self) -> &'static str {
        if self.windows < WINDOWS {
            // Draws from a few windows all look alike, whatever made them.
            "undecided"
        } else if self.ratio >= BOUND && self.low > 1.0 {
            "slower"
        } else if self.high < BOUND {
            "as quick"
        } else {
            "undecided"
        }
    }
}

fn verdict(with: &Windows, without: &Windows) -> Verdict {
    let ratio = |with: u64, without: u64| with as f64 / without.max(1) as f64;
    let mut dice = Dice(1);
    let mut draws: Vec<f64> =
        (0..DRAWS).map(|_| ratio(with.drawn(&mut dice), without.drawn(&mut dice))).collect();
    draws.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| draws[((DRAWS as f64 * share) as usize).min(DRAWS - 1)];
    let whole = ratio(percentile(&with.all(), 99), percentile(&without.all(), 99));
    Verdict { ratio: whole, low: at(0.025), high: at(0.975), windows: with.0.len().min(without.0.len()) }
}

/// The verdict on runs that are made up: times of 20 to 25 ms, and what a busy machine or a slower client adds.
fn judges_alike() {
    let mut dice = Dice(7);
    let mut windows = |added: &dyn Fn(usize) -> u64| {
        let mut windows = Windows::default();
        for window in 0..30 {
            for _ in 0..70 {
                windows.add(window, 20 + dice.below(6) as u64 + added(window as usize));
            }
        }
        windows
    };
    let (calm, calm_too) = (windows(&|_| 0), windows(&|_| 0));
    assert_eq!(verdict(&calm, &calm_too).word(), "as quick");
    // Three milliseconds on every call are seen, however many calls there are.
    assert_eq!(verdict(&windows(&|_| 3), &calm).word(), "slower");
    // One window that something else spoilt says nothing about the server; nor do some on both sides.
    let one = windows(&|window| if window == 3 { 40 } else { 0 });
    assert_eq!(verdict(&one, &calm).word(), "undecided");
    let some = |window: usize| if window.is_multiple_of(5) { 40 } else { 0 };
    let (busy, busy_too) = (windows(&some), windows(&some));
    assert_ne!(verdict(&busy, &busy_too).word(), "slower");
    let mut single = [Windows::default(), Windows::default()];
    (0..70)
        .for_each(|_| single.iter_mut().enumerate().for_each(|(n, window)| window.add(0, 20 + 5 * n as u64)));
    assert_eq!(verdict(&single[1], &single[0]).word(), "undecided");
}

/// What the circuits of the failing server's tools did, by why, from what the run measured.
fn changes(log: &Path) -> BTreeMap<String, u64> {
    // A run that failed before it began left none.
    let text = std::fs::read_to_string(log.join("metrics.json")).unwrap_or_default();
    let metrics: Value = serde_json::from_str(&text).unwrap_or_default();
    let series = metrics["metrics"]["massgen.mcp.breaker.transitions"]["series"].as_array().cloned();
    let mut changes = BTreeMap::new();
    for series in series.unwrap_or_default() {
        if series["labels"]["server"] == "frail" && series["labels"]["tool"].is_string() {
            let reason = series["labels"]["reason"].as_str().unwrap().to_owned();
            *changes.entry(reason).or_default() += series["value"].as_f64().unwrap() as u64;
        }
    }
    changes
}

/// The nearest rank of sorted values; 0 where there are none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
