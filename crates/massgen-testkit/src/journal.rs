//! What a scripted server wrote down.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::process;

/// How long the waits of this crate last at most. It is only ever reached by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A journal file. Entries are objects with `pid` and `kind`: `started`, `received` (with `message`), `unparsed`
/// (with `text`), `grandchild` (with its pid under `grandchild`), `sigterm`, `eof`, `exit` (with `code`), `abort`; `repeated` at the end of a flood of
/// messages and `killed` before the process kills itself, both with the time under `at_us`, microseconds since 1970.
#[derive(Debug, Clone)]
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// A journal at this place, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All entries so far.
    pub fn entries(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        // A line without its end is still being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a journal line is JSON")).collect()
    }

    /// All messages received so far.
    pub fn messages(&self) -> Vec<Value> {
        self.entries()
            .into_iter()
            .filter(|e| e["kind"] == "received")
            .map(|mut e| e["message"].take())
            .collect()
    }

    /// All messages of one method received so far.
    pub fn method(&self, method: &str) -> Vec<Value> {
        self.messages().into_iter().filter(|m| m["method"] == method).collect()
    }

    /// The pids of all processes that wrote here, in the order they started.
    pub fn pids(&self) -> Vec<u32> {
        self.kind("started").iter().filter_map(|e| pid(&e["pid"])).collect()
    }

    /// The pids of all grandchildren.
    pub fn grandchildren(&self) -> Vec<u32> {
        self.kind("grandchild").iter().filter_map(|e| pid(&e["grandchild"])).collect()
    }

    /// All entries of one kind.
    pub fn kind(&self, kind: &str) -> Vec<Value> {
        self.entries().into_iter().filter(|e| e["kind"] == kind).collect()
    }

    /// Waits for a message.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`], with all that did come.
    pub async fn await_message(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        self.await_entry(|e| e["kind"] == "received" && wanted(&e["message"])).await["message"].take()
    }

    /// Waits for a message of a method; panics as [`Journal::await_message`] does.
    pub async fn await_method(&self, method: &str) -> Value {
        self.await_message(|m| m["method"] == method).await
    }

    /// Waits for an entry; panics as [`Journal::await_message`] does.
    pub async fn await_entry(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        process::until(PATIENCE, || {
            found = self.entries().into_iter().find(|e| wanted(e));
            found.is_some()
        })
        .await;
        found.unwrap_or_else(|| {
            panic!("the awaited entry did not come; the journal has {:#?}", self.entries())
        })
    }

    /// Waits until every process that wrote here, grandchildren included, is gone. True: they are.
    pub async fn all_gone(&self, at_most: Duration) -> bool {
        process::until(at_most, || self.alive().is_empty()).await
    }

    /// The pids of those that are still alive, grandchildren included.
    pub fn alive(&self) -> Vec<u32> {
        let all = self.pids().into_iter().chain(self.grandchildren());
        all.filter(|pid| process::is_alive(*pid)).collect()
    }
}

fn pid(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|pid| u32::try_from(pid).ok())
}
