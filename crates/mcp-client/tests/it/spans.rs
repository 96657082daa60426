//! What a collector of spans gets of a call, over HTTP and over pipes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::{
    CallReply, HttpFault, McpHttpServer, Outcome as Plays, PATIENCE, ServerScript, ToolScript,
};
use mcp_client::{ClientOptions, RetryOptions, ServerConfig, Target};
use mcp_core::{RemoteSpec, ToolFilter, ToolService};
use serde_json::json;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::support::*;

/// The fields of every span of a call, and what happened within one.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// An id is used again when its span is over.
    spans: Vec<(Id, &'static str, BTreeMap<String, String>)>,
    events: Vec<(String, &'static str)>,
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        attributes.record(&mut Fields(&mut fields));
        self.0.lock().unwrap().spans.push((id.clone(), attributes.metadata().name(), fields));
    }
    fn on_record(&self, span: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut kept = self.0.lock().unwrap();
        let (.., fields) = kept.spans.iter_mut().rev().find(|(id, ..)| id == span).unwrap();
        values.record(&mut Fields(fields));
    }
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let within = context.event_span(event).map_or("", |span| span.name());
        let message = fields.remove("message").unwrap_or_default();
        self.0.lock().unwrap().events.push((message, within));
    }
}

impl Spans {
    /// Collects on this thread until what is returned is dropped.
    fn collect(&self) -> DefaultGuard {
        let ours = filter_fn(|metadata| metadata.target() == "mcp_client::spans");
        listen(tracing_subscriber::registry().with(self.clone().with_filter(ours)))
    }

    /// The spans of requests, in their order.
    fn requests(&self) -> Vec<BTreeMap<String, String>> {
        let kept = self.0.lock().unwrap();
        kept.spans
            .iter()
            .filter(|(_, name, _)| *name == "request")
            .map(|(.., fields)| fields.clone())
            .collect()
    }
}

#[track_caller]
fn expect(span: &BTreeMap<String, String>, fields: &[(&str, &str)]) {
    for (field, value) in fields {
        assert_eq!(span.get(*field).map(String::as_str), Some(*value), "{field} of {span:#?}");
    }
}

#[tokio::test]
async fn a_request_over_http_says_its_id_its_session_its_way_and_which_try_it_is() {
    let spans = Spans::default();
    let _collecting = spans.collect();
    let server = McpHttpServer::start(ServerScript::new().tool(ToolScript::echo("post")));
    let target = Target::Http(RemoteSpec { url: server.url().parse().unwrap(), headers: Default::default() });
    let mut config = ServerConfig::new(name("web"), target);
    config.retry_safe = Some(ToolFilter::default());
    let soon = Duration::from_millis(1);
    config.retry = RetryOptions { base: soon, cap: soon, ..RetryOptions::default() };
    let (client, _) = start([config], ClientOptions::default());
    client.ready(PATIENCE).await;
    server.fail_method("tools/call", 1, HttpFault::status(500));
    client.call(call("mcp__web__post", json!({"text": "whispered"}))).await.unwrap();
    client.close().await;

    let requests = spans.requests();
    assert_eq!(requests.len(), 2, "{requests:#?}");
    let port = server.url().parse::<url::Url>().unwrap().port().unwrap().to_string();
    let calls = server.method("tools/call");
    for (span, sent) in requests.iter().zip(&calls) {
        expect(
            span,
            &[
                ("mcp.method.name", "tools/call"),
                ("gen_ai.tool.name", "post"),
                ("jsonrpc.request.id", &sent["id"].to_string()),
                ("network.transport", "tcp"),
                ("network.protocol.name", "http"),
                ("network.protocol.version", "1.1"),
                ("server.address", "127.0.0.1"),
                ("server.port", &port),
            ],
        );
        let session = &span["mcp.session.id"];
        assert!(session.len() == 16 && session.bytes().all(|byte| byte.is_ascii_hexdigit()), "{session}");
        assert!(
            server
                .http()
                .requests()
                .iter()
                .all(|request| request.header("mcp-session-id") != Some(session.as_str()))
        );
        assert!(!format!("{span:?}").contains("whispered"), "{span:#?}");
    }
    assert_ne!(requests[0]["jsonrpc.request.id"], requests[1]["jsonrpc.request.id"]);
    assert_eq!(requests[0]["mcp.session.id"], requests[1]["mcp.session.id"]);
    assert!(!requests[0].contains_key("http.request.resend_count"));
    expect(
        &requests[0],
        &[("error.type", "500"), ("massgen.mcp.attempt", "1"), ("otel.status_code", "ERROR")],
    );
    expect(&requests[1], &[("http.request.resend_count", "1"), ("massgen.mcp.attempt", "2")]);
    assert!(!requests[1].contains_key("error.type"));
}

#[tokio::test]
async fn what_was_said_is_in_a_span_only_where_somebody_wants_it_and_without_secrets() {
    let spans = Spans::default();
    let _collecting = spans.collect();
    let fails = Plays::RpcError { code: -32050, message: "no".into() };
    let tools = ServerScript::new()
        .tool(ToolScript::echo("echo"))
        .tool(ToolScript::new("no").replies(CallReply::new(fails)))
        .tool(ToolScript::new("die").replies(CallReply::new(Plays::Exit(3))))
        .launch();
    let mut config = child("srv", &tools);
    config.breaker.failures_in_a_row = 1;
    let mut options = ClientOptions::default();
    options.content_in_spans = true;
    options.redactor.register("hunter2-hunter2");
    let (client, _) = start([config], options);
    client.ready(PATIENCE).await;
    let long = "é".repeat(4096);
    for (tool, text) in [("echo", "whispered hunter2-hunter2"), ("echo", &long), ("no", ""), ("die", "")] {
        // Two of them fail; what counts is what is said of it.
        let _ = client.call(call(&format!("mcp__srv__{tool}"), json!({"text": text}))).await;
    }
    client.close().await;

    let requests = spans.requests();
    assert_eq!(requests.len(), 4, "{requests:#?}");
    expect(
        &requests[0],
        &[
            ("network.transport", "pipe"),
            ("gen_ai.tool.call.arguments", r#"{"text":"whispered [redacted]"}"#),
        ],
    );
    let result = &requests[0]["gen_ai.tool.call.result"];
    assert!(result.contains("whispered [redacted]"), "{result}");
    for field in ["gen_ai.tool.call.arguments", "gen_ai.tool.call.result"] {
        assert!((4095..=4096).contains(&requests[1][field].len()), "{field}: {}", requests[1][field].len());
    }
    expect(&requests[2], &[("error.type", "-32050"), ("rpc.response.status_code", "-32050")]);
    assert!(!requests[2].contains_key("gen_ai.tool.call.result"));
    assert!(!format!("{requests:?}").contains("hunter2"));
    let events = std::mem::take(&mut spans.0.lock().unwrap().events);
    for event in ["massgen.mcp.breaker.transition", "massgen.mcp.outcome_unknown"] {
        assert!(events.contains(&(event.to_owned(), "call")), "{event}: {events:?}");
    }
}
