//! The processes below this one, as `/proc` tells of them.

use std::collections::HashMap;
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal};

/// Everything below this process that still runs.
pub(super) struct Tree(Vec<Process>);

/// One process. An id alone may be somebody else's a moment later: the time of the start tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    id: i32,
    parent: i32,
    /// Clock ticks since the machine started.
    started: u64,
    over: bool,
}

impl Tree {
    pub(super) fn below() -> Self {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for process in all() {
            children.entry(process.parent).or_default().push(process);
        }
        let mut found = Vec::new();
        let mut next = vec![rustix::process::getpid().as_raw_nonzero().get()];
        while let Some(parent) = next.pop() {
            for process in children.remove(&parent).unwrap_or_default() {
                next.push(process.id);
                // One that is over and not waited for does nothing any more.
                if !process.over {
                    found.push(process);
                }
            }
        }
        Self(found)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn signal(&self, signal: Signal) {
        for process in &self.0 {
            process.signal(signal);
        }
    }
}

impl Process {
    fn signal(&self, signal: Signal) {
        let Some(id) = Pid::from_raw(self.id) else { return };
        match rustix::process::pidfd_open(id, PidfdFlags::empty()) {
            Ok(held) => {
                // What is held now stays held; is it who was meant?
                if read(self.id).is_some_and(|now| now.started == self.started) {
                    let _ = rustix::process::pidfd_send_signal(&held, signal);
                }
            }
            Err(rustix::io::Errno::SRCH) => {}
            // Kernels before 5.3.
            Err(_) => {
                let _ = rustix::process::kill_process(id, signal);
            }
        }
    }
}

fn all() -> Vec<Process> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    folder.flatten().filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read(id: i32) -> Option<Process> {
    parse(id, &std::fs::read_to_string(Path::new("/proc").join(id.to_string()).join("stat")).ok()?)
}

/// Reads `/proc/ID/stat`, proc_pid_stat(5): the name in parentheses is whatever the process wants it to be.
fn parse(id: i32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    // The parent is field 4, the start field 22.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process { id, parent, started, over: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pose_as_the_fields_after_it() {
        let line = "7 (a) R 1 1) S 42 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1";
        let read = parse(7, line).unwrap();
        assert_eq!(read, Process { id: 7, parent: 42, started: 12345, over: false });
        assert!(parse(7, "7 (gone) Z 1 0 0 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 9 0 0").unwrap().over);
        for bad in ["", "7", "7 (x)", "7 (x) S", "7 (x) S one two", "7 (x) S 1 2 3"] {
            assert_eq!(parse(7, bad), None, "{bad}");
        }
    }

    #[test]
    fn this_process_is_found_with_its_parent() {
        let own = read(rustix::process::getpid().as_raw_nonzero().get()).unwrap();
        let parent = rustix::process::getppid().unwrap();
        assert_eq!(own.parent, parent.as_raw_nonzero().get());
        assert!(own.started > 0 && !own.over);
    }
}
