//! Two places for tokens: memory, and a folder of files that only the user can read.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mcp_core::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::{LoginKey, StoreError, TokenStore, Turn};

/// Keeps tokens until it is dropped.
#[derive(Default)]
pub struct MemoryTokens {
    records: Mutex<HashMap<Url, String>>,
    turns: Mutex<HashMap<Url, Arc<tokio::sync::Mutex<()>>>>,
}

impl TokenStore for MemoryTokens {
    fn load<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let record = self.records.lock().unwrap_or_else(PoisonError::into_inner).get(resource).cloned();
        Box::pin(std::future::ready(Ok(record)))
    }

    fn save<'a>(
        &'a self,
        login: &'a LoginKey,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        match record {
            Some(record) => records.insert(login.resource.clone(), record),
            None => records.remove(&login.resource),
        };
        Box::pin(std::future::ready(Ok(())))
    }

    fn turn<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Turn> {
        let turns = &mut *self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = turns.entry(resource.clone()).or_default().clone();
        Box::pin(async move { Turn::held_by(turn.lock_owned().await) })
    }
}

/// Keeps each login in a file of a folder. On Unix folder and files are the user's alone (0700 and 0600); they are not
/// encrypted.
#[derive(Debug)]
pub struct FileTokens {
    folder: PathBuf,
}

impl FileTokens {
    /// Keeps them in this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The file of a new login.
    fn path(&self, login: &LoginKey) -> PathBuf {
        let issuer = login.issuer.as_deref().unwrap_or_default();
        self.folder.join(format!("{}.json", short_hash(&format!("{issuer} {}", login.resource))))
    }

    /// The files for a resource, whatever they are called, and what each holds.
    async fn find(&self, resource: &Url) -> Result<Vec<(PathBuf, Option<String>)>, StoreError> {
        let failed = |path: &Path, error: std::io::Error| {
            StoreError(format!("{} cannot be read: {error}", path.display()))
        };
        let mut entries = match tokio::fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(&self.folder, error)),
        };
        let (mut found, mut damaged) = (Vec::new(), None);
        while let Some(entry) = entries.next_entry().await.map_err(|error| failed(&self.folder, error))? {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let text = match tokio::fs::read(&path).await {
                Ok(text) => text,
                // Another program has just put a newer one in its place, or logged out.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(&path, error)),
            };
            match serde_json::from_slice::<Value>(&text) {
                Ok(kept) if kept["resource"] == json!(resource) => {
                    found.push((path, kept["record"].as_str().map(str::to_owned)));
                }
                Ok(_) => {}
                Err(_) => damaged = Some(path),
            }
        }
        match damaged {
            // It may be the one.
            Some(path) if found.is_empty() => {
                Err(StoreError(format!("{} is damaged; remove it and log in again", path.display())))
            }
            _ => Ok(found),
        }
    }

    async fn write(&self, login: &LoginKey, record: Option<String>) -> Result<(), StoreError> {
        let path = self.path(login);
        let failed =
            |error: std::io::Error| StoreError(format!("{} cannot be kept: {error}", path.display()));
        let before = self.find(&login.resource).await;
        if let Some(record) = &record {
            make_folder(&self.folder).await.map_err(failed)?;
            let text =
                json!({"issuer": login.issuer, "resource": login.resource, "record": record}).to_string();
            // Whole or not at all: a file that is half written would cost the login.
            let draft = path.with_extension(format!("{}.tmp", std::process::id()));
            let written = async {
                write_private(&draft, text.as_bytes()).await?;
                tokio::fs::rename(&draft, &path).await
            };
            if let Err(error) = written.await {
                // Nothing of a login lies about.
                let _ = tokio::fs::remove_file(&draft).await;
                return Err(failed(error));
            }
        }
        let is_old = |old: &PathBuf| record.is_none() || *old != path;
        for (old, _) in before?.into_iter().filter(|(old, _)| is_old(old)) {
            match tokio::fs::remove_file(&old).await {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
                _ => {}
            }
        }
        Ok(())
    }
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text)[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) async fn make_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = tokio::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(folder).await
}

async fn write_private(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let mut file = options.open(path).await?;
    file.write_all(text).await?;
    file.sync_all().await
}

impl TokenStore for FileTokens {
    fn load<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move { Ok(self.find(resource).await?.into_iter().find_map(|(_, record)| record)) })
    }

    fn save<'a>(
        &'a self,
        login: &'a LoginKey,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.write(login, record))
    }

    fn turn<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Turn> {
        let path = self.folder.join(format!("{}.lock", short_hash(resource.as_str())));
        Box::pin(async move { Turn::at_file(&path).await })
    }
}
