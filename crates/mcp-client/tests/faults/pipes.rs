//! Faults of the pipes to a child: too much comes by them, nothing more comes, nothing is taken.

use std::time::{Duration, Instant};

use massgen_testkit::{Outcome, PATIENCE, Quirk, ServerScript, ToolScript, process};
use mcp_client::{Integrity, RuleOptions, ServerConfig};
use mcp_core::ToolService;
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::{Account, GRACE, Measured, Playing, ask_innocent, innocent, named, until_answered};
use crate::stdio::{DOUBT, LATE, LOST, script, signal};
use crate::support::{call, child, is_failed, restarts, start};
use crate::time::on_a_moved_clock;
use crate::{Fault, Play};

const SECOND: Duration = Duration::from_secs(1);
/// What is accepted in these plays.
const LIMIT: usize = 1 << 20;

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F16",
            "an answer beyond the limit of size: told with the limit, the connection is a new one",
            || Box::pin(too_large()),
        ),
        own("F17", "a flood without an end of line: told with the limit, a new process", || {
            Box::pin(lineless())
        }),
        own("F20", "stdout closed, the process alive: all calls end at once, a new process", || {
            Box::pin(mute())
        }),
        own(
            "F21",
            "a server that does not read, and arguments larger than the pipe: told after 10 s; what had not begun to leave is \
             made again",
            || Box::pin(on_a_moved_clock(full_pipe)),
        ),
        own(
            "F22",
            "a stopped process (SIGSTOP): the limit of time, or three pings; it is killed all the same",
            || Box::pin(on_a_moved_clock(stopped)),
        ),
    ]
}

/// One failure opens its circuit, and soon that is over.
fn opens_at_once(config: &mut ServerConfig) {
    let short = Duration::from_millis(50);
    config.breaker = RuleOptions {
        failures_in_a_row: 1,
        connects_in_a_row: 1,
        open_base: short,
        open_cap: short,
        ..RuleOptions::default()
    };
}

/// A call that brings too much: what is told says this, and whether it is held against the server.
async fn oversized(
    outcome: Outcome,
    within: Duration,
    says: &str,
    is_held_against: bool,
    measured: &mut Measured,
) {
    let what = format!("{says:?}");
    let (scripted, innocent) = (script(outcome).launch(), innocent());
    let mut config = child("faulty", &scripted);
    opens_at_once(&mut config);
    let mut options = restarts(50);
    options.session.max_message_bytes = LIMIT;
    let (client, recorder) = start([config, child("innocent", &innocent)], options);
    client.ready(PATIENCE).await;
    let began = Instant::now();
    let do_it = call("mcp__faulty__do", json!({}));
    let (result, slowest) = tokio::join!(client.call(do_it), ask_innocent(&client));
    let took = began.elapsed();
    let (class, text) = named(&result);
    measured.expect(
        class == "too_large" && text.contains("more than the 1048576 bytes") && text.contains(says),
        format!("{what}: the caller got {class} ({text:.300})"),
    );
    measured.in_time(took <= within, format!("{what}: it took {took:?}"));
    measured.late = measured.late.max(took.saturating_sub(within));
    measured.expect(slowest < Duration::MAX, "the other server failed");
    measured.judge_account(Account::Server, &recorder).await;
    let integrity = client.client("faulty").unwrap().status().integrity;
    measured.expect(
        (integrity != Integrity::Clean) == is_held_against,
        format!("{what}: its honesty is {integrity:?}"),
    );
    let back = tokio::time::timeout(PATIENCE, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), format!("{what}: it did not come back"));
    let pids = scripted.journal().pids().len();
    measured.expect(pids == 2, format!("{what}: it was started {pids} times"));
    let sends = scripted.journal().method("tools/call");
    let sends = sends.iter().filter(|sent| sent["params"]["name"] == "do").count();
    measured.expect(sends == 1, format!("{what}: it was sent {sends} times"));
    measured.sends = measured.sends.max(sends as f64);
    measured.got = class;
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
}

async fn too_large() -> Measured {
    let mut measured = Measured::default();
    let within = 2 * SECOND;
    // Its end is near, or too far to wait for.
    oversized(Outcome::Big(LIMIT + LIMIT / 2), within, "a message of 15", false, &mut measured).await;
    oversized(Outcome::Big(4 * LIMIT), within, "have come, and no end", false, &mut measured).await;
    measured
}

async fn lineless() -> Measured {
    let mut measured = Measured::default();
    let says = "have come, and no end";
    oversized(Outcome::Lineless(1 << 30), 2 * SECOND, says, true, &mut measured).await;
    // It begins, and is silent.
    let begun = Outcome::Partial { text: "y".repeat(LIMIT + LIMIT / 4), exit: None };
    oversized(begun, 3 * SECOND, says, true, &mut measured).await;
    measured
}

async fn mute() -> Measured {
    const CALLS: usize = 3;
    let mut measured = Measured::default();
    let tool =
        ToolScript::new("do").replies(Outcome::Hang).replies(Outcome::Hang).replies(Outcome::CloseStdout);
    let played = ServerScript::new().tool(tool).tool(ToolScript::echo("look").read_only());
    let played = played.quirk(Quirk::NeverExitsOnEof).quirk(Quirk::IgnoresSigterm);
    let (scripted, innocent) = (played.launch(), innocent());
    let mut config = child("faulty", &scripted);
    opens_at_once(&mut config);
    // All of them are counted before it opens.
    config.breaker.failures_in_a_row = CALLS as u32;
    let mut options = restarts(50);
    options.session.close_grace = Duration::from_millis(100);
    let (client, recorder) = start([config, child("innocent", &innocent)], options);
    client.ready(PATIENCE).await;
    let old = scripted.journal().pids();
    let mut began = Instant::now();
    let mut calls = JoinSet::new();
    for number in 0..CALLS {
        began = Instant::now();
        let client = client.clone();
        calls.spawn(async move { client.call(call("mcp__faulty__do", json!({"number": number}))).await });
        let arrived = || scripted.journal().method("tools/call").len() > number;
        measured.expect(process::until(PATIENCE, arrived).await, "a call did not arrive");
    }
    let ended = calls.join_all().await;
    let took = began.elapsed();
    for result in &ended {
        let (class, text) = named(result);
        // Nobody has waited for the process to end: how it does so is not known yet.
        measured.expect(
            LOST.contains(&class.as_str()) && text.contains(DOUBT) && text.contains("it closed its output"),
            format!("the caller got {class} ({text})"),
        );
        measured.got = class;
    }
    measured.in_time(took <= Duration::from_millis(100), format!("it took {took:?}"));
    measured.late = took.saturating_sub(Duration::from_millis(100));
    measured.judge_account(Account::Server, &recorder).await;
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    let back = tokio::time::timeout(PATIENCE, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back");
    measured.expect(!old.iter().any(|pid| process::is_alive(*pid)), "the old process was not killed");
    let sends = scripted.journal().method("tools/call");
    let sends = sends.iter().filter(|sent| sent["params"]["name"] == "do").count();
    measured.expect(sends <= CALLS, format!("{CALLS} calls were sent {sends} times"));
    measured.sends = 1.0;
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    measured
}

/// More than a pipe holds, less than a call may bring.
fn large() -> serde_json::Value {
    json!({"text": "x".repeat(10_000_000)})
}

async fn full_pipe() -> Measured {
    const BOUND: Duration = Duration::from_secs(10);
    let mut measured = Measured::default();
    for is_alone in [true, false] {
        let scripted = script(Outcome::Echo).launch();
        let mut config = child("faulty", &scripted);
        // On this clock a process takes long to start, and to read.
        config.startup_timeout = 600 * SECOND;
        if is_alone {
            opens_at_once(&mut config);
        } else {
            config.breaker = RuleOptions::never();
            (config.call_timeout, config.total_timeout) = (600 * SECOND, 600 * SECOND);
        }
        let (client, recorder) = start([config], restarts(50));
        client.ready(PATIENCE * 60).await;
        signal(&scripted, process::Signal::Stop);
        let began = tokio::time::Instant::now();
        let making = client.call(call("mcp__faulty__do", large()));
        if is_alone {
            let (class, text) = named(&making.await);
            let took = began.elapsed();
            measured.expect(
                LATE.contains(&class.as_str()) && text.contains("taking the call in") && text.contains(DOUBT),
                format!("the caller got {class} ({text:.300})"),
            );
            measured.expect(BOUND <= took && took <= BOUND + 3 * SECOND, format!("it took {took:?}"));
            measured.late = took.saturating_sub(BOUND + GRACE);
            measured.judge_account(Account::Server, &recorder).await;
            measured.expect(scripted.journal().method("tools/call").is_empty(), "the call arrived");
            measured.got = class;
            // Killed, although it is stopped.
            client.close().await;
        } else {
            // Of the one behind it nothing has left: it is made again, and arrives once when the server reads again.
            let behind = async {
                tokio::task::yield_now().await;
                client.call(call("mcp__faulty__look", json!({"n": 1}))).await
            };
            let reads_again = async {
                tokio::time::sleep(BOUND + 3 * SECOND).await;
                signal(&scripted, process::Signal::Continue);
            };
            let (large, behind, ()) = tokio::join!(making, behind, reads_again);
            let (class, text) = named(&large);
            measured.expect(LATE.contains(&class.as_str()), format!("the large one: {class} ({text:.300})"));
            let (class, text) = named(&behind);
            measured.expect(class == "answered", format!("the one behind it: {class} ({text:.300})"));
            let told = || !scripted.journal().method("notifications/cancelled").is_empty();
            measured.expect(
                process::until(PATIENCE * 60, told).await,
                "nobody told it that the large one is not wanted",
            );
            let calls = scripted.journal().method("tools/call");
            let names: Vec<_> =
                calls.iter().map(|sent| sent["params"]["name"].as_str().unwrap_or_default()).collect();
            measured.expect(names == ["do", "look"], format!("what arrived: {names:?}"));
            // What it still answers to the large one is late, and no offence.
            let integrity = client.client("faulty").unwrap().status().integrity;
            measured.expect(integrity == Integrity::Clean, format!("its honesty is {integrity:?}"));
            client.close().await;
        }
        measured.count_survivors(&[scripted.journal()]).await;
    }
    measured.sends = 1.0;
    measured
}

async fn stopped() -> Measured {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut measured = Measured::default();
    // In a call.
    let scripted = script(Outcome::Stop).launch();
    let mut config = child("faulty", &scripted);
    opens_at_once(&mut config);
    config.startup_timeout = 600 * SECOND;
    let (client, recorder) = start([config], restarts(50));
    client.ready(PATIENCE * 60).await;
    let began = tokio::time::Instant::now();
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let took = began.elapsed();
    measured.expect(LATE.contains(&class.as_str()), format!("the caller got {class} ({text})"));
    measured.late = took.saturating_sub(LIMIT + GRACE);
    measured.expect(LIMIT <= took && measured.late.is_zero(), format!("it took {took:?}"));
    measured.judge_account(Account::Server, &recorder).await;
    measured.got = class;
    let sends = scripted.journal().method("tools/call").len();
    measured.expect(sends == 1, format!("it was sent {sends} times"));
    measured.sends = sends as f64;
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    // While nobody asks for anything.
    let scripted = script(Outcome::Echo).launch();
    let mut config = child("faulty", &scripted);
    config.startup_timeout = 600 * SECOND;
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE * 60).await;
    let old = scripted.journal().pids();
    signal(&scripted, process::Signal::Stop);
    let began = tokio::time::Instant::now();
    let mut state = client.client("faulty").unwrap().state();
    let failed = tokio::time::timeout(600 * SECOND, state.wait_for(is_failed)).await.is_ok();
    let noticed = began.elapsed();
    let holds = failed && (35 * SECOND..=105 * SECOND).contains(&noticed);
    measured.expect(holds, format!("idle, it was noticed after {noticed:?}"));
    let back = tokio::time::timeout(600 * SECOND, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back");
    measured.expect(!old.iter().any(|pid| process::is_alive(*pid)), "the stopped process was not killed");
    measured.got = format!("{}; an idle one noticed after {:.0} s", measured.got, noticed.as_secs_f64());
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}
