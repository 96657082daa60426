//! How long a verdict takes: the slowest of a hundred (p99) decides whether anybody notices.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use mcp_core::{ServerName, ToolName, ToolSpec};
use mcp_security::scan::{self, Around};
use mcp_security::url::{Context, Question, admit};
use mcp_security::{Rules, command, env};
use serde_json::json;

fn tail(name: &str, mut judge: impl FnMut()) {
    let mut times: Vec<Duration> = (0..400)
        .map(|_| {
            let begun = Instant::now();
            judge();
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("{name}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
}

/// The tools of many servers, each with the few sentences that most have.
fn catalogue(count: usize) -> Vec<ToolSpec> {
    let tool = |at: usize| {
        let (server, tool) = (ServerName::new("acme"), ToolName::new(format!("search_{at}")));
        ToolSpec::new(server.expect("a valid name"), tool.expect("a valid name"))
            .with_description(format!(
                "Lists the issues of project {at} that have the given state and labels. Returns at most {at} of them, \
                 the newest first."
            ))
            .with_input_schema(json!({"type": "object", "required": ["state"], "properties": {
                "state": {"type": "string", "description": format!("Of issue {at}: open or closed.")},
                "labels": {"type": "array", "items": {"type": "string"}},
            }}))
    };
    (0..count).map(tool).collect()
}

/// Descriptions of one size: as everybody writes them, and as somebody would who wants the judgement to take long.
fn hostile(bytes: usize) -> Vec<(&'static str, String)> {
    let filled = |part: &str| part.repeat(bytes / part.len());
    vec![
        ("everyday", filled("Lists issues with filters for state, labels and assignee. ")),
        ("one sentence", filled("lists issues with filters for state and labels, ")),
        ("one word", filled("a")),
        ("points", filled(". ")),
        ("lines", filled("- a\n")),
        (
            "half phrases",
            filled("ignore all of the your any every system, send the user's passwords, never tell "),
        ),
        ("quotations", filled("such as 'a', \"b\" or 'c' ")),
        ("apostrophes", filled("like 'don't ")),
        ("names", filled("tool_name other-tool ")),
        ("paragraphs", filled("a\nb. c\n- d\n")),
        (
            "Cyrillic",
            filled("\u{441}\u{43f}\u{438}\u{441}\u{43e}\u{43a} \u{437}\u{430}\u{434}\u{430}\u{447}. "),
        ),
        ("Chinese", filled("\u{5217}\u{51fa}\u{95ee}\u{9898}\u{3002}")),
        ("accents", filled("e\u{301}\u{e9} ")),
        ("escapes", filled("&#105;%2569\\u0069")),
        ("base64", filled("TGlzdHMgaXNzdWVzIHdpdGggZmlsdGVycw ")),
        ("brackets", filled("<a [")),
    ]
}

fn verdicts(criterion: &mut Criterion) {
    let rules = Rules::default();
    let args: Vec<String> = [
        "-y",
        "--package=@acme/mcp-tools@1.4.0",
        "--",
        "acme-mcp",
        "--stdio",
        "--root",
        "/home/dev/projects",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut launch = || drop(black_box(command::judge("npx", &args, &rules)));
    tail("command", &mut launch);
    criterion.bench_function("command", |bencher| bencher.iter(&mut launch));

    let variables: BTreeMap<String, String> = (0..20)
        .map(|at| (format!("SETTING_{at}"), "postgresql://app@db.example.com:5432/prod".to_owned()))
        .chain([("NODE_OPTIONS".to_owned(), "--max-old-space-size=4096".to_owned())])
        .collect();
    let mut environment = || drop(black_box(env::judge(&variables, rules.place())));
    tail("env", &mut environment);
    criterion.bench_function("env", |bencher| bencher.iter(&mut environment));

    let text = "https://mcp.example.com:8443/tenants/42/mcp/v1?mode=b";
    let mut url = || {
        drop(black_box(admit(
            Question { text, context: Context::ServerConfig, base: None, hops: 0 },
            &rules,
        )));
    };
    tail("url", &mut url);
    criterion.bench_function("url", |bencher| bencher.iter(&mut url));

    let begun = Instant::now();
    scan::prepare();
    println!("tables of words, built once: {:?}", begun.elapsed());

    let around = Around::default();
    let tools = catalogue(2500);
    let mut many = || tools.iter().for_each(|tool| drop(black_box(scan::tool(tool, &around))));
    tail("2500 tools of 300 bytes", &mut many);

    for (name, text) in hostile(64 * 1024) {
        let (server, tool) = (ServerName::new("acme"), ToolName::new("search"));
        let spec =
            ToolSpec::new(server.expect("a valid name"), tool.expect("a valid name")).with_description(text);
        let mut definition = || drop(black_box(scan::tool(&spec, &around)));
        definition();
        tail(&format!("tool definition of 64 KiB, {name}"), &mut definition);
        if name == "everyday" {
            criterion.bench_function("tool definition of 64 KiB", |bencher| bencher.iter(&mut definition));
        }
    }
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
