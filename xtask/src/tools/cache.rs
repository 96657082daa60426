//! The cache folder: where it is, who may change it, and what is complete in it.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Written last, so that a broken installation is never taken for a complete one.
const STAMP: &str = "massgen-stamp";
/// Another run may be installing everything over a slow line.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The cache folder. `massgen-testkit` looks in the same place.
pub(super) fn folder() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("MASSGEN_CACHE") {
        return Ok(folder);
    }
    if let Some(folder) = set("XDG_CACHE_HOME") {
        return Ok(folder.join("massgen-dev"));
    }
    let home = set("HOME").or_else(|| set("USERPROFILE"));
    Ok(home.context("no home folder: set MASSGEN_CACHE")?.join(".cache").join("massgen-dev"))
}

/// Keeps a second run out until it is dropped, or the process ends.
pub(super) fn lock(cache: &Path) -> Result<File> {
    create(cache)?;
    let path = cache.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let end = Instant::now() + PATIENCE;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                if !told {
                    println!("waiting for another `cargo xtask tools` to end");
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(200));
            }
            Err(TryLockError::WouldBlock) => bail!("another `cargo xtask tools` holds {}", path.display()),
        }
    }
}

pub(super) fn is_stamped(folder: &Path, pins: &[&str]) -> bool {
    std::fs::read_to_string(folder.join(STAMP)).is_ok_and(|text| text == pins.join("\n"))
}

pub(super) fn stamp(folder: &Path, pins: &[&str]) -> Result<()> {
    let path = folder.join(STAMP);
    std::fs::write(&path, pins.join("\n")).with_context(|| format!("cannot write {}", path.display()))
}

/// An empty folder, whatever was there before.
pub(super) fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", folder.display()));
        }
        _ => {}
    }
    create(folder)
}

fn create(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for one test, gone afterwards.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("massgen-xtask-{name}-{}", std::process::id()));
            clear(&folder).unwrap();
            Self(folder)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_stamp_is_good_for_its_own_pins_only() {
        let scratch = Scratch::new("stamp");
        assert!(!is_stamped(&scratch.0, &["a==1"]));
        stamp(&scratch.0, &["a==1"]).unwrap();
        assert!(is_stamped(&scratch.0, &["a==1"]));
        assert!(!is_stamped(&scratch.0, &["a==2"]));
        clear(&scratch.0).unwrap();
        assert!(!is_stamped(&scratch.0, &["a==1"]));
    }

    #[test]
    fn a_second_lock_waits_for_the_first() {
        let scratch = Scratch::new("lock");
        let first = lock(&scratch.0).unwrap();
        let other = File::create(scratch.0.join("lock")).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
        drop(first);
        assert!(other.try_lock().is_ok());
    }
}
