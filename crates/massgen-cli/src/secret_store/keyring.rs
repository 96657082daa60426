//! The system's keyring: Keychain, Credential Manager, or whatever answers as the Secret Service on D-Bus.
//!
//! It may be locked and wait for a click that never comes, so each operation runs on a thread of its own and is given up
//! after a while.

use std::fmt;
use std::sync::Mutex;

use massgen::config::Secret;

/// What it is called in messages.
pub(crate) const NAME: &str = "the system's keyring";

/// Why the keyring cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyringError {
    /// There is none, or this program was built without it: nothing can be in it.
    Absent(String),
    /// It is there, and locked or silent: what is asked for may be in it.
    #[cfg_attr(
        not(feature = "keyring"),
        expect(dead_code, reason = "only a keyring that is there can be locked")
    )]
    Locked(String),
}

impl KeyringError {
    pub(crate) fn may_hold_it(&self) -> bool {
        matches!(self, Self::Locked(_))
    }
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(reason) | Self::Locked(reason) => f.write_str(reason),
        }
    }
}

/// The keyring. What it once failed by is not tried again.
#[derive(Default)]
pub(crate) struct Keyring {
    failed: Mutex<Option<KeyringError>>,
}

#[cfg(not(feature = "keyring"))]
mod system {
    use super::{Keyring, KeyringError, Secret};

    impl Keyring {
        fn absent<T>(&self) -> Result<T, KeyringError> {
            let _ = &self.failed;
            Err(KeyringError::Absent("this program was built without the feature keyring".to_owned()))
        }

        pub(crate) fn get(&self, _: &str) -> Result<Option<Secret>, KeyringError> {
            self.absent()
        }

        pub(crate) fn set(&self, _: &str, _: &Secret) -> Result<(), KeyringError> {
            self.absent()
        }

        pub(crate) fn remove(&self, _: &str) -> Result<bool, KeyringError> {
            self.absent()
        }

        pub(crate) fn keys(&self) -> Result<Vec<String>, KeyringError> {
            self.absent()
        }

        pub(crate) fn is_there(&self) -> bool {
            false
        }
    }
}

#[cfg(feature = "keyring")]
mod system {
    use std::sync::{PoisonError, mpsc};
    use std::time::Duration;

    use keyring::v1::{Entry, Error};

    use super::{Keyring, KeyringError, Secret};

    /// Under which service the entries are.
    const SERVICE: &str = "massgen";
    /// The entry that lists the keys of all others: not every keyring can be searched.
    const INDEX: &str = "index of massgen";
    /// How long one operation may take.
    const LIMIT: Duration = Duration::from_secs(2);

    impl Keyring {
        pub(crate) fn get(&self, key: &str) -> Result<Option<Secret>, KeyringError> {
            let key = key.to_owned();
            self.bounded(move || read(&key)).map(|value| value.map(Secret::new))
        }

        pub(crate) fn set(&self, key: &str, value: &Secret) -> Result<(), KeyringError> {
            let (key, value) = (key.to_owned(), value.clone());
            self.bounded(move || {
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

        pub(crate) fn remove(&self, key: &str) -> Result<bool, KeyringError> {
            let key = key.to_owned();
            self.bounded(move || {
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

        pub(crate) fn keys(&self) -> Result<Vec<String>, KeyringError> {
            self.bounded(index)
        }

        pub(crate) fn is_there(&self) -> bool {
            self.bounded(|| read(INDEX)).is_ok()
        }

        fn bounded<T: Send + 'static>(
            &self,
            operation: impl FnOnce() -> Result<T, Error> + Send + 'static,
        ) -> Result<T, KeyringError> {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(error) = &*failed {
                return Err(error.clone());
            }
            let (reply, answer) = mpsc::channel();
            // Not on the caller's thread: nobody can take a locked keyring's question back.
            std::thread::spawn(move || {
                let store = match Entry::store_status() {
                    Ok(()) => operation().map_err(unusable),
                    Err(error) => Err(KeyringError::Absent(short(error))),
                };
                let _ = reply.send(store);
            });
            let outcome = answer.recv_timeout(LIMIT).unwrap_or_else(|_| {
                Err(KeyringError::Locked(format!("it does not answer within {} s", LIMIT.as_secs())))
            });
            if let Err(error) = &outcome {
                *failed = Some(error.clone());
            }
            outcome
        }
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
}
