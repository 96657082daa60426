//! What is remembered between runs, and what the environment adds.

use massgen_testkit::{ModelEndpoint, ModelScript, Reply};
use serde_json::json;

use crate::support::Place;

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_dotenv_and_go_to_their_host_only() {
    let endpoint = ModelEndpoint::start(
        ModelScript::new().otherwise(Reply::call("new_answer", json!({"content": "x"}))),
    );
    let place = Place::new();
    place.write(".env", "export OPENAI_API_KEY = \"sk-from-dotenv-file\"\n");
    // A host that is not OpenAI's does not get OpenAI's key.
    place.config(&json!({"agent": {"id": "a", "backend": {
        "type": "chatcompletion", "model": "m", "base_url": endpoint.url("/v1"),
    }}}));
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    for request in endpoint.requests() {
        assert_eq!(request.http.header("authorization"), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_configuration_is_found_by_its_name() {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: found }]");
    place.write("massgen.yaml", "agent: { id: a, backend: { type: scripted, script: play.yaml } }");
    let ended = place.run(&["--output", "json", "q"]).expect_code(0);
    assert_eq!(ended.json()["answer"], "found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_found_beside_its_configuration() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("teams")).unwrap();
    place.write("teams/play.yaml", "turns: [{ answer: found }]");
    place.write("teams/team.yaml", "agent: { id: a, backend: { type: scripted, script: play.yaml } }");
    let ended = place.run(&["--config", "teams/team.yaml", "--output", "json", "q"]).expect_code(0);
    assert_eq!(ended.json()["answer"], "found");
}
