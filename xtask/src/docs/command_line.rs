//! docs/reference/cli.md: what every `massgen ... --help` prints.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::page::Page;
use crate::process;
use crate::project;

const HEAD: &str = "\
# Command line

What `--help` prints, command by command. This page is written by `cargo xtask docs --write`.
";

pub(super) const PAGE: Page = Page { path: "docs/reference/cli.md", make: page };

fn page() -> Result<String> {
    process::run(project::cargo().args(["build", "--package", "massgen-cli"]))?;
    let program: PathBuf =
        project::members()?.target_directory.join("debug").join(project::program("massgen")).into();
    let mut page = HEAD.to_owned();
    section(&program, &mut Vec::new(), &mut page)?;
    Ok(page)
}

fn section(program: &Path, command: &mut Vec<String>, page: &mut String) -> Result<()> {
    let help = help(program, command)?;
    let name: Vec<&str> = std::iter::once("massgen").chain(command.iter().map(String::as_str)).collect();
    let text: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## `{}`\n\n```text\n{}\n```\n", name.join(" "), text.join("\n")));
    for sub in subcommands(&help) {
        command.push(sub);
        section(program, command, page)?;
        command.pop();
    }
    Ok(())
}

fn help(program: &Path, command: &[String]) -> Result<String> {
    let mut help = Command::new(program);
    // The help must not depend on the terminal, nor show a value of the environment.
    help.env_clear().env("COLUMNS", "100").env("NO_COLOR", "1");
    process::output(help.args(command).arg("--help"))
}

/// The names under `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| line.trim_end() != "Commands:").skip(1);
    let names = lines.take_while(|line| line.is_empty() || line.starts_with(' ')).filter_map(|line| {
        // Two blanks and a name; the description's further lines stand deeper.
        let name = line.strip_prefix("  ")?.split(' ').next()?;
        (!name.is_empty() && name != "help").then(|| name.to_owned())
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_the_help() {
        let help = "Usage: x\n\nCommands:\n  demo    A team\n          at work\n  mcp     Servers\n  help    This\n\nOptions:\n  -h\n";
        assert_eq!(subcommands(help), ["demo", "mcp"]);
        assert!(subcommands("Usage: x\n").is_empty());
    }
}
