//! The stream and the posts as a transport for the protocol session.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use tokio::sync::watch;

use super::{Stream, send};
use crate::decoder::Decoder;
use crate::http::TooLarge;
use crate::raw::{self, Failure};

/// A session over HTTP with SSE.
pub(crate) struct SseTransport {
    stream: Stream,
    decoder: Decoder,
    closed: Arc<watch::Sender<bool>>,
}

impl SseTransport {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, decoder: Decoder::default(), closed: Arc::new(watch::Sender::new(false)) }
    }
}

impl Transport<RoleClient> for SseTransport {
    type Error = StreamableHttpError<reqwest::Error>;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.decoder.note(&message);
        let Stream { client, headers, post, .. } = &self.stream;
        let (client, headers, post) = (client.clone(), headers.clone(), post.clone());
        let body = serde_json::to_vec(&message).map(Bytes::from);
        let closed = self.closed.clone();
        async move {
            let posting = async {
                let body = body?;
                // The answer comes by the stream; what is said here is only whether the message was taken.
                let tell = |token| {
                    let mut request = Request::new(Method::POST, post.clone());
                    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                    *request.body_mut() = Some(body.clone().into());
                    send(&client, request, &headers, token)
                };
                client.with_token(tell).await.map(drop)
            };
            let mut closed = closed.subscribe();
            tokio::select! {
                result = posting => result,
                _ = closed.wait_for(|closed| *closed) => Err(StreamableHttpError::TransportChannelClosed),
            }
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.decoder.next() {
                return Some(message);
            }
            match self.stream.next().await {
                Some(Ok(event)) if event.is_message() => self.decoder.message(&event.data),
                // Kinds of its own are nobody's here.
                Some(Ok(_)) => {}
                Some(Err(TooLarge(limit))) => {
                    let too_large = raw::TooLarge { limit, what: "an event of its stream".to_owned() };
                    self.decoder.fail(None, Failure::TooLarge(too_large));
                }
                None => {
                    self.decoder.end();
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.closed.send_replace(true);
        self.decoder.end();
        Ok(())
    }
}
