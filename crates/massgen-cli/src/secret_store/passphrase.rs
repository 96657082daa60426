//! The passphrase of the encrypted file: from the environment, else from the person at the terminal, without an echo.

use std::io::IsTerminal;

use massgen::config::Secret;
use massgen::core::Environment;

use super::vault::Vault;

/// The environment variable that holds it.
pub(crate) const VARIABLE: &str = "MASSGEN_SECRETS_PASSPHRASE";
/// How often a person may mistype.
const TRIES: usize = 3;
/// The shortest new one, in characters.
const SHORTEST: usize = 8;

/// What a passphrase is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A file that is there.
    Existing,
    /// A file that is about to be made.
    New,
}

pub(super) struct Passphrase {
    given: Option<Secret>,
}

impl Passphrase {
    pub(super) fn new(environment: &Environment) -> Self {
        Self { given: environment.non_empty(VARIABLE).map(Secret::new) }
    }

    /// Whether nobody need be asked.
    pub(super) fn is_at_hand(&self) -> bool {
        self.given.is_some()
    }

    /// Opens the file, or makes its key.
    pub(super) fn open(&self, vault: &mut Vault, purpose: Purpose) -> Result<(), String> {
        if vault.is_open() {
            return Ok(());
        }
        if let Some(given) = &self.given {
            return vault.open(given.expose()).map_err(|error| format!("{error} ({VARIABLE})"));
        }
        let attended = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !attended {
            return Err(format!("it needs its passphrase: set {VARIABLE}, or run on a terminal"));
        }
        match purpose {
            Purpose::New => vault.open(&new_one(vault)?),
            Purpose::Existing => {
                for _ in 1..TRIES {
                    match vault.open(&ask(&format!("Passphrase of {vault}: "))?) {
                        Ok(()) => return Ok(()),
                        Err(error) => crate::output::note(error),
                    }
                }
                vault.open(&ask(&format!("Passphrase of {vault}: "))?)
            }
        }
    }
}

fn new_one(vault: &Vault) -> Result<String, String> {
    crate::output::note(format!("{vault} is made now. Whoever has it and its passphrase has what is in it."));
    loop {
        let first = ask(&format!("A new passphrase, of at least {SHORTEST} characters: "))?;
        if first.chars().count() < SHORTEST {
            crate::output::note("That is too short.");
        } else if ask("Once more: ")? == first {
            return Ok(first);
        } else {
            crate::output::note("These were not the same.");
        }
    }
}

fn ask(prompt: &str) -> Result<String, String> {
    let typed = crate::hidden::line(prompt).map_err(|error| format!("no passphrase was given: {error}"))?;
    if typed.is_empty() { Err("no passphrase was given".to_owned()) } else { Ok(typed) }
}
