//! The person at the terminal: one question at a time, the display held meanwhile. A question that is taken back leaves
//! nothing behind that would swallow the next thing typed.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use massgen::orchestrator::Event;
use tokio::sync::{MutexGuard, oneshot};

use crate::display::Display;

/// Whether a person can be asked: questions go to standard error, answers come from standard input.
pub(crate) fn is_attended() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Holds the display while a question is open, so that the question is not scrolled away.
#[derive(Clone, Default)]
pub(crate) struct Pause(Arc<(Mutex<bool>, Condvar)>);

impl Pause {
    /// Holds the display until what is returned is dropped.
    pub(crate) fn hold(&self) -> Held {
        self.set(true);
        Held(self.clone())
    }

    fn set(&self, paused: bool) {
        let (state, changed) = &*self.0;
        *state.lock().unwrap_or_else(PoisonError::into_inner) = paused;
        changed.notify_all();
    }

    fn wait(&self) {
        let (state, changed) = &*self.0;
        let mut paused = state.lock().unwrap_or_else(PoisonError::into_inner);
        while *paused {
            paused = changed.wait(paused).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The display is held as long as this lives.
pub(crate) struct Held(Pause);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// A display that waits while a question is open.
pub(crate) struct Paused {
    pub(crate) inner: Box<dyn Display>,
    pub(crate) pause: Pause,
}

impl Display for Paused {
    fn show(&mut self, event: &Event) -> std::io::Result<()> {
        self.pause.wait();
        self.inner.show(event)
    }

    fn left_out(&mut self, count: u64) -> std::io::Result<()> {
        self.pause.wait();
        self.inner.left_out(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.pause.wait();
        self.inner.flush()
    }
}

/// The terminal, for whoever has something to ask.
#[derive(Default)]
pub(crate) struct Console {
    pause: Pause,
    turn: tokio::sync::Mutex<()>,
}

impl Console {
    pub(crate) fn new(pause: Pause) -> Arc<Self> {
        Arc::new(Self { pause, turn: tokio::sync::Mutex::default() })
    }

    /// Waits for its turn, and holds the display until the answer is dropped.
    pub(crate) async fn talk(&self) -> Talk<'_> {
        let turn = self.turn.lock().await;
        let held = self.pause.hold();
        // What was typed before the question was seen is no answer to it.
        input::forget();
        Talk { _held: held, _turn: turn }
    }
}

/// A conversation with the person. It ends when it is dropped.
pub(crate) struct Talk<'a> {
    /// Given back before the turn: whoever has it next holds the display anew.
    _held: Held,
    _turn: MutexGuard<'a, ()>,
}

impl Talk<'_> {
    /// Shows text as it is: whatever of it was written by somebody else has been made safe.
    pub(crate) fn say(&self, text: &str) {
        let mut terminal = std::io::stderr().lock();
        // A terminal that went away answers nothing either.
        let _ = writeln!(terminal, "{text}");
    }

    /// The next line, without its end; `None`: the input has ended.
    pub(crate) async fn line(&mut self, prompt: &str) -> Option<String> {
        {
            let mut terminal = std::io::stderr().lock();
            write!(terminal, "{prompt}").and_then(|()| terminal.flush()).ok()?;
        }
        let (reply, answer) = oneshot::channel();
        // Dropped with this future: the reading ends.
        let _reading = input::read(reply)?;
        answer.await.ok().flatten()
    }
}

#[cfg(unix)]
mod input {
    //! Lines of standard input, read past any buffer and only while somebody waits for one.

    use std::os::unix::net::UnixStream;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::Errno;
    use rustix::stdio::stdin;
    use rustix::termios::{QueueSelector, tcflush};
    use tokio::sync::oneshot;

    /// The longest line that a terminal hands over at once.
    const LONGEST: usize = 4096;

    /// Throws away what was typed and not read.
    pub(super) fn forget() {
        // It is no terminal, then: nothing was typed.
        let _ = tcflush(stdin(), QueueSelector::IFlush);
    }

    /// Reads a line on a thread of its own, until the answer of this function is dropped.
    pub(super) fn read(reply: oneshot::Sender<Option<String>>) -> Option<UnixStream> {
        let (ours, theirs) = UnixStream::pair().ok()?;
        std::thread::spawn(move || {
            // Nobody waits any longer where this fails.
            let _ = reply.send(line(&theirs));
        });
        Some(ours)
    }

    fn line(given_up: &UnixStream) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let input = stdin();
            let mut ends = [PollFd::new(&input, PollFlags::IN), PollFd::new(given_up, PollFlags::IN)];
            match poll(&mut ends, None) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(_) => return None,
            }
            if !ends[1].revents().is_empty() {
                return None;
            }
            let mut part = [0; LONGEST];
            match rustix::io::read(input, &mut part) {
                Ok(0) if line.is_empty() => return None,
                Ok(0) => break,
                Ok(read) => line.extend_from_slice(&part[..read]),
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => return None,
            }
            if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                line.truncate(end);
                break;
            }
            if line.len() > LONGEST {
                return None;
            }
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

#[cfg(not(unix))]
mod input {
    //! Lines of standard input. A line that nobody waits for any longer is read all the same.

    use std::io::BufRead;

    use tokio::sync::oneshot;

    pub(super) fn forget() {}

    pub(super) fn read(reply: oneshot::Sender<Option<String>>) -> Option<()> {
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            let line = line.trim_end_matches(['\r', '\n']).to_owned();
            // Nobody waits any longer where this fails.
            let _ = reply.send(read.is_ok_and(|read| read > 0).then_some(line));
        });
        Some(())
    }
}

/// Text of somebody else's for a prompt: one line, in which nothing moves the cursor or hides.
pub(crate) fn quoted(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '"' | '\'' | '\\' => vec![c],
            c => c.escape_debug().collect(),
        })
        .collect()
}

/// As [`quoted`], with its lines kept, each behind a mark: it cannot pass for something of ours.
pub(crate) fn block(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("  | {}", quoted(line))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_quoted_moves_the_cursor_or_hides() {
        let shown = quoted(&serde_json::json!("a\u{1b}[2J\u{202e}b\u{200b}\u{e0041}").to_string());
        assert!(shown.is_ascii() && !shown.contains('\u{1b}'), "{shown}");
        assert_eq!(block("one\nallow? [y]\r"), "  | one\n  | allow? [y]\\r");
    }

    #[test]
    fn a_display_goes_on_when_the_question_is_over() {
        let pause = Pause::default();
        let held = pause.hold();
        let waiting = std::thread::spawn({
            let pause = pause.clone();
            move || pause.wait()
        });
        drop(held);
        waiting.join().unwrap();
    }
}
