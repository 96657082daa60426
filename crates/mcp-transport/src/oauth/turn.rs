//! One at a time: who makes or renews a login.

use std::any::Any;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

/// How often a file is looked at that another program holds.
const AGAIN: Duration = Duration::from_millis(50);
/// For how long. Whoever is still at it then is at a login page, or hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The right to make or renew a login. The next one has it when this is dropped.
#[derive(Default)]
#[must_use = "the turn is over when it is dropped"]
pub struct Turn(Option<Box<dyn Any + Send>>);

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Turn").field(&self.0.is_some()).finish()
    }
}

impl Turn {
    /// A turn that lasts as long as what it is kept by.
    pub fn held_by(guard: impl Any + Send) -> Self {
        Self(Some(Box::new(guard)))
    }

    /// A turn among all sessions and programs of this user: by a lock on a file, which is made where there is none. Where it
    /// cannot be had within a minute, or not at all, the answer is a turn that nobody waits for.
    pub async fn at_file(path: &Path) -> Self {
        match lock(path).await {
            Ok(file) => Self::held_by(file),
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "a login is renewed without waiting for others");
                Self::default()
            }
        }
    }
}

async fn lock(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        super::tokens::make_folder(folder).await?;
    }
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(path).await?.into_std().await;
    let begun = tokio::time::Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_and_nobody_waits_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logins/one.lock");
        let first = Turn::at_file(&path).await;
        assert!(first.0.is_some());
        // Another file under the name is another lock: it is left where it is.
        let waiting = tokio::spawn({
            let path = path.clone();
            async move { Turn::at_file(&path).await }
        });
        tokio::time::sleep(PATIENCE / 2).await;
        assert!(!waiting.is_finished());
        drop(first);
        let second = waiting.await.unwrap();
        assert!(second.0.is_some() && path.exists());
        let begun = tokio::time::Instant::now();
        assert!(Turn::at_file(&path).await.0.is_none());
        assert!(begun.elapsed() >= PATIENCE);
        drop(second);
        assert!(Turn::at_file(folder.path()).await.0.is_none(), "a folder cannot be opened like that");
    }
}
