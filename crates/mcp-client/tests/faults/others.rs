//! How the servers beside a failing one do. On a machine that does other things as well, time alone says nothing: another
//! client, on a thread of its own and with a server of its own, is measured at the same moments.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use massgen_testkit::PATIENCE;
use mcp_core::ToolService;
use serde_json::{Value, json};

use crate::lab::{Beside, Finding, PACE, Samples, innocent};
use crate::support::{call, child, restarts, start};

/// A client that shares nothing with those that meet faults.
pub(crate) struct Control {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Samples>,
}

impl Control {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(measure(&stopped))
        });
        Self { stop, thread }
    }

    /// Ends it; everything it has measured.
    pub(crate) fn end(self) -> Samples {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn measure(stopped: &AtomicBool) -> Samples {
    let scripted = innocent();
    let (client, _) = start([child("innocent", &scripted)], restarts(1));
    client.ready(PATIENCE).await;
    let mut samples = Samples::new();
    while !stopped.load(Ordering::Relaxed) {
        let began = Instant::now();
        if client.call(call("mcp__innocent__look", json!({}))).await.is_ok() {
            samples.push((began, began.elapsed()));
        }
        tokio::time::sleep(PACE).await;
    }
    client.close().await;
    samples
}

/// How the servers beside the failing ones did.
pub(crate) struct Others {
    calls: usize,
    /// p99 while all is calm, and beside faults.
    calm: Duration,
    beside: Duration,
    /// p99 of the client apart, at the same times.
    calm_apart: Duration,
    beside_apart: Duration,
}

impl Others {
    /// What p99 may move by, in percent.
    const SHARE: f64 = 10.0;
    /// Below this a share says nothing.
    const LEAST: Duration = Duration::from_millis(5);

    pub(crate) fn of(findings: &[Finding], apart: &Samples) -> Self {
        let all = |which: fn(&Beside) -> &Samples| -> Samples {
            findings.iter().flat_map(|finding| which(&finding.beside)).copied().collect()
        };
        let during = |which: fn(&Beside) -> &Samples| -> Samples {
            let spans: Vec<_> = findings
                .iter()
                .filter_map(|finding| {
                    let samples = which(&finding.beside);
                    let (last, took) = samples.last()?;
                    Some(samples.first()?.0..*last + *took)
                })
                .collect();
            apart.iter().filter(|(at, _)| spans.iter().any(|span| span.contains(at))).copied().collect()
        };
        let (calm, beside) = (all(|beside| &beside.calm), all(|beside| &beside.troubled));
        Self {
            calls: calm.len() + beside.len(),
            calm: p99(&calm),
            beside: p99(&beside),
            calm_apart: p99(&during(|beside| &beside.calm)),
            beside_apart: p99(&during(|beside| &beside.troubled)),
        }
    }

    /// By how much p99 is more beside faults than that of the client apart at the same time, in percent; what the two differ
    /// by while all is calm is taken out.
    fn moved_percent(&self) -> f64 {
        let ratio = |own: Duration, apart: Duration| {
            if apart.is_zero() { 1.0 } else { own.as_secs_f64() / apart.as_secs_f64() }
        };
        let usual = ratio(self.calm, self.calm_apart).max(f64::EPSILON);
        (ratio(self.beside, self.beside_apart) / usual - 1.0) * 100.0
    }

    /// Whether p99 moved by less than may be: by its share, or by so little that it is no matter.
    pub(crate) fn are_unmoved(&self) -> bool {
        let more = self.beside.saturating_sub(self.calm);
        let more_apart = self.beside_apart.saturating_sub(self.calm_apart);
        self.moved_percent() < Self::SHARE || more.saturating_sub(more_apart) < Self::LEAST
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "calls": self.calls,
            "p99_calm_ms": ms(self.calm),
            "p99_beside_faults_ms": ms(self.beside),
            "p99_calm_apart_ms": ms(self.calm_apart),
            "p99_beside_faults_apart_ms": ms(self.beside_apart),
            "moved_percent": (self.moved_percent() * 10.0).round() / 10.0,
            "unmoved": self.are_unmoved(),
        })
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls of other servers: p99 {} ms while all is calm, {} ms beside faults; of a client apart {} and {} ms: moved \
             by {:+.1} %",
            self.calls,
            ms(self.calm),
            ms(self.beside),
            ms(self.calm_apart),
            ms(self.beside_apart),
            self.moved_percent()
        )
    }
}

fn p99(samples: &Samples) -> Duration {
    let mut all: Vec<Duration> = samples.iter().map(|(_, took)| *took).collect();
    all.sort();
    all.get(all.len() * 99 / 100).copied().unwrap_or_default()
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}
