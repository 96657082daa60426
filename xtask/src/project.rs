//! The workspace as the commands see it: its root, its packages, its files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{CargoOpt, Metadata, MetadataCommand, Package};

use crate::process;

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    // Known when xtask is compiled, so that the commands work from any folder.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// `cargo` in the workspace's root.
pub(crate) fn cargo() -> Command {
    let mut command = process::cargo();
    command.current_dir(root());
    command
}

/// The whole dependency graph, with every feature on: an optional edge is an edge.
pub(crate) fn metadata() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .features(CargoOpt::AllFeatures)
        .exec()
        .context("cargo metadata")
}

/// The workspace's own packages only; much faster than [`metadata`].
pub(crate) fn members() -> Result<Metadata> {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("cargo metadata --no-deps")
}

/// Whether the package is published.
pub(crate) fn is_published(package: &Package) -> bool {
    package.publish.as_ref().is_none_or(|registries| !registries.is_empty())
}

/// The folder of everything that is built.
pub(crate) fn target() -> Result<PathBuf> {
    Ok(members()?.target_directory.into_std_path_buf())
}

/// How optimised programs are built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    /// Soon built: for a first try, and for tests.
    Release,
    /// As it is installed: for measuring.
    Dist,
}

impl Profile {
    /// The option of cargo that asks for it.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Profile::Release => "--profile=release",
            Profile::Dist => "--profile=dist",
        }
    }

    /// The folder of the programs built with it.
    pub(crate) fn folder(self) -> Result<PathBuf> {
        let name = match self {
            Profile::Release => "release",
            Profile::Dist => "dist",
        };
        Ok(target()?.join(name))
    }
}

/// A program's file name on this platform.
pub(crate) fn program(name: &str) -> String {
    format!("{name}{}", std::env::consts::EXE_SUFFIX)
}

/// Every file that is or will be tracked, relative to the root, with `/` between folders.
pub(crate) fn files() -> Result<Vec<String>> {
    let mut git = Command::new("git");
    git.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let mut files: Vec<String> =
        process::output(&mut git)?.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect();
    // A file deleted from the folder but not yet from the index is still listed.
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

/// Whether this is a CI run, where nothing may be skipped in silence.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false" && value != "0")
}
