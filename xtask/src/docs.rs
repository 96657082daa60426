//! `docs`: the pages that are made from the code, and whether all pages hold together.

mod command_line;
mod configuration;
mod page;

use anyhow::{Result, bail};

use crate::args::Args;
use crate::links;
use crate::process;
use crate::project;
use crate::steps::Steps;

pub(crate) const HELP: &str = "\
builds the documentation; checks what is made from the code, and every link

Usage: cargo xtask docs [--write]

  --write   bring docs/reference up to date (the configuration's JSON Schema and page, the command line)

The book itself is built where mdbook is installed.
";

pub(crate) fn run(mut args: Args) -> Result<()> {
    let write = args.switch("--write");
    args.finish()?;
    let mut steps = Steps::default();
    if write {
        steps.run("schema", || schema(true));
        steps.run("configuration", || configuration::PAGE.write());
        steps.run("command line", || command_line::PAGE.write());
    } else {
        steps.run("schema", || schema(false));
        steps.run("configuration", || configuration::PAGE.check());
        steps.run("command line", || command_line::PAGE.check());
    }
    steps.run("API", api);
    steps.run("links", check_links);
    match process::find_program("mdbook") {
        Some(_) => {
            steps.run("book", book);
        }
        None => steps.skip("book", "mdbook is not on PATH"),
    }
    steps.finish()
}

/// What `ci` does; the schema is compared by the crate's own tests.
pub(crate) fn check() -> Result<()> {
    api()?;
    configuration::PAGE.check()?;
    command_line::PAGE.check()?;
    check_links()
}

fn api() -> Result<()> {
    // The binary has the name of the facade, and rustdoc writes both to one place.
    let args = ["doc", "--workspace", "--exclude", "massgen-cli", "--no-deps", "--all-features"];
    process::run(project::cargo().args(args).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The schema is made and compared by a test of massgen-config.
fn schema(write: bool) -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["test", "--package", "massgen-config", "schema"]);
    if write {
        cargo.env("UPDATE_EXPECT", "1");
    }
    process::run(&mut cargo)
}

fn check_links() -> Result<()> {
    let files = project::files()?;
    let problems = links::check(&project::root(), &files);
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} broken links", problems.len());
    }
    println!(
        "{} pages, every link leads somewhere",
        files.iter().filter(|file| file.ends_with(".md")).count()
    );
    Ok(())
}

fn book() -> Result<()> {
    let target = project::members()?.target_directory.join("book");
    let mut mdbook = std::process::Command::new("mdbook");
    process::run(mdbook.current_dir(project::root()).args(["build", "docs", "--dest-dir"]).arg(target))
}
