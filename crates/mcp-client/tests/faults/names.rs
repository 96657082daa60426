//! Host names that cannot be looked up. The process that looks them up has a network and a resolver of its own.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use massgen_testkit::faults::TcpRelay;
use massgen_testkit::{McpHttpOptions, McpHttpServer, Outcome, PATIENCE, process};
use mcp_client::{MultiMcpClient, RuleOptions, ServerState};
use mcp_core::ToolService;
use serde_json::json;

use crate::host;
use crate::lab::{Measured, Playing, named, remote};
use crate::lets_pass::LetsPass;
use crate::stdio::script;
use crate::support::{call, restarts};
use crate::time::on_a_moved_clock;
use crate::web::unreachable;
use crate::{Fault, Play};

/// As the answers of a name server have them.
const FOUND: u8 = 0;
const FAILED: u8 = 2;
const NOBODY: u8 = 3;
/// No answer, until it is another one.
const SILENT: u8 = 255;

pub(crate) fn faults() -> Vec<Fault> {
    let playing: fn() -> Playing = || Box::pin(no_name());
    vec![Fault {
        id: "F42",
        what: "a host name that nobody has, or that cannot be looked up now, or not within 10 s: told, made again in the second case only",
        long: false,
        play: Play::Own(playing),
    }]
}

async fn no_name() -> Measured {
    let within = std::time::Duration::from_secs(12);
    let mut measured = unreachable("https://no-such-host.invalid/mcp", within).await;
    if !cfg!(target_os = "linux") {
        return measured;
    }
    let folder = tempfile::tempdir().unwrap();
    let resolver = folder.path().join("resolv.conf");
    std::fs::write(&resolver, "nameserver 127.0.0.1\noptions attempts:1 timeout:30\n").unwrap();
    let scripted = script(Outcome::Echo).launch();
    let prepare = format!(
        "ip link set lo up && mount --bind '{}' /etc/resolv.conf && exec \"$0\" \"$@\"",
        resolver.display()
    );
    let apart = ["unshare", "--user", "--map-root-user", "--net", "--mount", "sh", "-c", &prepare];
    match host::outcome(host::part("names", &apart, &scripted)).await {
        Some((problems, _)) => measured.problems.extend(problems),
        // Where no process can have a network of its own, a name server cannot be played.
        None => measured.got.push_str(" (without a name server of our own)"),
    }
    measured
}

/// Answers every question for a name as `mode` says, and counts those for addresses.
fn serve(socket: &UdpSocket, mode: &AtomicU8, asked: &AtomicUsize) {
    let mut buffer = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Some(labels) = buffer[12..length].iter().position(|byte| *byte == 0) else { continue };
        let end = 12 + labels + 5;
        if end > length {
            continue;
        }
        let wants_address = buffer[end - 3] == 1;
        if wants_address {
            asked.fetch_add(1, Ordering::SeqCst);
        }
        let _ = process::until_blocking(PATIENCE, || mode.load(Ordering::SeqCst) != SILENT);
        let mode = mode.load(Ordering::SeqCst);
        let is_answered = wants_address && mode == FOUND;
        let mut answer = buffer[..end].to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80 | mode, 0, 1, 0, u8::from(is_answered), 0, 0, 0, 0]);
        if is_answered {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]);
        }
        let _ = socket.send_to(&answer, from);
    }
}

/// In a network of its own: a server whose name is there, then not to be had, then nobody's.
pub(crate) async fn with_a_resolver() -> Vec<String> {
    let Ok(socket) = UdpSocket::bind("127.0.0.1:53") else {
        return vec!["no name server can listen".to_owned()];
    };
    let (mode, asked): (Arc<AtomicU8>, Arc<AtomicUsize>) = Default::default();
    let (shared, count) = (mode.clone(), asked.clone());
    std::thread::spawn(move || serve(&socket, &shared, &count));
    let mut measured = Measured::default();
    // No stream of its own looks the name up beside the calls.
    let options = McpHttpOptions { get_stream: false, ..McpHttpOptions::default() };
    let web = McpHttpServer::with_options(script(Outcome::Echo), options);
    let relay = TcpRelay::start(web.http().address());
    let mut config = remote("faulty", &relay.url("/mcp").replace("127.0.0.1", "server.example"));
    // Nor does a probe.
    config.breaker = RuleOptions::never();
    // The question here is what is dialled, not whether it may be.
    let client = MultiMcpClient::start([config], Arc::new(LetsPass), Arc::new(()), restarts(50));
    client.ready(PATIENCE).await;
    let make_call = || client.call(call("mcp__faulty__do", json!({})));
    for (answer, what, lookups) in [
        (FOUND, "found", 1),
        (FAILED, "not to be had", 3),
        (FOUND, "found again", 1),
        (NOBODY, "nobody's", 1),
    ] {
        // Every connection has to be made anew.
        relay.reset().await;
        mode.store(answer, Ordering::SeqCst);
        asked.store(0, Ordering::SeqCst);
        let before = web.executed();
        let (class, text) = named(&make_call().await);
        let (times, more) = (asked.load(Ordering::SeqCst), web.executed() - before);
        measured.expect(times == lookups, format!("{what}: looked up {times} times, not {lookups}"));
        let holds = match answer {
            FOUND => class == "answered" && more == 1,
            _ => class == "connection" && more == 0 && text.contains("looking up its name"),
        };
        measured.expect(holds, format!("{what}: the caller got {class} ({text}), executed {more} times"));
    }
    client.close().await;
    let (silent, count, url) = (mode.clone(), asked.clone(), relay.url("/mcp"));
    let hung =
        on_a_moved_clock(move || hanging(url.replace("127.0.0.1", "server.example"), silent, count)).await;
    measured.problems.extend(hung.problems);
    measured.problems
}

/// The name server does not answer at all: the system would wait for it for 30 s.
async fn hanging(url: String, mode: Arc<AtomicU8>, asked: Arc<AtomicUsize>) -> Measured {
    const CONNECT: Duration = Duration::from_secs(10);
    let mut measured = Measured::default();
    mode.store(SILENT, Ordering::SeqCst);
    asked.store(0, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    let config = remote("faulty", &url);
    // The question here is what is dialled, not whether it may be.
    let client = MultiMcpClient::start([config], Arc::new(LetsPass), Arc::new(()), restarts(0));
    client.ready(CONNECT * 60).await;
    let took = began.elapsed();
    let status = client.client("faulty").unwrap().status();
    let told = status.state.to_string();
    measured.expect(
        matches!(status.state, ServerState::Unreachable { .. }) && told.contains("looking up its name"),
        format!("silent: it is {told:?}"),
    );
    measured.expect(took <= CONNECT, format!("silent: it took {took:?}"));
    let times = asked.load(Ordering::SeqCst);
    measured.expect(times == 1, format!("silent: it was asked {times} times"));
    // The thread of the system's resolver is let go.
    mode.store(NOBODY, Ordering::SeqCst);
    client.close().await;
    measured
}
