//! The standard error of a child: always drained, and remembered for the error message. A program that floods it costs
//! next to nothing: of each second a sample is passed on, and the rest is counted.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mcp_core::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt};
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

/// Adds to a line that has begun what is kept of it.
fn append(begun: &mut Vec<u8>, piece: &[u8]) {
    let room = BYTES.saturating_sub(begun.len()).min(piece.len());
    begun.extend_from_slice(&piece[..room]);
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
    pub(crate) async fn run(self, mut stderr: impl AsyncRead + Unpin, done: watch::Sender<bool>) {
        // Not a `BufReader`, which fills it with zeros: of fifty quiet servers that would be 3 MB.
        let mut read = Vec::with_capacity(ROOM);
        let mut begun: Vec<u8> = Vec::new();
        let mut share = Share::begin();
        loop {
            read.clear();
            let length = if share.left_out > 0 {
                match timeout_at(share.until, stderr.read_buf(&mut read)).await {
                    Ok(length) => length,
                    Err(_) => {
                        self.renew(&mut share);
                        continue;
                    }
                }
            } else {
                stderr.read_buf(&mut read).await
            };
            let Ok(length @ 1..) = length else { break };
            if share.until <= Instant::now() {
                self.renew(&mut share);
            }
            self.take(&read, &mut begun, &mut share);
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
        while !bytes.is_empty() && (!begun.is_empty() || !share.is_used_up()) {
            let end = memchr::memchr(b'\n', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if end.is_none() || !begun.is_empty() {
                append(begun, line);
            }
            let Some((_, rest)) = rest.split_first() else { return };
            bytes = rest;
            let line = if begun.is_empty() { line } else { begun.as_slice() };
            if share.is_used_up() {
                self.tail.push(line);
                share.left_out += 1;
            } else {
                share.lines += 1;
                self.keep(line);
            }
            begun.clear();
        }
        // The rest is left out: it is counted at one go, and only its last lines are looked at.
        let Some(end) = memchr::memrchr(b'\n', bytes) else { return append(begun, bytes) };
        let (lines, next) = (&bytes[..end], &bytes[end + 1..]);
        append(begun, next);
        share.left_out += memchr::memchr_iter(b'\n', lines).count() as u64 + 1;
        let from = memchr::memrchr_iter(b'\n', lines).nth(LINES - 1).map_or(0, |end| end + 1);
        lines[from..].split(|byte| *byte == b'\n').for_each(|line| self.tail.push(line));
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
