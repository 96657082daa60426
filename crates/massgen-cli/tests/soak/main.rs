//! Four agents and three servers, one of which fails half of its calls, in one real run of the binary: the run finishes,
//! and the two healthy servers are as quick while the third one is used as while it is not. Turns with it and without
//! it alternate, so that whatever else the machine does meets both alike.
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
    let seconds = words.iter().position(|word| word == "--seconds").map(|at| words[at + 1].parse().unwrap());
    let length = seconds.map_or(Length::Requests(160), |seconds| Length::Time(Duration::from_secs(seconds)));
    let report = soak(length);
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
        let arguments = json!({"with": with});
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

fn soak(length: Length) -> Report {
    let play = Play { begun: Instant::now(), length, requests: AtomicUsize::new(0) };
    let play = Arc::new(play);
    let models = play.clone();
    let endpoint = ModelEndpoint::start(ModelScript::from_fn(move |request| models.reply(request)));
    let servers = [server(length.work()), server(length.work()), server(0)];
    let massgen = env!("CARGO_BIN_EXE_massgen");
    let chaos = ["mcp", "chaos", "--error", "-32603", "--error-rate", "0.5", "--seed", "11", "--"];
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
    seconds: f64,
    /// Calls by server and status.
    calls: BTreeMap<(String, String), usize>,
    /// How long the calls of the healthy servers took, milliseconds: while the third is used, and while it is not.
    with: Vec<u64>,
    without: Vec<u64>,
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
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let word = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            // Ids of calls are the providers' and come again in the next round.
            let key = (word("agent"), word("call"));
            match event["type"].as_str().unwrap_or_default() {
                "tool_started" => drop(phases.insert(key, event["arguments"]["with"].as_bool())),
                "tool_finished" => {
                    let server = word("tool").split("__").nth(1).unwrap_or_default().to_owned();
                    let took = event["duration_ms"].as_u64().unwrap();
                    match phases.remove(&key).flatten() {
                        _ if !HEALTHY.contains(&server.as_str()) || word("tool").ends_with("glance") => {}
                        Some(true) => report.with.push(took),
                        Some(false) => report.without.push(took),
                        None => {}
                    }
                    *report.calls.entry((server, word("status"))).or_default() += 1;
                }
                "warning" => report.lines.push(word("message")),
                "run_finished" => report.outcome = word("outcome"),
                _ => {}
            }
        }
        report.with.sort_unstable();
        report.without.sort_unstable();
        report
    }

    fn ratio(&self) -> f64 {
        percentile(&self.with, 99) as f64 / percentile(&self.without, 99).max(1) as f64
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
            check(
                self.ratio() < 1.1,
                format!("p99 beside the failing server is {:.2} times as high", self.ratio()),
            );
        }
        problems
    }

    fn json(&self) -> Value {
        let calls: BTreeMap<_, _> = self
            .calls
            .iter()
            .map(|((server, status), count)| (format!("{server} {status}"), count))
            .collect();
        let figures = |times: &[u64]| json!({"calls": times.len(), "p50_ms": percentile(times, 50), "p99_ms": percentile(times, 99)});
        json!({
            "seconds": self.seconds,
            "exit_code": self.code,
            "outcome": self.outcome,
            "calls": calls,
            "healthy_without": figures(&self.without),
            "healthy_with": figures(&self.with),
            "p99_ratio": self.ratio(),
            "circuit": self.lines,
            "survivors": self.survivors,
        })
    }

    fn print(&self) {
        println!("{:.0} s, outcome {}, {} processes left", self.seconds, self.outcome, self.survivors);
        for ((server, status), count) in &self.calls {
            println!("{server:<8} {status:<12} {count:>8}");
        }
        for (what, times) in [("without", &self.without), ("with", &self.with)] {
            println!(
                "healthy servers {what} the failing one: {} calls, p50 {} ms, p99 {} ms",
                times.len(),
                percentile(times, 50),
                percentile(times, 99)
            );
        }
        for line in &self.lines {
            println!("{line}");
        }
    }
}

/// The nearest rank of sorted values; 0 where there are none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}
