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

fn tail(name: &str, mut judge: impl FnMut()) {
    let mut times: Vec<Duration> = (0..2000)
        .map(|_| {
            let begun = Instant::now();
            judge();
            begun.elapsed()
        })
        .collect();
    times.sort();
    println!("{name}: p50 {:?}, p99 {:?}", times[times.len() / 2], times[times.len() * 99 / 100]);
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

    let server = ServerName::new("acme").expect("a valid name");
    let tool = ToolName::new("search").expect("a valid name");
    let description = "Lists issues with filters for state, labels and assignee. ".repeat(64 * 1024 / 58);
    let spec = ToolSpec::new(server, tool).with_description(description);
    let around = Around::default();
    let mut definition = || drop(black_box(scan::tool(&spec, &around)));
    tail("tool definition of 64 KiB", &mut definition);
    criterion.bench_function("tool definition of 64 KiB", |bencher| bencher.iter(&mut definition));
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
