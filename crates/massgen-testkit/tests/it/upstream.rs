//! The outside world, asked by hand in each way that a server may ask it.

use std::path::Path;
use std::sync::Arc;

use massgen_testkit::upstream::{Upstream, Via, discord, x};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Sends one request and reads the answer to the end of the connection: its status and its body.
async fn ask<S>(mut stream: S, line: &str, headers: &str, body: &str) -> (u16, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = body.len();
    let request =
        format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A TLS stream that ends without a word about it is an end as well.
    let _ = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn connect(upstream: &Upstream) -> TcpStream {
    TcpStream::connect(upstream.url("").strip_prefix("http://").unwrap()).await.unwrap()
}

/// A tunnel to a host, with TLS by the authority in the file.
async fn tunnel(
    upstream: &Upstream,
    host: &'static str,
    authority: &Path,
) -> impl AsyncRead + AsyncWrite + Unpin {
    let mut stream = connect(upstream).await;
    stream.write_all(format!("CONNECT {host}:443 HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 64];
    let length = stream.read(&mut answer).await.unwrap();
    assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from(host).unwrap(), stream).await.unwrap()
}

#[tokio::test]
async fn discord_takes_its_bot_and_nobody_else() {
    let upstream = Upstream::start();
    let bot = format!("authorization: Bot {}\r\n", discord::TOKEN);
    let messages = format!("/api/v10/channels/{}/messages", discord::CHANNEL);
    for (line, headers, body, status) in [
        (format!("POST {messages}"), bot.as_str(), json!({"content": "first"}), 200),
        (format!("POST {messages}"), &bot, json!({"content": "second"}), 200),
        (format!("POST {messages}"), "authorization: Bot another\r\n", json!({"content": "third"}), 401),
        ("GET /api/v10/channels/111".to_owned(), &bot, Value::Null, 404),
        ("GET /api/v10/nothing".to_owned(), &bot, Value::Null, 404),
    ] {
        let answer = ask(connect(&upstream).await, &line, headers, &body.to_string()).await;
        assert_eq!(answer.0, status, "{line}: {}", answer.1);
    }
    let (_, read) = ask(connect(&upstream).await, &format!("GET {messages}"), &bot, "").await;
    let read: Value = serde_json::from_str(&read).unwrap();
    let contents: Vec<_> = read.as_array().unwrap().iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, ["second", "first"]);
    let seen = upstream.requests();
    assert_eq!(seen[0].json()["content"], "first");
    assert_eq!((seen[2].status, seen[2].via), (401, Via::Direct));
}

/// A client's frame: masked, here with zeros.
fn frame(message: &Value) -> Vec<u8> {
    let text = message.to_string();
    let mut bytes = vec![0x81, 0x80 | u8::try_from(text.len()).unwrap(), 0, 0, 0, 0];
    bytes.extend(text.as_bytes());
    bytes
}

async fn next(stream: &mut TcpStream) -> Value {
    assert_eq!(stream.read_u8().await.unwrap(), 0x81);
    let length = match stream.read_u8().await.unwrap() {
        126 => usize::from(stream.read_u16().await.unwrap()),
        length => usize::from(length),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await.unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn the_gateway_says_hello_takes_a_login_and_answers_heartbeats() {
    let upstream = Upstream::start();
    let mut stream = connect(&upstream).await;
    // Key and answer of RFC 6455, section 1.3.
    let hello = "GET /gateway?v=10&encoding=json HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(hello.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(String::from_utf8(head).unwrap().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(next(&mut stream).await["op"], 10);
    stream.write_all(&frame(&json!({"op": 1, "d": null}))).await.unwrap();
    assert_eq!(next(&mut stream).await["op"], 11);
    stream.write_all(&frame(&json!({"op": 2, "d": {"token": discord::TOKEN}}))).await.unwrap();
    assert_eq!(next(&mut stream).await["t"], "READY");
    let guild = next(&mut stream).await;
    assert_eq!((&guild["t"], &guild["d"]["id"]), (&json!("GUILD_CREATE"), &json!(discord::GUILD)));
    stream.write_all(&frame(&json!({"op": 2, "d": {"token": "another"}}))).await.unwrap();
    let mut end = Vec::new();
    stream.read_to_end(&mut end).await.unwrap();
    assert_eq!(end, [0x88, 2, 0x0f, 0xa4], "closed with 4004");
}

#[tokio::test]
async fn a_proxy_for_arxiv_and_for_no_other_host() {
    let upstream = Upstream::start();
    let query = "search_query=all%3Atool%20use%20%26%20more&max_results=2";
    let line = format!("GET http://export.arxiv.org/api/query?{query}");
    let (status, feed) = ask(connect(&upstream).await, &line, "", "").await;
    assert_eq!((status, feed.matches("<entry>").count()), (200, 2), "{feed}");
    assert!(feed.contains("<title>Paper 1 on all:tool use &amp; more</title>"), "{feed}");
    for line in ["GET http://example.com/", "CONNECT example.com:443"] {
        assert_eq!(ask(connect(&upstream).await, line, "", "").await.0, 502, "{line}");
    }
    let seen: Vec<_> = upstream.requests().iter().map(|seen| (seen.via, seen.host.clone())).collect();
    assert_eq!(
        seen,
        [
            (Via::Proxy, "export.arxiv.org".to_owned()),
            (Via::Proxy, "example.com".to_owned()),
            (Via::Tunnel, "example.com".to_owned()),
        ]
    );
}

#[tokio::test]
async fn the_token_of_an_app_searches_x_and_posts_nothing() {
    let upstream = Upstream::start();
    let authority = upstream.authority();
    let search = "GET /2/tweets/search/recent?query=MCP";
    let bearer = format!("Bearer {}", x::BEARER_TOKEN);
    for (line, authorization, status) in [
        (search, bearer.as_str(), 200),
        (search, "Bearer another", 401),
        (search, x::BEARER_TOKEN, 401),
        (search, "OAuth oauth_token=\"x\"", 401),
        ("POST /2/tweets", &bearer, 403),
        ("POST /2/tweets", "Bearer another", 401),
    ] {
        let stream = tunnel(&upstream, "api.x.com", &authority).await;
        let headers = format!("authorization: {authorization}\r\n");
        let (got, body) = ask(stream, line, &headers, r#"{"text": "hello"}"#).await;
        assert_eq!(got, status, "{line} {authorization}: {body}");
    }
    let seen = &upstream.requests()[0];
    assert_eq!((seen.via, seen.line().as_str()), (Via::Tunnel, "GET api.x.com/2/tweets/search/recent"));
}
