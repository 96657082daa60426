//! Servers that nobody here wrote: start, list, call, close, and nothing left running.
//!
//! `cargo xtask tools` installs them. Without them these tests say that they were skipped; in CI that is a failure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use massgen_testkit::http::{HttpReply, HttpServer};
use massgen_testkit::{PATIENCE, process, require};
use mcp_client::{ClientOptions, MultiMcpClient, ServerConfig, ServerState, Target};
use mcp_core::{Environment, RemoteSpec, ToolError, ToolOutput, ToolService};
use mcp_security::env::child_environment;
use mcp_transport::EraPolicy;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::{call, is_ready, launch, name, start, tools, until};

/// One real server, and all that became of it.
struct Real {
    client: MultiMcpClient,
    server: &'static str,
    /// The server and its descendants, as they were before the end.
    pids: Vec<u32>,
}

/// The eras that the Python servers speak, and what each is called.
const BOTH: [(EraPolicy, &str); 2] = [(EraPolicy::Auto, "2026-07-28"), (EraPolicy::Legacy, "2025-11-25")];

/// What every test's child inherits; proxies stay out, because these servers talk to this computer.
#[allow(clippy::disallowed_methods, reason = "a test stands where the command line would")]
fn environment() -> Environment {
    let proxies = |name: &str| name.to_ascii_lowercase().ends_with("_proxy");
    std::env::vars().filter(|(name, _)| !proxies(name)).collect()
}

impl Real {
    async fn start(server: &'static str, program: &Path, args: &[&str], declared: &[(&str, &str)]) -> Self {
        Self::start_in(EraPolicy::Auto, server, program, args, declared).await
    }

    async fn start_in(
        era: EraPolicy,
        server: &'static str,
        program: &Path,
        args: &[&str],
        declared: &[(&str, &str)],
    ) -> Self {
        let mut spec = launch(program, args);
        let declared = declared.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        spec.env = child_environment(&environment(), &declared);
        let mut config = ServerConfig::new(name(server), Target::Stdio(spec));
        config.era = era;
        let (client, recorder) = start([config], ClientOptions::default());
        let one = client.client(server).unwrap();
        let state = until(one, |state| *state != ServerState::Starting).await;
        assert!(is_ready(&state), "{state}");
        let pid = one.status().peer.unwrap().pid.unwrap();
        assert!(process::is_alive(pid));
        let mut pids = process::descendants(pid);
        pids.push(pid);
        assert!(recorder.notices.lock().unwrap().is_empty(), "{:?}", recorder.notices);
        Self { client, server, pids }
    }

    /// The revision that is spoken.
    fn revision(&self) -> String {
        self.client.client(self.server).unwrap().status().peer.unwrap().protocol_version
    }

    /// The tools by their own names.
    fn tools(&self) -> Vec<String> {
        let prefix = format!("mcp__{}__", self.server);
        tools(&self.client).iter().map(|tool| tool.strip_prefix(&prefix).unwrap().to_owned()).collect()
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
        self.client.call(call(&format!("mcp__{}__{tool}", self.server), arguments)).await
    }

    async fn text(&self, tool: &str, arguments: Value) -> String {
        let output = self.call(tool, arguments).await.unwrap();
        assert!(!output.is_error, "{}", output.to_text());
        output.to_text()
    }

    async fn close(self) {
        self.client.close().await;
        for pid in self.pids {
            assert!(process::wait_until_gone(pid, PATIENCE).await, "process {pid} is still there");
        }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn everything() {
    let program = require!(npm "mcp-server-everything");
    let server = Real::start("everything", &program, &[], &[]).await;
    assert!(server.tools().len() >= 10, "{:?}", server.tools());
    assert!(server.text("echo", json!({"message": "hello there"})).await.contains("hello there"));
    assert!(server.text("get-sum", json!({"a": 2, "b": 40})).await.contains("42"));
    let error = server.call("get-sum", json!({"a": "two"})).await.unwrap_err();
    assert!(matches!(&error, ToolError::InvalidArguments { problems, .. } if problems.len() == 2), "{error}");
    server.close().await;
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "a server of this kind is started by somebody else")]
async fn everything_over_http() {
    let program = require!(npm "mcp-server-everything");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut process = tokio::process::Command::new(program)
        .arg("streamableHttp")
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
    let listens = async {
        while let Some(line) = said.next_line().await.unwrap() {
            if line.contains("listening") {
                return;
            }
        }
        panic!("the server ended");
    };
    tokio::time::timeout(PATIENCE, listens).await.unwrap();

    let url = format!("http://127.0.0.1:{port}/mcp").parse().unwrap();
    let target = Target::Http(RemoteSpec { url, headers: BTreeMap::new() });
    let (client, _) = start([ServerConfig::new(name("everything"), target)], ClientOptions::default());
    let one = client.client("everything").unwrap();
    let state = until(one, |state| *state != ServerState::Starting).await;
    assert!(is_ready(&state), "{state}");
    assert_eq!(one.status().peer.unwrap().protocol_version, "2025-11-25");
    let sum = client.call(call("mcp__everything__get-sum", json!({"a": 2, "b": 40}))).await.unwrap();
    assert!(sum.to_text().contains("42"), "{}", sum.to_text());
    client.close().await;
    process.kill().await.unwrap();
}

#[tokio::test]
async fn filesystem() {
    let program = require!(npm "mcp-server-filesystem");
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    let note = file(&root, "note.txt", "written by a test");
    let server = Real::start("filesystem", &program, &[&text(&root)], &[]).await;
    assert_eq!(server.text("read_text_file", json!({"path": text(&note)})).await, "written by a test");
    // A tool that ran and failed is an answer.
    let outside = server.call("read_text_file", json!({"path": "/etc/passwd"})).await.unwrap();
    assert!(outside.is_error && outside.to_text().contains("denied"), "{}", outside.to_text());
    server.close().await;
}

#[tokio::test]
async fn memory() {
    let program = require!(npm "mcp-server-memory");
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("memory.jsonl"));
    let server = Real::start("memory", &program, &[], &[("MEMORY_FILE_PATH", &path)]).await;
    let entity = json!({"name": "Ada", "entityType": "person", "observations": ["writes programs"]});
    server.text("create_entities", json!({"entities": [entity]})).await;
    assert!(server.text("read_graph", json!({})).await.contains("writes programs"));
    server.close().await;
    assert!(
        std::fs::read_to_string(path).unwrap().contains("Ada"),
        "the declared variable reached the server"
    );
}

#[tokio::test]
async fn sequential_thinking() {
    let program = require!(npm "mcp-server-sequential-thinking");
    let server = Real::start("thinking", &program, &[], &[]).await;
    assert_eq!(server.tools(), ["sequentialthinking"]);
    let thought =
        json!({"thought": "first", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1});
    assert!(server.text("sequentialthinking", thought).await.contains("thoughtNumber"));
    server.close().await;
}

#[tokio::test]
async fn time() {
    let program = require!(python "mcp2", "mcp-server-time");
    for (era, revision) in BOTH {
        let server = Real::start_in(era, "time", &program, &["--local-timezone", "UTC"], &[]).await;
        assert_eq!(server.revision(), revision);
        assert!(server.text("get_current_time", json!({"timezone": "Asia/Tokyo"})).await.contains("+09:00"));
        let nowhere = server.call("get_current_time", json!({"timezone": "Nowhere/Land"})).await.unwrap();
        assert!(nowhere.is_error, "{}", nowhere.to_text());
        server.close().await;
    }
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the test needs a repository")]
async fn git() {
    let program = require!(python "mcp2", "mcp-server-git");
    let folder = tempfile::tempdir().unwrap();
    let root = text(&folder.path().canonicalize().unwrap());
    for args in [
        &["init", "--quiet"][..],
        &[
            "-c",
            "user.name=Test",
            "-c",
            "user.email=test@example.com",
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
        ],
    ] {
        let mut git = std::process::Command::new("git");
        git.arg("-C").arg(&root).args(args);
        if args.contains(&"commit") {
            git.arg("the first commit");
        }
        assert!(git.status().unwrap().success());
    }
    for (era, revision) in BOTH {
        let server = Real::start_in(era, "git", &program, &["--repository", &root], &[]).await;
        assert_eq!(server.revision(), revision);
        assert!(server.text("git_log", json!({"repo_path": root})).await.contains("the first commit"));
        server.close().await;
    }
}

#[tokio::test]
async fn fetch() {
    let program = require!(python "mcp2", "mcp-server-fetch");
    let web = HttpServer::start(std::sync::Arc::new(|_| {
        HttpReply::new(200, "text/plain", "a page of this computer")
    }));
    // Without the flag the server refuses addresses of this computer.
    let args = ["--allow-private-ips", "--ignore-robots-txt"];
    for (era, revision) in BOTH {
        let server = Real::start_in(era, "fetch", &program, &args, &[]).await;
        assert_eq!(server.revision(), revision);
        let page = server.text("fetch", json!({"url": web.url("/page")})).await;
        assert!(page.contains("a page of this computer"), "{page}");
        server.close().await;
    }
}

#[tokio::test]
async fn sqlite() {
    let program = require!(python "mcp1", "mcp-server-sqlite");
    let folder = tempfile::tempdir().unwrap();
    let path = text(&folder.path().join("test.db"));
    let server = Real::start("sqlite", &program, &["--db-path", &path], &[]).await;
    server.text("create_table", json!({"query": "CREATE TABLE t (n INTEGER)"})).await;
    server.text("write_query", json!({"query": "INSERT INTO t VALUES (41), (42)"})).await;
    let rows = server.text("read_query", json!({"query": "SELECT max(n) AS top FROM t"})).await;
    assert!(rows.contains("42"), "{rows}");
    server.close().await;
}
