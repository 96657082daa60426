//! How the servers beside a failing one do. On a machine that does other things as well, time alone says nothing: another
//! client, on a thread of its own and with a server of its own, is measured at the same moments.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use massgen_testkit::PATIENCE;
use serde_json::{Value, json};

use crate::lab::{Beside, Finding, PACE, Samples, innocent, neighbour};
use crate::support::{child, restarts, start};

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
    let over = async {
        while !stopped.load(Ordering::Relaxed) {
            tokio::time::sleep(PACE).await;
        }
    };
    let (samples, _) = neighbour(&client, 0, over).await;
    client.close().await;
    samples
}

/// What calls took: the half of them, and all but one in a hundred.
#[derive(Clone, Copy)]
struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(samples: &Samples) -> Self {
        let mut all: Vec<Duration> = samples.iter().map(|(_, took)| *took).collect();
        all.sort();
        let at = |percent: usize| all.get(all.len() * percent / 100).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99) }
    }

    fn to_json(self) -> Value {
        json!({"p50_ms": ms(self.p50), "p99_ms": ms(self.p99)})
    }
}

/// How the servers beside the failing ones did. Calm and trouble take turns, fault by fault: what the machine does besides
/// falls on both.
pub(crate) struct Others {
    calls: usize,
    /// While all is calm, and beside faults.
    calm: Spread,
    beside: Spread,
    /// Of the client apart, at the same times.
    calm_apart: Spread,
    beside_apart: Spread,
}

impl Others {
    /// What p99 may move by, in percent.
    const SHARE: f64 = 10.0;

    pub(crate) fn of(findings: &[Finding], apart: &Samples) -> Self {
        let all = |which: fn(&Beside) -> &Samples| -> Samples {
            findings.iter().flat_map(|finding| which(&finding.beside)).copied().collect()
        };
        let during = |which: fn(&Beside) -> &Samples| -> Samples {
            let spans: Vec<_> = findings
                .iter()
                .filter_map(|finding| {
                    let samples = which(&finding.beside);
                    let first = samples.iter().map(|(at, _)| *at).min()?;
                    let last = samples.iter().map(|(at, took)| *at + *took).max()?;
                    Some(first..last)
                })
                .collect();
            apart.iter().filter(|(at, _)| spans.iter().any(|span| span.contains(at))).copied().collect()
        };
        let (calm, beside) = (all(|beside| &beside.calm), all(|beside| &beside.troubled));
        Self {
            calls: calm.len() + beside.len(),
            calm: Spread::of(&calm),
            beside: Spread::of(&beside),
            calm_apart: Spread::of(&during(|beside| &beside.calm)),
            beside_apart: Spread::of(&during(|beside| &beside.troubled)),
        }
    }

    /// By how much more calls take beside faults than those of the client apart at the same time, in percent; what the two
    /// differ by while all is calm is taken out.
    fn moved_percent(&self, of: fn(&Spread) -> Duration) -> f64 {
        let ratio = |own: &Spread, apart: &Spread| {
            if of(apart).is_zero() { 1.0 } else { of(own).as_secs_f64() / of(apart).as_secs_f64() }
        };
        let usual = ratio(&self.calm, &self.calm_apart).max(f64::EPSILON);
        (ratio(&self.beside, &self.beside_apart) / usual - 1.0) * 100.0
    }

    /// Whether p99 moved by less than it may.
    pub(crate) fn are_unmoved(&self) -> bool {
        self.moved_percent(|spread| spread.p99) < Self::SHARE
    }

    pub(crate) fn to_json(&self) -> Value {
        let tenths = |percent: f64| (percent * 10.0).round() / 10.0;
        json!({
            "calls": self.calls,
            "calm": self.calm.to_json(),
            "beside_faults": self.beside.to_json(),
            "calm_apart": self.calm_apart.to_json(),
            "beside_faults_apart": self.beside_apart.to_json(),
            "p50_moved_percent": tenths(self.moved_percent(|spread| spread.p50)),
            "p99_moved_percent": tenths(self.moved_percent(|spread| spread.p99)),
            "unmoved": self.are_unmoved(),
        })
    }
}

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let both = |spread: &Spread| format!("{}/{}", ms(spread.p50), ms(spread.p99));
        write!(
            f,
            "{} calls of other servers, p50/p99: {} ms while all is calm, {} ms beside faults; of a client apart {} and {} ms: p99 \
             moved by {:+.1} %",
            self.calls,
            both(&self.calm),
            both(&self.beside),
            both(&self.calm_apart),
            both(&self.beside_apart),
            self.moved_percent(|spread| spread.p99)
        )
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}
