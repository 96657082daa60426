//! Faults of child processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use massgen_testkit::{
    CallReply, Grandchild, HandshakeVersion, Outcome, PATIENCE, Progress, Quirk, ReplyId, ScriptedServer,
    ServerScript, ToolScript, process,
};
use mcp_client::{CircuitState, ClientOptions, Integrity, McpClient, WallClock, metrics};
use mcp_core::{ToolError, ToolService};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::heard::{Heard, apart, is_of_security, listening, logs};
use crate::lab::{Account, GRACE, Measured, Scene, ask_innocent, innocent, named, until_answered};
use crate::support::{call, child, is_ready, restarts, start};
use crate::time::on_a_moved_clock;
use crate::trust::{is_clean, is_suspicious};
use crate::{Fault, Play};

/// What a caller gets whose call was cut off after it was sent.
pub(crate) const LOST: &[&str] = &["outcome_unknown"];
/// A call that ran out of time.
pub(crate) const LATE: &[&str] = &["timeout"];
/// What a caller gets whose answer is no message.
const BROKEN: &[&str] = &["malformed"];
/// What a model is told of a call that was sent and not answered.
pub(crate) const DOUBT: &str = "may or may not have taken effect";

/// A server whose tool `do` behaves like this. `look` is sound.
pub(crate) fn script(reply: impl Into<CallReply>) -> ServerScript {
    ServerScript::new().tool(ToolScript::new("do").replies(reply)).tool(ToolScript::echo("look").read_only())
}

fn scene(id: &'static str, what: &'static str, scene: fn() -> Scene) -> Fault {
    Fault { id, what, long: false, play: Play::Scene(scene) }
}

fn own(id: &'static str, what: &'static str, play: fn() -> crate::lab::Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        scene("F1", "the process ends in mid-call: outcome unknown, sent once, and it is back", || {
            let script = script(Outcome::Exit(1)).quirk(Quirk::Stderr(vec!["last words".into()]));
            Scene::child(script)
                .expect(LOST)
                .within_ms(100)
                .account(Account::Server)
                .recovers("look")
                .check(says(&[DOUBT, "exited with code 1", "last words"]))
        }),
        scene("F2", "the process aborts in mid-call: the same", || {
            Scene::child(script(Outcome::Abort))
                .expect(LOST)
                .within_ms(100)
                .account(Account::Server)
                .recovers("look")
                .check(says(&[DOUBT, "signal 6 (SIGABRT)"]))
        }),
        own(
            "F3",
            "no answer: the limit of time, the server is told, and how long it took is in the log",
            || Box::pin(hang()),
        ),
        own("F4", "no answer, deaf to cancel, end of input and SIGTERM: killed, and a new process", || {
            Box::pin(on_a_moved_clock(deaf))
        }),
        own("F5", "an answer byte by byte: bytes are no progress, and are told", || {
            Box::pin(listening(|heard| {
                Scene::child(script(Outcome::Drip { text: "x".repeat(400), every_ms: 50 }))
                    .expect(LATE)
                    .account(Account::Server)
                    .limit_ms(500)
                    .check(gave_up(heard, |figure| figure("bytes") > 0.0 && figure("bytes_per_second") > 0.0))
            }))
        }),
        own("F6", "progress for ever: the total limit ends it, and the reports are counted", || {
            Box::pin(listening(|heard| {
                let reply =
                    CallReply::new(Outcome::Hang).progress(Progress { count: u64::MAX, every_ms: 50 });
                Scene::child(script(reply))
                    .expect(LATE)
                    .account(Account::Tool)
                    .total_ms(600)
                    .check(gave_up(heard, |figure| figure("progress") >= 2.0))
            }))
        }),
        own(
            "F7",
            "noise on stdout before the answer: the answer; each line is counted, and told once an hour",
            || Box::pin(noise()),
        ),
        scene("F9", "half an answer, then the end: outcome unknown", || {
            Scene::child(script(half(Some(1))))
                .expect(LOST)
                .within_ms(100)
                .account(Account::Server)
                .recovers("look")
                .check(says(&[DOUBT, "exited with code 1, 22 bytes into a message"]))
        }),
        scene("F10", "half an answer, then silence: the limit of time", || {
            Scene::child(script(half(None))).expect(LATE).account(Account::Server).limit_ms(400)
        }),
        own("F11", "an answer under another id: dropped, the call goes on to its limit", || {
            Box::pin(listening(|heard| {
                Scene::child(script(CallReply::new(Outcome::Echo).id(ReplyId::Wrong)))
                    .expect(LATE)
                    .limit_ms(400)
                    .check(is_suspicious)
                    .check(logs(heard, &["under an id that was never given out: ", ", while 1 waited"]))
            }))
        }),
        own("F12", "the same answer twice: the first one counts, the next call is not mixed up", || {
            Box::pin(listening(|heard| {
                let tool = ToolScript::new("do")
                    .replies(CallReply::new(Outcome::Text("first".into())).id(ReplyId::Twice))
                    .text("second");
                Scene::child(ServerScript::new().tool(tool))
                    .calls(2)
                    .check(is_text("second"))
                    .check(is_suspicious)
                    .check(tells_the_hash(heard))
            }))
        }),
        own(
            "F13",
            "an answer after the limit: thrown away and counted, never given to the next call",
            || {
                Box::pin(listening(|heard| {
                    // The late one is there before the next one is answered.
                    let tool = ToolScript::new("do")
                        .replies(CallReply::new(Outcome::Text("late".into())).delay_ms(800))
                        .replies(CallReply::new(Outcome::Text("fresh".into())).delay_ms(400));
                    Scene::child(ServerScript::new().tool(tool).quirk(Quirk::IgnoresCancel))
                        .limit_ms(600)
                        .calls(2)
                        .tune(|options, _| {
                            let name = metrics::names::LATE_RESPONSES;
                            options.metrics =
                                Some(Arc::new(Counted { name, reason: None, so_far: &LATE_ANSWERS }));
                        })
                        .check(is_text("fresh"))
                        .check(is_clean)
                        .check(logs(heard, &["an answer to what nobody waits for any more"]))
                        .check(|_, measured| {
                            let counted = LATE_ANSWERS.load(Ordering::Relaxed);
                            measured.expect(counted == 1, format!("{counted} late answers were counted"));
                        })
                }))
            },
        ),
        scene("F18", "an answer nested 100,000 deep: refused", || {
            Scene::child(script(Outcome::Nested(100_000)))
                .expect(BROKEN)
                .within_ms(100)
                .account(Account::Server)
                .check(says(&["recursion limit exceeded"]))
                .check(is_suspicious)
        }),
        own("F19", "an answer that is not UTF-8, half a surrogate, NaN, a member twice: refused", || {
            Box::pin(no_json())
        }),
        own(
            "F24",
            "the end before the handshake: told with code and last words, counted, given up after its tries; the others work",
            || Box::pin(ended_at_start()),
        ),
        own("F23", "a stopped process that is killed and then continued: a new one is used", || {
            Box::pin(continued())
        }),
        own("F26", "a slow start: waited for and told about, while the others work", || {
            Box::pin(on_a_moved_clock(slow_start))
        }),
        scene(
            "F27",
            "a server that dies after each start: given up after its tries, refused at once",
            || {
                let dead =
                    ServerScript::new().quirk(Quirk::ExitAtStart { code: 1, stderr: "again\n".into() });
                Scene::child(script(Outcome::Exit(1)).after_restart(dead))
                    .tune(|options, _| *options = restarts(3))
                    .calls(2)
                    .after_all()
                    .expect(&["unavailable"])
                    .within_ms(100)
                    .check(is_forced_open("crash loop: it ended again after 3 restarts"))
                    .check(is_forced_open("its last words: again"))
            },
        ),
        own("F28", "a server that speaks 1999-01-01: told with both revisions, not tried again", || {
            Box::pin(another_revision())
        }),
        own("F50", "a storm of list changes: listed once a second at most, and the log counts them", || {
            Box::pin(on_a_moved_clock(storm))
        }),
        own("F53", "a tool that disappears: told as gone, which one that never was is not", || {
            Box::pin(apart(gone))
        }),
        scene("F56", "grandchildren that ignore SIGTERM: none survives", || {
            let stubborn = Grandchild { ignores_sigterm: true, holds_stdout: true, ..Grandchild::default() };
            Scene::child(script(Outcome::Echo).quirk(Quirk::Grandchild(stubborn)))
                .tune(|options, _| options.session.close_grace = Duration::from_millis(100))
        }),
        own(
            "F74",
            "requests that we never declared: answered with an error, the call is not touched; told as a matter of security",
            || {
                Box::pin(listening(|heard| {
                    let ask = Quirk::ServerRequest {
                        method: "sampling/createMessage".into(),
                        params: json!({"messages": [], "maxTokens": 1}),
                    };
                    // It asks and answers at once: what comes in last is our answer.
                    Scene::child(script(Outcome::Echo).quirk(ask)).check(move |seen, measured| {
                        let is_refusal = |entry: &Value| entry["message"]["error"]["code"] == -32601;
                        let journal = seen.journal.as_ref().unwrap();
                        let refusals = || journal.kind("received").into_iter().filter(is_refusal);
                        // It may come in after the answer has gone out.
                        process::until_blocking(GRACE, || refusals().next().is_some());
                        let at = |entry: &Value| entry["at_us"].as_u64().unwrap_or_default();
                        let asked = journal.kind("asked").last().map(at).unwrap_or_default();
                        let took = refusals().next().map(|refusal| at(&refusal).saturating_sub(asked));
                        measured.expect(took.is_some(), "the request was not answered with -32601");
                        let took = Duration::from_micros(took.unwrap_or_default());
                        let holds = took <= Duration::from_millis(10);
                        measured.in_time(holds, format!("it was answered after {took:?}"));
                        let integrity = seen.client.client("faulty").unwrap().status().integrity;
                        let holds = integrity == Integrity::Suspicious { breaches: 1 };
                        measured.expect(holds, format!("what is thought of its honesty is {integrity:?}"));
                        let lines = heard.lines();
                        let told = lines.iter().filter(|line| is_of_security(line));
                        let holds = told.clone().count() == 1
                            && told.clone().all(|line| {
                                line.contains("level=WARN ")
                                    && line.contains(r#"it asked for "sampling/createMessage""#)
                            });
                        measured.expect(
                            holds,
                            format!("as a matter of security is told {:?}", told.collect::<Vec<_>>()),
                        );
                    })
                }))
            },
        ),
    ]
}

/// The caller was told all of these.
pub(crate) fn says(parts: &'static [&'static str]) -> impl Fn(&crate::lab::Seen, &mut Measured) + Send {
    move |seen, measured| {
        for part in parts {
            measured.expect(seen.text.contains(part), format!("{part:?} is not in {:?}", seen.text));
        }
    }
}

/// How many late answers the metrics have counted.
static LATE_ANSWERS: AtomicU64 = AtomicU64::new(0);

/// How many lines that are no message they have counted.
static NOISE: AtomicU64 = AtomicU64::new(0);

/// Adds up one counter, where it is of this reason.
struct Counted {
    name: &'static str,
    reason: Option<&'static str>,
    so_far: &'static AtomicU64,
}

impl metrics::Observer for Counted {
    fn count(&self, name: &'static str, labels: &[metrics::Label<'_>], by: u64) {
        if name == self.name && self.reason.is_none_or(|reason| labels.contains(&("reason", reason))) {
            self.so_far.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn histogram(&self, _: &'static str, _: &[metrics::Label<'_>], _: f64) {}

    fn gauge(&self, _: &'static str, _: &[metrics::Label<'_>], _: f64) {}
}

/// A figure of a line, by its name.
type Figure<'a> = &'a dyn Fn(&str) -> f64;

/// It was written down that a call was given up while it was made, how long that took, and figures that fit.
fn gave_up(heard: Heard, fits: fn(Figure<'_>) -> bool) -> impl Fn(&crate::lab::Seen, &mut Measured) + Send {
    move |_, measured| {
        let lines = heard.lines();
        let holds = lines.iter().filter(|line| line.contains("is given up before its answer")).any(|line| {
            let figure = |name: &str| -> f64 {
                let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
                value.and_then(|value| value.parse().ok()).unwrap_or_default()
            };
            line.contains("phase=calling the tool") && figure("elapsed_ms") > 0.0 && fits(&figure)
        });
        measured.expect(holds, format!("no line says what had come: {lines:?}"));
    }
}

/// A hash of the second answer is told.
fn tells_the_hash(heard: Heard) -> impl Fn(&crate::lab::Seen, &mut Measured) + Send {
    move |_, measured| {
        const WORDS: &str = "SHA-256 of the second answer: ";
        let lines = heard.lines();
        let told = lines.iter().find_map(|line| line.split_once(WORDS)).map_or("", |(_, hash)| hash);
        let digits = told.chars().take_while(char::is_ascii_hexdigit).count();
        measured.expect(digits == 64, format!("no hash is told: {lines:?}"));
    }
}

/// Its circuit is opened for good, with a reason that says this.
pub(crate) fn is_forced_open(words: &'static str) -> impl Fn(&crate::lab::Seen, &mut Measured) + Send {
    move |seen, measured| {
        let circuit = seen.client.client("faulty").unwrap().status().circuit;
        let holds = matches!(&circuit, CircuitState::ForcedOpen { reason } if reason.contains(words));
        measured.expect(holds, format!("its circuit is {circuit:?}, not forced open with {words:?}"));
    }
}

const NOISY: &str = "it wrote to its standard output what is no message";

/// A server that writes such lines at its start, and one before each reply.
fn noisy(lines: usize) -> ServerScript {
    let chatter = Quirk::Chatter(vec!["Server listening".into(); lines]);
    script(Outcome::Echo).quirk(chatter).quirk(Quirk::ChatterBeforeReply("loading".into()))
}

/// How many warnings of noise there are.
fn warnings(heard: &Heard) -> usize {
    heard.lines().iter().filter(|line| line.contains(NOISY) && line.contains("level=WARN")).count()
}

async fn noise() -> Measured {
    let scene = |heard: Heard| {
        Scene::child(noisy(50)).account(Account::Nobody).calls(5).check(is_clean).check(move |_, measured| {
            let told = warnings(&heard);
            measured.expect(told == 1, format!("it was told {told} times"));
        })
    };
    let mut measured = listening(scene).await;
    let later = on_a_moved_clock(an_hour_of_noise).await;
    measured.problems.extend(later.problems);
    measured.survivors += later.survivors;
    measured
}

async fn an_hour_of_noise() -> Measured {
    const LINES: u64 = 50;
    const CALLS: u64 = 4;
    const HOUR: Duration = Duration::from_secs(3600);
    let mut measured = Measured::default();
    let heard = Heard::new(|metadata| metadata.is_event() && metadata.target().starts_with("mcp_client"));
    // The clock and all tasks are this thread's.
    let _heard = crate::support::listen(heard.clone());
    let scripted = noisy(LINES as usize).launch();
    let mut config = child("faulty", &scripted);
    // On this clock a process takes long to start, and to answer.
    (config.startup_timeout, config.call_timeout) = (HOUR, HOUR);
    config.total_timeout = HOUR;
    let mut options = restarts(50);
    let begun = (SystemTime::now(), Instant::now());
    // The time of day goes with this clock.
    options.wall_clock = WallClock::new(move || begun.0 + begun.1.elapsed());
    let name = metrics::names::FRAMES_REJECTED;
    options.metrics = Some(Arc::new(Counted { name, reason: Some("chatter"), so_far: &NOISE }));
    let (client, _) = start([config], options);
    client.ready(PATIENCE * 600).await;
    for (calls, told) in [(2, 1), (CALLS - 2, 2)] {
        for _ in 0..calls {
            let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
            measured.expect(class == "answered", format!("the caller got {class} ({text})"));
        }
        let warnings = warnings(&heard);
        measured.expect(warnings == told, format!("it was told {warnings} times, not {told}"));
        tokio::time::advance(HOUR).await;
    }
    // Each call has a line before its answer, and so has what opened the session.
    let (counted, least) = (NOISE.load(Ordering::Relaxed), LINES + CALLS);
    let most = LINES + scripted.journal().kind("received").len() as u64;
    measured.expect(
        (least..=most).contains(&counted),
        format!("{counted} lines were counted, not {least} to {most}"),
    );
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

async fn ended_at_start() -> Measured {
    let script =
        || ServerScript::new().quirk(Quirk::ExitAtStart { code: 2, stderr: "no key for it\n".into() });
    let scene = Scene::child(script())
        .expect(&["unknown_tool", "unavailable"])
        .account(Account::Server)
        .tune(|options, _| *options = restarts(2))
        .after_all()
        .check(is_forced_open("crash loop: it ended again after 2 restarts"))
        .check(is_forced_open("no key for it"))
        .check(|seen, measured| {
            let states = seen.recorder.states.lock().unwrap();
            let told = states.iter().any(|(_, state)| state.to_string().contains("no key for it"));
            measured.expect(told, "its last words were not told");
        });
    let mut measured = scene.play().await;
    // Whoever starts it has all of it, typed.
    let (scripted, within) = (script().launch(), Duration::from_millis(200));
    let began = std::time::Instant::now();
    let started =
        McpClient::connect(child("faulty", &scripted), crate::support::policy(), Arc::new(()), restarts(0));
    let started = started.await;
    let took = began.elapsed();
    let holds = matches!(
        &started,
        Err(ToolError::Start { reason, stderr, .. }) if reason.contains("exited with code 2") && stderr[0] == "no key for it"
    );
    measured.expect(holds, format!("whoever started it got {started:?}"));
    measured.in_time(took <= within, format!("it took {took:?}"));
    measured.late = measured.late.max(took.saturating_sub(within));
    drop(started);
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

async fn storm() -> Measured {
    const CHANGES: u64 = 5_000;
    const LONG: Duration = Duration::from_secs(3600);
    let mut measured = Measured::default();
    let heard = Heard::new(|metadata| metadata.is_event() && metadata.target().starts_with("mcp_client"));
    // The clock and all tasks are this thread's.
    let _heard = crate::support::listen(heard.clone());
    let (scripted, innocent) =
        (script(Outcome::Echo).quirk(Quirk::ListChangedFlood(CHANGES)).launch(), innocent());
    let mut config = child("faulty", &scripted);
    // On this clock a process takes long to start, and to answer.
    (config.startup_timeout, config.call_timeout, config.total_timeout) = (LONG, LONG, LONG);
    let mut options = restarts(50);
    options.relist_interval = ClientOptions::default().relist_interval;
    let began = Instant::now();
    let (client, recorder) = start([config, child("innocent", &innocent)], options);
    client.ready(PATIENCE * 600).await;
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(class == "answered", format!("the caller got {class} ({text})"));
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    // How many changes each listing stands for.
    let counts = || -> Vec<u64> {
        let lines = heard.lines();
        let count = |line: &String| {
            let listed = line.contains("its tools are listed again") && line.contains("server=faulty");
            line.split(' ').find_map(|word| word.strip_prefix("changes="))?.parse().ok().filter(|_| listed)
        };
        lines.iter().filter_map(count).collect()
    };
    let all = process::until(PATIENCE * 60, || counts().iter().sum::<u64>() == CHANGES).await;
    let counts = counts();
    measured.expect(all, format!("of {CHANGES} changes the log counts {counts:?}"));
    let listings = || scripted.journal().method("tools/list").len();
    let listed = process::until(PATIENCE * 60, || listings() == counts.len() + 1).await;
    measured.expect(listed, format!("it was listed {} times, and the log has {counts:?}", listings()));
    let seconds = began.elapsed().as_secs() as usize;
    measured.expect(counts.len() <= seconds, format!("{} refreshes in {seconds} s", counts.len()));
    let circuits = recorder.circuits.lock().unwrap().clone();
    measured.expect(circuits.is_empty(), format!("circuits noticed: {circuits:?}"));
    measured.got = class;
    measured.sends = scripted.journal().method("tools/call").len() as f64;
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    measured
}

async fn gone(heard: Heard) -> Measured {
    let mut measured = Measured::default();
    let played = script(Outcome::Echo).quirk(Quirk::RemoveToolAfter { calls: 1, tool: "do".into() });
    let (scripted, innocent) = (played.launch(), innocent());
    let (client, recorder) = start([child("faulty", &scripted), child("innocent", &innocent)], restarts(50));
    client.ready(PATIENCE).await;
    let tool = "mcp__faulty__do";
    let (class, text) = named(&client.call(call(tool, json!({}))).await);
    measured.expect(class == "answered", format!("the caller got {class} ({text})"));
    let mut changes = client.changes();
    let missing = async {
        while client.catalogue().find(tool).is_some() {
            changes.changed().await.unwrap();
        }
    };
    measured.expect(tokio::time::timeout(PATIENCE, missing).await.is_ok(), "it is still offered");
    let one = client.client("faulty").unwrap();
    for result in [client.call(call(tool, json!({}))).await, one.call_tool("do", Default::default()).await] {
        let (class, text) = named(&result);
        measured.expect(
            class == "tool_gone" && text.contains(r#"server faulty has no tool "do" any more"#),
            format!("the caller got {class} ({text})"),
        );
        measured.got = class;
    }
    for result in [
        client.call(call("mcp__faulty__never", json!({}))).await,
        one.call_tool("never", Default::default()).await,
    ] {
        let (class, text) = named(&result);
        measured.expect(class == "unknown_tool", format!("of one that never was: {class} ({text})"));
    }
    let (class, text) = named(&client.call(call("mcp__faulty__look", json!({}))).await);
    measured.expect(class == "answered", format!("its other tool: {class} ({text})"));
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    let circuits = recorder.circuits.lock().unwrap().clone();
    measured.expect(circuits.is_empty(), format!("circuits noticed: {circuits:?}"));
    let lines = heard.lines();
    let told = lines.iter().filter(|line| line.contains("its tool is gone")).collect::<Vec<_>>();
    let holds =
        told.len() == 1 && told.iter().all(|line| line.contains("\"do\"") && line.contains("level=INFO"));
    measured.expect(holds, format!("it is told by {told:?}"));
    let sends = scripted.journal().method("tools/call");
    let sends = sends.iter().filter(|sent| sent["params"]["name"] == "do").count();
    measured.expect(sends == 1, format!("it was sent {sends} times"));
    measured.sends = sends as f64;
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    measured
}

async fn another_revision() -> Measured {
    let mut measured = Measured::default();
    let mut played = script(Outcome::Echo);
    played.handshake_version = HandshakeVersion::Fixed("1999-01-01".into());
    let (scripted, innocent) = (played.launch(), innocent());
    let (client, recorder) = start([child("faulty", &scripted), child("innocent", &innocent)], restarts(50));
    client.ready(PATIENCE).await;
    let (class, text) = named(&client.client("faulty").unwrap().call_tool("do", Default::default()).await);
    measured.expect(
        class == "unavailable" && text.contains("1999-01-01") && text.contains("2025-11-25"),
        format!("the caller got {class} ({text})"),
    );
    measured.expect(recorder.states("faulty") == ["starting", "given up"], "it was tried again");
    measured.expect(scripted.journal().pids().len() == 1, "it was started again");
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    measured.got = class;
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    measured
}

fn half(exit: Option<i32>) -> Outcome {
    Outcome::Partial { text: r#"{"jsonrpc":"2.0","id":"#.into(), exit }
}

fn is_text(wanted: &'static str) -> impl Fn(&crate::lab::Seen, &mut Measured) + Send {
    move |seen, measured| measured.expect(seen.text == wanted, format!("the answer was {:?}", seen.text))
}

/// Sends a signal to every process of a server.
pub(crate) fn signal(scripted: &ScriptedServer, signal: process::Signal) {
    for pid in scripted.journal().pids() {
        process::signal(pid, signal);
    }
}

async fn hang() -> Measured {
    let scene = || {
        Scene::child(script(Outcome::Hang))
            .expect(LATE)
            .account(Account::Tool)
            .limit_ms(400)
            .check(says(&[DOUBT]))
    };
    let told = scene().check(|seen, measured| {
        // The word is on its way when the caller has its answer.
        let told = tokio::task::block_in_place(|| {
            process::until_blocking(GRACE, || !seen.method("notifications/cancelled").is_empty())
        });
        measured.expect(told, "the server was not told that nobody waits any longer");
    });
    let mut measured = told.play().await;
    let logged =
        listening(move |heard| scene().check(gave_up(heard, |figure| figure("elapsed_ms") >= 400.0))).await;
    measured.problems.extend(logged.problems);
    measured.sends = measured.sends.max(logged.sends);
    measured.survivors += logged.survivors;
    measured
}

/// It answers no ping either: it is the server, not its tool, that does not answer.
async fn deaf() -> Measured {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut measured = Measured::default();
    let played = script(Outcome::Hang)
        .quirk(Quirk::IgnoresCancel)
        .quirk(Quirk::IgnoresPing)
        .quirk(Quirk::IgnoresSigterm)
        .quirk(Quirk::NeverExitsOnEof)
        .after_restart(script(Outcome::Echo));
    let scripted = played.launch();
    let mut config = child("faulty", &scripted);
    config.breaker.failures_in_a_row = 1;
    // On this clock a process takes long to start.
    config.startup_timeout = Duration::from_secs(600);
    let (client, recorder) = start([config], restarts(50));
    client.ready(PATIENCE * 60).await;
    let old = scripted.journal().pids();
    let began = tokio::time::Instant::now();
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let took = began.elapsed();
    measured.expect(LATE.contains(&class.as_str()), format!("the caller got {class} ({text})"));
    measured.late = took.saturating_sub(LIMIT + GRACE);
    measured.expect(LIMIT <= took && measured.late.is_zero(), format!("it took {took:?}"));
    measured.judge_account(Account::Server, &recorder).await;
    let replaced = tokio::time::timeout(Duration::from_secs(600), async {
        while scripted.journal().pids().len() == old.len() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        until_answered(&client, "look").await;
    });
    measured.expect(replaced.await.is_ok(), "no new process took its place");
    measured.expect(!old.iter().any(|pid| process::is_alive(*pid)), "the old process was not killed");
    measured.got = class;
    let sends = scripted.journal().method("tools/call");
    measured.sends = sends.iter().filter(|sent| sent["params"]["name"] == "do").count() as f64;
    measured.expect(measured.sends <= 1.0, "it was sent again");
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

/// What is on the wire in place of a text, and no JSON of an answer.
async fn no_json() -> Measured {
    let mut measured = Measured::default();
    let content = |text: &str| format!(r#"{{"jsonrpc":"2.0","id":{{id}},"result":{text}}}"#);
    let cases = [
        ("not UTF-8", Outcome::InvalidUtf8),
        ("half a surrogate", Outcome::RawLine(content(r#"{"content":[{"type":"text","text":"\ud800"}]}"#))),
        ("NaN", Outcome::RawLine(content(r#"{"content":[],"structuredContent":{"n":NaN}}"#))),
        ("a member twice", Outcome::RawLine(content(r#"{"content":[]},"result":{"content":[]}"#))),
    ];
    for (what, outcome) in cases {
        let (scripted, innocent) = (script(outcome).launch(), innocent());
        let mut config = child("faulty", &scripted);
        config.breaker.failures_in_a_row = 1;
        (config.call_timeout, config.total_timeout) = (Duration::from_secs(5), Duration::from_secs(5));
        let (client, recorder) = start([config, child("innocent", &innocent)], restarts(50));
        client.ready(PATIENCE).await;
        let began = std::time::Instant::now();
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        let took = began.elapsed();
        measured.expect(BROKEN.contains(&class.as_str()), format!("{what}: the caller got {class} ({text})"));
        measured.in_time(took <= Duration::from_millis(100), format!("{what}: it took {took:?}"));
        measured.judge_account(Account::Server, &recorder).await;
        let integrity = client.client("faulty").unwrap().status().integrity;
        measured.expect(integrity != Integrity::Clean, format!("{what}: nobody holds it against the server"));
        measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
        measured.sends = measured.sends.max(scripted.journal().method("tools/call").len() as f64);
        measured.got = class;
        client.close().await;
        measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    }
    measured
}

async fn continued() -> Measured {
    let mut measured = Measured::default();
    let scripted = script(Outcome::Echo).launch();
    let mut config = child("faulty", &scripted);
    config.call_timeout = Duration::from_millis(300);
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE).await;
    let old = scripted.journal().pids();
    signal(&scripted, process::Signal::Stop);
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(LATE.contains(&class.as_str()), format!("the caller got {class} ({text})"));
    signal(&scripted, process::Signal::Kill);
    signal(&scripted, process::Signal::Continue);
    let back = tokio::time::timeout(PATIENCE, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back");
    measured.expect(scripted.journal().pids().len() > old.len(), "no new process was started");
    measured.got = class;
    client.close().await;
    measured.count_survivors(&[scripted.journal()]).await;
    measured
}

async fn slow_start() -> Measured {
    const LONG: Duration = Duration::from_secs(90);
    let mut measured = Measured::default();
    let told = Heard::new(|metadata| {
        metadata.target().starts_with("mcp_client::server") && *metadata.level() == tracing::Level::INFO
    });
    // The clock and all tasks are this thread's.
    let _told = crate::support::listen(told.clone());
    let innocent = innocent();
    // The program is there and says nothing, as one is that is still being fetched.
    let scripted = script(Outcome::Echo).quirk(Quirk::HandshakeDelay(300)).launch();
    let mut config = child("faulty", &scripted);
    // On this clock a process takes long to start.
    config.startup_timeout = Duration::from_secs(600);
    let (client, recorder) = start([config, child("innocent", &innocent)], restarts(50));
    let began = process::until(PATIENCE, || !scripted.journal().pids().is_empty()).await;
    measured.expect(began, "it was not started");
    signal(&scripted, process::Signal::Stop);
    // The other one has its tools meanwhile.
    let mut state = client.client("innocent").unwrap().state();
    let ready = tokio::time::timeout(Duration::from_secs(600), state.wait_for(is_ready)).await.is_ok();
    measured.expect(ready, "the other server did not start meanwhile");
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    tokio::time::sleep(LONG).await;
    let states = recorder.states("faulty");
    measured.expect(states == ["starting"], format!("while it starts its states are {states:?}"));
    let times = told.lines().len();
    measured.expect(times >= 6, format!("it was said {times} times in {LONG:?} that it is still starting"));
    signal(&scripted, process::Signal::Continue);
    let back = tokio::time::timeout(Duration::from_secs(600), until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it is not used, although it has started");
    let pids = scripted.journal().pids().len();
    measured.expect(pids == 1, format!("it was started {pids} times"));
    measured.got = "answered".into();
    client.close().await;
    measured.count_survivors(&[scripted.journal(), innocent.journal()]).await;
    measured
}
