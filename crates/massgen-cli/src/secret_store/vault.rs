//! The encrypted file: each value sealed by AES-256-GCM under a key that Argon2id derives from a passphrase. Keys are in
//! the clear, so that they can be listed without the passphrase; each value is bound to its key.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use massgen::config::Secret;
use serde::{Deserialize, Serialize};

/// The version of the file's format.
const FORMAT: u32 = 1;
/// The largest file that is read.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How long another program that changes the file is waited for: a change takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether that one is done.
const PAUSE: Duration = Duration::from_millis(20);
/// What the check value is bound to, and holds.
const CHECK: &str = "massgen secrets";

/// The file, and its key where it has been opened.
pub(super) struct Vault {
    path: PathBuf,
    key: Option<OpenKey>,
}

struct OpenKey {
    salt: String,
    key: LessSafeKey,
}

/// The file as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    format: u32,
    /// How the key is derived.
    kdf: Kdf,
    /// A value that is known, to tell a wrong passphrase from a damaged value.
    check: String,
    /// Values by key, sealed.
    entries: BTreeMap<String, String>,
}

/// Argon2id and its costs.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    algorithm: String,
    /// KiB of memory.
    memory: u32,
    passes: u32,
    lanes: u32,
    /// Hexadecimal.
    salt: String,
}

impl fmt::Display for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the encrypted file {}", self.path.display())
    }
}

impl Vault {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, key: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_open(&self) -> bool {
        self.key.is_some()
    }

    pub(super) fn exists(&self) -> Result<bool, String> {
        self.read().map(|content| content.is_some())
    }

    pub(super) fn holds(&self, key: &str) -> Result<bool, String> {
        Ok(self.read()?.is_some_and(|content| content.entries.contains_key(key)))
    }

    pub(super) fn keys(&self) -> Result<Vec<String>, String> {
        Ok(self.read()?.map(|content| content.entries.into_keys().collect()).unwrap_or_default())
    }

    /// Opens the file with its passphrase, or makes it.
    pub(super) fn open(&mut self, passphrase: &str) -> Result<(), String> {
        let _alone = self.lock()?;
        let content = match self.read()? {
            Some(content) => content,
            None => {
                // The costs that OWASP recommends for Argon2id with one lane.
                let kdf = Kdf {
                    algorithm: "argon2id".to_owned(),
                    memory: 19 * 1024,
                    passes: 2,
                    lanes: 1,
                    salt: salt()?,
                };
                let key = derive(passphrase, &kdf)?;
                let content = Content {
                    format: FORMAT,
                    kdf,
                    check: seal(&key, CHECK, CHECK)?,
                    entries: BTreeMap::new(),
                };
                self.write(&content)?;
                self.key = Some(OpenKey { salt: content.kdf.salt, key });
                return Ok(());
            }
        };
        let key = derive(passphrase, &content.kdf)?;
        if unseal(&key, CHECK, &content.check).as_deref() != Some(CHECK) {
            return Err("the passphrase is not the right one".to_owned());
        }
        self.key = Some(OpenKey { salt: content.kdf.salt, key });
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Secret>, String> {
        let Some(content) = self.read()? else { return Ok(None) };
        let Some(sealed) = content.entries.get(key) else { return Ok(None) };
        match unseal(self.opened(&content)?, key, sealed) {
            Some(value) => Ok(Some(Secret::new(value))),
            None => Err(format!("its value of {key:?} is damaged; set it anew")),
        }
    }

    pub(super) fn set(&mut self, key: &str, value: &Secret) -> Result<(), String> {
        let _alone = self.lock()?;
        let mut content = self.read()?.ok_or("it is gone")?;
        let sealed = seal(self.opened(&content)?, key, value.expose())?;
        content.entries.insert(key.to_owned(), sealed);
        self.write(&content)
    }

    /// Whether it was there. This needs no passphrase.
    pub(super) fn remove(&mut self, key: &str) -> Result<bool, String> {
        if !self.holds(key)? {
            return Ok(false);
        }
        let _alone = self.lock()?;
        let Some(mut content) = self.read()? else { return Ok(false) };
        let found = content.entries.remove(key).is_some();
        self.write(&content)?;
        Ok(found)
    }

    fn opened(&self, content: &Content) -> Result<&LessSafeKey, String> {
        match &self.key {
            Some(open) if open.salt == content.kdf.salt => Ok(&open.key),
            Some(_) => Err("it was replaced by another one meanwhile".to_owned()),
            None => Err("it is not open".to_owned()),
        }
    }

    fn read(&self) -> Result<Option<Content>, String> {
        let failed = |error: std::io::Error| format!("it cannot be read: {error}");
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > LARGEST => return Err("it is too large".to_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        }
        let text = std::fs::read(&self.path).map_err(failed)?;
        // What is wrong with it is not said: its text may be anything.
        let content: Content = serde_json::from_slice(&text)
            .map_err(|_| "it is damaged; move it away and set its secrets anew".to_owned())?;
        if content.format != FORMAT {
            return Err(format!("its format is {}, and this program knows {FORMAT}", content.format));
        }
        Ok(Some(content))
    }

    /// One program at a time changes it.
    fn lock(&self) -> Result<File, String> {
        self.lock_within(PATIENCE)
    }

    fn lock_within(&self, patience: Duration) -> Result<File, String> {
        let failed = |error: std::io::Error| format!("it cannot be locked: {error}");
        if let Some(folder) = self.path.parent() {
            private_folder(folder).map_err(failed)?;
        }
        let path = self.path.with_extension("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = private(&mut options).open(&path).map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if waited < patience => {
                    #[expect(clippy::disallowed_methods, reason = "whoever uses the store lets it block")]
                    std::thread::sleep(PAUSE);
                    waited += PAUSE;
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&mut file);
                    return Err(format!(
                        "{holder} has it locked ({}); end that, or try again when it is done",
                        path.display()
                    ));
                }
            }
        }
        // For whoever waits in vain; without room for it, they are told less.
        let _ = file.set_len(0).and_then(|()| file.write_all(std::process::id().to_string().as_bytes()));
        Ok(file)
    }

    /// Whole or not at all.
    fn write(&self, content: &Content) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("it cannot be written: {error}");
        let text = serde_json::to_vec_pretty(content).map_err(|error| error.to_string())?;
        let draft = self.path.with_extension(format!("{}.tmp", std::process::id()));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        let written = private(&mut options).open(&draft).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.path)
        });
        written.map_err(|error| {
            let _ = std::fs::remove_file(&draft);
            failed(error)
        })
    }
}

/// Who wrote itself into the lock file last.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // Where locks keep readers out, too, nothing is known.
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(process) => format!("another massgen, process {process},"),
        Err(_) => "another program".to_owned(),
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

fn private_folder(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn derive(passphrase: &str, kdf: &Kdf) -> Result<LessSafeKey, String> {
    if kdf.algorithm != "argon2id" || kdf.memory > 1 << 20 || kdf.passes > 64 || kdf.lanes > 16 {
        return Err("its key is derived in a way that this program does not know".to_owned());
    }
    let odd = |error: &dyn fmt::Display| format!("its key cannot be derived: {error}");
    let params = Params::new(kdf.memory, kdf.passes, kdf.lanes, Some(32)).map_err(|error| odd(&error))?;
    let salt = from_hex(&kdf.salt).ok_or("its salt is damaged")?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), &salt, &mut key)
        .map_err(|error| odd(&error))?;
    let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|error| odd(&error))?;
    Ok(LessSafeKey::new(key))
}

fn salt() -> Result<String, String> {
    Ok(to_hex(&random::<16>()?))
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(bytes)
}

/// A nonce and the sealed value, as hexadecimal. Nonces are random: a file of few values is far from the number at which
/// two could be the same.
fn seal(key: &LessSafeKey, name: &str, value: &str) -> Result<String, String> {
    let nonce = random::<NONCE_LEN>()?;
    let mut sealed = value.as_bytes().to_vec();
    key.seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::from(name.as_bytes()),
        &mut sealed,
    )
    .map_err(|_| "a value could not be encrypted".to_owned())?;
    Ok(to_hex(&nonce) + &to_hex(&sealed))
}

fn unseal(key: &LessSafeKey, name: &str, sealed: &str) -> Option<String> {
    let bytes = from_hex(sealed)?;
    let (nonce, value) = bytes.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut value = value.to_vec();
    let opened = key.open_in_place(nonce, Aad::from(name.as_bytes()), &mut value).ok()?;
    String::from_utf8(opened.to_vec()).ok()
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    // Two hexadecimal digits are a byte.
    Some(digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(folder: &Path) -> Vault {
        Vault::new(folder.join("state/secrets.json"))
    }

    #[test]
    fn a_value_comes_back_with_the_passphrase_and_not_without() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = vault(folder.path());
        assert_eq!(first.keys(), Ok(vec![]));
        first.open("correct horse").unwrap();
        first.set("tracker", &Secret::new("hunter2")).unwrap();
        first.set("login:x", &Secret::new("{}")).unwrap();

        let mut second = vault(folder.path());
        assert!(second.holds("tracker").unwrap(), "keys are known without the passphrase");
        assert!(second.get("tracker").is_err(), "it is not open");
        assert!(second.open("wrong horse").unwrap_err().contains("not the right one"));
        second.open("correct horse").unwrap();
        assert_eq!(second.get("tracker").unwrap().unwrap().expose(), "hunter2");
        assert_eq!(second.get("nothing").unwrap(), None);
        assert_eq!(second.remove("tracker"), Ok(true));
        assert_eq!(second.remove("tracker"), Ok(false));
        assert_eq!(first.keys(), Ok(vec!["login:x".to_owned()]));
    }

    #[test]
    fn a_lock_that_is_not_given_back_is_not_waited_for_for_ever_and_its_holder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let vault = vault(folder.path());
        for _ in 0..2 {
            let held = vault.lock().unwrap();
            let error = vault.lock_within(Duration::ZERO).unwrap_err();
            let holder = format!("process {},", std::process::id());
            assert!(error.contains(&holder) && error.contains("secrets.lock"), "{error}");
            drop(held);
        }
        vault.lock_within(Duration::ZERO).unwrap();
    }

    #[test]
    fn the_file_is_the_users_alone_and_shows_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let mut vault = vault(folder.path());
        vault.open("correct horse").unwrap();
        vault.set("tracker", &Secret::new("hunter2-hunter2")).unwrap();
        let text = std::fs::read_to_string(vault.path()).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("correct"), "{text}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(vault.path()), 0o600);
            assert_eq!(mode(vault.path().parent().unwrap()), 0o700);
        }
    }

    #[test]
    fn values_cannot_be_altered_or_moved_to_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let mut vault = vault(folder.path());
        vault.open("correct horse").unwrap();
        vault.set("a", &Secret::new("of a")).unwrap();
        vault.set("b", &Secret::new("of b")).unwrap();
        let mut content = vault.read().unwrap().unwrap();
        let moved = content.entries["a"].clone();
        content.entries.insert("b".into(), moved);
        vault.write(&content).unwrap();
        assert!(vault.get("b").unwrap_err().contains("damaged"));
        for damage in ["", "{}", "[1", "\u{0}"] {
            std::fs::write(vault.path(), damage).unwrap();
            assert!(vault.get("a").unwrap_err().contains("damaged"), "{damage:?}");
        }
    }
}
