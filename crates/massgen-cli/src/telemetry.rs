//! What is measured while teams run, and who gets it: the log folder of each run, and, where they are asked for,
//! Prometheus and a collector of OpenTelemetry. Nobody of a run waits for any of them.

#[cfg(feature = "otlp")]
pub(crate) mod otlp;
#[cfg(feature = "prometheus")]
mod prometheus;
pub(crate) mod registry;

#[cfg(feature = "prometheus")]
pub(crate) use prometheus::Listener;

use std::sync::Arc;

use massgen::client::metrics::Observer;
use massgen::transport::TraceSource;

use crate::log_directory::LogDirectory;
use registry::{Metrics, Registry};

/// The name of the file in a run's log folder.
pub(crate) const FILE: &str = "metrics.json";

/// The names of what this program itself measures.
pub(crate) mod names {
    /// Counter of lines of the audit log.
    pub(crate) const AUDIT_RECORDS: &str = "massgen.mcp.audit.records";
    /// Counter of records that found no place any more, because the audit log could not be written for long.
    pub(crate) const AUDIT_DROPPED: &str = "massgen.mcp.audit.dropped";
    /// Gauge: records that were made and are not written yet.
    pub(crate) const AUDIT_LAG: &str = "massgen.mcp.audit.lag";
    /// Counter of files of log folders that were left out, because the disk did not keep up.
    pub(crate) const FILES_DROPPED: &str = "massgen.log.files.dropped";
    /// Counter of texts that held a registered secret; label `sink` (here: `event`, `audit`, `log`).
    pub(crate) use massgen::client::metrics::names::SECRET_REDACTIONS;
}

/// Collects what is measured, and hands it on.
pub(crate) struct Telemetry {
    registry: Arc<Registry>,
    #[cfg(feature = "otlp")]
    otlp: Option<otlp::Exporter>,
}

impl Telemetry {
    #[cfg(feature = "otlp")]
    pub(crate) fn new(otlp: Option<otlp::Exporter>) -> Self {
        let registry = Registry::telling(otlp.as_ref().map(otlp::Exporter::meters));
        Self { registry, otlp }
    }

    #[cfg(not(feature = "otlp"))]
    pub(crate) fn new() -> Self {
        Self { registry: Arc::default() }
    }

    /// Where measurements go in.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.registry.clone()
    }

    /// Knows the trace of what is being done, where traces go anywhere.
    pub(crate) fn traces(&self) -> Option<Arc<dyn TraceSource>> {
        #[cfg(feature = "otlp")]
        return self.otlp.as_ref().map(|_| Arc::new(otlp::Traces) as Arc<dyn TraceSource>);
        #[cfg(not(feature = "otlp"))]
        None
    }

    /// Whether arguments and answers of calls go into traces, as `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` says.
    pub(crate) fn content(&self) -> bool {
        #[cfg(feature = "otlp")]
        return self.otlp.as_ref().is_some_and(otlp::Exporter::content);
        #[cfg(not(feature = "otlp"))]
        false
    }

    /// Everything as it is now.
    pub(crate) fn metrics(&self) -> Metrics {
        self.registry.metrics()
    }

    /// Answers requests for metrics at this address until what is returned is dropped.
    #[cfg(feature = "prometheus")]
    pub(crate) fn listen(&self, address: std::net::SocketAddr) -> Result<Listener, crate::failure::Failure> {
        let (listener, bound) = prometheus::listen(address, self.registry.clone())?;
        crate::output::note(format!("metrics  http://{bound}/metrics"));
        Ok(listener)
    }

    /// Hands over what still waits, within a bound.
    pub(crate) async fn end(&self) {
        #[cfg(feature = "otlp")]
        if let Some(otlp) = &self.otlp {
            otlp.end().await;
        }
    }
}

/// Writes what was measured since `before` into a run's folder.
pub(crate) fn write(log: &LogDirectory, metrics: Metrics, before: &Metrics) -> std::io::Result<()> {
    let document = registry::Document { version: 1, metrics: registry::since(metrics, before) };
    std::fs::write(log.path().join(FILE), serde_json::to_vec(&document)?)
}
