//! Many servers at once, and many one after the other: nothing may pile up. Descriptors, tasks and memory are the whole
//! process's, so these tests have one to themselves and follow each other.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a panic is how it reports"
)]

#[path = "../support/lets_pass.rs"]
mod lets_pass;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use massgen_testkit::{PATIENCE, process};
use mcp_client::{
    ClientOptions, EraPolicy, MultiMcpClient, Observer, RestartPolicy, ServerConfig, ServerState, Target,
};
use mcp_core::{Admitted, LaunchSpec, ServerName};
use mcp_transport::{Session, SessionOptions};
use tempfile::TempDir;

use crate::lets_pass::LetsPass;

/// A server that costs next to nothing. Told of a gate, it opens a session only once there is a line for it behind it.
const SERVER: &str = r#"#!/bin/sh
while IFS= read -r line; do
  id=${line#*\"id\":}; id=${id%%[,\}]*}
  case $line in
    *'"method":"initialize"'*)
      if [ -n "$1" ]; then : > "$1/asked.$$"; read -r _ < "$1/gate"; fi
      echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"cheap\",\"version\":\"1\"}}}" ;;
    *'"method":"tools/list"'*)
      echo "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"tools\":[{\"name\":\"t\",\"inputSchema\":{\"type\":\"object\"}}]}}" ;;
  esac
done
"#;

struct Nobody;

impl Observer for Nobody {}

fn server(folder: &Path, gate: Option<&Path>) -> LaunchSpec {
    let program = folder.join("server.sh");
    if !program.exists() {
        std::fs::write(&program, SERVER).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    }
    LaunchSpec {
        program: program.to_str().unwrap().to_owned(),
        args: gate.iter().map(|gate| gate.to_str().unwrap().to_owned()).collect(),
        ..LaunchSpec::default()
    }
}

fn fleet(size: usize, launch: &LaunchSpec) -> MultiMcpClient {
    let servers = (0..size).map(|n| {
        let name = ServerName::new(format!("s{n}")).unwrap();
        let mut config = ServerConfig::new(name, Target::Stdio(launch.clone()));
        config.era = EraPolicy::Legacy;
        config
    });
    let mut options = ClientOptions::default();
    options.restart = RestartPolicy::never();
    MultiMcpClient::start(servers, Arc::new(LetsPass), Arc::new(Nobody), options)
}

async fn all_ready(client: &MultiMcpClient) {
    for status in client.ready(PATIENCE).await {
        assert!(matches!(status.state, ServerState::Ready { tools: 1 }), "{status:?}");
    }
}

/// What this process holds: descriptors, tasks, children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Holds {
    descriptors: usize,
    tasks: usize,
    children: usize,
}

impl Holds {
    fn now() -> Self {
        Self {
            descriptors: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            children: process::descendants(std::process::id()).len(),
        }
    }

    /// Waits until no more is held than this.
    async fn come_back(self) {
        let back = || {
            let now = Self::now();
            now.descriptors <= self.descriptors && now.tasks <= self.tasks && now.children <= self.children
        };
        assert!(process::until(PATIENCE, back).await, "{self:?} has become {:?}", Self::now());
    }
}

/// Resident memory in KiB.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4
}

#[tokio::test]
async fn nothing_piles_up() {
    let folder = tempfile::tempdir().unwrap();
    fifty_at_once(&folder).await;
    a_hundred_fleets(&folder).await;
    a_thousand_deaths(&folder).await;
}

/// All are asked to open a session before the first of them has done so.
async fn fifty_at_once(folder: &TempDir) {
    const SERVERS: usize = 50;
    let gate = folder.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    // Held open at both ends, so that nobody waits for the other one.
    let mut open = OpenOptions::new().read(true).write(true).open(&gate).unwrap();
    let client = fleet(SERVERS, &server(folder.path(), Some(folder.path())));
    let asked = || {
        let names = std::fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
        names.filter(|name| name.to_string_lossy().starts_with("asked.")).count()
    };
    assert!(process::until(PATIENCE, || asked() == SERVERS).await, "{} of {SERVERS}", asked());
    assert!(client.servers().iter().all(|server| server.state == ServerState::Starting));
    open.write_all(&[b'\n'; SERVERS]).unwrap();
    all_ready(&client).await;
    client.close().await;
}

async fn a_hundred_fleets(folder: &TempDir) {
    let launch = server(folder.path(), None);
    let mut held = None;
    for _ in 0..100 {
        let client = fleet(50, &launch);
        all_ready(&client).await;
        client.close().await;
        drop(client);
        // What the first one leaves is what the runtime keeps.
        match held {
            None => {
                assert!(process::until(PATIENCE, || Holds::now().children == 0).await);
                held = Some(Holds::now());
            }
            Some(held) => Holds::come_back(held).await,
        }
    }
}

async fn a_thousand_deaths(folder: &TempDir) {
    const AT_ONCE: usize = 8;
    const GROWTH_KIB: u64 = 4 * 1024;
    let launch = server(folder.path(), None);
    let mut before: Option<(Holds, u64)> = None;
    for round in 0..1000 / AT_ONCE {
        let mut dying = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            dying.spawn(live_and_die(launch.clone()));
        }
        while let Some(died) = dying.join_next().await {
            died.unwrap();
        }
        match before {
            // By then every table has the size it needs.
            None if round == 250 / AT_ONCE => {
                assert!(process::until(PATIENCE, || Holds::now().children == 0).await);
                before = Some((Holds::now(), memory()));
            }
            _ => {}
        }
    }
    let (held, memory_before) = before.unwrap();
    held.come_back().await;
    let grown = memory().saturating_sub(memory_before);
    assert!(grown < GROWTH_KIB, "{grown} KiB more after 750 servers");
}

async fn live_and_die(launch: LaunchSpec) {
    let mut options = SessionOptions::default();
    options.era = EraPolicy::Legacy;
    let name = ServerName::new("s").unwrap();
    let session = Session::stdio(name, Admitted::by_guard(launch), options).await.unwrap();
    process::signal(session.peer().pid.unwrap(), process::Signal::Kill);
    assert!(session.closed().await.contains("signal 9"));
}
