//! Models that are measured: how long they take and how many tokens they use, under the names of OpenTelemetry's
//! conventions for generative AI.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use massgen_backends::{Backend, BackendError, Capabilities, Event, EventStream, ModelInfo, Request, Usage};
use mcp_client::metrics::{Label, Observer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Span;
use tracing::field::Empty;

/// The names of what is measured of models.
pub mod names {
    /// Histogram in tokens, one value per request and kind; labels `gen_ai.operation.name`, `gen_ai.provider.name`,
    /// `gen_ai.request.model`, `gen_ai.token.type` (`input`, `output`).
    pub const TOKEN_USAGE: &str = "gen_ai.client.token.usage";
    /// Histogram in seconds, one value per request; labels `gen_ai.operation.name`, `gen_ai.provider.name`,
    /// `gen_ai.request.model`, and `error.type` where it failed.
    pub const OPERATION_DURATION: &str = "gen_ai.client.operation.duration";
}

/// Boundaries for histograms in tokens, as the conventions advise.
pub const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1024.0,
    4096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// A model whose requests are measured where somebody collects that, and are spans where somebody collects those.
pub(crate) fn measured(model: Arc<dyn Backend>, metrics: Option<Arc<dyn Observer>>) -> Arc<dyn Backend> {
    Arc::new(Measured { model, metrics })
}

struct Measured {
    model: Arc<dyn Backend>,
    metrics: Option<Arc<dyn Observer>>,
}

impl Backend for Measured {
    fn model(&self) -> &ModelInfo {
        self.model.model()
    }

    fn capabilities(&self) -> Capabilities {
        self.model.capabilities()
    }

    fn stream(&self, request: Request, cancel: CancellationToken) -> EventStream {
        let model = self.model.model();
        let span = tracing::info_span!(
            "chat",
            otel.name = %format_args!("chat {}", model.model),
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = model.provider,
            gen_ai.request.model = model.model,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            error.r#type = Empty,
        );
        Box::pin(Watched {
            inner: span.in_scope(|| self.model.stream(request, cancel)),
            span,
            meter: self.metrics.clone().map(|metrics| Meter { metrics, model: model.clone() }),
            begun: None,
            usage: Usage::default(),
            ended: false,
        })
    }
}

/// An answer on its way.
struct Watched {
    inner: EventStream,
    span: Span,
    meter: Option<Meter>,
    /// When it was first polled: before that nothing was sent.
    begun: Option<Instant>,
    usage: Usage,
    ended: bool,
}

struct Meter {
    metrics: Arc<dyn Observer>,
    model: ModelInfo,
}

impl Meter {
    fn tell(&self, seconds: f64, usage: &Usage, error: Option<&'static str>) {
        let model = [
            ("gen_ai.operation.name", "chat"),
            ("gen_ai.provider.name", self.model.provider.as_str()),
            ("gen_ai.request.model", self.model.model.as_str()),
        ];
        let with = |label: Label<'static>| [model[0], model[1], model[2], label];
        match error {
            Some(error) => {
                let labels = with(("error.type", error));
                self.metrics.histogram(names::OPERATION_DURATION, &labels, seconds);
            }
            None => self.metrics.histogram(names::OPERATION_DURATION, &model, seconds),
        }
        for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            if tokens > 0 {
                let labels = with(("gen_ai.token.type", kind));
                self.metrics.histogram(names::TOKEN_USAGE, &labels, tokens as f64);
            }
        }
    }
}

impl Watched {
    fn end(&mut self, error: Option<&'static str>) {
        let Some(begun) = self.begun.filter(|_| !std::mem::replace(&mut self.ended, true)) else { return };
        self.span.record("gen_ai.usage.input_tokens", self.usage.input_tokens);
        self.span.record("gen_ai.usage.output_tokens", self.usage.output_tokens);
        if let Some(error) = error {
            self.span.record("error.type", error);
            self.span.record("otel.status_code", "ERROR");
        }
        if let Some(meter) = &self.meter {
            meter.tell(begun.elapsed().as_secs_f64(), &self.usage, error);
        }
    }
}

impl Stream for Watched {
    type Item = Result<Event, BackendError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.begun.get_or_insert_with(Instant::now);
        let this = &mut *self;
        let next = this.span.in_scope(|| this.inner.as_mut().poll_next(cx));
        match &next {
            Poll::Ready(Some(Ok(Event::Usage(usage)))) => this.usage = *usage,
            Poll::Ready(Some(Ok(Event::Done { .. }))) => this.end(None),
            Poll::Ready(Some(Err(error))) => this.end(Some(class(error))),
            Poll::Ready(None) => this.end(Some("truncated")),
            _ => {}
        }
        next
    }
}

impl Drop for Watched {
    /// An answer that nobody waits for any longer ends here.
    fn drop(&mut self) {
        self.end(Some("cancelled"));
    }
}

/// The stable name of an error.
fn class(error: &BackendError) -> &'static str {
    match error {
        BackendError::Http { .. } => "http",
        BackendError::InStream { .. } => "in_stream",
        BackendError::Truncated { .. } => "truncated",
        BackendError::Timeout { .. } => "timeout",
        BackendError::Decode { .. } => "malformed",
        BackendError::Transport { .. } => "connection",
        BackendError::Auth { .. } => "auth",
        BackendError::Exhausted { .. } => "exhausted",
        BackendError::Unsupported(_) => "unsupported",
        BackendError::Cancelled => "cancelled",
        _ => "_OTHER",
    }
}
