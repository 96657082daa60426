//! Results that are not the end yet: the server asks for input first (2026-07-28, basic/patterns/mrtr), or promises
//! the result as a task (extension `io.modelcontextprotocol/tasks`).

use std::time::Duration;

use mcp_core::JsonObject;
use rmcp::model::{ClientRequest, CustomRequest, ErrorCode, ErrorData};
use rmcp::service::ServiceError;
use serde_json::{Value, json};

use super::{Farewell, Link, Reply, Road};
use crate::host::{self, Asked};
use crate::options::{Progress, ProgressSender};
use crate::raw::Ask;

/// How often a server may ask for input before it gives a result.
const ROUNDS: usize = 10;
/// The wait before a request is repeated that the server only wanted repeated; doubled each time.
const AGAIN: Duration = Duration::from_millis(100);
/// Bounds of the wait between two questions about a task, and what it is where the server does not say.
const POLL: (Duration, Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1), Duration::from_secs(30));

impl Link {
    /// Sends a request and follows it to its end; the result as the server sent it.
    pub(crate) async fn follow(
        &self,
        method: &'static str,
        params: JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Value, ServiceError> {
        self.follow_from(None, method, params, progress).await
    }

    /// The same for a request that may have its first answer already.
    pub(super) async fn follow_from(
        &self,
        mut first: Option<Value>,
        method: &'static str,
        mut params: JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Value, ServiceError> {
        let mut again = AGAIN;
        for _ in 0..ROUNDS {
            let result = match first.take() {
                Some(first) => first,
                None => {
                    // Only servers of the later era ask back, so only for them is the request kept.
                    let request = if self.modern { params.clone() } else { std::mem::take(&mut params) };
                    self.raw(method, request, progress.clone()).await?
                }
            };
            match result.get("resultType").and_then(Value::as_str) {
                Some("input_required") if self.modern => {}
                Some("task") if self.modern => return self.task(result, progress).await,
                _ => return Ok(result),
            }
            let Some(answers) = self.answers(&result["inputRequests"]).await else { return Ok(result) };
            params.remove("inputResponses");
            params.remove("requestState");
            if answers.is_empty() {
                tokio::time::sleep(again).await;
                again *= 2;
            } else {
                params.insert("inputResponses".to_owned(), Value::Object(answers));
            }
            // Given back exactly, and not at all where there was none.
            if let Some(state @ Value::String(_)) = result.get("requestState") {
                params.insert("requestState".to_owned(), state.clone());
            }
        }
        Err(ServiceError::InputRequiredRoundsExceeded { max_rounds: ROUNDS })
    }

    /// One request with any method, without following its result.
    pub(crate) async fn raw(
        &self,
        method: &'static str,
        params: JsonObject,
        progress: Option<ProgressSender>,
    ) -> Result<Value, ServiceError> {
        if let Some(road @ Road::Posts(_)) = &self.road {
            let ask = Ask::Any { method, params: &params };
            return Ok(match self.ask::<Value>(road, ask, progress).await? {
                Reply::Decoded(result) | Reply::Raw(result) => result,
            });
        }
        let params = (!params.is_empty()).then_some(Value::Object(params));
        self.request(ClientRequest::CustomRequest(CustomRequest::new(method, params)), progress).await
    }

    /// The answers to what a result asks for; `None` where one of the requests was not offered to the server.
    async fn answers(&self, requests: &Value) -> Option<JsonObject> {
        let mut answers = JsonObject::new();
        for (key, request) in requests.as_object().into_iter().flatten() {
            let method = request["method"].as_str().unwrap_or_default();
            match host::answer(self.host.as_deref(), &self.server, method, &request["params"]).await {
                Asked::Answer(answer) => answers.insert(key.clone(), answer),
                refused => {
                    tracing::debug!(server = %self.server, method, ?refused, "a request inside a result");
                    return None;
                }
            };
        }
        Some(answers)
    }

    /// Asks about a task until it has ended. Dropping the future cancels the task.
    async fn task(&self, task: Value, progress: Option<ProgressSender>) -> Result<Value, ServiceError> {
        let Some(id) = task["taskId"].as_str().map(str::to_owned) else { return Ok(task) };
        let mut guard = TaskGuard { link: self, id: Some(id.clone()) };
        let mut state = task;
        let mut answered: Vec<String> = Vec::new();
        for count in 1_u32.. {
            let interval = state["pollIntervalMs"].as_u64().map_or(POLL.1, Duration::from_millis);
            tokio::time::sleep(interval.clamp(POLL.0, POLL.2)).await;
            let params = JsonObject::from_iter([("taskId".to_owned(), json!(id))]);
            state = self.raw("tasks/get", params, None).await?;
            if let Some(progress) = &progress {
                // A task that is still known to the server is a sign of life.
                let message = state["statusMessage"].as_str().map(str::to_owned);
                progress.report(Progress { progress: count.into(), total: None, message });
            }
            match state["status"].as_str() {
                Some("working") => continue,
                Some("input_required") => {
                    let Value::Object(mut requests) = state["inputRequests"].take() else { continue };
                    // The same question may be shown with each answer until ours has arrived.
                    requests.retain(|key, _| !answered.contains(key));
                    answered.extend(requests.keys().cloned());
                    if requests.is_empty() {
                        continue;
                    }
                    let Some(answers) = self.answers(&Value::Object(requests)).await else {
                        return Err(task_error("it asks for input, which was not offered"));
                    };
                    let update = json!({"taskId": id, "inputResponses": answers});
                    let Value::Object(update) = update else { continue };
                    self.raw("tasks/update", update, None).await?;
                    continue;
                }
                _ => guard.id = None,
            }
            return match state["status"].as_str() {
                Some("completed") => Ok(state["result"].take()),
                Some("failed") => {
                    let code = state["error"]["code"].as_i64().and_then(|code| i32::try_from(code).ok());
                    let message = state["error"]["message"].as_str().unwrap_or("its task failed").to_owned();
                    let code = code.map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
                    Err(ServiceError::McpError(ErrorData::new(code, message, None)))
                }
                Some("cancelled") => Err(task_error("it cancelled its task")),
                _ => Err(task_error("its task is in a state that is not known")),
            };
        }
        Ok(state)
    }
}

fn task_error(reason: &'static str) -> ServiceError {
    ServiceError::McpError(ErrorData::new(ErrorCode::INTERNAL_ERROR, reason, None))
}

/// A task that runs on the server: when nobody waits for it any longer, the server is told.
struct TaskGuard<'a> {
    link: &'a Link,
    id: Option<String>,
}

impl Drop for TaskGuard<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            let _ = self.link.cancel.send(Farewell::Task(id));
        }
    }
}
