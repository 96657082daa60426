//! Questions about processes, for assertions. They read `/proc`; on other systems nothing is known to live.

use std::collections::BTreeMap;
use std::time::Duration;

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|(_, state)| state != 'Z' && state != 'X')
}

/// Whether a process is stopped, as by SIGSTOP.
pub fn is_stopped(pid: u32) -> bool {
    state(pid).is_some_and(|(_, state)| state == 'T')
}

/// All living descendants of a process, children before grandchildren.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for pid in all() {
        if let Some((parent, state)) = state(pid)
            && state != 'Z'
        {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found: Vec<u32> = children.get(&pid).cloned().unwrap_or_default();
    let mut next = 0;
    while next < found.len() {
        if let Some(more) = children.get(&found[next]) {
            found.extend(more);
        }
        next += 1;
    }
    found
}

/// All living processes with this text in their command line, such as the path of a journal, which only the
/// server of one test has. The asking process itself is left out.
pub fn with_argument(text: &str) -> Vec<u32> {
    all()
        .into_iter()
        .filter(|pid| *pid != std::process::id() && is_alive(*pid))
        .filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| String::from_utf8_lossy(&line).replace('\0', " ").contains(text))
        })
        .collect()
}

/// A signal that tests send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl-C does.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// Sends a signal. A process that is gone already is no failure.
#[cfg(unix)]
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let signal = match signal {
        Signal::Interrupt => rustix::process::Signal::INT,
        Signal::Terminate => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
        Signal::Stop => rustix::process::Signal::STOP,
        Signal::Continue => rustix::process::Signal::CONT,
    };
    if let Some(pid) = raw {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Sends a signal: there are none here.
#[cfg(not(unix))]
pub fn signal(_pid: u32, _signal: Signal) {}

/// Waits until a process is gone, looking again every few milliseconds. True: it is.
pub async fn wait_until_gone(pid: u32, at_most: Duration) -> bool {
    until(at_most, || !is_alive(pid)).await
}

/// Waits until something holds, looking again every few milliseconds of real time. True: it does.
///
/// For what no future tells: files and processes. The wait ends as soon as the condition holds.
pub async fn until(at_most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    // Real time, on purpose: processes do not know of a paused clock.
    let end = std::time::Instant::now() + at_most;
    loop {
        if holds() {
            return true;
        }
        if std::time::Instant::now() >= end {
            return false;
        }
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(5))).await;
    }
}

/// The same as [`until`] without a runtime.
pub fn until_blocking(at_most: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + at_most;
    while !holds() {
        if std::time::Instant::now() >= end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The parent and the state letter.
fn state(pid: u32) -> Option<(u32, char)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces and parentheses itself.
    let mut rest = stat[stat.rfind(')')? + 1..].split_whitespace();
    let state = rest.next()?.chars().next()?;
    Some((rest.next()?.parse().ok()?, state))
}
