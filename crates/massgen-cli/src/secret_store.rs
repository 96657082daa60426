//! Where secrets and logins are kept: the system's keyring, or a file that is encrypted with a passphrase. Never in the
//! clear.

mod keyring;
mod passphrase;
mod vault;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use massgen::config::{Secret, SecretError, SecretSource};
use massgen::core::{Environment, MissingCredential};

use self::keyring::Keyring;
use self::passphrase::{Passphrase, Purpose};
use self::vault::Vault;
use crate::environment;

/// The environment variable that names the place: `keyring` or `file`.
pub(crate) const PLACE: &str = "MASSGEN_SECRETS";

/// Keeps secrets by key. Every operation may block: not on the runtime's own threads. Cheap to clone: clones share an
/// opened file.
#[derive(Clone)]
pub(crate) struct SecretStore(Arc<Inner>);

struct Inner {
    environment: Environment,
    keyring: Keyring,
    /// `None`: the environment names no folder.
    vault: Option<Mutex<Vault>>,
    passphrase: Passphrase,
}

/// Which places are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// The keyring, and the file where there is no keyring.
    Either,
    Keyring,
    File,
}

/// A place, in words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Keyring,
    File(PathBuf),
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keyring => f.write_str(keyring::NAME),
            Self::File(path) => write!(f, "the encrypted file {}", path.display()),
        }
    }
}

impl SecretStore {
    pub(crate) fn new(environment: &Environment) -> Self {
        let path = environment::state_folder(environment).map(|folder| folder.join("secrets.json"));
        Self(Arc::new(Inner {
            environment: environment.clone(),
            keyring: Keyring::new(environment),
            vault: path.map(|path| Mutex::new(Vault::new(path))),
            passphrase: Passphrase::new(environment),
        }))
    }

    fn choice(&self) -> Choice {
        match self.0.environment.non_empty(PLACE) {
            Some("keyring") => Choice::Keyring,
            Some("file") => Choice::File,
            Some(other) => {
                tracing::warn!("{PLACE} is {other:?}; known are keyring and file");
                Choice::Either
            }
            None => Choice::Either,
        }
    }

    fn vault(&self, key: &str) -> Result<MutexGuard<'_, Vault>, MissingCredential> {
        match &self.0.vault {
            Some(vault) => Ok(vault.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Err(missing(
                key,
                "the encrypted file",
                "there is no folder for it: set HOME or XDG_STATE_HOME",
            )),
        }
    }

    /// The value under this key. The keyring is asked first, then the file, whose passphrase is asked for only where it
    /// holds the key.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Secret>, MissingCredential> {
        let mut trouble = None;
        if self.choice() != Choice::File {
            match self.0.keyring.get(key) {
                Ok(Some(value)) => return Ok(Some(value)),
                Ok(None) => {}
                Err(error) => trouble = Some(error),
            }
        }
        if self.choice() != Choice::Keyring
            && let Ok(mut vault) = self.vault(key)
            && vault.holds(key).map_err(|reason| missing(key, &vault.to_string(), &reason))?
        {
            let place = vault.to_string();
            let opened = self.0.passphrase.open(&mut vault, Purpose::Existing);
            opened.map_err(|reason| missing(key, &place, &reason))?;
            return vault.get(key).map_err(|reason| missing(key, &place, &reason));
        }
        match trouble {
            // Where there is no keyring at all, nothing is in it.
            Some(error) if error.may_hold_it() || self.choice() == Choice::Keyring => {
                Err(missing(key, keyring::NAME, &error.to_string()))
            }
            _ => Ok(None),
        }
    }

    /// Keeps a value; says where. It is in one place only.
    pub(crate) fn set(&self, key: &str, value: &Secret) -> Result<Kept, MissingCredential> {
        if self.choice() != Choice::File {
            match self.0.keyring.set(key, value) {
                Ok(()) => {
                    if let Ok(mut vault) = self.vault(key) {
                        let place = vault.to_string();
                        vault.remove(key).map_err(|reason| missing(key, &place, &reason))?;
                    }
                    return Ok(Kept::Keyring);
                }
                Err(error) if self.choice() == Choice::Keyring => {
                    return Err(missing(key, keyring::NAME, &error.to_string()));
                }
                Err(error) => tracing::debug!(%error, "the keyring is not used"),
            }
        }
        let mut vault = self.vault(key)?;
        let place = vault.to_string();
        let failed = |reason: String| missing(key, &place, &reason);
        let purpose = if vault.exists().map_err(failed)? { Purpose::Existing } else { Purpose::New };
        self.0.passphrase.open(&mut vault, purpose).map_err(failed)?;
        vault.set(key, value).map_err(failed)?;
        Ok(Kept::File(vault.path().to_path_buf()))
    }

    /// Forgets a key everywhere; whether it was anywhere.
    pub(crate) fn remove(&self, key: &str) -> Result<bool, MissingCredential> {
        let mut found = false;
        if self.choice() != Choice::File {
            match self.0.keyring.remove(key) {
                Ok(was_there) => found |= was_there,
                Err(error) if error.may_hold_it() || self.choice() == Choice::Keyring => {
                    return Err(missing(key, keyring::NAME, &error.to_string()));
                }
                Err(_) => {}
            }
        }
        if self.choice() != Choice::Keyring
            && let Ok(mut vault) = self.vault(key)
        {
            let place = vault.to_string();
            found |= vault.remove(key).map_err(|reason| missing(key, &place, &reason))?;
        }
        Ok(found)
    }

    /// All keys, and where each is kept. No passphrase is needed.
    pub(crate) fn keys(&self) -> Result<Vec<(String, Kept)>, MissingCredential> {
        let mut keys = Vec::new();
        if self.choice() != Choice::File {
            match self.0.keyring.keys() {
                Ok(found) => keys.extend(found.into_iter().map(|key| (key, Kept::Keyring))),
                Err(error) if error.may_hold_it() || self.choice() == Choice::Keyring => {
                    return Err(missing("*", keyring::NAME, &error.to_string()));
                }
                Err(_) => {}
            }
        }
        if self.choice() != Choice::Keyring
            && let Ok(vault) = self.vault("*")
        {
            let place = vault.to_string();
            let path = vault.path().to_path_buf();
            let found = vault.keys().map_err(|reason| missing("*", &place, &reason))?;
            keys.extend(found.into_iter().map(|key| (key, Kept::File(path.clone()))));
        }
        keys.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(keys)
    }

    /// Whether a value could be kept now without asking anybody for anything.
    pub(crate) fn is_ready(&self) -> bool {
        (self.choice() != Choice::File && self.0.keyring.is_there())
            || (self.choice() != Choice::Keyring && self.0.passphrase.is_at_hand())
    }

    /// Sees to it that a value can be kept: makes or opens the file, where there is no keyring.
    pub(crate) fn make_ready(&self) -> Result<(), MissingCredential> {
        if self.choice() != Choice::File && self.0.keyring.is_there() {
            return Ok(());
        }
        if self.choice() == Choice::Keyring {
            return self
                .0
                .keyring
                .get("*")
                .map(drop)
                .map_err(|error| missing("*", keyring::NAME, &error.to_string()));
        }
        let mut vault = self.vault("*")?;
        let place = vault.to_string();
        let failed = |reason: String| missing("*", &place, &reason);
        let purpose = if vault.exists().map_err(failed)? { Purpose::Existing } else { Purpose::New };
        self.0.passphrase.open(&mut vault, purpose).map_err(failed)
    }

    /// Asks for the file's passphrase now, where the file holds one of these keys and it will be needed: later there may
    /// be a display in the way.
    pub(crate) fn prepare(&self, keys: &[String]) {
        if self.choice() == Choice::Keyring {
            return;
        }
        let Ok(mut vault) = self.vault("*") else { return };
        if keys.iter().any(|key| vault.holds(key).unwrap_or(false))
            && let Err(reason) = self.0.passphrase.open(&mut vault, Purpose::Existing)
        {
            tracing::warn!("{vault}: {reason}");
        }
    }

    /// Why the keyring was not used, where it should have been and the file was used in its place.
    pub(crate) fn fell_back(&self) -> Option<String> {
        let trouble = self.0.keyring.trouble().filter(|_| self.choice() == Choice::Either);
        trouble.map(|error| format!("{} is not used: {error}", keyring::NAME))
    }

    /// Where it would look, in words.
    fn places(&self) -> String {
        let file = self
            .0
            .vault
            .as_ref()
            .map(|vault| vault.lock().unwrap_or_else(PoisonError::into_inner).to_string());
        match (self.choice(), file) {
            (Choice::Keyring, _) | (_, None) => keyring::NAME.to_owned(),
            (Choice::File, Some(file)) => file,
            (Choice::Either, Some(file)) => format!("{} or {file}", keyring::NAME),
        }
    }
}

impl SecretSource for SecretStore {
    fn secret(&self, name: &str) -> Result<Secret, SecretError> {
        match self.get(name) {
            Ok(Some(secret)) => Ok(secret),
            Ok(None) => Err(SecretError::Unknown { store: self.places() }),
            Err(missing) => Err(SecretError::Unavailable(missing)),
        }
    }
}

fn missing(key: &str, store: &str, reason: &str) -> MissingCredential {
    MissingCredential { name: key.to_owned(), store: store.to_owned(), reason: reason.to_owned() }
}
