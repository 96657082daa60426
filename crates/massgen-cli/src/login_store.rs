//! Logins at remote servers, kept where secrets are. A login is bound to its server, to the address that it is for, and
//! to the issuer that made it.

use std::path::{Path, PathBuf};

use massgen::config::{Config, McpTransport, Secret};
use massgen::core::{BoxFuture, ServerName};
use massgen::transport::oauth::{FileTokens, StoreError, TokenStore};
use url::Url;

use crate::output;
use crate::secret_store::SecretStore;

/// What the keys of logins begin with. No secret's name holds a colon.
pub(crate) const PREFIX: &str = "login:";

/// Logins in the secret store; those that an earlier version wrote into a folder, in the clear, are moved there.
pub(crate) struct Logins {
    store: SecretStore,
    /// Where an earlier version kept them, while there are some left.
    plain: Option<FileTokens>,
}

/// How the keys of a server's logins begin.
pub(crate) fn key_begins(server: &ServerName) -> String {
    format!("{PREFIX}{server} ")
}

/// The key of a login.
pub(crate) fn key(server: &str, resource: &Url) -> String {
    format!("{PREFIX}{server} {resource}")
}

impl Logins {
    /// `folder`: where an earlier version kept them.
    pub(crate) fn new(store: SecretStore, folder: &Path) -> Self {
        let plain = match left_behind(folder) {
            left if left.is_empty() => None,
            left => adopt(&store, folder, left).then(|| FileTokens::new(folder)),
        };
        Self { store, plain }
    }

    /// Asks for a passphrase now, where one of the configuration's servers has a login that needs it.
    pub(crate) fn prepare(store: &SecretStore, config: &Config) {
        let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
        let keys = config.mcp_servers.iter().chain(own).filter_map(|server| match &server.transport {
            McpTransport::StreamableHttp { url, .. } | McpTransport::Sse { url, .. } => {
                Some(key(server.name.as_str(), &Url::parse(url).ok()?))
            }
            McpTransport::Stdio { .. } => None,
        });
        store.prepare(&keys.collect::<Vec<_>>());
    }
}

/// Files of logins in the clear.
fn left_behind(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect()
}

/// Moves logins into the store. True: some could not be moved and stay where they are.
fn adopt(store: &SecretStore, folder: &Path, files: Vec<PathBuf>) -> bool {
    if !store.is_ready() {
        output::note(format!(
            "warning: the logins in {} are not encrypted. massgen mcp auth SERVER makes them anew where secrets are kept; \
             with MASSGEN_SECRETS_PASSPHRASE they are moved there",
            folder.display()
        ));
        return true;
    }
    let mut left = false;
    for file in files {
        match move_one(store, &file) {
            Ok(kept) => output::note(format!("the login in {} was moved into {kept}", file.display())),
            Err(reason) => {
                left = true;
                output::note(format!("warning: the login in {} is not encrypted: {reason}", file.display()));
            }
        }
    }
    left
}

fn move_one(store: &SecretStore, file: &Path) -> Result<String, String> {
    let text = std::fs::read(file).map_err(|error| error.to_string())?;
    let kept: serde_json::Value = serde_json::from_slice(&text).map_err(|_| "it is damaged".to_owned())?;
    let server = file.file_stem().and_then(|stem| stem.to_str()).ok_or("its name is odd")?;
    let resource = kept["resource"].as_str().and_then(|url| Url::parse(url).ok()).ok_or("it is damaged")?;
    let record = kept["record"].as_str().ok_or("it is damaged")?;
    let kept =
        store.set(&key(server, &resource), &Secret::new(record)).map_err(|missing| missing.to_string())?;
    std::fs::remove_file(file).map_err(|error| format!("it cannot be removed: {error}"))?;
    Ok(kept.to_string())
}

/// Keyrings and files block.
async fn elsewhere<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError(error.to_string())),
    }
}

impl TokenStore for Logins {
    fn load<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
    ) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let (store, key) = (self.store.clone(), key(server.as_str(), resource));
            let found = elsewhere(move || {
                let found = store.get(&key).map_err(|missing| StoreError(missing.to_string()))?;
                Ok(found.map(|record| record.expose().to_owned()))
            });
            match (found.await?, &self.plain) {
                (None, Some(plain)) => plain.load(server, resource).await,
                (found, _) => Ok(found),
            }
        })
    }

    fn save<'a>(
        &'a self,
        server: &'a ServerName,
        resource: &'a Url,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            // One that could not be moved is renewed where it is; it was told.
            if let Some(plain) = &self.plain
                && plain.load(server, resource).await?.is_some()
            {
                return plain.save(server, resource, record).await;
            }
            let (store, key) = (self.store.clone(), key(server.as_str(), resource));
            elsewhere(move || {
                let saved = match record {
                    Some(record) => store.set(&key, &Secret::new(record)).map(drop),
                    None => store.remove(&key).map(drop),
                };
                saved.map_err(|missing| StoreError(missing.to_string()))
            })
            .await
        })
    }
}
