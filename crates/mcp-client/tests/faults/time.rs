//! Faults of time: clocks that jump, probes, and networks that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use massgen_testkit::{HttpFault, McpHttpServer, Outcome, PATIENCE, process};
use mcp_client::{RuleOptions, WallClock};
use mcp_core::{ToolError, ToolService};
use mcp_resilience::breaker::{Failure, Gate, Outcome as Ended, Probing, Rules, State};
use serde_json::json;
use tokio::task::JoinSet;

use crate::lab::{Measured, Playing, named, remote};
use crate::stdio::script;
use crate::support::{call, child, restarts, start};
use crate::{Fault, Play};

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own("F59", "the wall clock jumps by an hour: no limit runs out, one question per server", || {
            Box::pin(clock_jumps())
        }),
        own(
            "F66",
            "1,000 callers while an open circuit is probed: one probe, all are told when to come back",
            || Box::pin(stampede()),
        ),
        own("F67", "a probe that is dropped: the next one may go, the time open does not grow", || {
            Box::pin(dropped_probe())
        }),
        own(
            "F72",
            "a network that comes and goes (20 times as fast): calls get through, and it is back when it says",
            || Box::pin(flapping()),
        ),
    ]
}

async fn clock_jumps() -> Measured {
    let mut measured = Measured::default();
    let offset = Arc::new(AtomicI64::new(0));
    let seen = offset.clone();
    let scripted = script(Outcome::Echo).launch();
    let mut options = restarts(1);
    options.wall_clock = WallClock::new(move || {
        let offset = seen.load(Ordering::SeqCst);
        let by = Duration::from_secs(offset.unsigned_abs());
        if offset < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    });
    let (client, recorder) = start([child("faulty", &scripted)], options);
    client.ready(PATIENCE).await;
    let before = recorder.states("faulty");
    for (jump, pings) in [(3600, 1), (0, 2)] {
        offset.store(jump, Ordering::SeqCst);
        let mut calls = JoinSet::new();
        for _ in 0..6 {
            let client = client.clone();
            calls.spawn(async move { named(&client.call(call("mcp__faulty__look", json!({}))).await) });
        }
        for (class, text) in calls.join_all().await {
            measured.expect(class == "answered", format!("the caller got {class} ({text})"));
        }
        let asked = scripted.journal().method("ping").len();
        measured.expect(asked == pings, format!("it was asked {asked} times, not {pings}"));
    }
    measured.expect(recorder.states("faulty") == before, "its state changed");

    // One that went away meanwhile is found out by the question, and not by a call.
    for pid in scripted.journal().pids() {
        process::signal(pid, process::Signal::Stop);
    }
    let sent = scripted.journal().method("tools/call").len();
    offset.store(-3600, Ordering::SeqCst);
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(class == "unavailable", format!("of one that is gone the caller got {class} ({text})"));
    let now = scripted.journal().method("tools/call").len();
    measured.expect(sent == now, "a call was sent to one that is gone");
    measured.got = class;
    drop(client);
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

async fn stampede() -> Measured {
    const CALLERS: usize = 1000;
    let mut measured = Measured::default();
    let web = McpHttpServer::start(script(Outcome::Echo));
    let mut config = remote("faulty", &web.url());
    let open = Duration::from_millis(300);
    config.breaker =
        RuleOptions { failures_in_a_row: 2, open_base: open, open_jitter: 0.0, ..RuleOptions::default() };
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE).await;
    // It answers neither calls nor the probe.
    web.fail_method("ping", u32::MAX, HttpFault::Hang);
    web.fail_method("tools/call", u32::MAX, HttpFault::status(500));
    for _ in 0..2 {
        let _ = client.call(call("mcp__faulty__do", json!({}))).await;
    }
    let state = || client.client("faulty").unwrap().status().circuit;
    measured.expect(state().name() == "open", format!("its circuit is {:?}", state()));
    let sent = web.method("tools/call").len();
    measured.expect(process::until(PATIENCE, || state().name() == "half_open").await, "nobody probes it");
    let began = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..CALLERS {
        let client = client.clone();
        calls.spawn(async move { client.call(call("mcp__faulty__do", json!({}))).await });
    }
    let ended = calls.join_all().await;
    let took = began.elapsed();
    let told = |result: &Result<_, ToolError>| {
        matches!(result, Err(ToolError::Unavailable { retry_at: Some(_), .. }))
    };
    let told = ended.iter().filter(|result| told(result)).count();
    measured.expect(told == CALLERS, "not all callers were told when to come back");
    let (probes, more) = (web.method("ping").len(), web.method("tools/call").len() - sent);
    measured.expect(probes <= 1, format!("{probes} probes"));
    measured.expect(more == 0, format!("{more} calls were let through"));
    // Each waits a second for the verdict at most; the rest is what 1,000 of them cost.
    measured.in_time(took < Duration::from_secs(5), format!("it took {took:?}"));
    measured.got = "unavailable".into();
    drop(client);
    measured
}

async fn dropped_probe() -> Measured {
    // On a clock of its own, which is moved by hand.
    let played = tokio::task::spawn_blocking(|| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(probes_on_a_paused_clock())
    });
    played.await.unwrap()
}

async fn probes_on_a_paused_clock() -> Measured {
    let mut measured = Measured::default();
    let base = Duration::from_secs(5);
    let options =
        RuleOptions { failures_in_a_row: 1, open_base: base, open_jitter: 0.0, ..RuleOptions::default() };
    let gate = Gate::new(Rules::new(options)).probed_by(Probing::Background);
    let now = tokio::time::Instant::now;
    gate.acquire(now()).unwrap().record(Ended::Failure(Failure::Call), now());
    tokio::time::advance(base).await;
    for _ in 0..3 {
        let probing = gate.clone();
        // It waits for an answer that never comes, and is dropped.
        let probe = mcp_resilience::breaker::probe(probing, base * 100, std::future::pending);
        let dropped = tokio::time::timeout(Duration::from_secs(1), probe).await;
        measured.expect(dropped.is_err(), "the probe ended by itself");
        measured.expect(matches!(gate.state(), State::Open { .. }), format!("it is {:?}", gate.state()));
    }
    let probe = gate.acquire_probe(now());
    measured.expect(probe.is_some() && gate.acquire_probe(now()).is_none(), "not exactly one probe is free");
    if let Some(probe) = probe {
        probe.record(Ended::Failure(Failure::Call), now());
    }
    let State::Open { retry_at, .. } = gate.state() else {
        measured.problems.push(format!("it is {:?}", gate.state()));
        return measured;
    };
    // Doubled once, for the one probe that failed.
    let open_for = retry_at - now();
    measured.expect(open_for == base * 2, format!("it stays open for {open_for:?}"));
    measured.got = "open".into();
    measured
}

async fn flapping() -> Measured {
    const FASTER: u32 = 20;
    let scaled = |seconds: u64| Duration::from_secs(seconds) / FASTER;
    let mut measured = Measured::default();
    let web = McpHttpServer::start(script(Outcome::Echo));
    let mut config = remote("faulty", &web.url());
    config.trust_hints = true;
    config.total_timeout = scaled(60);
    config.breaker = RuleOptions {
        window: scaled(60),
        open_base: scaled(10),
        open_cap: scaled(300),
        forget_after: scaled(60),
        ..RuleOptions::default()
    };
    config.retry.base /= FASTER;
    config.retry.cap /= FASTER;
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE).await;
    let (mut made, mut answered) = (0_u32, 0_u32);
    let flaps = async {
        for _ in 0..20 {
            web.fail(u32::MAX, HttpFault::Reset);
            tokio::time::sleep(scaled(3)).await;
            web.heal();
            tokio::time::sleep(scaled(3)).await;
        }
    };
    let calls = async {
        loop {
            match client.call(call("mcp__faulty__look", json!({}))).await {
                Ok(_) => (made, answered) = (made + 1, answered + 1),
                // It was not made, and comes back when it is told to.
                Err(ToolError::Unavailable { retry_at: Some(at), .. }) => {
                    tokio::time::sleep_until(at.into()).await
                }
                Err(_) => made += 1,
            }
            tokio::time::sleep(scaled(1) / 4).await;
        }
    };
    tokio::select! {
        () = flaps => {}
        () = calls => {}
    }
    measured.got = format!("{answered} of {made} calls answered");
    // Of few calls, one may have met the wrong moment.
    measured.expect(answered > 0 && (answered + 1) * 100 >= made * 45, measured.got.clone());
    // A circuit that opens again and again stays open longer each time, up to its cap, until a minute has been quiet. It
    // says for how long, and then it is back.
    let cap = scaled(300).mul_f64(1.5);
    let left_alone = client
        .client("faulty")
        .unwrap()
        .status()
        .retry_at
        .map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
    measured.expect(left_alone <= cap, format!("it would be left alone for {left_alone:?} more"));
    let began = Instant::now();
    let back = tokio::time::timeout(cap + PATIENCE, crate::lab::until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back when all was well again");
    let (took, limit) = (began.elapsed(), left_alone + Duration::from_secs(2));
    measured
        .in_time(took < limit, format!("it came back after {took:?}, not after {left_alone:?} as it said"));
    measured.got = format!("{}, back {} ms after the last flap", measured.got, took.as_millis());
    client.close().await;
    measured
}
