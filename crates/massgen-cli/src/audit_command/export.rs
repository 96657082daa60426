//! `massgen mcp audit export`: the log for programs that collect such things.

use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

use super::{ocsf, open, unreadable};
use crate::args::{AuditExport, AuditFormat};
use crate::failure::Failure;
use crate::output;
use crate::sarif::{self, Entry, Level};

/// Writes the records of one log. A chain that does not hold is not passed on as if it did.
pub(super) fn run(args: &AuditExport) -> Result<(), Failure> {
    let chain = super::chain(std::slice::from_ref(&args.log))?;
    if !chain.complete {
        output::note(
            "warning: the log has no last line: the run is still on, was killed, or the log was cut off",
        );
    }
    let (path, reader) = open(&args.log)?;
    let mut records = Vec::new();
    for (line, text) in (1_u64..).zip(reader.lines()) {
        let text = text.map_err(|error| unreadable(&path, &error))?;
        // What was torn has been told.
        if let Ok(record) = serde_json::from_str(&text) {
            records.push((line, record));
        }
    }
    let mut text = match args.format {
        AuditFormat::Ocsf => lines(&records),
        AuditFormat::Sarif => document(&records, &path),
    };
    text.push('\n');
    match &args.output {
        Some(file) => std::fs::write(file, text)
            .map_err(|error| Failure::config(format!("{} could not be written: {error}", file.display()))),
        None => {
            output::text(&text);
            Ok(())
        }
    }
}

/// One event a line.
fn lines(records: &[(u64, Value)]) -> String {
    let events = records.iter().filter_map(|(_, record)| ocsf::event(record));
    events.map(|event| event.to_string()).collect::<Vec<_>>().join("\n")
}

/// What was refused or found, by the line of the log that says so.
fn document(records: &[(u64, Value)], path: &Path) -> String {
    let entries: Vec<Entry> =
        records.iter().filter_map(|(line, record)| entry(*line, record, path)).collect();
    let folder = std::env::current_dir().unwrap_or_default();
    format!("{:#}", sarif::document(&entries, &folder))
}

fn entry(line: u64, record: &Value, path: &Path) -> Option<Entry> {
    let text = |key: &str| record.get(key).and_then(Value::as_str);
    let level = match text("decision")? {
        "deny" => Level::Error,
        "flag" => Level::Warning,
        _ => return None,
    };
    let kind = text("event")?;
    let subject: Vec<&str> = ["server", "tool"].into_iter().filter_map(text).collect();
    let asked = text("asked").unwrap_or_default();
    let what = text("detail").map_or_else(
        || format!("{} asked for {asked}, and was refused", text("caller").unwrap_or("somebody")),
        str::to_owned,
    );
    let subject = if subject.is_empty() { asked.to_owned() } else { subject.join("/") };
    Some(Entry {
        rule: text("rule").or(text("state")).unwrap_or(kind).to_owned(),
        level,
        message: format!("{subject}: {what}"),
        help: String::new(),
        file: Some(path.display().to_string()),
        line,
        subject,
    })
}
