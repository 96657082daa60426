//! Floods beside an answer. The night has them in full size.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use massgen_testkit::{Outcome, PATIENCE, Quirk, process};
use mcp_client::{Integrity, StderrSink};
use mcp_core::{ServerName, ToolService};
use serde_json::json;
use tracing::Level;

use crate::heard::Heard;
use crate::host;
use crate::lab::{GRACE, Measured, Playing, ask_innocent, innocent, named};
use crate::stdio::script;
use crate::support::{call, child, restarts, start};
use crate::{Fault, Play};

/// Whether floods have the size that the specification names.
pub(crate) static IN_FULL: AtomicBool = AtomicBool::new(false);
/// How the part that is flooded learns of the size.
const BYTES: &str = "MASSGEN_FAULTS_BYTES";
/// The length of a line of a scripted server's flood.
const LINE: u64 = 127;

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F48",
            "a flood on stderr: the answer, for less than a processor's second per GB and no memory; a sample is in the log",
            || Box::pin(stderr()),
        ),
        own(
            "F49",
            "a flood of notifications: the answer within a second of its sending, one word about it, held against it where it \
             lasts",
            || Box::pin(notices()),
        ),
    ]
}

fn is_full() -> bool {
    IN_FULL.load(Ordering::Relaxed)
}

async fn stderr() -> Measured {
    let mut measured = Measured::default();
    let bytes: usize = if is_full() { 1_000_000_000 } else { 16_000_000 };
    let scripted = script(Outcome::Echo).quirk(Quirk::StderrFlood(bytes)).launch();
    // A process of its own: what it takes of the machine is nobody else's.
    let mut part = host::part("stderr", &[], &scripted);
    part.env(BYTES, bytes.to_string());
    match host::outcome(part).await {
        Some((problems, got)) => {
            measured.problems.extend(problems);
            measured.got = got;
        }
        None => measured.problems.push("the process that was flooded failed".into()),
    }
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

/// Counts the lines that are passed on and those that are said to be left out, and looks at the memory meanwhile.
#[derive(Default)]
struct Sample {
    lines: AtomicU64,
    left_out: AtomicU64,
    memory: Mutex<Vec<u64>>,
}

impl StderrSink for Sample {
    fn line(&self, _: &ServerName, line: &str) {
        let left_out = line.strip_prefix('[').and_then(|rest| rest.split_once(" lines left out"));
        match left_out {
            Some((count, _)) => {
                self.left_out.fetch_add(count.parse().unwrap(), Ordering::SeqCst);
            }
            None if self.lines.fetch_add(1, Ordering::SeqCst).is_multiple_of(20) => {
                self.memory.lock().unwrap().extend(resident());
            }
            None => {}
        }
    }
}

/// Resident memory in KiB, where the system says.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(pages.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4)
}

/// What this process took of the processors, where the system says.
fn processor_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::try_from(time).ok()
    }
    #[cfg(not(unix))]
    None
}

/// How often this process has asked the system for bytes, where the system says.
fn reads() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/self/io").ok()?;
    counts.lines().find_map(|line| line.strip_prefix("syscr: ")?.parse().ok())
}

/// A host whose server floods its standard error before it answers.
pub(crate) async fn of_stderr() -> (Vec<String>, String) {
    const MINUTES: Duration = Duration::from_secs(170);
    let bytes: u64 = std::env::var(BYTES).unwrap().parse().unwrap();
    let expected = bytes.div_ceil(LINE);
    let sample = Arc::new(Sample::default());
    let mut options = restarts(0);
    options.session.stderr = Some(sample.clone());
    let mut config = host::server();
    (config.call_timeout, config.total_timeout) = (MINUTES, MINUTES);
    let mut measured = Measured::default();
    let (client, _) = start([config], options);
    client.ready(PATIENCE).await;
    let (busy, before, began) = (processor_time(), reads(), Instant::now());
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let (busy, took) = (processor_time().zip(busy).map(|(now, then)| now - then), began.elapsed());
    measured.expect(class == "answered", format!("the caller got {class} ({text})"));
    client.close().await;
    let all = || sample.lines.load(Ordering::SeqCst) + sample.left_out.load(Ordering::SeqCst);
    let counted = process::until(PATIENCE, || all() == expected).await;
    measured.expect(counted, format!("{} of {expected} lines were passed on or counted", all()));
    let lines = sample.lines.load(Ordering::SeqCst);
    // The second in which it began and the one in which it ended are two.
    let share = 200 * (took.as_secs() + 2);
    measured.expect(lines <= share, format!("{lines} lines were passed on in {took:?}"));
    let memory = sample.memory.lock().unwrap().clone();
    let (early, late) = memory.split_at(memory.len() / 4);
    let most = |samples: &[u64]| samples.iter().max().copied().unwrap_or_default();
    let grown = most(late).saturating_sub(most(early));
    measured.expect(grown <= 1024, format!("it took {grown} KiB more while it was flooded"));
    let mut got = format!("{class}, {lines} of {expected} lines passed on, {grown} KiB more");
    if let Some(reads) = reads().zip(before).map(|(now, then)| now - then) {
        // Optimised or not, what a flood costs is how often it is looked at: a read brings 8 KiB at least, but for those of each
        // second that bring the lines which are passed on.
        let most = bytes / (8 << 10) + 2 * share;
        measured.expect(reads <= most, format!("{reads} reads for {bytes} bytes, more than {most}"));
        got.push_str(&format!(", {reads} reads"));
    }
    if let Some(busy) = busy {
        let per_gb = busy.as_secs_f64() / (bytes as f64 / 1e9);
        // What a call takes besides is much against a small flood, and code that is not optimised takes several times as long.
        let is_judged = bytes >= 1_000_000_000 && !cfg!(debug_assertions);
        measured.expect(!is_judged || per_gb < 1.0, format!("it took {per_gb:.2} s per GB"));
        got.push_str(&format!(", {per_gb:.2} s of a processor per GB"));
    }
    (measured.problems, got)
}

async fn notices() -> Measured {
    // On a thread of its own, on which all that is said can be heard.
    let played = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(heard_notices())
    });
    played.await.unwrap()
}

async fn heard_notices() -> Measured {
    let mut measured = Measured::default();
    // rmcp says every notice, and nobody hears that by default.
    let heard =
        Heard::new(|metadata| *metadata.level() <= Level::INFO && !metadata.target().starts_with("rmcp"));
    let _hearing = crate::support::listen(heard.clone());
    let count = if is_full() { 200_000 } else { 20_000 };
    let short = Quirk::NotificationFlood(count);
    let lasting = Quirk::NotificationStream { bursts: 700, each: 40, every_ms: 10 };
    let mut floods = vec![(short, None)];
    if is_full() {
        floods.push((lasting, Some(Duration::from_secs(7))));
    }
    for (quirk, lasts) in floods {
        let before = heard.lines().len();
        let (scripted, innocent) = (script(Outcome::Echo).quirk(quirk).launch(), innocent());
        let (client, _) = start([child("faulty", &scripted), child("innocent", &innocent)], restarts(1));
        client.ready(PATIENCE).await;
        let began = SystemTime::now();
        let flooded = async {
            let result = client.call(call("mcp__faulty__do", json!({}))).await;
            (result, SystemTime::now())
        };
        let ((result, answered), slowest) = tokio::join!(flooded, ask_innocent(&client));
        let (class, text) = named(&result);
        measured.expect(class == "answered", format!("the caller got {class} ({text})"));
        measured.expect(slowest < Duration::MAX, "the other server failed");
        let ends = scripted.journal().kind("repeated");
        let sent = ends.last().and_then(|entry| entry["at_us"].as_u64()).unwrap_or_default();
        let sent = SystemTime::UNIX_EPOCH + Duration::from_micros(sent);
        let late = answered.duration_since(sent).unwrap_or_default();
        measured.in_time(late <= GRACE, format!("the answer was there {late:?} after it was sent"));
        let flood = sent.duration_since(began).unwrap_or_default();
        let integrity = client.client("faulty").unwrap().status().integrity;
        // Between the two it depends on the machine.
        if lasts.is_some() {
            let held_against = integrity == Integrity::Suspicious { breaches: 1 };
            measured.expect(held_against, format!("of a flood of {flood:?} is thought {integrity:?}"));
        } else if flood < Duration::from_secs(5) {
            measured.expect(integrity == Integrity::Clean, format!("after {flood:?} it is {integrity:?}"));
        }
        let said = heard.lines().split_off(before);
        let of_floods = said.iter().filter(|line| line.contains("floods us")).count();
        measured.expect(said.len() <= 10, format!("{} lines are in the log: {:.500?}", said.len(), said));
        measured.expect(lasts.is_none() || of_floods == 1, format!("it was told {of_floods} times"));
        measured.got = class;
        client.close().await;
        measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    }
    measured
}
