//! Takes a run's events to everything that is made from them: log folder, summary, display. It works on a thread of
//! its own, so that a slow disk never holds an agent, and the display on another, so that a slow terminal or an open
//! question never holds the record.

mod keeper;

use std::borrow::Cow;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use massgen::client::metrics::Observer;
use massgen::orchestrator::{Emitter, Event, Journal, JournalError};
use massgen::security::Redactor;
use tokio_util::sync::CancellationToken;

use self::keeper::Keeper;
use crate::display::Display;
use crate::log_directory::{self, LogDirectory};
use crate::output;
use crate::screen::Screen;
use crate::summary::Summary;
use crate::telemetry::names;

/// How long the end of a run waits for the disk, for each of the files that may take it.
pub(crate) const FINISH: Duration = Duration::from_secs(5);

/// Records one run.
pub(crate) struct Recorder {
    emitter: Emitter,
    thread: JoinHandle<Summary>,
}

/// Where a run's events go.
pub(crate) struct Outlets {
    /// It may wait: what is written does not wait for it.
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
        let Outlets { display, log, redactor, metrics, reader_gone } = outlets;
        let path = log.as_ref().map(|log| log.path().display().to_string());
        let keeper = log.map(|log| Keeper::start(log, metrics.clone())).transpose()?;
        let written = Written { journal, keeper, path, redactor, metrics };
        let screen = Screen::start(display, reader_gone)?;
        let thread = std::thread::Builder::new()
            .name("recorder".into())
            .spawn(move || record(&events, written, screen))?;
        // The channel is not bounded, and does not fill up: whoever takes events from it waits neither for a disk nor for a
        // display, and what waits for these is bounded.
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

/// What is made from events besides the display.
struct Written {
    journal: Option<Journal>,
    keeper: Option<Keeper>,
    /// The log folder.
    path: Option<String>,
    redactor: Redactor,
    metrics: Arc<dyn Observer>,
}

impl Written {
    /// Takes secrets out of an event; how many bytes of text are in it then.
    fn clean(&self, event: &mut Event) -> usize {
        let mut length = 0;
        event.kind.for_each_text(|text| {
            if let Cow::Owned(clean) = self.redactor.redact(text) {
                *text = clean;
                self.metrics.count(names::SECRET_REDACTIONS, &[("sink", "event")], 1);
            }
            length += text.len();
        });
        length
    }
}

fn record(events: &mpsc::Receiver<Event>, mut written: Written, mut screen: Screen) -> Summary {
    let mut summary = Summary::default();
    for mut event in events {
        let text = written.clean(&mut event);
        summary.add(&event);
        if let Some(journal) = &written.journal {
            journal.record(&event);
        }
        if let Some(keeper) = &mut written.keeper
            && let Some((file, text)) = log_directory::kept(&event)
        {
            keeper.keep(file, text);
        }
        screen.show(event, text);
    }
    match written.journal.as_ref().map_or(Ok(()), Journal::finish) {
        // That was told when it happened.
        Ok(()) | Err(JournalError::Write { .. }) => {}
        Err(error) => tracing::warn!(%error, "events.jsonl is not complete"),
    }
    if let Some(keeper) = written.keeper {
        summary.log = written.path;
        keeper.finish(&summary, FINISH);
    }
    output::remember(screen.finish());
    summary
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use massgen::orchestrator::EventKind;
    use massgen_testkit::{PATIENCE, process};

    use super::*;
    use crate::console::{Pause, Paused};

    struct Counts(Arc<Mutex<usize>>);

    impl Display for Counts {
        fn show(&mut self, _: &Event) -> io::Result<()> {
            *self.0.lock().unwrap() += 1;
            Ok(())
        }

        fn left_out(&mut self, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_record_goes_on_while_a_question_is_open() {
        const EVENTS: usize = 100;
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let (pause, shown) = (Pause::default(), Arc::default());
        let question = pause.hold();
        let recorder = Recorder::start(Outlets {
            display: Box::new(Paused { inner: Box::new(Counts(Arc::clone(&shown))), pause }),
            log: Some(log.clone()),
            redactor: Redactor::default(),
            metrics: Arc::new(()),
            reader_gone: CancellationToken::new(),
        })
        .unwrap();
        for number in 0..EVENTS {
            recorder.emitter().emit(EventKind::Warning { message: number.to_string() });
        }
        let written = || std::fs::read_to_string(log.events()).unwrap().lines().count();
        assert!(process::until(PATIENCE, || written() == EVENTS).await, "{} are written", written());
        assert_eq!(*shown.lock().unwrap(), 0);
        drop(question);
        recorder.finish().await;
        assert_eq!(*shown.lock().unwrap(), EVENTS);
    }
}
