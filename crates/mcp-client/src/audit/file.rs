//! The audit log on disk: a chain that goes on when its file is rotated, removed or has no room for a while.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use mcp_core::Refusal;
use mcp_security::audit::{Chain, Key};
use serde_json::{Value, json};

use crate::Gate;

/// Records that wait for a disk that takes none; beyond that the oldest are lost, and counted.
const WAITING: usize = 1000;
/// The rule by which calls are refused while the log cannot be written.
const UNAVAILABLE: &str = "audit-unavailable";

/// An audit log in a file. Each record is one write. A file that was moved away, removed or cut is made anew, and what is
/// in it names the last hash of what was before ([`Chain::continued`]). Records that cannot be written wait for the next
/// one that can, up to 1,000 of them.
///
/// It writes where it is called: not on a runtime.
#[derive(Debug)]
pub struct AuditFile {
    path: PathBuf,
    key: Option<Key>,
    gate: Option<Gate>,
    open: Option<Open>,
    waiting: VecDeque<Value>,
    /// Of these, those that the log does not say yet.
    lost: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    chain: Chain,
    /// Bytes in the file that are ours.
    written: u64,
}

impl AuditFile {
    /// A log at this path. The file is made by the first record.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            key: None,
            gate: None,
            open: None,
            waiting: VecDeque::new(),
            lost: 0,
            dropped: 0,
        }
    }

    /// The same log, keyed: nobody without this key can make it anew.
    #[must_use]
    pub fn keyed(self, key: Option<Key>) -> Self {
        Self { key, ..self }
    }

    /// The same log, without which nothing changes the world: while it cannot be written, this gate refuses what may
    /// (`audit-unavailable`).
    #[must_use]
    pub fn guarding(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Writes a record, and those that wait before it.
    ///
    /// # Errors
    ///
    /// That it cannot be written now: it waits.
    pub fn append(&mut self, record: Value) -> io::Result<()> {
        self.waiting.push_back(record);
        if self.waiting.len() > WAITING {
            self.waiting.pop_front();
            self.lose(1);
        }
        let written = self.write_waiting();
        if let Some(gate) = &self.gate {
            // A log before this one may have suspended them.
            let suspended = gate.suspended().is_some_and(|why| why.rule == UNAVAILABLE);
            match &written {
                Ok(()) if suspended => {
                    gate.suspend_changes(None);
                    tracing::info!(path = %self.path.display(), "the audit log can be written again");
                }
                Err(error) if !suspended => Self::suspend(gate, error),
                Ok(()) | Err(_) => {}
            }
        }
        written
    }

    /// Lets nothing change the world through this gate, for the log cannot be written, and says so.
    pub fn suspend(gate: &Gate, error: impl fmt::Display) {
        tracing::error!(%error, "the audit log cannot be written; tools that change the world are refused");
        gate.suspend_changes(Some(Refusal {
            rule: UNAVAILABLE,
            reason: format!("the audit log cannot be written ({error})"),
            hint: "make room where the log folder is; tools that only read still work".to_owned(),
        }));
    }

    /// Counts records that were lost on their way here. The next one that is written says so.
    pub fn lose(&mut self, records: u64) {
        self.lost += records;
        self.dropped += records;
    }

    /// Records that wait for a disk that takes none.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Records that were lost for good, all in all.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Writes what waits, and the last line.
    ///
    /// # Errors
    ///
    /// That it cannot be written; then the log stays open, as that of a program that was killed.
    pub fn end(mut self) -> io::Result<()> {
        self.write_waiting()?;
        let Open { file, chain, .. } = self.ready()?;
        let last = chain.clone().end();
        file.write_all(format!("{last}\n").as_bytes())
    }

    fn write_waiting(&mut self) -> io::Result<()> {
        self.ready()?;
        let late = self.waiting.len().saturating_sub(1);
        // Whoever reads the log learns that these records were written later than they happened. It is written with the first of
        // them, or not at all: a disk that takes no record is not filled with notes of that.
        let mut gap =
            (late > 0 || self.lost > 0).then(|| json!({"event": "gap", "waited": late, "lost": self.lost}));
        while let Some(record) = self.waiting.front().cloned() {
            self.ready()?.write(gap.iter().cloned().chain([record]))?;
            self.waiting.pop_front();
            if gap.take().is_some() {
                self.lost = 0;
            }
        }
        if let Some(gap) = gap {
            self.ready()?.write([gap])?;
            self.lost = 0;
        }
        Ok(())
    }

    /// The file, which is made anew where it is not the one that was written to.
    fn ready(&mut self) -> io::Result<&mut Open> {
        let before = match self.open.take() {
            Some(open) if open.is_at(&self.path) => return Ok(self.open.insert(open)),
            before => before,
        };
        let (chain, first) = match &before {
            Some(before) => before.chain.clone().continued(&nonce()),
            None => Chain::begin_with(&nonce(), self.key.clone()),
        };
        match Open::make(&self.path, chain, &first) {
            Ok(open) => Ok(self.open.insert(open)),
            Err(error) => {
                // The chain is not lost with the file.
                self.open = before;
                Err(error)
            }
        }
    }
}

impl Open {
    fn make(path: &Path, chain: Chain, first: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let begun = file.metadata()?.len();
        let line = format!("{first}\n");
        if let Err(error) = file.write_all(line.as_bytes()) {
            let _ = file.set_len(begun);
            return Err(error);
        }
        Ok(Self { file, chain, written: begun + line.len() as u64 })
    }

    /// Writes records whole, or not at all.
    fn write(&mut self, records: impl IntoIterator<Item = Value>) -> io::Result<()> {
        let mut chain = self.chain.clone();
        let lines: String = records.into_iter().map(|record| format!("{}\n", chain.seal(record))).collect();
        if let Err(error) = self.file.write_all(lines.as_bytes()) {
            let _ = self.file.set_len(self.written);
            return Err(error);
        }
        self.chain = chain;
        self.written += lines.len() as u64;
        Ok(())
    }

    /// Whether this is the file that the path leads to, with all that was written to it.
    fn is_at(&self, path: &Path) -> bool {
        let (Ok(ours), Ok(there)) = (self.file.metadata(), std::fs::metadata(path)) else { return false };
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if (ours.dev(), ours.ino()) != (there.dev(), there.ino()) {
                return false;
            }
        }
        ours.len() >= self.written && there.len() >= self.written
    }
}

/// A number that no other log has.
fn nonce() -> String {
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use mcp_security::audit::verify;

    use super::*;

    fn record(number: u32) -> Value {
        json!({"event": "tool_call", "number": number})
    }

    fn text(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_log_that_is_moved_removed_or_cut_goes_on_in_a_new_segment_that_links_to_the_last_hash() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
        let mut log = AuditFile::new(&path);
        log.append(record(1)).unwrap();
        log.append(record(2)).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        log.append(record(3)).unwrap();
        let first = verify(text(&moved).as_bytes()).unwrap();
        let second = verify(text(&path).as_bytes()).unwrap();
        assert_eq!((first.lines, first.continues), (3, None));
        assert_eq!(second.continues, Some(first.last.clone()));

        std::fs::remove_file(&path).unwrap();
        log.append(record(4)).unwrap();
        let third = verify(text(&path).as_bytes()).unwrap();
        assert_eq!(third.continues, Some(second.last));

        std::fs::write(&path, "").unwrap();
        log.append(record(5)).unwrap();
        log.end().unwrap();
        let last = verify(text(&path).as_bytes()).unwrap();
        assert_eq!((last.lines, last.complete, last.continues), (3, true, Some(third.last)));
    }

    #[test]
    fn what_cannot_be_written_waits_and_the_gap_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("logs");
        let path = place.join("audit.jsonl");
        let mut log = AuditFile::new(&path);
        for number in 0..WAITING as u32 + 7 {
            log.append(record(number)).unwrap_err();
        }
        std::fs::create_dir(&place).unwrap();
        log.append(record(9999)).unwrap();
        let written = text(&path);
        let gap: Value = serde_json::from_str(written.lines().nth(1).unwrap()).unwrap();
        assert_eq!((&gap["event"], &gap["lost"]), (&json!("gap"), &json!(8)));
        assert_eq!(verify(written.as_bytes()).unwrap().lines, 2 + WAITING as u64);
        assert!(written.lines().last().unwrap().contains("9999"));
    }
}
