//! Questions of servers: taken back, unanswered, too large; and roots that change.

use std::collections::BTreeMap;
use std::sync::Arc;

use massgen_testkit::{McpHttpServer, ServerScript};
use mcp_core::*;
use mcp_transport::host::{Abilities, Elicitation, ElicitationReply, Host, Root};
use mcp_transport::{EraPolicy, Session, SessionOptions};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::support::*;

/// A person who never answers, and tells when a question comes and goes.
#[derive(Default)]
struct Absent {
    asked: Notify,
    gone: Arc<Notify>,
}

struct Gone(Arc<Notify>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Host for Absent {
    fn abilities(&self, _: &ServerName) -> Abilities {
        let mut abilities = Abilities::forms();
        abilities.roots = true;
        abilities
    }

    fn elicit<'a>(&'a self, _: &'a ServerName, _: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        let gone = Gone(self.gone.clone());
        self.asked.notify_one();
        Box::pin(async move {
            let _gone = gone;
            std::future::pending().await
        })
    }

    fn roots(&self, _: &ServerName) -> Vec<Root> {
        vec![Root { uri: "file:///work".into(), name: None }]
    }
}

async fn open(server: &McpHttpServer, host: &Arc<Absent>) -> Session {
    let mut options = SessionOptions::default();
    options.era = EraPolicy::Legacy;
    options.host = Some(host.clone());
    let spec = RemoteSpec { url: server.url().parse().unwrap(), headers: BTreeMap::new() };
    let spec = Admitted::by_guard(spec);
    soon(Session::http(name(), spec, Arc::new(Gatekeeper::default()), options)).await.unwrap()
}

fn question(id: &str, schema: Value) -> Value {
    let params = json!({"message": "Which size?", "requestedSchema": schema});
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params})
}

#[tokio::test]
async fn a_question_that_is_taken_back_is_dropped() {
    let (server, host) = (McpHttpServer::start(ServerScript::new()), Arc::new(Absent::default()));
    let session = open(&server, &host).await;
    server.announce(&question("q-1", json!({"type": "object", "properties": {}})));
    soon(host.asked.notified()).await;
    server.announce(
        &json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q-1"}}),
    );
    soon(host.gone.notified()).await;
    soon(session.close()).await;
}

#[tokio::test]
async fn a_question_ends_with_its_session() {
    let (server, host) = (McpHttpServer::start(ServerScript::new()), Arc::new(Absent::default()));
    let session = open(&server, &host).await;
    server.announce(&question("q-1", json!({"type": "object", "properties": {}})));
    soon(host.asked.notified()).await;
    soon(session.close()).await;
    drop(session);
    soon(host.gone.notified()).await;
}

#[tokio::test]
async fn a_form_without_bounds_is_not_shown() {
    let (server, host) = (McpHttpServer::start(ServerScript::new()), Arc::new(Absent::default()));
    let session = open(&server, &host).await;
    let deep = (0..12).fold(json!({}), |inner, _| json!({"properties": inner}));
    let large = json!({"properties": {"a": {"description": "x".repeat(100 * 1024)}}});
    for (id, schema) in [("q-1", deep), ("q-2", large), ("q-3", json!("no object"))] {
        server.announce(&question(id, schema));
        let answer = server.await_message(|message| message["id"] == id).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    soon(session.close()).await;
}

#[tokio::test]
async fn roots_that_change_are_told_where_the_revision_knows_how() {
    let (server, host) = (McpHttpServer::start(ServerScript::new()), Arc::new(Absent::default()));
    let session = open(&server, &host).await;
    let opened = &server.method("initialize")[0];
    assert_eq!(opened["params"]["capabilities"]["roots"], json!({"listChanged": true}));
    soon(session.roots_changed()).await.unwrap();
    server.await_method("notifications/roots/list_changed").await;
    server.announce(&json!({"jsonrpc": "2.0", "id": "q-1", "method": "roots/list"}));
    let answer = server.await_message(|message| message["id"] == "q-1").await;
    assert_eq!(answer["result"]["roots"], json!([{"uri": "file:///work"}]));
    soon(session.close()).await;
}
