//! What servers answer, replayed: over a real pipe or a real socket into a session of mcp-transport, so that its framing,
//! its limits and its reading of results are the ones that are judged.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use mcp_core::{
    Admitted, Guard, JsonObject, LaunchSpec, RemoteSpec, ServerName, ToolError, ToolName, ToolOutput,
};
use mcp_security::{Policy, Redactor, Rules, result};
use mcp_transport::{Breach, BreachSink, EraPolicy, Notice, Session, SessionOptions};
use serde_json::{Value, json};

use super::expand;
use super::judge::Answer;

/// How long an answer may take. Those that never come take this long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Cases at the same time; each is one thread.
const AT_ONCE: usize = 8;

/// Judges all cases of the category.
pub(super) fn all(cases: &[Value]) -> Result<BTreeMap<String, Answer>> {
    let cases: Vec<&Value> = cases.iter().filter(|case| case["category"] == "response").collect();
    let (next, answers) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(cases.len()) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let id = case["id"].as_str().unwrap_or_default().to_owned();
                    let answer = judge(&expand::expand(&case["input"]))
                        .unwrap_or_else(|error| Answer::new("error", format!("{error:#}")));
                    if let Ok(mut answers) = answers.lock() {
                        answers.insert(id, answer);
                    }
                }
            });
        }
    });
    Ok(answers.into_inner().unwrap_or_default())
}

/// Whether something was logged as a warning, or told as a breach or as no message, while a case was under way, which is how
/// the transport tells.
#[derive(Clone, Default)]
struct Warned {
    warnings: Arc<AtomicUsize>,
    /// Times to wait that were not kept to.
    waits: Arc<AtomicUsize>,
}

impl tracing::Subscriber for Warned {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN && metadata.target().starts_with("mcp_")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl BreachSink for Warned {
    fn breach(&self, _: &ServerName, _: Breach) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
    }

    fn notice(&self, _: &ServerName, notice: Notice) {
        match notice {
            Notice::Retry { .. } => self.waits.fetch_add(1, Ordering::Relaxed),
            // Whoever uses the transport says so; mcp-client once an hour.
            Notice::Chatter { .. } => self.warnings.fetch_add(1, Ordering::Relaxed),
            _ => 0,
        };
    }
}

fn judge(input: &Value) -> Result<Answer> {
    let warned = Warned::default();
    // Everything of this case happens on this thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tracing::subscriber::with_default(warned.clone(), || runtime.block_on(play(input, &warned)))
}

/// What a replayed server does is written into a file for it.
fn script(input: &Value) -> Result<std::path::PathBuf> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("massgen-replay-{}-{number}.json", std::process::id()));
    std::fs::write(&path, serde_json::to_vec(input)?).context("cannot write a case for its server")?;
    Ok(path)
}

async fn play(input: &Value, warned: &Warned) -> Result<Answer> {
    let server = ServerName::new("replay")?;
    let mut options = SessionOptions::default();
    options.era = EraPolicy::Legacy;
    options.close_grace = Duration::from_millis(200);
    options.breaches = Some(Arc::new(warned.clone()));
    let opened = match input["transport"].as_str() {
        Some("http" | "sse") => {
            let url = offer(input.clone())?;
            let guard: Arc<dyn Guard> = Arc::new(Policy::new(Rules::default()));
            let spec = RemoteSpec { url: url.parse()?, headers: BTreeMap::new() };
            let remote = guard.admit_url(&server, spec)?;
            Session::http(server, remote, guard, options).await
        }
        _ => {
            let path = script(input)?;
            let launch = LaunchSpec {
                program: std::env::current_exe()?.to_string_lossy().into_owned(),
                args: vec!["corpus".into(), "--replay".into(), path.to_string_lossy().into_owned()],
                ..LaunchSpec::default()
            };
            let opened = Session::stdio(server, Admitted::by_guard(launch), options).await;
            let _ = std::fs::remove_file(&path);
            opened
        }
    };
    let session = opened.context("the replayed server did not open")?;
    let before = warned.warnings.load(Ordering::Relaxed);
    let pending = input["pending"].as_array().map_or(0, Vec::len);
    let mut outcomes = Vec::new();
    if input["method"] == "tools/list" {
        let listed = tokio::time::timeout(PATIENCE, session.list_tools()).await;
        outcomes.push(match listed {
            Ok(Ok(list)) if list.truncated.is_none() => Ok(ToolOutput::default()),
            Ok(Ok(_)) => Err("truncated".to_owned()),
            Ok(Err(error)) => Err(class(&error)),
            Err(_) => Err("timeout".to_owned()),
        });
    } else if input["method"] == "ping" || pending == 0 {
        let asked = tokio::time::timeout(PATIENCE, session.ping()).await;
        outcomes.push(match asked {
            Ok(Ok(())) => Ok(ToolOutput::default()),
            Ok(Err(error)) => Err(class(&error)),
            Err(_) => Err("timeout".to_owned()),
        });
    } else {
        let calls = (0..pending).map(|_| {
            let session = session.clone();
            async move {
                let tool = ToolName::new("tool").map_err(|error| error.to_string())?;
                match tokio::time::timeout(PATIENCE, session.call_tool(&tool, JsonObject::new(), None)).await
                {
                    Ok(Ok(output)) => Ok(output),
                    Ok(Err(error)) => Err(class(&error)),
                    Err(_) => Err("timeout".to_owned()),
                }
            }
        });
        outcomes = join(calls.map(Box::pin).collect()).await;
    }
    let warnings = warned.warnings.load(Ordering::Relaxed) - before;
    session.close().await;
    let answer = verdict(input, outcomes, warnings);
    // A stream that ends without an answer was not refused by us, and neither was what it says of when it is to be opened again.
    let is_open = answer.verdict == "allow" || answer.rule.as_deref() == Some("server");
    let corrected = is_open && warned.waits.load(Ordering::Relaxed) > 0;
    Ok(if corrected { Answer::new("sanitize", "retry") } else { answer })
}

/// All of them at the same time, in order.
async fn join<F: Future>(futures: Vec<std::pin::Pin<Box<F>>>) -> Vec<F::Output> {
    let mut slots: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    std::future::poll_fn(|cx| {
        let mut waiting = false;
        for (future, done) in &mut slots {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    slots.into_iter().filter_map(|(_, done)| done).collect()
}

fn class(error: &ToolError) -> String {
    match error {
        // What a server itself says is an error is handed on as one.
        ToolError::Server { .. } => "server".to_owned(),
        ToolError::Http { .. } => "http 0".to_owned(),
        ToolError::Throttled { retry_after, .. } => {
            format!("http {}", retry_after.map_or(0, |after| after.as_secs()))
        }
        ToolError::Timeout { .. } => "timeout".to_owned(),
        ToolError::Malformed { .. } | ToolError::TooLarge { .. } => "malformed".to_owned(),
        other => format!("{:?}", other.kind()).to_lowercase(),
    }
}

fn verdict(input: &Value, outcomes: Vec<Result<ToolOutput, String>>, warnings: usize) -> Answer {
    let redactor = Redactor::default();
    for (name, _) in input["secrets"].as_object().into_iter().flatten() {
        if let Some(secret) = expand::secret(name) {
            redactor.register(secret);
        }
    }
    // An error that the server itself gave is handed on as one; one that stands in for its answer is a refusal.
    let own_error = input["frames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .any(|f| f.contains("\"error\""));
    for outcome in &outcomes {
        if let Err(class) = outcome
            && (class != "server" || !own_error)
        {
            // A wait that the server named and that was not taken at its word.
            let named = input["http"]["headers"]["Retry-After"].as_str();
            return match (named, class.strip_prefix("http ")) {
                (Some(named), Some(kept)) if named != kept => Answer::new("sanitize", "retry-after"),
                (Some(_), Some(_)) => Answer::new("allow", "retry-after"),
                _ => Answer::new("block", class.clone()),
            };
        }
    }
    for output in outcomes.iter().flatten() {
        let text = output.to_text();
        if redactor.redact(&text) != text {
            return Answer::new("sanitize", "secret");
        }
        if let Some(found) = result::findings(output).first() {
            return Answer::new("flag", found.rule);
        }
        if result::presentable(output).is_some() {
            return Answer::new("sanitize", "control-character");
        }
    }
    if warnings > 0 { Answer::new("flag", "warning") } else { Answer::new("allow", "") }
}

/// The frames of a case for requests with these ids.
fn frames(input: &Value, ids: &[Value]) -> Vec<Vec<u8>> {
    let raw: Vec<Vec<u8>> = match input["frames_hex"].as_str() {
        Some(hex) => {
            let bytes = hex.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
            let bytes: Vec<u8> = bytes.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
            bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(<[u8]>::to_vec).collect()
        }
        None => {
            let frames = input["frames"].as_array().into_iter().flatten();
            frames.filter_map(Value::as_str).map(|frame| frame.as_bytes().to_vec()).collect()
        }
    };
    let pending: Vec<Value> = input["pending"].as_array().cloned().unwrap_or_default();
    let with_ids = |frame: Vec<u8>| {
        // A flood has no id that matters.
        if frame.len() > 1 << 20 && !frame.starts_with(b"{\"jsonrpc\"") {
            return frame;
        }
        let mut frame = frame;
        for (wanted, id) in pending.iter().zip(ids).rev() {
            for key in ["\"id\":", "\"ID\":"] {
                for blank in ["", " "] {
                    let plain = format!("{key}{blank}{wanted}");
                    let quoted = format!("{key}{blank}\"{wanted}\"");
                    frame = replaced(&frame, plain.as_bytes(), format!("{key}{blank}{id}").as_bytes());
                    let other = match id {
                        Value::String(text) => text.clone(),
                        number => format!("\"{number}\""),
                    };
                    frame = replaced(&frame, quoted.as_bytes(), format!("{key}{blank}{other}").as_bytes());
                }
            }
        }
        frame
    };
    raw.into_iter().map(with_ids).collect()
}

/// The first occurrences near the beginning and the end; what lies between is a text.
fn replaced(frame: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut done = Vec::with_capacity(frame.len() + 32);
    let mut at = 0;
    while at < frame.len() {
        let ends = |next: Option<&u8>| next.is_none_or(|next| !next.is_ascii_digit());
        if frame[at..].starts_with(from) && ends(frame.get(at + from.len())) {
            done.extend_from_slice(to);
            at += from.len();
        } else {
            done.push(frame[at]);
            at += 1;
        }
    }
    done
}

fn greeting(id: &Value, version: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {
        "protocolVersion": version.as_str().unwrap_or("2025-06-18"),
        "capabilities": {"tools": {"listChanged": true}},
        "serverInfo": {"name": "replay", "version": "1"},
    }})
}

/// The replayed server itself, over standard input and output.
pub(super) fn serve(files: &[String]) -> Result<()> {
    let path = files.first().context("which case?")?;
    let input: Value = serde_json::from_slice(&std::fs::read(path)?)?;
    let wanted = input["pending"].as_array().map_or(1, |pending| pending.len().max(1));
    let mut ids = Vec::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?)?;
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
        match method {
            "initialize" => writeln!(out, "{}", greeting(id, &message["params"]["protocolVersion"]))?,
            "tools/call" | "tools/list" | "ping" if !id.is_null() && ids.len() < wanted => {
                ids.push(id.clone());
                if ids.len() == wanted {
                    for frame in frames(&input, &ids) {
                        out.write_all(&frame)?;
                        out.write_all(b"\n")?;
                    }
                    // Nothing was pending: the question that woke us is answered.
                    if input["pending"].as_array().is_none_or(Vec::is_empty) {
                        writeln!(out, "{}", json!({"jsonrpc": "2.0", "id": id, "result": {}}))?;
                    }
                }
            }
            // A cursor that the case has not seen before leads to the end.
            "tools/list" if !id.is_null() && is_new(&input, &message["params"]["cursor"]) => {
                writeln!(out, "{}", json!({"jsonrpc": "2.0", "id": id, "result": {"tools": []}}))?;
            }
            // A second page is the first one again.
            "tools/list" if !id.is_null() => {
                for frame in frames(&input, std::slice::from_ref(id)) {
                    out.write_all(&frame)?;
                    out.write_all(b"\n")?;
                }
            }
            _ => {}
        }
        out.flush()?;
    }
    Ok(())
}

/// Whether a cursor is another than the one that the case says was used last, if any was.
fn is_new(input: &Value, cursor: &Value) -> bool {
    cursor.is_string() && &input["server_state"]["last_cursor"] != cursor
}

/// The replayed server over HTTP, on a port of its own, for as long as the program runs.
fn offer(input: Value) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/mcp", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let input = input.clone();
            std::thread::spawn(move || answer(stream, &input));
        }
    });
    Ok(url)
}

fn answer(stream: TcpStream, input: &Value) -> Result<()> {
    let mut reader = std::io::BufReader::new(stream.try_clone()?);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    std::io::Read::read_exact(&mut reader, &mut body)?;
    let mut out = stream;
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
    let mut reply = |status: u64, kind: &str, headers: &str, body: &[u8]| -> Result<()> {
        let length = if kind == "text/event-stream" {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        write!(
            out,
            "HTTP/1.1 {status} Status\r\nContent-Type: {kind}\r\n{length}{headers}Connection: close\r\n\r\n"
        )?;
        out.write_all(body)?;
        Ok(())
    };
    if !first.starts_with("POST") {
        return reply(405, "text/plain", "", b"");
    }
    match method {
        "initialize" => {
            let greeting = greeting(id, &message["params"]["protocolVersion"]).to_string();
            reply(200, "application/json", "", greeting.as_bytes())
        }
        "tools/call" | "tools/list" | "ping" if input["transport"] == "http" => {
            let http = &input["http"];
            let mut headers = String::new();
            for (name, value) in http["headers"].as_object().into_iter().flatten() {
                headers.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap_or_default()));
            }
            if let Some(encoding) = http["content_encoding"].as_str() {
                headers.push_str(&format!("Content-Encoding: {encoding}\r\n"));
            }
            // A compressed flood is as good as a little of it: it is not unpacked.
            let body = match &http["body"] {
                Value::String(text) => {
                    let frames = frames(
                        &json!({"frames": [text], "pending": input["pending"]}),
                        std::slice::from_ref(id),
                    );
                    frames.into_iter().next().unwrap_or_default()
                }
                Value::Null => Vec::new(),
                _ => vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0],
            };
            let kind = http["content_type"].as_str().unwrap_or("application/json");
            reply(http["status"].as_u64().unwrap_or(200), kind, &headers, &body)
        }
        "tools/call" | "tools/list" | "ping" => {
            let body: Vec<u8> = frames(input, std::slice::from_ref(id)).concat();
            reply(200, "text/event-stream", "", &body)
        }
        _ => reply(202, "application/json", "", b""),
    }
}
