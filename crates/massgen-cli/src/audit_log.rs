//! `audit.jsonl` of the current run: every call, every refusal, every server that is not what it was, in a chain that
//! shows what was altered.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use massgen::client::{AuditRecord, Drift, Gate, Observer, Outcome, ServerState, metrics};
use massgen::core::ServerName;
use massgen::security::Redactor;
use massgen::security::audit::Chain;
use serde_json::{Value, json};

use crate::log_directory::LogDirectory;
use crate::telemetry::names;

/// The name of the file in a run's log folder.
pub(crate) const FILE: &str = "audit.jsonl";

/// Writes the records of the current run, on a thread of its own.
pub(crate) struct AuditLog {
    redactor: Redactor,
    metrics: Arc<dyn metrics::Observer>,
    current: Mutex<Option<Writer>>,
}

struct Writer {
    records: mpsc::Sender<Value>,
    thread: JoinHandle<()>,
}

impl AuditLog {
    /// A log without a place to write to yet. No registered secret gets into it; `metrics` hears of each record.
    pub(crate) fn new(redactor: Redactor, metrics: Arc<dyn metrics::Observer>) -> Arc<Self> {
        Arc::new(Self { redactor, metrics, current: Mutex::default() })
    }

    /// From now on records go to this run's folder. Where they cannot be written, `gate` lets nothing change the world.
    pub(crate) fn begin(&self, log: Option<&LogDirectory>, gate: &Gate) {
        let writer = log.map(|log| {
            let (log, gate) = (log.clone(), gate.clone());
            let (records, inbox) = mpsc::channel();
            let thread = std::thread::spawn(move || {
                let written = log.append(FILE).and_then(|file| write(file, &nonce(), &inbox));
                if let Err(error) = written {
                    tracing::warn!(%error, "the audit log cannot be written; tools that change the world are refused");
                    gate.suspend_changes(Some(format!("the audit log cannot be written ({error})")));
                }
            });
            Writer { records, thread }
        });
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = writer;
    }

    /// Ends the current run's log. Returns when all of it is written.
    pub(crate) async fn end(&self) {
        let writer = self.current.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Writer { records, thread }) = writer {
            drop(records);
            // A thread that panicked has nothing more to write.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    fn record(&self, mut record: Value) {
        self.redactor.redact_json(&mut record);
        self.metrics.count(names::AUDIT_RECORDS, &[], 1);
        if let Some(writer) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            // A writer that is gone has said why.
            let _ = writer.records.send(record);
        }
    }
}

/// Writes a whole chain, each record as it comes.
fn write(mut out: impl Write, nonce: &str, records: &mpsc::Receiver<Value>) -> io::Result<()> {
    let (mut chain, first) = Chain::begin(nonce);
    writeln!(out, "{first}")?;
    for record in records {
        writeln!(out, "{}", chain.seal(record))?;
    }
    writeln!(out, "{}", chain.end())
}

/// A number that no other log has.
fn nonce() -> String {
    let now = jiff::Timestamp::now().as_nanosecond();
    format!("{now:x}-{:016x}{:016x}", RandomState::new().hash_one(now), RandomState::new().hash_one(now))
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

    fn server_changed(&self, server: &ServerName, state: &ServerState) {
        let (state, detail) = match state {
            ServerState::Starting => ("starting", None),
            ServerState::Ready { .. } => ("ready", None),
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
    use massgen::security::audit::verify;

    use super::*;

    #[test]
    fn records_become_a_chain_and_a_full_disk_is_told() {
        let records = || {
            let (sender, inbox) = mpsc::channel();
            sender.send(json!({"event": "tool_call"})).unwrap();
            inbox
        };
        let mut written = Vec::new();
        write(&mut written, &nonce(), &records()).unwrap();
        let verified = verify(written.as_slice()).unwrap();
        assert_eq!((verified.lines, verified.complete), (3, true));

        let mut room = [0_u8; 300];
        assert!(write(&mut room[..], &nonce(), &records()).is_err());
    }
}
