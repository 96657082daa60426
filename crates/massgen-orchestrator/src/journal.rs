//! `events.jsonl`: the record of a run, one event a line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Event, VERSION};

/// The most that waits for a disk that does not keep up, bytes. What comes on top is left out and counted.
const MAX_WAITING: usize = 64 * 1024 * 1024;
/// How long [`Journal::finish`] waits for the disk.
const FINISH: Duration = Duration::from_secs(5);

/// Writes events to a file from a thread of its own, so that no disk, full or slow, ever holds up a run.
///
/// Cheap to clone. The last clone to go writes what is left.
#[derive(Clone)]
pub struct Journal(Arc<Handle>);

/// Ends the thread when the last [`Journal`] goes; the thread itself holds the shared part only.
struct Handle(Arc<Shared>);

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    left_out: u64,
    closed: bool,
    done: bool,
    failed: Option<String>,
}

/// Why the record of a run is not whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file could not be opened or read. Check that the folder exists and may be used.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Writing failed, for instance because the disk is full. What came before is in the file.
    #[error("{} could not be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The disk did not keep up, so events were left out.
    #[error("{} lacks {count} events: the disk did not keep up", path.display())]
    LeftOut {
        /// The file.
        path: PathBuf,
        /// How many events.
        count: u64,
    },
    /// The disk still had not taken everything when the wait for it ended.
    #[error("{} was not written in time; its end may be missing", path.display())]
    Slow {
        /// The file.
        path: PathBuf,
    },
    /// A line is not an event. It is not the last one, so the file was damaged or is something else.
    #[error("{}, line {line}: not an event: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer massgen wrote the file. Use that version to read it.
    #[error("{}, line {line}: written in format {version}; this version reads up to {VERSION}", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The format's version.
        version: u64,
    },
}

impl Journal {
    /// Opens a file for the record, or goes on with one.
    ///
    /// # Errors
    ///
    /// [`JournalError::Open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, JournalError> {
        let path = path.as_ref().to_owned();
        let failed = |source| JournalError::Open { path: path.clone(), source };
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(failed)?;
        heal(&mut file).map_err(failed)?;
        let shared =
            Arc::new(Shared { path: path.clone(), state: Mutex::default(), changed: Condvar::new() });
        let writer = shared.clone();
        std::thread::Builder::new()
            .name("massgen-journal".into())
            .spawn(move || writer.write_all_to(file))
            .map_err(failed)?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// Takes an event down. Never waits for the disk.
    pub fn record(&self, event: &Event) {
        let shared = &self.0.0;
        let mut state = shared.lock();
        if state.failed.is_some() || state.closed {
            return;
        }
        if state.waiting.len() > MAX_WAITING {
            state.left_out += 1;
            return;
        }
        let before = state.waiting.len();
        match serde_json::to_writer(&mut state.waiting, event) {
            Ok(()) => state.waiting.push(b'\n'),
            Err(_) => {
                // Half a line would damage the next one.
                state.waiting.truncate(before);
                state.left_out += 1;
            }
        }
        // The writer takes everything at once, so it sleeps only when nothing waited.
        if before == 0 {
            shared.changed.notify_all();
        }
    }

    /// Writes what is left and closes the file: blocks until then, but not for longer than five seconds. Later events
    /// are not taken down.
    ///
    /// # Errors
    ///
    /// [`JournalError::Write`], [`JournalError::LeftOut`] or [`JournalError::Slow`] where the record is not whole.
    pub fn finish(&self) -> Result<(), JournalError> {
        self.0.0.finish()
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Journal").field(&self.0.0.path).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // Whoever finished it knows how that went, and that it cannot be written was told when it happened.
        let is_finished = self.0.lock().closed;
        if let Err(error) = self.0.finish()
            && !is_finished
            && !matches!(error, JournalError::Write { .. })
        {
            tracing::warn!(%error, "the record of the run is not whole");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self) -> Result<(), JournalError> {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        let (state, _) = self
            .changed
            .wait_timeout_while(state, FINISH, |state| !state.done)
            .unwrap_or_else(PoisonError::into_inner);
        let path = self.path.clone();
        if let Some(reason) = &state.failed {
            return Err(JournalError::Write { path, reason: reason.clone() });
        }
        match (state.done, state.left_out) {
            (false, _) => Err(JournalError::Slow { path }),
            (true, 0) => Ok(()),
            (true, count) => Err(JournalError::LeftOut { path, count }),
        }
    }

    /// The thread: takes what waits, writes it in one go, until the journal is closed.
    fn write_all_to(&self, mut file: File) {
        let mut batch = Vec::new();
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| state.waiting.is_empty() && !state.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if state.waiting.is_empty() {
                break;
            }
            std::mem::swap(&mut batch, &mut state.waiting);
            drop(state);
            if let Err(error) = file.write_all(&batch) {
                tracing::warn!(path = %self.path.display(), %error, "the record of the run stops here");
                let mut state = self.lock();
                state.failed = Some(error.to_string());
                state.waiting = Vec::new();
                break;
            }
            batch.clear();
        }
        self.lock().done = true;
        self.changed.notify_all();
    }
}

/// Ends the last line where an earlier writer was killed in the middle of it.
fn heal(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last != *b"\n" { file.write_all(b"\n") } else { Ok(()) }
}

/// A run as its record tells it.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Recording {
    /// The events, in order.
    pub events: Vec<Event>,
    /// Lines left out because they hold kinds of events that this version does not know.
    pub unknown: usize,
    /// The last line is not whole: the writer was stopped in the middle of it.
    pub torn: bool,
}

/// Reads the record of a run. A torn last line and unknown kinds of events are left out and told. Blocks.
///
/// # Errors
///
/// [`JournalError::Open`], [`JournalError::Malformed`] or [`JournalError::TooNew`].
pub fn read_events(path: impl AsRef<Path>) -> Result<Recording, JournalError> {
    let path = path.as_ref().to_owned();
    let failed = |source| JournalError::Open { path: path.clone(), source };
    let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
    let mut recording = Recording::default();
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if reader.read_until(b'\n', &mut text).map_err(failed)? == 0 {
            break;
        }
        let text = text.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let error = match serde_json::from_slice::<Event>(text) {
            Ok(event) if event.v <= VERSION => {
                recording.events.push(event);
                continue;
            }
            Ok(event) => return Err(JournalError::TooNew { path, line, version: event.v.into() }),
            Err(error) => error,
        };
        // Not a whole line, or not an event this version knows: ask for the least that every version has.
        let Ok(least) = serde_json::from_slice::<Least>(text) else {
            if reader.fill_buf().map_err(failed)?.is_empty() {
                recording.torn = true;
                break;
            }
            // A line torn by a killed writer, before another one went on with the file.
            if error.is_eof() {
                recording.torn = true;
                continue;
            }
            return Err(JournalError::Malformed { path, line, reason: error.to_string() });
        };
        if least.v > VERSION.into() {
            return Err(JournalError::TooNew { path, line, version: least.v });
        }
        if !error.to_string().contains("unknown variant") {
            return Err(JournalError::Malformed { path, line, reason: error.to_string() });
        }
        recording.unknown += 1;
    }
    Ok(recording)
}

#[derive(serde::Deserialize)]
struct Least {
    v: u64,
    #[serde(rename = "type")]
    _kind: String,
}
