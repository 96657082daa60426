//! Whole files through the public interface.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on says so by failing"
)]

mod corpus;
mod diagnostics;
mod expected;
mod fuzz;
mod own;
mod secrets;
mod values;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use massgen_config::{Config, FileReader, Format, LoadOptions, Loaded, load_str};

/// Options with these variables.
pub(crate) fn options(variables: &[(&str, &str)]) -> LoadOptions {
    LoadOptions {
        environment: variables.iter().copied().collect(),
        cwd: "/home/project".into(),
        ..LoadOptions::default()
    }
}

/// Files that exist only in a test.
#[derive(Default)]
pub(crate) struct Files(pub(crate) BTreeMap<&'static str, &'static str>);

impl FileReader for Files {
    fn read(&self, path: &Path) -> io::Result<String> {
        let found = path.to_str().and_then(|path| self.0.get(path));
        found.map(|text| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Loads text with some variables and no files.
pub(crate) fn load_text(text: &str, variables: &[(&str, &str)]) -> Loaded {
    load_str(text, Path::new("conf/team.yaml"), Format::Yaml, &options(variables), &Files::default())
}

/// Loads text that has nothing wrong with it.
pub(crate) fn good(text: &str, variables: &[(&str, &str)]) -> Config {
    let loaded = load_text(text, variables);
    assert!(loaded.diagnostics.is_empty(), "{}", loaded.diagnostics);
    loaded.config.expect("no diagnostics, so a configuration")
}
