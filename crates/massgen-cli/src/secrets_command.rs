//! `massgen secrets set | list | rm`: values for `${keyring:NAME}` in configurations.

use std::io::{IsTerminal, Read};

use massgen::config::Secret;
use massgen::core::MissingCredential;
use serde_json::json;

use crate::args::SecretsCommand;
use crate::failure::{Failure, Kind};
use crate::mcp_command::table;
use crate::secret_store::{Kept, PLACE, SecretStore};
use crate::{environment, hidden, login_store, output};

/// The longest value, in bytes: some keyrings take no more.
const LONGEST: u64 = 64 * 1024;

pub(crate) async fn run(command: SecretsCommand) -> Result<(), Failure> {
    let store = SecretStore::new(&environment::read());
    // A keyring may block, and so may whoever types.
    let done = tokio::task::spawn_blocking(move || match command {
        SecretsCommand::Set { name } => set(&store, &name),
        SecretsCommand::List { json } => list(&store, json),
        SecretsCommand::Rm { name } => remove(&store, &name),
    });
    done.await.map_err(|error| Failure::config(error.to_string()))?
}

fn set(store: &SecretStore, name: &str) -> Result<(), Failure> {
    check(name)?;
    let value = value(name)?;
    let kept = store.set(name, &value).map_err(|missing| unavailable(&missing))?;
    if let Some(reason) = store.fell_back() {
        output::note(reason);
    }
    output::line(format!("{name} is kept in {kept}. A configuration has it as ${{keyring:{name}}}"));
    Ok(())
}

/// The value: typed without an echo, or all that a pipe carries, without the line end that `echo` adds.
fn value(name: &str) -> Result<Secret, Failure> {
    let failed = |error: std::io::Error| Failure::config(format!("no value was read: {error}"));
    let text = if std::io::stdin().is_terminal() {
        hidden::line(format!("{name}: ")).map_err(failed)?
    } else {
        let mut text = String::new();
        std::io::stdin().lock().take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        text.strip_suffix('\r').unwrap_or(text).to_owned()
    };
    match text.len() as u64 {
        0 => Err(Failure::config("the value is empty")
            .with_hint(format!("to forget it: massgen secrets rm {name}"))),
        length if length > LONGEST => {
            Err(Failure::config(format!("the value is longer than {LONGEST} bytes")))
        }
        _ => Ok(Secret::new(text)),
    }
}

fn list(store: &SecretStore, as_json: bool) -> Result<(), Failure> {
    let keys = store.keys().map_err(|missing| unavailable(&missing))?;
    let rows = keys.into_iter().map(|(key, kept)| {
        let (kind, name) = match key.strip_prefix(login_store::PREFIX) {
            Some(login) => ("login", login.to_owned()),
            None => ("secret", key),
        };
        (name, kind, kept)
    });
    if as_json {
        let rows: Vec<_> = rows
            .map(|(name, kind, kept)| {
                let (place, file) = match kept {
                    Kept::Keyring => ("keyring", None),
                    Kept::File(path) => ("file", Some(path)),
                };
                json!({"name": name, "kind": kind, "place": place, "file": file})
            })
            .collect();
        output::json(&rows);
    } else {
        let rows: Vec<_> = rows.map(|(name, kind, kept)| [name, kind.to_owned(), kept.to_string()]).collect();
        if rows.is_empty() {
            output::line("There are no secrets. massgen secrets set NAME keeps one.");
        } else {
            table(["NAME", "KIND", "KEPT IN"], rows);
        }
    }
    Ok(())
}

fn remove(store: &SecretStore, name: &str) -> Result<(), Failure> {
    // As `list` names them: a login too.
    let login = format!("{}{name}", login_store::PREFIX);
    let mut found = false;
    for key in [name, &login] {
        found |= store.remove(key).map_err(|missing| unavailable(&missing))?;
    }
    if found {
        output::line(format!("{name} is forgotten."));
        Ok(())
    } else {
        Err(Failure::config(format!("there is no secret {name:?}"))
            .with_hint("massgen secrets list shows them"))
    }
}

fn check(name: &str) -> Result<(), Failure> {
    let legal = (1..=100).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if legal {
        return Ok(());
    }
    let failure = Failure::new(Kind::Usage, format!("{name:?} cannot be the name of a secret"));
    Err(failure.with_hint("a name is 1 to 100 letters, digits, \"_\", \"-\" and \".\"; the value is asked for, never given as an argument"))
}

/// Why a place cannot be used, and what can be done.
pub(crate) fn unavailable(missing: &MissingCredential) -> Failure {
    Failure::config(format!("{}: {}", missing.store, missing.reason))
        .with_hint(format!("another place is chosen by {PLACE}=keyring or {PLACE}=file"))
}
