//! Ctrl-C and its relatives: the first asks the run to stop cleanly, the second ends at once.

use tokio_util::sync::CancellationToken;

/// Fires `stop` on the first Ctrl-C, SIGTERM or SIGHUP.
///
/// The returned guard ends the listening when it is dropped.
pub(crate) fn listen(stop: CancellationToken) -> Listening {
    Listening(tokio::spawn(async move {
        first_signal().await;
        stop.cancel();
        first_signal().await;
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

/// Waits for a Ctrl-C, SIGTERM or SIGHUP.
#[cfg(unix)]
pub(crate) async fn first_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut hangup)) = (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(not(unix))]
pub(crate) async fn first_signal() {
    let _ = tokio::signal::ctrl_c().await;
}
