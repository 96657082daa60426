//! A scripted MCP server over HTTP with SSE, the transport of revision 2024-11-05.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::engine::{Engine, Step};
use crate::http::{Body, HttpReply, HttpRequest, HttpServer, Part};
use crate::script::ServerScript;

/// How the server uses the transport.
#[derive(Debug, Clone, Default)]
pub struct SseOptions {
    /// What the first event says instead of the address for messages; `{session}` stands for the session's id.
    pub endpoint: Option<String>,
    /// Nothing is said about an address at all.
    pub no_endpoint: bool,
    /// Requests without this bearer token get 401.
    pub token: Option<String>,
    /// Posts get this status instead of 202, and are not looked at.
    pub post_status: Option<u16>,
}

/// A running server, its stream at `/sse`. It ends on drop, with all its streams.
#[derive(Debug)]
pub struct McpSseServer {
    server: HttpServer,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    options: SseOptions,
    script: ServerScript,
    sessions: Mutex<BTreeMap<String, Session>>,
    messages: Mutex<Vec<Value>>,
}

#[derive(Debug)]
struct Session {
    engine: Engine,
    stream: mpsc::UnboundedSender<Part>,
}

impl McpSseServer {
    /// Starts.
    pub fn start(script: ServerScript) -> Self {
        Self::with_options(script, SseOptions::default())
    }

    /// Starts with options.
    pub fn with_options(script: ServerScript, options: SseOptions) -> Self {
        let state =
            Arc::new(State { options, script, sessions: Mutex::default(), messages: Mutex::default() });
        let shared = Arc::clone(&state);
        let server = HttpServer::start(Arc::new(move |request| shared.handle(request)));
        Self { server, state }
    }

    /// Where clients connect.
    pub fn url(&self) -> String {
        self.server.url("/sse")
    }

    /// The entry of `mcp_servers` in a configuration file, which is YAML as well as JSON.
    pub fn config(&self, name: &str) -> Value {
        json!({"name": name, "type": "sse", "url": self.url()})
    }

    /// The HTTP server underneath, with every request.
    pub fn http(&self) -> &HttpServer {
        &self.server
    }

    /// All messages received so far.
    pub fn messages(&self) -> Vec<Value> {
        self.state.messages.lock().unwrap().clone()
    }

    /// All messages of one method received so far.
    pub fn method(&self, method: &str) -> Vec<Value> {
        self.messages().into_iter().filter(|m| m["method"] == method).collect()
    }

    /// Writes bytes to every open stream.
    pub fn write(&self, bytes: &[u8]) {
        for session in self.state.sessions.lock().unwrap().values() {
            let _ = session.stream.send(Part::Bytes(bytes.to_vec()));
        }
    }

    /// Ends every open stream; a new one may be opened.
    pub fn end_streams(&self) {
        for (_, session) in std::mem::take(&mut *self.state.sessions.lock().unwrap()) {
            let _ = session.stream.send(Part::Close);
        }
    }
}

impl State {
    fn handle(self: &Arc<Self>, request: &HttpRequest) -> HttpReply {
        if let Some(token) = &self.options.token
            && request.header("authorization") != Some(&format!("Bearer {token}"))
        {
            return HttpReply::empty(401);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/sse") => self.open(),
            ("POST", "/messages") => self.post(request),
            _ => HttpReply::empty(404),
        }
    }

    fn open(&self) -> HttpReply {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut sessions = self.sessions.lock().unwrap();
        let id = format!("s{}", sessions.len() + 1);
        let endpoint = self.options.endpoint.as_deref().unwrap_or("/messages?session={session}");
        let endpoint = endpoint.replace("{session}", &id);
        let first = match self.options.no_endpoint {
            false => format!(": hello\n\nevent: endpoint\ndata: {endpoint}\n\n"),
            true => ": hello\n\n".to_owned(),
        };
        let _ = sender.send(Part::Bytes(first.into_bytes()));
        sessions.insert(id, Session { engine: Engine::new(self.script.clone()), stream: sender });
        HttpReply::sse(Body::Channel(receiver))
    }

    fn post(&self, request: &HttpRequest) -> HttpReply {
        if let Some(status) = self.options.post_status {
            return HttpReply::empty(status);
        }
        let message = request.json();
        self.messages.lock().unwrap().push(message.clone());
        let id = request.query.strip_prefix("session=").unwrap_or_default();
        let mut sessions = self.sessions.lock().unwrap();
        let Some(session) = sessions.get_mut(id) else { return HttpReply::empty(404) };
        let stream = &session.stream;
        let say = |message: &Value| {
            let _ = stream.send(Part::Bytes(format!("event: message\ndata: {message}\n\n").into_bytes()));
        };
        for step in session.engine.receive(&message) {
            match step {
                Step::Send(message) | Step::Announce(message) => say(&message),
                Step::Line(bytes) => {
                    let data = [b"data: ".as_slice(), &bytes, b"\n\n"].concat();
                    let _ = stream.send(Part::Bytes(data));
                }
                Step::Wait(ms) => drop(stream.send(Part::Wait(Duration::from_millis(ms)))),
                Step::Exit(_) | Step::Abort | Step::OutOfMemory | Step::OutOfMemoryKilled(_) => {
                    drop(stream.send(Part::Close))
                }
                // What else a script can do is about pipes.
                _ => {}
            }
        }
        HttpReply::new(202, "text/plain", "Accepted")
    }
}
