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
#[cfg(unix)]
mod endings;
mod floods;
#[cfg(unix)]
mod full;
mod heard;
mod host;
mod lab;
mod local;
mod names;
mod others;
mod pipes;
mod sends;
mod stdio;
mod time;
mod trust;
mod web;
mod wire;
// What the other tests of the crate use as well.
#[path = "../support/lets_pass.rs"]
mod lets_pass;
#[allow(dead_code, reason = "each of the two binaries needs its part of it")]
#[path = "../it/support.rs"]
mod support;

use std::process::ExitCode;
use std::time::Duration;

use lab::{Finding, Verdict};
use others::{Control, Others};
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
        pipes::faults(),
        floods::faults(),
        #[cfg(unix)]
        endings::faults(),
        web::faults(),
        wire::faults(),
        sends::faults(),
        names::faults(),
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
    floods::IN_FULL.store(wish.all, std::sync::atomic::Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // Where time is judged, nothing else of ours takes any, and a client apart shows what the machine does to all.
    let control = wish.measure.then(Control::start);
    let findings = runtime.block_on(play(chosen, if wish.measure { 1 } else { 4 }));
    runtime.shutdown_background();
    let others = control.map(|control| Others::of(&findings, &control.end()));
    report(&findings, others.as_ref(), wish.json);
    let mut failed = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Failed(_)));
    if others.is_some_and(|others| !others.are_unmoved()) {
        eprintln!("the servers beside the failing ones were slower than the one apart");
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

fn report(findings: &[Finding], others: Option<&Others>, as_json: bool) {
    let count = |is: fn(&Verdict) -> bool| findings.iter().filter(|finding| is(&finding.verdict)).count();
    let passed = count(|verdict| matches!(verdict, Verdict::Passed));
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let not_covered = count(|verdict| matches!(verdict, Verdict::NotCovered(_)));
    let sends = findings.iter().map(|finding| finding.sends).fold(0.0, f64::max);
    let late = findings.iter().map(|finding| finding.late).max().unwrap_or(Duration::ZERO);
    let survivors: usize = findings.iter().map(|finding| finding.survivors).sum();
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
            "others": others.map(Others::to_json),
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
    if let Some(others) = others {
        println!("{others}");
    }
}
