//! `massgen mcp …` against a real server process.

use massgen_testkit::{ServerScript, ToolScript};
use serde_json::json;

use crate::support::Place;

fn place() -> (Place, massgen_testkit::ScriptedServer) {
    let server = ServerScript::new()
        .named("the scripted one")
        .tool(
            ToolScript::echo("echo")
                .schema(
                    json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
                )
                .read_only(),
        )
        .tool(ToolScript::new("drop.table").text("dropped"))
        .launch();
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": [server.config("s")],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    (place, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn list_tools_and_call() {
    let (place, server) = place();
    let listed = place.run(&["mcp", "list", "--config", "team.yaml", "--json"]).expect_code(0).json();
    assert_eq!(listed[0]["server"], "s");
    assert_eq!(listed[0]["state"], "ready");
    assert_eq!(listed[0]["tools"], 2);
    assert_eq!(listed[0]["name"], "the scripted one");
    let none = place.run(&["mcp", "resources", "--config", "team.yaml"]).expect_code(0);
    assert_eq!((none.stdout.as_str(), none.stderr.as_str()), ("", "none of the servers offers any\n"));
    let ended = place.run(&["mcp", "read", "s", "x:y", "--config", "team.yaml"]).expect_code(1);
    assert!(ended.stderr.contains("server s offers no resources"), "{}", ended.stderr);

    let tools = place.run(&["mcp", "tools", "--config", "team.yaml", "--json"]).expect_code(0).json();
    assert_eq!(tools[0]["exposed"], "mcp__s__echo");
    assert_eq!(tools[0]["annotations"]["readOnlyHint"], true);
    let odd = tools[1]["exposed"].as_str().unwrap();
    assert!(odd.starts_with("mcp__s__drop_table_") && odd.len() <= 64, "{odd}");
    let table = place.run(&["mcp", "tools", "s", "--config", "team.yaml"]).expect_code(0);
    assert!(table.stdout.starts_with("TOOL"), "{}", table.stdout);
    let one = place.run(&["mcp", "tools", "s", "echo", "--config", "team.yaml"]).expect_code(0);
    assert!(one.stdout.starts_with("mcp__s__echo, echo of server s\nit reads\n"), "{}", one.stdout);
    assert!(one.stdout.ends_with("massgen mcp call s echo n=…\n"), "{}", one.stdout);
    let one =
        place.run(&["mcp", "tools", "s", "drop.table", "--json", "--config", "team.yaml"]).expect_code(0);
    assert_eq!(one.json()["exposed"], odd);

    let answer =
        place.run(&["mcp", "call", "s", "echo", "n=7", "--json", "--config", "team.yaml"]).expect_code(0);
    assert_eq!(answer.json()["structuredContent"], json!({"n": 7}));
    let answer = place.run(&["mcp", "call", "s", "drop.table", "--config", "team.yaml"]).expect_code(0);
    assert_eq!(answer.stdout, "dropped\n");
    assert_eq!(server.journal().alive(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_call_never_reaches_the_server() {
    let (place, server) = place();
    let ended = place.run(&["mcp", "call", "s", "echo", "n=seven", "--config", "team.yaml"]).expect_code(1);
    assert!(ended.stderr.contains("n") && ended.stderr.contains("integer"), "{}", ended.stderr);
    assert!(ended.stderr.contains("massgen mcp tools s echo"), "{}", ended.stderr);
    let ended = place.run(&["mcp", "call", "s", "eco", "--config", "team.yaml"]).expect_code(1);
    assert!(ended.stderr.contains("there is no tool \"eco\" on server s"), "{}", ended.stderr);
    assert!(ended.stderr.contains("it has: echo, drop.table"), "{}", ended.stderr);
    let ended = place.run(&["mcp", "call", "nobody", "echo", "--config", "team.yaml"]).expect_code(1);
    assert!(ended.stderr.contains("it has: s"), "{}", ended.stderr);
    assert_eq!(server.journal().method("tools/call").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_and_prompts_are_shown_read_and_filled_in() {
    let mut script = ServerScript::new();
    for (method, result) in [
        (
            "resources/list",
            json!({"resources": [{"uri": "file:///a", "name": "a", "mimeType": "text/plain", "size": 3}]}),
        ),
        (
            "resources/templates/list",
            json!({"resourceTemplates": [{"uriTemplate": "file:///{name}", "name": "any"}]}),
        ),
        ("resources/read", json!({"contents": [{"uri": "file:///a", "text": "abc\u{1b}[2J"}]})),
        (
            "prompts/list",
            json!({"prompts": [{"name": "greet", "arguments": [{"name": "who", "required": true}]}]}),
        ),
        (
            "prompts/get",
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": "Hello, Ada"}}]}),
        ),
        ("completion/complete", json!({"completion": {"values": ["Ada", "Alan"], "hasMore": true}})),
    ] {
        script = script.result(method, result);
    }
    let capabilities = json!({"tools": {}, "resources": {}, "prompts": {}, "completions": {}});
    let (full, bare) = (script.capabilities(capabilities).launch(), ServerScript::new().launch());
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": [full.config("s"), bare.config("bare")],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let run =
        |args: &[&str]| place.run(&[&["mcp"], args, &["--config", "team.yaml"]].concat()).expect_code(0);

    let listed = run(&["resources", "--json"]).json();
    assert_eq!(
        (&listed[0]["uri"], &listed[1]["uriTemplate"]),
        (&json!("file:///a"), &json!("file:///{name}"))
    );
    assert!(run(&["resources"]).stdout.starts_with("SERVER"));
    assert_eq!(run(&["read", "s", "file:///a"]).stdout, "abc\\u{1b}[2J\n");
    assert_eq!(run(&["read", "s", "file:///a", "--json"]).json()[0]["text"], "abc\u{1b}[2J");
    let listed = run(&["prompts", "--json"]).json();
    assert_eq!((&listed[0]["name"], &listed[0]["arguments"][0]["name"]), (&json!("greet"), &json!("who")));
    assert!(run(&["prompt", "s", "greet", "who=Ada"]).stdout.contains("Hello, Ada"));
    let filled = full.journal().method("prompts/get");
    assert_eq!(filled[0]["params"]["arguments"], json!({"who": "Ada"}));
    assert_eq!(run(&["prompt", "s", "greet", "who=A", "--complete", "who"]).stdout, "Ada\nAlan\n");
    let asked = &full.journal().method("completion/complete")[0]["params"];
    assert_eq!(asked["argument"], json!({"name": "who", "value": "A"}));
}
