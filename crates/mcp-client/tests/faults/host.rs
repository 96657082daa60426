//! Parts that this program plays as a process of its own: a host that is killed, one without file descriptors, one whose
//! server's process id goes to somebody else.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use massgen_testkit::{McpHttpServer, Outcome, PATIENCE, Quirk, ScriptedServer, process};
use mcp_client::{CircuitState, Integrity, Ledger, MultiMcpClient, ServerConfig, Target};
use mcp_core::{LaunchSpec, ToolService};
use serde_json::{Value, json};

use crate::disk;
use crate::floods;
use crate::full;
use crate::heard::Heard;
use crate::lab::{MEASURING, Measured, Playing, innocent, named, remote};
use crate::names;
use crate::stdio::script;
use crate::support::{call, child, is_failed, is_ready, name, restarts, start, until};
use crate::{Fault, Play};

/// Which part this process plays.
const PART: &str = "MASSGEN_FAULTS_PART";
/// Whether limits of time are judged in it.
const MEASURED: &str = "MASSGEN_FAULTS_MEASURE";
/// Where the host that is killed keeps its ledger.
pub(crate) const LEDGER: &str = "MASSGEN_FAULTS_LEDGER";

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    if !cfg!(target_os = "linux") {
        return Vec::new();
    }
    vec![
        own(
            "F65",
            "no file descriptors left: told as ours, the open sessions go on, a new one joins later",
            || Box::pin(no_descriptors()),
        ),
        own(
            "F71",
            "the id of a dead server's process is given to another one: no signal reaches that",
            || Box::pin(reused_id()),
        ),
    ]
}

/// This program, in that part and with its own file as its input, with a server to call and words before it, such as `unshare`'s.
pub(crate) fn part(part: &str, before: &[&str], server: &ScriptedServer) -> Command {
    // By its file, whatever its name stands for by now: a build may replace it meanwhile.
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let own = "/proc/self/fd/0";
    let mut command = match before {
        [] => Command::new(own),
        [program, words @ ..] => {
            let mut command = Command::new(program);
            command.args(words).arg(own);
            command
        }
    };
    command.arg(server.program()).args(server.args()).env(PART, part).stdin(file);
    if MEASURING.load(Ordering::Relaxed) {
        command.env(MEASURED, "1");
    }
    command
}

/// Plays the part that this process was started for, where it was.
pub(crate) fn play_part() -> Option<ExitCode> {
    let part = std::env::var(PART).ok()?;
    MEASURING.store(std::env::var_os(MEASURED).is_some(), Ordering::Relaxed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (problems, got) = runtime.block_on(async {
        let problems = match part.as_str() {
            "stderr" => return floods::of_stderr().await,
            "dies" => dies().await,
            "disk" => full::on_its_own().await,
            "rights" => disk::without_rights().await,
            "descriptors" => without_descriptors().await,
            "names" => names::with_a_resolver().await,
            "signals" => with_written_signals().await,
            _ => with_a_reused_id().await,
        };
        (problems, String::new())
    });
    println!("{}", json!({"problems": problems, "got": got}));
    runtime.shutdown_background();
    Some(ExitCode::SUCCESS)
}

/// The server that was named on the command line.
pub(crate) fn server() -> ServerConfig {
    let mut words = std::env::args().skip(1);
    let program = words.next().unwrap();
    let spec = LaunchSpec { program, args: words.collect(), ..LaunchSpec::default() };
    ServerConfig::new(name("faulty"), Target::Stdio(spec))
}

async fn dies() -> Vec<String> {
    let ledger = Ledger::new();
    ledger.write_to(std::env::var_os(LEDGER).map(PathBuf::from));
    let mut options = restarts(1);
    options.ledger = Some(ledger);
    let (client, _) = start([server()], options);
    client.ready(PATIENCE).await;
    let _ = client.call(call("mcp__faulty__do", json!({}))).await;
    Vec::new()
}

/// Runs a part to its end: what it found wrong, and what it got. `None`: it could not be played.
pub(crate) async fn outcome(mut command: Command) -> Option<(Vec<String>, String)> {
    let output = tokio::task::spawn_blocking(move || command.stderr(Stdio::piped()).output());
    let output = output.await.unwrap().ok()?;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    let said: Value = serde_json::from_slice(&output.stdout).ok()?;
    let problems = said["problems"].as_array()?.iter();
    let problems = problems.map(|problem| problem.as_str().unwrap_or_default().to_owned()).collect();
    Some((problems, said["got"].as_str().unwrap_or_default().to_owned()))
}

async fn no_descriptors() -> Measured {
    let mut measured = Measured { got: "unavailable".into(), ..Measured::default() };
    let scripted = script(Outcome::Echo).launch();
    let limited = ["sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""];
    match outcome(part("descriptors", &limited, &scripted)).await {
        Some((problems, _)) => measured.problems.extend(problems),
        None => measured.problems.push("the process with few file descriptors failed".into()),
    }
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

/// With `ulimit -n 64`: an open session, then no descriptor left, then servers that cannot be started or dialled.
async fn without_descriptors() -> Vec<String> {
    const AWAY: &str = "this process has no file descriptors left";
    let heard = Heard::new(|metadata| metadata.is_event() && metadata.target().starts_with("mcp_"));
    tracing::subscriber::set_global_default(heard.clone()).unwrap();
    let mut problems = Vec::new();
    let (first, web) = (innocent(), McpHttpServer::start(script(Outcome::Echo)));
    let (open, _) = start([child("innocent", &first)], restarts(1));
    open.ready(PATIENCE).await;
    let mut held = all_descriptors().await;
    let mut dialled = remote("faulty", &web.url());
    dialled.startup_timeout = PATIENCE;
    for config in [server(), dialled] {
        let began = Instant::now();
        let (late, recorder) = start([config], restarts(1000));
        let one = late.client("faulty").unwrap();
        until(one, is_failed).await;
        let (class, text) = named(&one.call_tool("do", Default::default()).await);
        let took = began.elapsed();
        if class != "unavailable" || !text.contains(AWAY) {
            problems.push(format!("the caller got {class} ({text})"));
        }
        if MEASURING.load(Ordering::Relaxed) && took > Duration::from_millis(10) {
            problems.push(format!("it was told after {took:?}"));
        }
        // It is tried again and again meanwhile.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let (class, text) = named(&open.call(call("mcp__innocent__look", json!({}))).await);
        if class != "answered" {
            problems.push(format!("the open session gave {class} ({text})"));
        }
        let status = one.status();
        if status.circuit != CircuitState::Closed || status.integrity != Integrity::Clean {
            problems.push("it was taken for the server's fault".to_owned());
        }
        let states = recorder.states("faulty");
        if states != ["starting", "failed"] {
            problems.push(format!("its states were {states:?}"));
        }
        held.clear();
        until(one, is_ready).await;
        late.close().await;
        held = all_descriptors().await;
    }
    drop(held);
    open.close().await;
    let lines = heard.lines();
    let errors: Vec<_> = lines.iter().filter(|line| line.contains("level=ERROR ")).collect();
    if errors.len() != 1 || !errors[0].contains("no file descriptors left") {
        problems.push(format!("of level ERROR is told {errors:?}"));
    }
    problems
}

/// Takes every descriptor there is, those included that what just ended gives back a moment later.
async fn all_descriptors() -> Vec<File> {
    let mut held = Vec::new();
    for _ in 0..5 {
        while let Ok(file) = File::open("/dev/null") {
            held.push(file);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    held
}

async fn reused_id() -> Measured {
    let mut measured = Measured { got: "unavailable".into(), ..Measured::default() };
    let scripted =
        script(Outcome::Exit(1)).quirk(Quirk::IgnoresSigterm).quirk(Quirk::NeverExitsOnEof).launch();
    // Which signals are sent, and when: none after the process was waited for.
    match outcome(part("signals", &[], &scripted)).await {
        Some((problems, _)) => measured.problems.extend(problems),
        None => measured.problems.push("the process whose signals are written down failed".into()),
    }
    // Its own table of process ids, in which the next one can be chosen.
    let apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"];
    match outcome(part("reuse", &apart, &scripted)).await {
        Some((problems, _)) => measured.problems.extend(problems),
        // No process id can be chosen here; that no signal is sent by a number that may be another one's was seen.
        None => measured.got = "unavailable (signals written down; no process id can be chosen here)".into(),
    }
    measured
}

/// A server that ends by itself, and one that has to be killed: what is sent to each before and after it was waited for.
async fn with_written_signals() -> Vec<String> {
    // What the owner of the processes does.
    let heard = Heard::new(|metadata| metadata.target().starts_with("mcp_transport::process"));
    tracing::subscriber::set_global_default(heard.clone()).unwrap();
    let mut problems = Vec::new();
    for dies in [true, false] {
        let mut options = restarts(0);
        options.session.close_grace = Duration::from_millis(50);
        let (client, _): (MultiMcpClient, _) = start([server()], options);
        client.ready(PATIENCE).await;
        let one = client.client("faulty").unwrap();
        let Some(pid) = one.status().peer.and_then(|peer| peer.pid) else {
            return vec!["the server did not start".into()];
        };
        if dies {
            let _ = client.call(call("mcp__faulty__do", json!({}))).await;
            until(one, is_failed).await;
        }
        client.close().await;
        drop(client);
        let of_it = |line: &&String| line.contains(&format!("pid={pid} "));
        let lines: Vec<String> = heard.lines().iter().filter(of_it).cloned().collect();
        let is_signal = |line: &&String| line.contains("message=signal ");
        let Some(reaped) = lines.iter().position(|line| line.contains("message=reaped ")) else {
            problems.push(format!("it was not waited for: {lines:?}"));
            continue;
        };
        let (before, after) = lines.split_at(reaped);
        if before.iter().any(|line| is_signal(&line)) == dies {
            problems.push(format!("ends by itself: {dies}; before it was waited for: {before:?}"));
        }
        if after.iter().any(|line| is_signal(&line)) {
            problems.push(format!("signals after it was waited for: {after:?}"));
        }
    }
    problems
}

async fn with_a_reused_id() -> Vec<String> {
    let mut problems = Vec::new();
    let (client, _): (MultiMcpClient, _) = start([server()], restarts(0));
    client.ready(PATIENCE).await;
    let one = client.client("faulty").unwrap();
    let Some(pid) = one.status().peer.and_then(|peer| peer.pid) else {
        return vec!["the server did not start".into()];
    };
    let _ = client.call(call("mcp__faulty__do", json!({}))).await;
    until(one, is_failed).await;
    let Some(mut innocent) = with_id(pid) else {
        return vec![format!("no process got the id {pid}")];
    };
    // Everything that ends servers is done now, with the id in somebody else's hands.
    client.close().await;
    drop(client);
    if process::until(Duration::from_millis(500), || innocent.try_wait().unwrap().is_some()).await {
        problems.push("the process that has the id now was ended".to_owned());
    }
    let _ = innocent.kill();
    let _ = innocent.wait();
    problems
}

/// A process with this id, at the head of a group of its own, as the server was.
fn with_id(wanted: u32) -> Option<std::process::Child> {
    for _ in 0..200 {
        std::fs::write("/proc/sys/kernel/ns_last_pid", (wanted - 1).to_string()).ok()?;
        let mut command = Command::new("sleep");
        command.arg("60").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().ok()?;
        if child.id() == wanted {
            return Some(child);
        }
        // A thread of ours was faster.
        let _ = child.kill();
        let _ = child.wait();
    }
    None
}
