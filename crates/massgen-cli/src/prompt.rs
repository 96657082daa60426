//! Questions to the person at the terminal, read on a thread of their own: a blocked read must not hold the runtime.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use tokio::sync::{mpsc, oneshot};

/// What the person did at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Typed a line.
    Text(String),
    /// Pressed Ctrl-C or Ctrl-D, or the input ended.
    End,
}

/// Reads lines, with history where standard input is a terminal.
pub(crate) struct Prompt {
    requests: mpsc::Sender<(String, oneshot::Sender<Line>)>,
    _terminal: terminal::Before,
}

impl Prompt {
    /// Starts the reading thread. `history`: where lines are remembered; `None`: only while it runs.
    pub(crate) fn new(is_terminal: bool, history: Option<PathBuf>) -> Self {
        let before = terminal::Before::of(is_terminal);
        let (requests, mut inbox) = mpsc::channel::<(String, oneshot::Sender<Line>)>(1);
        std::thread::spawn(move || {
            let mut source = Source::new(is_terminal, history);
            while let Some((prompt, reply)) = inbox.blocking_recv() {
                let line = source.read(&prompt);
                let is_end = line == Line::End;
                if reply.send(line).is_err() || is_end {
                    break;
                }
            }
        });
        Self { requests, _terminal: before }
    }

    /// The next line.
    pub(crate) async fn line(&self, prompt: &str) -> Line {
        let (reply, answer) = oneshot::channel();
        if self.requests.send((prompt.to_owned(), reply)).await.is_err() {
            return Line::End;
        }
        answer.await.unwrap_or(Line::End)
    }
}

#[cfg(unix)]
mod terminal {
    use rustix::stdio::stdin;
    use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was. It is so again when this is dropped: a line that is still being read would leave it as an
    /// editor needs it.
    pub(super) struct Before(Option<Termios>);

    impl Before {
        pub(super) fn of(is_terminal: bool) -> Self {
            Self(is_terminal.then(|| tcgetattr(stdin()).ok()).flatten())
        }
    }

    impl Drop for Before {
        fn drop(&mut self) {
            if let Some(before) = &self.0 {
                // A terminal that went away needs nothing.
                let _ = tcsetattr(stdin(), OptionalActions::Now, before);
            }
        }
    }
}

#[cfg(not(unix))]
mod terminal {
    pub(super) struct Before;

    impl Before {
        pub(super) fn of(_: bool) -> Self {
            Self
        }
    }
}

enum Source {
    Editor { editor: Box<rustyline::DefaultEditor>, history: Option<PathBuf> },
    Pipe,
}

impl Source {
    fn new(is_terminal: bool, history: Option<PathBuf>) -> Self {
        if !is_terminal {
            return Self::Pipe;
        }
        let Ok(mut editor) = rustyline::DefaultEditor::new() else { return Self::Pipe };
        if let Some(path) = &history {
            // No history yet is no error.
            let _ = editor.load_history(path);
        }
        Self::Editor { editor: Box::new(editor), history }
    }

    fn read(&mut self, prompt: &str) -> Line {
        match self {
            Self::Editor { editor, history } => match editor.readline(prompt) {
                Ok(line) => {
                    let _ = editor.add_history_entry(&line);
                    if let Some(path) = history {
                        let _ = editor.append_history(path);
                    }
                    Line::Text(line)
                }
                Err(ReadlineError::Interrupted | ReadlineError::Eof) => Line::End,
                Err(error) => {
                    tracing::debug!(%error, "the prompt failed");
                    Line::End
                }
            },
            Self::Pipe => {
                let mut line = String::new();
                let _ = io::stdout().flush();
                match io::stdin().lock().read_line(&mut line) {
                    Ok(0) | Err(_) => Line::End,
                    Ok(_) => Line::Text(line),
                }
            }
        }
    }
}
