//! `run.json`: what a run was made of, written before it begins, so that one that was cut off can be taken up again.

use std::io;
use std::path::{Path, PathBuf};

use massgen::security::Trust;
use massgen::security::audit::Key;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::audit_key;

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
    /// Whether the user named the configuration; otherwise it came with the folder.
    #[serde(default)]
    named: bool,
    /// By the key of this installation: a record can come with a folder too, and name any file as the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

impl RunRecord {
    /// A run of this configuration in the current folder.
    pub(crate) fn new(config: Option<&Path>, trust: Trust) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let folder = std::env::current_dir().unwrap_or_default();
        let named = trust == Trust::User;
        Self { v: VERSION, config: config.map(absolute), folder, resumes: None, named, mac: None }
    }

    /// Who wrote the configuration, by a record that this installation made: it has the key in this file.
    pub(crate) fn trust(&self, key: Option<PathBuf>) -> Trust {
        let key = key.and_then(|path| audit_key::read(&path).ok().flatten());
        let made = |key: &Key| self.mac.as_deref().is_some_and(|mac| key.verify(mac, &self.sealed()));
        if self.named && key.as_ref().is_some_and(made) { Trust::User } else { Trust::Project }
    }

    /// What the seal is about.
    fn sealed(&self) -> String {
        json!(["massgen run", self.config, self.folder, self.named]).to_string()
    }

    /// `key`: the file of this installation's key.
    pub(crate) fn write(&self, log: &Path, key: Option<PathBuf>) -> io::Result<()> {
        let mac =
            key.map(|path| audit_key::read_or_make(&path)).transpose()?.map(|key| key.mac(&self.sealed()));
        let mut text = serde_json::to_string_pretty(&Self { mac, ..self.clone() })?;
        text.push('\n');
        std::fs::write(log.join(NAME), text)
    }

    /// The record of a log folder; `None`: it has none, or one of a version to come.
    pub(crate) fn read(log: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(log.join(NAME)).ok()?;
        serde_json::from_str(&text).ok().filter(|record: &Self| record.v <= VERSION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_of_this_installation_says_that_the_user_named_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path();
        let key = Some(log.join("state/audit.key"));
        let record = |trust| RunRecord::new(Some(Path::new("team.yaml")), trust);
        let kept = |change: &dyn Fn(&str) -> String| {
            record(Trust::User).write(log, key.clone()).unwrap();
            let text = std::fs::read_to_string(log.join(NAME)).unwrap();
            std::fs::write(log.join(NAME), change(&text)).unwrap();
            RunRecord::read(log).unwrap()
        };
        assert_eq!(kept(&str::to_owned).trust(key.clone()), Trust::User);
        assert_eq!(kept(&str::to_owned).trust(None), Trust::Project);
        assert_eq!(kept(&str::to_owned).trust(Some(log.join("no.key"))), Trust::Project);
        assert_eq!(kept(&|text| text.replace("team.yaml", "evil.yaml")).trust(key.clone()), Trust::Project);
        let older =
            kept(&|_| r#"{"v": 1, "config": "/a/team.yaml", "folder": "/a", "resumes": null}"#.into());
        assert_eq!(older.trust(key.clone()), Trust::Project);
        record(Trust::Project).write(log, key.clone()).unwrap();
        assert_eq!(RunRecord::read(log).unwrap().trust(key), Trust::Project);
    }
}
