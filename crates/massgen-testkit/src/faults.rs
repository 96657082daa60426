//! A TCP server that does not speak HTTP, or speaks it badly; a line that loses what it carries; certificates that are no good.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listener::Listener;

mod relay;
mod tls;

pub use relay::TcpRelay;
pub use tls::{Certificate, TlsFaults};

/// One thing done with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TcpStep {
    /// Read until so many bytes have come on this connection, from its start.
    Read(usize),
    /// Read until an empty line has come: the end of the head of an HTTP request.
    ReadHead,
    /// Write these bytes at once.
    Write(Vec<u8>),
    /// Write these bytes one by one, with this time between them.
    Drip(Vec<u8>, Duration),
    /// Let time pass.
    Wait(Duration),
    /// Do nothing more, but keep the connection until the other side ends it.
    Hang,
    /// Reset the connection (RST). Without this it is closed at the end of the steps (FIN).
    Reset,
}

/// A running server: it does the same steps with each connection, on a thread and a runtime of its own. It
/// ends on drop.
#[derive(Debug)]
pub struct TcpFaults {
    listener: Listener,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl TcpFaults {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(steps: impl IntoIterator<Item = TcpStep>) -> Self {
        let steps: Arc<[TcpStep]> = steps.into_iter().collect();
        let received: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let shared = Arc::clone(&received);
        let listener = Listener::bind()
            .serve(move |stream| Connection::new(stream, Arc::clone(&shared)).run(Arc::clone(&steps)));
        Self { listener, received }
    }

    /// Accepts and never says anything.
    pub fn hang() -> Self {
        Self::start([TcpStep::Hang])
    }

    /// Resets each connection once so many bytes have come.
    pub fn reset_after(bytes: usize) -> Self {
        Self::start([TcpStep::Read(bytes), TcpStep::Reset])
    }

    /// Closes each connection after the head of a request.
    pub fn close() -> Self {
        Self::start([TcpStep::ReadHead])
    }

    /// Answers a request with bytes that are not HTTP.
    pub fn garbage() -> Self {
        Self::start([
            TcpStep::ReadHead,
            TcpStep::Write(b"\x16\x03\x01\x00\xff SSH-2.0-nothing\r\n\r\n".to_vec()),
        ])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// An address below it, as `http://127.0.0.1:PORT/path`.
    pub fn url(&self, path: &str) -> String {
        self.listener.url(path)
    }

    /// What came on each connection so far, in the order they were made.
    pub fn received(&self) -> Vec<Vec<u8>> {
        self.received.lock().unwrap().clone()
    }
}

/// An address on loopback where nobody listens.
pub fn refused() -> SocketAddr {
    Listener::bind().address()
}

struct Connection {
    stream: TcpStream,
    number: usize,
    received: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Connection {
    fn new(stream: TcpStream, received: Arc<Mutex<Vec<Vec<u8>>>>) -> Self {
        let number = {
            let mut received = received.lock().unwrap();
            received.push(Vec::new());
            received.len() - 1
        };
        Self { stream, number, received }
    }

    /// Does the steps; the connection closes with it.
    async fn run(mut self, steps: Arc<[TcpStep]>) {
        for step in &*steps {
            let goes_on = match step {
                TcpStep::Read(bytes) => self.read(|all| all.len() >= *bytes).await,
                TcpStep::ReadHead => self.read(|all| all.windows(4).any(|w| w == b"\r\n\r\n")).await,
                TcpStep::Write(bytes) => self.stream.write_all(bytes).await.is_ok(),
                TcpStep::Drip(bytes, pause) => self.drip(bytes, *pause).await,
                TcpStep::Wait(time) => {
                    tokio::time::sleep(*time).await;
                    true
                }
                TcpStep::Hang => self.read(|_| false).await,
                TcpStep::Reset => {
                    let _ = self.stream.set_zero_linger();
                    false
                }
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Reads until it is enough. False: the other side ended before.
    async fn read(&mut self, enough: impl Fn(&[u8]) -> bool) -> bool {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if enough(&self.received.lock().unwrap()[self.number]) {
                return true;
            }
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.received.lock().unwrap()[self.number].extend(&buffer[..count]),
            }
        }
    }

    async fn drip(&mut self, bytes: &[u8], pause: Duration) -> bool {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).await.is_err() {
                return false;
            }
            tokio::time::sleep(pause).await;
        }
        true
    }
}
