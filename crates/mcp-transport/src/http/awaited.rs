//! Requests whose answer may come by another stream than their own.
//!
//! Where a response breaks, a server may go on by whichever stream is opened next, and that can be the one rmcp keeps for what
//! the server says unasked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rmcp::model::{JsonRpcMessage, NumberOrString, RequestId, ServerJsonRpcMessage};
use tokio::sync::oneshot;

/// Who waits for what.
#[derive(Clone, Default)]
pub(super) struct Awaited(Arc<Mutex<HashMap<u64, oneshot::Sender<Bytes>>>>);

impl Awaited {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to a request until what is returned first is dropped.
    pub(super) fn open(&self, id: u64) -> (Waiting<'_>, oneshot::Receiver<Bytes>) {
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        (Waiting { awaited: self, id }, receiver)
    }

    /// Hands an answer to whoever waits for it; gives back what is for somebody else.
    pub(super) fn pass(&self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        let id = match &message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            _ => None,
        };
        let Some(waiting) = id.and_then(number).and_then(|id| self.lock().remove(&id)) else {
            return Some(message);
        };
        if let Ok(answer) = serde_json::to_vec(&message) {
            // Whoever asked may just have gone away.
            let _ = waiting.send(answer.into());
        }
        None
    }
}

/// Some servers answer with the id as text.
fn number(id: &RequestId) -> Option<u64> {
    match id {
        NumberOrString::Number(id) => u64::try_from(*id).ok(),
        NumberOrString::String(id) => id.parse().ok(),
    }
}

/// A request that waits.
pub(super) struct Waiting<'a> {
    awaited: &'a Awaited,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.awaited.lock().remove(&self.id);
    }
}
