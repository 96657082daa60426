//! The standard error of a child: always drained, and remembered for the error message. A program that floods it costs
//! next to nothing: of each second a sample is passed on, and the rest is counted.

use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::options::StderrSink;

/// Lines remembered.
const LINES: usize = 20;
/// Characters kept of a line.
const WIDTH: usize = 500;
/// Bytes kept of a line before it is decoded.
const BYTES: usize = 4 * WIDTH;
/// Lines that are passed on of a second.
const SAMPLE: u32 = 200;
const SECOND: Duration = Duration::from_secs(1);
/// The room for one read: as much as a pipe usually holds.
const ROOM: usize = 64 * 1024;
/// Between two reads of a flood, where the first one brought little: a read for each line costs more than the lines.
const PAUSE: Duration = Duration::from_millis(1);

/// The last lines, shared between the task that drains the pipe and whoever composes an error. They are decoded when
/// somebody asks for them.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    lines: Mutex<VecDeque<Vec<u8>>>,
    /// Values that must not be repeated: servers like to print their environment when they fail.
    secrets: Vec<String>,
}

impl Tail {
    pub(crate) fn new(secrets: Vec<String>) -> Self {
        Self { lines: Mutex::default(), secrets }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| self.decoded(line)).collect()
    }

    fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = if lines.len() == LINES { lines.pop_front().unwrap_or_default() } else { Vec::new() };
        room.clear();
        room.extend_from_slice(cut(line));
        lines.push_back(room);
    }

    fn decoded(&self, line: &[u8]) -> String {
        let mut line = String::from_utf8_lossy(cut(line)).trim_end().to_owned();
        for secret in &self.secrets {
            if line.contains(secret.as_str()) {
                line = line.replace(secret.as_str(), "***");
            }
        }
        printable(&line)
    }
}

fn cut(line: &[u8]) -> &[u8] {
    &line[..line.len().min(BYTES)]
}

/// What may still be passed on of this second.
struct Share {
    until: Instant,
    lines: u32,
    left_out: u64,
}

impl Share {
    fn begin() -> Self {
        Self { until: Instant::now() + SECOND, lines: 0, left_out: 0 }
    }

    fn is_used_up(&self) -> bool {
        self.lines >= SAMPLE
    }
}

/// What one drain needs to know.
pub(crate) struct Drain {
    pub(crate) server: ServerName,
    pub(crate) tail: Arc<Tail>,
    pub(crate) sink: Option<Arc<dyn StderrSink>>,
}

impl Drain {
    /// Reads to the end; `done` turns true there.
    pub(crate) async fn run(self, stderr: impl AsyncRead + Unpin, done: watch::Sender<bool>) {
        let mut read = BufReader::with_capacity(ROOM, stderr);
        let mut begun: Vec<u8> = Vec::new();
        let mut share = Share::begin();
        loop {
            let filled = if share.left_out > 0 {
                match timeout_at(share.until, read.fill_buf()).await {
                    Ok(filled) => filled,
                    Err(_) => {
                        self.renew(&mut share);
                        continue;
                    }
                }
            } else {
                read.fill_buf().await
            };
            let length = match filled {
                Ok(available) if !available.is_empty() => {
                    if share.until <= Instant::now() {
                        self.renew(&mut share);
                    }
                    self.take(available, &mut begun, &mut share);
                    available.len()
                }
                _ => break,
            };
            read.consume(length);
            if share.is_used_up() && length < ROOM {
                sleep(PAUSE).await;
            }
        }
        if !begun.is_empty() {
            self.keep(&begun);
        }
        self.renew(&mut share);
        done.send_replace(true);
    }

    /// Takes the lines that end in these bytes; what is left of them begins the next one.
    fn take(&self, mut bytes: &[u8], begun: &mut Vec<u8>, share: &mut Share) {
        // Of those that are left out, only the last ones are looked at again.
        let mut last: [&[u8]; LINES] = [&[]; LINES];
        let mut left_out = 0_usize;
        while !bytes.is_empty() {
            let mut further = bytes;
            // Reading from memory does not fail.
            let taken = further.skip_until(b'\n').unwrap_or(bytes.len());
            let (line, rest) = (&bytes[..taken], &bytes[taken..]);
            bytes = rest;
            let end = line.strip_suffix(b"\n");
            if end.is_none() || !begun.is_empty() {
                let piece = end.unwrap_or(line);
                let room = BYTES.saturating_sub(begun.len()).min(piece.len());
                begun.extend_from_slice(&piece[..room]);
            }
            let Some(line) = end else { break };
            if share.is_used_up() {
                if begun.is_empty() {
                    last[left_out % LINES] = line;
                    left_out += 1;
                } else {
                    // Only the first one can have begun before.
                    self.tail.push(begun);
                    share.left_out += 1;
                }
            } else {
                share.lines += 1;
                self.keep(if begun.is_empty() { line } else { begun });
            }
            begun.clear();
        }
        share.left_out += left_out as u64;
        for at in left_out.saturating_sub(LINES)..left_out {
            self.tail.push(last[at % LINES]);
        }
    }

    fn keep(&self, line: &[u8]) {
        self.pass_on(&self.tail.decoded(line));
        self.tail.push(line);
    }

    fn pass_on(&self, line: &str) {
        tracing::debug!(server = %self.server, line, "stderr");
        if let Some(sink) = &self.sink {
            sink.line(&self.server, line);
        }
    }

    /// Begins another second, and says what was left out of the one before.
    fn renew(&self, share: &mut Share) {
        let before = std::mem::replace(share, Share::begin());
        if before.left_out > 0 {
            self.pass_on(&format!("[{} lines left out: more than {SAMPLE} in a second]", before.left_out));
        }
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
        let tail = Arc::new(Tail::new(secrets.iter().map(|s| (*s).to_owned()).collect()));
        let drain = Drain { server: ServerName::new("s").unwrap(), tail: tail.clone(), sink: None };
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

    #[derive(Default)]
    struct Passed(Mutex<Vec<String>>);

    impl StderrSink for Passed {
        fn line(&self, _: &ServerName, line: &str) {
            self.0.lock().unwrap().push(line.to_owned());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_flood_a_sample_is_passed_on_and_the_rest_is_counted() {
        use tokio::io::AsyncWriteExt;
        let (tail, passed) = (Arc::new(Tail::default()), Arc::new(Passed::default()));
        let server = ServerName::new("s").unwrap();
        let drain = Drain { server, tail: tail.clone(), sink: Some(passed.clone()) };
        let (mut write, read) = tokio::io::duplex(1 << 20);
        let (done, seen) = watch::channel(false);
        let draining = tokio::spawn(drain.run(read, done));
        let lines = |numbers: std::ops::Range<u32>| -> String {
            numbers.map(|number| format!("line {number}\n")).collect()
        };
        let count = || passed.0.lock().unwrap().len();
        write.write_all(lines(0..10_000).as_bytes()).await.unwrap();
        // What is left out is told when the second is over, although nothing comes any more.
        sleep(SECOND * 2).await;
        assert_eq!(count(), 201);
        assert_eq!(
            passed.0.lock().unwrap()[199..],
            ["line 199", "[9800 lines left out: more than 200 in a second]"]
        );
        assert_eq!(tail.lines()[..2], ["line 9980", "line 9981"]);
        assert_eq!(tail.lines().last().unwrap(), "line 9999");
        write.write_all(lines(0..205).as_bytes()).await.unwrap();
        drop(write);
        draining.await.unwrap();
        assert!(*seen.borrow());
        assert_eq!(count(), 402);
        assert_eq!(passed.0.lock().unwrap()[401], "[5 lines left out: more than 200 in a second]");
        assert_eq!(tail.lines().last().unwrap(), "line 204");
    }

    #[tokio::test(start_paused = true)]
    async fn lines_that_are_cut_by_reads_are_whole_in_a_flood_too() {
        let input: String = (0..20_000).map(|n| format!("{n:>30}\n")).collect();
        let lines = drained(input.as_bytes(), &[]).await;
        let expected: Vec<String> = (19_980..20_000).map(|n| format!("{n:>30}")).collect();
        assert_eq!(lines, expected);
    }
}
