//! `massgen.lock` beside the configuration, and `massgen mcp lock`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use massgen::config::Config;
use massgen::security::lock::{Change, Grant, LaunchPin, Lock, ServerPins, Standing};

use crate::failure::{Failure, Kind};
use crate::output;
use crate::style::safe;

const FILE: &str = "massgen.lock";

/// Where the lock of a configuration is.
pub(crate) fn path(config: &Config) -> PathBuf {
    config.dir.join(FILE)
}

/// The lock beside a configuration, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<Lock>, Failure> {
    let bad = |error: String| {
        Failure::config(format!("{}: {error}", path.display()))
            .with_hint("look at its history; to write it anew, remove it and run massgen mcp lock")
    };
    match std::fs::read_to_string(path) {
        Ok(text) => Lock::parse(&text).map(Some).map_err(|error| bad(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(bad(error.to_string())),
    }
}

/// Replaces the lock as a whole: a reader sees the old one or the new one.
fn write(path: &Path, lock: &Lock) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("lock.{}", std::process::id()));
    let mut file = std::fs::File::create(&draft)?;
    file.write_all(lock.to_text().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path).inspect_err(|_| {
        let _ = std::fs::remove_file(&draft);
    })
}

/// Changes a lock, which is made where there is none.
pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Lock)) -> io::Result<()> {
    let mut lock = read(path).map_err(|failure| io::Error::other(failure.message))?.unwrap_or_default();
    change(&mut lock);
    write(path, &lock)
}

/// Remembers that a tool may be called without asking.
pub(crate) fn add_grant(path: &Path, grant: Grant) -> io::Result<()> {
    change(path, |lock| drop(lock.grants.replace(grant)))
}

/// Says what of how servers are reached is not as it was accepted; true: something is.
pub(crate) fn tell_launches(path: &Path, now: &BTreeMap<String, LaunchPin>) -> Result<bool, Failure> {
    let lock = read(path)?.unwrap_or_default();
    let now = now
        .iter()
        .map(|(key, pin)| (key.clone(), ServerPins { launch: Some(pin.shared()), ..ServerPins::default() }));
    let is_launch = |difference: &Difference| matches!(difference, Difference::Launch { .. });
    let found: Vec<_> = differences(&lock, &now.collect()).into_iter().filter(is_launch).collect();
    for difference in &found {
        output::line(safe(&format!("{}: {difference}", difference.subject().0)));
    }
    Ok(!found.is_empty())
}

/// The servers do not fit the lock.
pub(crate) fn unfit(path: &Path) -> Failure {
    Failure::new(Kind::Config, format!("{} does not fit the servers", path.display()))
        .with_hint("read the differences; to accept them: massgen mcp lock --accept")
}

/// What `massgen mcp lock` does with the servers as they are now. `accept`: changes are taken over.
pub(crate) fn update(path: &Path, now: BTreeMap<String, ServerPins>, accept: bool) -> Result<(), Failure> {
    let failed =
        |error: io::Error| Failure::config(format!("{} could not be written: {error}", path.display()));
    let tools: usize = now.values().map(|pins| pins.tools.len()).sum();
    let Some(mut lock) = read(path)?.filter(|lock| !lock.servers.is_empty()) else {
        let grants = read(path)?.unwrap_or_default().grants;
        let count = now.len();
        write(path, &Lock { servers: now, grants }).map_err(failed)?;
        let servers = if count == 1 { "1 server" } else { &format!("{count} servers") };
        output::line(format!(
            "{}: {tools} tools of {servers} are locked; --locked offers these and no other",
            path.display()
        ));
        return Ok(());
    };
    let differences = differences(&lock, &now);
    for difference in &differences {
        let (server, _) = difference.subject();
        output::line(safe(&format!("{server}: {difference}")));
    }
    if differences.is_empty() {
        output::line(format!("{}: {tools} tools, all as they were accepted", path.display()));
        return Ok(());
    }
    if !accept {
        return Err(unfit(path));
    }
    lock.servers.extend(now);
    write(path, &lock).map_err(failed)?;
    output::line(format!("{}: accepted", path.display()));
    Ok(())
}

/// One thing that is not as it was accepted. `Display` gives what differs, without the server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Difference {
    Launch {
        server: String,
        change: Change,
    },
    Instructions {
        server: String,
        change: Change,
    },
    Changed {
        server: String,
        tool: String,
        change: Change,
    },
    New {
        server: String,
        tool: String,
    },
    /// The lock has nothing of the server.
    NewServer {
        server: String,
        tools: Vec<String>,
    },
    Gone {
        server: String,
        tool: String,
    },
}

impl Difference {
    /// The server by its name in the lock, and the tool where it is about one.
    pub(crate) fn subject(&self) -> (&str, Option<&str>) {
        match self {
            Self::Launch { server, .. }
            | Self::Instructions { server, .. }
            | Self::NewServer { server, .. } => (server, None),
            Self::Changed { server, tool, .. } | Self::New { server, tool } | Self::Gone { server, tool } => {
                (server, Some(tool))
            }
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Launch { change, .. } => {
                write!(f, "changed in how it is reached\n{}", indented(&change.to_string()))
            }
            Self::Instructions { change, .. } => {
                write!(f, "changed instructions\n{}", indented(&change.to_string()))
            }
            Self::Changed { tool, change, .. } => {
                write!(f, "changed {tool:?}\n{}", indented(&change.to_string()))
            }
            Self::New { tool, .. } => write!(f, "new {tool:?}"),
            Self::NewServer { tools, .. } => {
                let names: Vec<_> = tools.iter().map(|tool| format!("{tool:?}")).collect();
                write!(
                    f,
                    "new, with {}",
                    if names.is_empty() { "no tools".to_owned() } else { names.join(", ") }
                )
            }
            Self::Gone { tool, .. } => write!(f, "gone {tool:?}"),
        }
    }
}

/// How the servers as they are now differ from what was accepted of them.
pub(crate) fn differences(lock: &Lock, now: &BTreeMap<String, ServerPins>) -> Vec<Difference> {
    let mut found = Vec::new();
    for (server, pins) in now {
        let Some(known) = lock.servers.get(server) else {
            let tools = pins.tools.keys().map(ToString::to_string).collect();
            found.push(Difference::NewServer { server: server.clone(), tools });
            continue;
        };
        let server = || server.clone();
        if let Some(now) = &pins.launch
            && let Some(change) = known.launch.clone().unwrap_or_default().judge(now)
        {
            found.push(Difference::Launch { server: server(), change });
        }
        if known.knows_it()
            && let Some(change) = known.judge_instructions(pins.instructions.as_deref())
        {
            found.push(Difference::Instructions { server: server(), change });
        }
        for (tool, pin) in &pins.tools {
            let tool = tool.to_string();
            match known.judge_pin(&tool, pin) {
                Standing::Changed(change) => {
                    found.push(Difference::Changed { server: server(), tool, change })
                }
                Standing::New => found.push(Difference::New { server: server(), tool }),
                _ => {}
            }
        }
        for tool in known.tools.keys().filter(|tool| !pins.tools.contains_key(*tool)) {
            found.push(Difference::Gone { server: server(), tool: tool.to_string() });
        }
    }
    found
}

fn indented(text: &str) -> String {
    format!("  {}", text.replace('\n', "\n  "))
}

#[cfg(test)]
mod tests {
    use massgen::core::{ServerName, ToolName, ToolSpec};

    use super::*;

    #[test]
    fn a_server_that_the_lock_does_not_know_is_one_difference() {
        let spec = |tool: &str| {
            let server = ServerName::new("s").unwrap();
            ToolSpec::new(server, ToolName::new(tool).unwrap())
        };
        let pins = |tools: &[&str]| {
            let specs: Vec<_> = tools.iter().map(|tool| spec(tool)).collect();
            ServerPins::of(None, &specs)
        };
        let lock = Lock { servers: BTreeMap::from([("s".to_owned(), pins(&["a"]))]), ..Lock::default() };
        let now = BTreeMap::from([("s".to_owned(), pins(&["a", "b"])), ("t".to_owned(), pins(&["a", "b"]))]);
        let told: Vec<_> = differences(&lock, &now)
            .iter()
            .map(|difference| format!("{}: {difference}", difference.subject().0))
            .collect();
        assert_eq!(told, ["s: new \"b\"", "t: new, with \"a\", \"b\""]);
    }
}
