//! `massgen mcp audit …`: is the log whole, and what is in it?

mod export;
mod ocsf;

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use massgen::security::audit::{Broken, Key, Maker, Verified, verify_with};
use serde_json::{Value, json};

use crate::args::{AuditCommand, AuditQuery, AuditVerify};
use crate::audit_key;
use crate::audit_log::FILE;
use crate::environment;
use crate::failure::{Failure, Kind};
use crate::output;
use crate::style::safe;

pub(crate) fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => check(&args),
        AuditCommand::Query(query) => show(&query),
        AuditCommand::Export(args) => export::run(&args),
    }
}

fn open(log: &Path) -> Result<(PathBuf, BufReader<std::fs::File>), Failure> {
    let path = if log.is_dir() { log.join(FILE) } else { log.to_owned() };
    match std::fs::File::open(&path) {
        Ok(file) => Ok((path, BufReader::new(file))),
        Err(error) => Err(unreadable(&path, &error)),
    }
}

/// What is wanted where something else was named.
const WANTED: &str = "name the log folder of a run, or its audit.jsonl: UTF-8 text, a JSON record a line";

/// The file is none that could be a log.
fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::config(format!("{}: {error}", path.display())).with_hint(WANTED)
}

/// The chain does not hold. Where not one record was found, it may be no log at all.
fn broken(path: &Path, error: &Broken) -> Failure {
    let failure = Failure::new(Kind::Altered, format!("{}: {error}", path.display()));
    match error {
        Broken::Empty | Broken::Read { .. } | Broken::Syntax { line: 1 } => failure.with_hint(WANTED),
        _ => failure,
    }
}

/// A log whose chain holds, in one file or several.
struct Chain {
    files: Vec<(PathBuf, Verified)>,
    /// Whether both its beginning and its end are there.
    complete: bool,
}

/// The key of this installation, where there is one that can be read.
fn key() -> Option<Key> {
    let path = audit_key::path(&environment::read())?;
    audit_key::read(&path).unwrap_or_else(|error| {
        output::note(safe(&format!("warning: the key {} cannot be read: {error}", path.display())));
        None
    })
}

/// Checks the files of one log, in order.
fn chain(logs: &[PathBuf]) -> Result<Chain, Failure> {
    let key = key();
    let mut files: Vec<(PathBuf, Verified)> = Vec::new();
    for log in logs {
        let (path, reader) = open(log)?;
        let verified = verify_with(reader, key.as_ref()).map_err(|error| broken(&path, &error))?;
        if let Some((before, last)) = files.last()
            && verified.continues.as_ref() != Some(&last.last)
        {
            let message = format!("{} does not go on where {} ends", path.display(), before.display());
            return Err(
                Failure::new(Kind::Altered, message).with_hint("name the files of one log, the oldest first")
            );
        }
        files.push((path, verified));
    }
    let begins = files.first().is_some_and(|(_, first)| first.continues.is_none());
    let ends = files.last().is_some_and(|(_, last)| last.complete);
    Ok(Chain { files, complete: begins && ends })
}

fn check(args: &AuditVerify) -> Result<(), Failure> {
    let chain = chain(&args.log).inspect_err(|failure| {
        if args.json && failure.kind == Kind::Altered {
            output::json(&json!({"holds": false, "error": failure.message}));
        }
    })?;
    let lines: u64 = chain.files.iter().map(|(_, file)| file.lines).sum();
    let last = chain.files.last().map(|(_, file)| file.last.as_str());
    if args.json {
        let files: Vec<Value> = chain
            .files
            .iter()
            .map(|(path, file)| {
                json!({
                    "file": path, "lines": file.lines, "complete": file.complete, "torn": file.torn,
                    "continues": file.continues, "last": file.last, "key": maker(&file.maker),
                })
            })
            .collect();
        output::json(&json!({
            "holds": true, "complete": chain.complete, "lines": lines, "last": last, "files": files,
        }));
    } else {
        for (path, file) in &chain.files {
            let made = match &file.maker {
                Maker::Known => "keyed by this installation".to_owned(),
                Maker::Unknown(id) => {
                    format!("keyed by another installation (key {id}), which alone can check that")
                }
                Maker::Anybody => "not keyed: whoever could write the file could make it".to_owned(),
            };
            output::line(safe(&format!("{}: {} lines, the chain holds; {made}", path.display(), file.lines)));
            if file.torn > 0 {
                output::line(format!(
                    "the last {} bytes are a line that was not written to its end, as in a crash; they count for nothing",
                    file.torn
                ));
            }
        }
        output::line(format!("last hash {}", last.unwrap_or_default()));
    }
    if let Some((path, _)) = chain.files.iter().find(|(_, file)| args.keyed && file.maker != Maker::Known) {
        let message = format!("{} is not keyed by this installation", path.display());
        return Err(Failure::new(Kind::Altered, message)
            .with_hint("one from before logs were keyed, or from another computer, passes without --keyed"));
    }
    if chain.complete || args.unfinished {
        return Ok(());
    }
    Err(unfinished(&chain))
}

/// Whose key made it, for programs.
fn maker(maker: &Maker) -> &'static str {
    match maker {
        Maker::Known => "own",
        Maker::Unknown(_) => "foreign",
        Maker::Anybody => "none",
    }
}

fn unfinished(chain: &Chain) -> Failure {
    let first = chain.files.first();
    match first.and_then(|(_, first)| first.continues.as_ref()) {
        Some(before) => Failure::new(
            Kind::Altered,
            format!("the beginning is not here: it goes on with a file whose last hash is {before}"),
        )
        .with_hint("name that file, too, before this one"),
        None => Failure::new(
            Kind::Altered,
            "it has no last line: the run is still on, was killed, or the log was cut off",
        )
        .with_hint("where the run did not end by itself: --unfinished"),
    }
}

fn show(query: &AuditQuery) -> Result<(), Failure> {
    let (path, reader) = open(&query.log)?;
    let (mut found, mut all) = (Vec::new(), 0_u64);
    for line in reader.lines() {
        let line = line.map_err(|error| unreadable(&path, &error))?;
        let Ok(record) = serde_json::from_str::<Value>(&line) else { continue };
        all += 1;
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
    if found.is_empty() {
        // Silence would leave open whether anything was looked at.
        let of = if all == 1 { "record" } else { "records" };
        output::note(safe(&format!("none of the {all} {of} in {} is what was asked for", path.display())));
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
