//! Logins at remote servers, kept where secrets are. A login is bound to the issuer that made it and to the address that it is
//! for: servers at one address share it, whatever they are called.

use std::path::{Path, PathBuf};

use massgen::config::{Config, McpTransport, Secret};
use massgen::core::{BoxFuture, MissingCredential};
use massgen::security::lock::sha256_hex;
use massgen::transport::oauth::{FileTokens, LoginKey, StoreError, TokenStore, Turn};
use url::Url;

use crate::output;
use crate::secret_store::{Kept, SecretStore};

/// What the keys of logins begin with. No secret's name holds a colon.
pub(crate) const PREFIX: &str = "login:";

/// Logins in the secret store; those that an earlier version wrote into a folder, in the clear, are moved there.
pub(crate) struct Logins {
    store: SecretStore,
    /// Where an earlier version kept them. Locks on its files say whose turn it is to renew one.
    folder: PathBuf,
    /// The same, while there are some left.
    plain: Option<FileTokens>,
}

/// What stands in the place of an issuer that has no name.
const NAMELESS: &str = "-";

/// The key of a login. An earlier version had the server's name in the place of the issuer.
fn key(issuer: &str, resource: &Url) -> String {
    format!("{PREFIX}{issuer} {resource}")
}

/// Whether a key is that of a login for this address, of an earlier version too.
fn is_for(key: &str, resource: &Url) -> bool {
    let key = key.strip_prefix(PREFIX).and_then(|key| key.strip_suffix(resource.as_str()));
    key.is_some_and(|issuer| issuer.ends_with(' ') && issuer.trim_end().find(' ').is_none())
}

/// The keys of the logins for an address, and where they are kept. It blocks.
pub(crate) fn keys(store: &SecretStore, resource: &Url) -> Result<Vec<(String, Kept)>, MissingCredential> {
    Ok(store.keys()?.into_iter().filter(|(key, _)| is_for(key, resource)).collect())
}

impl Logins {
    /// `folder`: where an earlier version kept them.
    pub(crate) fn new(store: SecretStore, folder: &Path) -> Self {
        let plain = match left_behind(folder) {
            left if left.is_empty() => None,
            left => adopt(&store, folder, left).then(|| FileTokens::new(folder)),
        };
        Self { store, folder: folder.to_owned(), plain }
    }

    /// Asks for a passphrase now, where one of the configuration's servers has a login that needs it.
    pub(crate) fn prepare(store: &SecretStore, config: &Config) {
        let own = config.agents.iter().flat_map(|agent| &agent.backend.mcp_servers);
        let resources: Vec<Url> =
            config.mcp_servers.iter().chain(own).filter_map(|server| resource(&server.transport)).collect();
        if resources.is_empty() {
            return;
        }
        // What cannot be looked into now is told when a server needs it.
        let keys = store.keys().unwrap_or_default().into_iter().map(|(key, _)| key);
        let wanted = keys.filter(|key| resources.iter().any(|resource| is_for(key, resource)));
        store.prepare(&wanted.collect::<Vec<_>>());
    }
}

/// The address that a server's login is for.
pub(crate) fn resource(transport: &McpTransport) -> Option<Url> {
    match transport {
        McpTransport::StreamableHttp { url, .. } | McpTransport::Sse { url, .. } => Url::parse(url).ok(),
        McpTransport::Stdio { .. } => None,
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
    let resource = kept["resource"].as_str().and_then(|url| Url::parse(url).ok()).ok_or("it is damaged")?;
    let record = kept["record"].as_str().ok_or("it is damaged")?;
    let issuer = serde_json::from_str::<serde_json::Value>(record).unwrap_or_default();
    let issuer = issuer["issuer"].as_str().unwrap_or(NAMELESS).to_owned();
    let kept =
        store.set(&key(&issuer, &resource), &Secret::new(record)).map_err(|missing| missing.to_string())?;
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
    fn load<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Result<Option<String>, StoreError>> {
        Box::pin(async move {
            let (store, wanted) = (self.store.clone(), resource.clone());
            let found =
                elsewhere(move || read(&store, &wanted).map_err(|error| StoreError(error.to_string())));
            match (found.await?, &self.plain) {
                (None, Some(plain)) => plain.load(resource).await,
                (found, _) => Ok(found),
            }
        })
    }

    fn save<'a>(
        &'a self,
        login: &'a LoginKey,
        record: Option<String>,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            // One that could not be moved is renewed where it is; it was told.
            if let Some(plain) = &self.plain
                && plain.load(&login.resource).await?.is_some()
            {
                return plain.save(login, record).await;
            }
            let (store, login) = (self.store.clone(), login.clone());
            elsewhere(move || write(&store, &login, record).map_err(|error| StoreError(error.to_string())))
                .await
        })
    }

    fn turn<'a>(&'a self, resource: &'a Url) -> BoxFuture<'a, Turn> {
        let file = self.folder.join(format!("{}.lock", sha256_hex(resource.as_str())));
        Box::pin(async move { Turn::at_file(&file).await })
    }
}

fn read(store: &SecretStore, resource: &Url) -> Result<Option<String>, MissingCredential> {
    for (key, _) in keys(store, resource)? {
        if let Some(record) = store.get(&key)? {
            return Ok(Some(record.expose().to_owned()));
        }
    }
    Ok(None)
}

fn write(store: &SecretStore, login: &LoginKey, record: Option<String>) -> Result<(), MissingCredential> {
    let now = key(login.issuer.as_deref().unwrap_or(NAMELESS), &login.resource);
    let before = keys(store, &login.resource)?;
    let is_kept = record.is_some();
    if let Some(record) = record {
        store.set(&now, &Secret::new(record))?;
    }
    // Those of other issuers, and those under the name of a server.
    for (old, _) in before.into_iter().filter(|(old, _)| !is_kept || *old != now) {
        store.remove(&old)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use massgen::core::Environment;

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn a_key_is_for_its_address_alone() {
        let resource = url("https://a.example/mcp");
        for (key, expected) in [
            ("login:https://i.example https://a.example/mcp", true),
            ("login:- https://a.example/mcp", true),
            ("login:tracker https://a.example/mcp", true),
            ("login:https://i.example https://b.example/mcp", false),
            ("login:https://i.example https://evil.example/?https://a.example/mcp", false),
            ("login:x https://evil.example/ https://a.example/mcp", false),
            ("https://i.example https://a.example/mcp", false),
            ("login:https://a.example/mcp", false),
        ] {
            assert_eq!(is_for(key, &resource), expected, "{key}");
        }
    }

    #[test]
    fn a_login_by_a_servers_name_is_found_and_takes_its_new_name() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap().to_owned();
        let variables = [
            ("HOME", home.as_str()),
            ("MASSGEN_SECRETS", "file"),
            ("MASSGEN_SECRETS_PASSPHRASE", "correct horse"),
        ];
        let store = SecretStore::new(&Environment::from_iter(variables));
        let resource = url("https://a.example/mcp");
        let names = |store: &SecretStore| -> Vec<String> {
            store.keys().unwrap().into_iter().map(|(key, _)| key).collect()
        };
        store.set("login:tracker https://a.example/mcp", &Secret::new("older")).unwrap();
        store.set("login:tracker https://b.example/mcp", &Secret::new("another")).unwrap();
        assert_eq!(read(&store, &resource).unwrap().as_deref(), Some("older"));
        let login = |issuer: &str| LoginKey { issuer: Some(issuer.to_owned()), resource: resource.clone() };
        for issuer in ["https://one.example", "https://two.example"] {
            write(&store, &login(issuer), Some(format!("by {issuer}"))).unwrap();
            assert_eq!(
                names(&store),
                [format!("login:{issuer} {resource}"), "login:tracker https://b.example/mcp".to_owned()]
            );
            assert_eq!(read(&store, &resource).unwrap(), Some(format!("by {issuer}")));
        }
        write(&store, &login("https://two.example"), None).unwrap();
        assert_eq!(names(&store), ["login:tracker https://b.example/mcp"]);
    }
}
