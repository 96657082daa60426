//! The keyrings that have an interface of their own: Keychain and Credential Manager.
//!
//! They may wait for a click that never comes, so each operation runs on a thread of its own and is given up after a
//! while.

use std::sync::mpsc;
use std::time::Duration;

use keyring::v1::{Entry, Error};
use massgen::config::Secret;
use massgen::core::Environment;

use super::KeyringError;

/// Under which service the entries are.
const SERVICE: &str = "massgen";
/// The entry that lists the keys of all others: not every keyring can be searched.
const INDEX: &str = "index of massgen";
/// How long one operation may take: whoever needs the value is answered within two seconds, what comes after included.
const LIMIT: Duration = Duration::from_millis(1500);

pub(super) struct System;

impl System {
    pub(super) fn new(_: &Environment) -> Self {
        Self
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Secret>, KeyringError> {
        let key = key.to_owned();
        bounded(move || read(&key)).map(|value| value.map(Secret::new))
    }

    pub(super) fn set(&self, key: &str, value: &Secret) -> Result<(), KeyringError> {
        let (key, value) = (key.to_owned(), value.clone());
        bounded(move || {
            Entry::new(SERVICE, &key)?.set_password(value.expose())?;
            let mut keys = index()?;
            if !keys.contains(&key) {
                keys.push(key);
                keys.sort();
                write_index(&keys)?;
            }
            Ok(())
        })
    }

    pub(super) fn remove(&self, key: &str) -> Result<bool, KeyringError> {
        let key = key.to_owned();
        bounded(move || {
            let found = match Entry::new(SERVICE, &key)?.delete_credential() {
                Ok(()) => true,
                Err(Error::NoEntry) => false,
                Err(error) => return Err(error),
            };
            let mut keys = index()?;
            if keys.contains(&key) {
                keys.retain(|known| *known != key);
                write_index(&keys)?;
            }
            Ok(found)
        })
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, KeyringError> {
        bounded(index)
    }

    /// Whether it is there and answers.
    pub(super) fn answers(&self) -> Result<(), KeyringError> {
        bounded(|| read(INDEX)).map(drop)
    }
}

fn bounded<T: Send + 'static>(
    operation: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, KeyringError> {
    let (reply, answer) = mpsc::channel();
    // Not on the caller's thread: nobody can take a locked keyring's question back.
    std::thread::spawn(move || {
        let store = match Entry::store_status() {
            Ok(()) => operation().map_err(unusable),
            Err(error) => Err(KeyringError::Absent(short(error))),
        };
        let _ = reply.send(store);
    });
    answer.recv_timeout(LIMIT).unwrap_or_else(|_| {
        Err(KeyringError::Locked(format!("it does not answer within {} s", LIMIT.as_secs_f32())))
    })
}

fn read(key: &str) -> Result<Option<String>, Error> {
    match Entry::new(SERVICE, key)?.get_password() {
        Ok(value) => Ok(Some(value)),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    }
}

fn index() -> Result<Vec<String>, Error> {
    let text = read(INDEX)?.unwrap_or_default();
    // One that cannot be read is written anew with the next key.
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

fn write_index(keys: &[String]) -> Result<(), Error> {
    let text = serde_json::to_string(keys).unwrap_or_default();
    Entry::new(SERVICE, INDEX)?.set_password(&text)
}

fn unusable(error: Error) -> KeyringError {
    match error {
        Error::NoDefaultStore => KeyringError::Absent(short(&error)),
        error => KeyringError::Locked(short(&error)),
    }
}

/// No error of a keyring holds a value in its text; some hold one in their fields, which are not shown.
fn short(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(200).collect()
}
