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
        assert_eq!(needy["state"], "auth_required");
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
        json!({"resource": "https://t.example/mcp",
            "record": json!({"issuer": "https://i.example", "access_token": "tok-1"}).to_string()})
        .to_string(),
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
        (&json!("https://i.example https://t.example/mcp"), &json!("login"))
    );
    let kept = std::fs::read_to_string(place.path().join(".local/state/massgen/secrets.json")).unwrap();
    assert!(!kept.contains("tok-1"), "{kept}");
    // By whatever name its server goes.
    place.write(
        "tracker.yaml",
        "mcp_servers: { issues: { url: https://t.example/mcp } }\nagent: { id: a, backend: { type: scripted, script: x.yaml } }",
    );
    place.run(&["mcp", "auth", "issues", "--forget", "--config", "tracker.yaml"]).expect_code(0);
    assert_eq!(place.run(&["secrets", "list", "--json"]).expect_code(0).json(), json!([]));
}

#[cfg(all(unix, not(target_os = "macos")))]
mod bus {
    use massgen_testkit::{KeyringMood, SecretServiceBus};

    use super::*;

    /// A place whose session bus is at this address, and whose secrets are wherever they belong.
    fn with_bus(address: &str) -> (Place, ScriptedServer, ScriptedServer) {
        let (mut place, needy, free) = place();
        place.set("MASSGEN_SECRETS", "");
        place.set("DBUS_SESSION_BUS_ADDRESS", address);
        (place, needy, free)
    }

    fn listed(place: &Place, code: i32) -> serde_json::Value {
        place.run(&["mcp", "list", "--json", "--config", "team.yaml"]).expect_code(code).json()
    }

    fn of<'a>(listed: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
        listed.as_array().unwrap().iter().find(|server| server["server"] == name).unwrap()
    }

    /// The server that needs the secret says so, and the other one works.
    fn assert_away(place: &Place, reason: &str) {
        let servers = listed(place, 3);
        assert_eq!(of(&servers, "free")["state"], "ready");
        assert_eq!(of(&servers, "needy")["state"], "auth_required");
        let error = of(&servers, "needy")["error"].as_str().unwrap();
        for part in ["\"tracker\"", "the system's keyring", reason] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_keyring_is_where_secrets_are_kept() {
        let bus = SecretServiceBus::start(KeyringMood::Open);
        let (place, _needy, _free) = with_bus(&bus.address());
        for value in ["tok-of-yesterday", "tok-very-secret-value"] {
            let set = place.pipe(&["secrets", "set", "tracker"], value).expect_code(0);
            assert!(set.stdout.contains("tracker is kept in the system's keyring"), "{}", set.stdout);
            assert_eq!(set.stderr, "");
        }
        let items = bus.items();
        assert_eq!(items.len(), 1, "the new value is in the place of the old one: {items:?}");
        assert_eq!(items[0].1, "tok-very-secret-value");
        assert!(!place.path().join(".local/state/massgen/secrets.json").exists(), "a copy is in a file");
        let shown = place.run(&["secrets", "list", "--json"]).expect_code(0).json();
        assert_eq!((&shown[0]["name"], &shown[0]["place"]), (&json!("tracker"), &json!("keyring")));
        let called = place.run(&["mcp", "call", "needy", "env", "--config", "team.yaml"]).expect_code(0);
        assert!(called.stdout.contains("TRACKER_TOKEN"), "{}", called.stdout);
        assert!(!called.stdout.contains("very-secret"), "{}", called.stdout);
        // Locked again, its servers wait for it; names can still be read.
        bus.turn(KeyringMood::Locked);
        assert_away(&place, "it is locked");
        assert_eq!(place.run(&["secrets", "list", "--json"]).expect_code(0).json(), shown);
        bus.turn(KeyringMood::Open);
        place.run(&["secrets", "rm", "tracker"]).expect_code(0);
        assert_eq!(bus.items(), []);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_keyring_that_does_not_answer_costs_the_server_that_needs_it_and_no_other() {
        let bus = SecretServiceBus::start(KeyringMood::Silent);
        let (mut place, needy, _free) = with_bus(&bus.address());
        assert_away(&place, "does not answer within 1.5 s");
        assert_eq!(bus.connections(), 1, "once it did not answer, it is not asked again");
        assert!(needy.journal().entries().is_empty(), "it was started without its secret");

        // What is in the file is found there all the same.
        place.set(PASSPHRASE, "correct horse");
        let set = place.pipe(&["secrets", "set", "tracker"], "tok-very-secret-value").expect_code(0);
        assert!(
            set.stderr.contains("the system's keyring is not used: it does not answer"),
            "{}",
            set.stderr
        );
        assert!(set.stdout.contains("is kept in the encrypted file"), "{}", set.stdout);
        assert_eq!(of(&listed(&place, 0), "needy")["state"], "ready");
        // Told to use the keyring alone, it does not go elsewhere.
        place.set("MASSGEN_SECRETS", "keyring");
        let alone = place.pipe(&["secrets", "set", "other"], "x").expect_code(1);
        assert!(alone.stderr.contains("the system's keyring"), "{}", alone.stderr);
        let kept = std::fs::read_to_string(place.path().join(".local/state/massgen/secrets.json")).unwrap();
        assert!(!kept.contains("very-secret") && !kept.contains("other"), "{kept}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_there_is_no_keyring_the_file_takes_its_place_and_it_is_said() {
        let nobody = SecretServiceBus::start(KeyringMood::Nobody);
        for address in [nobody.address(), "unix:path=/nonexistent/bus".into(), String::new()] {
            let (mut place, _needy, _free) = with_bus(&address);
            let unset = place.run(&["mcp", "list", "--config", "team.yaml"]).expect_code(1);
            let places = "the system's keyring or the encrypted file";
            assert!(unset.stderr.contains(places), "{address}: {}", unset.stderr);
            place.set(PASSPHRASE, "correct horse");
            let set = place.pipe(&["secrets", "set", "tracker"], "tok-very-secret-value").expect_code(0);
            let told = set.stderr.matches("the system's keyring is not used").count();
            assert_eq!(told, 1, "{address}: {}", set.stderr);
            assert!(set.stdout.contains("is kept in the encrypted file"), "{address}: {}", set.stdout);
            assert_eq!(of(&listed(&place, 0), "needy")["state"], "ready", "{address}");
        }
    }
}
