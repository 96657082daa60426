//! Calls for which a user must visit a page first: the error -32042.

use std::sync::{Arc, Mutex};

use massgen_testkit::http::{Body, HttpReply, HttpServer, Part};
use mcp_core::*;
use mcp_transport::SessionOptions;
use mcp_transport::host::{Abilities, Elicitation, ElicitationReply, Host};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::posts::{call, open, result, server};

const PAGE: &str = "https://grants.example/connect?secret=s3cret";

/// The stream of what the server says unasked.
type Unasked = Arc<Mutex<Option<mpsc::UnboundedSender<Part>>>>;

/// Wants a page to be visited before so many calls.
fn wanting(refusals: usize, page: Value) -> (HttpServer, Unasked) {
    let unasked = Unasked::default();
    let (stream, refused) = (unasked.clone(), Mutex::new(0));
    let server = server(move |request, message| {
        if request.method == "GET" {
            let (sender, receiver) = mpsc::unbounded_channel();
            *stream.lock().unwrap() = Some(sender);
            return HttpReply::sse(Body::Channel(receiver));
        }
        let mut refused = refused.lock().unwrap();
        if *refused < refusals {
            *refused += 1;
            let error = json!({"code": -32042, "message": "Authorization is needed.", "data": {"elicitations": [page]}});
            return HttpReply::json(200, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        HttpReply::json(200, &result(message, "done"))
    });
    (server, unasked)
}

fn calls(server: &HttpServer) -> usize {
    server.requests().iter().filter(|request| request.json()["method"] == "tools/call").count()
}

/// Goes to every page, or to none.
struct Visitor {
    goes: bool,
    unasked: Unasked,
    seen: Mutex<Vec<Elicitation>>,
}

impl Host for Visitor {
    fn abilities(&self, _: &ServerName) -> Abilities {
        let mut abilities = Abilities::default();
        abilities.url = true;
        abilities
    }

    fn elicit<'a>(&'a self, _: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        self.seen.lock().unwrap().push(request);
        if let Some(unasked) = &*self.unasked.lock().unwrap() {
            for id in ["another", "e-1"] {
                let notice = json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete",
                    "params": {"elicitationId": id}});
                unasked.send(Part::Bytes(format!("data: {notice}\n\n").into_bytes())).unwrap();
            }
        }
        let reply =
            if self.goes { ElicitationReply::Accept(JsonObject::new()) } else { ElicitationReply::Decline };
        Box::pin(std::future::ready(reply))
    }
}

fn visitor(goes: bool, unasked: &Unasked) -> (SessionOptions, Arc<Visitor>) {
    let visitor = Arc::new(Visitor { goes, unasked: unasked.clone(), seen: Mutex::default() });
    let mut options = SessionOptions::default();
    options.host = Some(visitor.clone());
    (options, visitor)
}

#[tokio::test]
async fn the_user_is_shown_the_page_and_the_call_is_made_once_more() {
    let page =
        json!({"mode": "url", "url": PAGE, "message": "Connect your account.", "elicitationId": "e-1"});
    let (server, unasked) = wanting(1, page);
    let (options, visitor) = visitor(true, &unasked);
    let session = open(&server.url("/mcp"), options).await;
    assert_eq!(call(&session).await.unwrap().to_text(), "done");
    assert_eq!(*visitor.seen.lock().unwrap(), [Elicitation::url("Connect your account.", PAGE)]);
    assert_eq!(calls(&server), 2);
}

#[tokio::test]
async fn whoever_does_not_go_gets_an_error_that_names_the_place() {
    let page = json!({"mode": "url", "url": PAGE, "message": "m"});
    for (goes, expected) in [(None, 1), (Some(false), 1), (Some(true), 2)] {
        // One that is never satisfied is asked no third time.
        let (server, unasked) = wanting(usize::MAX, page.clone());
        let options = goes.map_or_else(SessionOptions::default, |goes| visitor(goes, &unasked).0);
        let session = open(&server.url("/mcp"), options).await;
        match call(&session).await {
            Err(ToolError::Server { code: -32042, message, .. }) => {
                assert!(message.contains("grants.example") && !message.contains("s3cret"), "{message}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(calls(&server), expected, "{goes:?}");
    }
}

#[tokio::test]
async fn an_error_without_a_page_is_an_error() {
    for page in [json!({}), json!("page"), json!({"url": 7})] {
        let (server, unasked) = wanting(usize::MAX, page);
        let session = open(&server.url("/mcp"), visitor(true, &unasked).0).await;
        let error = call(&session).await.unwrap_err();
        assert!(matches!(error, ToolError::Server { code: -32042, .. }), "{error:?}");
        assert_eq!(calls(&server), 1);
    }
}
