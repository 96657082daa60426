//! The program at a real terminal, and whoever sits there.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use massgen_testkit::{PATIENCE, process};
use pty_process::blocking::{Command, Pty, open};

use crate::support::Place;

/// The program at a terminal, and whoever sits there.
pub(crate) struct Seat {
    pub(crate) pty: Arc<Pty>,
    screen: Arc<(Mutex<Screen>, Condvar)>,
    child: Child,
    /// How much of the screen has been read.
    pub(crate) read: usize,
}

#[derive(Default)]
struct Screen {
    text: String,
    is_over: bool,
}

impl Seat {
    pub(crate) fn take(place: &Place, args: &[&str]) -> Self {
        Self::take_at(place, args, "dumb")
    }

    /// The same, at a terminal of this kind.
    pub(crate) fn take_at(place: &Place, args: &[&str], kind: &str) -> Self {
        let (pty, pts) = open().unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_massgen"))
            .args(args)
            .current_dir(place.path())
            .env_clear()
            .envs(place.environment())
            .env("TERM", kind);
        let child = command.spawn(pts).unwrap();
        let (pty, screen) = (Arc::new(pty), Arc::<(Mutex<Screen>, Condvar)>::default());
        std::thread::spawn({
            let (pty, screen) = (pty.clone(), screen.clone());
            move || {
                let mut part = [0; 4096];
                // A terminal without a program fails to be read.
                while let Ok(read @ 1..) = (&*pty).read(&mut part) {
                    screen.0.lock().unwrap().text.push_str(&String::from_utf8_lossy(&part[..read]));
                    screen.1.notify_all();
                }
                screen.0.lock().unwrap().is_over = true;
                screen.1.notify_all();
            }
        });
        Self { pty, screen, child, read: 0 }
    }

    /// Waits for a text on the screen after what has been read; what stands before it.
    #[track_caller]
    pub(crate) fn see(&mut self, wanted: &str) -> String {
        let until = Instant::now() + PATIENCE;
        let mut screen = self.screen.0.lock().unwrap();
        loop {
            if let Some(at) = screen.text[self.read..].find(wanted) {
                let before = screen.text[self.read..self.read + at].to_owned();
                self.read += at + wanted.len();
                return before;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !screen.is_over && left > Duration::ZERO,
                "{wanted:?} is not on the screen:\n{}",
                screen.text
            );
            screen = self.screen.1.wait_timeout(screen, left).unwrap().0;
        }
    }

    pub(crate) fn type_line(&self, line: &str) {
        (&*self.pty).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// Presses Ctrl-C.
    pub(crate) fn interrupt(&self) {
        (&*self.pty).write_all(b"\x03").unwrap();
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, signal: process::Signal) {
        process::signal(self.child.id(), signal);
    }

    /// Answers a prompt.
    #[track_caller]
    pub(crate) fn answer(&mut self, prompt: &str, line: &str) {
        self.see(prompt);
        self.type_line(line);
    }

    /// Waits for the end; the exit code, and all that was on the screen.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let code = self.child.wait().unwrap().code();
        let mut screen = self.screen.0.lock().unwrap();
        while !screen.is_over {
            screen = self.screen.1.wait(screen).unwrap();
        }
        (code, screen.text.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // It has ended, then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
