//! A scripted MCP server on stdin and stdout. See `massgen_testkit::ServerScript`.
//!
//! `massgen-scripted-server (--script FILE | --script-json TEXT) [--journal FILE]`; further arguments are ignored
//! (a test may want to see them again through `Outcome::CommandLine`). It speaks raw JSON-RPC lines, without
//! any MCP library, so that it can say what no library would.

// This is the far end of a test: a panic here is a failed test, and starting children is its task.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use massgen_testkit::engine::{Engine, Step, grandchild_answer};
use massgen_testkit::{Grandchild, Quirk, ServerScript, process};
use serde_json::{Value, json};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let place = arguments.iter().position(|a| a == name)?;
        arguments.get(place + 1).cloned()
    };
    if let Some(seconds) = value("--sleep") {
        sleep(seconds.parse().unwrap_or(1), arguments.iter().any(|a| a == "--ignore-sigterm"));
        return;
    }
    let text = match (value("--script"), value("--script-json")) {
        (Some(file), _) => std::fs::read_to_string(&file).unwrap_or_else(|e| fail(&format!("{file}: {e}"))),
        (None, Some(text)) => text,
        (None, None) => fail("give --script FILE or --script-json TEXT"),
    };
    let script: ServerScript =
        serde_json::from_str(&text).unwrap_or_else(|e| fail(&format!("the script is not valid: {e}")));
    let (journal, number) = Journal::open(value("--journal").as_deref());
    let script = script.for_process(number).clone();
    let lifetime = Duration::from_millis(script.lifetime_ms);
    thread::spawn(move || {
        thread::sleep(lifetime);
        std::process::exit(99);
    });
    serve(Engine::new(script), journal);
}

fn serve(mut engine: Engine, journal: Journal) {
    let never_exits = engine.has(&Quirk::NeverExitsOnEof);
    let io = Arc::new(Io {
        journal,
        blank_lines: engine.has(&Quirk::BlankLines),
        stdout: Mutex::new(()),
        cancelled: Mutex::new(HashSet::new()),
        woken: Condvar::new(),
    });
    if engine.has(&Quirk::IgnoresSigterm) {
        let io = Arc::clone(&io);
        on_sigterm(move || io.journal.write("sigterm", json!({})));
    }
    io.journal.write("started", json!({"arguments": std::env::args().collect::<Vec<_>>()}));
    io.run(engine.start(), None);
    let mut input = std::io::stdin().lock();
    let mut line = Vec::new();
    loop {
        line.clear();
        match input.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let Ok(message) = serde_json::from_slice::<Value>(&line) else {
            io.journal.write("unparsed", json!({"text": String::from_utf8_lossy(&line)}));
            continue;
        };
        io.journal.write("received", json!({"message": message, "at_us": now_us()}));
        let steps = engine.receive(&message);
        if steps.contains(&Step::StopReading) {
            io.run(steps, None);
            park();
        }
        let id = message.get("id").cloned();
        let slow = |s: &Step| {
            use Step::{Drip, Lineless, Progress, Repeat, StderrFlood, Wait};
            matches!(s, Wait(_) | Progress { .. } | Repeat(..) | StderrFlood(_) | Drip(..) | Lineless(_))
        };
        if steps.iter().any(slow) {
            let io = Arc::clone(&io);
            thread::spawn(move || io.run(steps, id));
        } else {
            io.run(steps, id);
        }
    }
    io.journal.write("eof", json!({}));
    if never_exits {
        park();
    }
}

/// The process's surroundings, shared by the threads that answer.
struct Io {
    journal: Journal,
    blank_lines: bool,
    stdout: Mutex<()>,
    cancelled: Mutex<HashSet<String>>,
    woken: Condvar,
}

impl Io {
    /// Does the steps of one message; `id` is the request's, so that a cancellation can end them.
    fn run(&self, steps: Vec<Step>, id: Option<Value>) {
        let key = id.map(|id| id.to_string());
        for step in steps {
            if key.as_ref().is_some_and(|key| self.cancelled.lock().unwrap().contains(key)) {
                return;
            }
            match step {
                Step::Send(message) | Step::Announce(message) => {
                    let is_request = message.get("method").is_some() && message.get("id").is_some();
                    if is_request {
                        self.journal.write("asked", json!({"at_us": now_us()}));
                    }
                    self.line(message.to_string().as_bytes());
                }
                Step::Repeat(message, count) => {
                    let text = message.to_string();
                    for _ in 0..count {
                        self.line(text.as_bytes());
                    }
                    self.journal.write("repeated", json!({"at_us": now_us()}));
                }
                Step::Progress { token, count, every_ms } => {
                    let mut number: u64 = 0;
                    while number < count {
                        number += 1;
                        let params = json!({"progressToken": token, "progress": number});
                        let message =
                            json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                        self.line(message.to_string().as_bytes());
                        if self.wait(every_ms, key.as_deref()) {
                            return;
                        }
                    }
                }
                Step::Drip(bytes, every_ms) => {
                    for byte in bytes {
                        self.bytes(&[byte]);
                        if self.wait(every_ms, key.as_deref()) {
                            return;
                        }
                    }
                }
                Step::CloseStdout => close_stdout(),
                Step::Stop => process::signal(std::process::id(), process::Signal::Stop),
                Step::Line(bytes) => self.line(&bytes),
                Step::Bytes(bytes) => self.bytes(&bytes),
                Step::Lineless(bytes) => self.lineless(bytes),
                Step::Stderr(line) => eprintln!("{line}"),
                Step::StderrFlood(bytes) => flood_stderr(bytes),
                Step::Wait(ms) => {
                    if self.wait(ms, key.as_deref()) {
                        return;
                    }
                }
                Step::Hang | Step::Listen(_) | Step::StopReading => {}
                Step::Exit(code) => {
                    self.journal.write("exit", json!({"code": code}));
                    std::process::exit(code);
                }
                Step::Abort => {
                    self.journal.write("abort", json!({}));
                    std::process::abort();
                }
                Step::OutOfMemory => {
                    self.journal.write("out of memory", json!({}));
                    out_of_memory();
                }
                Step::OutOfMemoryKilled(mib) => {
                    let _held = hold(mib);
                    self.journal.write("killed", json!({"at_us": now_us()}));
                    process::signal(std::process::id(), process::Signal::Kill);
                    park();
                }
                Step::Grandchild(child, answer) => {
                    let pid = spawn(child);
                    self.journal.write("grandchild", json!({"grandchild": pid}));
                    if let Some((id, modern)) = answer {
                        self.line(grandchild_answer(&id, pid, modern).to_string().as_bytes());
                    }
                }
                Step::Cancel(id) => {
                    self.cancelled.lock().unwrap().insert(id.to_string());
                    self.woken.notify_all();
                }
            }
        }
    }

    /// Waits; true: the request was cancelled meanwhile.
    fn wait(&self, ms: u64, key: Option<&str>) -> bool {
        let end = Instant::now() + Duration::from_millis(ms);
        let mut cancelled = self.cancelled.lock().unwrap();
        loop {
            if key.is_some_and(|key| cancelled.contains(key)) {
                return true;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            cancelled = self.woken.wait_timeout(cancelled, left).unwrap().0;
        }
    }

    fn line(&self, bytes: &[u8]) {
        let mut line = Vec::with_capacity(bytes.len() + 3);
        if self.blank_lines {
            line.extend(b"\n");
        }
        line.extend(bytes);
        line.extend(if self.blank_lines { &b"\n\r\n"[..] } else { b"\n" });
        self.bytes(&line);
    }

    fn lineless(&self, bytes: u64) {
        let piece = [b'y'; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            if std::io::stdout().lock().write_all(&piece[..part]).is_err() {
                return;
            }
            left -= part as u64;
        }
        let _ = std::io::stdout().lock().flush();
    }

    fn bytes(&self, bytes: &[u8]) {
        let _one_at_a_time = self.stdout.lock().unwrap();
        let mut out = std::io::stdout().lock();
        // A reader that went away is how many tests end; input will close next.
        let _ = out.write_all(bytes).and_then(|()| out.flush());
    }
}

/// What arrived, one JSON object a line. Several processes may share the file: each line is one write.
struct Journal(Option<Mutex<File>>);

impl Journal {
    /// Opens the journal, and counts the processes that wrote to it before.
    fn open(path: Option<&str>) -> (Self, usize) {
        let Some(path) = path else { return (Self(None), 0) };
        let earlier = std::fs::read_to_string(path).unwrap_or_default();
        let number = earlier
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|entry| entry["kind"] == "started")
            .count();
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.unwrap_or_else(|e| fail(&format!("journal {path}: {e}")));
        (Self(Some(Mutex::new(file))), number)
    }

    fn write(&self, kind: &str, more: Value) {
        let Some(file) = &self.0 else { return };
        let mut entry = json!({"pid": std::process::id(), "kind": kind});
        for (key, value) in more.as_object().into_iter().flatten() {
            entry[key] = value.clone();
        }
        let _ = file.lock().unwrap().write_all(format!("{entry}\n").as_bytes());
    }
}

/// Asks for more memory than there may be, which ends this process.
fn out_of_memory() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let limit = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
        setrlimit(Resource::As, limit).unwrap_or_else(|e| fail(&format!("RLIMIT_AS: {e}")));
    }
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        held.push(vec![1; 64 << 20]);
    }
}

/// Takes memory until the system says that this process has so much.
fn hold(mib: u64) -> Vec<Vec<u8>> {
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages = statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok());
        // Where nobody says, what was asked for is what there is.
        pages.map(|pages| pages / 256)
    };
    let mut held: Vec<Vec<u8>> = Vec::new();
    while resident().unwrap_or(4 * held.len() as u64) < mib {
        held.push(vec![1; 4 << 20]);
    }
    held
}

/// Microseconds since 1970.
fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn spawn(child: Grandchild) -> u32 {
    let program = std::env::current_exe().expect("own path");
    let mut command = if child.own_session {
        let mut command = Command::new("setsid");
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.arg("--sleep").arg(child.seconds.to_string());
    if child.ignores_sigterm {
        command.arg("--ignore-sigterm");
    }
    command.stdin(Stdio::null()).stderr(Stdio::null());
    if !child.holds_stdout {
        command.stdout(Stdio::null());
    }
    let mut child = command.spawn().unwrap_or_else(|e| fail(&format!("grandchild: {e}")));
    let pid = child.id();
    thread::spawn(move || child.wait());
    pid
}

fn sleep(seconds: u64, ignore_sigterm: bool) {
    if ignore_sigterm {
        on_sigterm(|| {});
    }
    thread::sleep(Duration::from_secs(seconds));
}

/// Takes SIGTERM over from now on. It is installed when this returns.
#[cfg(unix)]
fn on_sigterm(mut then: impl FnMut() + Send + 'static) {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let guard = runtime.enter();
    let mut signals = signal(SignalKind::terminate()).expect("SIGTERM");
    drop(guard);
    thread::spawn(move || {
        runtime.block_on(async {
            while signals.recv().await.is_some() {
                then();
            }
        });
    });
}

#[cfg(not(unix))]
fn on_sigterm(_then: impl FnMut() + Send + 'static) {}

/// Lets the reader see the end of the stream while this process lives on.
#[cfg(unix)]
fn close_stdout() {
    let nowhere = OpenOptions::new().write(true).open("/dev/null").expect("/dev/null");
    rustix::stdio::dup2_stdout(&nowhere).expect("another stdout");
}

#[cfg(not(unix))]
fn close_stdout() {}

fn flood_stderr(bytes: usize) {
    let line = [b"noise ".repeat(21), b"\n".to_vec()].concat();
    let mut err = std::io::stderr().lock();
    let mut written = 0;
    while written < bytes {
        if err.write_all(&line).is_err() {
            return;
        }
        written += line.len();
    }
}

fn park() -> ! {
    loop {
        thread::park();
    }
}

fn fail(message: &str) -> ! {
    eprintln!("massgen-scripted-server: {message}");
    std::process::exit(64);
}
