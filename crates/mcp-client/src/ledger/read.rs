//! Reading a ledger back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

/// The longest line that is read, bytes; ours are far shorter.
const LINE: u64 = 1 << 20;

/// A call that may have taken effect, and nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownOutcome {
    /// The call's id, as in events and audit.
    pub key: String,
    /// The agent that asked.
    pub caller: Option<String>,
    /// The server.
    pub server: String,
    /// The tool, by the server's own name for it.
    pub tool: String,
    /// When it was written down, just before it was sent.
    pub at: SystemTime,
    /// Whether it is known that it was handed to the server.
    pub sent: bool,
    /// How it ended for its caller, such as `timeout`; `None`: the program ended first.
    pub class: Option<String>,
}

/// What a ledger says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerReading {
    /// Calls that are not known to be read-only and whose outcome is unknown, oldest first.
    pub unknown: Vec<UnknownOutcome>,
    /// All calls that were written down.
    pub calls: usize,
    /// Lines that are no records: at most the last one, where the program was cut off while it wrote. Where such a line still
    /// names its call, that is among the unknown ones, perhaps not sent.
    pub damaged: usize,
    /// Of these, those that do not say any more of which call they are.
    pub unnamed: usize,
    /// Records that the disk did not take.
    pub lost: u64,
}

#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Record {
    Opened {},
    Gap {
        lost: u64,
    },
    Intent {
        seq: u64,
        at_ms: u64,
        key: String,
        caller: Option<String>,
        server: String,
        tool: String,
        #[serde(default)]
        read_only: bool,
    },
    Sent {
        seq: u64,
    },
    Done {
        seq: u64,
        class: String,
        #[serde(default)]
        unknown: bool,
    },
}

/// What is left of a record that was cut off.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    kind: Option<String>,
    seq: Option<u64>,
    at_ms: Option<u64>,
    key: String,
    caller: Option<String>,
    server: Option<String>,
    tool: Option<String>,
    read_only: bool,
}

impl Head {
    /// The fields that are whole: what stands before the last comma between two of them.
    fn of(line: &[u8]) -> Self {
        let (mut in_text, mut is_escaped, mut end) = (false, false, None);
        for (at, byte) in line.iter().enumerate() {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' if in_text => is_escaped = true,
                b'"' => in_text = !in_text,
                b',' if !in_text => end = Some(at),
                _ => {}
            }
        }
        let whole = end.and_then(|end| {
            let fields = [&line[..end], b"}"].concat();
            serde_json::from_slice(&fields).ok()
        });
        whole.unwrap_or_default()
    }
}

/// Reads a ledger. A file that is not there is a run without calls. Lines that are no records are counted, and what they
/// still say of their call is used; that there are any is logged as a warning.
///
/// # Errors
///
/// That the file cannot be read.
pub fn read_ledger(path: impl AsRef<Path>) -> io::Result<LedgerReading> {
    let path = path.as_ref();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LedgerReading::default()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut reading = LedgerReading::default();
    let mut open = BTreeMap::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match serde_json::from_slice(text) {
            Ok(record) => reading.take(record, &mut open),
            Err(_) => reading.take_torn(Head::of(text), &mut open),
        }
    }
    reading.unknown.extend(open.into_values());
    reading.unknown.sort_by_key(|call| call.at);
    if reading.damaged > 0 {
        let LedgerReading { damaged, unnamed, .. } = &reading;
        tracing::warn!(
            path = %path.display(),
            damaged,
            unnamed,
            "the ledger was cut off; the outcome of the call of its last record is taken for unknown"
        );
    }
    Ok(reading)
}

impl LedgerReading {
    fn take(&mut self, record: Record, open: &mut BTreeMap<u64, UnknownOutcome>) {
        match record {
            Record::Gap { lost } => self.lost = self.lost.saturating_add(lost),
            // Another process, with numbers of its own; what the last one left open stays so.
            Record::Opened {} => self.unknown.extend(std::mem::take(open).into_values()),
            Record::Intent { seq, at_ms, key, caller, server, tool, read_only } => {
                self.calls += 1;
                if !read_only {
                    let at = moment(at_ms);
                    let call = UnknownOutcome { key, caller, server, tool, at, sent: false, class: None };
                    open.insert(seq, call);
                }
            }
            Record::Sent { seq } => {
                if let Some(call) = open.get_mut(&seq) {
                    call.sent = true;
                }
            }
            Record::Done { seq, class, unknown } => {
                if let Some(mut call) = open.remove(&seq)
                    && unknown
                {
                    call.class = Some(class);
                    self.unknown.push(call);
                }
            }
        }
    }

    /// A record that was cut off says of its call that nobody knows its outcome: that it ended, if that was it, is lost.
    fn take_torn(&mut self, head: Head, open: &mut BTreeMap<u64, UnknownOutcome>) {
        self.damaged += 1;
        let Head { kind, seq, at_ms, key, caller, server, tool, read_only } = head;
        match (kind.as_deref(), seq, server, tool) {
            // No call's.
            (Some("opened" | "gap"), ..) => {}
            (Some("intent"), Some(_), ..) if read_only => self.calls += 1,
            (Some("intent"), Some(seq), Some(server), Some(tool)) => {
                self.calls += 1;
                let at = moment(at_ms.unwrap_or_default());
                let call = UnknownOutcome { key, caller, server, tool, at, sent: false, class: None };
                open.insert(seq, call);
            }
            // Its intent stands before it and stays open, unless the call only reads.
            (Some("sent" | "done"), Some(_), ..) => {}
            _ => self.unnamed += 1,
        }
    }
}

fn moment(at_ms: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)).unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> LedgerReading {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        read_ledger(file.path()).unwrap()
    }

    fn intent(seq: u64, tool: &str, read_only: bool) -> String {
        format!(
            r#"{{"kind":"intent","seq":{seq},"at_ms":{seq},"key":"c{seq}","caller":"a","server":"s","tool":"{tool}","read_only":{read_only}}}"#
        )
    }

    #[test]
    fn what_was_begun_and_not_ended_is_unknown() {
        let lines = [
            r#"{"kind":"opened","v":1,"salt":""}"#.to_owned(),
            intent(1, "ended", false),
            r#"{"kind":"done","seq":1,"class":"answered","unknown":false}"#.to_owned(),
            intent(2, "late", false),
            r#"{"kind":"sent","seq":2}"#.to_owned(),
            r#"{"kind":"done","seq":2,"class":"timeout","unknown":true}"#.to_owned(),
            intent(3, "looked", true),
            intent(4, "cut", false),
            r#"{"kind":"sent","seq":4}"#.to_owned(),
            // Another process begins to count anew.
            r#"{"kind":"opened","v":1,"salt":""}"#.to_owned(),
            intent(4, "again", false),
            r#"{"kind":"done","seq":4,"class":"answered","unknown":false}"#.to_owned(),
            // Cut off while it wrote.
            r#"{"kind":"intent","seq":5,"at_"#.to_owned(),
        ];
        let reading = read(&lines.join("\n"));
        let unknown: Vec<_> = reading
            .unknown
            .iter()
            .map(|call| (call.tool.as_str(), call.sent, call.class.as_deref()))
            .collect();
        assert_eq!(unknown, [("late", true, Some("timeout")), ("cut", true, None)]);
        assert_eq!((reading.calls, reading.damaged, reading.unnamed), (5, 1, 1));
    }

    #[test]
    fn a_record_that_was_cut_off_leaves_its_call_unknown_where_it_still_names_it() {
        let opened = "{\"kind\":\"opened\",\"v\":1,\"salt\":\"\"}\n";
        let whole = |line: &str| format!("{opened}{}\n{line}", intent(1, "before", false));
        let named = |line: &str| {
            let reading = read(&whole(line));
            let tools: Vec<_> = reading.unknown.iter().map(|call| call.tool.clone()).collect();
            (tools.join(" "), reading.damaged, reading.unnamed)
        };
        let begun =
            r#"{"kind":"intent","seq":2,"read_only":false,"at_ms":2,"key":"c2","caller":null,"server":"s","#;
        let cut = |rest: &str| named(&format!("{begun}{rest}"));
        assert_eq!(cut(r#""tool":"a\",b","args_h"#), ("before a\",b".to_owned(), 1, 0));
        assert_eq!(cut(r#""tool":"a\",b"#), ("before".to_owned(), 1, 1));
        let reads = begun.replace("false", "true");
        assert_eq!(named(&reads), ("before".to_owned(), 1, 0));
        // It ended, and that is lost.
        for end in [r#"{"kind":"done","seq":1,"at_ms":5,"cla"#, r#"{"kind":"sent","seq":1,"at"#] {
            assert_eq!(named(end), ("before".to_owned(), 1, 0), "{end}");
        }
        assert_eq!(named(r#"{"kind":"do"#), ("before".to_owned(), 1, 1));
    }

    #[test]
    fn no_file_is_a_run_without_calls() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_ledger(folder.path().join("ledger.jsonl")).unwrap(), LedgerReading::default());
    }

    #[test]
    fn nothing_in_a_file_is_a_panic() {
        let whole = format!("{}\n{}", intent(1, "t", false), r#"{"kind":"sent","seq":1}"#);
        for end in 0..whole.len() {
            read(&whole[..end]);
        }
        read("\u{0}\n[]\n{\"kind\":\"other\"}\n{\"kind\":\"done\",\"seq\":-1}\n");
    }
}
