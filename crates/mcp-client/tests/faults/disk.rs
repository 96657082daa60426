//! Faults of what is kept: the audit log, and credentials.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use massgen_testkit::{Outcome, PATIENCE};
use mcp_client::{AuditFile, AuditRecord, ClientOptions, Judgement, MultiMcpClient, Observer, ServerConfig};
use mcp_core::{MissingCredential, ServerName, ToolService};
use mcp_security::audit::{Broken, verify};
use serde_json::json;

use crate::host;
use crate::lab::{Measured, Playing, ask_innocent, innocent, named};
use crate::stdio::script;
use crate::support::{Recorder, call, child, policy, restarts, start};
use crate::{Fault, Play};

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F61",
            "the audit log is moved, removed, made read-only: it goes on, linked to the last hash",
            || Box::pin(moved_audit()),
        ),
        own("F62", "the audit log is altered, shortened or reordered: the first wrong line is named", || {
            Box::pin(altered_audit())
        }),
        own("F64", "a credential that cannot be had: told by name for that server, the others work", || {
            Box::pin(locked_store())
        }),
    ]
}

/// Writes each call, and what was found in calls, into an audit log.
pub(crate) struct Auditor(Mutex<AuditFile>);

impl Auditor {
    pub(crate) fn file(&self) -> MutexGuard<'_, AuditFile> {
        self.0.lock().unwrap()
    }
}

impl Observer for Auditor {
    fn call_finished(&self, record: &AuditRecord) {
        let record = json!({"event": "tool_call", "call": record.call, "tool": record.tool});
        // What cannot be written waits.
        let _ = self.file().append(record);
    }

    fn judged(&self, server: &ServerName, judgement: &Judgement) {
        let finding = &judgement.finding;
        let record =
            json!({"event": "judged", "server": server, "rule": finding.rule, "detail": finding.reason});
        let _ = self.file().append(record);
    }
}

/// A server whose calls are audited in this file, without which nothing may change the world.
pub(crate) fn audited(
    path: &Path,
    config: ServerConfig,
    options: ClientOptions,
) -> (MultiMcpClient, Arc<Auditor>) {
    let file = AuditFile::new(path).guarding(options.permissions.clone());
    let auditor = Arc::new(Auditor(Mutex::new(file)));
    (MultiMcpClient::start([config], policy(), auditor.clone(), options), auditor)
}

async fn moved_audit() -> Measured {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1.jsonl"));
    let scripted = script(Outcome::Echo).launch();
    let (client, _) = audited(&path, child("faulty", &scripted), restarts(1));
    client.ready(PATIENCE).await;
    let make_call = async || {
        client.call(call("mcp__faulty__do", json!({}))).await.unwrap();
    };
    let read = |path: &PathBuf| verify(std::fs::read_to_string(path).unwrap().as_bytes()).unwrap();
    make_call().await;
    std::fs::rename(&path, &aside).unwrap();
    make_call().await;
    let (first, second) = (read(&aside), read(&path));
    measured.expect((first.lines, second.lines) == (2, 2), format!("{first:?} {second:?}"));
    measured.expect(second.continues == Some(first.last), "what was moved is not linked to");
    std::fs::remove_file(&path).unwrap();
    make_call().await;
    let third = read(&path);
    measured.expect(third.continues == Some(second.last), "what was removed is not linked to");
    // Whoever has it open goes on writing to it.
    let mut rights = std::fs::metadata(&path).unwrap().permissions();
    let before = rights.clone();
    rights.set_readonly(true);
    std::fs::set_permissions(&path, rights).unwrap();
    make_call().await;
    std::fs::set_permissions(&path, before).unwrap();
    let third = read(&path);
    measured.expect(third.lines == 3, format!("{third:?}"));
    measured.got = "answered".into();
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    if cfg!(target_os = "linux") {
        // Without a name there even the superuser is held by a file's rights.
        let scripted = script(Outcome::Echo).launch();
        match host::outcome(host::part("rights", &["unshare", "--user"], &scripted)).await {
            Some((problems, _)) => measured.problems.extend(problems),
            None => measured.got.push_str(" (whom no right holds, as nobody else can be played here)"),
        }
        measured.count_survivors(&[scripted.journal()]).await;
    }
    measured
}

/// Takes all rights to a file away, or gives them back to its owner.
fn permit(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A log to which all rights are taken, while it is open and where another one is in its place.
pub(crate) async fn without_rights() -> Vec<String> {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1.jsonl"));
    let (client, auditor) = audited(&path, host::server(), restarts(1));
    client.ready(PATIENCE).await;
    let make = async |tool: &str, wanted: &str| {
        let (class, text) = named(&client.call(call(&format!("mcp__faulty__{tool}"), json!({}))).await);
        (class != wanted).then(|| format!("{tool} got {class} ({text}), not {wanted}"))
    };
    measured.problems.extend(make("do", "answered").await);
    permit(&path, 0);
    measured.problems.extend(make("do", "answered").await);
    measured.expect(auditor.file().waiting() == 0, "a log that is open is not written to");

    std::fs::rename(&path, &aside).unwrap();
    std::fs::write(&path, "").unwrap();
    permit(&path, 0);
    measured.expect(std::fs::File::open(&path).is_err(), "nobody is held by rights here");
    measured.problems.extend(make("look", "answered").await);
    measured.problems.extend(make("do", "refused").await);
    let waiting = auditor.file().waiting();
    measured.expect(waiting == 2, format!("{waiting} records wait, not 2"));

    permit(&path, 0o600);
    permit(&aside, 0o600);
    measured.problems.extend(make("look", "answered").await);
    measured.problems.extend(make("do", "answered").await);
    client.close().await;
    let read = |path: &PathBuf| verify(std::fs::read_to_string(path).unwrap().as_bytes()).unwrap();
    let (first, second) = (read(&aside), read(&path));
    // The beginning, a gap, two that waited, and two.
    measured.expect((first.lines, second.lines) == (3, 6), format!("{first:?} {second:?}"));
    measured.expect(second.continues == Some(first.last), "what could not be opened is not linked to");
    measured.problems
}

async fn altered_audit() -> Measured {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let scripted = script(Outcome::Echo).launch();
    let (client, _) = audited(&path, child("faulty", &scripted), restarts(1));
    client.ready(PATIENCE).await;
    for number in 0..5 {
        client.call(call("mcp__faulty__do", json!({"number": number}))).await.unwrap();
    }
    client.close().await;
    let log = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = log.lines().collect();
    let first_wrong = |lines: Vec<String>| match verify((lines.join("\n") + "\n").as_bytes()) {
        Ok(_) => None,
        Err(Broken::Altered { line } | Broken::Order { line } | Broken::Syntax { line }) => Some(line),
        Err(_) => Some(0),
    };
    let own = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    measured.expect(first_wrong(own()).is_none(), "it does not hold as it was written");
    for at in 1..lines.len() - 1 {
        let line = Some(at as u64 + 1);
        let mut altered = own();
        altered[at] = altered[at].replace("do", "du");
        let mut shortened = own();
        shortened.remove(at);
        let mut reordered = own();
        reordered.swap(at, at + 1);
        for (what, lines) in [("altered", altered), ("shortened", shortened), ("reordered", reordered)] {
            let found = first_wrong(lines);
            measured.expect(found == line, format!("{what} at line {line:?}: {found:?} was named"));
        }
    }
    measured.got = "the line".into();
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

/// What the client makes of it. That a keyring is locked, does not answer or is not there is found out, within 2 s and in which order
/// of places, by massgen-cli; its tests `secrets::bus` play the three on a bus of their own.
async fn locked_store() -> Measured {
    let mut measured = Measured::default();
    let (scripted, innocent) = (script(Outcome::Echo).launch(), innocent());
    let mut config = child("faulty", &scripted);
    config.missing_credential = Some(MissingCredential {
        name: "desk-key".into(),
        store: "the keyring".into(),
        reason: "it is locked".into(),
    });
    let began = std::time::Instant::now();
    let (client, recorder): (_, Arc<Recorder>) = start([config, child("innocent", &innocent)], restarts(50));
    client.ready(PATIENCE).await;
    let (class, text) = named(&client.client("faulty").unwrap().call_tool("do", Default::default()).await);
    measured.in_time(began.elapsed() < std::time::Duration::from_secs(2), "it took longer than 2 s");
    measured.expect(
        class == "credential_unavailable" && text.contains("desk-key") && text.contains("the keyring"),
        format!("the caller got {class} ({text})"),
    );
    let states = recorder.states("faulty");
    measured.expect(states == ["starting", "auth_required"], format!("it was tried again: {states:?}"));
    measured.expect(scripted.journal().pids().is_empty(), "it was started without its credential");
    measured.expect(ask_innocent(&client).await < std::time::Duration::MAX, "the other server failed");
    measured.got = class;
    client.close().await;
    measured.count_survivors(&[innocent.journal()]).await;
    measured
}
