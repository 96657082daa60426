//! The system's keyring: Keychain, Credential Manager, or whatever answers as the Secret Service on D-Bus.

#[cfg(all(unix, not(target_os = "macos")))]
mod dbus;
#[cfg(all(feature = "keyring", any(target_os = "macos", windows)))]
mod native;
#[cfg(not(any(
    all(unix, not(target_os = "macos")),
    all(feature = "keyring", any(target_os = "macos", windows))
)))]
mod none;
#[cfg(all(unix, not(target_os = "macos")))]
mod secret_service;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use massgen::config::Secret;
use massgen::core::Environment;

#[cfg(all(feature = "keyring", any(target_os = "macos", windows)))]
use self::native::System;
#[cfg(not(any(
    all(unix, not(target_os = "macos")),
    all(feature = "keyring", any(target_os = "macos", windows))
)))]
use self::none::System;
#[cfg(all(unix, not(target_os = "macos")))]
use self::secret_service::System;

/// What it is called in messages.
pub(crate) const NAME: &str = "the system's keyring";

/// Why the keyring cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyringError {
    /// There is none: nothing can be in it.
    Absent(String),
    /// It is there, and locked or silent: what is asked for may be in it.
    #[cfg_attr(
        not(any(all(unix, not(target_os = "macos")), feature = "keyring")),
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
pub(crate) struct Keyring {
    system: System,
    failed: Mutex<Option<KeyringError>>,
}

impl Keyring {
    pub(crate) fn new(environment: &Environment) -> Self {
        Self { system: System::new(environment), failed: Mutex::default() }
    }

    fn failed(&self) -> MutexGuard<'_, Option<KeyringError>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Held while it is asked: it is asked one thing at a time, and those who wait learn from the one before.
    fn ask<T>(&self, operation: impl FnOnce(&System) -> Result<T, KeyringError>) -> Result<T, KeyringError> {
        let mut failed = self.failed();
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        operation(&self.system).inspect_err(|error| *failed = Some(error.clone()))
    }

    /// What it failed by, where it did.
    pub(crate) fn trouble(&self) -> Option<KeyringError> {
        self.failed().clone()
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Secret>, KeyringError> {
        self.ask(|system| system.get(key))
    }

    pub(crate) fn set(&self, key: &str, value: &Secret) -> Result<(), KeyringError> {
        self.ask(|system| system.set(key, value))
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, key: &str) -> Result<bool, KeyringError> {
        self.ask(|system| system.remove(key))
    }

    pub(crate) fn keys(&self) -> Result<Vec<String>, KeyringError> {
        self.ask(System::keys)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.ask(System::answers).is_ok()
    }
}
