//! An HTTP client of a few lines, so that the server is judged by bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use massgen_testkit::http::HttpServer;
use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body ended as HTTP wants it.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The events: name and data.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let text = std::str::from_utf8(&self.body).unwrap();
        let field = |event: &str, name: &str| {
            let values: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix(name)).collect();
            values.join("\n")
        };
        text.split("\n\n")
            .filter(|event| !event.is_empty())
            .map(|event| (field(event, "event: "), field(event, "data: ")))
            .collect()
    }
}

pub(crate) fn send(
    server: &HttpServer,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: loopback\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    stream
}

/// Reads one answer to its end; `None`: there was none.
pub(crate) fn receive(mut stream: TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, head, body: Vec::new(), complete: false };
    let mut rest = &bytes[end + 4..];
    if answer.header("transfer-encoding").is_none() {
        answer.complete = answer.header("content-length").is_none_or(|n| n == rest.len().to_string());
        answer.body = rest.to_vec();
        return Some(answer);
    }
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            answer.complete = true;
            break;
        }
        answer.body.extend(&rest[line + 2..line + 2 + size]);
        rest = &rest[line + 2 + size + 2..];
    }
    Some(answer)
}

pub(crate) fn post(server: &HttpServer, target: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    receive(send(server, "POST", target, headers, body.to_string().as_bytes())).expect("an answer")
}
