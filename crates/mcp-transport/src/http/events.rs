//! Server-sent events from bytes (HTML standard, "Server-sent events"), bounded.

use std::fmt;
use std::time::Duration;

use bytes::{Buf, BytesMut};

/// The longest event id that is kept: it goes into a header.
const ID: usize = 1024;
/// The longest name of a kind of event that is kept.
const KIND: usize = 64;

/// One event that carries data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its `event` field; empty where there is none.
    pub(crate) kind: String,
    /// Its data, lines joined by `\n`.
    pub(crate) data: BytesMut,
}

impl Event {
    /// Whether it is of the kind that carries messages.
    pub(crate) fn is_message(&self) -> bool {
        self.kind.is_empty() || self.kind == "message"
    }
}

/// An event of more bytes than are accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge(pub(crate) usize);

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event of more than {} bytes", self.0)
    }
}

/// Puts events together, wherever the stream was cut.
#[derive(Debug)]
pub(crate) struct Events {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no end of line.
    scanned: usize,
    begun: bool,
    /// The last line ended with `\r`: a `\n` that follows belongs to that end.
    returned: bool,
    kind: String,
    data: Option<BytesMut>,
    /// The id of the event that is being read.
    id: Option<String>,
    last_id: Option<String>,
    retry: Option<Duration>,
    limit: usize,
}

impl Events {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            begun: false,
            returned: false,
            kind: String::new(),
            data: None,
            id: None,
            last_id: None,
            retry: None,
            limit,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The id of the last whole event, where it can be sent back.
    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// How long the server wants to be left alone before the stream is opened again.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// The stream begins anew: what was not a whole event will not become one.
    pub(crate) fn restart(&mut self) {
        let (last_id, retry) = (self.last_id.take(), self.retry);
        *self = Self { last_id, retry, ..Self::new(self.limit) };
    }

    /// The next whole event.
    pub(crate) fn take(&mut self) -> Result<Option<Event>, TooLarge> {
        loop {
            if self.returned && !self.buffer.is_empty() {
                self.returned = false;
                if self.buffer[0] == b'\n' {
                    self.buffer.advance(1);
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) else {
                self.scanned = self.buffer.len();
                return self.fits(self.scanned).map(|()| None);
            };
            let end = self.scanned + end;
            self.scanned = 0;
            self.fits(end)?;
            self.returned = self.buffer[end] == b'\r';
            // The line keeps its part of the buffer: nothing is copied.
            let mut line = self.buffer.split_to(end);
            self.buffer.advance(1);
            if !self.begun {
                self.begun = true;
                if line.starts_with(b"\xEF\xBB\xBF") {
                    line.advance(3);
                }
            }
            if !line.is_empty() {
                self.field(line);
                continue;
            }
            if let Some(id) = self.id.take() {
                self.last_id = (!id.is_empty()).then_some(id);
            }
            let kind = std::mem::take(&mut self.kind);
            if let Some(data) = self.data.take() {
                return Ok(Some(Event { kind, data }));
            }
        }
    }

    /// Whether an event may have this much more.
    fn fits(&self, more: usize) -> Result<(), TooLarge> {
        let kept = self.data.as_ref().map_or(0, BytesMut::len);
        if kept.saturating_add(more) > self.limit { Err(TooLarge(self.limit)) } else { Ok(()) }
    }

    fn field(&mut self, mut line: BytesMut) {
        let colon = memchr::memchr(b':', &line);
        let mut value = line.split_off(colon.unwrap_or(line.len()));
        if colon.is_some() {
            value.advance(1);
            if value.first() == Some(&b' ') {
                value.advance(1);
            }
        }
        match &line[..] {
            b"data" => match &mut self.data {
                Some(data) => {
                    data.extend_from_slice(b"\n");
                    data.extend_from_slice(&value);
                }
                None => self.data = Some(value),
            },
            b"event" => self.kind = String::from_utf8_lossy(&value[..value.len().min(KIND)]).into_owned(),
            // What cannot be sent back is as good as none.
            b"id" if value.len() <= ID && value.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                self.id = Some(String::from_utf8_lossy(&value).into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = std::str::from_utf8(&value).ok().and_then(|digits| digits.parse().ok());
                self.retry = Some(Duration::from_millis(millis.unwrap_or(u64::MAX)));
            }
            // A comment, or a field that the standard does not know.
            _ => {}
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
                found.push((kind, String::from_utf8_lossy(&data).into_owned()));
            }
        }
        Ok(found)
    }

    #[test]
    fn every_line_ending_and_every_cut_gives_the_same_events() {
        let input = "\u{feff}event: endpoint\ndata: /m\n\n: comment\r\ndata:{\"a\":\r\ndata: 1}\r\nid: 7\r\n\r\n\
                     event: x\r\rdata\n\nretry: 5\n\nevent:ä\ndata: ü\n\ndata: not ended";
        let expected = [("endpoint", "/m"), ("", "{\"a\":\n1}"), ("", ""), ("ä", "ü")];
        let expected: Vec<_> = expected.map(|(kind, data)| (kind.to_owned(), data.to_owned())).into();
        for chunk in 1..input.len() {
            assert_eq!(all(input.as_bytes(), chunk, 100).unwrap(), expected, "in pieces of {chunk}");
        }
    }

    #[test]
    fn an_event_that_ends_with_a_return_is_not_held_back() {
        let mut events = Events::new(100);
        events.push(b"data: a\r\r");
        assert_eq!(&events.take().unwrap().unwrap().data[..], b"a");
        events.push(b"\ndata: b\r\n\r");
        assert_eq!(&events.take().unwrap().unwrap().data[..], b"b");
        events.push(b"\n");
        assert_eq!(events.take().unwrap(), None);
    }

    #[test]
    fn ids_count_with_their_event_and_waits_at_once() {
        let mut events = Events::new(100);
        events.push(b"id: 1\nretry: 250\n");
        assert_eq!((events.take().unwrap(), events.last_id()), (None, None));
        assert_eq!(events.retry(), Some(Duration::from_millis(250)));
        // An event without data only says where the stream is.
        events.push(b"\nid: two\ndata: x\n\nretry: soon\nid: 3");
        assert!(events.take().unwrap().is_some());
        assert_eq!((events.take().unwrap(), events.last_id()), (None, Some("two")));
        events.push(b"\n\nid: \xff\n\nretry: 99999999999999999999999\n\n");
        assert_eq!((events.take().unwrap(), events.last_id()), (None, Some("3")));
        assert_eq!(events.retry(), Some(Duration::from_millis(u64::MAX)));
        events.push(b"id: 4\ndata: half");
        assert_eq!(events.take().unwrap(), None);
        events.restart();
        events.push(b"\ndata: whole\n\n");
        assert_eq!(&events.take().unwrap().unwrap().data[..], b"whole");
        assert_eq!(events.last_id(), Some("3"));
        events.push(b"id\n\n");
        assert_eq!((events.take().unwrap(), events.last_id()), (None, None));
    }

    #[test]
    fn an_event_without_end_is_given_up() {
        assert!(all("x".repeat(200).as_bytes(), 7, 100).is_err());
        assert!(all("data: xxxxxxxxx\n".repeat(20).as_bytes(), 7, 100).is_err());
        assert!(all(format!("data: {}\n\n", "x".repeat(100)).as_bytes(), 500, 100).is_err());
        assert!(all("data: xxxxxxxxx\n\n".repeat(20).as_bytes(), 7, 100).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn no_stream_is_fatal_and_no_cut_matters(input in proptest::collection::vec(
            proptest::prop_oneof![proptest::num::u8::ANY, proptest::sample::select(b"\r\n: dateviry1".to_vec())], 0..300),
            chunk in 1usize..9,
        ) {
            let _ = all(&input, chunk, 50);
            proptest::prop_assert_eq!(all(&input, chunk, 500), all(&input, 500, 500));
        }
    }
}
