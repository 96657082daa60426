//! Programs that cannot be run, that run out of memory, and that breed.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use massgen_testkit::{Outcome, PATIENCE, process};
use mcp_client::{CircuitState, ClientOptions, McpClient, ServerConfig, ServerState, Target};
use mcp_core::{LaunchSpec, ToolError, ToolService};
use serde_json::json;

use crate::lab::{Measured, Scene, ask_innocent, innocent, named};
use crate::stdio::{DOUBT, LOST, is_forced_open, says, script};
use crate::support::{call, child, is_failed, is_ready, name, policy, restarts, start};
use crate::time::on_a_moved_clock;
use crate::{Fault, Play};

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        Fault {
            id: "F25",
            what: "a program that is not there, or is none: told at once, not tried again until the file has changed",
            long: false,
            play: Play::Own(|| Box::pin(on_a_moved_clock(no_program))),
        },
        Fault {
            id: "F54",
            what: "killed at its limit of memory as the kernel does, counted or not, or out of it by itself: outcome unknown, hint memory",
            long: false,
            play: Play::Own(|| Box::pin(short_of_memory())),
        },
        Fault {
            id: "F55",
            what: "a server that breeds processes: ended when they are too many, the others work, none survives",
            long: false,
            play: Play::Scene(|| {
                // What a fork bomb does to its neighbours, with an end: nothing here may run away.
                Scene::child(script(Outcome::Tree(48)))
                    .expect(LOST)
                    .within_ms(5000)
                    .tune(|options, config| {
                        config.max_processes = Some(32);
                        options.session.close_grace = Duration::from_millis(100);
                    })
                    .check(says(&[
                        DOUBT,
                        "processes at a time and was ended",
                        "at most 32 are allowed",
                        "disabled: true",
                    ]))
                    .check(is_forced_open("too many processes: it ran "))
                    .check(|seen, measured| {
                        let status = seen.client.client("faulty").unwrap().status();
                        measured.expect(
                            status.peak_processes.is_some_and(|peak| peak >= 33),
                            format!("the most processes were {:?}", status.peak_processes),
                        );
                        let journal = seen.journal.as_ref().unwrap();
                        let bred = journal.grandchildren().len();
                        measured.expect(bred == 48, format!("only {bred} processes were started"));
                        measured.expect(journal.pids().len() == 1, "it was started again");
                    })
            }),
        },
    ]
}

/// The time from the order to start a program that cannot be run to the error.
async fn refusal(config: &ServerConfig) -> (Duration, Result<McpClient, ToolError>) {
    let began = Instant::now();
    let connected =
        McpClient::connect(config.clone(), policy(), Arc::new(()), ClientOptions::default()).await;
    (began.elapsed(), connected)
}

async fn no_program() -> Measured {
    let mut measured = Measured::default();
    let scripted = script(Outcome::Echo).launch();
    let folder = tempfile::tempdir_in(scripted.program().parent().unwrap()).unwrap();
    // A folder without programs that nobody but the system writes to, and a file in it.
    let (place, file) = ("/etc", "passwd");
    let (missing, none) = (folder.path().join("missing"), folder.path().join("none"));
    std::fs::write(&none, "no program").unwrap();
    std::fs::set_permissions(&none, std::fs::Permissions::from_mode(0o644)).unwrap();
    let named_by = |program: &str| {
        let mut launch = LaunchSpec { program: program.to_owned(), ..LaunchSpec::default() };
        launch.env.insert("PATH".to_owned(), place.to_owned());
        ServerConfig::new(name("faulty"), Target::Stdio(launch))
    };
    for (program, reason, hint) in [
        (missing.to_str().unwrap(), "does not exist", None),
        (none.to_str().unwrap(), "is not a program that may be run", None),
        ("no-such-program", "is not on PATH", Some(place)),
        (file, "is not on PATH", Some(place)),
    ] {
        let config = named_by(program);
        // The best of a few: what the machine does besides is not the question.
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let (took, connected) = refusal(&config).await;
            best = best.min(took);
            let Err(error @ ToolError::Spawn { .. }) = connected else {
                measured.problems.push(format!("{program}: {connected:?}"));
                continue;
            };
            measured.expect(error.to_string().contains(reason), format!("{program}: {error}"));
            let told = error.hint();
            let holds = match hint {
                Some(place) => told.as_ref().is_some_and(|hint| hint.contains(place)),
                None => true,
            };
            measured.expect(holds, format!("{program}: the hint is {told:?}"));
        }
        measured.in_time(best <= Duration::from_millis(10), format!("{program}: it took {best:?} at best"));
    }

    // One of several servers, which gets its program later on.
    let mut config = child("faulty", &scripted);
    // On this clock a process takes long to start.
    config.startup_timeout = Duration::from_secs(600);
    if let Target::Stdio(launch) = &mut config.target {
        launch.program = missing.to_str().unwrap().to_owned();
    }
    let innocent = innocent();
    let (client, recorder) = start([config, child("innocent", &innocent)], restarts(50));
    client.ready(PATIENCE).await;
    let one = client.client("faulty").unwrap();
    let (class, text) = named(&one.call_tool("do", Default::default()).await);
    measured.expect(
        class == "unavailable" && text.contains("does not exist"),
        format!("the caller got {class} ({text})"),
    );
    measured.got = class;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let states = recorder.states("faulty");
    measured.expect(states == ["starting", "given up"], format!("it was tried again: {states:?}"));
    let status = one.status();
    let forced =
        matches!(&status.circuit, CircuitState::ForcedOpen { reason } if reason.starts_with("config: "));
    measured.expect(forced, format!("its circuit is {:?}", status.circuit));
    measured.expect(status.retry_at.is_none(), "a time is named at which it would be tried again");
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    symlink(scripted.program(), &missing).unwrap();
    let back = tokio::time::timeout(Duration::from_secs(600), async {
        let mut state = one.state();
        let _ = state.wait_for(is_ready).await;
    });
    let back = back.await.is_ok();
    let states = recorder.states("faulty");
    measured.expect(
        back,
        format!("it is not used, although its program is there now: {states:?}, {}", one.status().state),
    );
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(class == "answered", format!("with its program there, the caller got {class} ({text})"));
    client.close().await;
    measured.count_survivors(&[innocent.journal(), scripted.journal()]).await;
    measured
}

/// What a server's state says, with the hint.
fn story(state: &ServerState) -> String {
    format!("{state} ({})", state.hint().unwrap_or_default())
}

/// The kernel's part is played: the process holds 192 MiB and is killed by SIGKILL then, and whoever keeps the counter of its
/// control group counts that, or has none. One that asks for more than it may have ends by itself.
async fn short_of_memory() -> Measured {
    const MIB: u64 = 192;
    let mut measured = Measured::default();
    let killed = Outcome::OutOfMemoryKilled(MIB);
    let folder = tempfile::tempdir().unwrap();
    let events = folder.path().join("memory.events");
    for (outcome, counts, words) in [
        (killed.clone(), true, ["signal 9 (SIGKILL), by the system, because memory was short", DOUBT]),
        (killed.clone(), false, ["signal 9 (SIGKILL), as the system does when memory is short", DOUBT]),
        (Outcome::OutOfMemory, false, ["signal 6 (SIGABRT)", "its last words"]),
    ] {
        let end = words[0];
        let is_killed = outcome == killed;
        std::fs::write(&events, "low 0\nmax 0\noom 0\noom_kill 3\n").unwrap();
        let (scripted, innocent) = (script(outcome).launch(), innocent());
        let mut options = restarts(50);
        options.session.memory_events = Some(events.clone());
        let (client, recorder) = start([child("faulty", &scripted), child("innocent", &innocent)], options);
        client.ready(PATIENCE).await;
        if counts {
            std::fs::write(&events, "low 0\nmax 9\noom 1\noom_kill 4\n").unwrap();
        }
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        let told = SystemTime::now();
        let journal = scripted.journal();
        if let Some(at) = journal.kind("killed").last().and_then(|entry| entry["at_us"].as_u64()) {
            let at = SystemTime::UNIX_EPOCH + Duration::from_micros(at);
            let took = told.duration_since(at).unwrap_or_default();
            measured.in_time(took < Duration::from_millis(100), format!("{end}: it took {took:?}"));
        } else {
            measured.expect(!is_killed, format!("{end}: it did not get as far as that"));
        }
        measured.expect(LOST.contains(&class.as_str()), format!("{end}: the caller got {class} ({text})"));
        // What ended it says so by its last words, which the state quotes whole.
        for word in words {
            measured.expect(text.contains(word), format!("{word:?} is not told: {text}"));
        }
        let failed = || {
            let states = recorder.states.lock().unwrap();
            states.iter().find(|(_, state)| is_failed(state)).map(|(_, state)| story(state))
        };
        process::until(PATIENCE, || failed().is_some()).await;
        let told = failed();
        measured.expect(
            told.as_ref().is_some_and(|told| told.contains("(memory: ")),
            format!("{end}: its state says {told:?}"),
        );
        measured.got = class;
        measured.sends = measured.sends.max(journal.method("tools/call").len() as f64);
        measured.expect(measured.sends <= 1.0, "it was sent again");
        measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
        client.close().await;
        measured.count_survivors(&[journal, innocent.journal()]).await;
    }
    measured
}
