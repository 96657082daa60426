//! The massgen command: arguments, environment, files, terminal, exit codes. Everything else is in the libraries.

mod args;
mod ask;
mod audit_command;
mod audit_key;
mod audit_log;
mod chaos;
mod config_command;
mod consent;
mod console;
mod demo;
mod display;
mod doctor;
mod dotenv;
mod environment;
mod failure;
mod hidden;
mod interactive;
#[cfg(target_os = "linux")]
mod launcher;
mod local_model;
mod lock_file;
mod log_directory;
mod login_store;
mod mcp_auth;
mod mcp_command;
mod mcp_offers;
mod mcp_tool;
mod observed;
mod output;
mod page;
mod panics;
mod person;
mod players;
mod prompt;
mod recorder;
mod resume;
mod run;
mod run_record;
mod sarif;
mod scan;
mod screen;
mod secret_store;
mod secrets_command;
mod session;
mod signals;
mod stats;
mod style;
mod summary;
mod telemetry;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};
use crate::failure::{Failure, Kind};

/// Large answers come and go: the system's allocator gives their memory back each time and takes it again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: servers wait for it.
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|first| first == launcher::COMMAND) {
        std::process::exit(launcher::run(std::env::args_os().skip(2)));
    }
    panics::tell();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit(args::refuse(&error)),
    };
    if let Some(Command::Completions { shell }) = &cli.command {
        // Written by us: the generator panics where nobody reads.
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), "massgen", &mut script);
        output::text(&String::from_utf8_lossy(&script));
        return exit(output::complete());
    }
    // One thread: what a team does is wait, and a message that need not wake another thread costs half. Files and other
    // things that block have threads of their own.
    let ended = tokio::runtime::Builder::new_current_thread()
        // Before the thread sleeps, whoever waits for this processor goes first, and answers that come one by one are let come
        // together: a thread that sleeps is woken for each of them, which costs both sides more than the answer.
        .on_thread_park(massgen::transport::pause)
        .enable_all()
        .build()
        .map_err(|error| Failure::config(format!("the runtime could not start: {error}")))
        .and_then(|runtime| {
            let ended = runtime.block_on(dispatch(cli));
            // A thread that waits for a key press must not hold the exit, nor leave a terminal that shows nothing.
            runtime.shutdown_background();
            hidden::show_again();
            ended
        });
    exit(ended.and_then(|()| output::complete()))
}

fn exit(ended: Result<(), Failure>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        None => run::run(cli.run).await,
        Some(Command::Demo(args)) => demo::run(args).await,
        Some(Command::Mcp(command)) => unless_interrupted(mcp_command::run(command)).await,
        Some(Command::Config(command)) => config_command::run(command),
        Some(Command::Secrets(command)) => unless_interrupted(secrets_command::run(command)).await,
        Some(Command::Resume(args)) => resume::run(args).await,
        Some(Command::Completions { .. }) => Ok(()),
    }
}

/// For what has nothing to finish: dropped at the first signal, and its servers with it, also where whoever started us
/// had Ctrl-C ignored. A signal that comes while the command does its very first things counts, too.
async fn unless_interrupted(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut signals = signals::Signals::listen();
    tokio::select! {
        biased;
        ended = command => ended,
        () = signals.next() => Err(Failure::silent(Kind::Interrupted)),
    }
}
