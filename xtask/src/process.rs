//! Starting programs: announced, checked, and bounded where the network is involved.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The cargo that runs us, so that the toolchain stays the same.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Prints the command, runs it with our streams, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let line = announce(command);
    check(&line, command.status().with_context(|| format!("cannot start `{line}`"))?)
}

/// Runs the command and returns what it printed. Its errors go to the terminal.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = describe(command);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start `{line}`"))?;
    check(&line, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` printed something that is not UTF-8"))
}

/// Whether the command can be started and succeeds. It prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Prints the command and runs it, at most for `limit`, then ends it.
pub(crate) fn run_within(limit: Duration, command: &mut Command) -> Result<()> {
    let line = announce(command);
    let mut child = command.stdin(Stdio::null()).spawn().with_context(|| format!("cannot start `{line}`"))?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return check(&line, status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("`{line}` did not end within {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Tries something that needs the network, three times at most.
pub(crate) fn retried(what: &str, mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    const PAUSES: [u64; 2] = [3, 10];
    for pause in PAUSES {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(error) => println!("{what}: {error:#}. Trying again in {pause} s"),
        }
        std::thread::sleep(Duration::from_secs(pause));
    }
    attempt().with_context(|| format!("{what}: gave up after {} attempts", PAUSES.len() + 1))
}

/// Where a program lies on PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = if cfg!(windows) {
        vec![format!("{name}.exe"), format!("{name}.cmd")]
    } else {
        vec![name.to_owned()]
    };
    std::env::split_paths(&path)
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file())
}

fn announce(command: &Command) -> String {
    let line = describe(command);
    eprintln!("$ {line}");
    line
}

/// The command as one would type it: the program's name without its folder.
fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(command.get_program()).to_string_lossy().into_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}

fn check(line: &str, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended() {
        let error = run_within(Duration::from_millis(1), Command::new("sleep").arg("600")).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err().to_string();
        assert!(error.contains("exit 7") && error.contains("failed"), "{error}");
    }
}
