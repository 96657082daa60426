//! The desk over standard input and output.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use desk::{Desk, Notes};
use mcp_transport::serve::{self, ServerInfo};

const HELP: &str = "\
desk: an MCP server with a clock, a calculator, units and notes

Usage: desk [--notes FILE]

It speaks MCP over standard input and output, so it is started by a client, not by hand.

  --notes FILE   keep notes in this JSON file instead of in memory
  --help         this text
  --version      the version
";

const INSTRUCTIONS: &str =
    "Ask the clock instead of guessing a time, and the calculator instead of reckoning yourself.";

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program's help and its last words")]
fn main() -> ExitCode {
    let mut file: Option<PathBuf> = None;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match (argument.to_str(), file.is_some()) {
            (Some("--help" | "-h"), _) => {
                print!("{HELP}");
                return ExitCode::SUCCESS;
            }
            (Some("--version" | "-V"), _) => {
                println!("desk {}", env!("CARGO_PKG_VERSION"));
                return ExitCode::SUCCESS;
            }
            (Some("--notes"), false) => match arguments.next() {
                Some(path) => file = Some(path.into()),
                None => return wrong("--notes needs a file"),
            },
            _ => return wrong(&format!("{argument:?} is not understood here")),
        }
    }
    // One thread is enough for one client, and is there sooner.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return wrong(&error.to_string()),
    };
    let outcome = runtime.block_on(serve(file));
    // A read of standard input cannot be interrupted: waiting for it would keep the process alive.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("desk: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(file: Option<PathBuf>) -> Result<(), Box<dyn std::error::Error>> {
    let notes = match file {
        Some(file) => Notes::in_file(file).await?,
        None => Notes::default(),
    };
    let info = ServerInfo::new("desk", env!("CARGO_PKG_VERSION")).with_instructions(INSTRUCTIONS);
    serve::stdio(Arc::new(Desk::new(notes)?), info).await?;
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a program's last words")]
fn wrong(problem: &str) -> ExitCode {
    eprintln!("desk: {problem}\n\n{HELP}");
    ExitCode::from(2)
}
