//! `massgen mcp audit …`: is the log whole, and what is in it?

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use massgen::security::audit::verify;
use serde_json::{Value, json};

use crate::args::{AuditCommand, AuditQuery};
use crate::audit_log::FILE;
use crate::failure::Failure;
use crate::output;
use crate::style::safe;

pub(crate) fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify { log, json } => check(&log, json),
        AuditCommand::Query(query) => show(&query),
    }
}

fn open(log: &Path) -> Result<(PathBuf, BufReader<std::fs::File>), Failure> {
    let path = if log.is_dir() { log.join(FILE) } else { log.to_owned() };
    match std::fs::File::open(&path) {
        Ok(file) => Ok((path, BufReader::new(file))),
        Err(error) => Err(Failure::config(format!("{}: {error}", path.display()))
            .with_hint("name the log folder of a run, or its audit.jsonl")),
    }
}

fn check(log: &Path, as_json: bool) -> Result<(), Failure> {
    let (path, reader) = open(log)?;
    match verify(reader) {
        Ok(verified) => {
            if as_json {
                output::json(&json!({
                    "file": path, "holds": true, "lines": verified.lines, "complete": verified.complete, "last": verified.last,
                }));
            } else {
                output::line(format!("{}: {} lines, the chain holds", path.display(), verified.lines));
                if !verified.complete {
                    output::line(
                        "it has no last line: the run is still on, was killed, or the log was cut off",
                    );
                }
                output::line(format!("last hash {}", verified.last));
            }
            Ok(())
        }
        Err(error) => {
            if as_json {
                output::json(&json!({"file": path, "holds": false, "error": error.to_string()}));
            }
            Err(Failure::config(format!("{}: {error}", path.display())))
        }
    }
}

fn show(query: &AuditQuery) -> Result<(), Failure> {
    let (path, reader) = open(&query.log)?;
    let mut found = Vec::new();
    for line in reader.lines() {
        let line = line.map_err(|error| Failure::config(format!("{}: {error}", path.display())))?;
        let Ok(record) = serde_json::from_str::<Value>(&line) else { continue };
        let fits = |key: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| record.get(key).and_then(Value::as_str) == Some(wanted))
        };
        if fits("caller", &query.agent)
            && fits("server", &query.server)
            && fits("tool", &query.tool)
            && fits("event", &query.event)
            && fits("rule", &query.rule)
            && (!query.denied || record.get("decision").and_then(Value::as_str) == Some("deny"))
        {
            found.push(record);
        }
    }
    if query.json {
        output::json(&found);
        return Ok(());
    }
    for record in &found {
        output::line(safe(&row(record)));
    }
    Ok(())
}

/// A record in one line, for people.
fn row(record: &Value) -> String {
    let text = |key: &str| record.get(key).and_then(Value::as_str).unwrap_or_default();
    let first =
        |keys: &[&str]| keys.iter().map(|key| text(key)).find(|text| !text.is_empty()).unwrap_or_default();
    let words = [
        text("at"),
        text("event"),
        text("caller"),
        text("server"),
        first(&["tool", "asked", "state", "nonce"]),
        first(&["class", "outcome", "decision"]),
        text("rule"),
    ];
    let line = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ");
    line.replace('\n', " ")
}
