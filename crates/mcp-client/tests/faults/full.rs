//! A disk without room for the record of calls.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use massgen_testkit::{Outcome, PATIENCE};
use mcp_client::{Ledger, ServerConfig, ServerState, metrics};
use mcp_core::{ToolError, ToolService};
use mcp_security::audit::verify;
use serde_json::json;

use crate::disk::audited;
use crate::heard::{Heard, apart};
use crate::host;
use crate::lab::{Measured, named};
use crate::stdio::script;
use crate::support::{call, child, restarts, start, until};

/// Where the part that has a disk of its own finds it.
const FOLDER: &str = "MASSGEN_FAULTS_FOLDER";
const AUDIT: &str = "audit.jsonl";
const LEDGER: &str = "ledger.jsonl";

/// How a folder is filled and freed.
struct Disk {
    folder: PathBuf,
    fill: fn(&Path),
    free: fn(&Path),
}

/// On a file system of its own in memory, where there may be one; else with the system's device that is always full.
pub(crate) async fn full_disk() -> Measured {
    let mut measured = Measured { got: "refused".into(), ..Measured::default() };
    let folder = tempfile::tempdir().unwrap();
    let scripted = script(Outcome::Echo).launch();
    let place = folder.path().to_str().unwrap();
    let mount = format!("mount -t tmpfs -o size=64k none '{place}' && exec \"$0\" \"$@\"");
    let unshared = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount];
    let mut part = host::part("disk", &unshared, &scripted);
    part.env(FOLDER, place);
    match host::outcome(part).await {
        Some((problems, _)) => measured.problems.extend(problems),
        None => {
            measured.got.push_str(" (by the device that is always full)");
            let fill: fn(&Path) = |folder| {
                std::fs::rename(folder.join(AUDIT), folder.join("aside")).unwrap();
                std::os::unix::fs::symlink("/dev/full", folder.join(AUDIT)).unwrap();
            };
            let free = |folder: &Path| std::fs::remove_file(folder.join(AUDIT)).unwrap();
            let disk = Disk { folder: folder.path().to_owned(), fill, free };
            let config = child("faulty", &scripted);
            measured.problems.extend(apart(|heard| fills_up(disk, config, heard)).await);
        }
    }
    let of_do = |sent: &&serde_json::Value| sent["params"]["name"] == "do";
    let sent = scripted.journal().method("tools/call").iter().filter(of_do).count();
    measured.expect(sent == 2, format!("{sent} calls that may change something were sent, not 2"));
    measured.sends = 1.0;
    measured.count_survivors(&[scripted.journal()]).await;
    without_a_ledger(&mut measured).await;
    measured
}

/// The part with a disk of its own: 64 KiB, which the records of calls fill up. There is room again when it is made larger, for
/// what waits then is more than 64 KiB.
pub(crate) async fn on_its_own() -> Vec<String> {
    let folder = PathBuf::from(std::env::var_os(FOLDER).unwrap());
    let free = |folder: &Path| {
        let enlarged = Command::new("mount").args(["-o", "remount,size=1m"]).arg(folder).status().unwrap();
        assert!(enlarged.success());
    };
    apart(move |heard| fills_up(Disk { folder, fill: |_| (), free }, host::server(), heard)).await
}

/// Counts the calls that were refused for want of a record.
#[derive(Default)]
struct Refusals(AtomicU64);

impl metrics::Observer for Refusals {
    fn count(&self, name: &'static str, labels: &[metrics::Label<'_>], by: u64) {
        let wanted = [("rule", "audit-unavailable"), ("verdict", "deny")];
        if name == metrics::names::SECURITY_DECISIONS && wanted.iter().all(|label| labels.contains(label)) {
            self.0.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn histogram(&self, _: &'static str, _: &[metrics::Label<'_>], _: f64) {}

    fn gauge(&self, _: &'static str, _: &[metrics::Label<'_>], _: f64) {}
}

/// A client whose disk has room, then none, then room again.
async fn fills_up(disk: Disk, config: ServerConfig, heard: Heard) -> Vec<String> {
    let mut measured = Measured::default();
    let log = disk.folder.join(AUDIT);
    let ledger = Ledger::new();
    ledger.write_to(Some(disk.folder.join(LEDGER)));
    let refusals = Arc::new(Refusals::default());
    let mut options = restarts(1);
    options.ledger = Some(ledger.clone());
    options.metrics = Some(refusals.clone());
    let (client, auditor) = audited(&log, config, options);
    let said = |words: &str| heard.lines().iter().filter(|line| line.contains(words)).count();
    let unwritten = "the audit log cannot be written; tools that change the world are refused";
    client.ready(PATIENCE).await;
    let one = client.client("faulty").unwrap();
    let make = async |tool: &str| client.call(call(&format!("mcp__faulty__{tool}"), json!({}))).await;
    let (class, text) = named(&make("do").await);
    measured.expect(class == "answered", format!("with room the caller got {class} ({text})"));

    (disk.fill)(&disk.folder);
    // What is written from now on fills it up.
    for _ in 0..1000 {
        let (class, text) = named(&make("look").await);
        measured.expect(class == "answered", format!("a tool that only reads got {class} ({text})"));
        if auditor.file().waiting() > 0 {
            break;
        }
    }
    measured.expect(auditor.file().waiting() > 0, "the disk is not full");
    let state = until(one, |state| matches!(state, ServerState::Degraded { .. })).await;
    let says = state.to_string();
    measured.expect(says.contains("the audit log cannot be written"), format!("its state says {says:?}"));
    measured
        .expect(said(unwritten) == 1, format!("it is said {} times: {:?}", said(unwritten), heard.lines()));
    for number in 1..=3 {
        let began = Instant::now();
        let refused = make("do").await;
        let took = began.elapsed();
        measured.in_time(took <= Duration::from_millis(10), format!("it took {took:?} to be refused"));
        let counted = refusals.0.load(Ordering::Relaxed);
        measured.expect(counted == number, format!("{counted} of {number} refusals are counted"));
        let holds = matches!(&refused, Err(ToolError::Refused { refusal, .. }) if refusal.rule == "audit-unavailable");
        measured.expect(holds, format!("a tool that may change something got {:?}", named(&refused)));
        let (class, text) = named(&make("look").await);
        measured.expect(class == "answered", format!("a tool that only reads got {class} ({text})"));
    }
    for number in 0..1100 {
        let _ = auditor.file().append(json!({"event": "tool_call", "number": number}));
    }
    let waiting = auditor.file().waiting();
    let lost = auditor.file().dropped();
    measured.expect(waiting == 1000 && lost >= 100, format!("{waiting} records wait, {lost} are lost"));

    (disk.free)(&disk.folder);
    // What waits may be more than there is room for; it is written as far as that goes.
    for _ in 0..3 {
        let (class, text) = named(&make("look").await);
        measured.expect(class == "answered", format!("a tool that only reads got {class} ({text})"));
    }
    measured.expect(said(unwritten) == 1, format!("it is said {} times", said(unwritten)));
    measured
        .expect(said("the audit log can be written again") == 1, "it is not said that there is room again");
    let left = auditor.file().waiting();
    measured.expect(left == 0, format!("{left} records wait although there is room"));
    until(one, |state| matches!(state, ServerState::Ready { .. })).await;
    let (class, text) = named(&make("do").await);
    measured.expect(class == "answered", format!("with room again the caller got {class} ({text})"));
    client.close().await;
    ledger.flush().await;
    let written = std::fs::read_to_string(&log).unwrap_or_default();
    let lost = auditor.file().dropped();
    let gap = format!(r#""lost":{lost}"#);
    let told =
        written.lines().filter(|line| line.contains(r#""event":"gap""#) && line.contains(&gap)).count();
    measured.expect(told == 1, format!("it is said {told} times that records came late or never"));
    let verified = verify(written.as_bytes());
    measured.expect(verified.is_ok(), format!("the log does not hold: {verified:?}"));
    measured.problems
}

/// Nor is there room for what is written down before a call is sent.
async fn without_a_ledger(measured: &mut Measured) {
    let ledger = Ledger::new();
    ledger.write_to(Some("/dev/full".into()));
    let scripted = script(Outcome::Echo).launch();
    let mut options = restarts(1);
    options.ledger = Some(ledger);
    let (client, _) = start([child("faulty", &scripted)], options);
    client.ready(PATIENCE).await;
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(class == "refused", format!("the caller got {class} ({text})"));
    let (reading, text) = named(&client.call(call("mcp__faulty__look", json!({}))).await);
    measured.expect(reading == "answered", format!("a tool that only reads got {reading} ({text})"));
    let sent = scripted.journal().method("tools/call").len();
    measured.expect(sent == 1, format!("{sent} calls were sent, not the one that reads"));
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
}
