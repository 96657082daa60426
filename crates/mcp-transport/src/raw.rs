//! The short road of a tool's request: written as bytes, answered as bytes, decoded once, by whoever asked.
//!
//! rmcp keeps the session: handshake, what the server asks and tells. Its decoding, though, buffers each message and
//! tries one type after another, and hands it through two tasks. `tools/call` and `tools/list` are most of what is ever
//! sent, so they go past it: the reader finds the id of a line, and the line goes to the caller that waits for it.

mod answer;
mod calls;
mod outbox;
mod request;
mod text;

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::oneshot;

pub(crate) use self::answer::{Answer, CallOutput, ListPage, ListedTool, Outcome, read};
pub(crate) use self::calls::{Calls, Failure, Ids, NeverSent, TooLarge, Unwritten, is_ours};
pub(crate) use self::outbox::{Outbox, Pace};
pub(crate) use self::request::{Ask, Request};
use crate::breach::Breach;
use crate::options::{Progress, ProgressSender};
use crate::traced;

/// Where requests leave.
pub(crate) trait Outlet: Send + Sync {
    /// Takes a whole line, its end included.
    fn push(&self, line: &[u8], pace: Pace) -> io::Result<()>;
}

/// A request's way to the server and back.
#[derive(Clone)]
pub(crate) struct Direct {
    outlet: Arc<dyn Outlet>,
    calls: Arc<Calls>,
}

impl Direct {
    pub(crate) fn new(outlet: Arc<dyn Outlet>, calls: Arc<Calls>) -> Self {
        Self { outlet, calls }
    }

    /// Tells of an answer that no honest server gives.
    pub(crate) fn breach(&self, breach: Breach) {
        self.calls.breaches.note(breach);
    }

    /// Sends a request and waits for the line that answers it. Dropping the future tells the server that nobody waits.
    pub(crate) async fn ask(
        &self,
        request: Request<'_>,
        progress: Option<ProgressSender>,
    ) -> Result<BytesMut, Failure> {
        let reports = progress.is_some();
        let (id, others, answer) = self.calls.open(progress).ok_or(Failure::Unsent)?;
        traced::id(id);
        let mut asked = Asked { direct: self, id, sent: false };
        let line = request.line(id, reports).map_err(|error| Failure::Unreadable(error.to_string()))?;
        // Alone, the shortest way is to write at once; among others, one write carries many lines.
        let pace = if others == 0 { Pace::Now } else { Pace::Together };
        self.outlet.push(&line, pace).map_err(|_| Failure::Lost)?;
        asked.sent = true;
        let answer = answer.await;
        std::mem::forget(asked);
        match answer {
            Ok(Err(Failure::Unwritten(unwritten))) => {
                if unwritten.begun {
                    // The rest of it will follow when the server reads again, and nobody waits for its answer.
                    let _ = self.outlet.push(&request::cancelled(id), Pace::Together);
                }
                Err(Failure::Unwritten(unwritten))
            }
            Ok(line) => line,
            Err(oneshot::error::RecvError { .. }) => Err(Failure::Lost),
        }
    }
}

/// A request in flight. When its future is dropped, the server is told.
struct Asked<'a> {
    direct: &'a Direct,
    id: u64,
    sent: bool,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if self.direct.calls.forget(self.id) && self.sent {
            // A way that is closed carries nothing, and nobody works at the other end.
            let _ = self.direct.outlet.push(&request::cancelled(self.id), Pace::Together);
        }
    }
}

/// A report of progress, if that is what the parameters of a notification are, for a call that is in flight here.
pub(crate) fn progressed(calls: &Calls, params: &str) -> bool {
    report(params).is_some_and(|(id, progress)| calls.report(id, progress))
}

/// A report of progress, if that is what the parameters of a notification are, and the id of the request it is about.
pub(crate) fn report(params: &str) -> Option<(u64, Progress)> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Params {
        progress_token: u64,
        progress: f64,
        #[serde(default)]
        total: Option<f64>,
        #[serde(default)]
        message: Option<String>,
    }
    let Params { progress_token, progress, total, message } = serde_json::from_str(params).ok()?;
    Some((progress_token, Progress { progress, total, message }))
}
