//! Two places for tokens: memory, and a folder of files that only the user can read.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mcp_core::{BoxFuture, ServerName};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use url::Url;

use super::{StoreError, TokenStore};

/// Keeps tokens until it is dropped.
#[derive(Default)]
pub struct MemoryTokens(Mutex<HashMap<(ServerName, Url), String>>);

impl TokenStore for MemoryTokens {
    fn load<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.get(&(server.clone(), resource.clone())).cloned();
        Box::pin(std::future::ready(Ok(record)))
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (server.clone(), resource.clone());
        match record {
            Some(record) => records.insert(key, record),
            None => records.remove(&key),
        };
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Keeps each server's tokens in a file of a folder. On Unix folder and files are the user's alone (0700 and 0600);
/// they are not encrypted.
#[derive(Debug)]
pub struct FileTokens {
    folder: PathBuf,
}

impl FileTokens {
    /// Keeps them in this folder, which is made when it is needed.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self, server: &ServerName) -> PathBuf {
        self.folder.join(format!("{server}.json"))
    }

    async fn read(&self, server: &ServerName, resource: &Url) -> Result<Option<String>, StoreError> {
        let path = self.path(server);
        let text = match tokio::fs::read(&path).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError(format!("{} cannot be read: {error}", path.display()))),
        };
        let kept: Value = serde_json::from_slice(&text)
            .map_err(|_| StoreError(format!("{} is damaged; remove it and log in again", path.display())))?;
        // A server that moved gets no token of the place where it was.
        if kept["resource"] != json!(resource) {
            return Ok(None);
        }
        Ok(kept["record"].as_str().map(str::to_owned))
    }

    async fn write(
        &self,
        server: &ServerName,
        resource: &Url,
        record: Option<String>,
    ) -> Result<(), StoreError> {
        let path = self.path(server);
        let failed =
            |error: std::io::Error| StoreError(format!("{} cannot be kept: {error}", path.display()));
        let Some(record) = record else {
            return match tokio::fs::remove_file(&path).await {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
                _ => Ok(()),
            };
        };
        make_folder(&self.folder).await.map_err(failed)?;
        let text = json!({"resource": resource, "record": record}).to_string();
        // Whole or not at all: a file that is half written would cost the login.
        let draft = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = async {
            write_private(&draft, text.as_bytes()).await?;
            tokio::fs::rename(&draft, &path).await
        };
        written.await.map_err(failed)
    }
}

async fn make_folder(folder: &Path) -> std::io::Result<()> {
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
    fn load<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(self.read(server, resource))
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.write(server, resource, record))
    }
}
