//! By whose word servers are started. Every command starts them through [`Settled`], and there is no other way to one than
//! through [`settle`], or because it is this program's own.
//!
//! The servers of a configuration that came with a folder are started when somebody has accepted how, and as long as it is
//! so. A file that the user names is the user's. One that lies where the user is (`./massgen.yaml`) came with the folder, and
//! so did a lock beside it: what was accepted here is kept in the user's own state folder, where no project can write.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use massgen::client::NewTools;
use massgen::config::{Config, LoadOptions, Unresolved};
use massgen::security::Trust;
use massgen::security::lock::{Grant, LaunchPin, Lock, ServerPins, sha256_hex};
use massgen::{AcceptedLock, Context, Servers, Team};

use crate::console::{Console, Pause, is_attended, quoted};
use crate::environment;
use crate::failure::{Failure, Kind};
use crate::session::{Session, launcher};
use crate::style::safe;
use crate::{lock_file, output, signals};

/// What was accepted on this computer.
#[derive(Debug, Default)]
pub(crate) struct Consent {
    /// Who wrote the configuration.
    pub(crate) trust: Trust,
    /// Where it is kept; `None`: the configuration is in no file, or there is no folder for it.
    pub(crate) lock: Option<PathBuf>,
    /// How servers are reached, by their names in a lock.
    pub(crate) launches: BTreeMap<String, LaunchPin>,
    /// Calls that need no more asking, for a project's configuration.
    pub(crate) grants: BTreeSet<Grant>,
}

/// A configuration, and what was accepted of its servers.
#[derive(Debug)]
pub(crate) struct Settled {
    config: Config,
    consent: Consent,
}

/// What the lock beside a configuration says.
#[derive(Debug, Default)]
pub(crate) struct Accepted {
    /// The lock, if there is one.
    pub(crate) lock: Option<AcceptedLock>,
    /// Where further grants are written.
    pub(crate) grants: Option<PathBuf>,
}

impl Settled {
    /// A configuration that is part of this program: nobody has to accept it.
    pub(crate) fn own(config: Config) -> Self {
        Self { config, consent: Consent::default() }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn consent(&self) -> &Consent {
        &self.consent
    }

    /// The lock beside the configuration, for everything that is to hold back what nobody accepted. Grants in a lock that
    /// came with a project are nobody's word; those that were given to it are kept elsewhere. A configuration that is in no
    /// file has no lock: the one in the current folder is another's.
    pub(crate) fn accepted(&self, session: &Session) -> Result<Accepted, Failure> {
        let path = lock_file::path(&self.config);
        let locked = session.guard.locked;
        if self.config.file.is_none() && !locked {
            return Ok(Accepted::default());
        }
        let new_tools = if locked { NewTools::Hold } else { NewTools::Offer };
        let found = lock_file::read(&path)?;
        if locked && found.is_none() {
            return Err(Failure::config(format!("--locked needs {}, which is not there", path.display()))
                .with_hint("write it with: massgen mcp lock"));
        }
        let mut lock = found.unwrap_or_default();
        let mut grants = Some(path);
        if self.consent.trust == Trust::Project {
            lock.grants.clone_from(&self.consent.grants);
            grants.clone_from(&self.consent.lock);
        }
        // A lock that knows no server was made for its grants alone.
        let pinned = locked || !lock.servers.is_empty();
        let says_anything = pinned || !lock.grants.is_empty();
        let lock = says_anything.then(|| AcceptedLock { lock: lock.into(), new_tools, pinned });
        Ok(Accepted { lock, grants })
    }

    /// Begins to start the servers, `only` the one of this name.
    pub(crate) fn start(
        &self,
        session: &Session,
        further: Context,
        only: Option<&str>,
    ) -> Result<Servers, Failure> {
        Servers::start(&self.config, &self.context(session, further), only)
            .map_err(|error| Failure::config(error.to_string()))
    }

    /// Puts the team together, and begins to start its servers.
    pub(crate) fn assemble(&self, session: &Session, further: Context) -> Result<Team, Failure> {
        massgen::assemble(&self.config, self.context(session, further))
            .map_err(|error| Failure::config(error.to_string()))
    }

    fn context(&self, session: &Session, further: Context) -> Context {
        Context {
            trust: self.consent.trust,
            launches: self.consent.launches.clone(),
            environment: session.environment.clone(),
            launcher: launcher(),
            ..further
        }
    }
}

/// How consent is found out where it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// Whoever is at the terminal is asked; where nobody is, servers are not started.
    Asked,
    /// By the command itself.
    ByCommand,
}

/// Who wrote a configuration; `named`: the file that the user named.
pub(crate) fn trust(config: &Config, named: Option<&Path>) -> Trust {
    if config.file.is_some() && named.is_none() { Trust::Project } else { Trust::User }
}

/// What was accepted of a configuration's servers, `only` of the one of this name. What is missing is asked for.
pub(crate) async fn settle(
    session: &Session,
    config: Config,
    trust: Trust,
    given: Given,
    only: Option<&str>,
) -> Result<Settled, Failure> {
    let consent = match trust {
        Trust::User => of_the_users(session, &config, given)?,
        Trust::Project => of_a_projects(session, &config, given, only).await?,
    };
    Ok(Settled { config, consent })
}

/// What is kept of a configuration's servers on this computer.
fn kept(session: &Session, config: &Config, trust: Trust) -> Result<Consent, Failure> {
    let lock = place(session, config);
    let own = match &lock {
        Some(path) => lock_file::read(path)?.unwrap_or_default(),
        None => Lock::default(),
    };
    let kept = own.servers.iter().filter_map(|(key, pins)| Some((key.clone(), pins.launch.clone()?)));
    Ok(Consent { trust, lock, launches: kept.collect(), grants: own.grants })
}

fn of_the_users(session: &Session, config: &Config, given: Given) -> Result<Consent, Failure> {
    let mut consent = kept(session, config, Trust::User)?;
    consent.grants.clear();
    // What was accepted together with a lock holds as long as that is there, and until the command takes over what is now.
    if given == Given::ByCommand || lock_file::read(&lock_file::path(config))?.is_none() {
        consent.launches.clear();
    }
    Ok(consent)
}

async fn of_a_projects(
    session: &Session,
    config: &Config,
    given: Given,
    only: Option<&str>,
) -> Result<Consent, Failure> {
    let mut consent = kept(session, config, Trust::Project)?;
    let own_servers = config.agents.iter().any(|agent| !agent.backend.mcp_servers.is_empty());
    if config.mcp_servers.is_empty() && !own_servers {
        return Ok(consent);
    }
    let now = launches(session, config).await?;
    let refused = refused(session, config)?;
    for (key, pin) in now.iter().filter(|(key, _)| only.is_none_or(|only| name_in(key) == only)) {
        if refused.contains(name_in(key)) {
            // No consent makes up for it; a start says why.
            consent.launches.remove(key);
            continue;
        }
        let known = consent.launches.get(key);
        if known.is_some_and(|known| known.judge(pin).is_none()) {
            continue;
        }
        let change = known.and_then(|known| known.judge(pin)).map(|change| change.to_string());
        let choice = match given {
            Given::ByCommand => Choice::Always,
            Given::Asked if is_attended() => tokio::select! {
                // Listened to before the question is on the screen.
                biased;
                () = signals::first_signal() => return Err(Failure::silent(Kind::Interrupted)),
                choice = ask(key, pin, change.as_deref()) => choice,
            },
            Given::Asked => Choice::No,
        };
        match choice {
            Choice::Always => {
                consent.launches.insert(key.clone(), pin.clone());
                keep(&consent, BTreeMap::from([(key.clone(), pin.clone())]))?;
            }
            Choice::Now => drop(consent.launches.insert(key.clone(), pin.clone())),
            Choice::No => {}
        }
    }
    Ok(consent)
}

/// How the servers would be reached now.
pub(crate) async fn launches(
    session: &Session,
    config: &Config,
) -> Result<BTreeMap<String, LaunchPin>, Failure> {
    massgen::launches(config, &session.environment).await.map_err(|error| Failure::config(error.to_string()))
}

/// Writes down how servers are reached, on this computer.
pub(crate) fn keep(consent: &Consent, launches: BTreeMap<String, LaunchPin>) -> Result<(), Failure> {
    let Some(path) = &consent.lock else {
        output::note("warning: it is not kept: set HOME or XDG_STATE_HOME to have a place for it");
        return Ok(());
    };
    lock_file::change(path, |lock| {
        for (key, pin) in launches {
            lock.servers.insert(key, ServerPins { launch: Some(pin), ..ServerPins::default() });
        }
    })
    .map_err(|error| Failure::config(format!("{} could not be written: {error}", path.display())))
}

/// The file of what was accepted of one configuration here.
fn place(session: &Session, config: &Config) -> Option<PathBuf> {
    let file = std::fs::canonicalize(config.file.as_ref()?).ok()?;
    let name = sha256_hex(file.display().to_string());
    Some(environment::state_folder(&session.environment)?.join("accepted").join(format!("{name}.json")))
}

/// The servers that ask for what is not theirs, as it is written: which variables they name is not to be seen later.
fn refused(session: &Session, config: &Config) -> Result<BTreeSet<String>, Failure> {
    let Some(file) = &config.file else { return Ok(BTreeSet::new()) };
    let options = LoadOptions { unresolved: Unresolved::Keep, ..session.load_options() };
    let options = LoadOptions { environment: Default::default(), keyring: None, ..options };
    let Some(written) = massgen::config::load(file, &options).config else { return Ok(BTreeSet::new()) };
    let found = massgen::survey(&written, Trust::Project);
    let scoped = found.into_iter().filter(|found| found.refused && found.finding.rule == "secret-scope");
    Ok(scoped
        .map(|found| {
            output::note(safe(&format!(
                "warning: server {} is not started: {} ({})",
                found.server, found.finding.reason, found.finding.rule
            )));
            found.server.to_string()
        })
        .collect())
}

/// The server's own name in its name in a lock.
fn name_in(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Always,
    Now,
    No,
}

async fn ask(key: &str, pin: &LaunchPin, change: Option<&str>) -> Choice {
    let console = Console::new(Pause::default());
    let mut talk = console.talk().await;
    talk.say(&describe(key, pin, change));
    loop {
        let Some(line) = talk.line("use it? [a] always, as it is  [y] this time  [n] no: ").await else {
            return Choice::No;
        };
        match line.trim().to_ascii_lowercase().as_str() {
            "a" | "always" => return Choice::Always,
            "y" | "yes" => return Choice::Now,
            "n" | "no" | "" => return Choice::No,
            _ => {}
        }
    }
}

/// The whole command line, or address, with nothing in it that could move the cursor or hide.
fn describe(key: &str, pin: &LaunchPin, change: Option<&str>) -> String {
    let list = |names: &BTreeSet<String>| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(" ");
    let mut lines = Vec::new();
    if let Some(program) = &pin.program {
        let found =
            pin.resolved.as_ref().map_or_else(String::new, |found| format!("  ({})", quoted(&found.path)));
        lines.push(format!("program    {}{found}", quoted(program)));
        // As JSON, so that it is seen where each one ends.
        lines.push(format!("arguments  {}", quoted(&serde_json::json!(pin.args).to_string())));
        lines.push(format!("variables  {}", list(&pin.env)));
    }
    lines.extend(pin.cwd.iter().map(|cwd| format!("folder     {}", quoted(cwd))));
    lines
        .extend(pin.scripts.iter().map(|(name, hash)| format!("script     {}  sha256 {hash}", quoted(name))));
    if let Some(url) = &pin.url {
        lines.push(format!("address    {}", quoted(url)));
        lines.push(format!("headers    {}", list(&pin.headers)));
    }
    let begun = match change {
        Some(change) => format!(
            "\nThe configuration came with this folder, and its server {key} is not what you accepted:\n  {}",
            change.replace('\n', "\n  ")
        ),
        None => format!("\nThe configuration came with this folder. Its server {key} is reached so:"),
    };
    format!("{begun}\n  {}", lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_command_line_hides() {
        let pin = LaunchPin {
            program: Some("uvx".into()),
            args: vec!["\u{1b}[2J\u{1b}[Hsafe".into(), "\u{202e}gpj.exe".into(), "a b".into()],
            ..LaunchPin::default()
        };
        let text = describe("s", &pin, None);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
        assert!(text.contains("uvx") && text.contains("a b"), "{text}");
    }

    #[test]
    fn a_file_that_was_not_named_came_with_the_folder() {
        let mut found = Config::default();
        found.file = Some("massgen.yaml".into());
        assert_eq!(trust(&found, None), Trust::Project);
        assert_eq!(trust(&found, Some(Path::new("massgen.yaml"))), Trust::User);
        assert_eq!(trust(&Config::default(), None), Trust::User);
    }
}
