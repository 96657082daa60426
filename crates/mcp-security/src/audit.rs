//! The audit log: lines of JSON, each of which carries the hash of the one before, so that no line can be altered, left
//! out, put in or moved without the rest telling.
//!
//! The hash of a line is the SHA-256 of its canonical JSON (`hash` itself left out), which holds the hash of the line
//! before as `prev`. The first line holds a nonce, from which its own `prev` is made; the last one says how many lines
//! there are, so that a log that was cut off is seen to be open. Where a log has to go on in another file, the first line
//! of that one names the last hash of the other as `continues`.
//!
//! Whoever can write the whole file can make a new chain, unless it is keyed: then each line also carries a `mac`, the
//! HMAC-SHA256 of its `hash` by a [`Key`] that is kept elsewhere, and the first line names the key. Anybody can check the
//! hashes; only who has the key can check, or make, the rest.
//!
//! ```
//! use mcp_security::audit::{Chain, verify};
//! use serde_json::json;
//!
//! let (mut chain, first) = Chain::begin("a nonce");
//! let call = chain.seal(json!({"event": "tool_call", "tool": "search"}));
//! let text = [first, call, chain.end()].join("\n");
//! assert_eq!(verify(text.as_bytes())?.lines, 3);
//!
//! let forged = text.replace("search", "delete");
//! assert_eq!(verify(forged.as_bytes()).unwrap_err().to_string(), "line 2 was altered: its hash is another one");
//! # Ok::<(), mcp_security::audit::Broken>(())
//! ```

use std::fmt;
use std::io::BufRead;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::lock::{canonical_json, sha256_hex};

/// The version of the records.
const VERSION: u32 = 1;

/// What makes a chain that nobody else can make. `Debug` shows its name only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: [u8; 32],
    id: String,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

impl Key {
    /// A key of random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        let mut key = Self { bytes, id: String::new() };
        key.id = key.mac("massgen audit key").chars().take(16).collect();
        key
    }

    /// The name of the key, which gives nothing of it away: 16 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn hmac(&self, text: &str) -> Hmac<Sha256> {
        // A key shorter than a block of the hash is filled up with zeros.
        let mut block = [0; 64];
        block[..self.bytes.len()].copy_from_slice(&self.bytes);
        let mut hmac = Hmac::<Sha256>::new(&block.into());
        hmac.update(text.as_bytes());
        hmac
    }

    /// The HMAC-SHA256 of a text, 64 hexadecimal digits. Texts other than a log's begin with what they are.
    pub fn mac(&self, text: &str) -> String {
        self.hmac(text).finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether this key made the MAC of a text, in time that does not depend on where they differ.
    pub fn verify(&self, mac: &str, text: &str) -> bool {
        let digits = |at: usize| mac.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let bytes: Option<Vec<u8>> = (0..mac.len()).step_by(2).map(digits).collect();
        bytes.is_some_and(|bytes| self.hmac(text).verify_slice(&bytes).is_ok())
    }
}

/// The chain as it grows.
#[derive(Debug, Clone)]
pub struct Chain {
    lines: u64,
    last: String,
    key: Option<Key>,
}

fn root(nonce: &str) -> String {
    sha256_hex(format!("massgen audit {VERSION}\n{nonce}"))
}

fn hash(record: &Value) -> String {
    sha256_hex(canonical_json(record))
}

impl Chain {
    /// A new chain and its first line. The nonce is anything that no other chain has.
    pub fn begin(nonce: &str) -> (Self, String) {
        Self::begin_with(nonce, None)
    }

    /// As [`Chain::begin`], keyed where there is a key.
    pub fn begin_with(nonce: &str, key: Option<Key>) -> (Self, String) {
        let mut chain = Self { lines: 0, last: root(nonce), key };
        let first = chain.seal(json!({"event": "begin", "nonce": nonce, "key": chain.key_id()}));
        (chain, first)
    }

    /// The same log in another file, and its first line there. The nonce is anything that no other chain has.
    pub fn continued(self, nonce: &str) -> (Self, String) {
        let mut chain = Self { lines: 0, last: root(nonce), key: self.key };
        let begin = json!({"event": "begin", "nonce": nonce, "continues": self.last, "key": chain.key_id()});
        let first = chain.seal(begin);
        (chain, first)
    }

    fn key_id(&self) -> Option<&str> {
        self.key.as_ref().map(Key::id)
    }

    /// The next line, without its line break. `record` is an object; its `v`, `seq`, `prev`, `hash` and `mac` are the
    /// chain's.
    pub fn seal(&mut self, record: Value) -> String {
        self.lines += 1;
        let mut sealed = json!({"v": VERSION, "seq": self.lines});
        if let (Some(sealed), Value::Object(fields)) = (sealed.as_object_mut(), record) {
            let own = |key: &str| matches!(key, "v" | "seq" | "prev" | "hash" | "mac");
            sealed.extend(fields.into_iter().filter(|(key, value)| !own(key) && !value.is_null()));
        }
        sealed["prev"] = std::mem::take(&mut self.last).into();
        self.last = hash(&sealed);
        sealed["hash"] = self.last.as_str().into();
        if let Some(key) = &self.key {
            sealed["mac"] = key.mac(&self.last).into();
        }
        sealed.to_string()
    }

    /// The last line.
    pub fn end(mut self) -> String {
        let lines = self.lines + 1;
        self.seal(json!({"event": "end", "lines": lines}))
    }
}

/// A log whose chain holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many lines it has.
    pub lines: u64,
    /// Whether the last line says that it is the last. Otherwise the run is still on, was killed, the log was cut, or it
    /// goes on in another file.
    pub complete: bool,
    /// How many bytes of a further line there are whose end was never written, as after a crash in the middle of a write.
    pub torn: usize,
    /// The last hash of the log that this one goes on with.
    pub continues: Option<String>,
    /// The hash of the last line.
    pub last: String,
    /// Who can have made it.
    pub maker: Maker,
}

/// Who can have made a chain that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Maker {
    /// Anybody: it is not keyed.
    Anybody,
    /// Whoever has the key that it was checked with.
    Known,
    /// Whoever has this key, by its name. It was not checked with it.
    Unknown(String),
}

/// Where a chain breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The file could not be read.
    #[error("line {line} could not be read: {source}")]
    Read {
        /// The line, from 1.
        line: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is nothing in it.
    #[error("the log is empty")]
    Empty,
    /// A line that is no record.
    #[error("line {line} is not a record")]
    Syntax {
        /// The line, from 1.
        line: u64,
    },
    /// A line whose content is not what was written.
    #[error("line {line} was altered: its hash is another one")]
    Altered {
        /// The line, from 1.
        line: u64,
    },
    /// A line that does not follow on the one before: something was left out, put in or moved.
    #[error("line {line} does not follow on the line before: a line is missing, added or moved")]
    Order {
        /// The line, from 1.
        line: u64,
    },
}

impl Broken {
    /// The line where it breaks, from 1; `None`: there is none.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::Read { line, .. }
            | Self::Syntax { line }
            | Self::Altered { line }
            | Self::Order { line } => Some(*line),
            Self::Empty => None,
        }
    }
}

/// Checks every line of a log, by what anybody can check.
///
/// # Errors
///
/// [`Broken`] with the first line that does not fit.
pub fn verify(log: impl BufRead) -> Result<Verified, Broken> {
    verify_with(log, None)
}

/// Checks every line of a log, and where it is keyed by this key, that nobody else made them.
///
/// # Errors
///
/// As [`verify`].
pub fn verify_with(mut log: impl BufRead, key: Option<&Key>) -> Result<Verified, Broken> {
    let mut verified = Verified {
        lines: 0,
        complete: false,
        torn: 0,
        continues: None,
        last: String::new(),
        maker: Maker::Anybody,
    };
    let mut text = Vec::new();
    for line in 1_u64.. {
        text.clear();
        if log.read_until(b'\n', &mut text).map_err(|source| Broken::Read { line, source })? == 0 {
            break;
        }
        let ended = text.last() == Some(&b'\n');
        let mut record: Value = match serde_json::from_slice(&text) {
            Ok(record) => record,
            Err(_) if !ended && line > 1 && !verified.complete => {
                verified.torn = text.len();
                break;
            }
            Err(_) => return Err(Broken::Syntax { line }),
        };
        let fields = record.as_object_mut().ok_or(Broken::Syntax { line })?;
        if line == 1
            && let Some(Value::String(id)) = fields.get("key")
        {
            verified.maker = match key {
                Some(key) if key.id() == id => Maker::Known,
                _ => Maker::Unknown(id.clone()),
            };
        }
        // In a chain without a key there is none, and the hash tells if there is.
        let mac = if verified.maker == Maker::Anybody { None } else { fields.shift_remove("mac") };
        let Some(Value::String(claimed)) = fields.shift_remove("hash") else {
            return Err(Broken::Syntax { line });
        };
        if let (Maker::Known, Some(key)) = (&verified.maker, key)
            && !mac.is_some_and(|mac| mac.as_str().is_some_and(|mac| key.verify(mac, &claimed)))
        {
            return Err(Broken::Altered { line });
        }
        if hash(&record) != claimed || record.get("v") != Some(&json!(VERSION)) {
            return Err(Broken::Altered { line });
        }
        if line == 1 {
            let nonce = record.get("nonce").and_then(Value::as_str).ok_or(Broken::Order { line })?;
            verified.last = root(nonce);
            verified.continues = record.get("continues").and_then(Value::as_str).map(str::to_owned);
        }
        let follows = record.get("prev").and_then(Value::as_str) == Some(verified.last.as_str());
        if verified.complete || !follows || record.get("seq") != Some(&json!(line)) {
            return Err(Broken::Order { line });
        }
        verified.complete = record.get("event").and_then(Value::as_str) == Some("end");
        verified.lines = line;
        verified.last = claimed;
    }
    if verified.lines == 0 { Err(Broken::Empty) } else { Ok(verified) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn log() -> String {
        let (mut chain, first) = Chain::begin("n");
        let mut lines = vec![first];
        for at in 0..4 {
            lines.push(
                chain.seal(json!({"event": "tool_call", "tool": format!("t{at}"), "rule": null, "n": 1.5})),
            );
        }
        lines.push(chain.end());
        lines.join("\n") + "\n"
    }

    #[test]
    fn a_whole_log_holds_and_a_cut_one_is_open() {
        let log = log();
        let verified = verify(log.as_bytes()).unwrap();
        assert_eq!((verified.lines, verified.complete), (6, true));
        let cut: String = log.lines().take(4).map(|line| format!("{line}\n")).collect();
        assert!(!verify(cut.as_bytes()).unwrap().complete);
        assert!(matches!(verify(&b""[..]), Err(Broken::Empty)));
        let torn = verify(&log.as_bytes()[..log.len() - 10]).unwrap();
        assert_eq!((torn.lines, torn.complete), (5, false));
        assert!(torn.torn > 10, "{torn:?}");
        let unended = verify(log.trim_end().as_bytes()).unwrap();
        assert_eq!((unended.lines, unended.complete, unended.torn), (6, true, 0));
    }

    #[test]
    fn who_has_no_key_cannot_make_a_keyed_chain() {
        let (ours, theirs) = (Key::new([7; 32]), Key::new([8; 32]));
        let log = |key: &Key| {
            let (mut chain, first) = Chain::begin_with("n", Some(key.clone()));
            [first, chain.seal(json!({"event": "tool_call", "mac": "x"})), chain.end()].join("\n")
        };
        let made = |text: &str, key| verify_with(text.as_bytes(), key).map(|verified| verified.maker);
        assert_eq!(made(&log(&ours), Some(&ours)).unwrap(), Maker::Known);
        assert_eq!(made(&log(&theirs), Some(&ours)).unwrap(), Maker::Unknown(theirs.id().to_owned()));
        assert_eq!(made(&log(&ours), None).unwrap(), Maker::Unknown(ours.id().to_owned()));
        let (mut chain, first) = Chain::begin("n");
        let unkeyed = [first, chain.seal(json!({"event": "tool_call"})), chain.end()].join("\n");
        assert_eq!(made(&unkeyed, Some(&ours)).unwrap(), Maker::Anybody);

        // A chain that claims the key, its hashes made anew by somebody who does not have it.
        let forged = log(&ours).replace("tool_call", "tool_cal1");
        let rehashed: Vec<String> = {
            let mut last = String::new();
            let lines = forged.lines().map(|line| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                let fields = record.as_object_mut().unwrap();
                let mac = fields.shift_remove("mac").unwrap();
                fields.shift_remove("hash");
                if !last.is_empty() {
                    fields["prev"] = last.as_str().into();
                }
                last = hash(&record);
                record["hash"] = last.as_str().into();
                record["mac"] = mac;
                record.to_string()
            });
            lines.collect()
        };
        let rehashed = rehashed.join("\n");
        assert_eq!(made(&rehashed, None).unwrap(), Maker::Unknown(ours.id().to_owned()), "the hashes fit");
        assert!(matches!(made(&rehashed, Some(&ours)), Err(Broken::Altered { line: 2 })));
        let stripped = log(&ours).replacen("\"mac\":", "\"nac\":", 1);
        assert!(matches!(made(&stripped, Some(&ours)), Err(Broken::Altered { line: 1 })));
        assert!(!format!("{ours:?}").contains('7') || !format!("{ours:?}").contains("7, 7"));
    }

    #[test]
    fn a_log_goes_on_in_another_file() {
        let (mut chain, first) = Chain::begin("n");
        let moved = [first, chain.seal(json!({"event": "tool_call"}))].join("\n");
        let (mut chain, first) = chain.continued("m");
        let further = [first, chain.seal(json!({"event": "tool_call"})), chain.end()].join("\n");
        let (moved, further) = (verify(moved.as_bytes()).unwrap(), verify(further.as_bytes()).unwrap());
        assert!(!moved.complete && further.complete);
        assert_eq!((moved.continues, further.continues), (None, Some(moved.last)));
    }

    #[test]
    fn lines_cannot_be_left_out_put_in_or_moved() {
        let log = log();
        let lines: Vec<_> = log.lines().collect();
        let broken = |lines: Vec<&str>| verify(lines.join("\n").as_bytes()).unwrap_err().to_string();
        assert!(broken([&lines[..2], &lines[3..]].concat()).starts_with("line 3 does not follow"));
        assert!(broken([&lines[..3], &lines[2..]].concat()).starts_with("line 4 does not follow"));
        let mut swapped = lines.clone();
        swapped.swap(2, 3);
        assert!(broken(swapped).starts_with("line 3 does not follow"));
        let other = Chain::begin("other").1;
        assert!(broken([&lines[..], &[other.as_str()]].concat()).starts_with("line 7 does not follow"));
        assert!(broken([&[other.as_str()], &lines[1..]].concat()).starts_with("line 2 does not follow"));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_found_in_its_line(at in 0_usize..10_000, bit in 0_u32..7) {
            let log = log();
            let mut bytes = log.clone().into_bytes();
            let at = at % bytes.len();
            let line = log[..at].matches('\n').count() + 1;
            bytes[at] ^= 1 << bit;
            // A byte may turn into a line break or out of one; then the break is in this line or the next.
            let message = match verify(bytes.as_slice()) {
                Ok(verified) => {
                    // The last line break is no part of a record: without it, the line was never ended.
                    prop_assert!(at + 1 == log.len() && !verified.complete && verified.torn > 0);
                    return Ok(());
                }
                Err(error) => error.to_string(),
            };
            prop_assert!(message.starts_with(&format!("line {line} ")), "{} {}", message, line);
        }
    }
}
