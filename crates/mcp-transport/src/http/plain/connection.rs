//! One connection of HTTP/1.1, with nothing that would go on by itself.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Request;
use super::wire::{Wire, Written};

/// What a body that nobody reads any longer may still bring before its connection is not worth keeping.
const REST: usize = 16 * 1024;

/// A connection. It reads and writes while somebody waits for something, and never else; dropping it closes it.
pub(super) struct Connection {
    send: SendRequest<Full<Bytes>>,
    /// hyper's half that reads and writes; `None` once it has ended.
    driver: Option<http1::Connection<Wire, Full<Bytes>>>,
    written: Written,
}

/// What has become of a connection that is not in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// It can take a request.
    Free,
    /// The end of the last answer is still to come.
    Waiting,
    /// It has ended, or is of no more use.
    Over,
}

impl Connection {
    pub(super) async fn over(stream: TokioIo<TcpStream>) -> hyper::Result<Self> {
        let written = Written::default();
        let (send, driver) = http1::handshake(Wire::new(stream, written.clone())).await?;
        Ok(Self { send, driver: Some(driver), written })
    }

    fn drive(&mut self, cx: &mut Context<'_>) {
        // Its error is told to whoever waits for the answer or a piece of it.
        if let Some(driver) = &mut self.driver
            && Pin::new(driver).poll(cx).is_ready()
        {
            self.driver = None;
        }
    }

    /// Sends a request and waits for the head of its answer. After an error, or when the future was dropped, the connection
    /// is of no more use.
    pub(super) async fn send(
        &mut self,
        request: Request,
    ) -> Result<Response<Incoming>, TrySendError<Request>> {
        self.written.forget();
        let mut answer = pin!(self.send.try_send_request(request));
        std::future::poll_fn(|cx| {
            self.drive(cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Whether anything of the last request has left.
    pub(super) fn has_written(&self) -> bool {
        self.written.is_any()
    }

    /// The next piece of a body that comes by this connection.
    pub(super) fn poll_piece(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Bytes>>> {
        loop {
            let mut frame = Pin::new(&mut *body).poll_frame(cx);
            if frame.is_pending() {
                self.drive(cx);
                frame = Pin::new(&mut *body).poll_frame(cx);
            }
            match ready!(frame) {
                Some(Ok(frame)) => {
                    // Trailers say nothing that is wanted here.
                    if let Ok(piece) = frame.into_data() {
                        return Poll::Ready(Some(Ok(piece)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
    }

    /// Takes in what has come, without waiting, and says what the connection is good for. `rest` is the body that nobody reads.
    pub(super) fn settle(&mut self, rest: &mut Option<Incoming>) -> Rest {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut more = 0;
        while let Some(body) = rest {
            match self.poll_piece(body, cx) {
                Poll::Ready(Some(Ok(piece))) => more += piece.len(),
                Poll::Ready(Some(Err(_))) => return Rest::Over,
                Poll::Ready(None) => *rest = None,
                Poll::Pending if self.driver.is_some() => return Rest::Waiting,
                Poll::Pending => return Rest::Over,
            }
            if more > REST {
                return Rest::Over;
            }
        }
        self.drive(cx);
        if self.driver.is_some() && self.send.is_ready() { Rest::Free } else { Rest::Over }
    }
}
