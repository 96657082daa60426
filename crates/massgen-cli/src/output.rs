//! The only file that prints.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde::Serialize;

use crate::failure::Failure;

/// Why something is missing on standard output.
static MISSING: OnceLock<io::Error> = OnceLock::new();

/// Keeps in mind what became of something written to standard output. A reader that went away is no error.
pub(crate) fn remember(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first one is the cause.
        let _ = MISSING.set(error);
    }
}

/// Whether everything that was meant for standard output is there.
pub(crate) fn complete() -> Result<(), Failure> {
    let Some(error) = MISSING.get() else { return Ok(()) };
    Err(Failure::config(format!("standard output could not be written: {error}")).with_hint(
        "make room where it leads to, or let it lead elsewhere; what a run found is in its log folder, too",
    ))
}

/// A line on standard output.
pub(crate) fn line(text: impl AsRef<str>) {
    self::text(&[text.as_ref(), "\n"].concat());
}

/// Text on standard output, as it is.
pub(crate) fn text(text: &str) {
    let mut out = io::stdout().lock();
    remember(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// A document on standard output.
pub(crate) fn json(document: &impl Serialize) {
    let mut out = io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut out, document).map_err(io::Error::from);
    remember(written.and_then(|()| writeln!(out)));
}

/// A line on standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
}

/// Why the command ends, unless that was told before.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        note(crate::style::safe(&failure.to_string()));
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Whether a person can be asked: standard input and output are a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}
