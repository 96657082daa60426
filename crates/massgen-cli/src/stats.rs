//! `massgen mcp stats`: how the tools did, from the audit of the runs in the log folder, and what was done about servers
//! that failed, from their metrics.

mod servers;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::args::StatsArgs;
use crate::failure::Failure;
use crate::log_directory::LOGS;
use crate::mcp_command::table;
use crate::output;

/// The heads of [`cells`].
const HEAD: [&str; 9] =
    ["SERVER", "TOOL", "AGENT", "CALLS", "ERRORS", "P50 MS", "P95 MS", "MAX MS", "WHICH ERRORS"];
/// The longest line that is read, bytes.
const LINE: u64 = 1 << 20;

/// What an audit record says that is counted here.
#[derive(Deserialize)]
struct Record {
    caller: Option<String>,
    asked: String,
    server: Option<String>,
    tool: Option<String>,
    duration_ms: u64,
    outcome: String,
    class: Option<String>,
}

/// What any audit record says.
#[derive(Deserialize)]
struct Other {
    event: String,
}

/// Whose calls of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    server: String,
    tool: String,
    agent: String,
}

/// How these calls went.
#[derive(Debug, Default)]
struct Tally {
    durations: Vec<u64>,
    tool_failed: u64,
    dropped: u64,
    failed: BTreeMap<String, u64>,
}

/// A row of the result.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    server: String,
    tool: String,
    agent: String,
    calls: usize,
    /// Calls that the tool itself says have failed.
    tool_failed: u64,
    /// Calls without an answer, by the class of the error.
    failed: BTreeMap<String, u64>,
    /// Calls whose caller went away.
    dropped: u64,
    p50_ms: u64,
    p95_ms: u64,
    max_ms: u64,
}

pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    let folders = folders(args)?;
    let mut tallies = BTreeMap::new();
    let mut damaged = 0;
    for folder in &folders {
        damaged += read(&folder.join("audit.jsonl"), &mut tallies).map_err(|error| {
            Failure::config(format!("the audit in {} cannot be read: {error}", folder.display()))
        })?;
    }
    let mut figures = servers::Figures::default();
    for folder in &folders {
        servers::read(folder, &mut figures).map_err(|error| {
            Failure::config(format!("the metrics in {} cannot be read: {error}", folder.display()))
        })?;
    }
    let rows: Vec<Row> = tallies.into_iter().map(|(key, tally)| row(key, tally)).collect();
    if damaged > 0 {
        output::note(format!("warning: {damaged} lines are no audit records and were left out"));
    }
    if args.json {
        let servers::Figures { servers, audit, redactions } = figures;
        output::json(&serde_json::json!({
            "version": 1, "runs": folders, "tools": rows, "servers": servers, "audit": audit, "redactions": redactions,
        }));
        return Ok(());
    }
    if rows.is_empty() {
        output::line("No tool was called.");
    } else {
        table(HEAD, rows.iter().map(cells).collect());
    }
    let servers = &figures.servers;
    if !servers.is_empty() {
        output::line("");
        table(servers::HEAD, servers.iter().map(|(server, row)| row.cells(server)).collect());
    }
    if figures.audit.dropped > 0 {
        output::note(format!("warning: {} records of the audit log were lost", figures.audit.dropped));
    }
    Ok(())
}

fn folders(args: &StatsArgs) -> Result<Vec<PathBuf>, Failure> {
    if let Some(folder) = &args.log {
        return if folder.join("events.jsonl").is_file() {
            Ok(vec![folder.clone()])
        } else {
            Err(Failure::config(format!("{} is no log folder of a run", folder.display()))
                .with_hint("it holds events.jsonl, and lies in massgen_logs"))
        };
    }
    let entries = std::fs::read_dir(LOGS).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => String::new(),
            _ => format!(": {error}"),
        };
        Failure::config(format!("there are no runs in ./{LOGS}{why}"))
            .with_hint("name the log folder of a run, or go to the folder it was made in")
    })?;
    let mut folders: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("events.jsonl").is_file())
        .collect();
    folders.sort();
    if !args.all {
        // The names are dates: the last one is the newest.
        folders = folders.pop().into_iter().collect();
    }
    Ok(folders)
}

/// Adds a file's records; answers how many lines are none. A file that is not there is a run without calls.
fn read(path: &Path, tallies: &mut BTreeMap<Key, Tally>) -> io::Result<usize> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let mut damaged = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        if (&mut reader).take(LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(damaged);
        }
        match serde_json::from_slice::<Record>(&line) {
            Ok(record) => add(record, tallies),
            // Other events than calls are in the log as well.
            Err(_)
                if serde_json::from_slice::<Other>(&line).is_ok_and(|other| other.event != "tool_call") => {}
            Err(_) => damaged += usize::from(!line.trim_ascii().is_empty()),
        }
    }
}

fn add(record: Record, tallies: &mut BTreeMap<Key, Tally>) {
    let key = Key {
        server: record.server.unwrap_or_else(|| "-".to_owned()),
        tool: record.tool.unwrap_or(record.asked),
        agent: record.caller.unwrap_or_else(|| "-".to_owned()),
    };
    let tally = tallies.entry(key).or_default();
    tally.durations.push(record.duration_ms);
    match record.outcome.as_str() {
        "answered" => {}
        "tool_failed" => tally.tool_failed += 1,
        "dropped" => tally.dropped += 1,
        _ => *tally.failed.entry(record.class.unwrap_or_else(|| "other".to_owned())).or_default() += 1,
    }
}

fn row(key: Key, mut tally: Tally) -> Row {
    tally.durations.sort_unstable();
    Row {
        server: key.server,
        tool: key.tool,
        agent: key.agent,
        calls: tally.durations.len(),
        tool_failed: tally.tool_failed,
        failed: tally.failed,
        dropped: tally.dropped,
        p50_ms: percentile(&tally.durations, 50),
        p95_ms: percentile(&tally.durations, 95),
        max_ms: percentile(&tally.durations, 100),
    }
}

/// The nearest rank of sorted values; 0 where there are none.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn cells(row: &Row) -> [String; 9] {
    let failed: u64 = row.failed.values().sum();
    let named = [("tool_failed", row.tool_failed), ("dropped", row.dropped)];
    let named =
        named.iter().filter(|(_, count)| *count > 0).map(|(name, count)| ((*name).to_owned(), *count));
    let which: Vec<_> = named
        .chain(row.failed.iter().map(|(name, count)| (name.clone(), *count)))
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    [
        row.server.clone(),
        row.tool.clone(),
        row.agent.clone(),
        row.calls.to_string(),
        (failed + row.tool_failed + row.dropped).to_string(),
        row.p50_ms.to_string(),
        row.p95_ms.to_string(),
        row.max_ms.to_string(),
        which.join(", "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_tool_and_agent() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let record = |agent: &str, ms: u64, outcome: &str, class: &str| {
            format!(
                r#"{{"at":"x","call":"1","caller":{agent:?},"asked":"mcp__s__t","server":"s","tool":"t","duration_ms":{ms},"outcome":{outcome:?},"class":{class},"rule":null}}"#
            )
        };
        let mut lines: Vec<_> = (1..=100).map(|ms| record("a", ms, "answered", "null")).collect();
        lines.push(record("b", 7, "failed", r#""timeout""#));
        lines.push(record("b", 9, "tool_failed", "null"));
        lines.push("{\"torn".to_owned());
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let mut tallies = BTreeMap::new();
        assert_eq!(read(file.path(), &mut tallies).unwrap(), 1);
        let rows: Vec<_> = tallies.into_iter().map(|(key, tally)| row(key, tally)).collect();
        assert_eq!((rows[0].agent.as_str(), rows[0].calls), ("a", 100));
        assert_eq!((rows[0].p50_ms, rows[0].p95_ms, rows[0].max_ms), (50, 95, 100));
        assert_eq!(cells(&rows[1])[3..], ["2", "2", "7", "9", "9", "tool_failed 1, timeout 1"]);
    }

    #[test]
    fn a_percentile_of_nothing_is_nothing() {
        assert_eq!(percentile(&[], 95), 0);
        assert_eq!(percentile(&[5], 50), 5);
    }
}
