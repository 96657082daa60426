//! Traces and metrics for a collector of OpenTelemetry, over HTTP. `OTEL_EXPORTER_OTLP_ENDPOINT` says where it is; the
//! other variables of its specification (headers, protocol, time limit, resource attributes, sampler) are read by
//! OpenTelemetry's own library.
//!
//! Spans wait in a bounded queue; what does not fit is dropped and counted. Metrics are summed up here and sent now and
//! then. Both are sent by threads of their own.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use massgen::client::metrics::{SECONDS, names};
use massgen::core::Environment;
use massgen::measured;
use massgen::transport::{TraceContext, TraceSource};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter, MeterProvider};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, SpanExporter};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use super::registry::{Kind, Sink};

/// How long the last delivery may take.
const LAST: Duration = Duration::from_secs(5);

/// The variables that say where a collector is.
const ENDPOINTS: [&str; 3] = [
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
];

/// Sends traces and metrics.
pub(crate) struct Exporter {
    tracers: SdkTracerProvider,
    meters: SdkMeterProvider,
    content: bool,
}

/// The variable of OpenTelemetry's own instrumentations for whether what is said goes into traces.
const CONTENT: &str = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT";

impl Exporter {
    /// One for the collector that the environment names; `None`: it names none.
    pub(crate) fn new(environment: &Environment) -> Option<Result<Self, ExporterBuildError>> {
        let named = ENDPOINTS.iter().any(|name| environment.non_empty(name).is_some());
        let disabled =
            environment.get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let content = environment.get(CONTENT).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        (named && !disabled).then(|| Self::build().map(|built| Self { content, ..built }))
    }

    fn build() -> Result<Self, ExporterBuildError> {
        let resource = Resource::builder();
        #[expect(clippy::disallowed_methods, reason = "the library below reads the same variables")]
        let named = std::env::var_os("OTEL_SERVICE_NAME").is_some();
        let resource = if named { resource } else { resource.with_service_name("massgen") };
        let resource =
            resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let spans = SpanExporter::builder().with_http().build()?;
        let metrics = MetricExporter::builder().with_http().build()?;
        Ok(Self {
            tracers: SdkTracerProvider::builder()
                .with_resource(resource.clone())
                .with_batch_exporter(spans)
                .build(),
            meters: SdkMeterProvider::builder()
                .with_resource(resource)
                .with_periodic_exporter(metrics)
                .build(),
            content: false,
        })
    }

    /// Whether arguments and answers of calls go into traces.
    pub(super) fn content(&self) -> bool {
        self.content
    }

    /// Where spans go in: those of our crates, without the places in our code.
    pub(crate) fn spans<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = Targets::new().with_targets(["massgen", "mcp"].map(|target| (target, Level::INFO)));
        tracing_opentelemetry::layer()
            .with_tracer(self.tracers.tracer("massgen"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_filter(ours)
    }

    /// Where measurements go in.
    pub(super) fn meters(&self) -> Arc<dyn Sink> {
        Arc::new(Meters { meter: self.meters.meter("massgen"), instruments: Mutex::default() })
    }

    /// Sends what still waits, within a bound, and stops.
    pub(super) async fn end(&self) {
        let (tracers, meters) = (self.tracers.clone(), self.meters.clone());
        let sent = tokio::task::spawn_blocking(move || {
            let spans = tracers.shutdown_with_timeout(LAST);
            spans.and(meters.shutdown_with_timeout(LAST))
        });
        let problem = match tokio::time::timeout(LAST, sent).await {
            Ok(Ok(Ok(()))) => return,
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {} s", LAST.as_secs()),
        };
        tracing::warn!(problem, "not all telemetry was delivered");
    }
}

/// Knows the trace of the span that a call is in.
pub(crate) struct Traces;

impl TraceSource for Traces {
    fn current(&self) -> Option<TraceContext> {
        let context = tracing::Span::current().context();
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| {
            let flags = span.trace_flags().to_u8();
            let state = span.trace_state().header();
            TraceContext {
                parent: format!("00-{}-{}-{flags:02x}", span.trace_id(), span.span_id()),
                state: (!state.is_empty()).then_some(state),
            }
        })
    }
}

/// The library's instruments, made when they are first used.
struct Meters {
    meter: Meter,
    instruments: Mutex<BTreeMap<&'static str, Instrument>>,
}

#[derive(Clone)]
enum Instrument {
    Counter(Counter<u64>),
    Gauge(Gauge<f64>),
    Histogram(Histogram<f64>),
}

impl Meters {
    fn instrument(&self, kind: Kind, name: &'static str) -> Instrument {
        let mut instruments = self.instruments.lock().unwrap_or_else(PoisonError::into_inner);
        match instruments.entry(name) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => entry.insert(self.make(kind, name)).clone(),
        }
    }

    fn make(&self, kind: Kind, name: &'static str) -> Instrument {
        match kind {
            Kind::Counter => Instrument::Counter(self.meter.u64_counter(name).build()),
            Kind::Gauge => {
                let gauge = self.meter.f64_gauge(name);
                let bytes = name == names::SERVER_RSS;
                Instrument::Gauge(if bytes { gauge.with_unit("By") } else { gauge }.build())
            }
            Kind::Histogram => {
                let tokens = name == measured::names::TOKEN_USAGE;
                let (unit, bounds): (_, &[f64]) =
                    if tokens { ("{token}", &measured::TOKENS) } else { ("s", &SECONDS) };
                let histogram =
                    self.meter.f64_histogram(name).with_unit(unit).with_boundaries(bounds.to_vec());
                Instrument::Histogram(histogram.build())
            }
        }
    }
}

impl Sink for Meters {
    fn take(&self, kind: Kind, name: &'static str, labels: &BTreeMap<String, String>, value: f64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| KeyValue::new(name.clone(), value.clone())).collect();
        match self.instrument(kind, name) {
            Instrument::Counter(counter) => counter.add(value as u64, &labels),
            Instrument::Gauge(gauge) => gauge.record(value, &labels),
            Instrument::Histogram(histogram) => histogram.record(value, &labels),
        }
    }
}
