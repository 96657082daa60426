//! The key of this installation's audit logs: 32 random bytes in a file of the user's own, where no log is.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use massgen::core::Environment;
use massgen::security::audit::Key;

use crate::environment;

/// The file; `None`: the environment names no folder of the user's.
pub(crate) fn path(environment: &Environment) -> Option<PathBuf> {
    Some(environment::state_folder(environment)?.join("audit.key"))
}

/// The key, where there is one.
pub(crate) fn read(path: &Path) -> io::Result<Option<Key>> {
    let mut bytes = [0; 32];
    match std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes)) {
        Ok(()) => Ok(Some(Key::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The key, which is made where there is none.
pub(crate) fn read_or_make(path: &Path) -> io::Result<Key> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    // Whole or not at all, and of two runs that begin at once the first one's.
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&draft).and_then(|mut file| file.write_all(&bytes));
    let made = written.and_then(|()| std::fs::hard_link(&draft, path));
    let _ = std::fs::remove_file(&draft);
    match made {
        Ok(()) => Ok(Key::new(bytes)),
        Err(error) => match read(path) {
            Ok(Some(key)) => Ok(key),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/audit.key");
        assert!(read(&path).unwrap().is_none());
        let made = read_or_make(&path).unwrap();
        assert_eq!(read_or_make(&path).unwrap().id(), made.id());
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::write(&path, "short").unwrap();
        assert!(read_or_make(&path).is_err());
    }
}
