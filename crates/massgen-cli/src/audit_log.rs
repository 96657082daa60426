//! `audit.jsonl` of the current run: every call, every refusal, every server that is not what it was, in a chain that
//! shows what was altered.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;

use massgen::client::{
    AuditFile, AuditRecord, Drift, Gate, Integrity, Judgement, Observer, Outcome, ServerState, Subject,
    metrics,
};
use massgen::core::ServerName;
use massgen::security::Redactor;
use serde_json::{Value, json};

use crate::log_directory::LogDirectory;
use crate::telemetry::names;

/// The name of the file in a run's log folder.
pub(crate) const FILE: &str = "audit.jsonl";

/// Records that are kept until there is a place for them; beyond it, the oldest go.
const WAITING: usize = 10_000;

/// Writes the records of the current run, on a thread of its own.
pub(crate) struct AuditLog {
    redactor: Redactor,
    metrics: Arc<dyn metrics::Observer>,
    place: Mutex<Place>,
}

/// Where records go.
enum Place {
    /// Nowhere yet: servers start before their run has a folder.
    Ahead(VecDeque<Value>),
    /// To a file.
    File(Writer),
    /// Nowhere, as the user wants no log.
    Nowhere,
}

struct Writer {
    records: mpsc::Sender<Value>,
    thread: JoinHandle<()>,
}

impl AuditLog {
    /// A log without a place to write to yet. No registered secret gets into it; `metrics` hears of each record.
    pub(crate) fn new(redactor: Redactor, metrics: Arc<dyn metrics::Observer>) -> Arc<Self> {
        Arc::new(Self { redactor, metrics, place: Mutex::new(Place::Ahead(VecDeque::new())) })
    }

    fn lock(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on records go to this run's folder, those first that came since the run before. Where they cannot be
    /// written, `gate` lets nothing change the world.
    pub(crate) fn begin(&self, log: Option<&LogDirectory>, gate: &Gate) {
        let mut place = self.lock();
        let Some(log) = log else {
            *place = Place::Nowhere;
            return;
        };
        let (path, gate) = (log.path().join(FILE), gate.clone());
        let (records, inbox) = mpsc::channel();
        if let Place::Ahead(waiting) = &mut *place {
            for record in waiting.drain(..) {
                // The other end is still here.
                let _ = records.send(record);
            }
        }
        let thread = std::thread::spawn(move || write(path, &inbox, &gate));
        *place = Place::File(Writer { records, thread });
    }

    /// Ends the current run's log. Returns when all of it is written.
    pub(crate) async fn end(&self) {
        let ended = std::mem::replace(&mut *self.lock(), Place::Ahead(VecDeque::new()));
        if let Place::File(Writer { records, thread }) = ended {
            drop(records);
            // A thread that panicked has nothing more to write.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn record(&self, mut record: Value) {
        self.redactor.redact_json(&mut record);
        self.metrics.count(names::AUDIT_RECORDS, &[], 1);
        match &mut *self.lock() {
            Place::Ahead(waiting) => {
                if waiting.len() == WAITING {
                    waiting.pop_front();
                }
                waiting.push_back(record);
            }
            // A writer that is gone has said why.
            Place::File(writer) => drop(writer.records.send(record)),
            Place::Nowhere => {}
        }
    }
}

/// Writes a whole chain, each record as it comes. While it cannot be written, nothing may change the world.
fn write(path: PathBuf, records: &mpsc::Receiver<Value>, gate: &Gate) {
    let mut log = AuditFile::new(path);
    let mut suspended = false;
    for record in records {
        match log.append(record) {
            Ok(()) if suspended => {
                tracing::info!("the audit log can be written again");
                gate.suspend_changes(None);
                suspended = false;
            }
            Err(error) if !suspended => {
                tracing::warn!(%error, "the audit log cannot be written; tools that change the world are refused");
                gate.suspend_changes(Some(format!("the audit log cannot be written ({error})")));
                suspended = true;
            }
            Ok(()) | Err(_) => {}
        }
    }
    if let Err(error) = log.end() {
        tracing::warn!(%error, "the audit log has no end");
    }
}

fn now() -> Value {
    json!(jiff::Timestamp::now())
}

impl Observer for AuditLog {
    fn call_finished(&self, record: &AuditRecord) {
        let at = jiff::Timestamp::try_from(record.started).unwrap_or_default();
        let (outcome, class, rule) = match &record.outcome {
            Outcome::Answered => ("answered", None, None),
            Outcome::ToolFailed => ("tool_failed", None, None),
            Outcome::Failed { class, rule, .. } => ("failed", Some(*class), *rule),
            _ => ("dropped", None, None),
        };
        self.record(json!({
            "at": at,
            "event": "tool_call",
            "call": record.call,
            "caller": record.caller,
            "asked": record.asked,
            "server": record.server,
            "tool": record.tool,
            "decision": if class == Some("refused") { "deny" } else { "allow" },
            "duration_ms": u64::try_from(record.duration.as_millis()).unwrap_or(u64::MAX),
            "outcome": outcome,
            "class": class,
            "rule": rule,
        }));
    }

    fn drifted(&self, server: &ServerName, drift: &Drift) {
        let (tool, rule, decision, detail) = match drift {
            Drift::Changed { tool, change } => (Some(tool), "tool-changed", "deny", Some(change.to_string())),
            Drift::New { tool, held: true } => (Some(tool), "tool-new", "deny", None),
            Drift::New { tool, .. } => (Some(tool), "tool-new", "flag", None),
            Drift::Instructions { change } => {
                (None, "instructions-changed", "flag", Some(change.to_string()))
            }
            _ => (None, "drift", "flag", None),
        };
        self.record(json!({
            "at": now(), "event": "pin", "server": server, "tool": tool, "decision": decision, "rule": rule, "detail": detail,
        }));
    }

    fn judged(&self, server: &ServerName, judgement: &Judgement) {
        let (event, tool) = match &judgement.subject {
            Subject::Tool(tool) => ("tool", Some(tool)),
            Subject::Call(tool) => ("arguments", Some(tool)),
            Subject::Answer(tool) => ("answer", Some(tool)),
            Subject::Instructions => ("instructions", None),
            _ => ("launch", None),
        };
        self.record(json!({
            "at": now(),
            "event": event,
            "server": server,
            "tool": tool,
            "decision": if judgement.withheld { "deny" } else { "flag" },
            "rule": judgement.finding.rule,
            "detail": judgement.finding.reason,
        }));
    }

    fn integrity_changed(&self, server: &ServerName, integrity: &Integrity) {
        let (state, decision, detail) = match integrity {
            Integrity::Clean => ("clean", "allow", None),
            Integrity::Suspicious { .. } => ("suspicious", "flag", None),
            Integrity::Quarantined { reason } => ("quarantined", "deny", Some(reason)),
            _ => ("unknown", "flag", None),
        };
        self.record(json!({
            "at": now(), "event": "integrity", "server": server, "state": state, "decision": decision, "detail": detail,
        }));
    }

    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        let (state, detail) = match state {
            ServerState::Starting => ("starting", None),
            ServerState::Ready { .. } => ("ready", None),
            ServerState::Resting { .. } => ("resting", None),
            ServerState::Failed { reason, .. } => ("failed", Some(reason)),
            _ => ("stopped", None),
        };
        self.record(
            json!({"at": now(), "event": "server", "server": server, "state": state, "detail": detail}),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::BufReader;
    use std::path::Path;

    use massgen::security::audit::{Verified, verify};

    use super::*;

    fn verified(path: &Path) -> Verified {
        verify(BufReader::new(File::open(path).unwrap())).unwrap()
    }

    fn records() -> mpsc::Receiver<Value> {
        let (sender, inbox) = mpsc::channel();
        sender.send(json!({"event": "tool_call"})).unwrap();
        inbox
    }

    #[test]
    fn records_become_a_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(path.clone(), &records(), &Gate::default());
        let verified = verified(&path);
        assert_eq!((verified.lines, verified.complete), (3, true));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let gate = Gate::default();
        write("/dev/full".into(), &records(), &gate);
        assert!(gate.suspended().is_some_and(|reason| reason.contains("audit log")));
    }

    #[test]
    fn what_happens_before_a_run_has_a_folder_is_kept_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let audit = AuditLog::new(Redactor::default(), Arc::new(()));
        let server = ServerName::new("s").unwrap();
        audit.server_changed(&server, &ServerState::Starting);
        audit.begin(Some(&log), &Gate::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(audit.end());
        assert_eq!(verified(&log.path().join(FILE)).lines, 3);
    }
}
