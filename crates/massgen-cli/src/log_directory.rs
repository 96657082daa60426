//! `massgen_logs/log_YYYYMMDD_HHMMSS/`: everything a run leaves behind.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use massgen::orchestrator::{Event, EventKind};
use massgen::security::lock::sha256_hex;

use crate::summary::Summary;

/// The folder of all runs' folders, in the current one.
pub(crate) const LOGS: &str = "massgen_logs";

/// One run's folder. Clones know of each other's trouble.
#[derive(Debug, Clone)]
pub(crate) struct LogDirectory {
    path: PathBuf,
    /// It was told that nothing can be written.
    is_told: Arc<AtomicBool>,
}

impl LogDirectory {
    /// Makes a new folder below `parent`, named by the local time; a second run within one second gets a suffix.
    pub(crate) fn create(parent: &Path, now: &str) -> io::Result<Self> {
        fs::create_dir_all(parent)?;
        for attempt in 1..1000 {
            let name = if attempt == 1 { format!("log_{now}") } else { format!("log_{now}_{attempt}") };
            let path = parent.join(name);
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, is_told: Arc::default() }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("a thousand runs began within this second"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn events(&self) -> PathBuf {
        self.path.join("events.jsonl")
    }

    /// Tells that a file could not be written; not again for the next one, unless one could be written in between.
    pub(crate) fn tell(&self, file: &str, written: io::Result<()>) {
        match written {
            Ok(()) => self.is_told.store(false, Ordering::Relaxed),
            Err(error) if !self.is_told.swap(true, Ordering::Relaxed) => {
                tracing::warn!(file, %error, "the run's log folder cannot be written; it will lack files");
            }
            Err(_) => {}
        }
    }

    /// Writes a file of this folder anew, and the folder that it is in.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        self.tell(file, folder.and_then(|()| fs::write(&path, text)));
    }

    /// Writes `summary.json`.
    pub(crate) fn summarise(&self, summary: &Summary) -> io::Result<()> {
        let mut file = fs::File::create(self.path.join("summary.json"))?;
        serde_json::to_writer_pretty(&mut file, summary)?;
        file.write_all(b"\n")
    }

    /// Opens a file for appending, and its folder.
    pub(crate) fn append(&self, name: &str) -> io::Result<fs::File> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::OpenOptions::new().create(true).append(true).open(path)
    }
}

/// The file that is made from an event, and what is in it: each answer as it comes, the final one.
pub(crate) fn kept(event: &Event) -> Option<(String, &str)> {
    match &event.kind {
        EventKind::Answer { agent, number, text } => {
            Some((format!("{}/answer-{number}.md", file_name(agent.as_str())), text))
        }
        EventKind::FinalAnswer { text, .. } => Some(("answer.md".to_owned(), text)),
        _ => None,
    }
}

/// Names that the folder has for something else.
const TAKEN: [&str; 7] =
    ["answer.md", "audit.jsonl", "events.jsonl", "ledger.jsonl", "metrics.json", "run.json", "summary.json"];

/// The longest part of a name that is kept, bytes: systems take 255, and more comes after it.
const LONGEST: usize = 200;

/// An agent's or a server's name as a file's: free text may hold slashes, and `..` must not climb. A name that cannot stay
/// as it is ends in `~` and a digest of it, which no other name does: two names never share a file.
pub(crate) fn file_name(name: &str) -> String {
    let fit = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ' | '+' | '@');
    let clean: String = name.chars().map(|c| if fit(c) { c } else { '_' }).collect();
    let clean = clean.trim_matches(['.', ' ']);
    let kept = clean.get(..clean.floor_char_boundary(LONGEST)).unwrap_or_default();
    if kept == name && !kept.is_empty() && !TAKEN.contains(&kept.to_ascii_lowercase().as_str()) {
        return kept.to_owned();
    }
    let digest = sha256_hex(name);
    format!("{}~{}", if kept.is_empty() { "_" } else { kept }, digest.get(..8).unwrap_or(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside_the_folder() {
        for fine in ["gemini2.5flash", "Ada the 2nd", "日本", "a_b", "mcp"] {
            assert_eq!(file_name(fine), fine);
        }
        for (name, start) in [
            ("../../etc/passwd", "_.._etc_passwd~"),
            ("..", "_~"),
            ("a/b\\c:d", "a_b_c_d~"),
            ("a ", "a~"),
            ("", "_~"),
            ("Answer.md", "Answer.md~"),
        ] {
            let made = file_name(name);
            assert!(made.starts_with(start) && made.len() == start.len() + 8, "{made}");
            assert_eq!(made, file_name(name));
        }
    }

    #[test]
    fn no_two_names_share_a_file_and_none_is_too_long() {
        let long = "日".repeat(128);
        let other = format!("{}本", "日".repeat(127));
        let names = ["a_b", "a/b", "a:b", "a\\b", "a_b.", ".a_b", "..", ".", "/", "_", &long, &other];
        let made: std::collections::BTreeSet<_> = names.map(file_name).into();
        assert_eq!(made.len(), names.len(), "{made:?}");
        for name in made {
            assert!(name.len() < 255 && Path::new(&name).file_name().is_some_and(|last| *last == *name));
        }
    }

    #[test]
    fn two_runs_in_one_second_get_two_folders() {
        let parent = tempfile::tempdir().unwrap();
        let first = LogDirectory::create(parent.path(), "20260102_030405").unwrap();
        let second = LogDirectory::create(parent.path(), "20260102_030405").unwrap();
        assert_ne!(first.path(), second.path());
    }
}
