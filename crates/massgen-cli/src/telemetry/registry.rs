//! Sums up what is measured: counters, gauges and histograms, each in as many series as its labels have values, within
//! bounds. Whoever measures never waits: a series is looked up and added to, and that is all.

use std::collections::BTreeMap;
#[cfg(feature = "otlp")]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use massgen::client::metrics::{Label, Observer, SECONDS};
use massgen::measured;
use serde::{Deserialize, Serialize};

/// The most series of one metric; what comes later is counted under [`OTHER`].
const SERIES: usize = 500;
/// The longest value of a label, bytes.
const VALUE: usize = 128;
/// The value of every label of whatever does not fit.
const OTHER: &str = "_other";

/// What is measured in tokens and not in seconds.
fn boundaries(name: &str) -> &'static [f64] {
    if name == measured::names::TOKEN_USAGE { &measured::TOKENS } else { &SECONDS }
}

/// All metrics as they are.
pub(crate) type Metrics = BTreeMap<String, Metric>;

/// One metric, in all of its series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Metric {
    pub(crate) kind: Kind,
    pub(crate) series: Vec<Series>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Number {
        value: f64,
    },
    Histogram {
        count: u64,
        sum: f64,
        /// The upper ends of all buckets but the last, which has none.
        bounds: Vec<f64>,
        buckets: Vec<u64>,
    },
}

impl Value {
    /// What [`Value::add`] adds to.
    fn new(kind: Kind, name: &str) -> Self {
        match kind {
            Kind::Counter | Kind::Gauge => Self::Number { value: 0.0 },
            Kind::Histogram => {
                let bounds = boundaries(name).to_vec();
                Self::Histogram { count: 0, sum: 0.0, buckets: vec![0; bounds.len() + 1], bounds }
            }
        }
    }

    fn take_away(&mut self, old: &Self) {
        match (self, old) {
            (Self::Number { value }, Self::Number { value: old }) => *value -= old,
            (
                Self::Histogram { count, sum, buckets, .. },
                Self::Histogram { count: old_count, sum: old_sum, buckets: old_buckets, .. },
            ) => {
                *count = count.saturating_sub(*old_count);
                *sum -= old_sum;
                for (bucket, old) in buckets.iter_mut().zip(old_buckets) {
                    *bucket = bucket.saturating_sub(*old);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, kind: Kind, new: f64) {
        match self {
            Self::Number { value } if kind == Kind::Gauge => *value = new,
            Self::Number { value } => *value += new,
            Self::Histogram { count, sum, bounds, buckets } => {
                *count += 1;
                *sum += new;
                let at = bounds.partition_point(|bound| *bound < new);
                if let Some(bucket) = buckets.get_mut(at) {
                    *bucket += 1;
                }
            }
        }
    }
}

/// What a run leaves in its log folder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) version: u32,
    pub(crate) metrics: Metrics,
}

/// What was measured between two moments: counters and histograms without what they were at `before`; gauges as they
/// are.
pub(crate) fn since(mut metrics: Metrics, before: &Metrics) -> Metrics {
    for (name, metric) in &mut metrics {
        let Some(old) = before.get(name).filter(|_| metric.kind != Kind::Gauge) else { continue };
        for series in &mut metric.series {
            if let Some(old) = old.series.iter().find(|old| old.labels == series.labels) {
                series.value.take_away(&old.value);
            }
        }
    }
    metrics
}

/// Hears every measurement as it is counted: with the labels it got.
#[cfg(feature = "otlp")]
pub(crate) trait Sink: Send + Sync {
    fn take(&self, kind: Kind, name: &'static str, labels: &BTreeMap<String, String>, value: f64);
}

/// Sums up.
#[derive(Default)]
pub(crate) struct Registry {
    metrics: Mutex<BTreeMap<&'static str, Held>>,
    /// Told about each measurement, too.
    #[cfg(feature = "otlp")]
    sink: Option<Arc<dyn Sink>>,
}

struct Held {
    kind: Kind,
    /// By the values of the labels, one after the other.
    places: BTreeMap<String, usize>,
    series: Vec<Series>,
}

impl Registry {
    /// One that tells `sink` as well.
    #[cfg(feature = "otlp")]
    pub(crate) fn telling(sink: Option<Arc<dyn Sink>>) -> Arc<Self> {
        Arc::new(Self { metrics: Mutex::default(), sink })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Held>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything as it is now.
    pub(crate) fn metrics(&self) -> Metrics {
        let held = self.lock();
        let metric = |held: &Held| Metric { kind: held.kind, series: held.series.clone() };
        held.iter().map(|(name, held)| ((*name).to_owned(), metric(held))).collect()
    }

    fn take(&self, kind: Kind, name: &'static str, labels: &[Label<'_>], value: f64) {
        let mut metrics = self.lock();
        let held =
            metrics.entry(name).or_insert_with(|| Held { kind, places: BTreeMap::new(), series: Vec::new() });
        let at = held.place(name, labels);
        let Some(series) = held.series.get_mut(at) else { return };
        series.value.add(kind, value);
        #[cfg(feature = "otlp")]
        if let Some(sink) = &self.sink {
            sink.take(kind, name, &series.labels, value);
        }
    }
}

impl Held {
    /// Where the series of these labels is.
    fn place(&mut self, name: &str, labels: &[Label<'_>]) -> usize {
        let mut key = String::with_capacity(64);
        for (label, value) in labels {
            key.push_str(label);
            key.push('\0');
            key.push_str(value);
            key.push('\0');
        }
        if let Some(at) = self.places.get(&key) {
            return *at;
        }
        // The last place is for all that do not fit: values that nobody knew beforehand must not fill the memory.
        let full = self.series.len() >= SERIES - 1;
        let labels: BTreeMap<_, _> = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), if full { OTHER.to_owned() } else { clean(value) }))
            .collect();
        if let Some(at) = self.series.iter().position(|series| series.labels == labels) {
            return at;
        }
        let at = self.series.len();
        self.series.push(Series { labels, value: Value::new(self.kind, name) });
        if !full {
            self.places.insert(key, at);
        }
        at
    }
}

/// A value without what has no place in a label: a server may have made it up.
fn clean(value: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '-');
    value.chars().take(VALUE).map(|c| if fits(c) { c } else { '_' }).collect()
}

impl Observer for Registry {
    fn count(&self, name: &'static str, labels: &[Label<'_>], by: u64) {
        self.take(Kind::Counter, name, labels, by as f64);
    }

    fn histogram(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        self.take(Kind::Histogram, name, labels, value);
    }

    fn gauge(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        self.take(Kind::Gauge, name, labels, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics, name: &str) -> Vec<String> {
        let shown = |series: &Series| match &series.value {
            Value::Number { value } => format!("{:?} {value}", series.labels),
            Value::Histogram { count, sum, buckets, .. } => format!("{count} {sum} {buckets:?}"),
        };
        metrics[name].series.iter().map(shown).collect()
    }

    #[test]
    fn measurements_are_summed_up_by_their_labels() {
        let registry = Registry::default();
        registry.count("calls", &[("server", "a")], 1);
        registry.count("calls", &[("server", "a")], 2);
        registry.count("calls", &[("server", "b")], 1);
        registry.gauge("up", &[], 1.0);
        registry.gauge("up", &[], 0.0);
        registry.histogram("took", &[], 0.01);
        registry.histogram("took", &[], 1000.0);
        let metrics = registry.metrics();
        assert_eq!(series(&metrics, "calls"), [r#"{"server": "a"} 3"#, r#"{"server": "b"} 1"#]);
        assert_eq!(series(&metrics, "up"), ["{} 0"]);
        assert_eq!(series(&metrics, "took"), ["2 1000.01 [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]"]);
        let text = serde_json::to_string(&metrics).unwrap();
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), metrics);
    }

    #[test]
    fn a_later_run_of_one_conversation_tells_its_own_share() {
        let registry = Registry::default();
        let measure = || {
            registry.count("calls", &[], 2);
            registry.histogram("took", &[], 0.5);
            registry.gauge("up", &[], 1.0);
        };
        measure();
        let before = registry.metrics();
        measure();
        assert_eq!(since(registry.metrics(), &before), before);
    }

    #[test]
    fn what_a_server_made_up_fills_no_memory_and_breaks_no_line() {
        let registry = Registry::default();
        let long = "x".repeat(10_000);
        registry.count("calls", &[("tool", "a\"b\n{c}")], 1);
        registry.count("calls", &[("tool", &long)], 1);
        for number in 0..5_000 {
            registry.count("calls", &[("tool", &format!("tool{number}"))], 1);
        }
        let metrics = registry.metrics();
        let series = &metrics["calls"].series;
        assert_eq!(series.len(), SERIES);
        assert_eq!(series[0].labels["tool"], "a_b__c_");
        assert_eq!(series[1].labels["tool"].len(), VALUE);
        let last = series.last().unwrap();
        assert_eq!((last.labels["tool"].as_str(), &last.value), ("_other", &Value::Number { value: 4503.0 }));
        let all: f64 = series
            .iter()
            .map(|series| if let Value::Number { value } = series.value { value } else { 0.0 })
            .sum();
        assert_eq!(all, 5_002.0);
    }
}
