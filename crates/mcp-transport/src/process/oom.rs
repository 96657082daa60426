//! Whether the system ended a process because memory was short. It says so in a counter of the control group (cgroup v2,
//! `memory.events`), where there is one that we may read; the signal alone could have come from anybody. The kernel answers
//! such a read from its memory: nobody waits.

use std::sync::{Mutex, PoisonError};

/// What the counter said last; the deaths until then are known.
static SEEN: Mutex<Option<u64>> = Mutex::new(None);

/// Remembers what the counter says before there is anything to count. It is read once.
pub(super) fn begin() {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.is_none() {
        *seen = kills();
    }
}

/// Whether the counter says that one more process was ended than was known.
pub(super) fn is_one_more() -> bool {
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let now = kills();
    let more = matches!((*seen, now), (Some(before), Some(now)) if now > before);
    *seen = now;
    more
}

/// The counter of the control group of this process, which is its children's too unless somebody moves them.
fn kills() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    counter(&std::fs::read_to_string(format!("/sys/fs/cgroup{own}/memory.events")).ok()?)
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
