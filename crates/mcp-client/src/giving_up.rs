//! When a server is given up, and what is said of it then: its circuit is opened for good, so that whoever looks at it or
//! calls it is told the reason at once. What lay in the configuration is looked for again: once the file is another one, the
//! server is tried again.

use std::time::Duration;

use mcp_core::ToolError;
use mcp_transport::ProgramFile;
use tokio::time::{Instant, sleep};

use crate::server::Shared;
use crate::{Target, redact};

/// How often it is looked whether a program that could not be run has changed.
const LOOK: Duration = Duration::from_secs(5);
/// The last words that the reason for a crash loop carries.
const WORDS: usize = 5;

/// A program that cannot be run. Returns when it is worth another try.
pub(crate) async fn until_changed(server: &Shared, error: &str) {
    let circuit = server.circuits.server();
    circuit.force_open(format!("config: {error}"));
    let Target::Stdio(launch) = &server.config.target else { return std::future::pending().await };
    let before = ProgramFile::look(launch).await;
    loop {
        sleep(LOOK).await;
        if ProgramFile::look(launch).await != before {
            return circuit.reset(Instant::now());
        }
    }
}

/// A server that ended again after each start, as often as it may.
pub(crate) fn crash_loop(server: &Shared, stderr: &[String]) {
    let policy = &server.options.restart;
    let Some(restarts) = policy.backoff.max_attempts.filter(|restarts| *restarts > 0) else { return };
    let within = policy.reset_after.as_secs();
    let mut reason = format!("crash loop: it ended again after {restarts} restarts within {within} s");
    if !stderr.is_empty() {
        let last = &stderr[stderr.len().saturating_sub(WORDS)..];
        reason.push_str("; its last words: ");
        reason.push_str(&redact::text(&server.options, "log", last.join(" | ")));
    }
    server.circuits.server().force_open(reason);
}

/// A server that ran more processes than it may.
pub(crate) fn overgrown(server: &Shared, reason: &str) {
    server.circuits.server().force_open(format!("too many processes: {reason}"));
}

/// The last words of a program that did not come up.
pub(crate) fn last_words(error: &ToolError) -> &[String] {
    match error {
        ToolError::Start { stderr, .. } | ToolError::Connection { stderr, .. } => stderr,
        _ => &[],
    }
}

/// What somebody can do about an end like this, where there is something.
pub(crate) fn hint(reason: &str, stderr: &[String]) -> Option<String> {
    const MARKS: [&str; 7] = [
        "memory was short",
        "memory is short",
        "memory allocation of",
        "MemoryError",
        "out of memory",
        "Cannot allocate memory",
        "bad_alloc",
    ];
    let says = |text: &str| MARKS.iter().any(|mark| text.contains(mark));
    (says(reason) || stderr.iter().any(|line| says(line)))
        .then(|| "memory: give it more, or ask for less at a time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_is_told_by_the_signal_and_by_the_last_words() {
        let killed = "it was ended by signal 9 (SIGKILL), as the system does when memory is short";
        for (reason, stderr, told) in [
            (killed, "", true),
            ("it was ended by signal 6 (SIGABRT)", "memory allocation of 268435456 bytes failed", true),
            ("it exited with code 1", "MemoryError", true),
            ("it exited with code 134", "FATAL ERROR: Reached heap limit - JavaScript heap out of memory", true),
            ("it exited with code 1", "no key for it", false),
        ] {
            assert_eq!(hint(reason, &[stderr.to_owned()]).is_some(), told, "{reason} {stderr}");
        }
    }
}
