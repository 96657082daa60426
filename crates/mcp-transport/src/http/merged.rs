//! A transport that also hands on messages which arrived elsewhere.

use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::mpsc;

/// `T`, and what the streams of requests past it bring besides answers.
pub(super) struct Merged<T> {
    inner: T,
    others: mpsc::Receiver<ServerJsonRpcMessage>,
}

impl<T> Merged<T> {
    pub(super) fn new(inner: T, others: mpsc::Receiver<ServerJsonRpcMessage>) -> Self {
        Self { inner, others }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Merged<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        tokio::select! {
            message = self.inner.receive() => message,
            Some(message) = self.others.recv() => Some(message),
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
