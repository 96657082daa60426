//! A service in memory: our two halves speak to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mcp_core::*;
use mcp_transport::{EraPolicy, Session, SessionOptions};
use serde_json::json;
use tokio::sync::Notify;

use crate::support::*;

#[derive(Default)]
pub(crate) struct Workshop {
    catalogue: Arc<Catalogue>,
    pub(crate) started: Arc<Notify>,
    pub(crate) dropped: Arc<Notify>,
    calls: AtomicUsize,
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Workshop {
    pub(crate) fn new() -> Arc<Self> {
        let server = ServerName::new("workshop").unwrap();
        let hints = Annotations { read_only_hint: Some(true), ..Annotations::default() };
        let tools = ["echo/all.v2", "wait", "odd", "refused"].map(|name| {
            ToolSpec::new(server.clone(), tool(name))
                .with_description(format!("does {name}"))
                .with_input_schema(json!({"type": "object", "properties": {"z": {}, "a": {}}}))
                .with_annotations(hints.clone())
        });
        let catalogue = Catalogue::build([(server, tools.to_vec(), ToolFilter::default())]).catalogue;
        Arc::new(Self { catalogue: Arc::new(catalogue), ..Self::default() })
    }
}

impl ToolService for Workshop {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let entry = self.catalogue.find(&call.tool).expect("calls come by the exposed name");
            match entry.spec.name.as_str() {
                "wait" => {
                    let _guard = NotifyOnDrop(self.dropped.clone());
                    self.started.notify_one();
                    std::future::pending().await
                }
                "odd" => {
                    let odd = Content::Unknown(json!({"type": "hologram"}));
                    Ok(ToolOutput::new(vec![odd, Content::text("t")], Some(json!({"k": [1]})), true))
                }
                "refused" => Err(ToolError::Cancelled),
                _ => Ok(ToolOutput::text(json!(call.arguments).to_string())),
            }
        })
    }
}

async fn open(workshop: Arc<Workshop>, era: EraPolicy) -> Session {
    let mut options = SessionOptions::default();
    options.era = era;
    soon(Session::in_memory(workshop, name(), options)).await.unwrap()
}

#[tokio::test]
async fn a_ping_is_answered_in_both_eras_and_fails_when_the_session_is_over() {
    for era in [EraPolicy::Modern, EraPolicy::Legacy] {
        let session = open(Workshop::new(), era).await;
        soon(session.ping()).await.unwrap();
        soon(session.close()).await;
        let error = soon(session.ping()).await.unwrap_err();
        assert!(matches!(error, ToolError::Connection { phase: Phase::Ping, .. }), "{error}");
    }
}

#[tokio::test]
async fn both_halves_agree_in_both_eras() {
    for (era, version) in [
        (EraPolicy::Auto, "2026-07-28"),
        (EraPolicy::Modern, "2026-07-28"),
        (EraPolicy::Legacy, "2025-11-25"),
    ] {
        let session = open(Workshop::new(), era).await;
        assert_eq!(session.peer().protocol_version, version);
        let list = soon(session.list_tools()).await.unwrap();
        assert_eq!(list.tools.len(), 4);
        let first = &list.tools[0];
        assert_eq!(first.name.as_str(), "echo/all.v2");
        assert_eq!(first.server, name());
        assert!(first.annotations.is_read_only());
        assert_eq!(first.input_schema.as_str(), r#"{"type":"object","properties":{"z":{},"a":{}}}"#);

        let arguments = object(json!({"z": 1, "a": [null]}));
        let before = session.received();
        let answer = soon(session.call_tool(&first.name, arguments, None)).await.unwrap();
        assert!(before > 0 && session.received() >= before + answer.to_text().len() as u64);
        assert_eq!(answer.to_text(), r#"{"z":1,"a":[null]}"#, "in the order of the caller");

        let odd = soon(session.call_tool(&tool("odd"), JsonObject::new(), None)).await.unwrap();
        assert!(odd.is_error && odd.structured == Some(json!({"k": [1]})));
        assert_eq!(odd.content.len(), 2);

        let refused = soon(session.call_tool(&tool("refused"), JsonObject::new(), None)).await.unwrap();
        assert!(refused.is_error, "why a call failed is for whoever asked to read");
        let error = soon(session.call_tool(&tool("none"), JsonObject::new(), None)).await.unwrap_err();
        assert!(matches!(error, ToolError::Server { code: -32602, .. }), "{error:?}");
        soon(session.close()).await;
        assert_eq!(soon(session.closed()).await, "the session was closed");
    }
}

#[tokio::test]
async fn dropping_a_call_drops_the_services_future() {
    for era in [EraPolicy::Modern, EraPolicy::Legacy] {
        let workshop = Workshop::new();
        let session = open(workshop.clone(), era).await;
        let wait = tool("wait");
        {
            let call = session.call_tool(&wait, JsonObject::new(), None);
            tokio::pin!(call);
            tokio::select! {
                answer = &mut call => panic!("{answer:?}"),
                () = soon(workshop.started.notified()) => {}
            }
        }
        soon(workshop.dropped.notified()).await;
    }
}

#[tokio::test]
async fn dropping_the_session_drops_the_service() {
    let workshop = Workshop::new();
    let session = open(workshop.clone(), EraPolicy::Auto).await;
    let call = {
        let session = session.clone();
        tokio::spawn(async move { session.call_tool(&tool("wait"), JsonObject::new(), None).await })
    };
    soon(workshop.started.notified()).await;
    call.abort();
    let _ = call.await;
    drop(session);
    soon(workshop.dropped.notified()).await;
}

#[tokio::test]
async fn many_calls_at_once_find_their_answers() {
    let session = open(Workshop::new(), EraPolicy::Auto).await;
    let calls = (0..200).map(|n| {
        let session = session.clone();
        tokio::spawn(async move {
            let arguments = object(json!({"n": n}));
            let answer = session.call_tool(&tool("echo/all.v2"), arguments, None).await.unwrap();
            assert_eq!(answer.to_text(), format!(r#"{{"n":{n}}}"#));
        })
    });
    for call in calls.collect::<Vec<_>>() {
        soon(call).await.unwrap();
    }
}
