//! Finding local servers.

use std::time::Duration;

use massgen_backends::local::{Candidate, find_among};
use massgen_backends::{HttpClient, HttpOptions};
use massgen_testkit::http::{HttpReply, HttpServer, Part};
use massgen_testkit::{ModelEndpoint, ModelOptions, ModelScript};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn servers_are_found_by_their_lists_and_others_are_passed_over() {
    let options = ModelOptions { models: vec!["a".into(), "b".into()], ..ModelOptions::default() };
    let good = ModelEndpoint::with_options(ModelScript::new(), options);
    let ollama = HttpServer::start(Arc::new(|request| match request.path.as_str() {
        "/api/tags" => HttpReply::json(200, &json!({"models": [{"name": "qwen3:8b"}]})),
        _ => HttpReply::empty(404),
    }));
    let website = HttpServer::start(Arc::new(|_| HttpReply::new(200, "text/html", "<h1>hello</h1>")));
    let silent = HttpServer::start(Arc::new(|_| HttpReply::fault(Part::Hang)));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();

    let at = |name, port, list| Candidate { name, port, list };
    let candidates = [
        at("ollama", ollama.address().port(), "/api/tags"),
        at("silent", silent.address().port(), "/v1/models"),
        at("website", website.address().port(), "/v1/models"),
        at("nobody", nobody, "/v1/models"),
        at("good", good.http().address().port(), "/v1/models"),
    ];
    let client = HttpClient::new(HttpOptions::default()).unwrap();
    let found = find_among(&client, &candidates, Duration::from_millis(500)).await;
    let rows: Vec<_> = found.iter().map(|server| (server.name.as_str(), server.models.join(" "))).collect();
    assert_eq!(rows, [("ollama", "qwen3:8b".to_owned()), ("good", "a b".to_owned())]);
    assert_eq!(found[1].base_url.as_str(), good.url("/v1"));
}
