//! Server-sent events from bytes (HTML standard, "Server-sent events"), bounded.

use std::fmt;

/// One event that carries data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// Its `event` field; `message` where there is none.
    pub(super) kind: String,
    /// Its data, lines joined by `\n`.
    pub(super) data: String,
}

/// An event of more bytes than are accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge(usize);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of more than {} bytes", self.0)
    }
}

/// Puts events together, wherever the stream was cut.
#[derive(Debug)]
pub(super) struct Events {
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    at: usize,
    /// How much of it, from there on, is known to hold no end of line.
    scanned: usize,
    begun: bool,
    kind: String,
    data: Option<Vec<u8>>,
    limit: usize,
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), at: 0, scanned: 0, begun: false, kind: String::new(), data: None, limit }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.at);
        self.at = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole event.
    pub(super) fn take(&mut self) -> Result<Option<Event>, TooLarge> {
        loop {
            let rest = &self.buffer[self.at..];
            let Some(end) = rest[self.scanned..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.scanned = rest.len();
                let kept = self.data.as_ref().map_or(0, Vec::len);
                return if rest.len() + kept > self.limit { Err(TooLarge(self.limit)) } else { Ok(None) };
            };
            let end = self.scanned + end;
            let after = match (rest[end], rest.get(end + 1)) {
                (b'\r', Some(b'\n')) => end + 2,
                // The line may go on with `\n`, which is not here yet.
                (b'\r', None) => {
                    self.scanned = end;
                    return Ok(None);
                }
                _ => end + 1,
            };
            let line = &rest[..end];
            let line = if self.begun { line } else { line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line) };
            self.begun = true;
            let mut event = None;
            if line.is_empty() {
                let kind = std::mem::take(&mut self.kind);
                if let Some(data) = self.data.take() {
                    let kind = if kind.is_empty() { "message".to_owned() } else { kind };
                    event = Some(Event { kind, data: String::from_utf8_lossy(&data).into_owned() });
                }
            } else {
                let (field, value) = match line.iter().position(|byte| *byte == b':') {
                    Some(colon) => (&line[..colon], &line[colon + 1..]),
                    None => (line, &b""[..]),
                };
                let value = value.strip_prefix(b" ").unwrap_or(value);
                match field {
                    b"event" => {
                        self.kind = String::from_utf8_lossy(&value[..value.len().min(64)]).into_owned()
                    }
                    b"data" => {
                        match &mut self.data {
                            Some(data) => {
                                data.push(b'\n');
                                data.extend_from_slice(value);
                            }
                            None => self.data = Some(value.to_vec()),
                        }
                        if self.data.as_ref().is_some_and(|data| data.len() > self.limit) {
                            return Err(TooLarge(self.limit));
                        }
                    }
                    // A comment, an id, a wait before the next try: a session is not resumed here.
                    _ => {}
                }
            }
            self.at += after;
            self.scanned = 0;
            if event.is_some() {
                return Ok(event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], chunk: usize, limit: usize) -> Result<Vec<(String, String)>, TooLarge> {
        let mut events = Events::new(limit);
        let mut found = Vec::new();
        for bytes in input.chunks(chunk) {
            events.push(bytes);
            while let Some(Event { kind, data }) = events.take()? {
                found.push((kind, data));
            }
        }
        Ok(found)
    }

    #[test]
    fn every_line_ending_and_every_cut_gives_the_same_events() {
        let input = "\u{feff}event: endpoint\ndata: /m\n\n: comment\r\ndata:{\"a\":\r\ndata: 1}\r\nid: 7\r\n\r\n\
                     event: x\r\rdata\n\nretry: 5\n\nevent:ä\ndata: ü\n\ndata: not ended";
        let expected = [("endpoint", "/m"), ("message", "{\"a\":\n1}"), ("message", ""), ("ä", "ü")];
        let expected: Vec<_> = expected.map(|(kind, data)| (kind.to_owned(), data.to_owned())).into();
        for chunk in 1..input.len() {
            assert_eq!(all(input.as_bytes(), chunk, 100).unwrap(), expected, "in pieces of {chunk}");
        }
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        assert!(all("x".repeat(200).as_bytes(), 7, 100).is_err());
        assert!(all("data: xxxxxxxxx\n".repeat(20).as_bytes(), 7, 100).is_err());
        assert!(all("data: xxxxxxxxx\n\n".repeat(20).as_bytes(), 7, 100).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_stream_is_fatal(input in proptest::collection::vec(
            proptest::prop_oneof![proptest::num::u8::ANY, proptest::sample::select(b"\r\n: datev".to_vec())], 0..300),
            chunk in 1usize..9,
        ) {
            let _ = all(&input, chunk, 50);
        }
    }
}
