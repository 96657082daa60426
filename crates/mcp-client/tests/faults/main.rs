//! The fault matrix: every way in which a server, a wire or a disk is known to fail, played against the real pipeline over
//! real pipes and sockets. `cargo xtask faults` prints what it finds.
//!
//! A fault that cannot be made to happen on this machine is told as not covered, with the reason.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test code: a panic is how it reports, and it plays the kernel and the terminal"
)]

mod disk;
mod host;
mod lab;
mod local;
mod stdio;
mod time;
mod trust;
mod web;
// What the other tests of the crate use as well.
#[allow(dead_code, reason = "each of the two binaries needs its part of it")]
#[path = "../it/support.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use lab::{Finding, Verdict};
use serde_json::json;
use tokio::task::JoinSet;

/// One fault.
pub(crate) struct Fault {
    /// `F1`…`F75`.
    pub(crate) id: &'static str,
    /// What is done to the client, and what it has to make of it.
    pub(crate) what: &'static str,
    /// Takes longer than a few seconds.
    pub(crate) long: bool,
    pub(crate) play: Play,
}

/// How a fault is played.
pub(crate) enum Play {
    /// A server that misbehaves during a call.
    Scene(fn() -> lab::Scene),
    /// Anything else.
    Own(fn() -> lab::Playing),
}

fn faults() -> Vec<Fault> {
    let all = [
        stdio::faults(),
        web::faults(),
        local::faults(),
        trust::faults(),
        time::faults(),
        disk::faults(),
        host::faults(),
    ];
    let mut all: Vec<Fault> = all.into_iter().flatten().collect();
    all.sort_by_key(|fault| number(fault.id));
    all
}

fn number(id: &str) -> u32 {
    id.strip_prefix('F').and_then(|number| number.parse().ok()).unwrap_or(u32::MAX)
}

/// What was asked for on the command line. `cargo test` hands on words of its own.
struct Wish {
    all: bool,
    json: bool,
    /// Time is judged, too.
    measure: bool,
    list: bool,
    words: Vec<String>,
}

impl Wish {
    fn read() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let has = |name: &str| words.iter().any(|word| word == name);
        Self {
            all: has("--all") || std::env::var_os("MASSGEN_SLOW").is_some(),
            json: has("--json"),
            measure: has("--measure"),
            list: has("--list"),
            words: words.into_iter().filter(|word| !word.starts_with('-')).collect(),
        }
    }

    fn wants(&self, fault: &Fault) -> bool {
        if self.words.is_empty() {
            return self.all || !fault.long;
        }
        self.words.iter().any(|word| word.eq_ignore_ascii_case(fault.id))
    }
}

fn main() -> ExitCode {
    if let Some(ended) = host::play_part() {
        return ended;
    }
    let wish = Wish::read();
    let chosen: Vec<Fault> = faults().into_iter().filter(|fault| wish.wants(fault)).collect();
    if wish.list || chosen.is_empty() {
        return ExitCode::SUCCESS;
    }
    lab::MEASURING.store(wish.measure, std::sync::atomic::Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // Where time is judged, nothing else of ours takes any.
    let at_once = if wish.measure { 1 } else { 4 };
    let findings = runtime.block_on(play(chosen, at_once));
    runtime.shutdown_background();
    report(&findings, wish.json);
    let mut failed = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Failed(_)));
    if wish.measure && !Others::of(&findings).are_unmoved() {
        eprintln!("the servers beside the failing ones were slower than while all was calm");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Plays the faults, a few at a time: they mostly wait.
async fn play(chosen: Vec<Fault>, at_once: usize) -> Vec<Finding> {
    let mut waiting = chosen.into_iter();
    let mut running = JoinSet::new();
    let mut findings = Vec::new();
    loop {
        while running.len() < at_once
            && let Some(fault) = waiting.next()
        {
            running.spawn(lab::play(fault));
        }
        let Some(ended) = running.join_next().await else { break };
        findings.push(ended.expect("a fault reports its own panic"));
    }
    findings.sort_by_key(|finding| number(finding.id));
    findings
}

/// How the servers beside the failing ones did.
struct Others {
    calls: usize,
    calm: Duration,
    beside: Duration,
    /// What the same figure differs by between two halves of the calm calls: what the machine itself does to it.
    noise: Duration,
}

impl Others {
    /// What p99 may move by.
    const SHARE: f64 = 10.0;
    /// Below this a share says nothing.
    const LEAST: Duration = Duration::from_millis(5);

    fn of(findings: &[Finding]) -> Self {
        let all = |which: fn(&lab::Beside) -> &Vec<Duration>| -> Vec<Duration> {
            findings.iter().flat_map(|finding| which(&finding.beside)).copied().collect()
        };
        let (calm, beside) = (all(|beside| &beside.calm), all(|beside| &beside.troubled));
        let (even, odd): (Vec<_>, Vec<_>) = calm.iter().enumerate().partition(|(at, _)| at % 2 == 0);
        let half = |half: Vec<(usize, &Duration)>| p99(half.into_iter().map(|(_, took)| *took).collect());
        Self {
            calls: calm.len() + beside.len(),
            noise: half(even).abs_diff(half(odd)),
            calm: p99(calm),
            beside: p99(beside),
        }
    }

    fn moved_percent(&self) -> f64 {
        if self.calm.is_zero() {
            return 0.0;
        }
        (self.beside.as_secs_f64() / self.calm.as_secs_f64() - 1.0) * 100.0
    }

    /// Whether p99 moved by less than may be: by its share, by so little that it is no matter, or by no more than it moves
    /// on this machine by itself.
    fn are_unmoved(&self) -> bool {
        let moved = self.beside.saturating_sub(self.calm);
        self.moved_percent() < Self::SHARE || moved < Self::LEAST.max(self.noise * 3)
    }
}

fn p99(mut all: Vec<Duration>) -> Duration {
    all.sort();
    let at = all.len() * 99 / 100;
    all.get(at).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn report(findings: &[Finding], as_json: bool) {
    let count = |is: fn(&Verdict) -> bool| findings.iter().filter(|finding| is(&finding.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let not_covered = count(|verdict| matches!(verdict, Verdict::NotCovered(_)));
    let sends = findings.iter().map(|finding| finding.sends).fold(0.0, f64::max);
    let late = findings.iter().map(|finding| finding.late).max().unwrap_or(Duration::ZERO);
    let survivors: usize = findings.iter().map(|finding| finding.survivors).sum();
    let others = Others::of(findings);
    if as_json {
        let cases: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "fault": finding.id,
                    "what": finding.what,
                    "verdict": finding.verdict.word(),
                    "why": finding.verdict.reason(),
                    "caller_got": finding.got,
                    "ms": finding.took.as_millis() as u64,
                    "late_ms": finding.late.as_millis() as u64,
                    "sends_per_unsafe_call": finding.sends,
                    "survivors": finding.survivors,
                })
            })
            .collect();
        let summary = json!({
            "total": findings.len(),
            "passed": passed,
            "failed": failed,
            "not_covered": not_covered,
            "most_sends_per_unsafe_call": sends,
            "worst_lateness_ms": late.as_millis() as u64,
            "survivors": survivors,
            "others": {
                "calls": others.calls,
                "p99_calm_ms": ms(others.calm),
                "p99_beside_faults_ms": ms(others.beside),
                "moved_percent": others.moved_percent(),
                "noise_ms": ms(others.noise),
                "unmoved": others.are_unmoved(),
            },
            "cases": cases,
        });
        println!("{}", serde_json::to_string_pretty(&summary).unwrap());
        return;
    }
    for finding in findings {
        let word = finding.verdict.word();
        let took = finding.took.as_millis();
        println!("{:<4} {word:<11} {took:>6} ms  {}", finding.id, finding.what);
        if let Some(reason) = finding.verdict.reason() {
            println!("     {reason}");
        }
    }
    println!(
        "\n{passed} passed, {failed} failed, {not_covered} not covered, of {}; most sends of one unsafe call {sends}; worst \
         lateness {} ms; survivors {survivors}",
        findings.len(),
        late.as_millis()
    );
    println!(
        "calls of other servers: p99 {:.2} ms while all is calm, {:.2} ms beside faults ({:+.1} %), of {} calls",
        ms(others.calm),
        ms(others.beside),
        others.moved_percent(),
        others.calls
    );
}
