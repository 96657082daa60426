//! A real model and its real server: the packages that `massgen demo --local-model` fetches, in an environment of
//! their own, by the same list of versions and hashes.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{LIMIT, Set, python};
use crate::process;

pub(super) const SET: Set = Set {
    name: "llama",
    folder: "py/llama",
    // A change of the list is a change of the set.
    pins: &[include_str!("../../../crates/massgen-cli/local-model/requirements.txt")],
    obstacle: python::obstacle,
    works: |folder| {
        process::succeeds(Command::new(python::interpreter(folder)).args(["-c", "import xllamacpp"]))
    },
    install,
};

fn install(folder: &Path, pins: &[&str]) -> Result<()> {
    python::environment(folder)?;
    let requirements = folder.join("requirements.txt");
    std::fs::write(&requirements, pins.concat())?;
    process::retried("pip", || {
        let mut pip = Command::new(python::interpreter(folder));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--require-hashes", "-r"]).arg(&requirements);
        process::run_within(LIMIT, &mut pip)
    })
}
