//! The project's own commands, run as `cargo xtask COMMAND`. This file only dispatches: a command is a module.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a developer's program: it reads the environment, starts cargo and talks to the terminal"
)]

mod args;
mod bench;
mod check;
mod ci;
mod conformance;
mod corpus;
mod crates;
mod demo;
mod docs;
mod faults;
mod links;
mod process;
mod project;
mod race;
mod release;
mod soak;
mod steps;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};
use args::Args;

/// One command: its name, its help (the first line is its summary) and what it does.
struct Command {
    name: &'static str,
    help: &'static str,
    run: fn(Args) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command { name: "demo", help: demo::HELP, run: demo::run },
    Command { name: "check", help: check::HELP, run: check::run },
    Command { name: "test", help: test::HELP, run: test::run },
    Command { name: "ci", help: ci::HELP, run: ci::run },
    Command { name: "conformance", help: conformance::HELP, run: conformance::run },
    Command { name: "tidy", help: tidy::HELP, run: tidy::run },
    Command { name: "crates", help: crates::HELP, run: crates::run },
    Command { name: "corpus", help: corpus::HELP, run: corpus::run },
    Command { name: "docs", help: docs::HELP, run: docs::run },
    Command { name: "faults", help: faults::HELP, run: faults::run },
    Command { name: "soak", help: soak::HELP, run: soak::run },
    Command { name: "bench", help: bench::HELP, run: bench::run },
    Command { name: "race", help: race::HELP, run: race::run },
    Command { name: "tools", help: tools::HELP, run: tools::run },
    Command { name: "release", help: release::HELP, run: release::run },
];

fn main() -> ExitCode {
    match dispatch(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(words: Vec<String>) -> Result<()> {
    let mut words = words.into_iter();
    let name = words.next().unwrap_or_else(|| "--help".to_owned());
    if matches!(name.as_str(), "--help" | "-h" | "help") {
        print!("{}", usage());
        return Ok(());
    }
    let Some(command) = COMMANDS.iter().find(|command| command.name == name) else {
        bail!("no command {name:?}. `cargo xtask --help` lists them");
    };
    let words: Vec<String> = words.collect();
    // What stands behind `--` belongs to the program that the command starts.
    if words.iter().take_while(|word| *word != "--").any(|word| word == "--help" || word == "-h") {
        println!("cargo xtask {}: {}", command.name, command.help.trim_end());
        return Ok(());
    }
    (command.run)(Args::new(words))
}

fn usage() -> String {
    let mut text = String::from("Usage: cargo xtask COMMAND [OPTIONS]\n\nCommands:\n");
    for command in COMMANDS {
        let summary = command.help.lines().next().unwrap_or_default();
        text.push_str(&format!("  {:<12}{summary}\n", command.name));
    }
    text.push_str("\n`cargo xtask COMMAND --help` tells more.\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_summary_of_one_line() {
        for command in COMMANDS {
            let summary = command.help.lines().next().unwrap_or_default();
            assert!(!summary.is_empty() && summary.len() < 90, "{}: {summary:?}", command.name);
        }
    }

    #[test]
    fn an_unknown_command_names_the_way_out() {
        let error = dispatch(vec!["clean".into()]).unwrap_err().to_string();
        assert!(error.contains("clean") && error.contains("--help"), "{error}");
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let error = dispatch(vec!["tidy".into(), "--fast".into()]).unwrap_err().to_string();
        assert!(error.contains("--fast"), "{error}");
    }
}
