//! Writes the files of a run's log folder on a thread of its own: a disk that hangs holds neither the record nor the display.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use massgen::client::metrics::Observer;

use crate::log_directory::LogDirectory;
use crate::summary::Summary;
use crate::telemetry::names;

/// The most text that waits for a disk that does not keep up, bytes. A file on top of it is left out, and counted.
const MOST_WAITING: usize = 16 << 20;

/// A log folder that is written to.
pub(super) struct Keeper {
    jobs: mpsc::Sender<Job>,
    waiting: Arc<AtomicUsize>,
    left_out: u64,
    /// Closed when everything is written.
    done: mpsc::Receiver<()>,
    metrics: Arc<dyn Observer>,
}

enum Job {
    File(String, String),
    Summary(Box<Summary>),
}

impl Keeper {
    pub(super) fn start(log: LogDirectory, metrics: Arc<dyn Observer>) -> io::Result<Self> {
        // Bounded by what waits.
        let (jobs, inbox) = mpsc::channel();
        let (writing, done) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = waiting.clone();
        std::thread::Builder::new().name("keeper".into()).spawn(move || {
            let _writing: mpsc::Sender<()> = writing;
            for job in inbox {
                match job {
                    Job::File(file, text) => {
                        log.write(&file, &text);
                        taken.fetch_sub(text.len(), Ordering::Relaxed);
                    }
                    Job::Summary(summary) => log.tell("summary.json", log.summarise(&summary)),
                }
            }
        })?;
        Ok(Self { jobs, waiting, left_out: 0, done, metrics })
    }

    /// Has a file written some time; trouble is in the log.
    pub(super) fn keep(&mut self, file: String, text: &str) {
        if self.waiting.load(Ordering::Relaxed).saturating_add(text.len()) > MOST_WAITING {
            self.left_out += 1;
            self.metrics.count(names::FILES_DROPPED, &[], 1);
            return;
        }
        self.waiting.fetch_add(text.len(), Ordering::Relaxed);
        let _ = self.jobs.send(Job::File(file, text.to_owned()));
    }

    /// Writes the summary last, and waits until everything is written, but not for longer than that.
    pub(super) fn finish(self, summary: &Summary, patience: Duration) {
        let _ = self.jobs.send(Job::Summary(Box::new(summary.clone())));
        drop(self.jobs);
        if self.left_out > 0 {
            tracing::warn!(
                files = self.left_out,
                "the disk does not keep up; the run's log folder lacks files"
            );
        }
        if self.done.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
            tracing::warn!("the disk does not keep up; the end of the run's log folder may be missing");
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::telemetry::registry::{Registry, Value::Number};

    /// A pipe that nobody reads is a disk that hangs: to open it takes until somebody does.
    #[test]
    fn a_disk_that_hangs_holds_no_run_and_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let path = log.path().join("answer.md");
        #[expect(clippy::disallowed_methods, reason = "it is no server")]
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(&path).status().unwrap().success());
        let registry = Arc::new(Registry::default());
        let mut keeper = Keeper::start(log.clone(), registry.clone()).unwrap();
        keeper.keep("answer.md".into(), "done");
        let large = "x".repeat(MOST_WAITING / 4);
        for number in 0..6 {
            keeper.keep(format!("a/answer-{number}.md"), &large);
        }
        assert_eq!((keeper.left_out, keeper.waiting.load(Ordering::Relaxed)), (3, 4 + 3 * large.len()));
        assert_eq!(registry.metrics()[names::FILES_DROPPED].series[0].value, Number { value: 3.0 });
        let (writing, done) = mpsc::channel::<()>();
        let still = std::mem::replace(&mut keeper.done, done);
        keeper.finish(&Summary::default(), Duration::ZERO);
        drop(writing);

        // Somebody reads: what waited is written.
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "done");
        assert_eq!(still.recv(), Err(mpsc::RecvError));
        assert_eq!(std::fs::read_to_string(log.path().join("a/answer-2.md")).unwrap(), large);
        assert!(!log.path().join("a/answer-3.md").exists() && log.path().join("summary.json").exists());
    }
}
