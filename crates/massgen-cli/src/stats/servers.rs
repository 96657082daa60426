//! What the layers of calls did for each server, from `metrics.json` of the runs.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use massgen::client::metrics::names;
use serde::Serialize;

use crate::telemetry::registry::{Document, Series, Value};
use crate::telemetry::{FILE, names as own};

/// The largest file that is read, bytes.
const MOST: u64 = 64 << 20;

/// What was measured in all of the runs.
#[derive(Debug, Default, Serialize)]
pub(super) struct Figures {
    pub(super) servers: BTreeMap<String, Row>,
    pub(super) audit: Audit,
    /// Texts that held a registered secret, which was taken out, by where they were on their way to.
    pub(super) redactions: BTreeMap<String, u64>,
}

/// How the audit log did.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Audit {
    records: u64,
    /// Records that found no place any more, because it could not be written for long.
    pub(super) dropped: u64,
    /// The most records that were not written yet when a run ended.
    lag: u64,
}

/// A server, over all of its runs.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(super) struct Row {
    /// Requests that were sent to it.
    requests: u64,
    /// How long they took at most, half and 95 % of them: the upper ends of buckets, milliseconds.
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    #[serde(skip)]
    took: BTreeMap<u64, u64>,
    /// Starts after the first one that worked.
    restarts: u64,
    /// How often its circuit opened, and those of its tools.
    opened: u64,
    /// The same, by the tool whose circuit it was.
    opened_by_tool: BTreeMap<String, u64>,
    /// Calls that an open circuit refused.
    rejected: u64,
    /// Attempts after the first.
    retries: u64,
    /// Calls that were not made again, by the reason: `attempts`, `budget`, `deadline`, `unsafe`.
    not_retried: BTreeMap<String, u64>,
    /// What was left of the budget for retries after the last one, tokens; `None`: there was none.
    budget_left: Option<f64>,
    /// Calls that waited for a place and got one.
    waited: u64,
    /// How long they waited at most, 95 % of them: the upper end of a bucket, milliseconds.
    wait_p95_ms: Option<u64>,
    /// Calls that found no place, by the reason: `queue`, `wait`, `rate`.
    shed: BTreeMap<String, u64>,
    /// Calls whose outcome nobody knows.
    unknown: u64,
    /// The most resident memory at the end of a run, bytes; `None`: it is no program of ours, or nobody says.
    rss_bytes: Option<u64>,
    /// The shares of failures and of slow calls as of the last call, 0 to 1.
    failure_rate: Option<f64>,
    slow_rate: Option<f64>,
    /// Messages that break the protocol, by what is wrong with them.
    frames_rejected: BTreeMap<String, u64>,
    /// Answers that nobody waited for any more.
    late_answers: u64,
    /// What was found in what it says or is asked to do, by the rule.
    decisions: BTreeMap<String, u64>,
    #[serde(skip)]
    waits: BTreeMap<u64, u64>,
}

/// Adds what a run left. A run that left nothing was of an older version.
pub(super) fn read(folder: &Path, figures: &mut Figures) -> io::Result<()> {
    let path = folder.join(FILE);
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.len() > MOST => return Err(io::Error::other("it is too large")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    let document: Document = serde_json::from_slice(&std::fs::read(path)?)?;
    for (name, metric) in &document.metrics {
        for series in &metric.series {
            match series.labels.get("server") {
                Some(server) => figures.servers.entry(server.clone()).or_default().add(name, series),
                None => figures.add(name, series),
            }
        }
    }
    for row in figures.servers.values_mut() {
        row.wait_p95_ms = percentile(&row.waits, 95);
        (row.p50_ms, row.p95_ms) = (percentile(&row.took, 50), percentile(&row.took, 95));
    }
    Ok(())
}

fn number(series: &Series) -> f64 {
    match series.value {
        Value::Number { value } => value,
        Value::Histogram { .. } => 0.0,
    }
}

impl Figures {
    /// What is no server's.
    fn add(&mut self, name: &str, series: &Series) {
        let count = number(series) as u64;
        match name {
            own::AUDIT_RECORDS => self.audit.records += count,
            own::AUDIT_DROPPED => self.audit.dropped += count,
            own::AUDIT_LAG => self.audit.lag = self.audit.lag.max(count),
            own::SECRET_REDACTIONS => {
                let sink = series.labels.get("sink").cloned().unwrap_or_default();
                *self.redactions.entry(sink).or_default() += count;
            }
            _ => {}
        }
    }
}

impl Row {
    fn add(&mut self, name: &str, series: &Series) {
        let label = |name: &str| series.labels.get(name).map(String::as_str).unwrap_or_default();
        let number = number(series);
        // Counters are whole numbers.
        let count = number as u64;
        match name {
            names::SERVER_RESTARTS => self.restarts += count,
            names::BREAKER_TRANSITIONS if label("from") == "closed" => {
                self.opened += count;
                if !label("tool").is_empty() {
                    *self.opened_by_tool.entry(label("tool").to_owned()).or_default() += count;
                }
            }
            names::BREAKER_CALLS if label("outcome") == "rejected" => self.rejected += count,
            names::RETRY_ATTEMPTS if label("decision") == "retried" => self.retries += count,
            names::RETRY_ATTEMPTS => {
                *self.not_retried.entry(label("decision").to_owned()).or_default() += count;
            }
            names::RETRY_BUDGET => self.budget_left = Some(number),
            names::SHED => *self.shed.entry(label("reason").to_owned()).or_default() += count,
            names::LEDGER_UNKNOWN => self.unknown += count,
            names::SERVER_RSS => self.rss_bytes = self.rss_bytes.max(Some(count)),
            names::BREAKER_FAILURE_RATE if label("tool").is_empty() => self.failure_rate = Some(number),
            names::BREAKER_SLOW_RATE if label("tool").is_empty() => self.slow_rate = Some(number),
            names::FRAMES_REJECTED => {
                *self.frames_rejected.entry(label("reason").to_owned()).or_default() += count;
            }
            names::LATE_RESPONSES => self.late_answers += count,
            names::SECURITY_DECISIONS => {
                *self.decisions.entry(label("rule").to_owned()).or_default() += count;
            }
            names::BULKHEAD_WAIT => self.waited += add_buckets(&mut self.waits, &series.value),
            names::OPERATION_DURATION => self.requests += add_buckets(&mut self.took, &series.value),
            _ => {}
        }
    }

    /// As a line of the table.
    pub(super) fn cells(&self, server: &str) -> [String; 13] {
        let named = |counts: &BTreeMap<String, u64>| {
            let all: Vec<_> = counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
            all.join(", ")
        };
        let wait = match self.wait_p95_ms {
            Some(p95) => format!("{} (p95 <= {p95} ms)", self.waited),
            None => "0".to_owned(),
        };
        let at_most = |value: Option<u64>| value.map_or_else(String::new, |ms| format!("<= {ms}"));
        [
            server.to_owned(),
            self.requests.to_string(),
            at_most(self.p50_ms),
            at_most(self.p95_ms),
            self.rss_bytes.map_or_else(String::new, |bytes| format!("{} MB", bytes.div_ceil(1_000_000))),
            self.restarts.to_string(),
            self.opened.to_string(),
            self.rejected.to_string(),
            self.retries.to_string(),
            named(&self.not_retried),
            wait,
            named(&self.shed),
            self.late_answers.to_string(),
        ]
    }
}

/// The heads of [`Row::cells`].
pub(super) const HEAD: [&str; 13] = [
    "SERVER",
    "REQUESTS",
    "P50 MS",
    "P95 MS",
    "MEMORY",
    "RESTARTS",
    "OPENED",
    "REJECTED",
    "RETRIES",
    "NOT RETRIED",
    "WAITED",
    "SHED",
    "LATE",
];

/// Adds a histogram in seconds, by the upper ends of its buckets in milliseconds; answers how many values it has.
fn add_buckets(into: &mut BTreeMap<u64, u64>, value: &Value) -> u64 {
    let Value::Histogram { count, bounds, buckets, .. } = value else { return 0 };
    // What is beyond the last boundary is bounded by a limit of its own; the boundary is what is known.
    let ends = bounds.iter().chain(bounds.last());
    for (end, count) in ends.zip(buckets).filter(|(_, count)| **count > 0) {
        *into.entry((end * 1000.0) as u64).or_default() += count;
    }
    *count
}

/// The value below which so many percent lie; `None`: there are none.
fn percentile(counts: &BTreeMap<u64, u64>, percent: u64) -> Option<u64> {
    let all: u64 = counts.values().sum();
    let mut left = (all * percent).div_ceil(100);
    counts.iter().find_map(|(value, count)| {
        left = left.saturating_sub(*count);
        (left == 0 && all > 0).then_some(*value)
    })
}

#[cfg(test)]
mod tests {
    use massgen::client::metrics::Observer;

    use super::*;
    use crate::telemetry::registry::Registry;

    #[test]
    fn the_figures_of_two_runs_add_up() {
        let registry = Registry::default();
        let labels = |other| [("server", "s"), other];
        registry.count(names::BREAKER_TRANSITIONS, &labels(("from", "closed")), 1);
        registry.count(names::BREAKER_TRANSITIONS, &[("server", "s"), ("tool", "t"), ("from", "closed")], 2);
        for took in [0.004, 0.004, 0.004, 3.0] {
            registry.histogram(names::OPERATION_DURATION, &labels(("mcp.method.name", "tools/call")), took);
        }
        registry.count(names::BREAKER_TRANSITIONS, &labels(("from", "open")), 5);
        registry.count(names::BREAKER_CALLS, &labels(("outcome", "rejected")), 7);
        registry.count(names::BREAKER_CALLS, &labels(("outcome", "success")), 100);
        registry.count(names::RETRY_ATTEMPTS, &labels(("decision", "retried")), 3);
        registry.count(names::RETRY_ATTEMPTS, &labels(("decision", "budget")), 2);
        registry.gauge(names::RETRY_BUDGET, &[("server", "s")], 4.5);
        for wait in [0.005, 0.005, 0.3] {
            registry.histogram(names::BULKHEAD_WAIT, &[("server", "s")], wait);
        }
        registry.count(names::SHED, &labels(("reason", "queue")), 1);
        registry.gauge(names::SERVER_RSS, &[("server", "s")], 12_300_000.0);
        registry.gauge(names::BREAKER_FAILURE_RATE, &[("server", "s")], 0.25);
        registry.gauge(names::BREAKER_SLOW_RATE, &labels(("tool", "t")), 1.0);
        registry.count(names::FRAMES_REJECTED, &labels(("reason", "id")), 2);
        registry.count(names::SECURITY_DECISIONS, &labels(("rule", "audit-unavailable")), 1);
        registry.count(names::LATE_RESPONSES, &[("server", "s")], 3);
        registry.count(own::AUDIT_RECORDS, &[], 9);
        registry.count(own::AUDIT_DROPPED, &[], 3);
        registry.gauge(own::AUDIT_LAG, &[], 5.0);
        registry.count(own::SECRET_REDACTIONS, &[("sink", "log")], 1);
        let folder = tempfile::tempdir().unwrap();
        let document = Document { version: 1, metrics: registry.metrics() };
        std::fs::write(folder.path().join(FILE), serde_json::to_vec(&document).unwrap()).unwrap();
        let mut figures = Figures::default();
        read(folder.path(), &mut figures).unwrap();
        read(folder.path(), &mut figures).unwrap();
        assert_eq!(figures.audit, Audit { records: 18, dropped: 6, lag: 5 });
        assert_eq!(figures.redactions, BTreeMap::from([("log".to_owned(), 2)]));
        let rows = figures.servers;
        let row = &rows["s"];
        assert_eq!((row.rss_bytes, row.failure_rate, row.slow_rate), (Some(12_300_000), Some(0.25), None));
        assert_eq!(row.frames_rejected, BTreeMap::from([("id".to_owned(), 4)]));
        assert_eq!(row.decisions, BTreeMap::from([("audit-unavailable".to_owned(), 2)]));
        assert_eq!(row.cells("s")[4], "13 MB");
        assert_eq!((row.opened, row.rejected, row.retries, row.budget_left), (6, 14, 6, Some(4.5)));
        assert_eq!((row.requests, row.p50_ms, row.p95_ms), (8, Some(10), Some(5000)));
        assert_eq!(row.opened_by_tool, BTreeMap::from([("t".to_owned(), 4)]));
        assert_eq!(row.cells("s")[9..], ["budget 4", "6 (p95 <= 500 ms)", "queue 2", "6"]);
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn a_run_without_figures_and_a_broken_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut figures = Figures::default();
        read(folder.path(), &mut figures).unwrap();
        assert!(figures.servers.is_empty());
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(read(folder.path(), &mut figures).is_err());
    }
}
