//! rmcp's transport, with messages of the requests past it going in, and their answers coming out.

use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::sync::mpsc;

use super::awaited::Awaited;

/// `T`, and what the streams of requests past it bring besides answers.
pub(super) struct Merged<T> {
    inner: T,
    others: mpsc::Receiver<ServerJsonRpcMessage>,
    awaited: Awaited,
}

impl<T> Merged<T> {
    pub(super) fn new(inner: T, others: mpsc::Receiver<ServerJsonRpcMessage>, awaited: Awaited) -> Self {
        Self { inner, others, awaited }
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
        loop {
            let message = tokio::select! {
                message = self.inner.receive() => message?,
                Some(message) = self.others.recv() => return Some(message),
            };
            if let Some(message) = self.awaited.pass(message) {
                return Some(message);
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
