//! No keyring: this program was built without that of its system.

use massgen::config::Secret;
use massgen::core::Environment;

use super::KeyringError;

pub(super) struct System;

impl System {
    pub(super) fn new(_: &Environment) -> Self {
        Self
    }

    pub(super) fn get(&self, _: &str) -> Result<Option<Secret>, KeyringError> {
        absent()
    }

    pub(super) fn set(&self, _: &str, _: &Secret) -> Result<(), KeyringError> {
        absent()
    }

    pub(super) fn remove(&self, _: &str) -> Result<bool, KeyringError> {
        absent()
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, KeyringError> {
        absent()
    }

    pub(super) fn answers(&self) -> Result<(), KeyringError> {
        absent()
    }
}

fn absent<T>() -> Result<T, KeyringError> {
    Err(KeyringError::Absent("this program was built without the feature keyring".to_owned()))
}
