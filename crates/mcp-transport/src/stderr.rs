//! The standard error of a child: always drained, and remembered for the error message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use mcp_core::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::options::StderrSink;

/// Lines remembered.
const LINES: usize = 20;
/// Characters kept of a line.
const WIDTH: usize = 500;
/// Bytes kept of a line before it is decoded.
const BYTES: usize = 4 * WIDTH;

/// The last lines, shared between the task that drains the pipe and whoever composes an error.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: Mutex<VecDeque<String>>,
}

impl Tail {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

/// What one drain needs to know.
pub(crate) struct Drain {
    pub(crate) server: ServerName,
    pub(crate) tail: Arc<Tail>,
    pub(crate) sink: Option<Arc<dyn StderrSink>>,
    /// Values that must not be repeated: servers like to print their environment when they fail.
    pub(crate) secrets: Vec<String>,
}

impl Drain {
    /// Reads to the end; `done` turns true there.
    pub(crate) async fn run(self, stderr: impl AsyncRead + Unpin, done: watch::Sender<bool>) {
        let mut read = BufReader::new(stderr);
        let mut line: Vec<u8> = Vec::new();
        loop {
            let available = match read.fill_buf().await {
                Ok(available) if !available.is_empty() => available,
                _ => break,
            };
            let end = available.iter().position(|byte| *byte == b'\n');
            let bytes = &available[..end.unwrap_or(available.len())];
            let room = BYTES.saturating_sub(line.len()).min(bytes.len());
            line.extend_from_slice(&bytes[..room]);
            let taken = end.map_or(bytes.len(), |at| at + 1);
            read.consume(taken);
            if end.is_some() {
                self.keep(&line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.keep(&line);
        }
        done.send_replace(true);
    }

    fn keep(&self, line: &[u8]) {
        let mut line = String::from_utf8_lossy(line).trim_end().to_owned();
        for secret in &self.secrets {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), "***");
            }
        }
        let line = printable(&line);
        tracing::debug!(server = %self.server, line, "stderr");
        if let Some(sink) = &self.sink {
            sink.line(&self.server, &line);
        }
        self.tail.push(line);
    }
}

/// The line cut to [`WIDTH`] characters, with control characters escaped: it may end on somebody's terminal.
fn printable(line: &str) -> String {
    let mut printed = String::with_capacity(line.len().min(BYTES));
    for (at, c) in line.chars().enumerate() {
        if at == WIDTH {
            printed.push('…');
            break;
        }
        match c {
            '\t' => printed.push('\t'),
            c if c.is_control() => printed.extend(c.escape_default()),
            c => printed.push(c),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn drained(input: &[u8], secrets: &[&str]) -> Vec<String> {
        let tail = Arc::new(Tail::default());
        let drain = Drain {
            server: ServerName::new("s").unwrap(),
            tail: tail.clone(),
            sink: None,
            secrets: secrets.iter().map(|s| (*s).to_owned()).collect(),
        };
        let (done, seen) = watch::channel(false);
        drain.run(input, done).await;
        assert!(*seen.borrow());
        tail.lines()
    }

    #[tokio::test]
    async fn the_last_lines_are_kept() {
        let input: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let lines = drained(input.as_bytes(), &[]).await;
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines.last().unwrap(), "line 99");
    }

    #[tokio::test]
    async fn hostile_lines_are_made_harmless() {
        let lines = drained(b"\x1b[31mred\x1b[0m\r\n\xff\xfe no newline at the end", &[]).await;
        assert_eq!(lines[0], r"\u{1b}[31mred\u{1b}[0m");
        assert!(lines[1].ends_with("no newline at the end"));
        let long = drained(&vec![b'x'; 1_000_000], &[]).await;
        assert_eq!(long[0].chars().count(), WIDTH + 1);
    }

    #[tokio::test]
    async fn secrets_are_not_repeated() {
        let lines = drained(b"401: token sk-abcdefgh is wrong\n", &["sk-abcdefgh"]).await;
        assert_eq!(lines, ["401: token *** is wrong"]);
    }
}
