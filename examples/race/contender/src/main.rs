//! A client under measurement: speaks the protocol of `cargo xtask race` and makes every call through the whole
//! pipeline of [`MultiMcpClient`].
//!
//! ```text
//! massgen-race-contender --server CMD_OR_URL --scenario NAME [--key value ...]
//! ```
//!
//! The scenarios are `cold`, `seq`, `conc`, `list`, `connect`, `crash`, `hang` and `hanginit`; the last line of the output
//! is one JSON object. It runs on one thread, as `massgen` itself does; `--runtime multi` runs on as many as there are cores.
//! Which generation of the protocol is spoken is found out; `--era legacy` or `--era modern` says it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use mcp_client::{ClientOptions, MultiMcpClient, ServerConfig, ServerState, Target};
use mcp_core::{
    CallId, Content, ExposedName, Guard, JsonObject, LaunchSpec, RemoteSpec, ServerName, ToolCall, ToolError,
    ToolName, ToolOutput, ToolService,
};
use mcp_security::{Level, Policy, Rules};
use mcp_transport::{EraPolicy, Session, SessionOptions};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// As in `massgen`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;
type Fields = Map<String, Value>;

/// A line with characters that JSON must escape, as texts have them.
const LINE: &str = "The quick brown fox jumps over \"the lazy dog\" 0123456789 abcdefghij klmnop.\n";

fn main() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1));
    let mut runtime = match options.text("runtime", "current") {
        "multi" => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    // As in `massgen`.
    runtime.on_thread_park(mcp_transport::pause);
    let runtime = runtime.enable_all().build()?;
    let scenario = options.text("scenario", "seq").to_owned();
    let mut fields = Fields::new();
    fields.insert("contender".to_owned(), json!("mcp-client"));
    fields.insert("scenario".to_owned(), json!(scenario));
    // A task, as every agent of a team is one.
    match runtime.block_on(runtime.spawn(run(options)))? {
        Ok(measured) => {
            fields.insert("ok".to_owned(), json!(true));
            fields.extend(measured);
        }
        Err(error) => {
            fields.insert("ok".to_owned(), json!(false));
            fields.insert("error".to_owned(), json!(error.to_string()));
        }
    }
    for (key, value) in memory() {
        fields.entry(key).or_insert(value);
    }
    fields.insert("cpu_self_s".to_owned(), json!(cpu()));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", Value::Object(fields))?;
    out.flush()?;
    runtime.shutdown_background();
    Ok(())
}

async fn run(options: Options) -> Result<Fields, Failure> {
    match options.text("scenario", "seq") {
        "cold" => cold(&options).await,
        "seq" | "conc" => calls(&options).await,
        "list" => list(&options).await,
        "connect" => connect(&options).await,
        "crash" => crash(&options).await,
        "hang" => hang(&options).await,
        "hanginit" => hanging_start(&options).await,
        other => Err(format!("no scenario {other:?}").into()),
    }
}

/// `--key value` pairs; unknown keys are nobody's business.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Self {
        let mut map = BTreeMap::new();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            map.insert(key.trim_start_matches("--").to_owned(), value);
        }
        Self(map)
    }

    fn text<'a>(&'a self, key: &str, default: &'a str) -> &'a str {
        self.0.get(key).map_or(default, String::as_str)
    }

    fn number(&self, key: &str, default: usize) -> usize {
        self.0.get(key).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn cap(&self) -> Duration {
        Duration::from_secs(self.number("cap", 30) as u64)
    }

    fn server(&self) -> Result<Target, Failure> {
        let server = self.text("server", "");
        if server.starts_with("http") {
            return Ok(Target::Http(RemoteSpec { url: server.parse()?, headers: BTreeMap::new() }));
        }
        let mut words = words(server).into_iter();
        let program = words.next().ok_or("--server is missing")?;
        let mut spec = LaunchSpec::default();
        (spec.program, spec.args) = (program, words.collect());
        spec.env.insert("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
        Ok(Target::Stdio(spec))
    }

    /// The call, and the least length of a right answer.
    fn call(&self) -> Result<(ToolCall, usize), Failure> {
        let payload = self.number("payload", 100);
        let (key, value, least) = match self.text("tool", "echo") {
            "echo" => {
                let text: String = LINE.chars().cycle().take(payload).collect();
                (self.text("argkey", "text"), json!(text), payload)
            }
            "big" => ("bytes", json!(payload), payload),
            _ => ("ms", json!(self.number("ms", 50)), 0),
        };
        let tool = ToolName::new(self.text("tool", "echo"))?;
        let exposed = ExposedName::for_tool(&ServerName::new("s0")?, &tool);
        let arguments = JsonObject::from_iter([(key.to_owned(), value)]);
        Ok((ToolCall::new(CallId::new("call"), exposed.as_str(), arguments), least))
    }
}

/// Splits a command line; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') if word.is_empty() => {}
            (None, ' ') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Loopback addresses are where the servers under measurement are.
fn guard() -> Arc<dyn Guard> {
    Arc::new(Policy::new(Rules::at(Level::Permissive)))
}

/// Starts so many clones of the server and waits until all are ready.
async fn client(options: &Options, servers: usize) -> Result<MultiMcpClient, Failure> {
    let target = options.server()?;
    let era = match options.text("era", "auto") {
        "legacy" => EraPolicy::Legacy,
        "modern" => EraPolicy::Modern,
        _ => EraPolicy::Auto,
    };
    let config = |n| -> Result<ServerConfig, Failure> {
        let mut config = ServerConfig::new(ServerName::new(format!("s{n}"))?, target.clone());
        config.era = era;
        Ok(config)
    };
    let configs = (0..servers).map(config).collect::<Result<Vec<_>, Failure>>()?;
    let client = MultiMcpClient::start(configs, guard(), Arc::new(()), ClientOptions::default());
    for status in client.ready(options.cap()).await {
        if !matches!(status.state, ServerState::Ready { .. }) {
            return Err(format!("server {}: {}", status.name, status.state).into());
        }
    }
    Ok(client)
}

fn check(answer: Result<ToolOutput, ToolError>, least: usize) -> Result<(), Failure> {
    let answer = answer?;
    // In its place: to copy it would be measured, too.
    let length = |block: &Content| if let Content::Text(text) = block { text.len() } else { 0 };
    if answer.content.iter().map(length).sum::<usize>() < least {
        let text: String = answer.to_text().chars().take(80).collect();
        return Err(format!("a wrong answer: {text:?}").into());
    }
    Ok(())
}

async fn cold(options: &Options) -> Result<Fields, Failure> {
    let client = client(options, 1).await?;
    let (call, least) = options.call()?;
    check(client.call(call).await, least)?;
    // At once: reading how much memory there is takes a millisecond.
    let first_result = clock(Clock::Monotonic);
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?;
    let mut fields = memory();
    fields.insert("t_first_result_mono_ns".to_owned(), json!(first_result));
    fields.insert("first_result_unix_s".to_owned(), json!(now.as_secs_f64()));
    client.close().await;
    Ok(fields)
}

async fn calls(options: &Options) -> Result<Fields, Failure> {
    let client = client(options, 1).await?;
    let (call, least) = options.call()?;
    let count = options.number("calls", 1000);
    for _ in 0..options.number("warmup", 200) {
        check(client.call(call.clone()).await, least)?;
    }
    let flight = match options.text("scenario", "seq") {
        "conc" => options.number("inflight", 16).max(1),
        _ => 1,
    };
    let before = cpu();
    let begun = Instant::now();
    let mut times = Vec::with_capacity(count);
    if flight == 1 {
        for _ in 0..count {
            let begun = Instant::now();
            let answer = client.call(call.clone()).await;
            times.push(begun.elapsed());
            check(answer, least)?;
        }
    } else {
        let mut callers: JoinSet<Result<Vec<Duration>, Failure>> = JoinSet::new();
        for caller in 0..flight {
            let (client, call) = (client.clone(), call.clone());
            let share = count / flight + usize::from(caller < count % flight);
            callers.spawn(async move {
                let mut times = Vec::with_capacity(share);
                for _ in 0..share {
                    let begun = Instant::now();
                    let answer = client.call(call.clone()).await;
                    times.push(begun.elapsed());
                    check(answer, least)?;
                }
                Ok(times)
            });
        }
        while let Some(caller) = callers.join_next().await {
            times.extend(caller??);
        }
    }
    let fields = figures(times, begun.elapsed(), cpu() - before);
    client.close().await;
    Ok(fields)
}

async fn list(options: &Options) -> Result<Fields, Failure> {
    let (server, session) = (ServerName::new("s0")?, SessionOptions::default());
    let guard = guard();
    let session = match options.server()? {
        Target::Stdio(spec) => {
            Session::stdio(server.clone(), guard.admit_command(&server, spec)?, session).await?
        }
        Target::Http(spec) => {
            let admitted = guard.admit_url(&server, spec)?;
            Session::http(server, admitted, guard, session).await?
        }
        _ => return Err("no such server".into()),
    };
    let mut tools = session.list_tools().await?.tools.len();
    let before = cpu();
    let begun = Instant::now();
    let mut times = Vec::new();
    for _ in 0..options.number("calls", 20) {
        let begun = Instant::now();
        let list = session.list_tools().await?;
        times.push(begun.elapsed());
        tools = tools.min(list.tools.len());
    }
    let mut fields = figures(times, begun.elapsed(), cpu() - before);
    fields.insert("tools".to_owned(), json!(tools));
    session.close().await;
    Ok(fields)
}

async fn connect(options: &Options) -> Result<Fields, Failure> {
    let before = cpu();
    let begun = Instant::now();
    let client = client(options, options.number("servers", 1)).await?;
    let tools = client.catalogue().len();
    let mut fields = Fields::new();
    fields.insert("wall_s".to_owned(), json!(begun.elapsed().as_secs_f64()));
    fields.insert("cpu_connect_s".to_owned(), json!(cpu() - before));
    fields.insert("tools".to_owned(), json!(tools));
    fields.extend(memory());
    client.close().await;
    Ok(fields)
}

/// Waits for a call that cannot go well, at most for the cap.
async fn outcome(client: &MultiMcpClient, call: ToolCall, cap: Duration) -> (String, f64) {
    let begun = Instant::now();
    let outcome = match timeout(cap, client.call(call)).await {
        Ok(Ok(output)) if output.is_error => format!("tool error: {}", output.to_text()),
        Ok(Ok(_)) => "answer".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "nothing within the cap".to_owned(),
    };
    (outcome, begun.elapsed().as_secs_f64() * 1000.0)
}

async fn crash(options: &Options) -> Result<Fields, Failure> {
    let client = client(options, 1).await?;
    let (echo, _) = options.call()?;
    let mut call = echo.clone();
    call.tool = ExposedName::for_tool(&ServerName::new("s0")?, &ToolName::new("crash")?).to_string();
    call.arguments = JsonObject::from_iter([("ms".to_owned(), json!(options.number("ms", 200)))]);
    let (first, elapsed) = outcome(&client, call, options.cap()).await;
    let (next, next_ms) = outcome(&client, echo, options.cap()).await;
    let fields = json!({"outcome": first, "elapsed_ms": elapsed, "next": next, "next_ms": next_ms});
    Ok(fields.as_object().cloned().unwrap_or_default())
}

async fn hang(options: &Options) -> Result<Fields, Failure> {
    let client = client(options, 1).await?;
    let (mut call, _) = options.call()?;
    call.tool = ExposedName::for_tool(&ServerName::new("s0")?, &ToolName::new("sleep")?).to_string();
    call.arguments = JsonObject::from_iter([("ms".to_owned(), json!(options.number("ms", 3_600_000)))]);
    let (outcome, elapsed) = outcome(&client, call, options.cap()).await;
    let fields = json!({"outcome": outcome, "elapsed_ms": elapsed});
    Ok(fields.as_object().cloned().unwrap_or_default())
}

async fn hanging_start(options: &Options) -> Result<Fields, Failure> {
    let begun = Instant::now();
    let outcome = match client(options, 1).await {
        Ok(_) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    let fields = json!({"outcome": outcome, "elapsed_ms": begun.elapsed().as_secs_f64() * 1000.0});
    Ok(fields.as_object().cloned().unwrap_or_default())
}

fn figures(mut times: Vec<Duration>, wall: Duration, cpu: f64) -> Fields {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let last = times.len().saturating_sub(1);
    let at = |share: f64| times.get((last as f64 * share).round() as usize).map_or(0.0, |time| micros(*time));
    let count = times.len().max(1) as f64;
    let fields = json!({
        "n": times.len(),
        "p50_us": at(0.5),
        "p90_us": at(0.9),
        "p99_us": at(0.99),
        "max_us": at(1.0),
        "mean_us": micros(times.iter().sum()) / count,
        "wall_s": wall.as_secs_f64(),
        "calls_per_s": count / wall.as_secs_f64(),
        "cpu_us_per_call": cpu * 1e6 / count,
    });
    fields.as_object().cloned().unwrap_or_default()
}

enum Clock {
    Monotonic,
    Cpu,
}

/// Nanoseconds.
#[cfg(unix)]
fn clock(clock: Clock) -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    let id = match clock {
        Clock::Monotonic => ClockId::Monotonic,
        Clock::Cpu => ClockId::ProcessCPUTime,
    };
    let time = clock_gettime(id);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(not(unix))]
fn clock(_: Clock) -> u64 {
    0
}

/// Seconds of processor time that this process used.
fn cpu() -> f64 {
    clock(Clock::Cpu) as f64 / 1e9
}

/// What Linux tells about this process's memory, kB, and its threads.
fn memory() -> Fields {
    let mut fields = Fields::new();
    for (file, names) in [
        ("/proc/self/status", &[("VmRSS:", "rss_kb"), ("VmHWM:", "hwm_kb"), ("Threads:", "threads")][..]),
        ("/proc/self/smaps_rollup", &[("Pss:", "pss_kb")][..]),
    ] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for (label, key) in names {
            let line = text.lines().find_map(|line| line.strip_prefix(label));
            let value = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            if let Some(value) = value {
                fields.insert((*key).to_owned(), json!(value));
            }
        }
    }
    fields
}
