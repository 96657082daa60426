//! Faults of the line to an HTTP server: resets, silence, certificates, and streams that break.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use massgen_testkit::engine::{Engine, Step};
use massgen_testkit::faults::{Certificate, TcpFaults, TcpRelay, TcpStep, TlsFaults, refused};
use massgen_testkit::http::{Body, HttpReply, HttpServer, Part};
use massgen_testkit::{
    CallReply, HttpFault, McpHttpOptions, McpHttpServer, Outcome, PATIENCE, Progress, ServerScript,
    ToolScript, process,
};
use mcp_client::{MultiMcpClient, ServerState};
use mcp_core::{ToolError, ToolService};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::lab::{Account, GRACE, Measured, Playing, ask_innocent, innocent, named, remote, until_answered};
use crate::stdio::{DOUBT, LATE, LOST, script};
use crate::support::{call, child, is_failed, restarts, start};
use crate::time::on_a_moved_clock;
use crate::web::unreachable;
use crate::{Fault, Play};

/// The shortest time between two attempts to open a stream again.
const PAUSE: Duration = Duration::from_millis(250);

fn own(id: &'static str, what: &'static str, play: fn() -> Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        own(
            "F38",
            "nobody listens, or a reset before anything was sent: told at once, or made on a new connection",
            || Box::pin(nothing_sent()),
        ),
        own("F40", "a line that loses everything: the limit of time, or three pings; and it is back", || {
            Box::pin(on_a_moved_clock(silent_line))
        }),
        own(
            "F41",
            "certificates that are expired, another host's, nobody's; no TLS at all: told, left alone, nothing sent",
            || Box::pin(no_tls()),
        ),
        own(
            "F46",
            "streams that end without an answer, or events without an end: a pause, and an end",
            || Box::pin(endless_streams()),
        ),
        own(
            "F47",
            "a stream that breaks before the answer: taken up again, or made again where it is safe",
            || Box::pin(broken_streams()),
        ),
    ]
}

async fn nothing_sent() -> Measured {
    let mut measured = unreachable(&format!("http://{}/mcp", refused()), Duration::from_secs(2)).await;
    let web = McpHttpServer::start(script(Outcome::Echo));
    let relay = TcpRelay::start(web.http().address());
    let mut config = remote("faulty", &relay.url("/mcp"));
    config.trust_hints = true;
    let (client, _) = start([config], restarts(50));
    client.ready(PATIENCE).await;
    // Connections that were kept and are gone: found out before anything is written to them.
    for _ in 0..3 {
        relay.reset().await;
        let began = Instant::now();
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        measured.expect(class == "answered", format!("kept: the caller got {class} ({text})"));
        measured.in_time(began.elapsed() <= PAUSE, format!("kept: it took {:?}", began.elapsed()));
        measured.got = class;
    }
    let executed = web.executed();
    measured.expect(executed == 3, format!("3 calls were executed {executed} times"));
    measured.sends = f64::from(executed) / 3.0;
    // A new one that is reset before the server has read anything. Whether something had left by then is not always known:
    // what is safe is made again, and what is not is never executed twice.
    relay.reset().await;
    relay.refuse_next(1);
    let (class, text) = named(&client.call(call("mcp__faulty__look", json!({}))).await);
    measured.expect(class == "answered", format!("new, safe: the caller got {class} ({text})"));
    measured.expect(relay.refusals_left() == 0, "no connection was reset");
    let before = web.executed();
    relay.reset().await;
    relay.refuse_next(1);
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let more = web.executed() - before;
    let holds = match class.as_str() {
        "answered" => more == 1,
        "outcome_unknown" => more == 0,
        _ => false,
    };
    measured.expect(holds, format!("new: executed {more} times, the caller got {class} ({text})"));
    client.close().await;
    measured
}

async fn silent_line() -> Measured {
    const SECOND: Duration = Duration::from_secs(1);
    const LIMIT: Duration = Duration::from_secs(60);
    let mut measured = Measured::default();
    let web = McpHttpServer::start(script(Outcome::Echo));
    let relay = TcpRelay::start(web.http().address());
    let mut config = remote("faulty", &relay.url("/mcp"));
    config.breaker.failures_in_a_row = 1;
    let (client, recorder) = start([config], restarts(50));
    client.ready(PATIENCE * 60).await;
    // In the middle of a call.
    relay.swallow();
    let began = tokio::time::Instant::now();
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    let took = began.elapsed();
    measured.expect(LATE.contains(&class.as_str()), format!("the caller got {class} ({text})"));
    measured.expect(text.contains(DOUBT), format!("it was told {text:?}"));
    measured.late = took.saturating_sub(LIMIT + GRACE);
    measured.expect(LIMIT <= took && measured.late.is_zero(), format!("it took {took:?}"));
    measured.judge_account(Account::Server, &recorder).await;
    relay.pass();
    let back = tokio::time::timeout(SECOND * 600, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back");
    measured.problems.extend(without_keepalive(relay.url("").as_str()));
    // While nobody asks for anything: a ping of 5 s after 30 s of silence, a fifth more or less, and two more, 4 s apart.
    let one = client.client("faulty").unwrap();
    relay.swallow();
    let began = tokio::time::Instant::now();
    let mut state = one.state();
    let failed = tokio::time::timeout(SECOND * 600, state.wait_for(is_failed)).await;
    let noticed = began.elapsed();
    // A far end that answers no keepalive either is found out by the system, 60 s after the last byte.
    let range = SECOND * (24 + 3 * 5 + 2 * 4 - 1)..=SECOND * 60;
    let holds = failed.is_ok() && range.contains(&noticed);
    drop(failed);
    measured.expect(holds, format!("its silence was noticed after {noticed:?}"));
    relay.pass();
    let back = tokio::time::timeout(SECOND * 600, until_answered(&client, "look")).await;
    measured.expect(back.is_ok(), "it did not come back after a silence");
    let calls = web.method("tools/call");
    let sends = calls.iter().filter(|sent| sent["params"]["name"] == "do").count();
    measured.expect(sends <= 1, format!("it was sent {sends} times"));
    measured.sends = 1.0;
    measured.got = format!("{class}; an idle one noticed after {:.0} s", noticed.as_secs_f64());
    client.close().await;
    measured
}

/// The connections to an address that the system does not ask for a sign of life within 15 s, as far as it tells.
fn without_keepalive(url: &str) -> Vec<String> {
    const ESTABLISHED: &str = "01";
    const KEEPALIVE: &str = "02";
    let Ok(connections) = std::fs::read_to_string("/proc/net/tcp") else { return Vec::new() };
    let port =
        url.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse::<u16>().ok()).unwrap();
    let far = format!("0100007F:{port:04X}");
    let ours: Vec<Vec<&str>> = connections
        .lines()
        .map(|line| line.split_ascii_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() > 5 && fields[2] == far && fields[3] == ESTABLISHED)
        .collect();
    let asked = |fields: &&Vec<&str>| {
        let (timer, hundredths) = fields[5].split_once(':').unwrap();
        timer == KEEPALIVE && u64::from_str_radix(hundredths, 16).unwrap() <= 1500
    };
    if ours.is_empty() {
        return vec!["it has no connection".to_owned()];
    }
    ours.iter().filter(|fields| !asked(fields)).map(|fields| format!("no keepalive: {fields:?}")).collect()
}

async fn no_tls() -> Measured {
    let peer = TcpFaults::start([TcpStep::Read(1), TcpStep::Write(b"SSH-2.0-nothing\r\n".to_vec())]);
    let mut measured = unreachable(&format!("https://{}/mcp", peer.address()), Duration::from_secs(5)).await;
    let leaked = peer.received().iter().any(|bytes| bytes.windows(4).any(|w| w == b"POST" || w == b"mcp-"));
    measured.expect(!leaked, "something was sent in the clear");
    for (certificate, is_trusted, reason) in [
        (Certificate::Expired, true, "expired"),
        (Certificate::OfAnotherHost, true, "not valid for name"),
        (Certificate::SelfSigned, false, "UnknownIssuer"),
    ] {
        let peer = TlsFaults::start(certificate);
        let innocent = innocent();
        let mut config = remote("faulty", &peer.url("/mcp"));
        config.ca_file = is_trusted.then(|| peer.authority());
        let began = Instant::now();
        let (client, _) = start([config, child("innocent", &innocent)], restarts(50));
        client.ready(PATIENCE).await;
        measured.in_time(
            began.elapsed() <= Duration::from_secs(1),
            format!("{certificate:?}: it took {:?}", began.elapsed()),
        );
        let status = client.client("faulty").unwrap().status();
        let ServerState::Unreachable { reason: told, retry_in, .. } = &status.state else {
            measured.problems.push(format!("{certificate:?}: it is {}", status.state));
            continue;
        };
        measured.expect(told.contains(reason), format!("{certificate:?}: it was told {told:?}"));
        let subject = match certificate {
            Certificate::OfAnotherHost => "its subject is elsewhere.invalid",
            _ => "its subject is localhost",
        };
        let fingerprint: String =
            Sha256::digest(peer.certificate()).iter().map(|byte| format!("{byte:02x}")).collect();
        measured.expect(
            told.contains(subject) && told.contains(&fingerprint),
            format!("{certificate:?}: neither {subject:?} nor {fingerprint} in {told:?}"),
        );
        let left_alone = retry_in.is_some_and(|wait| wait >= Duration::from_secs(300));
        measured.expect(left_alone, format!("{certificate:?}: it is tried again in {retry_in:?}"));
        let (class, text) =
            named(&client.client("faulty").unwrap().call_tool("do", Default::default()).await);
        measured.expect(
            class == "unavailable" && text.contains(reason),
            format!("{certificate:?}: the caller got {class} ({text})"),
        );
        measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
        let (dialled, received) = (peer.dialled(), peer.received().len());
        measured.expect(dialled == 1, format!("{certificate:?}: it was dialled {dialled} times"));
        measured.expect(received == 0, format!("{certificate:?}: {received} bytes were sent to it"));
        measured.got = class;
        client.close().await;
        measured.count_survivors(&[innocent.journal()]).await;
    }
    // The same server with a certificate that holds hears from us.
    let peer = TlsFaults::start(Certificate::Sound);
    let mut config = remote("faulty", &peer.url("/mcp"));
    config.ca_file = Some(peer.authority());
    let (client, _) = start([config], restarts(0));
    let heard = process::until(PATIENCE, || !peer.received().is_empty()).await;
    measured.expect(heard, "one with a sound certificate heard nothing");
    client.close().await;
    measured
}

/// What a server makes of a request.
type Answering = Box<dyn Fn(&Value) -> HttpReply + Send + Sync>;

/// A server that answers calls by `calling`, and attempts to open a stream again by `resuming`, which is told how many it
/// had so far. Everything else it does well.
fn streaming(
    calling: Answering,
    resuming: impl Fn(usize) -> HttpReply + Send + Sync + 'static,
) -> (HttpServer, Arc<Mutex<usize>>) {
    let resumed: Arc<Mutex<usize>> = Arc::default();
    let count = resumed.clone();
    let engine = Mutex::new(Engine::stateless(script(Outcome::Echo)));
    let server = HttpServer::start(Arc::new(move |request| {
        if request.method == "GET" && request.header("last-event-id").is_some() {
            let mut count = count.lock().unwrap();
            *count += 1;
            return resuming(*count);
        }
        if request.method != "POST" {
            return HttpReply::empty(405);
        }
        let message = request.json();
        if message["method"] == "tools/call" {
            return calling(&message);
        }
        let steps = engine.lock().unwrap().receive(&message);
        let answer = steps.into_iter().find_map(|step| match step {
            Step::Send(message) => Some(message),
            _ => None,
        });
        answer.map_or_else(|| HttpReply::empty(202), |answer| HttpReply::json(200, &answer))
    }));
    (server, resumed)
}

fn events(text: String) -> HttpReply {
    HttpReply::sse(Body::Parts(vec![Part::Bytes(text.into_bytes())]))
}

async fn endless_streams() -> Measured {
    let mut measured = Measured::default();
    let beginning = || -> Answering { Box::new(|_| events("retry: 0\nid: begun\ndata:\n\n".to_owned())) };
    let limit = Duration::from_millis(1500);
    // Each stream brings a new event, and no answer; then: none brings anything new.
    for (brings, limit, expected) in [(true, limit, LATE), (false, PATIENCE, LOST)] {
        let (server, resumed) = streaming(beginning(), move |number| {
            let id = if brings { number.to_string() } else { "begun".to_owned() };
            events(format!("retry: 0\nid: {id}\ndata:\n\n"))
        });
        let mut config = remote("faulty", &server.url("/mcp"));
        (config.call_timeout, config.total_timeout) = (limit, limit);
        let (client, _) = start([config], restarts(50));
        client.ready(PATIENCE).await;
        let began = Instant::now();
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        let took = began.elapsed();
        let times = *resumed.lock().unwrap();
        measured.expect(expected.contains(&class.as_str()), format!("the caller got {class} ({text})"));
        measured.in_time(took <= limit + GRACE, format!("it took {took:?}"));
        let most = (took.as_millis() / PAUSE.as_millis()) as usize;
        measured.expect((1..=most).contains(&times), format!("{times} streams in {took:?}"));
        // So many that bring nothing, and it is over.
        measured.expect(brings || times <= 10, format!("{times} streams that brought nothing"));
        measured.got = class;
        client.close().await;
    }
    // An event without an end.
    let endless: Answering = Box::new(|_| events(format!("data: {}", "x".repeat(1 << 20))));
    let (server, _) = streaming(endless, |_| HttpReply::empty(405));
    let mut options = restarts(50);
    options.session.max_message_bytes = 64 << 10;
    let (client, _) = start([remote("faulty", &server.url("/mcp"))], options);
    client.ready(PATIENCE).await;
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(
        class == "too_large" && text.contains("65536"),
        format!("an event without an end: the caller got {class} ({text})"),
    );
    client.close().await;
    let paced = on_a_moved_clock(paced_streams).await;
    measured.problems.extend(paced.problems);
    measured
}

/// Streams that bring something new each time, and no answer, and one for what the server says unasked, which ends at once:
/// ten of them are opened again soon, and then one in half a minute.
async fn paced_streams() -> Measured {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut measured = Measured::default();
    for is_call in [true, false] {
        let opened: Arc<Mutex<usize>> = Arc::default();
        let count = opened.clone();
        let engine = Mutex::new(Engine::stateless(script(Outcome::Echo)));
        let server = HttpServer::start(Arc::new(move |request| {
            let is_resumed = request.header("last-event-id").is_some();
            if request.method == "GET" && is_resumed == is_call {
                let mut count = count.lock().unwrap();
                *count += 1;
                let id = if is_call { format!("id: {count}\n") } else { String::new() };
                return events(format!("retry: 0\n{id}data:\n\n"));
            }
            if request.method != "POST" {
                return HttpReply::empty(405);
            }
            let message = request.json();
            if message["method"] == "tools/call" {
                return events("retry: 0\nid: begun\ndata:\n\n".to_owned());
            }
            let steps = engine.lock().unwrap().receive(&message);
            let answer = steps.into_iter().find_map(|step| match step {
                Step::Send(message) => Some(message),
                _ => None,
            });
            let reply = answer.map_or_else(|| HttpReply::empty(202), |answer| HttpReply::json(200, &answer));
            reply.header("mcp-session-id", "one")
        }));
        let mut config = remote("faulty", &server.url("/mcp"));
        (config.call_timeout, config.total_timeout) = (LIMIT, LIMIT);
        let (client, _) = start([config], restarts(50));
        client.ready(PATIENCE * 60).await;
        if is_call {
            let began = tokio::time::Instant::now();
            let order = call("mcp__faulty__do", json!({}));
            let pending = async {
                let result = client.call(order).await;
                (result, began.elapsed())
            };
            let ((result, took), problems) = tokio::join!(pending, when_exhausted(&client));
            let (class, text) = named(&result);
            measured
                .expect(LATE.contains(&class.as_str()), format!("paced: the caller got {class} ({text})"));
            measured.expect(took >= LIMIT && took <= LIMIT + GRACE, format!("paced: it took {took:?}"));
            measured.problems.extend(problems);
            let requests = server.requests();
            let sends = requests.iter().filter(|one| one.json()["method"] == "tools/call").count();
            measured.expect(sends == 1, format!("paced: {sends} calls were sent"));
        } else {
            tokio::time::sleep(LIMIT).await;
        }
        // The first one of those that are listened to is no second attempt; on this clock, opening a session takes time.
        let (times, most) =
            (*opened.lock().unwrap(), 10 + LIMIT.as_secs() as usize / 30 + usize::from(!is_call) * 2);
        let what = if is_call { "a call's" } else { "the session's" };
        measured.expect(
            (10..=most).contains(&times),
            format!("{what} stream was opened {times} times in {LIMIT:?}"),
        );
        client.close().await;
    }
    measured
}

/// While one call's stream may not be opened again, the server says so, and another call is refused at once, with the time to
/// try again; then that is over.
async fn when_exhausted(client: &MultiMcpClient) -> Vec<String> {
    const EACH: Duration = Duration::from_secs(30);
    let mut problems = Vec::new();
    let one = client.client("faulty").unwrap();
    let mut state = one.state();
    let degraded = |state: &ServerState| matches!(state, ServerState::Degraded { reason, .. } if reason.contains("streams of events break"));
    let began = tokio::time::Instant::now();
    if tokio::time::timeout(EACH, state.wait_for(degraded)).await.is_err() {
        problems.push(format!("its state is {:?}", *one.state().borrow()));
    }
    // Ten of them, 250 ms apart.
    let soon = began.elapsed();
    if !(PAUSE * 10..PAUSE * 40).contains(&soon) {
        problems.push(format!("that its streams break was noticed after {soon:?}"));
    }
    if one.status().retry_at.is_none() {
        problems.push("nobody says when it can be tried again".to_owned());
    }
    let began = tokio::time::Instant::now();
    let result = client.call(call("mcp__faulty__look", json!({}))).await;
    let took = began.elapsed();
    let holds = match &result {
        Err(ToolError::Unavailable { reason, retry_at: Some(at), .. }) => {
            let wait = at.saturating_duration_since(tokio::time::Instant::now().into_std());
            reason.contains("streams of events break too often; try again in")
                && wait <= EACH
                && !wait.is_zero()
        }
        _ => false,
    };
    if !holds || took > PAUSE {
        problems.push(format!("another caller got {:?} after {took:?}", named(&result)));
    }
    if tokio::time::timeout(EACH * 4, state.wait_for(|state| !degraded(state))).await.is_err() {
        problems.push("it is degraded for ever".to_owned());
    }
    problems
}

async fn broken_streams() -> Measured {
    let mut measured = Measured::default();
    let reply = || CallReply::new(Outcome::Text("whole".into())).progress(Progress { count: 2, every_ms: 5 });
    let sound = || {
        ServerScript::new()
            .tool(ToolScript::new("do").replies(reply()))
            .tool(ToolScript::new("look").replies(reply()).read_only())
    };
    // Up to 2025-11-25 it is taken up where it broke; from 2026-07-28 on there is no such thing.
    for (script, tool, expected, sends) in [
        (sound(), "do", "answered", 1),
        (sound().modern(), "look", "answered", 2),
        (sound().modern(), "do", "outcome_unknown", 1),
    ] {
        let what = format!("{:?}, {tool}", script.era);
        let options = McpHttpOptions { resumable: true, ..McpHttpOptions::default() };
        let web = McpHttpServer::with_options(script, options);
        let mut config = remote("faulty", &web.url());
        config.trust_hints = true;
        if sends == 1 {
            config.breaker.failures_in_a_row = 1;
        }
        let (client, recorder) = start([config], restarts(50));
        client.ready(PATIENCE).await;
        web.fail_method("tools/call", 1, HttpFault::Cut(1));
        let began = Instant::now();
        let (class, text) = named(&client.call(call(&format!("mcp__faulty__{tool}"), json!({}))).await);
        let took = began.elapsed();
        measured.expect(class == expected, format!("{what}: the caller got {class} ({text})"));
        measured.in_time(took <= Duration::from_secs(1), format!("{what}: it took {took:?}"));
        let calls = web.method("tools/call");
        measured.expect(calls.len() == sends, format!("{what}: {} sends", calls.len()));
        let ids: std::collections::BTreeSet<_> = calls.iter().map(|sent| sent["id"].to_string()).collect();
        measured.expect(ids.len() == calls.len(), format!("{what}: an id was used twice: {ids:?}"));
        let resumed =
            web.http().requests().iter().filter(|one| one.header("last-event-id").is_some()).count();
        let is_resumed = expected == "answered" && sends == 1;
        measured.expect((resumed > 0) == is_resumed, format!("{what}: taken up {resumed} times"));
        let charged = !recorder.circuits.lock().unwrap().is_empty();
        measured
            .expect(charged == (expected != "answered"), format!("{what}: its circuit noticed: {charged}"));
        if tool == "do" {
            measured.sends = measured.sends.max(calls.len() as f64);
        }
        measured.got = class;
        client.close().await;
    }
    measured
}
