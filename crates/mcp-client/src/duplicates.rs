//! The very same call by several agents. Agents that think alike order the same thing; where the operator says so, it is
//! ordered once.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use mcp_core::{AgentId, Refusal, ToolError, ToolOutput};
use tower::{Layer, Service};

use crate::ServerConfig;
use crate::ledger::digest;
use crate::pipeline::Request;

/// Calls that are remembered; beyond that the first ones are forgotten all together.
const REMEMBERED: usize = 10_000;

/// What becomes of a call that another agent has made already, with the same arguments, and that may change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Duplicates {
    /// It is made.
    #[default]
    Allow,
    /// It is refused, unless the first one certainly did not happen.
    Suppress,
}

/// Tool and arguments, and who made the call first.
type Made = Arc<Mutex<HashMap<(String, String), Option<AgentId>>>>;

/// Puts [`Once`] around a service.
#[derive(Clone)]
pub(crate) struct DuplicatesLayer {
    made: Made,
}

impl DuplicatesLayer {
    /// `None` for a server whose calls may be made by everybody.
    pub(crate) fn new(config: &ServerConfig) -> Option<Self> {
        (config.duplicates == Duplicates::Suppress).then(|| Self { made: Made::default() })
    }
}

impl<S> Layer<S> for DuplicatesLayer {
    type Service = Once<S>;

    fn layer(&self, inner: S) -> Once<S> {
        Once { inner, made: self.made.clone() }
    }
}

/// Lets a call that may change something through for one agent only.
#[derive(Clone)]
pub(crate) struct Once<S> {
    inner: S,
    made: Made,
}

impl<S> Service<Request> for Once<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
    S::Future: Send + 'static,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let hints = &request.spec.annotations;
        if hints.is_read_only() || hints.is_idempotent() {
            return Box::pin(self.inner.call(request));
        }
        let key = (request.spec.name.to_string(), digest("", &request.call.arguments));
        let caller = request.call.caller.clone();
        {
            let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            match made.get(&key) {
                Some(first) if *first != caller => {
                    let error = suppressed(&request, first.as_ref());
                    return Box::pin(async move { Err(error) });
                }
                Some(_) => {}
                None => {
                    if made.len() >= REMEMBERED {
                        made.clear();
                    }
                    made.insert(key.clone(), caller);
                }
            }
        }
        let (made, attempt) = (self.made.clone(), self.inner.call(request));
        Box::pin(async move {
            let result = attempt.await;
            if result.as_ref().is_err_and(|error| error.class().is_unsent()) {
                made.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            }
            result
        })
    }
}

fn suppressed(request: &Request, first: Option<&AgentId>) -> ToolError {
    let who = first.map_or("somebody else".to_owned(), |agent| format!("agent {agent}"));
    ToolError::Refused {
        server: request.spec.server.clone(),
        refusal: Refusal {
            rule: "duplicate-suppressed",
            reason: format!(
                "{who} has made this very call of {} already; it is made once",
                request.spec.name
            ),
            hint: "go on as if it had been made here, or call with other arguments".to_owned(),
        },
    }
}
