//! `run.json`: what a run was made of, written before it begins, so that one that was cut off can be taken up again.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The version of this document.
const VERSION: u32 = 1;
/// Its name in the log folder.
const NAME: &str = "run.json";

/// What a run was made of. It holds no question and no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunRecord {
    pub(crate) v: u32,
    /// The configuration; `None`: there was no file.
    pub(crate) config: Option<PathBuf>,
    /// Where it ran; relative paths of the configuration's servers mean this folder.
    pub(crate) folder: PathBuf,
    /// The log folder of the run that this one takes up again.
    pub(crate) resumes: Option<PathBuf>,
}

impl RunRecord {
    /// A run of this configuration in the current folder.
    pub(crate) fn new(config: Option<&Path>) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = std::env::current_dir().unwrap_or_default();
        Self { v: VERSION, config: config.map(absolute), folder, resumes: None }
    }

    pub(crate) fn write(&self, log: &Path) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        std::fs::write(log.join(NAME), text)
    }

    /// The record of a log folder; `None`: it has none, or one of a version to come.
    pub(crate) fn read(log: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(log.join(NAME)).ok()?;
        serde_json::from_str(&text).ok().filter(|record: &Self| record.v <= VERSION)
    }
}
