//! How often a call is sent to a server that fails: seldom where it may be repeated, once where it may not.

use std::time::{Duration, Instant};

use massgen_testkit::{HttpFault, McpHttpServer, Outcome, PATIENCE, ServerScript, ToolScript};
use mcp_client::{Ledger, RuleOptions, read_ledger};
use mcp_core::ToolService;
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::{Account, Measured, Playing, named, remote};
use crate::stdio::{DOUBT, LOST, script};
use crate::support::{call, restarts, start};
use crate::time::on_a_moved_clock;
use crate::{Fault, Play};

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F68",
            "100 callers of a server that always fails: no storm of retries, and its circuit opens at the fifth failure",
            || Box::pin(on_a_moved_clock(storm)),
        ),
        own(
            "F69",
            "a destructive call whose answer is lost: outcome unknown at once, sent once, in the ledger",
            || Box::pin(ambiguous()),
        ),
    ]
}

async fn storm() -> Measured {
    let mut measured = Measured::default();
    opens_at_the_fifth(&mut measured).await;
    let guarded = callers(RuleOptions::default(), &mut measured).await;
    // With circuits that never open, it is the budget alone that keeps retries few.
    let closed =
        RuleOptions { failures_in_a_row: u32::MAX, minimum_calls: u32::MAX, ..RuleOptions::default() };
    let budgeted = callers(closed, &mut measured).await;
    measured.expect(
        budgeted > CALLERS,
        format!("{budgeted} sends for {CALLERS} calls: nothing was made again, nothing is shown"),
    );
    measured.got = format!("{guarded} sends for {CALLERS} calls, {budgeted} where no circuit opens");
    measured
}

const CALLERS: usize = 100;

/// One call after the other.
async fn opens_at_the_fifth(measured: &mut Measured) {
    let web = McpHttpServer::start(script(Outcome::Echo));
    let (client, _) = start([remote("faulty", &web.url())], restarts(50));
    client.ready(PATIENCE).await;
    web.fail_method("tools/call", u32::MAX, HttpFault::status(500));
    for number in 1..=5 {
        let (class, _) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        measured.expect(class != "answered", "a call was answered");
        let circuit = client.client("faulty").unwrap().status().circuit;
        let expected = if number < 5 { "closed" } else { "open" };
        measured.expect(circuit.name() == expected, format!("after {number} failures it is {circuit:?}"));
    }
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(class == "unavailable", format!("at an open circuit the caller got {class} ({text})"));
    let sends = web.method("tools/call").len();
    measured.expect(sends == 5, format!("{sends} sends, not 5"));
    client.close().await;
}

/// All at once, of a tool that may be called again; how often it was.
async fn callers(breaker: RuleOptions, measured: &mut Measured) -> usize {
    let opens = breaker.failures_in_a_row < 100;
    let web = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("look").read_only()));
    let mut config = remote("faulty", &web.url());
    config.trust_hints = true;
    config.breaker = breaker;
    // On this clock a request takes long.
    (config.call_timeout, config.total_timeout) = (Duration::from_secs(600), Duration::from_secs(600));
    config.bulkhead.wait = Duration::from_secs(600);
    config.bulkhead.queue = CALLERS;
    let (client, recorder) = start([config], restarts(50));
    client.ready(PATIENCE * 100).await;
    web.fail_method("tools/call", u32::MAX, HttpFault::status(500));
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let client = client.clone();
        calls.spawn(async move { client.call(call("mcp__faulty__look", json!({}))).await.is_err() });
    }
    let failed = calls.join_all().await.into_iter().filter(|failed| *failed).count();
    let sends = web.method("tools/call").len();
    measured.expect(failed == CALLERS, format!("only {failed} of {CALLERS} calls failed"));
    measured.expect(sends <= CALLERS * 12 / 10 + 10, format!("{sends} sends for {CALLERS} calls"));
    let opened = recorder.circuits.lock().unwrap().iter().any(|line| line == "faulty closed>open");
    measured.expect(opened == opens, format!("its circuit opened: {opened}"));
    client.close().await;
    sends
}

async fn ambiguous() -> Measured {
    let mut measured = Measured::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.jsonl");
    let ledger = Ledger::new();
    ledger.write_to(Some(path.clone()));
    let web = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("delete_repo")));
    let mut config = remote("faulty", &web.url());
    // One failure shows whose it is.
    config.breaker.failures_in_a_row = 1;
    let mut options = restarts(50);
    options.ledger = Some(ledger.clone());
    let (client, recorder) = start([config], options);
    client.ready(PATIENCE).await;
    web.fail_method("tools/call", 1, HttpFault::ResetAfterwards);
    let began = Instant::now();
    let (class, text) = named(&client.call(call("mcp__faulty__delete_repo", json!({}))).await);
    let took = began.elapsed();
    measured.in_time(took <= Duration::from_millis(100), format!("it took {took:?}"));
    measured.late = took.saturating_sub(Duration::from_millis(100));
    measured.expect(LOST.contains(&class.as_str()), format!("the caller got {class} ({text})"));
    measured.expect(text.contains(DOUBT), format!("the caller is told {text}"));
    measured.judge_account(Account::Server, &recorder).await;
    let (executed, sends) = (web.executed(), web.method("tools/call").len());
    measured.sends = sends as f64;
    measured.expect(
        (executed, sends) == (1, 1),
        format!("it was executed {executed} times and sent {sends} times"),
    );
    client.close().await;
    ledger.flush().await;
    let unknown = read_ledger(&path).unwrap().unknown;
    let listed: Vec<_> =
        unknown.iter().map(|call| (call.tool.as_str(), call.sent, call.class.as_deref())).collect();
    let expected = [("delete_repo", true, Some("outcome_unknown"))];
    measured.expect(listed == expected, format!("the ledger lists {listed:?}"));
    measured.got = class;
    measured
}
