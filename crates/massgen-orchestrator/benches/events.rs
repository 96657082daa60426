//! How many events a second the emitter hands on, alone and into a journal on disk. Models write some hundred a second.
#![allow(missing_docs, clippy::unwrap_used, reason = "criterion's macros; a bench may panic")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use massgen_orchestrator::{Emitter, EventKind, Journal};
use mcp_core::AgentId;

const EVENTS: u64 = 10_000;

/// What most events of a run are: a word of an agent's text.
fn emit_all(emitter: &Emitter, agent: &AgentId) {
    for _ in 0..EVENTS {
        emitter.emit(EventKind::Text { agent: agent.clone(), delta: "kilometres ".to_owned() });
    }
}

fn events(criterion: &mut Criterion) {
    let agent = AgentId::new("scout").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("events");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("emitter", |bencher| {
        let emitter = Emitter::new(|event| {
            black_box(event);
        });
        bencher.iter(|| emit_all(&emitter, &agent));
    });
    let mut runs = 0;
    group.bench_function("journal", |bencher| {
        // Opened and finished each time: what counts is when the record is whole.
        bencher.iter(|| {
            runs += 1;
            let journal = Journal::open(folder.path().join(format!("{runs}.jsonl"))).unwrap();
            let record = journal.clone();
            emit_all(&Emitter::new(move |event| record.record(event)), &agent);
            journal.finish().unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
