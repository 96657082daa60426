//! One file of a ledger, and the thread that writes it.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

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

/// A file of the ledger. Dropping the last reference ends the thread, once everything is written.
pub(super) struct Book {
    next: AtomicU64,
    pub(super) salt: String,
    /// `None`: the thread could not be started.
    sender: Option<mpsc::Sender<Message>>,
    told: Mutex<bool>,
}

impl Book {
    pub(super) fn open(path: PathBuf) -> Self {
        // The standard library's own source of randomness for hash maps.
        let random = || RandomState::new().hash_one(0_u8);
        let salt = format!("{:016x}{:016x}", random(), random());
        let (sender, messages) = mpsc::channel();
        let pen = Pen { path, salt: salt.clone(), file: None, opened: false, written: 0, torn: false };
        let thread =
            std::thread::Builder::new().name("ledger".into()).spawn(move || write_all(pen, &messages));
        Self {
            next: AtomicU64::new(1),
            salt,
            sender: thread.is_ok().then_some(sender),
            told: Mutex::new(false),
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Has a line written some time; trouble is in the log.
    pub(super) fn note(&self, line: Line) {
        let sent = self.sender.as_ref().is_some_and(|sender| sender.send(Message::Note(line)).is_ok());
        if !sent && !std::mem::replace(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner), true) {
            tracing::warn!("the ledger is not written: its thread is gone");
        }
    }

    /// Resolves when the line is on the disk, or cannot be brought there.
    pub(super) async fn write(&self, line: Line) -> Result<(), String> {
        let (done, written) = oneshot::channel();
        let gone = || "its writer is gone".to_owned();
        let sender = self.sender.as_ref().ok_or_else(gone)?;
        sender.send(Message::Write(line, done)).map_err(|_| gone())?;
        written.await.map_err(|_| gone())?
    }

    pub(super) async fn flush(&self) {
        let (done, written) = oneshot::channel();
        if self.sender.as_ref().is_some_and(|sender| sender.send(Message::Flush(done)).is_ok()) {
            let _ = written.await;
        }
    }
}

fn write_all(mut pen: Pen, messages: &mpsc::Receiver<Message>) {
    let mut told = false;
    while let Ok(message) = messages.recv() {
        match message {
            Message::Note(line) => {
                if let Err(error) = pen.write(&line)
                    && !std::mem::replace(&mut told, true)
                {
                    tracing::warn!(%error, path = %pen.path.display(), "the ledger cannot be written");
                }
            }
            Message::Write(line, done) => {
                let written = pen.write(&line).and_then(|()| pen.sync());
                let _ = done.send(written.map_err(|error| format!("{}: {error}", pen.path.display())));
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
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

    #[test]
    fn the_order_of_keys_says_nothing() {
        let (a, b) = (json!({"x": {"p": 1, "q": [2]}, "y": 3}), json!({"y": 3, "x": {"q": [2], "p": 1}}));
        assert_eq!(digest("s", &a), digest("s", &b));
        assert_ne!(digest("s", &a), digest("t", &a));
    }
}
