//! The library over standard input and output.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use library::{Collection, Library};
use mcp_transport::serve::{self, ServerInfo};

const HELP: &str = "\
library: an MCP server that searches and reads a collection of texts

Usage: library [FOLDER]

It speaks MCP over standard input and output, so it is started by a client, not by hand.

  FOLDER      a folder of .md and .txt files; the built-in collection unless given
  --help      this text
  --version   the version
";

const INSTRUCTIONS: &str = "Search first; then read the lines around the passage that was found.";

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's help and its last words")]
fn main() -> ExitCode {
    let mut folder: Option<PathBuf> = None;
    for argument in std::env::args_os().skip(1) {
        match argument.to_str() {
            Some("--help" | "-h") => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            Some("--version" | "-V") => {
                println!("library {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            Some(option) if option.starts_with('-') => {
                return wrong(&format!("{option:?} is not understood here"));
            }
            _ if folder.is_some() => return wrong("only one folder can be given"),
            _ => folder = Some(argument.into()),
        }
    }
    // One thread is enough for one client, and is there sooner.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return wrong(&error.to_string()),
    };
    // Read before anything is served: the runtime has no other work that this could block.
    let outcome = open(folder.as_deref()).and_then(|library| {
        let info = ServerInfo::new("library", env!("CARGO_PKG_VERSION")).with_instructions(INSTRUCTIONS);
        Ok(runtime.block_on(serve::stdio(Arc::new(library), info))?)
    });
    // A read of standard input cannot be interrupted: waiting for it would keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("library: {error}");
            ExitCode::FAILURE
        }
    }
}

fn open(folder: Option<&Path>) -> Result<Library, Box<dyn std::error::Error>> {
    let collection = match folder {
        Some(folder) => Collection::in_folder(folder)?,
        None => Collection::built_in(),
    };
    Ok(Library::new(collection)?)
}

#[allow(clippy::print_stderr, reason = "a program's last words")]
fn wrong(problem: &str) -> ExitCode {
    eprintln!("library: {problem}\n\n{HELP}");
    ExitCode::from(2)
}
