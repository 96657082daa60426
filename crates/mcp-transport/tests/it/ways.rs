//! Ways to a remote server: through a proxy, by an authority of one's own, over IPv6.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use massgen_testkit::http::{HttpReply, HttpServer};
use mcp_core::*;
use mcp_transport::{Proxies, Session, SessionOptions};
use rcgen::{CertificateParams, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::support::*;

async fn open(url: &str, guard: Gatekeeper, options: SessionOptions) -> Result<Session, ToolError> {
    let spec = RemoteSpec { url: url.parse().unwrap(), headers: BTreeMap::new() };
    soon(Session::http(name(), Admitted::by_guard(spec), Arc::new(guard), options)).await
}

/// Status and body.
fn answer(message: &Value) -> (u16, String) {
    let result = match message["method"].as_str() {
        Some("initialize") => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "far", "version": "1"}}),
        Some("tools/call") => json!({"content": [{"type": "text", "text": "from afar"}]}),
        Some(_) if message.get("id").is_none() => return (202, String::new()),
        _ => return (405, String::new()),
    };
    (200, json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string())
}

/// A server, and a proxy in front of one: the two differ in what they are asked.
fn far() -> HttpServer {
    HttpServer::start(Arc::new(|request| {
        let (status, body) = answer(&request.json());
        HttpReply::new(status, "application/json", body)
    }))
}

fn through(proxy: &HttpServer, exempt: &str) -> SessionOptions {
    let mut options = SessionOptions::default();
    let mut address: url::Url = proxy.url("/").parse().unwrap();
    address.set_username("who").unwrap();
    address.set_password(Some("hush")).unwrap();
    options.proxies = Proxies { http: Some(address), https: None, exempt: exempt.to_owned() };
    options
}

#[tokio::test]
async fn a_proxy_carries_what_is_not_exempt() {
    let proxy = far();
    let session = open("http://mcp.invalid/mcp", Gatekeeper::default(), through(&proxy, "")).await.unwrap();
    let output = soon(session.call_tool(&tool("do"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(output.to_text(), "from afar");
    assert!(proxy.requests().iter().all(|r| r.header("host") == Some("mcp.invalid")));
    assert!(proxy.requests().iter().all(|r| r.header("proxy-authorization").is_some()));

    let seen = proxy.requests().len();
    // A name that this network cannot resolve, and nobody else is asked.
    let error =
        open("http://mcp.invalid/mcp", Gatekeeper::default(), through(&proxy, "invalid")).await.unwrap_err();
    assert!(
        matches!(error, ToolError::Connection { phase: Phase::Resolve | Phase::NoHost, .. }),
        "{error:?}"
    );
    // This computer is reached directly, whatever the proxy.
    let here = far();
    let session = open(&here.url("/mcp"), Gatekeeper::default(), through(&proxy, "")).await.unwrap();
    soon(session.call_tool(&tool("do"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(proxy.requests().len(), seen);
}

#[tokio::test]
async fn a_proxy_is_no_way_round_the_guard() {
    let proxy = far();
    let refused: IpAddr = [10, 0, 0, 1].into();
    let guard = Gatekeeper { refused: Some(refused) };
    let error = open("http://10.0.0.1/mcp", guard, through(&proxy, "")).await.unwrap_err();
    assert!(matches!(error, ToolError::Refused { .. }), "{error:?}");
    assert!(proxy.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_an_error_without_its_password() {
    let proxy = far();
    let options = through(&proxy, "");
    drop(proxy);
    let error = open("http://mcp.invalid/mcp", Gatekeeper::default(), options.clone()).await.unwrap_err();
    assert!(matches!(error, ToolError::Connection { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {:?}", options.proxies).contains("hush"));
}

/// Answers requests on one connection. HTTP as little as it takes.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            match stream.read_buf(&mut buffer).await {
                Ok(1..) => continue,
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |n| n.parse().unwrap());
        while buffer.len() < end + 4 + length {
            if stream.read_buf(&mut buffer).await.is_err() {
                return;
            }
        }
        let message = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).unwrap_or_default();
        buffer.drain(..end + 4 + length);
        let (status, body) = answer(&message);
        let reply = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_server_is_reached_over_ipv6() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("SKIPPED: this machine has no IPv6");
        return;
    };
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream));
        }
    });
    let session = open(&url, Gatekeeper::default(), SessionOptions::default()).await.unwrap();
    let output = soon(session.call_tool(&tool("do"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(output.to_text(), "from afar");
    let guard = Gatekeeper { refused: Some(std::net::Ipv6Addr::LOCALHOST.into()) };
    let error = open(&url, guard, SessionOptions::default()).await.unwrap_err();
    assert!(matches!(error, ToolError::Refused { .. }), "{error:?}");
    serving.abort();
}

/// An authority, and a certificate of it for `localhost`.
fn tls() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (authority, TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn an_authority_of_ones_own_is_trusted_for_its_hosts_and_no_other_is() {
    let (authority, acceptor) = tls();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, authority).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream).await;
                }
            });
        }
    });
    let mut trusting = SessionOptions::default();
    trusting.ca_file = Some(file);
    let url = format!("https://localhost:{port}/mcp");
    let session = open(&url, Gatekeeper::default(), trusting.clone()).await.unwrap();
    let output = soon(session.call_tool(&tool("do"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(output.to_text(), "from afar");

    // Nobody vouches for it, and it is not the host that it was made for.
    for (url, options) in [
        (url.as_str(), SessionOptions::default()),
        (&format!("https://127.0.0.1:{port}/mcp"), trusting.clone()),
    ] {
        let error = open(url, Gatekeeper::default(), options).await.unwrap_err();
        assert!(matches!(error, ToolError::Connection { phase: Phase::Secure, .. }), "{url}: {error:?}");
    }

    let broken = folder.path().join("broken.pem");
    std::fs::write(&broken, "no certificate").unwrap();
    for (file, reason) in
        [(broken, "no certificate in PEM"), (folder.path().join("missing.pem"), "missing.pem")]
    {
        trusting.ca_file = Some(file);
        let error = open(&url, Gatekeeper::default(), trusting.clone()).await.unwrap_err();
        assert!(matches!(&error, ToolError::Start { .. }) && error.to_string().contains(reason), "{error}");
    }
    serving.abort();
}
