//! The scripted server as a child process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use massgen_testkit::process::Signal;
use massgen_testkit::{
    CallReply, Era, Grandchild, HandshakeVersion, Journal, LEGACY, MODERN, OnProbe, Outcome, PATIENCE,
    Progress, Quirk, ReplyId, ScriptedServer, ServerScript, ToolScript, process,
};
use serde_json::{Value, json};

/// A server under test, and its pipes.
struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    journal: Journal,
    id: u64,
    _files: ScriptedServer,
}

impl Running {
    fn start(script: &ServerScript) -> Self {
        let files = script.launch();
        let mut child = Command::new(files.program())
            .args(files.args())
            .env("TESTKIT_MARK", "seen")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdin, stdout, journal: files.journal(), id: 0, _files: files }
    }

    fn ready(script: &ServerScript) -> Self {
        let mut server = Self::start(script);
        let answer = server.initialize(LEGACY);
        assert_eq!(answer["result"]["protocolVersion"], LEGACY, "{answer}");
        server.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        server
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.stdin.as_mut().unwrap(), "{message}").unwrap();
    }

    fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}));
        self.id
    }

    /// The next line, as it is.
    fn line(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.stdout.read_until(b'\n', &mut line).unwrap();
        line
    }

    fn message(&mut self) -> Value {
        let line = self.line();
        serde_json::from_slice(&line).unwrap_or_else(|e| panic!("{e}: {:?}", String::from_utf8_lossy(&line)))
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params);
        let answer = self.message();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn initialize(&mut self, version: &str) -> Value {
        self.request("initialize", json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {}}))
    }

    fn call(&mut self, name: &str, arguments: Value) -> Value {
        self.request("tools/call", json!({"name": name, "arguments": arguments}))
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stdout.read_to_string(&mut text).unwrap();
        text
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

#[test]
fn a_legacy_server_shakes_hands_lists_calls_and_ends_with_its_input() {
    let mut server = Running::ready(&ServerScript::new().tool(ToolScript::echo("say").read_only()));
    assert_eq!(server.request("ping", json!({}))["result"], json!({}));
    let list = server.request("tools/list", json!({}));
    assert_eq!(list["result"]["tools"][0]["annotations"]["readOnlyHint"], true);
    assert_eq!(list["result"]["tools"][0]["inputSchema"]["type"], "object");
    assert_eq!(server.call("say", json!({"a": 1}))["result"]["structuredContent"], json!({"a": 1}));
    assert_eq!(server.call("nope", json!({}))["error"]["code"], -32602);
    assert_eq!(server.request("resources/list", json!({}))["error"]["code"], -32601);
    let pid = server.child.id();
    assert_eq!(server.journal.pids(), [pid]);
    assert!(process::is_alive(pid));
    server.stdin = None;
    assert_eq!(server.code(), Some(0));
    assert!(!process::is_alive(pid));
    let kinds: Vec<Value> = server.journal.entries().iter().map(|e| e["kind"].clone()).collect();
    assert_eq!(kinds.first().unwrap(), "started");
    assert_eq!(kinds.last().unwrap(), "eof");
    assert_eq!(server.journal.method("tools/call").len(), 2);
}

#[test]
fn a_legacy_server_answers_the_probe_as_told() {
    let mut server = Running::start(&ServerScript::new());
    assert_eq!(server.request("server/discover", json!({"_meta": meta()}))["error"]["code"], -32601);
    assert_eq!(server.request("tools/list", json!({}))["error"]["code"], -32600, "no handshake yet");
    assert!(server.initialize(LEGACY)["result"].is_object());

    let mut server = Running::start(&ServerScript::new().on_probe(OnProbe::Silent));
    server.ask("server/discover", json!({"_meta": meta()}));
    assert!(server.initialize(LEGACY)["result"].is_object(), "the next line answers the next request");

    let mut server = Running::start(&ServerScript::new().on_probe(OnProbe::Exit(3)));
    server.ask("server/discover", json!({"_meta": meta()}));
    assert_eq!(server.code(), Some(3));
}

#[test]
fn a_modern_server_wants_meta_on_every_request() {
    let mut server = Running::start(&ServerScript::new().modern().tool(ToolScript::new("hi")));
    assert_eq!(server.initialize(LEGACY)["error"]["code"], -32022);
    assert_eq!(server.request("server/discover", json!({}))["error"]["code"], -32602);
    let mut other = meta();
    other["io.modelcontextprotocol/protocolVersion"] = "2031-01-01".into();
    let refusal = server.request("tools/list", json!({"_meta": other}));
    assert_eq!(refusal["error"]["code"], -32022);
    assert_eq!(refusal["error"]["data"]["supported"], json!([MODERN]));
    let found = server.request("server/discover", json!({"_meta": meta()}));
    assert_eq!(found["result"]["supportedVersions"], json!([MODERN]));
    assert_eq!(server.request("tools/list", json!({}))["error"]["code"], -32602);
    let list = server.request("tools/list", json!({"_meta": meta()}));
    assert_eq!(list["result"]["resultType"], "complete");
    assert_eq!(list["result"]["cacheScope"], "private");
    let answer = server.request("tools/call", json!({"name": "hi", "_meta": meta()}));
    assert_eq!(answer["result"]["resultType"], "complete");
    assert_eq!(server.request("ping", json!({"_meta": meta()}))["error"]["code"], -32601);
}

#[test]
fn a_dual_server_is_of_the_era_of_its_first_request() {
    let script = ServerScript::new().era(Era::Dual);
    let mut server = Running::start(&script);
    assert!(server.request("server/discover", json!({"_meta": meta()}))["result"].is_object());
    assert_eq!(server.initialize(LEGACY)["error"]["code"], -32022);
    let mut server = Running::ready(&script);
    assert_eq!(server.request("tools/list", json!({}))["result"].get("resultType"), None);
    assert_eq!(server.request("server/discover", json!({"_meta": meta()}))["error"]["code"], -32601);
}

#[test]
fn a_modern_subscription_is_acknowledged_and_told_of_changes() {
    let new = Quirk::NewToolAfter { calls: 1, tool: Box::new(ToolScript::new("late")) };
    let script = ServerScript::new().modern().tool(ToolScript::new("hi")).quirk(new);
    let mut server = Running::start(&script);
    server.request("server/discover", json!({"_meta": meta()}));
    let listen = server
        .ask("subscriptions/listen", json!({"_meta": meta(), "notifications": {"toolsListChanged": true}}));
    let acknowledged = server.message();
    assert_eq!(acknowledged["method"], "notifications/subscriptions/acknowledged");
    server.request("tools/call", json!({"name": "hi", "_meta": meta()}));
    let changed = server.message();
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], listen);
    let list = server.request("tools/list", json!({"_meta": meta()}));
    assert_eq!(list["result"]["tools"][1]["name"], "late");
}

#[test]
fn the_handshake_version_is_as_told() {
    for (rule, asked, got) in [
        (HandshakeVersion::Negotiate, "2025-06-18", "2025-06-18"),
        (HandshakeVersion::Negotiate, MODERN, LEGACY),
        (HandshakeVersion::Echo, "1999-01-01", "1999-01-01"),
        (HandshakeVersion::Fixed("2024-11-05".into()), LEGACY, "2024-11-05"),
    ] {
        let mut server = Running::start(&ServerScript::new().handshake_version(rule));
        assert_eq!(server.initialize(asked)["result"]["protocolVersion"], got);
    }
}

#[test]
fn pages_end_or_never_end() {
    let script = ServerScript::new().many_tools(57, 45_000);
    let mut server = Running::ready(&script.clone().page_size(25));
    let (mut cursor, mut sizes, mut bytes) = (json!({}), Vec::new(), 0);
    loop {
        let page = server.request("tools/list", cursor)["result"].take();
        sizes.push(page["tools"].as_array().unwrap().len());
        bytes += page["tools"].to_string().len();
        match page.get("nextCursor") {
            Some(next) => cursor = json!({"cursor": next}),
            None => break,
        }
    }
    assert_eq!(sizes, [25, 25, 7]);
    assert!((44_000..47_000).contains(&bytes), "{bytes}");
    assert_eq!(server.request("tools/list", json!({"cursor": "invented"}))["error"]["code"], -32602);

    let mut server = Running::ready(&script.page_size(25).cursor_loop());
    for _ in 0..5 {
        assert_eq!(server.request("tools/list", json!({"cursor": "again"}))["result"]["nextCursor"], "again");
    }
}

#[test]
fn outcomes_are_as_told_and_the_last_one_stays() {
    let tool = ToolScript::new("t")
        .text("{who} {#}")
        .replies(Outcome::Failed("broken".into()))
        .replies(Outcome::MisplacedError("hidden".into()))
        .replies(Outcome::RpcError { code: -32000, message: "no".into() })
        .replies(Outcome::Result(json!({"content": 7})))
        .replies(Outcome::Content(vec![json!({"type": "hologram"})]))
        .replies(Outcome::Structured(json!([1])))
        .replies(Outcome::Big(1000))
        .replies(Outcome::ProcessId);
    let mut server =
        Running::ready(&ServerScript::new().tool(tool).tool(ToolScript::new("bare").without_schema()));
    let list = server.request("tools/list", json!({}));
    assert_eq!(list["result"]["tools"][1].get("inputSchema"), None);
    let mut next = || server.call("t", json!({"who": "Ada"}));
    assert_eq!(next()["result"]["content"][0]["text"], "Ada 1");
    assert_eq!(next()["result"]["isError"], true);
    let misplaced = next();
    assert_eq!(misplaced["result"].get("isError"), None);
    assert_eq!(misplaced["result"]["content"][0]["isError"], true);
    assert_eq!(next()["error"]["code"], -32000);
    assert_eq!(next()["result"]["content"], 7);
    assert_eq!(next()["result"]["content"][0]["type"], "hologram");
    assert_eq!(next()["result"]["structuredContent"], json!([1]));
    assert_eq!(next()["result"]["content"][0]["text"].as_str().unwrap().len(), 1000);
    let pid = next();
    assert_eq!(next()["result"], pid["result"]);
    assert_eq!(pid["result"]["content"][0]["text"], server.child.id().to_string());
}

#[test]
fn surroundings_are_told() {
    let script = ServerScript::new()
        .tool(ToolScript::new("env").replies(Outcome::Environment))
        .tool(ToolScript::new("cwd").replies(Outcome::WorkingDirectory))
        .tool(ToolScript::new("argv").replies(Outcome::CommandLine));
    let mut server = Running::ready(&script);
    let mut text = |name: &str| {
        server.call(name, json!({}))["result"]["content"][0]["text"].as_str().unwrap().to_owned()
    };
    let env: Value = serde_json::from_str(&text("env")).unwrap();
    assert_eq!(env["TESTKIT_MARK"], "seen");
    assert_eq!(text("cwd"), std::env::current_dir().unwrap().display().to_string());
    let argv: Vec<String> = serde_json::from_str(&text("argv")).unwrap();
    assert_eq!(argv[1], "--script");
}

#[test]
fn ids_can_be_wrong() {
    let reply = |id| CallReply::default().id(id);
    let tool = ToolScript::new("t")
        .replies(reply(ReplyId::WrongThenSame))
        .replies(reply(ReplyId::Twice))
        .replies(reply(ReplyId::AsText));
    let mut server = Running::ready(&ServerScript::new().tool(tool));
    let mut ids = |count: usize| {
        let id = server.ask("tools/call", json!({"name": "t"}));
        (id, (0..count).map(|_| server.message()["id"].clone()).collect::<Vec<_>>())
    };
    let (id, seen) = ids(2);
    assert!(seen[0] != id && seen[1] == id);
    let (id, seen) = ids(2);
    assert!(seen[0] == id && seen[1] == id);
    let (id, seen) = ids(1);
    assert_eq!(seen[0], id.to_string());
}

#[test]
fn a_cancelled_call_is_not_answered_unless_told() {
    let slow = ToolScript::new("slow").replies(CallReply::default().delay_ms(60_000));
    let mut server = Running::ready(&ServerScript::new().tool(slow));
    let id = server.ask("tools/call", json!({"name": "slow"}));
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    assert_eq!(server.request("ping", json!({}))["result"], json!({}));
    assert_eq!(server.journal.method("notifications/cancelled")[0]["params"]["requestId"], id);

    let slow = ToolScript::new("slow").replies(CallReply::default().delay_ms(1));
    let mut server = Running::ready(&ServerScript::new().tool(slow).quirk(Quirk::IgnoresCancel));
    let id = server.ask("tools/call", json!({"name": "slow"}));
    server.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    assert_eq!(server.message()["id"], id);
}

#[test]
fn progress_comes_before_the_answer() {
    let reply = CallReply::default().progress(Progress { count: 3, every_ms: 0 });
    let mut server = Running::ready(&ServerScript::new().tool(ToolScript::new("t").replies(reply)));
    let id = server.ask("tools/call", json!({"name": "t", "_meta": {"progressToken": "p"}}));
    for number in 1..=3 {
        let message = server.message();
        assert_eq!(message["method"], "notifications/progress");
        assert_eq!(message["params"], json!({"progressToken": "p", "progress": number}));
    }
    assert_eq!(server.message()["id"], id);
    assert_eq!(server.call("t", json!({}))["result"]["isError"], false, "no token, no progress");
}

#[test]
fn noise_comes_where_told() {
    let script = ServerScript::new()
        .tool(ToolScript::new("t"))
        .quirk(Quirk::Chatter(vec!["Server listening".into()]))
        .quirk(Quirk::Stderr(vec!["warming up".into()]))
        .quirk(Quirk::LogBeforeHandshake(2));
    let mut server = Running::start(&script);
    assert_eq!(server.line(), b"Server listening\n");
    let id = server.ask("initialize", json!({"protocolVersion": LEGACY}));
    assert_eq!(server.message()["method"], "log");
    assert_eq!(server.message()["method"], "log");
    assert_eq!(server.message()["id"], id);
    server.stdin = None;
    assert_eq!(server.stderr(), "warming up\n");

    let script = ServerScript::new()
        .tool(ToolScript::new("t"))
        .quirk(Quirk::NotificationFlood(100))
        .quirk(Quirk::OversizedLine(20_000))
        .quirk(Quirk::StderrFlood(10_000))
        .quirk(Quirk::ServerRequest { method: "sampling/createMessage".into(), params: json!({}) });
    let mut server = Running::ready(&script);
    let id = server.ask("tools/call", json!({"name": "t"}));
    for _ in 0..100 {
        assert_eq!(server.message()["method"], "notifications/message");
    }
    assert!(server.line().len() > 20_000);
    let asked = server.message();
    assert_eq!(asked["method"], "sampling/createMessage");
    assert_eq!(server.message()["id"], id);
    server.stdin = None;
    assert!(server.stderr().len() >= 10_000);

    let script = ServerScript::new().quirk(Quirk::BlankLines).quirk(Quirk::NullIdErrors);
    let mut server = Running::start(&script);
    server.ask("initialize", json!({"protocolVersion": LEGACY}));
    server.stdin = None;
    let out = server.rest();
    let lines: Vec<&str> = out.lines().filter(|l| !l.trim().is_empty()).collect();
    assert!(out.starts_with('\n') && lines.len() == 2, "{out:?}");
    assert_eq!(serde_json::from_str::<Value>(lines[0]).unwrap()["id"], Value::Null);
}

#[test]
fn endings_are_as_told() {
    let quirk = Quirk::ExitAtStart { code: 2, stderr: "ModuleNotFoundError: no module".into() };
    let mut server = Running::start(&ServerScript::new().quirk(quirk));
    assert_eq!(server.stderr(), "ModuleNotFoundError: no module\n");
    assert_eq!(server.code(), Some(2));

    let tool = |outcome: Outcome| ServerScript::new().tool(ToolScript::new("t").replies(outcome));
    let mut server = Running::ready(&tool(Outcome::Exit(7)));
    server.ask("tools/call", json!({"name": "t"}));
    assert_eq!((server.rest().as_str(), server.code()), ("", Some(7)));

    let mut server = Running::ready(&tool(Outcome::Partial { text: r#"{"jsonrpc":"#.into(), exit: Some(1) }));
    server.ask("tools/call", json!({"name": "t"}));
    assert_eq!((server.rest().as_str(), server.code()), (r#"{"jsonrpc":"#, Some(1)));

    let mut server = Running::ready(&tool(Outcome::Abort));
    server.ask("tools/call", json!({"name": "t"}));
    assert_eq!(server.code(), None, "ended by a signal");

    let script = tool(Outcome::Text("ok".into())).quirk(Quirk::CrashAfter { calls: 1, code: 9 });
    let mut server = Running::ready(&script);
    server.call("t", json!({}));
    server.ask("tools/call", json!({"name": "t"}));
    assert_eq!((server.rest().as_str(), server.code()), ("", Some(9)));
    assert_eq!(server.journal.kind("exit")[0]["code"], 9);
}

#[test]
fn raw_lines_are_not_messages() {
    let tool = ToolScript::new("t")
        .replies(Outcome::RawLine("Traceback (most recent call last):".into()))
        .replies(Outcome::InvalidUtf8)
        .replies(Outcome::Nested(100_000));
    let mut server = Running::ready(&ServerScript::new().tool(tool));
    let mut raw = || {
        server.ask("tools/call", json!({"name": "t"}));
        server.line()
    };
    assert_eq!(raw(), b"Traceback (most recent call last):\n");
    assert!(String::from_utf8(raw()).is_err());
    let nested = raw();
    assert!(nested.len() > 200_000 && serde_json::from_slice::<Value>(&nested).is_err());
}

#[tokio::test]
async fn stubborn_servers_and_their_children_are_seen() {
    let child = Grandchild { ignores_sigterm: true, ..Grandchild::default() };
    let script = ServerScript::new()
        .quirk(Quirk::NeverExitsOnEof)
        .quirk(Quirk::IgnoresSigterm)
        .quirk(Quirk::Grandchild(child))
        .tool(
            ToolScript::new("fork")
                .replies(Outcome::SpawnGrandchild(Grandchild { own_session: true, ..Grandchild::default() })),
        );
    let mut server = Running::ready(&script);
    let forked = server.call("fork", json!({}));
    let forked: u32 = forked["result"]["content"][0]["text"].as_str().unwrap().parse().unwrap();
    let pid = server.child.id();
    let children = server.journal.grandchildren();
    assert_eq!(children.len(), 2);
    assert_eq!(children[1], forked);
    let mut seen = process::descendants(pid);
    seen.sort_unstable();
    let mut told = children.clone();
    told.sort_unstable();
    assert_eq!(seen, told);

    server.stdin = None;
    server.journal.await_entry(|e| e["kind"] == "eof").await;
    process::signal(pid, Signal::Terminate);
    server.journal.await_entry(|e| e["kind"] == "sigterm").await;
    assert!(process::is_alive(pid));
    assert!(!process::with_argument(server.journal.path().to_str().unwrap()).is_empty());

    for pid in [pid, children[0], children[1]] {
        process::signal(pid, Signal::Kill);
    }
    server.child.wait().unwrap();
    assert!(server.journal.all_gone(PATIENCE).await, "{:?}", server.journal.alive());
    assert!(process::wait_until_gone(pid, Duration::ZERO).await);
}

#[test]
fn a_server_can_fall_silent_without_ending() {
    let script = ServerScript::new()
        .tool(ToolScript::new("close").replies(Outcome::CloseStdout))
        .tool(ToolScript::new("stop").replies(Outcome::Stop))
        .tool(ToolScript::new("drip").replies(Outcome::Drip { text: "slow {#}".into(), every_ms: 0 }));
    let mut server = Running::ready(&script);
    assert_eq!(server.call("drip", json!({}))["result"]["content"][0]["text"], "slow 1");
    server.ask("tools/call", json!({"name": "close"}));
    assert_eq!(server.rest(), "");
    let pid = server.child.id();
    assert!(process::is_alive(pid));
    server.ask("tools/call", json!({"name": "stop"}));
    assert!(process::until_blocking(PATIENCE, || process::is_stopped(pid)));
    process::signal(pid, Signal::Continue);
    server.stdin = None;
    assert_eq!(server.code(), Some(0));
}

#[test]
fn any_method_can_have_a_result_of_its_own() {
    let script = ServerScript::new()
        .result("resources/list", json!({"resources": [{"uri": "a:b", "name": "b"}]}))
        .result("initialize", json!({"protocolVersion": 7}));
    let mut server = Running::start(&script);
    assert_eq!(server.initialize(LEGACY)["result"], json!({"protocolVersion": 7}));
    let list = server.request("resources/list", json!({}));
    assert_eq!(list["result"]["resources"][0]["name"], "b");
}

#[test]
fn a_restarted_server_plays_the_next_script() {
    let script = ServerScript::new()
        .quirk(Quirk::ExitAtStart { code: 1, stderr: String::new() })
        .after_restart(ServerScript::new().tool(ToolScript::new("alive")));
    let files = script.launch();
    let run = |input: &str| {
        let mut child = Command::new(files.program())
            .args(files.args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The first one may be gone before it reads.
        let _ = writeln!(child.stdin.take().unwrap(), "{input}");
        child.wait_with_output().unwrap()
    };
    let hello =
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": LEGACY}});
    assert_eq!(run(&hello.to_string()).status.code(), Some(1));
    for _ in 0..2 {
        let output = run(&hello.to_string());
        assert!(output.status.success() && !output.stdout.is_empty());
    }
    assert_eq!(files.journal().pids().len(), 3);
}

#[test]
fn a_script_survives_json_and_names_unknown_keys() {
    let script = ServerScript::new()
        .dual()
        .tool(ToolScript::echo("e").output_schema(json!({"type": "object"})))
        .quirk(Quirk::NullIdErrors)
        .on_probe(OnProbe::Exit(1));
    assert_eq!(serde_json::from_str::<ServerScript>(&script.to_json()).unwrap(), script);
    let output = Command::new(massgen_testkit::scripted_server())
        .args(["--script-json", r#"{"tolls": []}"#])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("tolls"));
}
