//! Faults of HTTP servers and of the way to them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use massgen_testkit::engine::{Engine, Step};
use massgen_testkit::http::{Body, HttpReply, HttpServer};
use massgen_testkit::{HttpFault, McpHttpServer, Outcome, PATIENCE, ServerScript, process};
use mcp_client::{Integrity, MultiMcpClient, RuleOptions, ServerState};
use mcp_core::{Admitted, Guard, LaunchSpec, Refusal, RemoteSpec, ServerName, ToolFilter, ToolService};
use mcp_security::Policy;
use serde_json::{Value, json};

use crate::heard::{Heard, listening, logs};
use crate::lab::{Account, Measured, Scene, ask_innocent, innocent, named, remote, until_answered};
use crate::stdio::{LOST, says, script};
use crate::support::{call, child, restarts, start, tools};
use crate::time::on_a_moved_clock;
use crate::{Fault, Play};

fn scene(id: &'static str, what: &'static str, scene: fn() -> Scene) -> Fault {
    Fault { id, what, long: false, play: Play::Scene(scene) }
}

fn own(id: &'static str, what: &'static str, play: fn() -> crate::lab::Playing) -> Fault {
    Fault { id, what, long: false, play: Play::Own(play) }
}

fn sound() -> ServerScript {
    script(Outcome::Echo)
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        scene("F29", "HTTP 401: a login is asked for, by name, and no token is shown", || {
            Scene::web(sound())
                .fault(
                    u32::MAX,
                    HttpFault::status(401).header("www-authenticate", "Bearer error=\"invalid_token\""),
                )
                .expect(&["auth_required"])
                .account(Account::Nobody)
        }),
        scene("F31", "HTTP 403 with the scope that is missing: told", || {
            let challenge = "Bearer error=\"insufficient_scope\", scope=\"files:write\"";
            Scene::web(sound())
                .fault(u32::MAX, HttpFault::status(403).header("www-authenticate", challenge))
                .expect(&["forbidden"])
                .account(Account::Nobody)
                .check(|seen, measured| {
                    measured
                        .expect(seen.text.contains("files:write"), format!("no scope in {:?}", seen.text));
                })
        }),
        own(
            "F32",
            "a session that is gone (404): a new one, and the call once in it; three in a minute are a failure",
            || Box::pin(on_a_moved_clock(session_gone)),
        ),
        own("F35", "HTTP 500: told, and a call that may change something is not sent again", || {
            Box::pin(listening(|heard| {
                let body = format!("Traceback: key {SECRET}\n{}", "x".repeat(5000));
                let fault =
                    HttpFault::Status { status: 500, headers: Vec::new(), body: ("text/plain".into(), body) };
                Scene::web(sound())
                    .fault(u32::MAX, fault)
                    .expect(&["http"])
                    .account(Account::Server)
                    .tune(|options, _| options.redactor.register(SECRET))
                    .check(logs(heard.clone(), &["status=500", "Traceback: key [redacted]\\nxxx"]))
                    .check(move |_, measured| {
                        let lines = heard.lines();
                        let holds =
                            lines.iter().all(|line| !line.contains(SECRET) && line.len() < 1024 + 200);
                        measured.expect(holds, format!("a secret, or too much: {lines:?}"));
                    })
            }))
        }),
        scene("F36", "HTTP 502 from a load balancer: the same", || {
            Scene::web(sound()).fault(u32::MAX, HttpFault::status(502)).expect(LOST).account(Account::Server)
        }),
        own("F37", "HTML with status 200, as a captive portal has it: not MCP, and not asked again", || {
            Box::pin(portal())
        }),
        scene("F39", "a reset after the server has acted: outcome unknown, sent once", || {
            Scene::web(sound())
                .fault(1, HttpFault::ResetAfterwards)
                .expect(LOST)
                .within_ms(100)
                .account(Account::Server)
                .recovers("look")
                .check(says(&["may or may not have taken effect"]))
        }),
        own(
            "F43",
            "a host name that turns private after the start: refused before anything is dialled",
            || Box::pin(rebound()),
        ),
        own("F44", "a redirect to another origin: not followed, nothing arrives there", || {
            Box::pin(redirected())
        }),
        own("F45", "a megabyte of gzip that is a gigabyte, as a body and as events: given up early", || {
            Box::pin(bombed())
        }),
        own(
            "F51",
            "a list without end, or of 60,000 tools: the one before stays; at first, it is away until its list ends",
            || Box::pin(endless_list()),
        ),
    ]
}

/// What no log may show.
const SECRET: &str = "hunter2-hunter2-hunter2";

async fn portal() -> Measured {
    let page = || HttpFault::Status {
        status: 200,
        headers: Vec::new(),
        body: (
            "text/html".into(),
            "<html><title>Sign\u{1b}[2J in</title><body>for 5 a day</body></html>".into(),
        ),
    };
    let scene = move || Scene::web(sound()).fault(u32::MAX, page()).expect(&["malformed"]);
    let mut measured = listening(move |heard| {
        scene()
            .account(Account::Server)
            .check(says(&["text/html"]))
            .check(logs(heard.clone(), &["content_type=\"text/html\"", r#"title="Sign\u{1b}[2J in""#]))
            .check(move |_, measured| {
                let lines = heard.lines();
                let is_quiet = lines.iter().all(|line| !line.contains("5 a day") && !line.contains('\u{1b}'));
                measured.expect(is_quiet, format!("more than its title is told: {lines:?}"));
            })
    })
    .await;
    // Not even where it does no harm to ask again, and no circuit is in the way.
    let safe = scene().tune(|_, config| {
        config.retry_safe = Some(ToolFilter::default());
        config.breaker = RuleOptions::never();
    });
    let again = safe.play().await;
    measured.problems.extend(again.problems);
    measured.sends = measured.sends.max(again.sends);
    measured
}

async fn session_gone() -> Measured {
    let mut measured = Measured::default();
    // Losses a while apart, and one after the other.
    for (losses, apart, is_failure) in [(4, Duration::from_secs(31), false), (3, Duration::ZERO, true)] {
        let what = format!("{losses} losses, {apart:?} apart");
        let web = McpHttpServer::start(sound());
        let mut config = remote("faulty", &web.url());
        config.breaker.failures_in_a_row = 1;
        let (client, recorder) = start([config], restarts(50));
        client.ready(PATIENCE * 60).await;
        for loss in 1..=losses {
            tokio::time::sleep(apart).await;
            web.forget_sessions();
            let lists = web.method("tools/list").len();
            let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
            measured.expect(class == "answered", format!("{what}: the caller got {class} ({text})"));
            let executed = web.executed();
            measured.expect(executed == loss, format!("{what}: {loss} calls were executed {executed} times"));
            let is_listed = || web.method("tools/list").len() > lists;
            measured.expect(
                process::until(PATIENCE * 60, is_listed).await,
                format!("{what}: its tools were not looked at"),
            );
            measured.got = class;
        }
        let opened = || recorder.circuits.lock().unwrap().iter().any(|line| line == "faulty closed>open");
        let holds = if is_failure { process::until(PATIENCE * 60, opened).await } else { !opened() };
        measured.expect(holds, format!("{what}: its circuit did {:?}", recorder.circuits.lock().unwrap()));
        client.close().await;
    }
    measured.sends = 1.0;
    measured
}

/// A server at an address that cannot work: its state says so, no call is sent, the others work.
pub(crate) async fn unreachable(url: &str, within: Duration) -> Measured {
    let mut measured = Measured::default();
    let innocent = innocent();
    let began = std::time::Instant::now();
    let (client, recorder) = start([remote("faulty", url), child("innocent", &innocent)], restarts(1));
    client.ready(PATIENCE).await;
    measured.in_time(began.elapsed() <= within, format!("it took {:?}", began.elapsed()));
    measured.late = began.elapsed().saturating_sub(within);
    let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(
        class == "unknown_tool" || class == "unavailable",
        format!("the caller got {class} ({text})"),
    );
    let failed = recorder.states("faulty").iter().any(|state| ["failed", "given up"].contains(state));
    measured.expect(failed, "its state does not say that it failed");
    measured.expect(ask_innocent(&client).await < Duration::MAX, "the other server failed");
    measured.got = class;
    client.close().await;
    measured.count_survivors(&[innocent.journal()]).await;
    measured
}

/// Lets every address pass, until the name turns private.
#[derive(Default)]
struct Rebinding {
    policy: Policy,
    turned: AtomicBool,
}

impl Guard for Rebinding {
    fn admit_command(&self, server: &ServerName, spec: LaunchSpec) -> Result<Admitted<LaunchSpec>, Refusal> {
        self.policy.admit_command(server, spec)
    }

    fn admit_url(&self, server: &ServerName, spec: RemoteSpec) -> Result<Admitted<RemoteSpec>, Refusal> {
        self.policy.admit_url(server, spec)
    }

    fn admit_address(&self, _: &ServerName, host: &str, address: IpAddr) -> Result<(), Refusal> {
        if self.turned.load(Ordering::SeqCst) {
            let reason = format!("{host} is {address} now");
            return Err(Refusal { rule: "private-address", reason, hint: String::new() });
        }
        Ok(())
    }
}

async fn rebound() -> Measured {
    let mut measured = Measured::default();
    let web = McpHttpServer::start(sound());
    let url = web.url().replace("127.0.0.1", "localhost");
    let guard = Arc::new(Rebinding::default());
    let mut config = remote("faulty", &url);
    // Its circuit stays out of it: the question is what the guard is asked.
    config.breaker = RuleOptions::never();
    let client = MultiMcpClient::start([config], guard.clone(), Arc::new(()), restarts(1));
    client.ready(PATIENCE).await;
    client.call(call("mcp__faulty__do", json!({}))).await.unwrap();
    guard.turned.store(true, Ordering::SeqCst);
    // The open connections go; every further one has to be dialled.
    web.fail(u32::MAX, HttpFault::Reset);
    let mut class = String::new();
    for _ in 0..8 {
        class = named(&client.call(call("mcp__faulty__do", json!({}))).await).0;
    }
    let before = web.messages().len();
    web.heal();
    let (last, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
    measured.expect(last == "refused", format!("the caller got {last} ({text}), after {class}"));
    let integrity = client.client("faulty").unwrap().status().integrity;
    measured.expect(integrity != Integrity::Clean, "nobody holds it against the server");
    measured.expect(web.messages().len() == before, "something was sent to the address that was refused");
    measured.got = last;
    client.close().await;
    measured
}

async fn redirected() -> Measured {
    let target = McpHttpServer::start(sound());
    let mut measured = Measured::default();
    for status in [301, 302, 303, 307, 308] {
        let web = McpHttpServer::start(sound());
        let mut config = remote("faulty", &web.url());
        if let mcp_client::Target::Http(spec) = &mut config.target {
            spec.headers.insert("x-api-key".into(), "hunter2-hunter2".into());
        }
        let (client, recorder) = start([config], restarts(50));
        client.ready(PATIENCE).await;
        web.fail_method("tools/call", 1, HttpFault::status(status).header("location", target.url()));
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        measured.expect(class == "refused", format!("{status}: the caller got {class} ({text})"));
        let integrity = client.client("faulty").unwrap().status().integrity;
        let suspicious = matches!(integrity, Integrity::Suspicious { .. });
        measured.expect(suspicious, format!("{status}: its honesty is {integrity:?}"));
        measured.expect(recorder.circuits.lock().unwrap().is_empty(), "a circuit noticed");
        measured.got = class;
        client.close().await;
    }
    let arrived = target.http().requests().len();
    measured.expect(arrived == 0, format!("{arrived} requests arrived at the other origin"));
    measured
}

/// A gigabyte of blanks in gzip: a megabyte.
fn bomb() -> Vec<u8> {
    let chunk = vec![b' '; 1 << 20];
    let mut packed = Vec::with_capacity(1 << 16);
    // A piece that stands for itself can be repeated.
    Compress::new(Compression::best(), false).compress_vec(&chunk, &mut packed, FlushCompress::Full).unwrap();
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..1024 {
        bomb.extend_from_slice(&packed);
    }
    bomb
}

/// The most memory that this process has had since [`forget_peak`], bytes.
fn peak_memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|one| one.strip_prefix(line))?;
    Some(kilobytes.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// From here on the peak counts; where the system lets us.
fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

async fn bombed() -> Measured {
    let mut measured = Measured::default();
    for kind in ["application/json", "text/event-stream"] {
        let engine = Mutex::new(Engine::stateless(sound()));
        let bomb = bomb();
        let server = HttpServer::start(Arc::new(move |request| {
            if request.method != "POST" {
                return HttpReply::empty(405);
            }
            let message = request.json();
            if message["method"] == "tools/call" {
                let mut reply = HttpReply::new(200, kind, "").header("content-encoding", "gzip");
                reply.body = Body::Whole(bomb.clone());
                return reply;
            }
            let steps = engine.lock().unwrap().receive(&message);
            let answer = steps.into_iter().find_map(|step| match step {
                Step::Send(message) => Some(message),
                _ => None,
            });
            answer.map_or_else(|| HttpReply::empty(202), |answer| HttpReply::json(200, &answer))
        }));
        let (client, _) = start([remote("faulty", &server.url("/mcp"))], restarts(50));
        client.ready(PATIENCE).await;
        forget_peak();
        let before = peak_memory("VmRSS:");
        let began = std::time::Instant::now();
        let (class, text) = named(&client.call(call("mcp__faulty__do", json!({}))).await);
        let took = began.elapsed();
        measured.expect(class == "too_large", format!("{kind}: the caller got {class} ({text:.200})"));
        measured.expect(text.contains("times"), format!("how far it swells is not told: {text:.200}"));
        measured.in_time(took <= std::time::Duration::from_secs(1), format!("{kind}: it took {took:?}"));
        if let (Some(before), Some(peak)) = (before, peak_memory("VmHWM:")) {
            let more = peak.saturating_sub(before) >> 20;
            measured.in_time(more <= 32, format!("{kind}: {more} MiB more"));
        }
        measured.got = class;
        client.close().await;
    }
    measured
}

async fn endless_list() -> Measured {
    // On a thread of its own, on which all that is said can be heard.
    let played = tokio::task::spawn_blocking(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(heard_endless_list())
    });
    played.await.unwrap()
}

/// How a list does not end.
#[derive(Debug, Clone, Copy)]
enum Endless {
    /// Each page names itself as the next one.
    Cursor,
    /// 60,000 tools, 600 a page.
    Tools,
}

impl Endless {
    /// What is said of it.
    fn words(self) -> &'static str {
        match self {
            Self::Cursor => "the server's pages repeat",
            Self::Tools => "the server has more than 10000 tools",
        }
    }

    /// What becomes of a page that ends the list.
    fn spoil(self, cursor: &Value, page: &mut Value) {
        match self {
            Self::Cursor => page["nextCursor"] = "again".into(),
            Self::Tools => {
                let number: usize =
                    cursor.as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or_default();
                let tools =
                    (0..600).map(|tool| json!({"name": format!("t{number}-{tool}"), "inputSchema": {}}));
                page["tools"] = tools.collect();
                if number < 99 {
                    page["nextCursor"] = (number + 1).to_string().into();
                }
            }
        }
    }
}

async fn heard_endless_list() -> Measured {
    let mut measured = Measured::default();
    let heard = Heard::new(|metadata| {
        metadata.is_event()
            && metadata.target().starts_with("mcp_")
            && *metadata.level() <= tracing::Level::WARN
    });
    let _hearing = crate::support::listen(heard.clone());
    for endless in [Endless::Cursor, Endless::Tools] {
        for is_known in [true, false] {
            let what = format!("{endless:?}, {}", if is_known { "later" } else { "at first" });
            let before = heard.lines().len();
            let ends = Arc::new(AtomicBool::new(is_known));
            let (seen, engine) = (ends.clone(), Mutex::new(Engine::stateless(sound())));
            let server = HttpServer::start(Arc::new(move |request| {
                if request.method != "POST" {
                    return HttpReply::empty(405);
                }
                let mut message = request.json();
                let ends = seen.load(Ordering::SeqCst);
                if message["method"] == "tools/call" && message["params"]["name"] == "do" && !ends {
                    // It makes its tools be listed again.
                    let error = json!({"code": -32602, "message": "Unknown tool: do"});
                    let answer = json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
                    return HttpReply::json(200, &answer);
                }
                let is_listing = message["method"] == "tools/list";
                let cursor = if is_listing { message["params"]["cursor"].take() } else { Value::Null };
                if let Some(params) = message["params"].as_object_mut().filter(|_| is_listing) {
                    params.remove("cursor");
                }
                let steps = engine.lock().unwrap().receive(&message);
                let answer = steps.into_iter().find_map(|step| match step {
                    Step::Send(message) => Some(message),
                    _ => None,
                });
                let Some(mut answer) = answer else { return HttpReply::empty(202) };
                if is_listing && !ends {
                    endless.spoil(&cursor, &mut answer["result"]);
                }
                HttpReply::json(200, &answer)
            }));
            let mut config = remote("faulty", &server.url("/mcp"));
            config.breaker.failures_in_a_row = 1;
            (config.breaker.open_base, config.breaker.open_cap) =
                (Duration::from_millis(50), Duration::from_millis(50));
            let mut options = restarts(50);
            options.relist_interval = Duration::from_millis(1);
            let (client, recorder) = start([config], options);
            let one = client.client("faulty").unwrap();
            let began = std::time::Instant::now();
            client.ready(PATIENCE).await;
            let said =
                || heard.lines().split_off(before).iter().filter(|l| l.contains("does not end")).count();
            if is_known {
                ends.store(false, Ordering::SeqCst);
                let _ = client.call(call("mcp__faulty__do", json!({}))).await;
            }
            let told = process::until(PATIENCE, || said() > 0).await;
            measured.expect(told, format!("{what}: nobody is told"));
            measured.in_time(
                began.elapsed() <= Duration::from_secs(30),
                format!("{what}: it took {:?}", began.elapsed()),
            );
            let opened = || recorder.circuits.lock().unwrap().iter().any(|line| line == "faulty closed>open");
            let charged = process::until(PATIENCE, opened).await;
            measured.expect(charged, format!("{what}: it was not charged to the server"));
            let names = tools(&client);
            if is_known {
                // What was listed before stays, and works.
                let before = ["mcp__faulty__do", "mcp__faulty__look"];
                measured.expect(names == before, format!("{what}: its tools are {names:?}"));
                let works = tokio::time::timeout(PATIENCE, until_answered(&client, "look")).await;
                measured.expect(works.is_ok(), format!("{what}: what there was does not work"));
            } else {
                // There is no list before it, and none of what it has begun is used.
                measured.expect(names.is_empty(), format!("{what}: its tools are {names:?}"));
                let state = one.state().borrow().clone();
                let holds = matches!(&state, ServerState::Unreachable { reason, retry_in: Some(_), .. }
                    if reason.contains(endless.words()));
                measured.expect(holds, format!("{what}: its state is {state:?}"));
                let (class, text) = named(&one.call_tool("look", Default::default()).await);
                let holds = class == "unavailable" && text.contains("does not end");
                measured.expect(holds, format!("{what}: the caller got {class} ({text})"));
                measured.got = class;
            }
            measured.expect(said() == 1, format!("{what}: it is told {} times", said()));
            // Once it ends, it is back without anybody's doing.
            ends.store(true, Ordering::SeqCst);
            let back = tokio::time::timeout(PATIENCE, until_answered(&client, "do")).await;
            measured.expect(back.is_ok(), format!("{what}: it did not come back"));
            client.close().await;
        }
    }
    measured
}
