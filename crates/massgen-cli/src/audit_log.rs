//! `audit.jsonl` of the current run: every call, every refusal, every server that is not what it was, in a chain that
//! shows what was altered.

mod inbox;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use massgen::client::{
    AuditFile, AuditRecord, Drift, Gate, Integrity, Judgement, Observer, Outcome, ServerState, Subject,
    metrics,
};
use massgen::core::ServerName;
use massgen::security::Redactor;
use serde_json::{Value, json};

use self::inbox::{Inbox, Outbox, Taken};
use crate::audit_key;
use crate::log_directory::LogDirectory;
use crate::telemetry::names;

/// The name of the file in a run's log folder.
pub(crate) const FILE: &str = "audit.jsonl";

/// Records that are kept until there is a place for them; beyond it, the oldest go.
const WAITING: usize = 10_000;
/// How long the end of a log waits for the disk.
const FINISH: Duration = Duration::from_secs(5);

/// The kinds of records: what `event` is in each.
pub(crate) const EVENTS: [&str; 12] = [
    "tool_call",
    "arguments",
    "answer",
    "tool",
    "instructions",
    "launch",
    "pin",
    "integrity",
    "server",
    "gap",
    "begin",
    "end",
];

/// Writes the records of the current run, on a thread of its own.
pub(crate) struct AuditLog {
    redactor: Redactor,
    figures: Figures,
    /// Where the key of its chain is.
    key: Option<PathBuf>,
    place: Mutex<Place>,
}

/// What is measured of the log.
#[derive(Clone)]
struct Figures(Arc<dyn metrics::Observer>);

impl Figures {
    fn lag(&self, records: usize) {
        self.0.gauge(names::AUDIT_LAG, &[], records as f64);
    }

    fn dropped(&self, records: u64) {
        self.0.count(names::AUDIT_DROPPED, &[], records);
    }
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
    records: Outbox,
    gate: Gate,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Hands over a record. Where a disk hangs, it is as on a full one: the oldest records are lost, and nothing may
    /// change the world.
    fn write(&self, record: Value, figures: &Figures) {
        let Some(waiting) = self.records.put(record) else { return };
        figures.dropped(1);
        if self.gate.suspended().is_none() {
            figures.lag(waiting);
            AuditFile::suspend(&self.gate, UNTAKEN);
        }
    }
}

/// What a disk does that hangs.
const UNTAKEN: &str = "the disk does not keep up";

impl AuditLog {
    /// A log without a place to write to yet. No registered secret gets into it; `metrics` hears of each record; `key` is the
    /// file of the key that makes its chain.
    pub(crate) fn new(
        redactor: Redactor,
        metrics: Arc<dyn metrics::Observer>,
        key: Option<PathBuf>,
    ) -> Arc<Self> {
        Arc::new(Self {
            redactor,
            figures: Figures(metrics),
            key,
            place: Mutex::new(Place::Ahead(VecDeque::new())),
        })
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
        let ahead = match &mut *place {
            Place::Ahead(waiting) => std::mem::take(waiting),
            _ => VecDeque::new(),
        };
        let inbox = Inbox::of(ahead);
        let records = Outbox::of(&inbox);
        let (key, figures, guarded) = (self.key.clone(), self.figures.clone(), gate.clone());
        let thread = std::thread::spawn(move || write(path, key.as_deref(), &inbox, &guarded, &figures));
        *place = Place::File(Writer { records, gate, thread });
    }

    /// Ends the current run's log. Returns when all of it is written, or the disk has hung for long.
    pub(crate) async fn end(&self) {
        self.end_within(FINISH).await;
    }

    async fn end_within(&self, patience: Duration) {
        let ended = std::mem::replace(&mut *self.lock(), Place::Ahead(VecDeque::new()));
        if let Place::File(Writer { records, thread, .. }) = ended {
            drop(records);
            let written = tokio::task::spawn_blocking(move || thread.join());
            // A thread that panicked has nothing more to write.
            if tokio::time::timeout(patience, written).await.is_err() {
                tracing::warn!(error = UNTAKEN, "the audit log has no end");
            }
        }
    }

    fn record(&self, mut record: Value) {
        let Figures(metrics) = &self.figures;
        if self.redactor.redact_json(&mut record) {
            metrics.count(names::SECRET_REDACTIONS, &[("sink", "audit")], 1);
        }
        metrics.count(names::AUDIT_RECORDS, &[], 1);
        match &mut *self.lock() {
            Place::Ahead(waiting) => {
                if waiting.len() == WAITING {
                    waiting.pop_front();
                    self.figures.dropped(1);
                }
                waiting.push_back(record);
            }
            Place::File(writer) => writer.write(record, &self.figures),
            Place::Nowhere => {}
        }
    }
}

/// Writes a whole chain, each record as it comes. While it cannot be written, nothing may change the world.
fn write(path: PathBuf, key: Option<&Path>, inbox: &Inbox, gate: &Gate, figures: &Figures) {
    let key = key.and_then(|key| match audit_key::read_or_make(key) {
        Ok(made) => Some(made),
        Err(error) => {
            tracing::warn!(key = %key.display(), %error, "the audit log is not keyed: whoever can write it can make another");
            None
        }
    });
    let mut log = AuditFile::new(path).keyed(key).guarding(gate.clone());
    let (mut lag, mut dropped) = (0, 0);
    figures.lag(lag);
    figures.dropped(0);
    while let Some(Taken { record, lost, left }) = inbox.take() {
        log.lose(lost);
        // They were counted when they were lost.
        dropped += lost;
        // That it cannot be written was told when it happened.
        let _ = log.append(record);
        let waiting = left + log.waiting();
        // Mostly it is nothing, and not told again with each record.
        if std::mem::replace(&mut lag, waiting) != waiting {
            figures.lag(waiting);
        }
        let all = log.dropped();
        if all > dropped {
            figures.dropped(all - std::mem::replace(&mut dropped, all));
        }
    }
    match log.end() {
        // That it cannot be written is known by then.
        Err(error) if gate.suspended().is_none() => tracing::warn!(%error, "the audit log has no end"),
        Ok(()) | Err(_) => {}
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
            "decision": if rule.is_some() || matches!(class, Some("refused" | "unknown_tool" | "tool_gone")) { "deny" } else { "allow" },
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
        self.record(
            json!({"at": now(), "event": "server", "server": server, "state": state.name(), "detail": state.reason()}),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::BufReader;

    use massgen::security::audit::{Verified, verify};
    use massgen_testkit::{PATIENCE, process};

    use super::*;
    use crate::telemetry::registry::{Registry, Value::Number};

    fn verified(path: &Path) -> Verified {
        verify(BufReader::new(File::open(path).unwrap())).unwrap()
    }

    /// So many records on their way to the writer, and no more after them.
    fn records(count: usize) -> Arc<Inbox> {
        let inbox = Inbox::of((0..count).map(|_| record()).collect());
        drop(Outbox::of(&inbox));
        inbox
    }

    fn record() -> Value {
        json!({"event": "tool_call"})
    }

    #[test]
    fn records_become_a_chain() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        write(path.clone(), None, &records(1), &Gate::default(), &Figures(Arc::new(())));
        let verified = verified(&path);
        assert_eq!((verified.lines, verified.complete), (3, true));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_told() {
        let gate = Gate::default();
        let registry = Arc::new(Registry::default());
        write("/dev/full".into(), None, &records(1_003), &gate, &Figures(registry.clone()));
        assert!(gate.suspended().is_some_and(|why| why.rule == "audit-unavailable"));
        let metrics = registry.metrics();
        let value = |name: &str| metrics[name].series[0].value.clone();
        assert_eq!(value(names::AUDIT_DROPPED), Number { value: 3.0 });
        assert_eq!(value(names::AUDIT_LAG), Number { value: 1_000.0 });
    }

    /// A pipe that nobody reads is a disk that hangs: to open it takes until somebody does.
    #[cfg(unix)]
    #[test]
    fn a_disk_that_hangs_is_as_a_full_one() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let path = log.path().join(FILE);
        #[expect(clippy::disallowed_methods, reason = "it is no server")]
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(&path).status().unwrap().success());
        let (gate, registry) = (Gate::default(), Arc::new(Registry::default()));
        let audit = AuditLog::new(Redactor::default(), registry.clone(), None);
        audit.begin(Some(&log), &gate);
        let waiting = || match &*audit.lock() {
            Place::File(writer) => writer.records.len(),
            _ => 0,
        };
        audit.record(record());
        assert!(process::until_blocking(PATIENCE, || waiting() == 0), "the writer does not write");
        (0..1_000).for_each(|_| audit.record(record()));
        assert!(gate.suspended().is_none());
        (0..3).for_each(|_| audit.record(record()));
        assert!(gate.suspended().is_some_and(|why| why.rule == "audit-unavailable"));
        assert_eq!(waiting(), 1_000);
        let metrics = registry.metrics();
        let value = |name: &str| metrics[name].series[0].value.clone();
        assert_eq!(value(names::AUDIT_DROPPED), Number { value: 3.0 });
        assert_eq!(value(names::AUDIT_LAG), Number { value: 1_000.0 });

        // The end does not wait for ever, and what comes late is whole and says what it lacks.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(audit.end_within(Duration::ZERO));
        let written = std::fs::read_to_string(&path).unwrap();
        assert!(written.contains(r#""lost":3"#), "{written:.500}");
        assert_eq!(written.matches("tool_call").count(), 1_001);
        assert!(gate.suspended().is_none());
        drop(runtime);
    }

    #[test]
    fn a_secret_that_is_kept_out_is_counted() {
        let (redactor, registry) = (Redactor::default(), Arc::new(Registry::default()));
        redactor.register("hunter2-hunter2");
        let audit = AuditLog::new(redactor, registry.clone(), None);
        let server = ServerName::new("s").unwrap();
        let reason = "it said hunter2-hunter2".to_owned();
        audit.integrity_changed(&server, &Integrity::Quarantined { reason });
        audit.integrity_changed(&server, &Integrity::Clean);
        let metrics = registry.metrics();
        let counted = &metrics[names::SECRET_REDACTIONS].series;
        assert_eq!((counted.len(), &counted[0].value), (1, &Number { value: 1.0 }));
        assert_eq!(counted[0].labels["sink"], "audit");
        assert_eq!(metrics[names::AUDIT_RECORDS].series[0].value, Number { value: 2.0 });
    }

    #[test]
    fn what_happens_before_a_run_has_a_folder_is_kept_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = LogDirectory::create(folder.path(), "now").unwrap();
        let audit = AuditLog::new(Redactor::default(), Arc::new(()), None);
        let server = ServerName::new("s").unwrap();
        audit.server_changed(&server, &ServerState::Starting);
        audit.begin(Some(&log), &Gate::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(audit.end());
        assert_eq!(verified(&log.path().join(FILE)).lines, 3);
    }
}
