//! Runs the contenders by turns, each in a fresh process against a fresh server.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::Suite;

/// How long one contender may take.
const LIMIT: Duration = Duration::from_secs(120);
/// How long the server may take to listen.
const START: Duration = Duration::from_secs(10);

/// What takes part.
pub(super) struct Programs {
    pub(super) ours: PathBuf,
    pub(super) bare: PathBuf,
    pub(super) server: PathBuf,
}

/// One contender's figures of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// The figure that the suite compares.
    pub(super) figure: f64,
    /// Processor time in seconds: per call where there are calls, else of the process.
    pub(super) cpu: f64,
}

/// Ours and the bare client's figures, round by round.
pub(super) fn race(suite: &Suite, programs: &Programs, rounds: usize) -> Result<Vec<[Measured; 2]>> {
    (0..rounds)
        .map(|round| {
            let ours = || once(suite, programs, &programs.ours).context("ours");
            let bare = || once(suite, programs, &programs.bare).context("bare rmcp");
            // Whoever comes second finds a warmer machine: they take turns.
            Ok(if round % 2 == 0 {
                let ours = ours()?;
                [ours, bare()?]
            } else {
                let bare = bare()?;
                [ours()?, bare]
            })
        })
        .collect()
}

fn once(suite: &Suite, programs: &Programs, contender: &PathBuf) -> Result<Measured> {
    let mut _server = None;
    let target = if suite.http {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(&programs.server)
            .args(["--http", &address])
            .args(suite.server.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        _server = Some(Ended(child));
        let end = Instant::now() + START;
        while TcpStream::connect(&address).is_err() {
            if Instant::now() >= end {
                bail!("the server does not listen");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        format!("http://{address}/mcp")
    } else {
        format!("{} {}", programs.server.display(), suite.server)
    };
    let begun = Instant::now();
    let child = Command::new(contender)
        .args(["--server", target.trim()])
        .args(suite.args.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", contender.display()))?;
    let output = ended(child)?;
    let wall = begun.elapsed().as_secs_f64();
    let answer: Value = output
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .context("it printed no figures")?;
    if answer["ok"] != true {
        bail!("it failed: {}", answer["error"].as_str().unwrap_or("without a word"));
    }
    let number = |key: &str| answer[key].as_f64();
    let figure = if suite.figure == "process_s" { Some(wall) } else { number(suite.figure) };
    let cpu = number("cpu_us_per_call").map(|us| us / 1e6);
    let cpu = cpu.or_else(|| number("cpu_connect_s")).or_else(|| number("cpu_self_s"));
    Ok(Measured { figure: figure.context("the figure is missing")?, cpu: cpu.context("no processor time")? })
}

/// Ended when it goes out of scope.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for the end, within the limit, and gives what was printed: one line, which fits into the pipe.
fn ended(child: Child) -> Result<String> {
    let mut child = Ended(child);
    let end = Instant::now() + LIMIT;
    while child.0.try_wait()?.is_none() {
        if Instant::now() >= end {
            bail!("it did not end within {} s", LIMIT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut text = String::new();
    if let Some(mut out) = child.0.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut text)?;
    }
    Ok(text)
}
