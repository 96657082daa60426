//! What becomes of servers' processes, through the launcher of the binary.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use massgen::core::{Admitted, LaunchSpec, ServerName, ToolName};
use massgen::transport::{Launcher, Program, Session, SessionOptions};
use massgen_testkit::{
    Grandchild, Outcome, PATIENCE, Quirk, ScriptedServer, ServerScript, ToolScript, process, require, tools,
};
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::support::Place;

const MASSGEN: &str = env!("CARGO_BIN_EXE_massgen");
/// Within this time nothing may be left.
const SOON: Duration = Duration::from_secs(5);

/// A server like those that `npx` starts, at their worst: nothing ends it but force, and one of its processes has left.
fn stubborn_tree() -> ServerScript {
    let escaped = Grandchild { own_session: true, ignores_sigterm: true, ..Grandchild::default() };
    ServerScript::new()
        .quirk(Quirk::NeverExitsOnEof)
        .quirk(Quirk::IgnoresSigterm)
        .quirk(Quirk::Grandchild(Grandchild { holds_stdout: true, ..Grandchild::default() }))
        .quirk(Quirk::Grandchild(escaped))
        .tool(ToolScript::echo("echo"))
        .tool(ToolScript::new("hang").replies(Outcome::Hang))
        .tool(ToolScript::new("die").replies(Outcome::Exit(3)))
}

fn place(server: &ScriptedServer) -> Place {
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": [server.config("s")],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    place
}

fn launched() -> SessionOptions {
    let mut options = SessionOptions::default();
    options.launcher = Some(Launcher { program: MASSGEN.into(), args: vec!["__launch".into()] });
    options.close_grace = Duration::from_millis(100);
    options
}

fn name() -> ServerName {
    ServerName::new("s").unwrap()
}

async fn session(server: &ScriptedServer) -> Session {
    let spec = LaunchSpec { program: server.command(), args: server.args(), ..LaunchSpec::default() };
    Session::stdio(name(), Admitted::by_guard(spec), launched()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_massgen_leaves_nothing_of_its_servers() {
    let server = stubborn_tree().launch();
    let place = place(&server);
    let running = place.spawn(&["mcp", "call", "s", "hang", "--config", "team.yaml"]);
    server.journal().await_method("tools/call").await;
    assert_eq!(server.journal().alive().len(), 3);
    running.signal(process::Signal::Kill);
    assert!(server.journal().all_gone(SOON).await, "{:?}", server.journal().alive());
    // The launcher is gone, too.
    let path = server.journal().path().display().to_string();
    assert!(process::until(SOON, || process::with_argument(&path).is_empty()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_catches_who_has_left_the_session() {
    let server = stubborn_tree().launch();
    place(&server).run(&["mcp", "call", "s", "echo", "--config", "team.yaml"]).expect_code(0);
    assert_eq!(server.journal().grandchildren().len(), 2);
    assert_eq!(server.journal().alive(), Vec::<u32>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dies_is_seen_and_takes_everybody_along() {
    let server = stubborn_tree().launch();
    let session = session(&server).await;
    session
        .call_tool(&ToolName::new("die").unwrap(), massgen::core::JsonObject::new(), None)
        .await
        .unwrap_err();
    assert_eq!(session.closed().await, "it exited with code 3");
    assert!(server.journal().all_gone(SOON).await, "{:?}", server.journal().alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_session_ends_the_tree() {
    let server = stubborn_tree().launch();
    let session = session(&server).await;
    assert_eq!(server.journal().alive().len(), 3);
    drop(session);
    assert!(server.journal().all_gone(SOON).await, "{:?}", server.journal().alive());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_in_the_session_that_its_launcher_leads() {
    let server = ServerScript::new().launch();
    let session = session(&server).await;
    let launcher = session.peer().pid.unwrap();
    for process in server.journal().alive().into_iter().chain([launcher]) {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // Behind the name: state, parent, group, session, terminal.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        assert_eq!(fields[2..5], [launcher.to_string().as_str(), &launcher.to_string(), "0"], "{stat}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_launcher_that_is_killed_takes_its_group_along() {
    let server = ServerScript::new()
        .quirk(Quirk::NeverExitsOnEof)
        .quirk(Quirk::IgnoresSigterm)
        .quirk(Quirk::Grandchild(Grandchild::default()))
        .launch();
    let session = session(&server).await;
    process::signal(session.peer().pid.unwrap(), process::Signal::Kill);
    assert_eq!(
        session.closed().await,
        "it was ended by signal 9 (SIGKILL), as the system does when memory is short"
    );
    assert!(server.journal().all_gone(SOON).await, "{:?}", server.journal().alive());
}

/// Runs a shell below the launcher and below this test; the shell has one more thing open than it should.
fn below_a_launcher(script: &str) -> Output {
    Command::new("/bin/sh")
        .args(["-c", r#"exec 9</dev/null; exec "$0" __launch --parent "$2" -- /bin/sh -c "$1""#])
        .args([MASSGEN, script, &std::process::id().to_string()])
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn a_server_gets_its_streams_and_no_privileges() {
    let output = below_a_launcher("ls /proc/self/fd; ulimit -c; grep NoNewPrivs /proc/self/status");
    let text = String::from_utf8(output.stdout).unwrap();
    // `ls` itself opens the folder as number 3.
    assert_eq!(
        text.split_ascii_whitespace().collect::<Vec<_>>(),
        ["0", "1", "2", "3", "0", "NoNewPrivs:", "1"]
    );
}

#[test]
fn the_launcher_ends_as_the_server_ends() {
    assert_eq!(below_a_launcher("exit 7").status.code(), Some(7));
    assert_eq!(below_a_launcher("kill -KILL $$").status.signal(), Some(9));
    assert_eq!(below_a_launcher("kill -TERM $$").status.signal(), Some(15));
    let run = |args: &[&str]| Command::new(MASSGEN).arg("__launch").args(args).output().unwrap();
    for (args, words) in [
        (&["--", "/no/such/program"][..], "massgen: /no/such/program cannot be run: No such file"),
        (&["--"], "massgen: __launch is for massgen itself: there is no command after --"),
        (&["--parent", "x", "--", "true"], "massgen: --parent needs a process id"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(126));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with(words) && said.lines().count() == 1, "{said}");
    }
    // Whoever started it is not its parent any more: there is nobody to serve.
    let output = run(&["--parent", "1", "--", "/bin/sh", "-c", "echo started"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b""[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_has_no_terminal() {
    let spec = LaunchSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), "cat /proc/self/stat; (: </dev/tty) 2>/dev/null && echo a terminal".into()],
        env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
        ..LaunchSpec::default()
    };
    let (program, mut pipes) = Program::start(&name(), &Admitted::by_guard(spec), &launched()).await.unwrap();
    let mut said = String::new();
    tokio::time::timeout(PATIENCE, pipes.stdout.read_to_string(&mut said)).await.unwrap().unwrap();
    drop(pipes.stdin);
    program.close().await;
    // Its session is one of its own, led by the launcher, and no terminal belongs to it.
    let fields: Vec<&str> = said.split_ascii_whitespace().collect();
    let [_, _, _, _, group, session, terminal, ..] = fields[..] else { panic!("{said}") };
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    assert_ne!(own.split_ascii_whitespace().nth(5), Some(session));
    assert_eq!((group, terminal), (session, "0"), "{said}");
    assert!(!said.contains("a terminal"), "{said}");
}

/// A server in a sandbox, written in a shell: it does what the script says, and tells it as its last words.
fn sandboxed(place: &Place, level: &str, script: &str) -> String {
    let server = place.write("server.sh", format!("#!/bin/sh\n{{\n{script}\n}} >&2\nexit 1\n"));
    std::fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    place.write("play.yaml", "turns: [{ answer: x }]");
    std::fs::create_dir_all(place.path().join("work")).unwrap();
    place.config(&json!({
        "mcp_servers": [{
            "name": "s", "type": "stdio", "command": server.to_str(), "cwd": place.path().join("work"),
            "sandbox": level,
        }],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let ended = place.run(&["mcp", "list", "--config", "team.yaml"]);
    assert_eq!(ended.code, Some(3), "{}\n{}", ended.stdout, ended.stderr);
    ended.stdout
}

#[test]
fn a_sandbox_keeps_a_server_to_its_own_places() {
    let place = Place::new();
    std::fs::create_dir(place.path().join(".ssh")).unwrap();
    place.write(".ssh/id", "the key");
    place.write("notes", "some notes");
    let probe = "cat ../.ssh/id && echo reads keys\n\
        cat ../notes && echo reads notes\n\
        echo x > ../notes && echo writes elsewhere\n\
        echo x > own && echo writes at home\n\
        echo x > \"$TMPDIR/t\" && echo writes for a while && echo \"at $TMPDIR.\"\n\
        cat < /proc/$PPID/environ > /dev/null && echo reads others";
    let free = sandboxed(&place, "off", probe);
    for word in ["reads keys", "reads notes", "writes elsewhere", "writes at home"] {
        assert!(free.contains(word), "{word}: {free}");
    }
    for level in ["restrict", "strict"] {
        let said = sandboxed(&place, level, probe);
        for word in ["reads notes", "writes at home", "writes for a while"] {
            assert!(said.contains(word), "{level}: {word}: {said}");
        }
        for word in ["reads keys", "writes elsewhere", "reads others"] {
            assert!(!said.contains(word), "{level}: {word}: {said}");
        }
        let own = said.split("at ").find_map(|rest| rest.split_once(".\n").map(|(path, _)| path));
        let own = own.map(str::trim).expect("the server tells its folder");
        assert!(own.contains("massgen-server-") && !std::path::Path::new(own).exists(), "{own}");
    }
}

#[test]
fn a_strict_sandbox_has_the_ports_it_was_given() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let probe = format!(
        "import socket\n\
         def tries(name, family, address):\n  \
           try:\n    \
             s = socket.socket(family); s.settimeout(5); s.connect(address); print(name)\n  \
           except OSError as error:\n    \
             pass\n\
         tries('tcp', socket.AF_INET, ('127.0.0.1', {port}))\n\
         tries('unix', socket.AF_UNIX, '{}')\n",
        socket.display()
    );
    let run = |level: &str, ports: &[u16]| {
        let plan = json!({"level": level, "write": [], "hidden": [], "ports": ports}).to_string();
        let output = Command::new(MASSGEN)
            .args(["__launch", "--sandbox", &plan, "--", "python3", "-c", &probe])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(run("restrict", &[]), "tcp unix");
    assert_eq!(run("strict", &[]), "");
    assert_eq!(run("strict", &[port]), "tcp");
    assert_eq!(run("strict", &[port.wrapping_add(1).max(1)]), "");
}

#[test]
fn what_the_system_cannot_do_is_not_done_by_halves() {
    // The kernel stacks sixteen of them: the one after these cannot be had, as on a kernel without any.
    let plan = json!({"level": "restrict", "write": ["/dev/null"], "hidden": [], "ports": []}).to_string();
    let mut arguments: Vec<&str> = Vec::new();
    for _ in 0..17 {
        arguments.extend(["__launch", "--sandbox", &plan, "--", MASSGEN]);
    }
    let output = Command::new(MASSGEN)
        .args(&arguments[..arguments.len() - 1])
        .args(["/bin/sh", "-c", "echo started"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(126));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sandbox: restrict promises") && said.contains("Set sandbox: off"), "{said}");
    assert!(output.stdout.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandboxed_server_works_and_says_so() {
    let server = ServerScript::new().tool(ToolScript::echo("echo")).launch();
    let place = place(&server);
    let mut entry = server.config("s");
    // It keeps its journal there.
    entry["roots"] = json!([server.folder()]);
    entry["sandbox"] = json!("strict");
    place.config(&json!({
        "mcp_servers": [entry],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    let listed = place.run(&["mcp", "list", "--config", "team.yaml", "--json"]).expect_code(0).json();
    assert_eq!((&listed[0]["state"], &listed[0]["sandbox"]), (&json!("ready"), &json!("strict")));
    place.run(&["mcp", "call", "s", "echo", "--config", "team.yaml"]).expect_code(0);
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    let events = place.events();
    let ready = events.iter().find(|event| event["type"] == "server" && event["state"] == "ready").unwrap();
    assert_eq!(ready["detail"], "sandbox: strict");
    assert!(server.journal().all_gone(SOON).await);
}

/// A package whose program is a real server, and starts a child of its own that nothing ends but force.
const PACKAGE: &str = r#"#!/usr/bin/env node
import { spawn } from "node:child_process";
const [, , everything, mark] = process.argv;
const idle = "process.on('SIGTERM', () => {}); process.on('SIGHUP', () => {}); setInterval(() => {}, 1000)";
spawn(process.execPath, ["-e", idle, mark], { stdio: "ignore" });
process.argv.splice(2, 2, "stdio");
await import(everything);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_npx_starts_ends_whole() {
    let installed = require!(npm "mcp-server-everything");
    let path = std::env::var_os("PATH").unwrap_or_default();
    require!(std::env::split_paths(&path).find(|folder| folder.join("npx").is_file()), "npx");
    let folder = tools::scratch();
    let mark = folder.path().display().to_string();
    let package = folder.path().join("node_modules/tree-server");
    let links = folder.path().join("node_modules/.bin");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::create_dir_all(&links).unwrap();
    let manifest = json!({"name": "tree-server", "version": "1.0.0", "bin": {"tree-server": "index.mjs"}});
    std::fs::write(package.join("package.json"), manifest.to_string()).unwrap();
    std::fs::write(package.join("index.mjs"), PACKAGE).unwrap();
    std::fs::set_permissions(package.join("index.mjs"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("../tree-server/index.mjs", links.join("tree-server")).unwrap();
    let everything = std::fs::canonicalize(installed).unwrap();
    let place = Place::new();
    place.write("play.yaml", "turns: [{ answer: x }]");
    place.config(&json!({
        "mcp_servers": [{
            "name": "tree", "command": "npx", "cwd": mark,
            "args": ["--offline", "tree-server", everything, mark],
        }],
        "agent": {"backend": {"type": "scripted", "script": "play.yaml"}},
    }));
    // npx, what it runs, and the child of that.
    let whole = || process::with_argument(&mark).len() >= 3;

    let listed = place.run(&["mcp", "list", "--config", "team.yaml", "--json"]).expect_code(0).json();
    assert_eq!(listed[0]["state"], "ready");
    assert_eq!(process::with_argument(&mark), Vec::<u32>::new(), "after the end of massgen");

    let call =
        ["mcp", "call", "tree", "trigger-long-running-operation", "duration=600", "--config", "team.yaml"];
    let running = place.spawn(&call);
    assert!(process::until(PATIENCE, whole).await, "{:?}", process::with_argument(&mark));
    running.signal(process::Signal::Kill);
    let gone = process::until(SOON, || process::with_argument(&mark).is_empty()).await;
    assert!(gone, "after massgen was killed: {:?}", process::with_argument(&mark));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_agent_has_its_own_process_where_the_configuration_says_so() {
    for (isolation, processes) in [("shared", 1), ("per_agent", 2)] {
        let server = ServerScript::new().tool(ToolScript::new("pid").replies(Outcome::ProcessId)).launch();
        let place = place(&server);
        let mut entry = server.config("s");
        entry["isolation"] = json!(isolation);
        place.write(
            "play.yaml",
            "turns:\n  - calls: [{ tool: mcp__s__pid }]\n  - answer: x\n  - when: { phase: presentation }\n    text: x\n  - vote: { for: agent1, reason: r }\n    repeat: true\n",
        );
        let agent = |id: &str| json!({"id": id, "backend": {"type": "scripted", "script": "play.yaml"}});
        place.config(&json!({"mcp_servers": [entry], "agents": [agent("a"), agent("b")]}));
        let listed = place.run(&["mcp", "list", "--config", "team.yaml", "--json"]).expect_code(0).json();
        let agents: Vec<_> =
            listed.as_array().unwrap().iter().map(|server| server["agent"].clone()).collect();
        let expected = if processes == 1 { vec![json!(null)] } else { vec![json!("a"), json!("b")] };
        assert_eq!(agents, expected);
        assert_eq!(server.journal().pids().len(), processes);

        // In a run nobody's call reaches another one's process.
        place.run(&["--config", "team.yaml", "q"]).expect_code(0);
        let entries = server.journal().entries();
        let called = |entry: &&serde_json::Value| entry["message"]["method"] == "tools/call";
        let busy: std::collections::BTreeSet<u64> =
            entries.iter().filter(called).filter_map(|entry| entry["pid"].as_u64()).collect();
        assert!((1..=processes).contains(&busy.len()), "{isolation}: {busy:?}");
        assert_eq!(server.journal().pids().len(), 2 * processes);
        assert!(server.journal().all_gone(SOON).await);
    }
}

/// Whether this kernel can do what `strict` takes; nothing is confined by asking.
#[cfg(target_os = "linux")]
fn has_landlock() -> bool {
    use landlock::{
        ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetError,
    };
    let ask = || -> Result<_, RulesetError> {
        let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
        rules.handle_access(AccessFs::from_all(ABI::V4))?.handle_access(AccessNet::ConnectTcp)?.create()
    };
    ask().is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_server_in_a_sandbox_fails_and_the_run_goes_on() {
    let server = ServerScript::new().tool(ToolScript::new("try").replies(Outcome::Trespass)).launch();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    for level in ["off", "restrict", "strict"] {
        let place = Place::new();
        let outside = place.path().join("outside");
        std::fs::create_dir(place.path().join(".ssh")).unwrap();
        place.write(".ssh/id_ed25519", "the key of nobody");
        let socket = place.path().join("socket");
        let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let deeds = json!({
            "read": place.path().join(".ssh/id_ed25519"), "write": outside, "join": socket,
            "connect": listener.local_addr().unwrap().to_string(), "send": datagrams.local_addr().unwrap().to_string(),
        });
        place.write(
            "play.yaml",
            format!(
                "turns:\n  - {{ calls: [{{ tool: mcp__s__try, arguments: {deeds} }}] }}\n  - answer: '{{{{result:mcp__s__try}}}}'\n"
            ),
        );
        let mut entry = server.config("s");
        // It keeps its journal there.
        (entry["roots"], entry["sandbox"]) = (json!([server.folder()]), json!(level));
        place.config(&json!({
            "mcp_servers": [entry],
            "agent": {"id": "a", "backend": {"type": "scripted", "script": "play.yaml"},
                "permissions": [{"tool": "mcp__s__*", "decision": "allow"}]},
        }));
        let ended = place.run(&["--config", "team.yaml", "--output", "json", "Go on."]);
        let events = place.events();
        let state = events.iter().rfind(|event| event["type"] == "server").unwrap();
        if level != "off" && !has_landlock() {
            // Never in less than what was asked for.
            let detail = state["detail"].as_str().unwrap();
            assert!(detail.contains(&format!("sandbox: {level} promises")), "{detail}");
            eprintln!("SKIPPED: this kernel has no Landlock: sandbox: {level} starts no server, and says so");
            continue;
        }
        assert_eq!(ended.code, Some(0), "{level}: {}\n{}", ended.stdout, ended.stderr);
        let answer = ended.json()["answer"].as_str().unwrap().to_owned();
        let became: serde_json::Value =
            serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{level}: {answer}"));
        let fails: &[&str] = match level {
            "off" => &[],
            "restrict" => &["read", "write"],
            _ => &["read", "write", "connect", "send", "join"],
        };
        for deed in ["read", "write", "connect", "send", "join"] {
            let said = became[deed].as_str().unwrap();
            let failed = said.contains("denied") || said.contains("not permitted");
            assert_eq!(failed, fails.contains(&deed), "{level}: {deed}: {said}");
        }
        assert_eq!(outside.exists(), level == "off", "{level}");
        let achieved = (level != "off").then(|| format!("sandbox: {level}"));
        assert_eq!(state["detail"].as_str(), achieved.as_deref(), "{state}");
    }
    assert!(server.journal().all_gone(SOON).await);
}
