//! Lines on their way to a byte stream: written at once where nobody is before them, in one piece where many are.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::AsyncWrite;
use tokio::sync::{Notify, watch};

use super::{Outlet, Room};

/// Bytes that may wait; whoever pushed more than that waits for room.
const WAITING: usize = 1024 * 1024;
/// The queue's memory that is kept.
const KEPT: usize = 64 * 1024;

/// When a line is to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Before the call returns, if the stream takes it.
    Now,
    /// With whatever else is pushed in this round of the runtime.
    Together,
}

/// The writing half of a stream, shared by all who write lines to it.
pub(crate) struct Outbox<W> {
    state: Mutex<State<W>>,
    /// There is something for the writing task to do.
    work: Notify,
    /// Bytes were written, or none will be.
    moved: Notify,
    /// Nothing can be written any more.
    closed: watch::Sender<bool>,
}

struct State<W> {
    writer: Option<W>,
    queue: Vec<u8>,
    /// How much of the queue is written.
    at: usize,
    /// Bytes pushed and bytes written since the beginning.
    pushed: u64,
    written: u64,
    failed: Option<io::ErrorKind>,
}

impl<W: AsyncWrite + Send + Unpin + 'static> Outbox<W> {
    /// Must be called on a runtime: a task writes what does not go at once. It ends when the outbox is closed.
    pub(crate) fn new(writer: W) -> Arc<Self> {
        let state =
            State { writer: Some(writer), queue: Vec::new(), at: 0, pushed: 0, written: 0, failed: None };
        let outbox = Arc::new(Self {
            state: Mutex::new(state),
            work: Notify::new(),
            moved: Notify::new(),
            closed: watch::Sender::new(false),
        });
        tokio::spawn(outbox.clone().run());
        outbox
    }

    fn lock(&self) -> MutexGuard<'_, State<W>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the stream; what was not written is lost.
    pub(crate) fn close(&self) {
        let writer = self.lock().writer.take();
        drop(writer);
        self.closed.send_replace(true);
        self.moved.notify_waiters();
    }

    /// Turns true when nothing can be written any more.
    pub(crate) fn closed(&self) -> watch::Receiver<bool> {
        self.closed.subscribe()
    }

    /// Pushes a line and waits until it is written.
    pub(crate) async fn send(&self, line: &[u8]) -> io::Result<()> {
        let mark = {
            let mut state = self.lock();
            self.enqueue(&mut state, line, Pace::Now)?;
            state.pushed
        };
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Counts from here on: what moves between the look and the wait is not missed.
            moved.as_mut().enable();
            {
                let state = self.lock();
                if state.written >= mark {
                    return Ok(());
                }
                state.usable()?;
            }
            moved.await;
        }
    }

    fn enqueue(&self, state: &mut State<W>, line: &[u8], pace: Pace) -> io::Result<Room> {
        state.usable()?;
        let first = state.queue.is_empty();
        state.queue.extend_from_slice(line);
        state.pushed += line.len() as u64;
        // With something before it, the task is at work and holds the stream's attention; asking the stream here
        // would take it away.
        if first {
            let done = pace == Pace::Now
                && match state.write(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(error)) => {
                        self.fail(state, &error);
                        return Err(error);
                    }
                    Poll::Pending => false,
                };
            if !done {
                self.work.notify_one();
            }
        }
        Ok(if state.queue.len() - state.at > WAITING { Room::None } else { Room::Some })
    }

    fn fail(&self, state: &mut State<W>, error: &io::Error) {
        tracing::debug!(%error, "writing to the server failed");
        state.failed = Some(error.kind());
        state.queue = Vec::new();
        state.at = 0;
        // Whoever reads from the server hears of it, and ends what can no longer be answered.
        self.closed.send_replace(true);
        self.moved.notify_waiters();
    }

    async fn run(self: Arc<Self>) {
        let mut closed = self.closed.subscribe();
        loop {
            let working = async {
                self.work.notified().await;
                // Whoever else is ready to push does so first.
                turn().await;
                poll_fn(|cx| self.lock().write(cx)).await
            };
            let result = tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return,
                result = working => result,
            };
            match result {
                Ok(()) => self.moved.notify_waiters(),
                Err(error) => {
                    self.fail(&mut self.lock(), &error);
                    return;
                }
            }
        }
    }
}

/// Lets all tasks go first that can run now. Other than tokio's own way to yield, it asks the system for nothing in
/// between.
async fn turn() {
    let mut over = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl<W: AsyncWrite + Unpin> State<W> {
    fn usable(&self) -> io::Result<()> {
        match (self.failed, &self.writer) {
            (Some(kind), _) => Err(kind.into()),
            (None, None) => Err(io::Error::new(io::ErrorKind::NotConnected, "the session is closed")),
            (None, Some(_)) => Ok(()),
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(writer) = &mut self.writer else { return Poll::Ready(Ok(())) };
        while self.at < self.queue.len() {
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, &self.queue[self.at..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += written;
            self.written += written as u64;
        }
        self.queue.clear();
        self.queue.shrink_to(KEPT);
        self.at = 0;
        Pin::new(writer).poll_flush(cx)
    }
}

impl<W: AsyncWrite + Send + Unpin + 'static> Outlet for Outbox<W> {
    fn push(&self, line: &[u8], pace: Pace) -> io::Result<Room> {
        self.enqueue(&mut self.lock(), line, pace)
    }

    fn room(&self) -> mcp_core::BoxFuture<'_, ()> {
        Box::pin(async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                moved.as_mut().enable();
                {
                    let state = self.lock();
                    if state.queue.len() - state.at <= WAITING || state.usable().is_err() {
                        return;
                    }
                }
                moved.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn lines_arrive_whole_and_in_order_through_a_narrow_pipe() {
        let (mut far, near) = tokio::io::duplex(7);
        let outbox = Outbox::new(near);
        let mut expected = Vec::new();
        for (n, pace) in [Pace::Now, Pace::Together, Pace::Now, Pace::Together].into_iter().enumerate() {
            let line = format!("{n}{}\n", "x".repeat(50));
            expected.extend_from_slice(line.as_bytes());
            outbox.push(line.as_bytes(), pace).unwrap();
        }
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        outbox.close();
        assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        assert_eq!(outbox.push(b"late\n", Pace::Now).unwrap_err().kind(), io::ErrorKind::NotConnected);
    }

    /// Takes everything, and counts in how many pieces.
    struct Pieces(Arc<AtomicUsize>);

    impl AsyncWrite for Pieces {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_many_push_in_one_round_is_one_write() {
        let pieces = Arc::new(AtomicUsize::new(0));
        let outbox = Outbox::new(Pieces(pieces.clone()));
        let mut many = tokio::task::JoinSet::new();
        for n in 0..5 {
            let outbox = outbox.clone();
            many.spawn(async move { outbox.push(format!("{n}\n").as_bytes(), Pace::Together).unwrap() });
        }
        while many.join_next().await.is_some() {}
        // Behind all of them in the queue.
        while outbox.lock().written < 10 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pieces.load(Ordering::SeqCst), 1);
        outbox.push(b"alone\n", Pace::Now).unwrap();
        assert_eq!(pieces.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn whoever_fills_the_queue_waits_for_room() {
        let (mut far, near) = tokio::io::duplex(1024);
        let outbox = Outbox::new(near);
        let line = vec![b'x'; WAITING + 5000];
        assert_eq!(outbox.push(&line, Pace::Now).unwrap(), Room::None);
        let mut waiting = outbox.room();
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        far.read_exact(&mut vec![0; line.len()]).await.unwrap();
        waiting.await;
    }

    #[tokio::test]
    async fn a_far_end_that_is_gone_closes_it() {
        let (far, near) = tokio::io::duplex(64);
        let outbox = Outbox::new(near);
        drop(far);
        assert!(outbox.push(b"line\n", Pace::Now).is_err());
        assert!(*outbox.closed().borrow());
        assert!(outbox.send(b"line\n").await.is_err());
    }
}
