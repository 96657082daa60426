//! Tasks that end with whoever holds them.

use std::time::Duration;

use tokio::time::timeout;

/// Ends a task when it is dropped.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }

    /// Waits for its end, at most so long.
    pub(crate) async fn end(&mut self, at_most: Duration) {
        if !self.0.is_finished() && timeout(at_most, &mut self.0).await.is_err() {
            self.0.abort();
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
