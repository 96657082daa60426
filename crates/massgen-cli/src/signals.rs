//! Ctrl-C and its relatives: the first asks the run to stop cleanly, the second ends at once.

use tokio_util::sync::CancellationToken;

/// Fires `stop` on the first Ctrl-C, SIGTERM or SIGHUP, from now on.
///
/// The returned guard ends the listening when it is dropped.
pub(crate) fn listen(stop: CancellationToken) -> Listening {
    let mut signals = Signals::listen();
    Listening(tokio::spawn(async move {
        signals.next().await;
        stop.cancel();
        signals.next().await;
        crate::hidden::show_again();
        // The user insists. Children lose their standard input with us and end by themselves.
        #[expect(clippy::exit, reason = "a second Ctrl-C must work whatever else hangs")]
        std::process::exit(130);
    }))
}

/// Listens until it is dropped.
pub(crate) struct Listening(tokio::task::JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ctrl-C, SIGTERM and SIGHUP, heard from the moment this is made, also where whoever started us had them ignored. One
/// that cannot be listened to is never heard.
#[cfg(unix)]
pub(crate) struct Signals([Option<tokio::signal::unix::Signal>; 3]);

#[cfg(unix)]
impl Signals {
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Self(kinds.map(|kind| signal(kind).ok()))
    }

    /// Waits for one of them.
    pub(crate) async fn next(&mut self) {
        use std::task::Poll;
        std::future::poll_fn(|cx| {
            let mut all = self.0.iter_mut().flatten();
            if all.any(|signal| signal.poll_recv(cx).is_ready()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn listen() -> Self {
        Self
    }

    /// Waits for it.
    pub(crate) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Waits for a Ctrl-C, SIGTERM or SIGHUP.
pub(crate) async fn first_signal() {
    Signals::listen().next().await;
}
