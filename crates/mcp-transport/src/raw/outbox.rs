//! Lines on their way to a byte stream: written at once where nobody is before them, in one piece where many are.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::{Calls, Failure, Outlet, Unwritten};
use crate::decoder::leading_id;

/// How long the stream may take nothing before what waits for it is given up, and how often that is looked at.
const STALL: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);
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
    /// Who waits for answers to what is written here.
    calls: Arc<Calls>,
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
    pub(crate) fn new(writer: W, calls: Arc<Calls>) -> Arc<Self> {
        let state =
            State { writer: Some(writer), queue: Vec::new(), at: 0, pushed: 0, written: 0, failed: None };
        let outbox = Arc::new(Self {
            state: Mutex::new(state),
            work: Notify::new(),
            moved: Notify::new(),
            closed: watch::Sender::new(false),
            calls,
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

    fn enqueue(&self, state: &mut State<W>, line: &[u8], pace: Pace) -> io::Result<()> {
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
        Ok(())
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
                self.drain().await
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

impl<W: AsyncWrite + Send + Unpin + 'static> Outbox<W> {
    /// Writes all there is. Requests that the stream does not take in within a time end.
    async fn drain(&self) -> io::Result<()> {
        // Mostly the stream takes it at once, or soon.
        let mut writing = std::pin::pin!(poll_fn(|cx| self.lock().write(cx)));
        if let Poll::Ready(written) = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await {
            return written;
        }
        let (mut before, mut since) = (self.lock().written, Instant::now());
        loop {
            if let Ok(written) = timeout(LOOK, &mut writing).await {
                return written;
            }
            let written = self.lock().written;
            if written != before {
                (before, since) = (written, Instant::now());
            } else if since.elapsed() >= STALL {
                self.give_up();
                since = Instant::now();
            }
        }
    }

    /// Ends the requests of which not all is written. Those of which nothing is will not be.
    fn give_up(&self) {
        let given_up = self.lock().withdraw(|id| self.calls.waits(id));
        tracing::warn!(requests = given_up.len(), "the server takes nothing in");
        for (id, begun) in given_up {
            self.calls.give_up(id, Failure::Unwritten(Unwritten { begun, limit: STALL }));
        }
        self.moved.notify_waiters();
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

    /// The requests of which not all is written, and whether a part is. Where none is, the line is taken out of the queue.
    fn withdraw(&mut self, is_request: impl Fn(u64) -> bool) -> Vec<(u64, bool)> {
        let (mut found, mut kept, mut start) = (Vec::new(), Vec::new(), 0);
        for line in self.queue.split_inclusive(|byte| *byte == b'\n') {
            let (begun, end) = (start < self.at, start + line.len());
            start = end;
            let id = leading_id(line).and_then(|id| u64::try_from(id).ok()).filter(|id| is_request(*id));
            if let Some(id) = id.filter(|_| end > self.at) {
                found.push((id, begun));
                if !begun {
                    // Nobody who waits for what is behind it need wait for it.
                    self.written += line.len() as u64;
                    continue;
                }
            }
            kept.extend_from_slice(line);
        }
        self.queue = kept;
        found
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
    fn push(&self, line: &[u8], pace: Pace) -> io::Result<()> {
        self.enqueue(&mut self.lock(), line, pace)
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
        let outbox = Outbox::new(near, Arc::default());
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
        let outbox = Outbox::new(Pieces(pieces.clone()), Arc::default());
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
    async fn a_far_end_that_is_gone_closes_it() {
        let (far, near) = tokio::io::duplex(64);
        let outbox = Outbox::new(near, Arc::default());
        drop(far);
        assert!(outbox.push(b"line\n", Pace::Now).is_err());
        assert!(*outbox.closed().borrow());
        assert!(outbox.send(b"line\n").await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_stream_does_not_take_in_is_given_up_and_not_written_later() {
        let (mut far, near) = tokio::io::duplex(64);
        let calls: Arc<Calls> = Arc::default();
        let outbox = Outbox::new(near, calls.clone());
        let begun = Instant::now();
        let push = |size: usize| {
            let (id, _, answer) = calls.open(None).unwrap();
            let line = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\",\"x\":\"{}\"}}\n",
                "x".repeat(size)
            );
            outbox.push(line.as_bytes(), Pace::Now).unwrap();
            (line, answer)
        };
        let (whole, mut waiting) = push(0);
        let (half, part) = push(100);
        let (_, nothing) = push(10);
        outbox.push(b"{\"note\":1}\n", Pace::Together).unwrap();
        // It reads a little: that is no standstill.
        tokio::time::sleep(STALL / 2).await;
        far.read_exact(&mut vec![0; whole.len()]).await.unwrap();
        for (answer, is_begun) in [(part, true), (nothing, false)] {
            let Err(Failure::Unwritten(Unwritten { begun, limit })) = answer.await.unwrap() else { panic!() };
            assert_eq!((begun, limit), (is_begun, STALL));
        }
        let took = begun.elapsed();
        assert!(took >= STALL + STALL / 2 && took <= STALL * 2, "{took:?}");
        // What was begun is written to its end, what was written waits, and what was not is not there.
        let rest = format!("{half}{{\"note\":1}}\n");
        let mut got = vec![0; rest.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), rest);
        assert!(waiting.try_recv().is_err() && calls.only().is_some());
        outbox.close();
        assert_eq!(far.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
}
