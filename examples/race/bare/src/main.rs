//! The peer of `cargo xtask race`: rmcp alone, used as its own documentation shows it. No deadline, no check, no record.
//!
//! It speaks the same protocol as `massgen-race-contender`: `--server CMD_OR_URL --scenario NAME`.

#![allow(clippy::disallowed_methods, reason = "a program of its own, measured by the clock on the wall")]

use std::collections::BTreeMap;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use rmcp::model::CallToolRequestParams;
use rmcp::service::RunningService;
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Client = RunningService<RoleClient, ()>;

/// A line with characters that JSON must escape, as texts have them.
const LINE: &str = "The quick brown fox jumps over \"the lazy dog\" 0123456789 abcdefghij klmnop.\n";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: BTreeMap<&str, &str> = words
        .chunks(2)
        .filter_map(|pair| Some((pair.first()?.trim_start_matches("--"), pair.get(1)?.as_str())))
        .collect();
    let mut fields = match run(&options).await {
        Ok(fields) => fields,
        Err(error) => Map::from_iter([("error".to_owned(), json!(error.to_string()))]),
    };
    fields.insert("ok".to_owned(), json!(!fields.contains_key("error")));
    fields.insert("cpu_self_s".to_owned(), json!(cpu()));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", Value::Object(fields))?;
    Ok(())
}

async fn connect(server: &str) -> Result<(Client, Option<Child>), Failure> {
    if server.starts_with("http") {
        return Ok((().serve(StreamableHttpClientTransport::from_uri(server.to_owned())).await?, None));
    }
    let mut words = server.split_whitespace();
    let mut child = Command::new(words.next().ok_or("--server is missing")?)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let (read, write) = (child.stdout.take().ok_or("no pipe")?, child.stdin.take().ok_or("no pipe")?);
    Ok((().serve((read, write)).await?, Some(child)))
}

async fn run(options: &BTreeMap<&str, &str>) -> Result<Map<String, Value>, Failure> {
    let number = |key: &str, default: usize| {
        options.get(key).and_then(|value| value.parse::<usize>().ok()).unwrap_or(default)
    };
    let server = options.get("server").copied().unwrap_or_default();
    let scenario = options.get("scenario").copied().unwrap_or("seq");
    let payload = number("payload", 100);
    let tool = options.get("tool").copied().unwrap_or("echo").to_owned();
    let (key, value, least) = match tool.as_str() {
        "echo" => ("text", json!(LINE.chars().cycle().take(payload).collect::<String>()), payload),
        "big" => ("bytes", json!(payload), payload),
        _ => ("ms", json!(number("ms", 50)), 0),
    };
    let arguments = Map::from_iter([(key.to_owned(), value)]);
    let call = CallToolRequestParams::new(tool).with_arguments(arguments);
    let before = cpu();
    let begun = Instant::now();
    if scenario == "connect" {
        let starting: Vec<_> = (0..number("servers", 1))
            .map(|_| {
                let server = server.to_owned();
                tokio::spawn(async move {
                    let (client, child) = connect(&server).await?;
                    let tools = client.list_all_tools().await?;
                    Ok::<_, Failure>((client, child, tools))
                })
            })
            .collect();
        let mut kept = Vec::new();
        for start in starting {
            kept.push(start.await??);
        }
        let tools: usize = kept.iter().map(|(_, _, tools)| tools.len()).sum();
        let fields = json!({
            "wall_s": begun.elapsed().as_secs_f64(), "cpu_connect_s": cpu() - before, "tools": tools, "rss_kb": memory(),
        });
        return Ok(fields.as_object().cloned().unwrap_or_default());
    }
    let (client, _child) = connect(server).await?;
    let one = async || -> Result<Duration, Failure> {
        let begun = Instant::now();
        if scenario == "list" {
            client.list_all_tools().await?;
            return Ok(begun.elapsed());
        }
        let answer = client.peer().call_tool(call.clone()).await?;
        let elapsed = begun.elapsed();
        let text = answer.content.first().and_then(|block| block.as_text()).map_or(0, |text| text.text.len());
        if text < least { Err("a wrong answer".into()) } else { Ok(elapsed) }
    };
    if scenario == "cold" {
        one().await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        return Ok(Map::from_iter([("first_result_unix_s".to_owned(), json!(now.as_secs_f64()))]));
    }
    for _ in 0..number("warmup", if scenario == "list" { 1 } else { 200 }) {
        one().await?;
    }
    let calls = number("calls", 1000);
    let before = cpu();
    let begun = Instant::now();
    let mut times = Vec::with_capacity(calls);
    if scenario == "conc" {
        let flight = number("inflight", 16).max(1);
        let callers: Vec<_> = (0..flight)
            .map(|caller| {
                let (peer, call) = (client.peer().clone(), call.clone());
                let share = calls / flight + usize::from(caller < calls % flight);
                tokio::spawn(async move {
                    let mut times = Vec::with_capacity(share);
                    for _ in 0..share {
                        let begun = Instant::now();
                        peer.call_tool(call.clone()).await?;
                        times.push(begun.elapsed());
                    }
                    Ok::<_, Failure>(times)
                })
            })
            .collect();
        for caller in callers {
            times.extend(caller.await??);
        }
    } else {
        for _ in 0..calls {
            times.push(one().await?);
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    let used = cpu() - before;
    times.sort_unstable();
    let middle = times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6);
    let count = times.len().max(1) as f64;
    let fields = json!({
        "n": times.len(), "p50_us": middle, "wall_s": wall, "calls_per_s": count / wall,
        "cpu_us_per_call": used * 1e6 / count,
    });
    Ok(fields.as_object().cloned().unwrap_or_default())
}

/// What Linux tells about this process's memory, kB.
fn memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Seconds of processor time that this process used.
#[cfg(unix)]
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(not(unix))]
fn cpu() -> f64 {
    0.0
}
