//! The outside world on one loopback port: Discord, X and arXiv, as far as the examples' servers use them.
//!
//! Real servers talk to it without a change of theirs. A Node program is pointed at it by a preloaded script
//! ([`Upstream::discord`]), a Python program by the variables for proxies and certificates ([`Upstream::proxy`]). One port
//! takes plain HTTP, HTTP as a proxy gets it, `CONNECT` with TLS behind it (by an authority that lives as long as the value),
//! and Discord's gateway as a WebSocket. It connects to nothing, and answers 502 to everybody who asks for another host.
//!
//! ```
//! use massgen_testkit::upstream::{Upstream, discord};
//!
//! let upstream = Upstream::start();
//! let variables = upstream.discord();
//! assert!(variables.iter().any(|(name, _)| *name == "NODE_OPTIONS"));
//! assert!(upstream.url("/api").starts_with("http://127.0.0.1:"));
//! assert_eq!(discord::CHANNEL.len(), 18);
//! ```

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use url::Url;

use crate::http::{HttpRequest, read_request, reason};
use crate::listener::Listener;
use crate::{PATIENCE, process};

mod arxiv;
mod authority;
pub mod discord;
mod gateway;
pub mod x;

/// Loaded into a Node program before its own code.
const PRELOAD: &str = include_str!("upstream/discord-address.cjs");

/// How a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Straight to the port.
    Direct,
    /// To a proxy, with the whole address in the first line.
    Proxy,
    /// Through a tunnel that `CONNECT` opened, over TLS.
    Tunnel,
}

/// One request from a server, and what it was told.
#[derive(Debug, Clone)]
pub struct Seen {
    /// How it came.
    pub via: Via,
    /// The host it was meant for.
    pub host: String,
    /// The request. Its `path` is without scheme and host.
    pub http: HttpRequest,
    /// The status of the answer; 101 for a WebSocket.
    pub status: u16,
}

impl Seen {
    /// The body as JSON, `null` where it is none.
    pub fn json(&self) -> Value {
        self.http.json()
    }

    /// The `authorization` header; empty where there is none.
    pub fn authorization(&self) -> &str {
        self.http.header("authorization").unwrap_or_default()
    }

    /// Method, host and path, for messages and assertions.
    pub fn line(&self) -> String {
        format!("{} {}{}", self.http.method, self.host, self.http.path)
    }
}

/// The running stand-in. Dropping it ends every connection and its thread.
#[derive(Debug)]
pub struct Upstream {
    listener: Listener,
    folder: TempDir,
    world: Arc<World>,
}

/// What all connections share.
#[derive(Debug)]
struct World {
    address: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    discord: discord::State,
}

impl World {
    fn note(&self, call: Call<'_>, http: HttpRequest, status: u16) {
        let (via, host) = (call.via, call.host.to_owned());
        self.seen.lock().unwrap().push(Seen { via, host, http, status });
    }
}

/// A request on its way to the service it was meant for.
#[derive(Debug, Clone, Copy)]
struct Call<'a> {
    via: Via,
    host: &'a str,
    /// The path without scheme and host.
    path: &'a str,
    http: &'a HttpRequest,
}

/// What a service answers.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { status, content_type: "application/json", headers: Vec::new(), body }
    }
}

impl Upstream {
    /// Listens on a free port of 127.0.0.1.
    pub fn start() -> Self {
        // Not below the system's temporary folder: no authority from there is trusted.
        let folder = crate::tools::scratch();
        let tls = authority::acceptor(&folder.path().join("ca.pem"));
        std::fs::write(folder.path().join("discord-address.cjs"), PRELOAD).expect("a writable folder");
        let port = Listener::bind();
        let address = port.address();
        let world = Arc::new(World { address, seen: Mutex::default(), discord: discord::State::default() });
        let shared = Arc::clone(&world);
        let mut connections = 0..;
        let listener = port.serve(move |stream| {
            connection(stream, tls.clone(), Arc::clone(&shared), connections.next().unwrap_or_default())
        });
        Self { listener, folder, world }
    }

    /// An address below it.
    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
    }

    /// The certificate of the authority behind its TLS, as PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The variables that point a program with discord.js at it.
    pub fn discord(&self) -> Vec<(&'static str, String)> {
        let preload = self.folder.path().join("discord-address.cjs");
        vec![
            ("NODE_OPTIONS", format!("--require {}", preload.display())),
            ("DISCORD_API_ADDRESS", self.url("/api")),
        ]
    }

    /// The variables that make it the proxy of a program, and its authority the one that counts.
    pub fn proxy(&self) -> Vec<(&'static str, String)> {
        let ca = self.authority().display().to_string();
        vec![
            ("HTTP_PROXY", self.url("")),
            ("HTTPS_PROXY", self.url("")),
            ("NO_PROXY", String::new()),
            ("SSL_CERT_FILE", ca.clone()),
            ("REQUESTS_CA_BUNDLE", ca),
        ]
    }

    /// All requests so far, in the order they arrived.
    pub fn requests(&self) -> Vec<Seen> {
        self.world.seen.lock().unwrap().clone()
    }

    /// Waits for a request.
    ///
    /// # Panics
    /// When none comes within [`PATIENCE`], with those that did come.
    pub async fn await_request(&self, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let mut found = None;
        process::until(PATIENCE, || {
            found = self.world.seen.lock().unwrap().iter().find(|seen| wanted(seen)).cloned();
            found.is_some()
        })
        .await;
        found.unwrap_or_else(|| panic!("the awaited request did not come; these did: {:#?}", self.requests()))
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, world: Arc<World>, number: u64) {
    let mut stream = BufReader::new(stream);
    if let Some(tunnel) = serve(&mut stream, &world, number, None).await {
        // Whatever was read already belongs to the tunnel; a client waits for the answer before it goes on.
        if !stream.buffer().is_empty() {
            return;
        }
        if let Ok(stream) = tls.accept(stream.into_inner()).await {
            serve(&mut BufReader::new(stream), &world, number, Some(&tunnel)).await;
        }
    }
}

/// Answers requests until the client goes away. `Some`: it opened a tunnel to this host.
async fn serve<S>(
    stream: &mut BufReader<S>,
    world: &World,
    number: u64,
    tunnel: Option<&str>,
) -> Option<String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let mut http = read_request(stream, number).await?;
        if http.method == "CONNECT" {
            let host = http.path.rsplit_once(':').map_or(http.path.as_str(), |(host, _)| host).to_owned();
            let known = service(&host).is_some();
            if !known {
                world.note(Call { via: Via::Tunnel, host: &host, path: "", http: &http }, http.clone(), 502);
            }
            let head = if known { "200 Connected" } else { "502 Bad Gateway\r\ncontent-length: 0" };
            stream.get_mut().write_all(format!("HTTP/1.1 {head}\r\n\r\n").as_bytes()).await.ok()?;
            return known.then_some(host);
        }
        let (via, host) = match (tunnel, Url::parse(&http.path)) {
            (Some(host), _) => (Via::Tunnel, host.to_owned()),
            (None, Ok(url)) if url.has_host() => {
                http.path = url.path().to_owned();
                (Via::Proxy, url.host_str().unwrap_or_default().to_owned())
            }
            _ => (Via::Direct, "127.0.0.1".to_owned()),
        };
        let call = Call { via, host: &host, path: &http.path, http: &http };
        if let Some(key) = http.header("sec-websocket-key") {
            world.note(call, http.clone(), 101);
            gateway::serve(stream, world, key).await;
            return None;
        }
        let answer = match service(&host) {
            Some(service) => service(world, call),
            None => Answer::json(502, &serde_json::json!({"message": "no such host in this world"})),
        };
        world.note(call, http.clone(), answer.status);
        write(stream, answer, http.method == "HEAD").await?;
        if http.is_last() {
            return None;
        }
    }
}

type Service = fn(&World, Call<'_>) -> Answer;

/// Who answers for a host. Only Discord is reached straight.
fn service(host: &str) -> Option<Service> {
    Some(match host {
        "127.0.0.1" => discord::answer,
        "api.twitter.com" | "api.x.com" => x::answer,
        "export.arxiv.org" => arxiv::answer,
        _ => return None,
    })
}

async fn write<S>(stream: &mut BufReader<S>, answer: Answer, head_only: bool) -> Option<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let status = answer.status;
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    head.push_str(&format!(
        "content-type: {}\r\ncontent-length: {}\r\n",
        answer.content_type,
        answer.body.len()
    ));
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    if !head_only {
        bytes.extend(answer.body);
    }
    stream.get_mut().write_all(&bytes).await.ok()?;
    stream.get_mut().flush().await.ok()
}

/// Whether the client is still there; what it says meanwhile stays in the buffer.
async fn is_open<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> bool {
    matches!(stream.fill_buf().await, Ok(bytes) if !bytes.is_empty())
}
