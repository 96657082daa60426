//! Whether the system ended a process because memory was short. It says so in a counter of the control group (cgroup v2,
//! `memory.events`), where there is one that we may read; the signal alone could have come from anybody. The kernel answers
//! such a read from its memory: nobody waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What the counter in each of these files said last; the deaths until then are known.
static SEEN: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

/// The file of the control group of this process, which is its children's too unless somebody moves them.
pub(super) fn own() -> Option<PathBuf> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(format!("/sys/fs/cgroup{own}/memory.events").into())
}

/// Remembers what the counter says before there is anything to count. It is read once.
pub(super) fn begin(events: &Path) {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if !seen.contains_key(events)
        && let Some(kills) = kills(events)
    {
        seen.insert(events.to_owned(), kills);
    }
}

/// Whether the counter says that one more process was ended than was known.
pub(super) fn is_one_more(events: &Path) -> bool {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(now) = kills(events) else { return false };
    // One that was not there when the process started says nothing of it.
    let before = seen.insert(events.to_owned(), now);
    before.is_some_and(|before| now > before)
}

fn kills(events: &Path) -> Option<u64> {
    counter(&std::fs::read_to_string(events).ok()?)
}

/// The line `oom_kill 3`.
fn counter(events: &str) -> Option<u64> {
    events.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_the_one_of_kills() {
        let events = "low 0\nhigh 0\nmax 12\noom 4\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(counter(events), Some(3));
        assert_eq!(counter("low 0\n"), None);
    }
}
