//! A child and everything it started, as one thing to send signals to.

use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

#[cfg(unix)]
use rustix::process::{Pid, Signal};

/// `PF_EXITING` of Linux: set before the files of a process are closed.
const EXITING: u64 = 4;

/// A process tree, known by its head: a launcher, or the leader of a process group.
#[derive(Debug)]
pub(super) struct Tree {
    id: Option<u32>,
    /// Whether the head passes signals on to its tree, wherever that has spread.
    launched: bool,
    gone: AtomicBool,
    /// The head itself: unlike its id, this never stands for somebody else.
    #[cfg(target_os = "linux")]
    head: Option<OwnedFd>,
}

impl Tree {
    /// The tree of a child that was started just now and not waited for yet.
    pub(super) fn new(id: Option<u32>, launched: bool) -> Self {
        Self {
            id,
            launched,
            gone: AtomicBool::new(id.is_none()),
            #[cfg(target_os = "linux")]
            head: pid(id)
                .and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()),
        }
    }

    /// The id of its head.
    pub(super) fn id(&self) -> Option<u32> {
        self.id
    }

    /// The same, while nobody else can have it.
    pub(super) fn living(&self) -> Option<u32> {
        if self.gone.load(Ordering::Acquire) { None } else { self.id }
    }

    /// How many processes it has, up to so many, and a launcher not counted. Reads files. `None`: it is gone, or nobody says.
    pub(super) fn count(&self, enough: usize) -> Option<usize> {
        let descendants = super::crowd::descendants(self.living()?, enough)?;
        Some(if self.launched { descendants } else { descendants + 1 })
    }

    /// Whether its head is about to end, or has: it has closed what it had, and its exit code will follow. Reads a file.
    /// `false` where the system does not tell.
    pub(super) fn is_ending(&self) -> bool {
        let Some(id) = self.living() else { return true };
        if !cfg!(target_os = "linux") {
            return false;
        }
        // After the name in parentheses, which may hold anything: the state, five numbers, and the flags.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
        stat.rsplit_once(") ").is_some_and(|(_, rest)| {
            let mut fields = rest.split(' ');
            let state = fields.next().unwrap_or_default();
            let flags: u64 = fields.nth(5).and_then(|flags| flags.parse().ok()).unwrap_or_default();
            matches!(state, "Z" | "X") || flags & EXITING != 0
        })
    }

    /// Says that the id may belong to somebody else from now on.
    pub(super) fn forget(&self) {
        self.gone.store(true, Ordering::Release);
    }
}

#[cfg(unix)]
fn pid(id: Option<u32>) -> Option<Pid> {
    id.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

#[cfg(unix)]
impl Tree {
    /// Kills all of it at once.
    pub(super) fn kill(&self) {
        if self.launched {
            self.tell(Signal::QUIT);
        } else {
            self.signal_group(Signal::KILL);
        }
    }

    /// Asks all of it to end.
    pub(super) fn terminate(&self) {
        if self.launched {
            self.tell(Signal::TERM);
        } else {
            self.signal_group(Signal::TERM);
        }
    }

    /// What the head left behind in its group is asked to end.
    pub(super) fn terminate_remains(&self) {
        self.signal_group(Signal::TERM);
    }

    /// What the head left behind in its group is killed.
    pub(super) fn kill_remains(&self) {
        self.signal_group(Signal::KILL);
    }

    /// Whether the group has no process any more.
    pub(super) fn is_empty(&self) -> bool {
        self.present().is_none_or(|pid| rustix::process::test_kill_process_group(pid).is_err())
    }

    fn present(&self) -> Option<Pid> {
        pid(self.living())
    }

    fn signal_group(&self, signal: Signal) {
        if let Some(pid) = self.present() {
            tracing::trace!(pid = self.id, signal = signal.as_raw(), to = "group", "signal");
            let _ = rustix::process::kill_process_group(pid, signal);
        }
    }

    /// Sends a signal to the head.
    fn tell(&self, signal: Signal) {
        #[cfg(target_os = "linux")]
        if let Some(head) = &self.head {
            tracing::trace!(pid = self.id, signal = signal.as_raw(), to = "handle", "signal");
            let _ = rustix::process::pidfd_send_signal(head, signal);
            return;
        }
        if let Some(pid) = self.present() {
            tracing::trace!(pid = self.id, signal = signal.as_raw(), to = "process", "signal");
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

// A job object ends with its last handle, which the supervising task holds.
#[cfg(not(unix))]
impl Tree {
    pub(super) fn kill(&self) {
        let _ = self.launched;
    }

    pub(super) fn terminate(&self) {}

    pub(super) fn terminate_remains(&self) {}

    pub(super) fn kill_remains(&self) {}

    pub(super) fn is_empty(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[allow(clippy::disallowed_methods, reason = "an innocent process for signals to miss")]
    fn waiting() -> std::process::Child {
        // It reads until its input ends, or a signal ends it.
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_signal_never_goes_to_who_has_the_id_now() {
        let mut first = waiting();
        let mut tree = Tree::new(Some(first.id()), true);
        first.kill().unwrap();
        first.wait().unwrap();
        // The first is reaped, and its id is somebody else's.
        let mut innocent = waiting();
        tree.id = Some(innocent.id());
        tree.terminate();
        tree.kill();
        drop(innocent.stdin.take());
        assert_eq!(innocent.wait().unwrap().code(), Some(0));

        let mut guilty = waiting();
        Tree::new(Some(guilty.id()), true).terminate();
        assert_eq!(guilty.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn what_is_forgotten_gets_no_signal() {
        let mut innocent = waiting();
        let tree = Tree::new(Some(innocent.id()), false);
        tree.forget();
        tree.kill();
        tree.kill_remains();
        assert!(tree.is_empty());
        drop(innocent.stdin.take());
        assert_eq!(innocent.wait().unwrap().code(), Some(0));
    }
}
