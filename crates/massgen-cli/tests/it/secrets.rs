//! Secrets and logins where nobody is there to type a passphrase.

use massgen_testkit::{Outcome, ScriptedServer, ServerScript, ToolScript};
use serde_json::json;

use crate::support::Place;

const PASSPHRASE: &str = "MASSGEN_SECRETS_PASSPHRASE";

/// Two servers, one of which needs a secret.
fn place() -> (Place, ScriptedServer, ScriptedServer) {
    let (needy, free) = (
        ServerScript::new().tool(ToolScript::new("env").read_only().replies(Outcome::Environment)).launch(),
        ServerScript::new().tool(ToolScript::echo("echo").read_only()).launch(),
    );
    let mut with_secret = needy.config("needy");
    with_secret["env"] = json!({"TRACKER_TOKEN": "${keyring:tracker}"});
    let mut place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": [with_secret, free.config("free")],
        "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    place.set("MASSGEN_SECRETS", "file");
    (place, needy, free)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_set_by_a_pipe_used_listed_and_forgotten() {
    let (mut place, _needy, _free) = place();
    let unset = place.run(&["mcp", "list", "--config", "team.yaml"]).expect_code(1);
    assert!(unset.stderr.contains("there is no secret tracker"), "{}", unset.stderr);
    assert!(unset.stderr.contains("massgen secrets set tracker"), "{}", unset.stderr);
    let alone = place.pipe(&["secrets", "set", "tracker"], "tok-very-secret-value\n").expect_code(1);
    assert!(alone.stderr.contains(PASSPHRASE), "{}", alone.stderr);

    place.set(PASSPHRASE, "correct horse");
    let set = place.pipe(&["secrets", "set", "tracker"], "tok-very-secret-value\n").expect_code(0);
    assert!(set.stdout.contains("the encrypted file") && !set.stdout.contains("very"), "{}", set.stdout);
    let listed = place.run(&["secrets", "list", "--json"]).expect_code(0).json();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["kind"], &listed[0]["place"]),
        (&json!("tracker"), &json!("secret"), &json!("file"))
    );

    let called = place.run(&["mcp", "call", "needy", "env", "--config", "team.yaml"]).expect_code(0);
    assert!(
        called.stdout.contains("TRACKER_TOKEN") && !called.stdout.contains("very-secret"),
        "{}",
        called.stdout
    );
    assert!(!called.stdout.contains("correct horse"), "a server hears no passphrase: {}", called.stdout);

    place.run(&["secrets", "rm", "tracker"]).expect_code(0);
    assert_eq!(place.run(&["secrets", "list", "--json"]).expect_code(0).json(), json!([]));
    let gone = place.run(&["secrets", "rm", "tracker"]).expect_code(1);
    assert!(gone.stderr.contains("massgen secrets list"), "{}", gone.stderr);
    let named = place.pipe(&["secrets", "set", "a b"], "x").expect_code(2);
    assert!(named.stderr.contains("cannot be the name"), "{}", named.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_costs_the_server_that_needs_it_and_no_other() {
    let (mut place, needy, _free) = place();
    place.set(PASSPHRASE, "correct horse");
    place.pipe(&["secrets", "set", "tracker"], "tok-very-secret-value").expect_code(0);
    for wrong in ["wrong horse", ""] {
        place.set(PASSPHRASE, wrong);
        let listed = place.run(&["mcp", "list", "--json", "--config", "team.yaml"]).expect_code(3).json();
        let state = |name: &str| {
            listed.as_array().unwrap().iter().find(|server| server["server"] == name).unwrap().clone()
        };
        assert_eq!(state("free")["state"], "ready");
        let needy = state("needy");
        assert_eq!(needy["state"], "failed");
        let error = needy["error"].as_str().unwrap();
        assert!(error.contains("\"tracker\"") && error.contains("the encrypted file"), "{error}");
        assert!(error.contains("massgen secrets set tracker"), "{error}");
    }
    assert!(needy.journal().entries().is_empty(), "it was never started");
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_kept_in_the_clear_are_moved_when_there_is_a_place_for_them() {
    let (mut place, _needy, _free) = place();
    let folder = place.path().join(".local/state/massgen/logins");
    std::fs::create_dir_all(&folder).unwrap();
    let login = folder.join("tracker.json");
    std::fs::write(
        &login,
        json!({"resource": "https://t.example/mcp", "record": "{\"access_token\":\"tok-1\"}"}).to_string(),
    )
    .unwrap();

    let args = ["mcp", "call", "free", "echo", "--config", "team.yaml"];
    place.write(
        "team.yaml",
        std::fs::read_to_string(place.path().join("team.yaml")).unwrap().replace("${keyring:tracker}", "x"),
    );
    let ended = place.run(&args).expect_code(0);
    assert!(ended.stderr.contains("are not encrypted") && login.is_file(), "{}", ended.stderr);

    place.set(PASSPHRASE, "correct horse");
    let ended = place.run(&args).expect_code(0);
    assert!(
        ended.stderr.contains("was moved into the encrypted file") && !login.exists(),
        "{}",
        ended.stderr
    );
    let listed = place.run(&["secrets", "list", "--json"]).expect_code(0).json();
    assert_eq!(
        (&listed[0]["name"], &listed[0]["kind"]),
        (&json!("tracker https://t.example/mcp"), &json!("login"))
    );
    let kept = std::fs::read_to_string(place.path().join(".local/state/massgen/secrets.json")).unwrap();
    assert!(!kept.contains("tok-1"), "{kept}");
    place.run(&["mcp", "auth", "tracker", "--forget"]).expect_code(0);
    assert_eq!(place.run(&["secrets", "list", "--json"]).expect_code(0).json(), json!([]));
}
