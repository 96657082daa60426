//! `./.env`, as v0.0.13 reads it, with two liberties: space around `=` and a leading `export` do no harm.

use std::io::{self, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use massgen::config::{Disk, FileReader};

use crate::output;

/// Reads the variables of a `.env` file's text. Lines that are blank, comments or lack `=` say nothing.
pub(crate) fn parse(text: &str) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let name = name.trim();
            let name = name.strip_prefix("export ").unwrap_or(name).trim();
            let value = value.trim().trim_matches('"').trim_matches('\'');
            (name.to_owned(), value.to_owned())
        })
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

/// The variables of the file; none where it does not exist. An unreadable file is said and passed over.
pub(crate) fn read(path: &Path) -> Vec<(String, String)> {
    match text(path, PATIENCE) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            let path = path.display();
            output::note(format!("warning: {path} is passed over: it cannot be read: {error}"));
            Vec::new()
        }
    }
}

/// How long a pipe in the place of the file may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Password stores put a pipe there, into which they write when somebody reads; nobody may be at its other end.
fn text(path: &Path, patience: Duration) -> io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() || metadata.is_dir() {
        return Disk.read(path);
    }
    let (sender, text) = mpsc::channel();
    let path = path.to_owned();
    std::thread::Builder::new().name("dotenv".into()).spawn(move || {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
        // Nobody waits any longer where this fails.
        let _ = sender.send(read.map(|_| text));
    })?;
    let late = format!("nothing came from it within {} s", patience.as_secs());
    text.recv_timeout(patience).unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, late)))
}

/// More bytes than this are no list of variables.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_variable_and_what_is_not() {
        let text = "\u{feff}# comment\n\nA=1\nB = \"two words\"\nexport C='3'\nD=a=b\nno equals\n=x\nE=\r\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "3"), ("D", "a=b"), ("E", "")];
        let found = parse(text);
        assert_eq!(found.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }

    #[cfg(unix)]
    #[test]
    #[expect(clippy::disallowed_methods, reason = "no server: a program of the system that makes a pipe")]
    fn a_pipe_that_nobody_writes_to_is_not_waited_for_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join(".env");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(text(&pipe, Duration::ZERO).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
