//! What a child and its descendants take of the machine's memory.

/// Processes of one server that are looked at; one that starts more is not summed up further.
#[cfg(target_os = "linux")]
const PROCESSES: usize = 256;

/// The resident memory of a process and of all that descends from it, bytes. `None`: it is gone, or nobody says.
#[cfg(target_os = "linux")]
pub(super) fn resident(head: u32) -> Option<u64> {
    let mut waiting = vec![head];
    let (mut sum, mut seen) = (None, 0);
    while let Some(process) = waiting.pop() {
        seen += 1;
        if seen > PROCESSES {
            break;
        }
        // One that ends meanwhile takes nothing any more.
        let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { continue };
        *sum.get_or_insert(0) += kilobytes(&status).unwrap_or_default() * 1024;
        let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            waiting.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    sum
}

#[cfg(not(target_os = "linux"))]
pub(super) fn resident(_: u32) -> Option<u64> {
    None
}

/// The line `VmRSS:     1234 kB`; a process that has ended and is not waited for has none.
#[cfg(target_os = "linux")]
fn kilobytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_memory_and_one_that_is_not_there_takes_none() {
        assert!(resident(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(resident(u32::MAX), None);
        assert_eq!(kilobytes("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234));
        assert_eq!(kilobytes("Name:\tx\nState:\tZ (zombie)\n"), None);
    }
}
