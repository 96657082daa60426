//! From bytes to events: idle limit, size limits, SSE framing, decoding. Independent of sockets.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use sse_stream::SseByteStream;

use super::HttpOptions;
use crate::wire::{Decoder, Origin};
use crate::{BackendError, Event, TimeoutPhase, classify};

/// A body as it arrives.
pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BackendError>> + Send>>;

type Frames = Pin<Box<dyn Stream<Item = Result<sse_stream::Sse, sse_stream::Error>> + Send>>;

/// Reads one answer. Dropping it closes the connection.
pub(crate) struct Body {
    frames: Frames,
    meter: Arc<Mutex<Meter>>,
    decoder: Box<dyn Decoder>,
    origin: Origin,
    queue: VecDeque<Result<Event, BackendError>>,
    /// An event has been seen.
    any: bool,
    over: bool,
}

/// What has passed through.
#[derive(Debug, Default)]
struct Meter {
    total: usize,
    /// Since the last event.
    pending: usize,
    /// The beginning, for error texts.
    head: Vec<u8>,
}

/// How much of a body is kept for quoting.
const HEAD: usize = 4096;

impl Body {
    pub(crate) fn new(
        bytes: ByteStream,
        decoder: Box<dyn Decoder>,
        origin: Origin,
        options: &HttpOptions,
    ) -> Self {
        let meter = Arc::new(Mutex::new(Meter::default()));
        let guarded = guard(bytes, meter.clone(), origin.clone(), options.clone());
        let frames: Frames = Box::pin(SseByteStream::new(guarded));
        Self { frames, meter, decoder, origin, queue: VecDeque::new(), any: false, over: false }
    }

    /// The next event; `None` after the end. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, BackendError>> {
        loop {
            if let Some(next) = self.queue.pop_front() {
                if matches!(next, Err(_) | Ok(Event::Done { .. })) {
                    self.over = true;
                    self.queue.clear();
                }
                return Some(next);
            }
            if self.over {
                return None;
            }
            match self.frames.next().await {
                Some(Ok(frame)) => {
                    lock(&self.meter).pending = 0;
                    // A name without data carries nothing, in every one of the formats.
                    if let Some(data) = frame.data {
                        self.any = true;
                        self.queue.extend(self.decoder.feed(frame.event.as_deref(), &data));
                    }
                }
                Some(Err(error)) => self.broken(error),
                None => self.end(),
            }
        }
    }

    fn end(&mut self) {
        if self.any {
            self.queue.extend(self.decoder.finish());
            self.over = self.queue.is_empty();
        } else {
            let head = String::from_utf8_lossy(&lock(&self.meter).head).into_owned();
            self.queue.push_back(Err(classify::no_events(&self.origin, &head)));
        }
    }

    /// The stream broke. An answer that had said it was done loses nothing by that.
    fn broken(&mut self, error: sse_stream::Error) {
        let error = self.unframe(error);
        if self.any && error.is_retryable() {
            let rest = self.decoder.finish();
            if matches!(rest.last(), Some(Ok(Event::Done { .. }))) {
                self.queue.extend(rest);
                return;
            }
        }
        self.queue.push_back(Err(error));
    }

    fn unframe(&self, error: sse_stream::Error) -> BackendError {
        match error {
            sse_stream::Error::Body(inner) => match inner.downcast::<BackendError>() {
                Ok(error) => *error,
                Err(_) => BackendError::Truncated { provider: self.origin.provider.to_string() },
            },
            other => {
                BackendError::Decode { provider: self.origin.provider.to_string(), reason: other.to_string() }
            }
        }
    }
}

fn lock(meter: &Mutex<Meter>) -> std::sync::MutexGuard<'_, Meter> {
    meter.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same bytes within the limits.
fn guard(
    bytes: ByteStream,
    meter: Arc<Mutex<Meter>>,
    origin: Origin,
    options: HttpOptions,
) -> impl Stream<Item = Result<Bytes, BackendError>> + Send {
    stream::unfold(Some(bytes), move |bytes| {
        let (meter, provider, options) = (meter.clone(), origin.provider.to_string(), options.clone());
        async move {
            let mut bytes = bytes?;
            let chunk = match tokio::time::timeout(options.idle_timeout, bytes.next()).await {
                Ok(None) => return None,
                Ok(Some(Ok(chunk))) => chunk,
                Ok(Some(Err(error))) => return Some((Err(error), None)),
                Err(_) => {
                    let limit = options.idle_timeout;
                    let error = BackendError::Timeout { provider, phase: TimeoutPhase::Idle, limit };
                    return Some((Err(error), None));
                }
            };
            let over = {
                let mut meter = lock(&meter);
                meter.total = meter.total.saturating_add(chunk.len());
                meter.pending = meter.pending.saturating_add(chunk.len());
                let room = HEAD.saturating_sub(meter.head.len()).min(chunk.len());
                meter.head.extend_from_slice(&chunk[..room]);
                let limits = [
                    ("one event", meter.pending, options.max_event_bytes),
                    ("the answer", meter.total, options.max_answer_bytes),
                ];
                limits.into_iter().find(|(_, size, most)| size > most)
            };
            match over {
                None => Some((Ok(chunk), Some(bytes))),
                Some((what, _, most)) => {
                    let reason = format!("{what} is longer than {most} bytes");
                    Some((Err(BackendError::Decode { provider, reason }), None))
                }
            }
        }
    })
}
