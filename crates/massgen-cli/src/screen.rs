//! Shows events on a thread of its own: while nothing can be shown, because a question stands open or the terminal takes
//! nothing, the record of the run goes on.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use massgen::orchestrator::{Event, EventKind};
use tokio_util::sync::CancellationToken;

use crate::display::Display;

/// The most that waits to be shown, bytes of text. On top of it, what agents say and do on the way is left out and
/// counted; what the run comes to is always shown.
const MOST_WAITING: usize = 16 << 20;

/// What an event takes besides its texts, bytes.
const EACH: usize = size_of::<Event>();

/// A display at work.
pub(crate) struct Screen {
    messages: mpsc::Sender<Message>,
    waiting: Arc<AtomicUsize>,
    left_out: u64,
    thread: JoinHandle<io::Result<()>>,
}

enum Message {
    /// An event, and how many bytes it takes.
    Event(Event, usize),
    /// So many events are not shown.
    LeftOut(u64),
}

impl Screen {
    /// Starts to show. `reader_gone` fires when nobody reads any more what is shown.
    pub(crate) fn start(display: Box<dyn Display>, reader_gone: CancellationToken) -> io::Result<Self> {
        let (messages, inbox) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = waiting.clone();
        let thread = std::thread::Builder::new().name("screen".into()).spawn(move || {
            let shown = show(&inbox, display, &taken);
            if shown.as_ref().is_err_and(is_gone) {
                reader_gone.cancel();
            }
            shown
        })?;
        Ok(Self { messages, waiting, left_out: 0, thread })
    }

    /// Hands over an event with so many bytes of text, and does not wait until it is shown.
    pub(crate) fn show(&mut self, event: Event, text: usize) {
        let size = EACH + text;
        let is_full = self.waiting.load(Ordering::Relaxed).saturating_add(size) > MOST_WAITING;
        if is_full && is_on_the_way(&event.kind) {
            self.left_out += 1;
            return;
        }
        self.tell_left_out();
        self.waiting.fetch_add(size, Ordering::Relaxed);
        // A screen that failed says so in the end.
        let _ = self.messages.send(Message::Event(event, size));
    }

    fn tell_left_out(&mut self) {
        if self.left_out > 0 {
            let _ = self.messages.send(Message::LeftOut(std::mem::take(&mut self.left_out)));
        }
    }

    /// Waits until everything is shown. It is no error that the reader went away.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.tell_left_out();
        drop(self.messages);
        match self.thread.join() {
            Ok(Err(error)) if is_gone(&error) => Ok(()),
            Ok(shown) => shown,
            Err(_) => Err(io::Error::other("the display ended early")),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What agents say and do, much as that may be, and not what comes of it.
fn is_on_the_way(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Text { .. }
            | EventKind::Reasoning { .. }
            | EventKind::Builtin { .. }
            | EventKind::ToolStarted { .. }
            | EventKind::ToolFinished { .. }
    )
}

fn show(
    inbox: &mpsc::Receiver<Message>,
    mut display: Box<dyn Display>,
    waiting: &AtomicUsize,
) -> io::Result<()> {
    while let Ok(first) = inbox.recv() {
        // Everything that waits is taken in one go: one write to the terminal, however fast the models are.
        for message in std::iter::once(first).chain(inbox.try_iter()) {
            match message {
                Message::Event(event, size) => {
                    display.show(&event)?;
                    waiting.fetch_sub(size, Ordering::Relaxed);
                }
                Message::LeftOut(count) => display.left_out(count)?,
            }
        }
        display.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use massgen::core::AgentId;
    use massgen::orchestrator::{RunOutcome, VERSION};

    use super::*;
    use crate::console::{Pause, Paused};

    /// How many events it showed, how many were left out, and the type of the last one.
    type Seen = Arc<Mutex<(u64, u64, bool)>>;

    struct Counts(Seen);

    impl Display for Counts {
        fn show(&mut self, event: &Event) -> io::Result<()> {
            let mut seen = self.0.lock().unwrap();
            seen.0 += 1;
            seen.2 = matches!(event.kind, EventKind::RunFinished { .. });
            Ok(())
        }

        fn left_out(&mut self, count: u64) -> io::Result<()> {
            self.0.lock().unwrap().1 += count;
            Ok(())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_waits_to_be_shown_is_bounded_and_the_end_is_shown_all_the_same() {
        let (pause, seen) = (Pause::default(), Seen::default());
        let held = pause.hold();
        let display = Paused { inner: Box::new(Counts(seen.clone())), pause };
        let mut screen = Screen::start(Box::new(display), CancellationToken::new()).unwrap();
        let mut show = |kind, text| {
            screen.show(Event { v: VERSION, seq: 1, at: jiff::Timestamp::UNIX_EPOCH, kind }, text);
        };
        let agent = AgentId::new("a").unwrap();
        for _ in 0..100 {
            let text = EventKind::Text { agent: agent.clone(), delta: "word".to_owned() };
            show(text, MOST_WAITING / 16);
        }
        show(
            EventKind::RunFinished {
                outcome: RunOutcome::Answered,
                duration_ms: 1,
                usage: Default::default(),
                agents: vec![],
            },
            MOST_WAITING,
        );
        drop(held);
        screen.finish().unwrap();
        assert_eq!(*seen.lock().unwrap(), (16, 85, true));
    }
}
