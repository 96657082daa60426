//! The ledger of a run: what was about to be sent, what was sent, what came of it. Append-only, one JSON object a line,
//! so that it survives a `kill -9`, and the next run knows which calls may have taken effect unseen.
//!
//! A call that is not known to be read-only waits until its intent is on the disk, and is refused where the disk does
//! not take it. Read-only calls are written down too, and wait for nothing: what a disk that hangs does not take of them is
//! counted, and the count is written when it takes something again.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::{Phase, Refusal, ToolError};

use crate::pipeline::Request;
use crate::step::{Ended, Further, Stack, Step};

mod book;
mod read;

pub(crate) use book::digest;
use book::{Book, Line};
pub use read::{LedgerReading, UnknownOutcome, read_ledger};

/// How long a call waits for the disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where calls are written down before they are sent. Clones share it. It begins without a file: nothing is recorded
/// until [`Ledger::write_to`] names one.
#[derive(Clone, Default)]
pub struct Ledger {
    current: Arc<Mutex<Option<Arc<Book>>>>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("writes", &self.book().is_some()).finish()
    }
}

impl Ledger {
    /// A ledger without a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on calls are written to this file; `None`: to none. What began before ends where it began.
    ///
    /// The file is made by the first call. One that cannot be made or written refuses every call that is not known to
    /// be read-only.
    pub fn write_to(&self, path: Option<PathBuf>) {
        let book = path.map(|path| Arc::new(Book::open(path)));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = book;
    }

    /// Waits until everything so far is written, at most 10 s. Without it the last outcomes of a program that ends may
    /// be missing, and be taken for unknown.
    pub async fn flush(&self) {
        if let Some(book) = self.book() {
            let _ = tokio::time::timeout(PATIENCE, book.flush()).await;
        }
    }

    fn book(&self) -> Option<Arc<Book>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A call in the ledger. Dropped without an end, it says that the caller went away.
pub(crate) struct Entry {
    book: Arc<Book>,
    seq: u64,
    read_only: bool,
    sent: AtomicBool,
    ended: AtomicBool,
}

impl Entry {
    /// Says that the call is handed to the server now.
    pub(crate) fn sent(&self) {
        if !self.sent.swap(true, Ordering::AcqRel) {
            self.book.note(Line::sent(self.seq));
        }
    }

    fn end(&self, class: &'static str, may_have_happened: bool) {
        if !self.ended.swap(true, Ordering::AcqRel) {
            let unknown = may_have_happened && !self.read_only && self.sent.load(Ordering::Acquire);
            self.book.note(Line::done(self.seq, class, unknown));
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("seq", &self.seq).finish_non_exhaustive()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end("dropped", true);
    }
}

/// Whether a call that was sent and ended like this may have taken effect all the same.
fn may_have_happened(error: &ToolError) -> bool {
    match error {
        ToolError::OutcomeUnknown { .. }
        | ToolError::Malformed { .. }
        | ToolError::NotMcp { .. }
        | ToolError::TooLarge { .. }
        | ToolError::Cancelled
        | ToolError::Internal(_)
        | ToolError::Timeout { phase: Phase::Write | Phase::Call, .. }
        | ToolError::Connection { phase: Phase::Write | Phase::Call, .. } => true,
        ToolError::Http { status, .. } => *status >= 500,
        // Refused, unreachable, or answered: all of them say what became of the call.
        _ => false,
    }
}

/// Writes each call down before it goes on, and how it ended.
#[derive(Clone)]
pub(crate) struct Recorded {
    ledger: Ledger,
}

impl Recorded {
    /// `None` where there is no ledger.
    pub(crate) fn new(ledger: Option<Ledger>) -> Option<Self> {
        ledger.map(|ledger| Self { ledger })
    }
}

impl Step for Recorded {
    async fn take<S: Stack>(self, mut request: Request, further: Further<S>) -> Ended {
        let Some(book) = self.ledger.book() else { return further.call(request).await };
        let hints = &request.spec.annotations;
        let read_only = hints.is_read_only();
        let seq = book.next();
        let line = Line::intent(seq, &request, &book.salt, read_only || hints.is_idempotent());
        let entry = Arc::new(Entry {
            book: book.clone(),
            seq,
            read_only,
            sent: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        if read_only {
            book.note(line);
        } else {
            if let Err(reason) = book.write(line, PATIENCE).await {
                entry.end("refused", false);
                return Err(refused(&request, &reason));
            }
        }
        request.ledger = Some(entry.clone());
        let result = further.call(request).await;
        match &result {
            Ok(output) if output.is_error => entry.end("tool_failed", false),
            Ok(_) => entry.end("answered", false),
            Err(error) => entry.end(error.name(), may_have_happened(error)),
        }
        result
    }
}

fn refused(request: &Request, reason: &str) -> ToolError {
    ToolError::Refused {
        server: request.spec.server.clone(),
        refusal: Refusal {
            rule: "ledger",
            reason: format!(
                "the tool may change something, and the record of such calls cannot be written: {reason}"
            ),
            hint: "make room where the log folder is, or run without one".to_owned(),
        },
    }
}
