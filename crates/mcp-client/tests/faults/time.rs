//! Faults of time: clocks that jump, probes, and networks that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use massgen_testkit::{HttpFault, McpHttpServer, Outcome, PATIENCE, process};
use mcp_client::{ClientOptions, Integrity, RuleOptions, WallClock};
use mcp_core::{ToolError, ToolService};
use mcp_resilience::breaker::{Failure, Gate, Outcome as Ended, Probing, Rules, State};
use serde_json::json;
use tokio::task::JoinSet;

use crate::heard::Heard;
use crate::lab::{Measured, Playing, named, remote};
use crate::stdio::script;
use crate::support::{call, child, restarts, start};
use crate::{Fault, Play};

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F8",
            "a traceback in place of an answer: told after 2 s of grace, where only one call waits",
            || Box::pin(on_a_moved_clock(traceback)),
        ),
        own("F33", "HTTP 429 with Retry-After: waited for by all, or told with the time to wait", || {
            Box::pin(on_a_moved_clock(throttled))
        }),
        own("F34", "Retry-After that is absurd, negative, past or no date: bounded", || {
            Box::pin(on_a_moved_clock(absurd_waits))
        }),
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
            "a network that comes and goes for two minutes: calls get through, and it is back within 30 s",
            || Box::pin(on_a_moved_clock(flapping)),
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
    let open = Duration::from_secs(1);
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
    let all_call = async || {
        let began = Instant::now();
        let mut calls = JoinSet::new();
        for _ in 0..CALLERS {
            let client = client.clone();
            calls.spawn(async move { client.call(call("mcp__faulty__do", json!({}))).await });
        }
        (calls.join_all().await, began.elapsed())
    };
    // Nobody waits at an open circuit: that is what so many calls take on this machine.
    let (_, at_once) = all_call().await;
    measured.expect(process::until(PATIENCE, || state().name() == "half_open").await, "nobody probes it");
    let (ended, took) = all_call().await;
    let told = |result: &Result<_, ToolError>| {
        matches!(result, Err(ToolError::Unavailable { retry_at: Some(_), .. }))
    };
    let told = ended.iter().filter(|result| told(result)).count();
    measured.expect(told == CALLERS, "not all callers were told when to come back");
    let (probes, more) = (web.method("ping").len(), web.method("tools/call").len() - sent);
    measured.expect(probes <= 1, format!("{probes} probes"));
    measured.expect(more == 0, format!("{more} calls were let through"));
    // Each waits a second for the verdict at most; the rest is what 1,000 of them take without a wait.
    let within = Duration::from_secs(1) + at_once * 2;
    measured.in_time(took <= within, format!("it took {took:?}, more than {within:?}"));
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

/// How far the clock is moved at a time, and how long pipes and sockets may work in between.
const STEP: Duration = Duration::from_millis(100);
const BETWEEN: Duration = Duration::from_millis(1);

/// Plays on a clock that is moved by hand while pipes and sockets do their work: minutes pass in seconds, and no limit runs
/// out because the machine does other things as well.
pub(crate) async fn on_a_moved_clock<F>(play: impl FnOnce() -> F + Send + 'static) -> Measured
where
    F: Future<Output = Measured>,
{
    let played = tokio::task::spawn_blocking(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            // A clock that stands still goes on by itself where nothing is to be done but wait; not while a thread works.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let working = tokio::task::spawn_blocking(move || held.recv().is_err());
            let moving = async {
                loop {
                    let _ = tokio::task::spawn_blocking(|| std::thread::sleep(BETWEEN)).await;
                    tokio::time::advance(STEP).await;
                }
            };
            let measured = tokio::select! {
                measured = play() => measured,
                () = moving => Measured::default(),
            };
            drop(release);
            let _ = working.await;
            measured
        })
    });
    played.await.unwrap()
}

async fn flapping() -> Measured {
    const SECOND: Duration = Duration::from_secs(1);
    let mut measured = Measured::default();
    let web = McpHttpServer::start(script(Outcome::Echo));
    let mut config = remote("faulty", &web.url());
    config.trust_hints = true;
    // Circuits, retries and restarts as they come.
    let (client, recorder) = start([config], ClientOptions::default());
    client.ready(PATIENCE).await;
    let one = client.client("faulty").unwrap();
    let look = || client.call(call("mcp__faulty__look", json!({})));
    let (mut admitted, mut answered) = (0_u32, 0_u32);
    let flaps = async {
        for _ in 0..20 {
            tokio::time::sleep(SECOND * 3).await;
            web.fail(u32::MAX, HttpFault::Reset);
            tokio::time::sleep(SECOND * 3).await;
            web.heal();
        }
    };
    let calls = async {
        loop {
            // A call that meets an open circuit is not made; any other one counts, however it ends.
            let is_admitted = one.status().circuit == State::Closed;
            let is_answered = look().await.is_ok();
            admitted += u32::from(is_admitted || is_answered);
            answered += u32::from(is_answered);
            tokio::time::sleep(STEP).await;
        }
    };
    tokio::select! {
        () = flaps => {}
        () = calls => {}
    }
    let stable = tokio::time::Instant::now();
    let opened = recorder.circuits.lock().unwrap().iter().filter(|line| line.ends_with(">open")).count();
    measured.expect(opened >= 2, format!("its circuit opened {opened} times only: nothing is shown"));
    measured.expect(admitted >= 20, format!("only {admitted} calls were let through"));
    measured.expect(answered * 100 >= admitted * 45, format!("{answered} of {admitted} calls answered"));
    let back = tokio::time::timeout(PATIENCE * 60, crate::lab::until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back when all was well again");
    let back = stable.elapsed();
    measured.expect(back <= SECOND * 30 + STEP * 2, format!("it was left alone for {back:?} more"));
    // After a calm minute the time open begins at its base again.
    for _ in 0..61 {
        tokio::time::sleep(SECOND).await;
        let calm = look().await.is_ok();
        measured.expect(calm, "a call failed while all was well");
    }
    web.fail(u32::MAX, HttpFault::Reset);
    let mut begun = tokio::time::Instant::now();
    while one.status().circuit == State::Closed {
        begun = tokio::time::Instant::now();
        let _ = look().await;
    }
    // It opened during that call.
    let opening = begun.elapsed();
    let open = one
        .status()
        .retry_at
        .map_or(Duration::ZERO, |at| tokio::time::Instant::from_std(at).saturating_duration_since(begun));
    // Base and jitter. Not forgotten, it would be 20 s.
    let range = SECOND * 10..=SECOND * 15 + opening;
    measured.expect(range.contains(&open), format!("after a calm minute it is left alone for {open:?}"));
    measured.got = format!(
        "{answered} of {admitted} calls answered, opened {opened} times, back {:.1} s after the last flap, then for {:.1} s",
        back.as_secs_f64(),
        open.as_secs_f64()
    );
    client.close().await;
    measured
}

async fn traceback() -> Measured {
    const SECOND: Duration = Duration::from_secs(1);
    const SECRET: &str = "hunter2-hunter2-hunter2";
    // As Python prints it.
    let printed = format!(
        "Traceback (most recent call last):\n  File \"server.py\", line 12, in call_tool\n    city = cities[\"{SECRET}\"]\nKeyError: '{SECRET}'"
    );
    let log = "INFO:server:Processing request of type CallToolRequest".to_owned();
    let limit = SECOND * 10;
    let mut measured = Measured::default();
    for (lines, pending, expected) in
        [(&printed, 1, "malformed"), (&printed, 2, "timeout"), (&log, 1, "timeout")]
    {
        let scripted = script(Outcome::RawLine(lines.clone())).launch();
        let mut config = child("faulty", &scripted);
        (config.call_timeout, config.total_timeout) = (limit, limit);
        // One failure shows on whose account it goes.
        config.breaker.failures_in_a_row = 1;
        let options = restarts(1);
        options.redactor.register(SECRET);
        let (client, recorder) = start([config], options);
        client.ready(PATIENCE).await;
        let mut calls = JoinSet::new();
        for number in 0..pending {
            let client = client.clone();
            calls.spawn(async move {
                let began = tokio::time::Instant::now();
                let result = client.call(call("mcp__faulty__do", json!({"number": number}))).await;
                (named(&result), began.elapsed())
            });
        }
        for ((class, text), took) in calls.join_all().await {
            let due = if expected == "malformed" { SECOND * 2 } else { limit };
            let what =
                format!("{pending} pending, {:.20}: after {took:?} the caller got {class} ({text})", lines);
            measured.expect(class == expected, what.clone());
            measured.expect(due <= took && took <= due + SECOND, what.clone());
            if expected == "malformed" {
                measured.expect(text.contains("Traceback") && text.contains("KeyError"), what.clone());
            }
            measured.expect(!text.contains("hunter2"), what);
            measured.got = class;
        }
        let one = client.client("faulty").unwrap();
        // Alive, it answers the ping that asks whose fault it was.
        let account = if expected == "malformed" { "faulty closed>open" } else { "faulty/do closed>open" };
        let told = process::until(PATIENCE, || !recorder.circuits.lock().unwrap().is_empty()).await;
        let circuits = recorder.circuits.lock().unwrap().clone();
        measured.expect(
            told && circuits[0] == account,
            format!("{pending} pending: the circuits did {circuits:?}"),
        );
        let integrity = one.status().integrity;
        measured.expect(integrity == Integrity::Clean, format!("its honesty is {integrity:?}"));
        let pids = scripted.journal().pids();
        measured.expect(pids.len() == 1 && process::is_alive(pids[0]), "it is not the same process any more");
        client.close().await;
        measured.count_survivors(&[scripted.journal()]).await;
    }
    measured.sends = 1.0;
    measured
}

impl Measured {
    /// A wait is kept to, and by a tenth longer at most. On this clock a request takes long: a millisecond is a tenth of a
    /// second.
    fn expect_wait(&mut self, took: Duration, wait: Duration, what: &str) {
        let most = wait.mul_f64(1.1);
        let holds = wait <= took + STEP && took <= most + Duration::from_secs(15);
        self.expect(holds, format!("{what}it took {took:?}, not {wait:?}"));
        self.in_time(took <= most + Duration::from_secs(2), format!("{what}it took {took:?}, not {wait:?}"));
    }
}

async fn throttled() -> Measured {
    const WAIT: Duration = Duration::from_secs(5);
    let mut measured = Measured::default();
    let web = McpHttpServer::start(script(Outcome::Echo));
    // The clock and all tasks are this thread's.
    let heard = Heard::new(|metadata| {
        metadata.target().starts_with("mcp_client") && *metadata.level() == tracing::Level::WARN
    });
    let _heard = crate::support::listen(heard.clone());
    let told = || heard.lines().iter().filter(|line| line.contains("left alone")).count();
    let (client, recorder) = start([remote("faulty", &web.url())], restarts(50));
    client.ready(PATIENCE * 60).await;
    // The server has said that it did nothing: sending it again is right.
    web.fail_method("tools/call", 1, HttpFault::status(429).retry_after(WAIT.as_secs()));
    let calling = client.clone();
    let began = tokio::time::Instant::now();
    let first = tokio::spawn(async move { calling.call(call("mcp__faulty__do", json!({}))).await });
    let refused =
        process::until(PATIENCE * 60, || client.client("faulty").unwrap().status().retry_at.is_some()).await;
    measured.expect(refused, "nobody knows that it asked to be left alone");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (class, text) = named(&client.call(call("mcp__faulty__look", json!({}))).await);
    let after = began.elapsed();
    // Another caller is told at once, or waits as well.
    measured.expect(
        class == "unavailable" || (class == "answered" && after >= WAIT),
        format!("after {after:?} another caller got {class} ({text})"),
    );
    let (class, text) = named(&first.await.unwrap());
    let took = began.elapsed();
    measured.expect(class == "answered", format!("the caller got {class} ({text})"));
    measured.expect_wait(took, WAIT, "");
    measured.expect(web.executed() >= 1, "nothing was executed");
    let sent = web.method("tools/call").iter().filter(|sent| sent["params"]["name"] == "do").count();
    measured.expect(sent == 2, format!("it was sent {sent} times"));
    // Executed once: the first send was refused.
    measured.sends = 1.0;
    let opened = recorder.circuits.lock().unwrap().clone();
    measured.expect(opened.is_empty(), format!("its circuit noticed: {opened:?}"));
    measured.expect(told() == 1, format!("it was told {} times: {:?}", told(), heard.lines()));
    measured.got = class;
    client.close().await;

    // Without the time to wait: told with how long that would be.
    let mut config = remote("faulty", &web.url());
    (config.call_timeout, config.total_timeout) = (Duration::from_secs(60), Duration::from_secs(3));
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE * 60).await;
    web.fail_method("tools/call", 1, HttpFault::status(429).retry_after(WAIT.as_secs()));
    let began = tokio::time::Instant::now();
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let took = began.elapsed();
    measured.expect(
        class == "throttled" && text.contains("try again in 5 s"),
        format!("the caller got {class} ({text})"),
    );
    measured.expect(took <= Duration::from_secs(3), format!("it took {took:?} to be told"));
    client.close().await;
    measured
}

async fn absurd_waits() -> Measured {
    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);
    let mut measured = Measured::default();
    for (wait, kept) in [
        ("99999999999", MINUTE),
        ("0", SECOND / 4),
        ("-5", SECOND / 4),
        ("Wed, 21 Oct 2015 07:28:00 GMT", SECOND / 4),
        ("soon", SECOND / 4),
        ("", SECOND / 4),
    ] {
        let web = McpHttpServer::start(script(Outcome::Echo));
        let (client, _) = start([remote("faulty", &web.url())], restarts(50));
        client.ready(PATIENCE * 60).await;
        web.fail_method("tools/call", 1, HttpFault::status(429).retry_after(wait));
        let began = tokio::time::Instant::now();
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        let took = began.elapsed();
        measured.expect(class == "answered", format!("{wait:?}: the caller got {class} ({text})"));
        measured.expect_wait(took, kept, &format!("{wait:?}: "));
        measured.expect(web.executed() == 1, format!("{wait:?}: executed {} times", web.executed()));
        measured.got = class;
        client.close().await;
    }
    measured.sends = 1.0;
    measured
}
