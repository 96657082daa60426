//! A small HTTP/1.1 server on loopback whose every byte the test decides.
//!
//! It runs on a thread and a runtime of its own, so that it serves blocking tests as well, and delays are real
//! even where the test's clock is paused. Dropping it ends every connection and the thread.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::listener::Listener;
use crate::{PATIENCE, process};

/// One request as it arrived, and what became of its answer.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query, without the question mark; empty where there is none.
    pub query: String,
    /// The headers in order, with the names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0: a pooled client uses one again.
    pub connection: u64,
    fate: Arc<AtomicU8>,
}

const ABANDONED: u8 = 2;
const FINISHED: u8 = 1;

impl HttpRequest {
    /// A header's value; the name's case does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The client wants the connection closed after this one.
    pub(crate) fn is_last(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// The client went away before it had the whole answer.
    pub fn is_abandoned(&self) -> bool {
        self.fate.load(Ordering::SeqCst) == ABANDONED
    }

    /// The answer was written to its planned end, be that a fault.
    pub fn is_finished(&self) -> bool {
        self.fate.load(Ordering::SeqCst) == FINISHED
    }

    /// Waits, at most [`PATIENCE`], until the client has gone away. True: it has.
    pub async fn until_abandoned(&self) -> bool {
        process::until(PATIENCE, || self.is_abandoned()).await
    }
}

/// What is written, and when.
#[derive(Debug)]
pub struct HttpReply {
    /// Passes before anything is written.
    pub delay: Duration,
    /// Status and headers; `None`: nothing is written, and the body's first fault decides how it ends.
    pub head: Option<(u16, Vec<(String, String)>)>,
    /// The body.
    pub body: Body,
}

/// A body.
#[derive(Debug)]
pub enum Body {
    /// Sent whole, with its length.
    Whole(Vec<u8>),
    /// Sent in chunks.
    Parts(Vec<Part>),
    /// Sent in chunks as they come, until the sender is dropped.
    Channel(mpsc::UnboundedReceiver<Part>),
}

/// One step of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// One chunk, written and flushed by itself.
    Bytes(Vec<u8>),
    /// Let time pass.
    Wait(Duration),
    /// Never go on; ends when the client goes away.
    Hang,
    /// Close the connection without the end of the body.
    Close,
    /// Reset the connection (TCP RST).
    Reset,
}

impl HttpReply {
    /// A status and a whole body.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { delay: Duration::ZERO, head: Some((status, headers)), body: Body::Whole(body.into()) }
    }

    /// A status and JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// A status without a body.
    pub fn empty(status: u16) -> Self {
        Self { delay: Duration::ZERO, head: Some((status, Vec::new())), body: Body::Whole(Vec::new()) }
    }

    /// Status 200 and a stream of server-sent events.
    pub fn sse(body: Body) -> Self {
        let headers = [("content-type", "text/event-stream"), ("cache-control", "no-cache")];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        Self { delay: Duration::ZERO, head: Some((200, headers)), body }
    }

    /// No answer at all: the connection ends, or hangs, as the part says.
    pub fn fault(part: Part) -> Self {
        Self { delay: Duration::ZERO, head: None, body: Body::Parts(vec![part]) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        if let Some((_, headers)) = &mut self.head {
            headers.push((name.to_owned(), value.into()));
        }
        self
    }

    /// Waits before it writes.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Answers requests; called on the server's thread, so it must not block for long.
pub type Handler = Arc<dyn Fn(&HttpRequest) -> HttpReply + Send + Sync>;

/// A running server.
#[derive(Debug)]
pub struct HttpServer {
    listener: Listener,
    requests: Arc<Mutex<Vec<HttpRequest>>>,
    connections: Arc<AtomicU64>,
}

impl HttpServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(handler: Handler) -> Self {
        let (requests, connections): (Arc<Mutex<Vec<_>>>, Arc<AtomicU64>) = Default::default();
        let (heard, made) = (Arc::clone(&requests), Arc::clone(&connections));
        let listener = Listener::bind().serve(move |stream| {
            let number = made.fetch_add(1, Ordering::SeqCst);
            serve(stream, number, Arc::clone(&handler), Arc::clone(&heard))
        });
        Self { listener, requests, connections }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// An address below it, such as `http://127.0.0.1:40001/v1` for `/v1`.
    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
    }

    /// All requests so far, in the order they arrived.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// How many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits for a request.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`], with those that did come.
    pub async fn await_request(&self, wanted: impl Fn(&HttpRequest) -> bool) -> HttpRequest {
        let mut found = None;
        process::until(PATIENCE, || {
            found = self.requests.lock().unwrap().iter().find(|r| wanted(r)).cloned();
            found.is_some()
        })
        .await;
        found.unwrap_or_else(|| panic!("the awaited request did not come; these did: {:#?}", self.requests()))
    }
}

/// Answers the requests of one connection until either side ends it.
async fn serve(stream: TcpStream, number: u64, handler: Handler, requests: Arc<Mutex<Vec<HttpRequest>>>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream, number).await {
        requests.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        let end = write_reply(&mut stream, reply, request.method == "HEAD").await;
        let fate = if end == End::Abandoned { ABANDONED } else { FINISHED };
        request.fate.store(fate, Ordering::SeqCst);
        if end != End::Complete || request.is_last() {
            break;
        }
    }
}

pub(crate) async fn read_request<S>(stream: &mut BufReader<S>, connection: u64) -> Option<HttpRequest>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let line = read_line(stream).await?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let fate = Arc::new(AtomicU8::new(0));
    let mut request = HttpRequest { method, path, query, headers, body: Vec::new(), connection, fate };
    if request.header("expect").is_some() {
        stream.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    if request.header("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
        loop {
            let line = read_line(stream).await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            let start = request.body.len();
            request.body.resize(start + size, 0);
            stream.read_exact(&mut request.body[start..]).await.ok()?;
            if size == 0 {
                while !read_line(stream).await?.is_empty() {}
                break;
            }
            read_line(stream).await?;
        }
    } else if let Some(length) = request.header("content-length") {
        request.body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut request.body).await.ok()?;
    }
    Some(request)
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin)) -> Option<String> {
    let mut line = Vec::new();
    match stream.read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(String::from_utf8_lossy(&line).trim_end().to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Complete,
    Abandoned,
    Broken,
}

async fn write_reply(stream: &mut BufReader<TcpStream>, reply: HttpReply, head_only: bool) -> End {
    if !reply.delay.is_zero() && idle(stream, Some(reply.delay)).await {
        return End::Abandoned;
    }
    let chunked = !matches!(reply.body, Body::Whole(_));
    if let Some((status, headers)) = &reply.head {
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(*status));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match &reply.body {
            Body::Whole(body) if *status != 204 => {
                head.push_str(&format!("content-length: {}\r\n", body.len()))
            }
            Body::Whole(_) => {}
            _ => head.push_str("transfer-encoding: chunked\r\n"),
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if let (Body::Whole(body), false) = (&reply.body, head_only) {
            bytes.extend(body);
        }
        if stream.get_mut().write_all(&bytes).await.is_err() {
            return End::Abandoned;
        }
    }
    match reply.body {
        Body::Whole(_) => return End::Complete,
        Body::Parts(parts) => {
            for part in parts {
                if let Some(end) = write_part(stream, part).await {
                    return end;
                }
            }
        }
        Body::Channel(mut parts) => loop {
            let part = tokio::select! {
                part = parts.recv() => part,
                true = idle(stream, None) => return End::Abandoned,
            };
            let Some(part) = part else { break };
            if let Some(end) = write_part(stream, part).await {
                return end;
            }
        },
    }
    if !chunked || reply.head.is_none() {
        return End::Broken;
    }
    match stream.get_mut().write_all(b"0\r\n\r\n").await {
        Ok(()) => End::Complete,
        Err(_) => End::Abandoned,
    }
}

/// Writes one part; `Some`: that was the last.
async fn write_part(stream: &mut BufReader<TcpStream>, part: Part) -> Option<End> {
    match part {
        Part::Bytes(bytes) if bytes.is_empty() => None,
        Part::Bytes(bytes) => {
            let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
            chunk.extend(bytes);
            chunk.extend(b"\r\n");
            let written = stream.get_mut().write_all(&chunk).await;
            // Lets other connections on, and the client read this chunk by itself.
            tokio::task::yield_now().await;
            written.is_err().then_some(End::Abandoned)
        }
        Part::Wait(time) => idle(stream, Some(time)).await.then_some(End::Abandoned),
        Part::Hang => {
            idle(stream, None).await;
            Some(End::Abandoned)
        }
        Part::Close => Some(End::Broken),
        Part::Reset => {
            let _ = stream.get_ref().set_zero_linger();
            Some(End::Broken)
        }
    }
}

/// Lets time pass (`None`: for ever) while watching the client. True: it has gone away.
async fn idle(stream: &mut BufReader<TcpStream>, time: Option<Duration>) -> bool {
    let gone = async {
        match stream.fill_buf().await {
            Ok(bytes) if !bytes.is_empty() => std::future::pending().await,
            _ => {}
        }
    };
    match time {
        None => {
            gone.await;
            true
        }
        Some(time) => tokio::time::timeout(time, gone).await.is_ok(),
    }
}

pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}
