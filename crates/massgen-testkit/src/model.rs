//! Model endpoints: the four real wires over loopback, played from a script.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Body, HttpReply, HttpRequest, HttpServer, Part};

mod chat;
mod gemini;
mod messages;
mod reply;
mod request;
mod responses;

pub use reply::{Ending, Finish, Item, Reply, Turn, Usage};
pub use request::{Call, CallResult, Message, ModelRequest, Role, ToolOffer};

use reply::Kind;

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    /// OpenAI Responses: `POST .../responses`.
    Responses,
    /// Chat Completions: `POST .../chat/completions`.
    Chat,
    /// Anthropic Messages: `POST .../messages`.
    Messages,
    /// Gemini: `POST .../models/{model}:streamGenerateContent`.
    Gemini,
}

impl Wire {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Responses, Self::Chat, Self::Messages, Self::Gemini];

    fn of(path: &str) -> Option<Self> {
        match path {
            _ if path.ends_with("/chat/completions") => Some(Self::Chat),
            _ if path.ends_with("/responses") => Some(Self::Responses),
            _ if path.ends_with("/messages") => Some(Self::Messages),
            _ if path.ends_with(":streamGenerateContent") || path.ends_with(":generateContent") => {
                Some(Self::Gemini)
            }
            _ => None,
        }
    }

    /// The error body of this wire.
    fn error(self, status: u16, code: &str, message: &str) -> Value {
        match self {
            Self::Responses | Self::Chat => {
                json!({"error": {"message": message, "type": "error", "param": null, "code": code}})
            }
            Self::Messages => {
                json!({"type": "error", "error": {"type": code, "message": message}, "request_id": "req_testkit"})
            }
            Self::Gemini => {
                json!({"error": {"code": status, "status": code, "message": message, "details": []}})
            }
        }
    }

    /// What this wire calls the usual trouble of a status.
    fn code(self, status: u16) -> &'static str {
        match (self, status) {
            (Self::Responses | Self::Chat, 401) => "invalid_api_key",
            (Self::Responses | Self::Chat, 404) => "model_not_found",
            (Self::Responses | Self::Chat, 429) => "rate_limit_exceeded",
            (Self::Responses | Self::Chat, 400..500) => "invalid_request_error",
            (Self::Responses | Self::Chat, _) => "server_error",
            (Self::Messages, 401) => "authentication_error",
            (Self::Messages, 403) => "permission_error",
            (Self::Messages, 404) => "not_found_error",
            (Self::Messages, 429) => "rate_limit_error",
            (Self::Messages, 529) => "overloaded_error",
            (Self::Messages, 400..500) => "invalid_request_error",
            (Self::Messages, _) => "api_error",
            (Self::Gemini, 401) => "UNAUTHENTICATED",
            (Self::Gemini, 403) => "PERMISSION_DENIED",
            (Self::Gemini, 404) => "NOT_FOUND",
            (Self::Gemini, 429) => "RESOURCE_EXHAUSTED",
            (Self::Gemini, 503) => "UNAVAILABLE",
            (Self::Gemini, 400..500) => "INVALID_ARGUMENT",
            (Self::Gemini, _) => "INTERNAL",
        }
    }
}

/// What a model says, request by request.
///
/// A request takes the first that applies: the script of its model ([`ModelScript::for_model`]), a rule
/// ([`ModelScript::when`]), the next turn ([`ModelScript::turn`]), the rest ([`ModelScript::otherwise`]). Without
/// any of these it gets status 400, code `script_exhausted`.
#[derive(Default)]
pub struct ModelScript {
    models: BTreeMap<String, ModelScript>,
    rules: Vec<(Condition, Reply)>,
    turns: VecDeque<Reply>,
    otherwise: Option<Answer>,
}

type Condition = Box<dyn Fn(&ModelRequest) -> bool + Send>;
type Answer = Box<dyn FnMut(&ModelRequest) -> Reply + Send>;

impl ModelScript {
    /// A model with nothing to say.
    pub fn new() -> Self {
        Self::default()
    }

    /// A model that decides by the request. The function runs on the server's thread.
    pub fn from_fn(answer: impl FnMut(&ModelRequest) -> Reply + Send + 'static) -> Self {
        Self { otherwise: Some(Box::new(answer)), ..Self::default() }
    }

    /// Adds what the next request gets; each turn is used once.
    #[must_use]
    pub fn turn(mut self, reply: impl Into<Reply>) -> Self {
        self.turns.push_back(reply.into());
        self
    }

    /// Adds what every request gets for which this holds.
    #[must_use]
    pub fn when(
        mut self,
        holds: impl Fn(&ModelRequest) -> bool + Send + 'static,
        reply: impl Into<Reply>,
    ) -> Self {
        self.rules.push((Box::new(holds), reply.into()));
        self
    }

    /// Sets what all other requests get.
    #[must_use]
    pub fn otherwise(mut self, reply: impl Into<Reply>) -> Self {
        let reply = reply.into();
        self.otherwise = Some(Box::new(move |_| reply.clone()));
        self
    }

    /// Gives one model, by the name in its requests, a script of its own.
    #[must_use]
    pub fn for_model(mut self, model: impl Into<String>, script: Self) -> Self {
        self.models.insert(model.into(), script);
        self
    }

    fn answer(&mut self, request: &ModelRequest) -> Reply {
        if let Some(own) = self.models.get_mut(&request.model) {
            return own.answer(request);
        }
        if let Some((_, reply)) = self.rules.iter().find(|(holds, _)| holds(request)) {
            return reply.clone();
        }
        if let Some(reply) = self.turns.pop_front() {
            return reply;
        }
        match &mut self.otherwise {
            Some(answer) => answer(request),
            None => Reply::status(400)
                .code("script_exhausted")
                .message(format!("the script has no turn for request {}", request.number)),
        }
    }
}

impl<F: FnMut(&ModelRequest) -> Reply + Send + 'static> From<F> for ModelScript {
    fn from(answer: F) -> Self {
        Self::from_fn(answer)
    }
}

/// How an endpoint judges requests.
#[derive(Debug, Clone, Default)]
pub struct ModelOptions {
    /// Requests without this key, in the header of their wire, get 401 (Gemini: 400), as do keys in the URL.
    /// `None`: any key or none will do.
    pub key: Option<String>,
    /// Requests that the real service refuses for their shape are answered all the same.
    pub lenient: bool,
    /// The ids that `GET /v1/models` lists.
    pub models: Vec<String>,
}

/// A running endpoint. It speaks all four wires at once, below any prefix of the path, and also answers
/// `GET .../models`. It stops on drop.
#[derive(Debug)]
pub struct ModelEndpoint {
    server: HttpServer,
    requests: Arc<Mutex<Vec<ModelRequest>>>,
    refusals: Arc<Mutex<Vec<String>>>,
}

impl ModelEndpoint {
    /// Starts with the usual, strict options.
    pub fn start(script: impl Into<ModelScript>) -> Self {
        Self::with_options(script, ModelOptions::default())
    }

    /// Starts.
    pub fn with_options(script: impl Into<ModelScript>, options: ModelOptions) -> Self {
        let script = Mutex::new(script.into());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let refusals = Arc::new(Mutex::new(Vec::new()));
        let shared = (Arc::clone(&requests), Arc::clone(&refusals));
        let server = HttpServer::start(Arc::new(move |http| {
            handle(http, &script, &options, &shared.0).unwrap_or_else(|refusal| {
                shared.1.lock().unwrap().push(refusal.message.clone());
                refusal.into_reply()
            })
        }));
        Self { server, requests, refusals }
    }

    /// An address below it, such as `http://127.0.0.1:40001/v1` for `/v1`.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The HTTP server underneath, with every request that arrived, good or bad.
    pub fn http(&self) -> &HttpServer {
        &self.server
    }

    /// All requests that were answered from the script so far.
    pub fn requests(&self) -> Vec<ModelRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// Why requests were refused for their shape or key. A test of a client wants this to be empty.
    pub fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap().clone()
    }
}

/// A request that the real service would refuse.
struct Refusal {
    wire: Wire,
    status: u16,
    message: String,
}

impl Refusal {
    fn into_reply(self) -> HttpReply {
        let code = match (self.wire, self.status) {
            (Wire::Gemini, 400) if self.message.contains("API key") => "API_KEY_INVALID",
            (wire, status) => wire.code(status),
        };
        HttpReply::json(self.status, &self.wire.error(self.status, code, &self.message))
    }
}

fn handle(
    http: &HttpRequest,
    script: &Mutex<ModelScript>,
    options: &ModelOptions,
    requests: &Mutex<Vec<ModelRequest>>,
) -> Result<HttpReply, Refusal> {
    if http.method == "GET" && http.path.ends_with("/models") {
        let data: Vec<Value> = options.models.iter().map(|id| json!({"id": id, "object": "model"})).collect();
        return Ok(HttpReply::json(200, &json!({"object": "list", "data": data})));
    }
    let Some(wire) = Wire::of(&http.path) else {
        let message = format!("no such path: {} {}", http.method, http.path);
        return Err(Refusal { wire: Wire::Chat, status: 404, message });
    };
    let refuse = |status: u16, message: String| Refusal { wire, status, message };
    if http.method != "POST" {
        return Err(refuse(405, format!("{} is not allowed", http.method)));
    }
    check_key(wire, http, options.key.as_deref()).map_err(|(status, message)| refuse(status, message))?;
    let body: Value =
        serde_json::from_slice(&http.body).map_err(|e| refuse(400, format!("the body is not JSON: {e}")))?;
    if !options.lenient {
        let verdict = match wire {
            Wire::Responses => responses::check(&body),
            Wire::Chat => chat::check(&body),
            Wire::Messages => messages::check(&body, http),
            Wire::Gemini => gemini::check(&body, http),
        };
        verdict.map_err(|message| refuse(400, message))?;
    }
    let request = {
        let mut requests = requests.lock().unwrap();
        let request = ModelRequest::read(requests.len(), wire, http.clone(), body);
        requests.push(request.clone());
        request
    };
    let reply = script.lock().unwrap().answer(&request);
    Ok(render(reply, &request))
}

fn check_key(wire: Wire, http: &HttpRequest, key: Option<&str>) -> Result<(), (u16, String)> {
    if http.query.split('&').any(|pair| pair.starts_with("key=") || pair.starts_with("api_key=")) {
        return Err((400, "the API key stands in the URL, where logs and proxies keep it".into()));
    }
    let Some(key) = key else { return Ok(()) };
    let bearer = http.header("authorization").and_then(|v| v.strip_prefix("Bearer "));
    let given = match wire {
        Wire::Responses | Wire::Chat => bearer.or(http.header("api-key")),
        Wire::Messages => http.header("x-api-key").or(bearer),
        Wire::Gemini => http.header("x-goog-api-key"),
    };
    let status = if wire == Wire::Gemini { 400 } else { 401 };
    match given {
        Some(given) if given == key => Ok(()),
        // The key itself is not repeated.
        Some(_) => Err((status, "API key not valid".into())),
        None => Err((status, "API key missing".into())),
    }
}

fn render(reply: Reply, request: &ModelRequest) -> HttpReply {
    let wire = request.wire;
    let mut http = match reply.kind {
        Kind::Fault(part) => HttpReply::fault(part),
        Kind::Status { status, code, message } => {
            let code = code.unwrap_or_else(|| wire.code(status).to_owned());
            let message = message.unwrap_or_else(|| format!("scripted status {status}"));
            let mut body = wire.error(status, &code, &message);
            if let (Wire::Gemini, Some(seconds)) = (wire, &reply.retry_after) {
                body["error"]["details"] = json!([{
                    "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
                }]);
            }
            HttpReply::json(status, &body)
        }
        Kind::Body { status, content_type, bytes } => HttpReply::new(status, &content_type, bytes),
        Kind::Sse(ref text) => {
            let frames = text.split_inclusive("\n\n").map(str::to_owned).collect();
            HttpReply::sse(Body::Parts(parts(frames, &reply, wire)))
        }
        Kind::Turn(ref turn) if request.stream => {
            let frames = match wire {
                Wire::Responses => responses::stream(turn, request),
                Wire::Chat => chat::stream(turn, request),
                Wire::Messages => messages::stream(turn, request),
                Wire::Gemini => gemini::stream(turn, request),
            };
            HttpReply::sse(Body::Parts(parts(frames, &reply, wire)))
        }
        Kind::Turn(ref turn) => HttpReply::json(
            200,
            &match wire {
                Wire::Responses => responses::whole(turn, request),
                Wire::Chat => chat::whole(turn, request),
                Wire::Messages => messages::whole(turn, request),
                Wire::Gemini => gemini::whole(turn, request),
            },
        ),
    };
    if wire != Wire::Gemini {
        let name = if wire == Wire::Messages { "request-id" } else { "x-request-id" };
        http = http.header(name, format!("req_testkit_{}", request.number));
    }
    if let Some(value) = &reply.retry_after {
        http = http.header("retry-after", value);
    }
    for (name, value) in &reply.headers {
        http = http.header(name, value);
    }
    http.delayed(reply.delay)
}

/// Frames of a stream as chunks, with the reply's faults in them.
fn parts(mut frames: Vec<String>, reply: &Reply, wire: Wire) -> Vec<Part> {
    if let Some((place, text)) = &reply.insert {
        frames.insert((*place).min(frames.len()), text.clone());
    }
    let mut last = Vec::new();
    if let Some((count, ending)) = &reply.ending {
        frames.truncate(*count);
        match ending {
            Ending::Clean => {}
            Ending::Close => last.push(Part::Close),
            Ending::Reset => last.push(Part::Reset),
            Ending::Hang => last.push(Part::Hang),
            Ending::Error { code, message } => frames.push(match wire {
                Wire::Responses => responses::error_frame(code, message, frames.len()),
                Wire::Chat => chat::error_frame(code, message),
                Wire::Messages => messages::error_frame(code, message),
                Wire::Gemini => gemini::error_frame(code, message),
            }),
        }
    }
    let pieces: Vec<Vec<u8>> = match reply.split {
        Some(size) => frames.concat().into_bytes().chunks(size.max(1)).map(<[u8]>::to_vec).collect(),
        None => frames.into_iter().map(String::into_bytes).collect(),
    };
    let mut parts = Vec::new();
    for piece in pieces {
        parts.push(Part::Bytes(piece));
        if reply.pace > Duration::ZERO {
            parts.push(Part::Wait(reply.pace));
        }
    }
    parts.extend(last);
    parts
}

/// A server-sent event with a name.
fn named(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

/// A server-sent event without a name.
fn bare(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// A text in pieces of a few characters, as models send it.
fn pieces(text: &str) -> Vec<String> {
    let all: Vec<char> = text.chars().collect();
    all.chunks(9).map(|piece| piece.iter().collect()).collect()
}

/// Refuses keys that the service does not know.
fn only_keys(what: &str, value: &Value, known: &[&str]) -> Result<(), String> {
    let object = value.as_object().ok_or_else(|| format!("{what} is not an object"))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("unknown key in {what}: {key}")),
        None => Ok(()),
    }
}

/// A text that must be there.
fn text<'a>(what: &str, value: &'a Value, key: &str) -> Result<&'a str, String> {
    value.get(key).and_then(Value::as_str).ok_or_else(|| format!("{what} lacks the text {key}"))
}

/// A list that must be there.
fn list<'a>(what: &str, value: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    value.get(key).and_then(Value::as_array).ok_or_else(|| format!("{what} lacks the list {key}"))
}

/// A tool's name as the services allow it.
fn tool_name(name: &str, longest: usize) -> Result<(), String> {
    let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if name.is_empty() || name.len() > longest || !legal {
        return Err(format!("the tool name {name:?} does not match [a-zA-Z0-9_-]{{1,{longest}}}"));
    }
    Ok(())
}
