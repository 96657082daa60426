//! One file of a ledger, and the thread that writes it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use crate::pipeline::Request;

/// The version of the format.
pub(super) const VERSION: u32 = 1;

/// A record on its way to the disk.
pub(super) struct Line(Value);

impl Line {
    pub(super) fn intent(seq: u64, request: &Request, salt: &str, retry_safe: bool) -> Self {
        let call = &request.call;
        Self(json!({
            "kind": "intent",
            // What tells which call it is stands first: the line may be cut off.
            "seq": seq,
            "read_only": request.spec.annotations.is_read_only(),
            "server": request.spec.server,
            "tool": request.spec.name,
            "key": call.id,
            "caller": call.caller,
            "at_ms": now(),
            "args_hash": digest(salt, &call.arguments),
            "retry_safe": retry_safe,
        }))
    }

    pub(super) fn sent(seq: u64) -> Self {
        Self(json!({"kind": "sent", "seq": seq, "at_ms": now()}))
    }

    /// So many records before it are not there: the disk did not take them.
    fn gap(lost: u64) -> Self {
        Self(json!({"kind": "gap", "at_ms": now(), "lost": lost}))
    }

    pub(super) fn done(seq: u64, class: &str, unknown: bool) -> Self {
        Self(json!({"kind": "done", "seq": seq, "at_ms": now(), "class": class, "unknown": unknown}))
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Tells whether two calls of one file have the same arguments, and nothing else: the salt keeps short arguments from
/// being looked up.
pub(crate) fn digest(salt: &str, arguments: &impl Serialize) -> String {
    let value = serde_json::to_value(arguments).map(sorted).unwrap_or_default();
    let hash = Sha256::new().chain_update(salt).chain_update(value.to_string()).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same value with its keys in order. The arguments were checked for depth before.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

enum Message {
    /// Written when its turn comes.
    Note(Line),
    /// Written, brought to the disk, and confirmed.
    Write(Line, oneshot::Sender<Result<(), String>>),
    Flush(oneshot::Sender<()>),
}

/// The most records that wait for a disk that does not keep up. Beyond it, what may change something is refused, and what
/// only reads goes on without a record, which is counted.
const WAITING: usize = 1_000;

/// A file of the ledger. Dropping the last reference ends the thread, once everything is written.
pub(super) struct Book {
    next: AtomicU64,
    pub(super) salt: String,
    /// `None`: the thread could not be started.
    sender: Option<mpsc::Sender<Message>>,
    queue: Arc<Queue>,
}

/// What both ends know of the records on their way.
#[derive(Default)]
struct Queue {
    waiting: AtomicUsize,
    /// Records that were not written, and the file does not say so yet.
    lost: AtomicU64,
    /// Somebody has waited in vain, and nothing was written since.
    is_stuck: AtomicBool,
    told: AtomicBool,
}

impl Queue {
    fn lose(&self, why: impl fmt::Display) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(%why, "the ledger cannot be written");
        }
    }
}

impl Book {
    pub(super) fn open(path: PathBuf) -> Self {
        // The standard library's own source of randomness for hash maps.
        let random = || RandomState::new().hash_one(0_u8);
        let salt = format!("{:016x}{:016x}", random(), random());
        // Bounded by `Queue::waiting`.
        let (sender, messages) = mpsc::channel();
        let pen = Pen { path, salt: salt.clone(), file: None, opened: false, written: 0, torn: false };
        let queue = Arc::new(Queue::default());
        let taken = queue.clone();
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || write_all(pen, &messages, &taken));
        Self { next: AtomicU64::new(1), salt, sender: thread.is_ok().then_some(sender), queue }
    }

    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Hands a message with a record to the thread, where there is a place for it.
    fn put(&self, message: Message) -> Result<(), String> {
        let sender = self.sender.as_ref().ok_or(GONE)?;
        let room = |waiting: usize| (waiting < WAITING).then_some(waiting + 1);
        if self.queue.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Err(BEHIND.to_owned());
        }
        sender.send(message).map_err(|_| GONE.to_owned())
    }

    /// Has a line written some time; trouble is in the log.
    pub(super) fn note(&self, line: Line) {
        if let Err(why) = self.put(Message::Note(line)) {
            self.queue.lose(why);
        }
    }

    /// Resolves when the line is on the disk, or cannot be brought there within that time. Once somebody has waited in vain,
    /// nobody else does until the disk takes something.
    pub(super) async fn write(&self, line: Line, patience: Duration) -> Result<(), String> {
        if self.queue.is_stuck.load(Ordering::Relaxed) {
            return Err(BEHIND.to_owned());
        }
        let (done, written) = oneshot::channel();
        self.put(Message::Write(line, done))?;
        match tokio::time::timeout(patience, written).await {
            Ok(written) => written.map_err(|_| GONE.to_owned())?,
            Err(_) => {
                self.queue.is_stuck.store(true, Ordering::Relaxed);
                Err(format!("the disk took longer than {} s", patience.as_secs()))
            }
        }
    }

    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.as_ref().is_some_and(|sender| sender.send(Message::Flush(done)).is_ok()) {
            let _ = written.await;
        }
    }
}

const GONE: &str = "its writer is gone";
const BEHIND: &str = "the disk does not keep up";

fn write_all(mut pen: Pen, messages: &mpsc::Receiver<Message>, queue: &Queue) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Note(line) => {
                if let Err(error) = pen.write_after_gap(&line, queue) {
                    queue.lose(format_args!("{}: {error}", pen.path.display()));
                }
            }
            Message::Write(line, done) => {
                let written = pen.write_after_gap(&line, queue).and_then(|()| pen.sync());
                let _ = done.send(written.map_err(|error| format!("{}: {error}", pen.path.display())));
            }
            Message::Flush(done) => {
                let _ = done.send(());
                continue;
            }
        }
        queue.waiting.fetch_sub(1, Ordering::Relaxed);
        queue.is_stuck.store(false, Ordering::Relaxed);
    }
}

/// The file, made when it is first needed.
struct Pen {
    path: PathBuf,
    salt: String,
    file: Option<File>,
    opened: bool,
    /// Bytes in the file before the line that is written.
    written: u64,
    /// The last write may have left half a line.
    torn: bool,
}

impl Pen {
    /// Writes a line, and before it how many were lost.
    fn write_after_gap(&mut self, line: &Line, queue: &Queue) -> io::Result<()> {
        let lost = queue.lost.load(Ordering::Relaxed);
        if lost > 0 {
            self.write(&Line::gap(lost))?;
            queue.lost.fetch_sub(lost, Ordering::Relaxed);
        }
        self.write(line)
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = String::new();
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let mut options = OpenOptions::new();
                options.create(true).append(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                let file = options.open(&self.path)?;
                self.written = file.metadata()?.len();
                // Whoever wrote here before may have been cut off.
                self.torn |= self.written > 0;
                if !self.opened {
                    // Numbers begin anew with each such line.
                    let opened = json!({"kind": "opened", "v": VERSION, "at_ms": now(), "salt": self.salt});
                    text = format!("{opened}\n");
                }
                self.file.insert(file)
            }
        };
        text.push_str(&line.0.to_string());
        text.push('\n');
        if self.torn {
            text.insert(0, '\n');
        }
        match file.write_all(text.as_bytes()) {
            Ok(()) => {
                self.torn = false;
                self.opened = true;
                self.written += text.len() as u64;
                Ok(())
            }
            Err(error) => {
                // The call is refused: half a line of it would say later that nobody knows.
                let _ = file.set_len(self.written);
                // Opened anew by the next call: the file may have been replaced, or there may be room again.
                self.file = None;
                self.torn = true;
                Err(error)
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        match &self.file {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pipe that nobody reads is a disk that hangs: to open it takes until somebody does.
    #[cfg(unix)]
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_holds_nobody_and_fills_no_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        #[expect(clippy::disallowed_methods, reason = "it is no server")]
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(&path).status().unwrap().success());
        let book = Book::open(path.clone());
        let patience = Duration::from_secs(10);
        let begun = tokio::time::Instant::now();
        let first = book.write(Line::sent(0), patience).await.unwrap_err();
        assert_eq!((first.as_str(), begun.elapsed()), ("the disk took longer than 10 s", patience));
        // From then on nobody waits.
        assert_eq!(book.write(Line::sent(0), patience).await.unwrap_err(), BEHIND);
        assert_eq!(begun.elapsed(), patience);
        for seq in 0..WAITING as u64 + 4 {
            book.note(Line::sent(seq));
        }
        assert_eq!(book.queue.waiting.load(Ordering::Relaxed), WAITING);
        let lost = book.queue.lost.load(Ordering::Relaxed);
        assert_eq!(lost, 5);

        // Somebody reads: what waited is written, and what is missing is told.
        let reading = std::thread::spawn(move || std::fs::read_to_string(path).unwrap());
        drop(book);
        let written = reading.join().unwrap();
        let lines: Vec<Value> = written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
        assert_eq!((kinds("opened"), kinds("sent"), kinds("gap")), (1, WAITING, 1));
        assert!(lines.iter().any(|line| line["lost"] == lost), "{}", lines[1]);
    }

    #[test]
    fn the_order_of_keys_says_nothing() {
        let (a, b) = (json!({"x": {"p": 1, "q": [2]}, "y": 3}), json!({"y": 3, "x": {"q": [2], "p": 1}}));
        assert_eq!(digest("s", &a), digest("s", &b));
        assert_ne!(digest("s", &a), digest("t", &a));
    }
}
