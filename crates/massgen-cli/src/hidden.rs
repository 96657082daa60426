//! Lines typed without an echo. The terminal stops showing before it asks: who types fast is not shown either.

#[cfg(not(unix))]
pub(crate) use rpassword::prompt_password as line;
#[cfg(unix)]
pub(crate) use terminal::{line, show_again};

#[cfg(not(unix))]
pub(crate) fn show_again() {}

#[cfg(unix)]
mod terminal {
    use std::fs::{File, OpenOptions};
    use std::io::{self, BufRead, BufReader, ErrorKind, Write};
    use std::sync::{Mutex, PoisonError};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    /// How the terminal was before it was told to show nothing. Of the whole program, as the terminal is.
    static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

    fn terminal() -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open("/dev/tty")
    }

    /// Asks for a line that is not shown; it comes without its end. Blocks.
    pub(crate) fn line(prompt: impl AsRef<str>) -> io::Result<String> {
        let terminal = terminal()?;
        let _hidden = Hidden::begin(&terminal)?;
        (&terminal).write_all(prompt.as_ref().as_bytes())?;
        let mut line = String::new();
        if BufReader::new(&terminal).read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end_matches(['\r', '\n']).len());
        Ok(line)
    }

    /// Lets the terminal show again what is typed, wherever the asking was left.
    pub(crate) fn show_again() {
        let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(before), Ok(terminal)) = (before, terminal()) {
            // A terminal that went away shows nothing anyway.
            let _ = tcsetattr(terminal, OptionalActions::Now, &before);
        }
    }

    /// Nothing that is typed is shown until it is dropped.
    struct Hidden;

    impl Hidden {
        fn begin(terminal: &File) -> io::Result<Self> {
            let before = tcgetattr(terminal)?;
            let mut modes = before.clone();
            modes.local_modes.remove(LocalModes::ECHO);
            modes.local_modes.insert(LocalModes::ECHONL);
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            let hidden = Self;
            // What was typed before the question was seen is no answer to it.
            tcsetattr(terminal, OptionalActions::Flush, &modes)?;
            Ok(hidden)
        }
    }

    impl Drop for Hidden {
        fn drop(&mut self) {
            show_again();
        }
    }
}
