//! A scripted MCP server over streamable HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::engine::{Engine, Step, failure};
use crate::http::{Body, HttpReply, HttpRequest, HttpServer, Part};
use crate::script::{MODERN, ServerScript};
use crate::{PATIENCE, process};

mod fault;
mod stream;

pub use fault::HttpFault;
use stream::{Stream, resume};

const VERSION_HEADER: &str = "mcp-protocol-version";
const SESSION_HEADER: &str = "mcp-session-id";

/// How the server uses HTTP.
#[derive(Debug, Clone)]
pub struct McpHttpOptions {
    /// How requests are answered.
    pub answers: Answers,
    /// Legacy clients get a session, and must name it.
    pub sessions: bool,
    /// A legacy client may open a stream with GET; otherwise 405.
    pub get_stream: bool,
    /// Events have ids and are kept, so that a broken stream can be resumed with `Last-Event-ID`.
    pub resumable: bool,
    /// `retry:` in milliseconds at the start of each stream.
    pub retry_ms: Option<u64>,
    /// Requests without this bearer token get 401.
    pub token: Option<String>,
}

impl Default for McpHttpOptions {
    fn default() -> Self {
        Self {
            answers: Answers::Sse,
            sessions: true,
            get_stream: true,
            resumable: false,
            retry_ms: None,
            token: None,
        }
    }
}

/// How requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// As one JSON body. Notifications on the way are lost.
    Json,
    /// As a stream of events.
    Sse,
}

/// A running server, at `/mcp`. It ends on drop, with all its streams.
#[derive(Debug)]
pub struct McpHttpServer {
    server: HttpServer,
    state: Arc<State>,
}

impl McpHttpServer {
    /// Starts with sessions and answers as streams of events.
    pub fn start(script: ServerScript) -> Self {
        Self::with_options(script, McpHttpOptions::default())
    }

    /// Starts.
    pub fn with_options(script: ServerScript, options: McpHttpOptions) -> Self {
        let state = Arc::new(State {
            options,
            engine: Mutex::new(Engine::stateless(script)),
            faults: Mutex::default(),
            sessions: Mutex::default(),
            messages: Mutex::default(),
            listeners: Mutex::default(),
            streams: Mutex::default(),
            cancelled: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let shared = Arc::clone(&state);
        let server = HttpServer::start(Arc::new(move |request| shared.handle(request)));
        Self { server, state }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        self.server.url("/mcp")
    }

    /// The entry of `mcp_servers` in a configuration file, which is YAML as well as JSON.
    pub fn config(&self, name: &str) -> Value {
        json!({"name": name, "type": "streamable-http", "url": self.url()})
    }

    /// The HTTP server underneath, with every request.
    pub fn http(&self) -> &HttpServer {
        &self.server
    }

    /// All messages received so far, those that met a fault included.
    pub fn messages(&self) -> Vec<Value> {
        self.state.messages.lock().unwrap().clone()
    }

    /// All messages of one method received so far.
    pub fn method(&self, method: &str) -> Vec<Value> {
        self.messages().into_iter().filter(|m| m["method"] == method).collect()
    }

    /// Waits for a message of a method.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`].
    pub async fn await_method(&self, method: &str) -> Value {
        self.await_message(|message| message["method"] == method).await
    }

    /// Waits for a message; panics as [`McpHttpServer::await_method`] does.
    pub async fn await_message(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut found = None;
        process::until(PATIENCE, || {
            found = self.messages().into_iter().find(|message| wanted(message));
            found.is_some()
        })
        .await;
        found.unwrap_or_else(|| panic!("the awaited message did not come; these did: {:#?}", self.messages()))
    }

    /// How many calls of tools it has executed: what counts for "at most once".
    pub fn executed(&self) -> u32 {
        self.state.engine.lock().unwrap().calls()
    }

    /// The next so many POSTs (`u32::MAX`: all from now on) meet this fault.
    pub fn fail(&self, times: u32, fault: HttpFault) {
        self.state.faults.lock().unwrap().push(Rule { method: None, times, fault });
    }

    /// The next so many requests of a method, such as `tools/call`, meet this fault.
    pub fn fail_method(&self, method: &str, times: u32, fault: HttpFault) {
        self.state.faults.lock().unwrap().push(Rule { method: Some(method.into()), times, fault });
    }

    /// Takes all faults away.
    pub fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
    }

    /// Forgets all sessions, as a server does that was started anew: the next request in one gets 404.
    pub fn forget_sessions(&self) {
        self.state.sessions.lock().unwrap().clear();
    }

    /// How many sessions are open.
    pub fn sessions(&self) -> usize {
        self.state.sessions.lock().unwrap().len()
    }

    /// Sends a message to all open streams of listeners.
    pub fn announce(&self, message: &Value) {
        self.state.announce(message);
    }
}

#[derive(Debug)]
struct Rule {
    method: Option<String>,
    times: u32,
    fault: HttpFault,
}

/// The events of one stream, kept so that it can be resumed.
#[derive(Debug, Default)]
struct Kept {
    events: Vec<String>,
    ended: bool,
}

#[derive(Debug)]
struct State {
    options: McpHttpOptions,
    engine: Mutex<Engine>,
    faults: Mutex<Vec<Rule>>,
    sessions: Mutex<BTreeSet<String>>,
    messages: Mutex<Vec<Value>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<Part>>>,
    streams: Mutex<BTreeMap<usize, Kept>>,
    cancelled: Mutex<BTreeSet<String>>,
    /// Something waits may look at again: an event was kept, a request was cancelled.
    changed: watch::Sender<()>,
}

impl State {
    fn handle(self: &Arc<Self>, request: &HttpRequest) -> HttpReply {
        if request.path != "/mcp" {
            return HttpReply::empty(404);
        }
        if let Some(token) = &self.options.token {
            let given = request.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
            if given != Some(token.as_str()) {
                return HttpReply::empty(401).header("www-authenticate", "Bearer error=\"invalid_token\"");
            }
        }
        match request.method.as_str() {
            "POST" => self.post(request),
            "GET" => self.get(request),
            "DELETE" => match request.header(SESSION_HEADER) {
                Some(id) if self.sessions.lock().unwrap().remove(id) => HttpReply::empty(200),
                Some(_) => HttpReply::empty(404),
                None => HttpReply::empty(405),
            },
            _ => HttpReply::empty(405),
        }
    }

    fn post(self: &Arc<Self>, request: &HttpRequest) -> HttpReply {
        let refuse = |status: u16, code: i64, text: &str| {
            HttpReply::json(status, &failure(&Value::Null, code, text, None))
        };
        let accept = request.header("accept").unwrap_or_default();
        if !(accept.contains("application/json") && accept.contains("text/event-stream")) {
            return refuse(406, -32000, "Not Acceptable: the client must accept JSON and event streams");
        }
        if !request.header("content-type").is_some_and(|t| t.starts_with("application/json")) {
            return refuse(415, -32000, "Unsupported Media Type");
        }
        let Ok(message) = serde_json::from_slice::<Value>(&request.body) else {
            return refuse(400, -32700, "Parse error");
        };
        self.messages.lock().unwrap().push(message.clone());
        let method = message["method"].as_str().unwrap_or_default();
        let fault = self.fault(method);
        match &fault {
            Some(HttpFault::Status { status, headers, body }) => {
                let mut reply = HttpReply::new(*status, &body.0, body.1.as_str());
                for (name, value) in headers {
                    reply = reply.header(name, value);
                }
                return reply;
            }
            Some(HttpFault::Close) => return HttpReply::fault(Part::Close),
            Some(HttpFault::Reset) => return HttpReply::fault(Part::Reset),
            Some(HttpFault::Hang) => return HttpReply::fault(Part::Hang),
            Some(HttpFault::ResetAfterwards | HttpFault::Cut(_)) | None => {}
        }
        let modern = request.header(VERSION_HEADER) == Some(MODERN)
            || message.pointer("/params/_meta/io.modelcontextprotocol~1protocolVersion").is_some();
        let mut session = None;
        if modern {
            if let Err(text) = check_headers(request, &message) {
                return HttpReply::json(400, &failure(&message["id"], -32020, &text, None));
            }
        } else if self.options.sessions {
            let known = |id: &str| self.sessions.lock().unwrap().contains(id);
            match (method, request.header(SESSION_HEADER)) {
                ("initialize", _) => {}
                (_, None) => return refuse(400, -32000, "Bad Request: no session id"),
                (_, Some(id)) if known(id) => session = Some(id.to_owned()),
                (_, Some(_)) => return refuse(404, -32001, "Session not found"),
            }
        }
        let steps = self.engine.lock().unwrap().receive(&message);
        if matches!(fault, Some(HttpFault::ResetAfterwards)) {
            return HttpReply::fault(Part::Reset);
        }
        for step in &steps {
            if let Step::Cancel(id) = step {
                self.cancelled.lock().unwrap().insert(format!("{session:?} {id}"));
                self.changed.send_replace(());
            }
        }
        if message.get("id").is_none_or(Value::is_null) || message.get("method").is_none() {
            return HttpReply::empty(202);
        }
        let cut = match fault {
            Some(HttpFault::Cut(events)) => Some(events),
            _ => None,
        };
        let key = format!("{session:?} {}", message["id"]);
        let mut reply = self.reply(steps, key, cut, modern);
        let welcomed = method == "initialize" && self.options.sessions;
        if welcomed && matches!(&reply.head, Some((200, _))) {
            let mut sessions = self.sessions.lock().unwrap();
            let id = format!("session-{}-{}", request.connection, self.messages.lock().unwrap().len());
            sessions.insert(id.clone());
            reply = reply.header(SESSION_HEADER, id);
        }
        reply
    }

    /// The fault that meets this message, if any.
    fn fault(&self, method: &str) -> Option<HttpFault> {
        let mut rules = self.faults.lock().unwrap();
        let rule =
            rules.iter_mut().find(|r| r.times > 0 && r.method.as_deref().is_none_or(|m| m == method))?;
        if rule.times != u32::MAX {
            rule.times -= 1;
        }
        Some(rule.fault.clone())
    }

    fn reply(self: &Arc<Self>, steps: Vec<Step>, key: String, cut: Option<usize>, modern: bool) -> HttpReply {
        let listens = steps.iter().any(|step| matches!(step, Step::Listen(_)));
        // An error that stands for the whole message goes by status.
        if let [Step::Send(answer)] = steps.as_slice()
            && let Some(code) = answer.pointer("/error/code").and_then(Value::as_i64)
            && matches!(code, -32020 | -32021 | -32022 | -32601 | -32602)
            && (modern || code == -32022)
        {
            return HttpReply::json(if code == -32601 { 404 } else { 400 }, answer);
        }
        if self.options.answers == Answers::Json && !listens && cut.is_none() {
            return self.whole(steps);
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let stream = Stream::new(Arc::clone(self), sender, cut, modern);
        tokio::spawn(stream.play(steps, key));
        HttpReply::sse(Body::Channel(receiver))
    }

    /// The answer as one body.
    fn whole(&self, steps: Vec<Step>) -> HttpReply {
        let mut delay = Duration::ZERO;
        let mut reply = None;
        for step in steps {
            match step {
                Step::Wait(ms) => delay += Duration::from_millis(ms),
                Step::Progress { count, every_ms, .. } => {
                    delay += Duration::from_millis(count.saturating_mul(every_ms).min(86_400_000));
                }
                // Messages with a method are not the answer.
                Step::Send(message) if message.get("method").is_none() && message["id"] != Value::Null => {
                    reply = Some(HttpReply::json(200, &message));
                }
                Step::Line(bytes) | Step::Bytes(bytes) | Step::Drip(bytes, _) => {
                    reply = Some(HttpReply::new(200, "application/json", bytes));
                }
                Step::Announce(message) => self.announce(&message),
                Step::Hang => return HttpReply::fault(Part::Hang).delayed(delay),
                Step::Exit(_) | Step::Abort | Step::OutOfMemory | Step::OutOfMemoryKilled(_) => {
                    return HttpReply::fault(Part::Close).delayed(delay);
                }
                _ => {}
            }
        }
        reply.unwrap_or_else(|| HttpReply::fault(Part::Close)).delayed(delay)
    }

    fn get(self: &Arc<Self>, request: &HttpRequest) -> HttpReply {
        let known = |id: &str| self.sessions.lock().unwrap().contains(id);
        if !self.options.get_stream {
            return HttpReply::empty(405);
        }
        match request.header(SESSION_HEADER) {
            _ if !self.options.sessions => {}
            None => return HttpReply::empty(400),
            Some(id) if known(id) => {}
            Some(_) => return HttpReply::empty(404),
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        let place = request.header("last-event-id").and_then(|id| {
            let (stream, event) = id.split_once('-')?;
            Some((stream.parse::<usize>().ok()?, event.parse::<usize>().ok()?))
        });
        match place {
            Some((stream, event)) => drop(tokio::spawn(resume(Arc::clone(self), sender, stream, event))),
            None => {
                // Its headers go out at once; a comment is no event.
                let _ = sender.send(Part::Bytes(b": open\n\n".to_vec()));
                self.listeners.lock().unwrap().push(sender);
            }
        }
        HttpReply::sse(Body::Channel(receiver))
    }

    fn announce(&self, message: &Value) {
        let event = Part::Bytes(format!("event: message\ndata: {message}\n\n").into_bytes());
        self.listeners.lock().unwrap().retain(|listener| listener.send(event.clone()).is_ok());
    }
}

/// The headers that have to repeat the body of a modern request.
fn check_headers(request: &HttpRequest, message: &Value) -> Result<(), String> {
    let params = &message["params"];
    let same = |name: &str, wanted: &Value| match (request.header(name), wanted.as_str()) {
        (Some(given), Some(wanted)) if given == wanted => Ok(()),
        (given, wanted) => Err(format!("HeaderMismatch: {name} is {given:?}, the body says {wanted:?}")),
    };
    // Notifications carry no _meta of their own.
    if message.get("id").is_some() {
        same(VERSION_HEADER, &params["_meta"]["io.modelcontextprotocol/protocolVersion"])?;
    }
    same("mcp-method", &message["method"])?;
    match message["method"].as_str() {
        Some("tools/call" | "prompts/get") => same("mcp-name", &params["name"]),
        Some("resources/read") => same("mcp-name", &params["uri"]),
        _ => Ok(()),
    }
}
