//! What a program writes to its standard output and that is no message. Many do that, and it costs nothing: whoever looks into
//! one wants to know, and nobody wants to read it with each line.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcp_core::ServerName;
use tokio::time::Instant;

/// How often it is said.
const HOUR: Duration = Duration::from_secs(3600);

/// Of one server, over all its sessions.
#[derive(Default)]
pub(crate) struct Chatter(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    first: Option<String>,
    told: Option<Instant>,
}

impl Chatter {
    /// Takes such a line in, and says so where that was not said within the last hour. `line` is asked for where it is needed.
    pub(crate) fn heard(&self, server: &ServerName, line: impl FnOnce() -> String) {
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.told.is_some_and(|told| now.saturating_duration_since(told) < HOUR) {
            return;
        }
        noted.told = Some(now);
        let line = line();
        tracing::warn!(%server, ?line, "it wrote to its standard output what is no message");
        noted.first.get_or_insert(line);
    }

    /// The first one.
    pub(crate) fn first(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first.clone()
    }
}
