//! How many processes a server runs. One that breeds them without end takes the machine from everybody: it is ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::tree::Tree;

/// How often they are counted.
const LOOK: Duration = Duration::from_secs(2);
/// Beyond so many nobody counts further.
const ENOUGH: usize = 1024;
/// One counts at a time: fifty servers that were started together would take fifty threads for it.
static COUNTING: Semaphore = Semaphore::const_new(1);

/// What is known of the number of a server's processes.
#[derive(Debug)]
pub(super) struct Crowd {
    limit: usize,
    peak: AtomicUsize,
    overgrown: AtomicBool,
}

impl Crowd {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, peak: AtomicUsize::new(0), overgrown: AtomicBool::new(false) }
    }

    /// The most that were seen at a time; `None`: nobody has looked yet, or could.
    pub(super) fn peak(&self) -> Option<usize> {
        Some(self.peak.load(Ordering::Acquire)).filter(|peak| *peak > 0)
    }

    pub(super) fn is_overgrown(&self) -> bool {
        self.overgrown.load(Ordering::Acquire)
    }

    /// Resolves when there are more than there may be.
    pub(super) async fn overgrows(&self, tree: &Arc<Tree>) {
        loop {
            tokio::time::sleep(LOOK).await;
            let of = tree.clone();
            let counted = {
                let _turn = COUNTING.acquire().await;
                // Files are read on a thread for that.
                tokio::task::spawn_blocking(move || of.count(ENOUGH)).await
            };
            let Ok(Some(count)) = counted else { continue };
            self.peak.fetch_max(count, Ordering::AcqRel);
            if count > self.limit {
                return self.overgrown.store(true, Ordering::Release);
            }
        }
    }

    /// Why it was ended.
    pub(super) fn reason(&self) -> String {
        format!(
            "it ran {} processes at a time and was ended, for at most {} are allowed (max_processes). If that was not meant, \
             keep it away (disabled: true) or in a sandbox",
            self.peak.load(Ordering::Acquire),
            self.limit
        )
    }
}

/// The processes that descend from this one, up to so many. `None`: nobody says.
#[cfg(target_os = "linux")]
pub(super) fn descendants(head: u32, enough: usize) -> Option<usize> {
    let mut waiting = vec![head];
    let mut found = 0;
    while let Some(process) = waiting.pop() {
        // One that ends meanwhile has none any more.
        let threads = match std::fs::read_dir(format!("/proc/{process}/task")) {
            Ok(threads) => threads,
            Err(_) if process == head => return None,
            Err(_) => continue,
        };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok());
            let before = waiting.len();
            waiting.extend(children);
            found += waiting.len() - before;
        }
        if found >= enough {
            break;
        }
    }
    Some(found)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn descendants(_: u32, _: usize) -> Option<usize> {
    None
}
