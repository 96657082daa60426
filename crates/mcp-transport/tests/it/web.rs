//! Both our halves over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use mcp_core::*;
use mcp_transport::serve::{self, ServerInfo};
use mcp_transport::{EraPolicy, Session, SessionOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::memory::Workshop;
use crate::support::*;

async fn served(workshop: Arc<Workshop>) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let info = ServerInfo::new("workshop", "1").with_instructions("knock first");
    let task = tokio::spawn(async move { serve::http(workshop, info, listener).await.unwrap() });
    (port, task)
}

async fn dial(port: u16, era: EraPolicy) -> Session {
    let url = format!("http://127.0.0.1:{port}/mcp").parse().unwrap();
    let spec = Admitted::by_guard(RemoteSpec { url, headers: BTreeMap::new() });
    let mut options = SessionOptions::default();
    options.era = era;
    soon(Session::http(name(), spec, Arc::new(Gatekeeper::default()), options)).await.unwrap()
}

#[tokio::test]
async fn both_halves_agree_over_http_in_both_eras() {
    let (port, task) = served(Workshop::new()).await;
    for (era, version) in [
        (EraPolicy::Auto, "2026-07-28"),
        (EraPolicy::Modern, "2026-07-28"),
        (EraPolicy::Legacy, "2025-11-25"),
    ] {
        let session = dial(port, era).await;
        assert_eq!(session.peer().protocol_version, version);
        assert_eq!(session.peer().instructions.as_deref(), Some("knock first"));
        let list = soon(session.list_tools()).await.unwrap();
        assert_eq!(list.tools.len(), 4);
        let arguments = object(json!({"z": 1, "a": [null]}));
        let answer = soon(session.call_tool(&list.tools[0].name, arguments, None)).await.unwrap();
        assert_eq!(answer.to_text(), r#"{"z":1,"a":[null]}"#);
        soon(session.close()).await;
    }
    task.abort();
}

#[tokio::test]
async fn a_dropped_call_is_dropped_at_the_far_end_too() {
    for era in [EraPolicy::Modern, EraPolicy::Legacy] {
        let workshop = Workshop::new();
        let (port, task) = served(workshop.clone()).await;
        let session = dial(port, era).await;
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
        soon(session.close()).await;
        task.abort();
    }
}

#[tokio::test]
async fn a_server_that_goes_away_ends_its_calls() {
    let workshop = Workshop::new();
    let (port, task) = served(workshop.clone()).await;
    let session = dial(port, EraPolicy::Modern).await;
    let wait = tool("wait");
    let (answer, ()) = soon(async {
        tokio::join!(session.call_tool(&wait, JsonObject::new(), None), async {
            workshop.started.notified().await;
            task.abort();
        })
    })
    .await;
    // It may still find the time to say that it goes.
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::Server);
    soon(session.close()).await;
}

#[tokio::test]
async fn a_browser_is_turned_away() {
    let (port, task) = served(Workshop::new()).await;
    for header in ["Host: evil.example", "Host: 127.0.0.1\r\nOrigin: http://evil.example"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let request =
            format!("POST /mcp HTTP/1.1\r\n{header}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{header}: {answer}");
    }
    task.abort();
}
