//! Takes a run's events to everything that is made from them: display, log folder, summary. It works on a thread of
//! its own, so that a slow terminal or disk never holds an agent.

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use massgen::client::metrics::Observer;
use massgen::orchestrator::{Emitter, Event, Journal};
use massgen::security::Redactor;
use tokio_util::sync::CancellationToken;

use crate::display::Display;
use crate::log_directory::LogDirectory;
use crate::summary::Summary;
use crate::telemetry::names;

/// Records one run.
pub(crate) struct Recorder {
    emitter: Emitter,
    thread: JoinHandle<Summary>,
}

/// Where a run's events go.
pub(crate) struct Outlets {
    pub(crate) display: Box<dyn Display>,
    pub(crate) log: Option<LogDirectory>,
    /// Takes every secret out before anything else sees an event.
    pub(crate) redactor: Redactor,
    /// Hears how often that was.
    pub(crate) metrics: Arc<dyn Observer>,
    /// Fires when the reader of our output went away (`massgen … | head`): nobody waits for the answer any more.
    pub(crate) reader_gone: CancellationToken,
}

impl Recorder {
    /// Starts recording.
    pub(crate) fn start(outlets: Outlets) -> io::Result<Self> {
        let (sender, events) = mpsc::channel::<Event>();
        let journal = outlets
            .log
            .as_ref()
            .map(|log| Journal::open(log.events()))
            .transpose()
            .map_err(io::Error::other)?;
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record(&events, outlets, journal))?;
        // The channel is not bounded: what waits in it is what models wrote, and a bound would stop them.
        let emitter = Emitter::new(move |event| {
            let _ = sender.send(event.clone());
        });
        Ok(Self { emitter, thread })
    }

    /// Where the run's events go in.
    pub(crate) fn emitter(&self) -> Emitter {
        self.emitter.clone()
    }

    /// Waits until everything is shown and written, and sums up. Every other clone of the emitter must be gone.
    pub(crate) async fn finish(self) -> Summary {
        drop(self.emitter);
        let joined = tokio::task::spawn_blocking(move || self.thread.join()).await;
        match joined {
            Ok(Ok(summary)) => summary,
            _ => {
                tracing::error!("the recorder ended early; the log of this run may be incomplete");
                Summary::default()
            }
        }
    }
}

fn record(events: &mpsc::Receiver<Event>, mut outlets: Outlets, journal: Option<Journal>) -> Summary {
    let mut summary = Summary::default();
    let mut shown = Ok(());
    while let Ok(first) = events.recv() {
        // Everything that waits is taken in one go: one write to the terminal, however fast the models are.
        for mut event in std::iter::once(first).chain(events.try_iter()) {
            event.kind.for_each_text(|text| {
                if let Cow::Owned(clean) = outlets.redactor.redact(text) {
                    *text = clean;
                    outlets.metrics.count(names::SECRET_REDACTIONS, &[("sink", "event")], 1);
                }
            });
            summary.add(&event);
            if let Some(journal) = &journal {
                journal.record(&event);
            }
            if let Some(log) = &outlets.log
                && let Err(error) = log.keep(&event)
            {
                tracing::warn!(%error, "the log folder could not be written");
            }
            if shown.is_ok() {
                shown = outlets.display.show(&event);
            }
        }
        if shown.is_ok() {
            shown = outlets.display.flush();
        }
        if shown.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            outlets.reader_gone.cancel();
        }
    }
    if let Err(error) = shown
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        tracing::warn!(%error, "the output could not be written");
    }
    if let Some(journal) = journal
        && let Err(error) = journal.finish()
    {
        tracing::warn!(%error, "events.jsonl is not complete");
    }
    if let Some(log) = &outlets.log {
        summary.log = Some(log.path().display().to_string());
        if let Err(error) = log.summarise(&summary) {
            tracing::warn!(%error, "summary.json could not be written");
        }
    }
    summary
}
