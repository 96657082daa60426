//! The texts of a library.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

macro_rules! texts {
    ($($id:literal),* $(,)?) => {
        &[$(($id, include_str!(concat!("../collection/", $id, ".md")))),*]
    };
}

/// The collection that comes with the program.
const BUILT_IN: &[(&str, &str)] = texts![
    "bread",
    "coffee",
    "ferries",
    "knots-and-miles",
    "lighthouses",
    "maps",
    "meetings-across-zones",
    "stars",
    "tea",
    "tides",
    "time-zones",
    "weather",
];

/// A text: its lines, the first of which is its title.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The file's name without its ending; names the text.
    pub id: String,
    /// The title: the first heading, else the id.
    pub title: String,
    /// The lines.
    pub lines: Vec<String>,
}

impl Text {
    fn new(id: &str, body: &str) -> Self {
        let lines: Vec<String> = body.lines().map(|line| line.trim_end().to_owned()).collect();
        let heading = lines.iter().find_map(|line| line.strip_prefix("# "));
        Self { id: id.to_owned(), title: heading.unwrap_or(id).trim().to_owned(), lines }
    }

    /// The lines that hold prose: their numbers, from 1, and what they say.
    pub fn passages(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.lines.iter().enumerate().map(|(at, line)| (at + 1, line.as_str()));
        numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
    }
}

/// A collection of texts, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collection(Vec<Text>);

impl Collection {
    /// The collection that comes with the program: twelve short texts on the sea, time, and what to drink meanwhile.
    pub fn built_in() -> Self {
        Self(BUILT_IN.iter().map(|(id, body)| Text::new(id, body)).collect())
    }

    /// All `.md` and `.txt` files of a folder, without its subfolders.
    ///
    /// # Errors
    ///
    /// The folder or one of the files cannot be read, or there is no text in it.
    pub fn in_folder(folder: &Path) -> io::Result<Self> {
        let at = |path: &Path, error: &io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        };
        let mut texts = Vec::new();
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(folder).map_err(|error| at(folder, &error))? {
            let path = entry?.path();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            if !path.is_file() || !matches!(ending, "md" | "txt") {
                continue;
            }
            let body = fs::read(&path).map_err(|error| at(&path, &error))?;
            let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !ids.insert(id.clone()) {
                let problem = format!("{}: there are two texts {id:?} in the folder", path.display());
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            texts.push(Text::new(&id, &String::from_utf8_lossy(&body)));
        }
        if texts.is_empty() {
            let problem = format!("{}: there are no .md or .txt files in it", folder.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, problem));
        }
        texts.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Self(texts))
    }

    /// A collection of these texts, each an id and a body.
    pub fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(texts.into_iter().map(|(id, body)| Text::new(id, body)).collect())
    }

    /// All texts.
    pub fn texts(&self) -> &[Text] {
        &self.0
    }

    /// The text of this id.
    pub fn find(&self, id: &str) -> Option<&Text> {
        self.0.iter().find(|text| text.id.eq_ignore_ascii_case(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("collection");
        assert_eq!(Collection::in_folder(&folder).unwrap(), Collection::built_in());
        for text in Collection::built_in().texts() {
            assert_ne!(text.title, text.id, "{} has a heading", text.id);
            assert!(text.passages().count() >= 3, "{}", text.id);
        }
    }

    #[test]
    fn a_folder_without_texts_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("picture.png"), "x").unwrap();
        assert!(Collection::in_folder(folder.path()).unwrap_err().to_string().contains("no .md or .txt"));
        assert!(
            Collection::in_folder(&folder.path().join("missing"))
                .unwrap_err()
                .to_string()
                .contains("missing")
        );
        fs::write(folder.path().join("a.md"), b"broken \xff bytes").unwrap();
        assert_eq!(Collection::in_folder(folder.path()).unwrap().find("A").unwrap().title, "a");
        fs::write(folder.path().join("a.txt"), "another").unwrap();
        assert!(Collection::in_folder(folder.path()).unwrap_err().to_string().contains("two texts \"a\""));
    }
}
