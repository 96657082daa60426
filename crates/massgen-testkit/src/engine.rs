//! Plays a script: messages in, steps out. No I/O, so that a pipe and an HTTP server play the same.

use serde_json::{Value, json};

use crate::script::{
    Era, Grandchild, HandshakeVersion, LEGACY, MODERN, OnProbe, Outcome, Quirk, ServerScript, ToolScript,
};

mod outcome;

use outcome::{after, asked, outcome};

const LEGACY_VERSIONS: [&str; 4] = ["2024-11-05", "2025-03-26", "2025-06-18", LEGACY];
const META_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const META_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const META_SERVER: &str = "io.modelcontextprotocol/serverInfo";
const META_SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send this message.
    Send(Value),
    /// Tell every listener, now or on the stream it has open.
    Announce(Value),
    /// Send this message so many times.
    Repeat(Value, u64),
    /// Send progress for a token.
    Progress {
        /// The caller's token.
        token: Value,
        /// How many; `u64::MAX` is for ever.
        count: u64,
        /// Milliseconds between them.
        every_ms: u64,
    },
    /// Write these bytes as a line.
    Line(Vec<u8>),
    /// Write these bytes as they are.
    Bytes(Vec<u8>),
    /// Write so many bytes without an end of line.
    Lineless(u64),
    /// Write this line to stderr.
    Stderr(String),
    /// Write so many bytes to stderr, in lines.
    StderrFlood(usize),
    /// Let so many milliseconds pass.
    Wait(u64),
    /// Write these bytes one by one, with so many milliseconds between.
    Drip(Vec<u8>, u64),
    /// Never answer; keep the connection.
    Hang,
    /// Close stdout.
    CloseStdout,
    /// Stop by SIGSTOP.
    Stop,
    /// End the process with this code.
    Exit(i32),
    /// End the process by SIGABRT.
    Abort,
    /// Run out of memory.
    OutOfMemory,
    /// Hold so many MiB and be killed, as by the system.
    OutOfMemoryKilled(u64),
    /// Start a child; where there is an id, answer with its pid (the flag: in the modern shape).
    Grandchild(Grandchild, Option<(Value, bool)>),
    /// Forget the request of this id: it was cancelled.
    Cancel(Value),
    /// Read no more input.
    StopReading,
    /// Keep this request open as a subscription.
    Listen(Value),
}

/// A script being played.
#[derive(Debug, Clone)]
pub struct Engine {
    script: ServerScript,
    /// Messages need no handshake: over HTTP, sessions are the business of the HTTP layer.
    stateless: bool,
    settled: Option<Settled>,
    calls: u32,
    tool_calls: std::collections::BTreeMap<String, u64>,
    subscription: Option<Value>,
    /// Calls that wait for the client's answer, by the id of the question.
    asking: std::collections::BTreeMap<String, (Value, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    Legacy,
    Modern,
}

impl Engine {
    /// A server on a pipe: the first message decides about the era.
    pub fn new(script: ServerScript) -> Self {
        Self {
            script,
            stateless: false,
            settled: None,
            calls: 0,
            tool_calls: std::collections::BTreeMap::new(),
            subscription: None,
            asking: std::collections::BTreeMap::new(),
        }
    }

    /// A server behind HTTP: every message decides for itself.
    pub fn stateless(script: ServerScript) -> Self {
        Self { stateless: true, ..Self::new(script) }
    }

    /// The script.
    pub fn script(&self) -> &ServerScript {
        &self.script
    }

    /// Whether the script has a quirk.
    pub fn has(&self, quirk: &Quirk) -> bool {
        self.script.quirks.contains(quirk)
    }

    /// Calls of tools so far.
    pub fn calls(&self) -> u32 {
        self.calls
    }

    /// What the server does before it reads anything.
    pub fn start(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for quirk in &self.script.quirks {
            match quirk {
                Quirk::Stderr(lines) => steps.extend(lines.iter().cloned().map(Step::Stderr)),
                Quirk::Chatter(lines) => {
                    steps.extend(lines.iter().map(|l| Step::Line(l.clone().into_bytes())))
                }
                Quirk::Grandchild(child) => steps.push(Step::Grandchild(*child, None)),
                Quirk::ExitAtStart { code, stderr } => {
                    if !stderr.is_empty() {
                        steps.push(Step::Stderr(stderr.clone()));
                    }
                    steps.push(Step::Exit(*code));
                }
                _ => {}
            }
        }
        steps
    }

    /// What the server does with a message.
    pub fn receive(&mut self, message: &Value) -> Vec<Step> {
        let method = message.get("method").and_then(Value::as_str);
        let params = message.get("params").cloned().unwrap_or_else(|| json!({}));
        match (method, message.get("id").filter(|id| !id.is_null())) {
            (Some(method), Some(id)) => self.request(method, id, &params),
            (Some(method), None) => self.notification(method, &params),
            (None, Some(id)) => {
                let call = id.as_str().and_then(|id| self.asking.remove(id));
                call.map(|(call, modern)| after(&call, message, modern)).into_iter().collect()
            }
            (None, None) => vec![Step::Send(failure(&Value::Null, -32600, "Invalid Request", None))],
        }
    }

    fn notification(&mut self, method: &str, params: &Value) -> Vec<Step> {
        match method {
            "notifications/cancelled" if !self.has(&Quirk::IgnoresCancel) => {
                params.get("requestId").cloned().map(Step::Cancel).into_iter().collect()
            }
            "notifications/initialized" if self.has(&Quirk::StopsReading) => vec![Step::StopReading],
            _ => Vec::new(),
        }
    }

    fn request(&mut self, method: &str, id: &Value, params: &Value) -> Vec<Step> {
        let handshake = matches!(method, "initialize" | "server/discover");
        let answer = match method {
            _ if self.script.results.contains_key(method) => {
                if handshake && !self.stateless {
                    self.settled =
                        Some(if method == "initialize" { Settled::Legacy } else { Settled::Modern });
                }
                vec![Step::Send(success(id, self.script.results[method].clone()))]
            }
            "initialize" => self.initialize(id, params),
            "server/discover" => self.discover(id, params),
            _ => match self.admit(method, params) {
                Err((code, text, data)) => vec![Step::Send(failure(id, code, &text, data))],
                Ok(modern) => self.operation(method, id, params, modern),
            },
        };
        let mut steps = Vec::new();
        for quirk in &self.script.quirks {
            match quirk {
                Quirk::LogBeforeHandshake(count) if handshake => {
                    for number in 0..*count {
                        steps.push(Step::Send(notification(
                            "log",
                            json!({"level": "info", "data": format!("starting, step {number}")}),
                        )));
                    }
                }
                Quirk::HandshakeDelay(ms) if handshake => steps.push(Step::Wait(*ms)),
                Quirk::ChatterBeforeReply(line) => steps.push(Step::Line(line.clone().into_bytes())),
                Quirk::NullIdErrors => {
                    steps.push(Step::Send(failure(&Value::Null, -32700, "Parse error", None)));
                }
                _ => {}
            }
        }
        if handshake && self.has(&Quirk::HandshakeSilent) {
            steps.push(Step::Hang);
            return steps;
        }
        steps.extend(answer);
        if method == "server/discover"
            && self.settled == Some(Settled::Modern)
            && self.has(&Quirk::StopsReading)
        {
            steps.push(Step::StopReading);
        }
        steps
    }

    /// Whether a request may come now, and in which era it is.
    fn admit(&self, method: &str, params: &Value) -> Result<bool, (i64, String, Option<Value>)> {
        let version = params.pointer("/_meta").and_then(|meta| meta.get(META_VERSION));
        let modern = match (self.script.era, self.settled) {
            (Era::Legacy, _) => false,
            (Era::Modern, _) => true,
            (Era::Dual, Some(settled)) => settled == Settled::Modern,
            (Era::Dual, None) => version.is_some(),
        };
        if !modern {
            let ready = self.stateless || self.settled.is_some() || method == "ping";
            return if ready { Ok(false) } else { Err((-32600, "initialize first".into(), None)) };
        }
        check_meta(params).map(|()| true)
    }

    fn initialize(&mut self, id: &Value, params: &Value) -> Vec<Step> {
        let asked = params.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
        if self.script.era == Era::Modern || (!self.stateless && self.settled == Some(Settled::Modern)) {
            return vec![Step::Send(unsupported(id, asked))];
        }
        let version = match &self.script.handshake_version {
            HandshakeVersion::Negotiate if LEGACY_VERSIONS.contains(&asked) => asked,
            HandshakeVersion::Negotiate => LEGACY,
            HandshakeVersion::Echo => asked,
            HandshakeVersion::Fixed(version) => version,
        };
        let mut result = json!({
            "protocolVersion": version,
            "capabilities": self.capabilities(),
            "serverInfo": {"name": self.script.name, "version": self.script.version},
        });
        if let Some(text) = &self.script.instructions {
            result["instructions"] = text.clone().into();
        }
        if !self.stateless {
            self.settled = Some(Settled::Legacy);
        }
        vec![Step::Send(success(id, result))]
    }

    fn discover(&mut self, id: &Value, params: &Value) -> Vec<Step> {
        if self.script.era == Era::Legacy || self.settled == Some(Settled::Legacy) {
            return match &self.script.on_probe {
                OnProbe::Error { code, message } => vec![Step::Send(failure(id, *code, message, None))],
                OnProbe::Silent => vec![Step::Hang],
                OnProbe::Exit(code) => vec![Step::Exit(*code)],
            };
        }
        if let Err((code, text, data)) = check_meta(params) {
            return vec![Step::Send(failure(id, code, &text, data))];
        }
        if !self.stateless {
            self.settled = Some(Settled::Modern);
        }
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": [MODERN],
            "capabilities": self.capabilities(),
            "ttlMs": 0,
            "cacheScope": "private",
            "_meta": {META_SERVER: {"name": self.script.name, "version": self.script.version}},
        });
        if let Some(text) = &self.script.instructions {
            result["instructions"] = text.clone().into();
        }
        vec![Step::Send(success(id, result))]
    }

    fn capabilities(&self) -> Value {
        self.script.capabilities.clone().unwrap_or_else(|| json!({"tools": {"listChanged": true}}))
    }

    fn operation(&mut self, method: &str, id: &Value, params: &Value, modern: bool) -> Vec<Step> {
        match method {
            "ping" if !modern && self.has(&Quirk::IgnoresPing) => vec![Step::Hang],
            "ping" if !modern => vec![Step::Send(success(id, json!({})))],
            "tools/list" => vec![Step::Send(self.list(id, params, modern))],
            "tools/call" => self.call(id, params, modern),
            "subscriptions/listen" if modern => {
                self.subscription = Some(id.clone());
                let accepted = params.get("notifications").cloned().unwrap_or_else(|| json!({}));
                let message = notification(
                    "notifications/subscriptions/acknowledged",
                    json!({"notifications": accepted, "_meta": {META_SUBSCRIPTION: id}}),
                );
                vec![Step::Listen(id.clone()), Step::Send(message)]
            }
            _ => vec![Step::Send(failure(id, -32601, "Method not found", None))],
        }
    }

    /// The tools as they are after the calls so far.
    fn tools(&self) -> Vec<ToolScript> {
        let mut tools = self.script.tools.clone();
        for quirk in &self.script.quirks {
            match quirk {
                Quirk::NewToolAfter { calls, tool } if self.calls >= *calls => tools.push((**tool).clone()),
                Quirk::RedefineToolAfter { calls, tool } if self.calls >= *calls => {
                    tools.iter_mut().filter(|t| t.name == tool.name).for_each(|t| *t = (**tool).clone());
                }
                Quirk::RemoveToolAfter { calls, tool } if self.calls >= *calls => {
                    tools.retain(|t| t.name != *tool)
                }
                _ => {}
            }
        }
        tools
    }

    fn list(&self, id: &Value, params: &Value, modern: bool) -> Value {
        let tools = self.tools();
        let start = match params.get("cursor").and_then(Value::as_str) {
            None => 0,
            Some("again") if self.script.cursor_loop => 0,
            Some(cursor) => match cursor.strip_prefix("from-").and_then(|n| n.parse().ok()) {
                Some(start) if start < tools.len() => start,
                _ => return failure(id, -32602, "Invalid cursor", None),
            },
        };
        let size = self.script.page_size.unwrap_or(usize::MAX).max(1);
        let end = start.saturating_add(size).min(tools.len());
        let page: Vec<Value> = tools[start..end].iter().map(ToolScript::listed).collect();
        let mut result = json!({"tools": page});
        if self.script.cursor_loop {
            result["nextCursor"] = "again".into();
        } else if end < tools.len() {
            result["nextCursor"] = format!("from-{end}").into();
        }
        if modern {
            result["ttlMs"] = 0.into();
            result["cacheScope"] = "private".into();
        }
        success(id, complete(result, modern))
    }

    fn call(&mut self, id: &Value, params: &Value, modern: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for quirk in self.script.quirks.clone() {
            match quirk {
                Quirk::CrashAfter { calls, code } if self.calls >= calls => return vec![Step::Exit(code)],
                Quirk::StderrFlood(bytes) => steps.push(Step::StderrFlood(bytes)),
                Quirk::OversizedLine(bytes) => {
                    let filler = "x".repeat(bytes);
                    let message = notification("notifications/message", json!({"level": "info", "data": filler}));
                    steps.push(Step::Send(message));
                }
                Quirk::NotificationFlood(count) => {
                    let message = notification("notifications/message", json!({"level": "debug", "data": "tick"}));
                    steps.push(Step::Repeat(message, count));
                }
                Quirk::NotificationStream { bursts, each, every_ms } => {
                    let message = notification("notifications/message", json!({"level": "debug", "data": "tick"}));
                    let burst = || [Step::Repeat(message.clone(), each), Step::Wait(every_ms)];
                    steps.extend((0..bursts).flat_map(|_| burst()));
                }
                Quirk::ListChangedFlood(count) => steps.push(Step::Repeat(self.list_changed(modern), count)),
                Quirk::ServerRequest { method, params } => steps.push(Step::Send(json!({
                    "jsonrpc": "2.0", "id": format!("server-{}", self.calls + 1), "method": method, "params": params,
                }))),
                _ => {}
            }
        }
        let name = params.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(tool) = self.tools().into_iter().find(|tool| tool.name == name) else {
            steps.push(Step::Send(failure(id, -32602, &format!("Unknown tool: {name}"), None)));
            return steps;
        };
        self.calls += 1;
        let count = self.tool_calls.entry(name.to_owned()).or_default();
        *count += 1;
        let number = *count;
        let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
        let reply = tool.replies.get(index).or(tool.replies.last()).cloned().unwrap_or_default();
        if let (Some(progress), Some(token)) = (reply.progress, params.pointer("/_meta/progressToken")) {
            let (count, every_ms) = (progress.count, progress.every_ms);
            steps.push(Step::Progress { token: token.clone(), count, every_ms });
        }
        if reply.delay_ms > 0 {
            steps.push(Step::Wait(reply.delay_ms));
        }
        if matches!(reply.outcome, Outcome::Ask { .. }) {
            self.asking.insert(asked(number), (id.clone(), modern));
        }
        let arguments = params.get("arguments").cloned().unwrap_or_else(|| json!({}));
        steps.extend(outcome(id, &reply, &arguments, number, modern));
        let changed = self.script.quirks.iter().any(|quirk| {
            matches!(quirk, Quirk::NewToolAfter { calls, .. }
                | Quirk::RedefineToolAfter { calls, .. }
                | Quirk::RemoveToolAfter { calls, .. } if self.calls == *calls)
        });
        if changed {
            steps.push(Step::Announce(self.list_changed(modern)));
        }
        steps
    }

    fn list_changed(&self, modern: bool) -> Value {
        match (&self.subscription, modern) {
            (Some(id), true) => {
                notification("notifications/tools/list_changed", json!({"_meta": {META_SUBSCRIPTION: id}}))
            }
            _ => json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}),
        }
    }
}

/// The answer to a call that started a child.
pub fn grandchild_answer(id: &Value, pid: u32, modern: bool) -> Value {
    let result = json!({"content": [{"type": "text", "text": pid.to_string()}], "isError": false});
    success(id, complete(result, modern))
}

fn complete(mut result: Value, modern: bool) -> Value {
    if modern && result.get("resultType").is_none() {
        result["resultType"] = "complete".into();
    }
    result
}

fn check_meta(params: &Value) -> Result<(), (i64, String, Option<Value>)> {
    let meta = params.get("_meta");
    let Some(version) = meta.and_then(|meta| meta.get(META_VERSION)).and_then(Value::as_str) else {
        return Err((-32602, format!("_meta lacks {META_VERSION}"), None));
    };
    if version != MODERN {
        let data = json!({"supported": [MODERN], "requested": version});
        return Err((-32022, "Unsupported protocol version".into(), Some(data)));
    }
    if !meta.and_then(|meta| meta.get(META_CAPABILITIES)).is_some_and(Value::is_object) {
        return Err((-32602, format!("_meta lacks {META_CAPABILITIES}"), None));
    }
    Ok(())
}

fn unsupported(id: &Value, asked: &str) -> Value {
    let data = json!({"supported": [MODERN], "requested": asked});
    failure(id, -32022, "Unsupported protocol version", Some(data))
}

fn success(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

/// A JSON-RPC error response.
pub fn failure(id: &Value, code: i64, message: &str, data: Option<Value>) -> Value {
    let mut error = json!({"code": code, "message": message});
    if let Some(data) = data {
        error["data"] = data;
    }
    json!({"jsonrpc": "2.0", "id": id, "error": error})
}

fn notification(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}
