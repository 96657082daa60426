//! When a server is given up, and what is said of it then: its circuit is opened for good, so that whoever looks at it or
//! calls it is told the reason at once. What lay in the configuration is looked for again: once the file is another one, the
//! server is tried again.

use std::time::Duration;

use mcp_core::ToolError;
use mcp_resilience::restart::Restarts;
use mcp_transport::ProgramFile;
use tokio::time::{Instant, sleep};

use crate::server::Shared;
use crate::{RestartPolicy, ServerConfig, Target, redact};

/// How often it is looked whether a program that could not be run has changed.
const LOOK: Duration = Duration::from_secs(5);
/// The last words that the reason for a crash loop carries.
const WORDS: usize = 5;

/// When a server that is away is tried again.
pub(crate) struct Tries {
    restarts: Restarts,
    /// How long to wait where the tries are used up; `None`: it is given up then.
    then: Option<Duration>,
    /// The tries are used up, and a remote server is looked for all the same: it may come back by itself, and a dial costs next
    /// to nothing. Nobody is told of each of these tries.
    pub(crate) quiet: bool,
}

impl Tries {
    pub(crate) fn new(config: &ServerConfig, policy: &RestartPolicy) -> Self {
        let is_ours = matches!(config.target, Target::Stdio(_) | Target::InMemory(_));
        let tries = policy.backoff.max_attempts;
        Self {
            restarts: Restarts::new(&policy.backoff, tries, policy.reset_after),
            then: (!is_ours && tries != Some(0)).then_some(policy.backoff.cap),
            quiet: false,
        }
    }

    /// It is away: how long to wait before the next try. `None`: it is given up.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Duration> {
        let usual = if self.quiet { None } else { self.restarts.next(now) };
        if usual.is_none() {
            self.quiet = self.then.is_some();
        }
        usual.or(self.then)
    }
}

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

/// Whether a start failed because the program ended, and not for what it said or did not say.
pub(crate) fn has_ended(error: &ToolError, config: &ServerConfig) -> bool {
    match error {
        ToolError::Start { .. } => true,
        ToolError::Connection { .. } => matches!(config.target, Target::Stdio(_)),
        _ => false,
    }
}

/// A server that could not be used at any of its tries, for a reason that is not its end.
pub(crate) fn in_vain(server: &Shared, error: &str) {
    let policy = &server.options.restart;
    let Some(tries) = policy.backoff.max_attempts.filter(|tries| *tries > 0) else { return };
    let within = policy.reset_after.as_secs();
    let error = error.lines().next().unwrap_or_default();
    server
        .circuits
        .server()
        .force_open(format!("{tries} more tries within {within} s were in vain: {error}"));
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
    fn a_remote_server_is_looked_for_when_its_tries_are_used_up_and_a_program_is_not() {
        let name = || mcp_core::ServerName::new("s").unwrap();
        let spec =
            mcp_core::RemoteSpec { url: "http://127.0.0.1:1/".parse().unwrap(), headers: Default::default() };
        let remote = ServerConfig::new(name(), Target::Http(spec));
        let program = ServerConfig::new(name(), Target::Stdio(mcp_core::LaunchSpec::default()));
        let policy = RestartPolicy::default();
        let now = Instant::now();
        for (config, policy, then) in [
            (&program, &policy, None),
            (&remote, &policy, Some(policy.backoff.cap)),
            (&remote, &RestartPolicy::never(), None),
        ] {
            let mut tries = Tries::new(config, policy);
            for _ in 0..policy.backoff.max_attempts.unwrap() {
                assert!(tries.next(now).is_some() && !tries.quiet);
            }
            for _ in 0..3 {
                assert_eq!((tries.next(now), tries.quiet), (then, then.is_some()));
            }
        }
    }

    #[test]
    fn want_of_memory_is_told_by_the_signal_and_by_the_last_words() {
        let killed = "it was ended by signal 9 (SIGKILL), as the system does when memory is short";
        for (reason, stderr, told) in [
            (killed, "", true),
            ("it was ended by signal 6 (SIGABRT)", "memory allocation of 268435456 bytes failed", true),
            ("it exited with code 1", "MemoryError", true),
            (
                "it exited with code 134",
                "FATAL ERROR: Reached heap limit - JavaScript heap out of memory",
                true,
            ),
            ("it exited with code 1", "no key for it", false),
        ] {
            assert_eq!(hint(reason, &[stderr.to_owned()]).is_some(), told, "{reason} {stderr}");
        }
    }
}
