//! The two ends of what is possible in `cargo xtask race`: a server that costs next to nothing, and a client that does
//! next to nothing. Neither knows MCP beyond the lines it needs, and both block.
//!
//! `--serve stdio` and `--serve ADDRESS` (HTTP, answers as JSON) are the server; else it is a client that speaks the same
//! protocol as `massgen-race-contender`, for the scenarios `cold`, `seq` and `conc`.

#![allow(clippy::disallowed_methods, reason = "a program of its own, measured by the clock on the wall")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A line with characters that JSON must escape, as texts have them.
const LINE: &str = "The quick brown fox jumps over \"the lazy dog\" 0123456789 abcdefghij klmnop.\n";

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let options: BTreeMap<&str, &str> = words
        .chunks(2)
        .filter_map(|pair| Some((pair.first()?.trim_start_matches("--"), pair.get(1)?.as_str())))
        .collect();
    match options.get("serve") {
        Some(&"stdio") => serve_lines(),
        Some(address) => serve_http(address),
        None => client(&options),
    }
}

/// What the server looks at.
#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a str>,
    #[serde(borrow)]
    params: Option<Params<'a>>,
}

#[derive(Deserialize)]
struct Params<'a> {
    #[serde(borrow)]
    arguments: Option<Arguments<'a>>,
    #[serde(borrow, rename = "protocolVersion")]
    version: Option<&'a str>,
}

#[derive(Deserialize)]
struct Arguments<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    ms: Option<u64>,
}

/// The answer to a message, if it takes one.
fn answer(message: &[u8]) -> Option<String> {
    let asked = serde_json::from_slice::<Asked<'_>>(message).ok()?;
    let id = asked.id?.get();
    let result = match asked.method? {
        "initialize" => {
            let version = asked.params?.version?;
            format!(
                r#"{{"protocolVersion":"{version}","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"floor","version":"1"}}}}"#
            )
        }
        "tools/list" => r#"{"tools":[{"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}},{"name":"sleep","inputSchema":{"type":"object","properties":{"ms":{"type":"integer"}}}}]}"#.to_owned(),
        "tools/call" => {
            let arguments = asked.params?.arguments?;
            if let Some(ms) = arguments.ms {
                std::thread::sleep(Duration::from_millis(ms));
            }
            let text = arguments.text.map_or("\"slept\"", RawValue::get);
            format!(r#"{{"content":[{{"type":"text","text":{text}}}]}}"#)
        }
        "ping" => "{}".to_owned(),
        _ => {
            return Some(format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"no such method"}}}}"#
            ));
        }
    };
    Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn serve_lines() -> Result<(), Failure> {
    let mut input = BufReader::with_capacity(64 * 1024, std::io::stdin().lock());
    let mut output = BufWriter::with_capacity(64 * 1024, std::io::stdout().lock());
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if let Some(answer) = answer(&line) {
            output.write_all(answer.as_bytes())?;
            output.write_all(b"\n")?;
        }
        // As long as there is more to read, answers wait for each other.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
}

fn serve_http(address: &str) -> Result<(), Failure> {
    let listener = TcpListener::bind(address)?;
    for stream in listener.incoming() {
        let stream = stream?;
        std::thread::Builder::new().stack_size(128 * 1024).spawn(move || {
            // Whoever hangs up has what it wanted.
            let _ = serve_connection(&stream);
        })?;
    }
    Ok(())
}

fn serve_connection(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::new(stream);
    let mut output = stream;
    while let Some((first, body)) = read_http(&mut input)? {
        let reply = match (first.starts_with("POST "), answer(&body)) {
            (true, Some(answer)) => format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            ),
            (true, None) => "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            (false, _) => "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n".to_owned(),
        };
        output.write_all(reply.as_bytes())?;
    }
    Ok(())
}

/// The first line and the body of an HTTP message; `None`: there is no more.
fn read_http(input: &mut impl BufRead) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    if input.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        line.clear();
        if input.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim_end().is_empty() {
            break;
        }
        if let Some((key, value)) = line.split_once(':')
            && key.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Some((first, body)))
}

/// A way to a server: one message out, its answer in.
enum Way {
    Lines { child: Child, input: ChildStdin, output: BufReader<ChildStdout>, line: Vec<u8> },
    Http { stream: BufReader<TcpStream>, host: String, path: String },
}

impl Way {
    fn open(server: &str) -> Result<Self, Failure> {
        if let Some(rest) = server.strip_prefix("http://") {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let stream = TcpStream::connect(host)?;
            stream.set_nodelay(true)?;
            let (host, path) = (host.to_owned(), format!("/{path}"));
            return Ok(Self::Http { stream: BufReader::new(stream), host, path });
        }
        let mut words = server.split_whitespace();
        let mut child = Command::new(words.next().ok_or("--server is missing")?)
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take().ok_or("no pipe")?, child.stdout.take().ok_or("no pipe")?);
        Ok(Self::Lines {
            child,
            input,
            output: BufReader::with_capacity(64 * 1024, output),
            line: Vec::new(),
        })
    }

    /// Sends a message; the length of the answer, where there is one to wait for.
    fn send(&mut self, message: &str, answered: bool) -> Result<usize, Failure> {
        match self {
            Self::Lines { input, output, line, .. } => {
                input.write_all(message.as_bytes())?;
                line.clear();
                if answered {
                    output.read_until(b'\n', line)?;
                }
                Ok(line.len())
            }
            Self::Http { stream, host, path } => {
                let head = format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
                     Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{message}",
                    message.len()
                );
                stream.get_mut().write_all(head.as_bytes())?;
                let (_, body) = read_http(stream)?.ok_or("the server hung up")?;
                Ok(body.len())
            }
        }
    }

    fn greet(&mut self) -> Result<(), Failure> {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "floor", "version": "1"}}});
        self.send(&format!("{hello}\n"), true)?;
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.send(&format!("{ready}\n"), false)?;
        Ok(())
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        if let Self::Lines { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn client(options: &BTreeMap<&str, &str>) -> Result<(), Failure> {
    let number = |key: &str, default: usize| {
        options.get(key).and_then(|value| value.parse::<usize>().ok()).unwrap_or(default)
    };
    let server = options.get("server").copied().unwrap_or_default().to_owned();
    let scenario = options.get("scenario").copied().unwrap_or("seq");
    let payload = number("payload", 100);
    let tool = options.get("tool").copied().unwrap_or("echo");
    let (arguments, least) = match tool {
        "echo" => (json!({"text": LINE.chars().cycle().take(payload).collect::<String>()}), payload),
        "big" => (json!({"bytes": payload}), payload),
        _ => (json!({"ms": number("ms", 50)}), 0),
    };
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments}});
    let call = format!("{call}\n");
    let one = |way: &mut Way| -> Result<Duration, Failure> {
        let begun = Instant::now();
        let length = way.send(&call, true)?;
        if length < least { Err("a wrong answer".into()) } else { Ok(begun.elapsed()) }
    };
    let mut way = Way::open(&server)?;
    way.greet()?;
    let fields = if scenario == "cold" {
        one(&mut way)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        json!({"first_result_unix_s": now.as_secs_f64()})
    } else {
        for _ in 0..number("warmup", 200) {
            one(&mut way)?;
        }
        let callers = if scenario == "conc" { number("inflight", 16).max(1) } else { 1 };
        let calls = number("calls", 1000);
        let mut ways = vec![way];
        while ways.len() < callers {
            ways.push(Way::open(&server)?);
        }
        let begun = Instant::now();
        let mut times = std::thread::scope(|scope| -> Result<Vec<Duration>, Failure> {
            let running: Vec<_> = ways
                .iter_mut()
                .enumerate()
                .map(|(caller, way)| {
                    let share = calls / callers + usize::from(caller < calls % callers);
                    scope.spawn(move || (0..share).map(|_| one(way)).collect::<Result<Vec<_>, _>>())
                })
                .collect();
            let mut times = Vec::with_capacity(calls);
            for caller in running {
                times.extend(caller.join().map_err(|_| "a caller failed")??);
            }
            Ok(times)
        })?;
        let wall = begun.elapsed().as_secs_f64();
        times.sort_unstable();
        let middle = times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6);
        json!({"p50_us": middle, "wall_s": wall, "calls_per_s": times.len() as f64 / wall})
    };
    let Value::Object(mut fields) = fields else { return Ok(()) };
    fields.insert("ok".to_owned(), json!(true));
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", Value::Object(fields))?;
    Ok(())
}
