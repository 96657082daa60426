//! The very same call by several agents. Agents that think alike order the same thing; where the operator says so, it is
//! ordered once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use mcp_core::{AgentId, Refusal, ToolError};

use crate::ServerConfig;
use crate::ledger::digest;
use crate::pipeline::Request;
use crate::step::{Ended, Further, Stack, Step};

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

/// Lets a call that may change something through for one agent only.
#[derive(Clone)]
pub(crate) struct Once {
    made: Made,
}

impl Once {
    /// `None` for a server whose calls may be made by everybody.
    pub(crate) fn new(config: &ServerConfig) -> Option<Self> {
        (config.duplicates == Duplicates::Suppress).then(|| Self { made: Made::default() })
    }

    /// Enters a call among those that were made.
    fn enter(&self, key: &(String, String), request: &Request) -> Result<(), ToolError> {
        let caller = &request.call.caller;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.get(key) {
            Some(first) if first != caller => return Err(suppressed(request, first.as_ref())),
            Some(_) => {}
            None => {
                if made.len() >= REMEMBERED {
                    made.clear();
                }
                made.insert(key.clone(), caller.clone());
            }
        }
        Ok(())
    }
}

impl Step for Once {
    async fn take<S: Stack>(self, request: Request, further: Further<S>) -> Ended {
        let hints = &request.spec.annotations;
        if hints.is_read_only() || hints.is_idempotent() {
            return further.call(request).await;
        }
        let key = (request.spec.name.to_string(), digest("", &request.call.arguments));
        self.enter(&key, &request)?;
        let result = further.call(request).await;
        if result.as_ref().is_err_and(|error| error.class().is_unsent()) {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        result
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
