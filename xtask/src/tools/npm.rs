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

fn obstacle() -> Option<String> {
    let missing: Vec<_> =
        ["node", "npm"].into_iter().filter(|name| process::find_program(name).is_none()).collect();
    let why = format!("{} is not on PATH. Install Node.js 20 or later", missing.join(" and "));
    (!missing.is_empty()).then_some(why)
}

fn install(folder: &Path, pins: &[&str]) -> Result<()> {
    // A manifest of its own keeps npm from looking for one in the folders above.
    std::fs::write(folder.join("package.json"), "{ \"private\": true }\n")?;
    process::retried("npm", || {
        let mut npm = Command::new(process::find_program("npm").unwrap_or_else(|| "npm".into()));
        // Nothing here needs a package's own install script.
        npm.current_dir(folder).args(["install", "--ignore-scripts", "--no-audit", "--no-fund"]);
        process::run_within(LIMIT, npm.arg("--loglevel=error").args(pins))
    })
}
