//! Runs the contenders by turns, each in a fresh process against a fresh server.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::{Rival, Server, Suite};

/// How long one contender may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the server may take to listen.
const START: Duration = Duration::from_secs(10);

/// What takes part.
pub(super) struct Programs {
    pub(super) ours: PathBuf,
    pub(super) bare: PathBuf,
    pub(super) server: PathBuf,
    pub(super) floor: PathBuf,
}

/// The figure of a cold start, seconds: contenders tell when by the clock they had their first result.
pub(super) const FIRST_RESULT: &str = "first_result";

/// One contender's figures of one round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Measured {
    /// The figure that the suite compares.
    pub(super) figure: f64,
    /// Processor time in seconds: per call where there are calls, else of the process.
    /// The floor does not tell it: then it is not a number.
    pub(super) cpu: f64,
    /// Resident memory, MB, where it is told.
    pub(super) memory: Option<f64>,
}

/// Ours and the rival's figures, round by round. After `end` no further round begins, but there is at least one.
pub(super) fn race(
    suite: &Suite,
    programs: &Programs,
    rounds: usize,
    end: Instant,
) -> Result<Vec<[Measured; 2]>> {
    let mut pairs = Vec::new();
    for round in 0..rounds {
        if round > 0 && Instant::now() >= end {
            break;
        }
        let ours = || once(suite, programs, &programs.ours).context("ours");
        let rival = || match suite.rival {
            Rival::Bare => once(suite, programs, &programs.bare).context("bare rmcp"),
            Rival::Floor => once(suite, programs, &programs.floor).context("the floor"),
        };
        // Whoever comes second finds a warmer machine: they take turns.
        pairs.push(if round % 2 == 0 {
            let ours = ours()?;
            [ours, rival()?]
        } else {
            let rival = rival()?;
            [ours()?, rival]
        });
    }
    Ok(pairs)
}

/// Starts a server over HTTP and waits until it listens.
fn listening(mut server: Command) -> Result<(Ended, String)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let child = server.arg(&address).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let child = Ended(child);
    let end = Instant::now() + START;
    while TcpStream::connect(&address).is_err() {
        if Instant::now() >= end {
            bail!("the server does not listen");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((child, format!("http://{address}/mcp")))
}

fn once(suite: &Suite, programs: &Programs, contender: &PathBuf) -> Result<Measured> {
    let mut _server = None;
    let target = match suite.server {
        Server::Stdio { tools } => format!("{} --tools {tools}", programs.server.display()),
        Server::Costless => format!("{} --serve stdio", programs.floor.display()),
        Server::Http | Server::CostlessHttp => {
            let mut server = if suite.server == Server::Http {
                let mut server = Command::new(&programs.server);
                server.arg("--http");
                server
            } else {
                let mut server = Command::new(&programs.floor);
                server.arg("--serve");
                server
            };
            server.stderr(Stdio::null());
            let (child, url) = listening(server)?;
            _server = Some(child);
            url
        }
    };
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let child = Command::new(contender)
        .args(["--server", &target])
        .args(suite.args.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", contender.display()))?;
    let output = ended(child)?;
    let answer: Value = output
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .context("it printed no figures")?;
    if answer["ok"] != true {
        bail!("it failed: {}", answer["error"].as_str().unwrap_or("without a word"));
    }
    let number = |key: &str| answer[key].as_f64();
    let figure = match suite.figure.key {
        FIRST_RESULT => number("first_result_unix_s").map(|at| at - clock),
        key => number(key),
    };
    let cpu = number("cpu_us_per_call").map(|us| us / 1e6);
    let cpu = cpu.or_else(|| number("cpu_connect_s")).or_else(|| number("cpu_self_s"));
    let memory = number("rss_kb").map(|kilobytes| kilobytes / 1024.0);
    Ok(Measured { figure: figure.context("the figure is missing")?, cpu: cpu.unwrap_or(f64::NAN), memory })
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
