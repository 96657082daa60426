//! Pages that a user must visit before a call can be made: the error -32042 of MCP client/elicitation, "URL Elicitation
//! Required Error".

use std::time::Duration;

use rmcp::model::{ErrorCode, ErrorData};
use rmcp::service::ServiceError;
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::Link;
use crate::host::{self, Asked};

/// The error's code.
pub(crate) const REQUIRED: ErrorCode = ErrorCode(-32_042);
/// The notice that what was to be done on a page is done.
pub(super) const COMPLETE: &str = "notifications/elicitation/complete";
/// The most pages that one error may ask for.
const PAGES: usize = 4;
/// How long a call waits for these notices once the user has agreed to go: a server need not send any.
const VISIT: Duration = Duration::from_secs(30);

/// One page.
struct Page<'a> {
    url: &'a str,
    message: &'a str,
    id: Option<&'a str>,
}

fn pages(error: &ServiceError) -> Vec<Page<'_>> {
    let ServiceError::McpError(error) = error else { return Vec::new() };
    let wanted = error.data.as_ref().filter(|_| error.code == REQUIRED);
    let wanted = wanted.and_then(|data| data["elicitations"].as_array());
    let pages = wanted.into_iter().flatten().take(PAGES);
    pages
        .filter_map(|page| {
            let message = page["message"].as_str().unwrap_or_default();
            Some(Page { url: page["url"].as_str()?, message, id: page["elicitationId"].as_str() })
        })
        .collect()
}

/// The words for such an error. They name the hosts: the rest of an address may be secret.
pub(crate) fn unvisited(error: &ErrorData) -> String {
    let wanted = error.data.as_ref().and_then(|data| data["elicitations"].as_array()).into_iter().flatten();
    let host = |page: &Value| Some(Url::parse(page["url"].as_str()?).ok()?.host_str()?.to_owned());
    let mut hosts: Vec<_> = wanted.take(PAGES).filter_map(host).collect();
    hosts.dedup();
    let place = if hosts.is_empty() { "no address is given".to_owned() } else { hosts.join(", ") };
    format!("{} (a page must be visited first: {place})", error.message)
}

impl Link {
    /// Whether a call needs a page to be visited first.
    pub(crate) fn wants_visits(&self, error: &ServiceError) -> bool {
        matches!(error, ServiceError::McpError(error) if error.code == REQUIRED)
    }

    /// Has the user visit the pages that an error asks for. True: the user agreed to all of them, and the call can be made
    /// again.
    pub(crate) async fn visited(&self, error: &ServiceError) -> bool {
        // Before anybody goes there: the notice may be faster than we are.
        let mut done = self.routes.completed.subscribe();
        let pages = pages(error);
        for Page { url, message, .. } in &pages {
            let params = json!({"mode": "url", "url": url, "message": message});
            let asked = host::answer(self.host.as_deref(), &self.server, "elicitation/create", &params).await;
            match asked {
                Asked::Answer(answer) if answer["action"] == "accept" => {}
                refused => {
                    tracing::debug!(server = %self.server, ?refused, "a page that a call needs is not visited");
                    return false;
                }
            }
        }
        let mut open: Vec<&str> = pages.iter().filter_map(|page| page.id).collect();
        let end = Instant::now() + VISIT;
        while !open.is_empty() {
            match timeout_at(end, done.recv()).await {
                Ok(Ok(id)) => open.retain(|waiting| *waiting != id),
                // Too many notices at once: one of them may have been ours.
                Ok(Err(RecvError::Lagged(_))) => {}
                Ok(Err(_)) | Err(_) => break,
            }
        }
        !pages.is_empty()
    }
}
