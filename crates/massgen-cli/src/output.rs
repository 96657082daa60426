//! The only file that prints.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::failure::Failure;

/// A line on standard output. A reader that went away is no error.
pub(crate) fn line(text: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{}", text.as_ref());
    let _ = out.flush();
}

/// A document on standard output.
pub(crate) fn json(document: &impl Serialize) {
    let mut out = std::io::stdout().lock();
    let written = serde_json::to_writer_pretty(&mut out, document);
    if written.is_ok() {
        let _ = writeln!(out);
    }
}

/// A line on standard error.
pub(crate) fn note(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
}

/// Why the command ends, unless that was told before.
pub(crate) fn failure(failure: &Failure) {
    if !failure.message.is_empty() {
        note(crate::style::safe(&failure.to_string()));
    }
}

/// Whether standard output is a terminal.
pub(crate) fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether a person can be asked: standard input and output are a terminal.
pub(crate) fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}
