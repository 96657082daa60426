use std::fs;
use std::sync::Arc;

use massgen_backends::{FinishReason, Usage};
use massgen_orchestrator::*;
use mcp_core::AgentId;
use serde_json::json;

use crate::team::*;

fn agent(name: &str) -> AgentId {
    AgentId::new(name).unwrap()
}

/// One of every kind.
fn kinds() -> Vec<EventKind> {
    let (a, b) = (agent("alpha"), agent("beta"));
    let usage = Usage { input_tokens: 3, cost_usd: Some(0.25), ..Usage::default() };
    vec![
        EventKind::RunStarted {
            question: "Zwölf \\ \"x\"\n?".into(),
            agents: vec![AgentInfo { id: a.clone(), provider: "Test".into(), model: "m".into() }],
            history: 2,
        },
        EventKind::Server {
            server: "s".into(),
            state: ServerState::Unreachable,
            tools: 0,
            detail: Some("d".into()),
        },
        EventKind::Warning { message: "w".into() },
        EventKind::RoundStarted { agent: a.clone(), round: 1, sees: vec![b.clone()] },
        EventKind::Text { agent: a.clone(), delta: "\u{2028}\u{0}".into() },
        EventKind::Reasoning { agent: a.clone(), delta: "r".into() },
        EventKind::Builtin { agent: a.clone(), tool: "t".into(), phase: "p".into(), detail: json!([1]) },
        EventKind::ToolStarted {
            agent: a.clone(),
            call: "1".into(),
            tool: "t".into(),
            arguments: json!({"type": "x", "b": 1, "a": 2}),
        },
        EventKind::ToolFinished {
            agent: a.clone(),
            call: "1".into(),
            tool: "t".into(),
            status: ToolStatus::ToolError,
            duration_ms: 5,
            result: "no".into(),
        },
        EventKind::TurnFinished { agent: a.clone(), reason: FinishReason::Other("odd".into()), usage },
        EventKind::Enforced { agent: a.clone(), attempt: 1, problem: "p".into() },
        EventKind::Answer { agent: a.clone(), number: 1, text: "C:\\ **x**".into() },
        EventKind::Vote { agent: b.clone(), candidate: a.clone(), reason: "r".into() },
        EventKind::Restarted { agent: b.clone(), because_of: a.clone() },
        EventKind::AgentFailed { agent: b.clone(), error: "e".into(), hint: None, retry_in_ms: None },
        EventKind::LimitReached { limit: "time".into(), message: "m".into() },
        EventKind::Winner { agent: None, votes: vec![(a.clone(), 2)], tie: true },
        EventKind::PresentationStarted { agent: a.clone() },
        EventKind::FinalAnswer { agent: a.clone(), text: String::new() },
        EventKind::RunFinished {
            outcome: RunOutcome::TimedOut,
            duration_ms: 1,
            usage,
            agents: vec![AgentSummary {
                id: a,
                rounds: 1,
                answers: 1,
                tool_calls: 0,
                usage,
                failure: Some("f".into()),
            }],
        },
    ]
}

#[test]
fn what_is_recorded_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let journal = Journal::open(&path).unwrap();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (record, keep) = (journal.clone(), kept.clone());
    let emitter = Emitter::new(move |event| {
        record.record(event);
        keep.lock().unwrap().push(event.clone());
    });
    for kind in kinds() {
        emitter.emit(kind);
    }
    journal.finish().unwrap();
    let kept = std::mem::take(&mut *kept.lock().unwrap());
    // After the end nothing is taken down.
    journal.record(&kept[0]);
    journal.finish().unwrap();
    let recording = read_events(&path).unwrap();
    assert_eq!(recording.events, kept);
    assert_eq!((recording.unknown, recording.torn), (0, false));
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), kept.len());
    assert!(text.starts_with(r#"{"v":1,"seq":1,"at":""#), "{text}");
}

#[test]
fn a_torn_end_costs_only_itself_and_is_healed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let write = |message: &str| {
        let journal = Journal::open(&path).unwrap();
        let record = journal.clone();
        Emitter::new(move |event| record.record(event)).emit(EventKind::Warning { message: message.into() });
        journal.finish().unwrap();
    };
    write("äöü");
    let whole = fs::read(&path).unwrap();
    for cut in 1..whole.len() - 1 {
        fs::write(&path, [&whole, &whole[..cut]].concat()).unwrap();
        let recording = read_events(&path).unwrap();
        assert_eq!((recording.events.len(), recording.torn), (1, true), "cut at {cut}");
    }
    // A second writer begins a line of its own.
    fs::write(&path, [&whole, &whole[..20]].concat()).unwrap();
    write("second");
    let recording = read_events(&path).unwrap();
    assert_eq!((recording.events.len(), recording.torn), (2, true));
}

#[test]
fn what_is_not_a_record_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let good = r#"{"v":1,"seq":1,"at":"2026-01-02T03:04:05Z","type":"warning","message":"m"}"#;
    let new_kind = r#"{"v":1,"seq":2,"at":"2026-01-02T03:04:05Z","type":"from_the_future","x":1}"#;
    for (text, expected) in [
        (format!("{good}\nhello\n{good}\n"), "line 2: not an event"),
        (
            format!("{good}\n{{\"v\":1,\"type\":\"warning\"}}\n{good}\n"),
            "line 2: not an event: missing field",
        ),
        (good.replace("\"v\":1", "\"v\":9"), "line 1: written in format 9; this version reads up to 1"),
        (new_kind.replace("\"v\":1", "\"v\":9"), "line 1: written in format 9"),
    ] {
        fs::write(&path, &text).unwrap();
        let error = read_events(&path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("events.jsonl"), "{error}");
    }
    fs::write(&path, format!("{good}\n\n{new_kind}\n{good}")).unwrap();
    let recording = read_events(&path).unwrap();
    assert_eq!((recording.events.len(), recording.unknown, recording.torn), (2, 1, false));
    assert!(matches!(read_events(folder.path().join("none")), Err(JournalError::Open { .. })));
    assert!(matches!(Journal::open(folder.path()), Err(JournalError::Open { .. })));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_the_record_and_not_the_run() {
    let journal = Journal::open("/dev/full").unwrap();
    let record = journal.clone();
    let emitter = Emitter::new(move |event| record.record(event));
    for _ in 0..1000 {
        emitter.emit(EventKind::Warning { message: "x".repeat(100) });
    }
    let error = journal.finish().unwrap_err();
    assert!(matches!(&error, JournalError::Write { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_whole_run_reads_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let played = Team::new().with(|_, _| answer("42")).play().await;
    let journal = Journal::open(&path).unwrap();
    played.events.iter().for_each(|event| journal.record(event));
    journal.finish().unwrap();
    assert_eq!(read_events(&path).unwrap().events, played.events);
}
