//! Notes on the desk: in memory, or in a file.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

const MOST: usize = 1000;
const LONGEST_NAME: usize = 100;
const LONGEST_TEXT: usize = 100_000;

/// Notes by name.
#[derive(Debug, Default)]
pub struct Notes {
    file: Option<PathBuf>,
    notes: Mutex<BTreeMap<String, String>>,
}

impl Notes {
    /// Notes kept in a JSON file, an object of texts by name. A file that does not exist is made by the first note.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is something else: it is not overwritten then.
    pub async fn in_file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let notes = match tokio::fs::read(&path).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let problem = format!("{} is not a file of notes: {error}", path.display());
                io::Error::new(io::ErrorKind::InvalidData, problem)
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        Ok(Self { file: Some(path), notes: Mutex::new(notes) })
    }

    /// Keeps a note; one of the same name is replaced. Says whether there was one.
    pub(crate) async fn write(&self, name: &str, text: &str) -> Result<bool, String> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(format!("a note's name has 1 to {LONGEST_NAME} characters and no line breaks"));
        }
        if text.len() > LONGEST_TEXT {
            return Err(format!("the note is {} bytes long; at most {LONGEST_TEXT} are kept", text.len()));
        }
        let mut notes = self.notes.lock().await;
        if notes.len() >= MOST && !notes.contains_key(name) {
            return Err(format!("the desk is full: it has {MOST} notes"));
        }
        // What cannot be saved is not kept either: the answer must be true after a restart too.
        let mut next = notes.clone();
        let replaced = next.insert(name.to_owned(), text.to_owned()).is_some();
        if let Some(file) = &self.file {
            save(file, &next).await.map_err(|error| format!("the note could not be saved: {error}"))?;
        }
        *notes = next;
        Ok(replaced)
    }

    pub(crate) async fn list(&self) -> Vec<(String, usize)> {
        let notes = self.notes.lock().await;
        notes.iter().map(|(name, text)| (name.clone(), text.chars().count())).collect()
    }

    pub(crate) async fn read(&self, name: &str) -> Result<String, String> {
        let notes = self.notes.lock().await;
        notes.get(name.trim()).cloned().ok_or_else(|| {
            let names: Vec<&str> = notes.keys().map(String::as_str).take(20).collect();
            match names.as_slice() {
                [] => format!("there is no note {name:?}; there are no notes yet"),
                names => format!("there is no note {name:?}; there are: {}", names.join(", ")),
            }
        })
    }
}

/// Writes beside the file and renames: a crash leaves the old notes, never half of the new ones.
async fn save(file: &Path, notes: &BTreeMap<String, String>) -> io::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    tokio::fs::write(&beside, serde_json::to_vec_pretty(notes)?).await?;
    tokio::fs::rename(&beside, file).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notes_survive_in_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.json");
        let notes = Notes::in_file(&file).await.unwrap();
        assert_eq!(notes.write("ferry", "321.9 km").await, Ok(false));
        assert_eq!(notes.write("ferry", "322 km").await, Ok(true));
        let again = Notes::in_file(&file).await.unwrap();
        assert_eq!(again.read("ferry").await.as_deref(), Ok("322 km"));
        assert_eq!(again.list().await, [("ferry".to_owned(), 6)]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[tokio::test]
    async fn a_file_of_something_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notes.json");
        std::fs::write(&file, "dear diary").unwrap();
        let error = Notes::in_file(&file).await.unwrap_err();
        assert!(error.to_string().contains("is not a file of notes"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "dear diary");
    }

    #[tokio::test]
    async fn a_note_that_cannot_be_saved_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::in_file(folder.path().join("missing").join("notes.json")).await.unwrap();
        assert!(notes.write("a", "b").await.unwrap_err().contains("could not be saved"));
        assert!(notes.list().await.is_empty());
    }

    #[tokio::test]
    async fn limits_are_told() {
        let notes = Notes::default();
        for name in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert!(notes.write(name, "text").await.unwrap_err().contains("1 to 100 characters"), "{name:?}");
        }
        assert!(notes.write("a", &"x".repeat(LONGEST_TEXT + 1)).await.unwrap_err().contains("at most"));
        for at in 0..MOST {
            notes.write(&at.to_string(), "").await.unwrap();
        }
        assert!(notes.write("one more", "").await.unwrap_err().contains("full"));
        assert_eq!(notes.write("7", "changed").await, Ok(true), "an old one may still change");
        assert!(notes.read("none").await.unwrap_err().contains("there are: 0, 1, 10"));
    }
}
