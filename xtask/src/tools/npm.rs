//! Servers for Node: the MCP project's reference servers, and the one of the Discord example.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{LIMIT, Set};
use crate::process;

pub(super) const SET: Set = Set {
    name: "npm",
    folder: "npm",
    pins: &[
        "@modelcontextprotocol/server-everything@2026.8.31",
        "@modelcontextprotocol/server-filesystem@2026.8.31",
        "@modelcontextprotocol/server-memory@2026.8.31",
        "@modelcontextprotocol/server-sequential-thinking@2026.8.31",
    ],
    obstacle,
    works: |folder| folder.join("node_modules/.bin").is_dir(),
    install,
};

/// In a folder of its own: an update of one set does not install the other again.
pub(super) const DISCORD: Set = Set {
    name: "discord",
    folder: "discord",
    pins: &["mcp-discord@1.3.4"],
    obstacle,
    works: |folder| folder.join("node_modules/.bin").is_dir(),
    install,
};

/// MCP's conformance suite. It needs a later Node than systems have, so it brings one.
pub(super) const CONFORMANCE: Set = Set {
    name: "conformance",
    folder: "conformance",
    pins: &["@modelcontextprotocol/conformance@0.2.0-alpha.12", "node@22.23.3"],
    obstacle,
    works: |folder| process::succeeds(Command::new(folder.join("node_modules/.bin/node")).arg("--version")),
    install: |folder, pins| install_with(folder, pins, Scripts::Run),
};

/// Whether packages may run the scripts that they bring for their installation.
#[derive(Clone, Copy, PartialEq)]
enum Scripts {
    Ignore,
    /// Node's own package is a script that chooses the one for this machine.
    Run,
}

fn obstacle() -> Option<String> {
    let missing: Vec<_> =
        ["node", "npm"].into_iter().filter(|name| process::find_program(name).is_none()).collect();
    let why = format!("{} is not on PATH. Install Node.js 20 or later", missing.join(" and "));
    (!missing.is_empty()).then_some(why)
}

fn install(folder: &Path, pins: &[&str]) -> Result<()> {
    install_with(folder, pins, Scripts::Ignore)
}

fn install_with(folder: &Path, pins: &[&str], scripts: Scripts) -> Result<()> {
    // A manifest of its own keeps npm from looking for one in the folders above.
    std::fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    process::retried("npm", || {
        let mut npm = Command::new(process::find_program("npm").unwrap_or_else(|| "npm".into()));
        npm.current_dir(folder).args(["install", "--no-audit", "--no-fund"]);
        if scripts == Scripts::Ignore {
            npm.arg("--ignore-scripts");
        }
        process::run_within(LIMIT, npm.arg("--loglevel=error").args(pins))
    })
}
