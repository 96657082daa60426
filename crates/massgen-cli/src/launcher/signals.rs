//! Signals, to be looked at when there is time.
//!
//! They are caught, not blocked: children inherit a mask, and would be deaf to them.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// The signals that have come and were not looked at.
pub(super) struct Signals {
    /// Readable when one has come.
    wake: UnixStream,
    terminate: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
    quit: Arc<AtomicBool>,
}

/// Which came.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caught {
    pub(super) terminate: bool,
    pub(super) hang_up: bool,
    pub(super) quit: bool,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        let (wake, ring) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let signals = Self { wake, terminate: Arc::default(), hang_up: Arc::default(), quit: Arc::default() };
        for (signal, flag) in [
            (SIGTERM, &signals.terminate),
            (SIGHUP, &signals.hang_up),
            (SIGINT, &signals.quit),
            (SIGQUIT, &signals.quit),
        ] {
            signal_hook::flag::register(signal, flag.clone())?;
        }
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, ring.try_clone()?)?;
        }
        Ok(signals)
    }

    pub(super) fn take(&mut self) -> Caught {
        // A full buffer is no harm: it wakes all the same.
        while matches!(self.wake.read(&mut [0; 64]), Ok(read) if read > 0) {}
        let take = |flag: &AtomicBool| flag.swap(false, Ordering::SeqCst);
        Caught { terminate: take(&self.terminate), hang_up: take(&self.hang_up), quit: take(&self.quit) }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
