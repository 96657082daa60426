//! Child processes.

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_core::*;
use mcp_transport::{EraPolicy, SessionOptions, StderrSink};
use serde_json::{Value, json};

use crate::support::*;

macro_rules! server {
    ($($quirk:expr),* $(,)?) => {
        match scripted(&[$($quirk),*]) {
            Some(spec) => spec,
            None => return,
        }
    };
}

fn options() -> SessionOptions {
    SessionOptions::default()
}

async fn echoes(spec: LaunchSpec, options: SessionOptions) -> String {
    let session = soon(start(spec, options)).await.unwrap();
    let output = soon(session.call_tool(&tool("echo"), object(json!({"a": 1})), None)).await.unwrap();
    assert_eq!(output.to_text(), r#"{"a": 1}"#);
    soon(session.close()).await;
    session.peer().protocol_version.clone()
}

#[tokio::test]
async fn each_kind_of_server_gets_the_handshake_it_understands() {
    let hurried = options();
    let cases: &[(&[&str], &str)] = &[
        (&[], "2025-11-25"),
        (&["modern"], "2026-07-28"),
        (&["modern", "sloppy"], "2026-07-28"),
        (&["sloppy"], "2025-11-25"),
        (&["old"], "2024-11-05"),
        (&["exit-on-discover"], "2025-11-25"),
        (&["odd-on-discover"], "2025-11-25"),
        (&["junk"], "2025-11-25"),
        (&["log-first"], "2025-11-25"),
        (&["null-id"], "2025-11-25"),
        (&["chatty"], "2025-11-25"),
        (&["junk", "log-first", "null-id", "exit-on-discover"], "2025-11-25"),
    ];
    for (quirks, version) in cases {
        let Some(spec) = scripted(quirks) else { return };
        assert_eq!(echoes(spec, hurried.clone()).await, *version, "{quirks:?}");
    }
}

#[tokio::test]
async fn silence_on_discover_is_an_answer_and_a_late_one_does_no_harm() {
    let mut hurried = options();
    hurried.probe_timeout = Duration::from_millis(50);
    let spec = server!("silent-on-discover", "late-discover");
    assert_eq!(echoes(spec, hurried.clone()).await, "2025-11-25");

    // A modern server that is slow to come up answers the probe after all, and refuses `initialize`.
    let session = soon(start(server!("modern", "slow"), hurried.clone())).await.unwrap();
    assert_eq!(session.peer().protocol_version, "2026-07-28");
    assert_eq!(session.peer().name.as_deref(), Some("scripted"));
    assert_eq!(soon(session.list_tools()).await.unwrap().tools.len(), SCRIPTED_TOOLS);
    soon(session.close()).await;
    assert_eq!(echoes(server!("slow"), hurried).await, "2025-11-25");
}

/// How many tools the scripted server has.
const SCRIPTED_TOOLS: usize = 9;

#[tokio::test]
async fn the_era_can_be_dictated() {
    let mut legacy = options();
    legacy.era = EraPolicy::Legacy;
    assert_eq!(echoes(server!("exit-on-discover"), legacy).await, "2025-11-25");
    let mut modern = options();
    modern.era = EraPolicy::Modern;
    assert_eq!(echoes(server!("modern"), modern.clone()).await, "2026-07-28");
    let error = soon(start(server!(), modern)).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32601, .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_introduces_itself() {
    let session = soon(start(server!(), options())).await.unwrap();
    let peer = session.peer();
    assert_eq!((peer.name.as_deref(), peer.version.as_deref()), (Some("scripted"), Some("1")));
    assert_eq!(peer.instructions.as_deref(), Some("be gentle"));
    assert!(peer.pid.is_some());
    soon(session.close()).await;
}

#[tokio::test]
async fn a_bad_tool_is_left_out_and_named() {
    let session = soon(start(server!("bad-tools"), options())).await.unwrap();
    let list = soon(session.list_tools()).await.unwrap();
    assert_eq!(list.tools.len(), SCRIPTED_TOOLS);
    let dropped: Vec<_> = list.dropped.iter().map(|d| (d.name.as_str(), d.reason.as_str())).collect();
    assert_eq!(dropped, [("no schema", "it has no inputSchema"), ("#11", "its name is not text")]);
    soon(session.close()).await;
}

#[tokio::test]
async fn pages_are_followed_but_not_for_ever() {
    for (quirk, tools, truncated) in
        [("pages", SCRIPTED_TOOLS, None), ("loop", 2, Some("repeat")), ("endless", 200, Some("200"))]
    {
        let session = soon(start(server!(quirk), options())).await.unwrap();
        let list = soon(session.list_tools()).await.unwrap();
        assert_eq!(list.tools.len(), tools, "{quirk}");
        match truncated {
            None => assert_eq!(list.truncated, None),
            Some(word) => assert!(list.truncated.unwrap().contains(word), "{quirk}"),
        }
        soon(session.close()).await;
    }
}

#[tokio::test]
async fn dropping_a_call_tells_the_server() {
    let session = soon(start(server!(), options())).await.unwrap();
    let (hang, echo) = (tool("hang"), tool("echo"));
    {
        let call = session.call_tool(&hang, JsonObject::new(), None);
        tokio::pin!(call);
        // Another call answered means that the first was sent before.
        tokio::select! {
            biased;
            answer = &mut call => panic!("{answer:?}"),
            other = soon(session.call_tool(&echo, JsonObject::new(), None)) => { other.unwrap(); }
        }
    }
    // The notice travels ahead of nothing in particular: ask until it was seen.
    let seen = soon(async {
        loop {
            let answer = session.call_tool(&tool("cancelled"), JsonObject::new(), None).await.unwrap();
            let ids: Vec<Value> = serde_json::from_str(&answer.to_text()).unwrap();
            if !ids.is_empty() {
                return ids;
            }
        }
    })
    .await;
    assert_eq!(seen.len(), 1);
    soon(session.close()).await;
}

#[tokio::test]
async fn progress_and_changes_arrive() {
    let session = soon(start(server!(), options())).await.unwrap();
    let (progress, mut reports) = tokio::sync::mpsc::channel(8);
    let output =
        soon(session.call_tool(&tool("progress"), JsonObject::new(), Some(std::sync::Arc::new(progress))))
            .await
            .unwrap();
    assert_eq!(output.to_text(), "done");
    let first = soon(reports.recv()).await.unwrap();
    assert!(first.total == Some(2.0) && first.message.is_some());

    let mut changed = session.tools_changed();
    soon(session.call_tool(&tool("change"), JsonObject::new(), None)).await.unwrap();
    soon(changed.wait_for(|count| *count == 1)).await.unwrap();
    soon(session.close()).await;
}

#[tokio::test]
async fn protocol_errors_are_the_servers_words() {
    let session = soon(start(server!(), options())).await.unwrap();
    let error = soon(session.call_tool(&tool("fail"), JsonObject::new(), None)).await.unwrap_err();
    assert_eq!(error.to_string(), "server scripted answered with error -32603: it broke");
    let error = soon(session.call_tool(&tool("nothing"), JsonObject::new(), None)).await.unwrap_err();
    assert!(matches!(error, ToolError::Server { code: -32602, .. }), "{error:?}");
    soon(session.close()).await;
}

#[tokio::test]
async fn a_message_too_long_costs_its_own_call_only() {
    let mut small = options();
    small.max_message_bytes = 100_000;
    let session = soon(start(server!(), small)).await.unwrap();
    for arguments in [json!({"size": 200_000}), json!({"size": 900_000, "id_last": true})] {
        let (hang, huge) = (tool("hang"), tool("huge"));
        let pending = session.call_tool(&hang, JsonObject::new(), None);
        tokio::pin!(pending);
        tokio::select! {
            biased;
            answer = &mut pending => panic!("{answer:?}"),
            answer = soon(session.call_tool(&huge, object(arguments), None)) => {
                let error = answer.unwrap_err();
                assert!(matches!(error, ToolError::TooLarge { limit: 100_000, .. }), "{error:?}");
            }
        }
    }
    soon(session.call_tool(&tool("echo"), JsonObject::new(), None)).await.unwrap();
    soon(session.close()).await;
}

#[tokio::test]
async fn a_server_that_stops_reading_does_not_keep_the_session_open() {
    let (tethers, quirk) = Tethers::new().await;
    let mut hurried = options();
    hurried.close_grace = Duration::from_millis(100);
    let session = soon(start(server!("stubborn", &quirk), hurried)).await.unwrap();
    let held = tethers.accept(1).await;
    soon(session.call_tool(&tool("deaf"), JsonObject::new(), None)).await.unwrap();
    // More than the pipe holds: the writing of it never ends.
    let huge = object(json!({"text": "x".repeat(1_000_000)}));
    let echo = tool("echo");
    let (answer, ()) = soon(async {
        tokio::join!(session.call_tool(&echo, huge, None), async {
            tokio::task::yield_now().await;
            session.close().await;
        })
    })
    .await;
    assert!(matches!(answer, Err(ToolError::Connection { .. })), "{answer:?}");
    gone(held).await;
}

#[tokio::test]
async fn a_flood_of_notices_drowns_no_answer() {
    let session = soon(start(server!(), options())).await.unwrap();
    let answer = soon(session.call_tool(&tool("flood"), JsonObject::new(), None)).await.unwrap();
    assert_eq!(answer.to_text(), "done");
    soon(session.close()).await;
}

#[tokio::test]
async fn death_ends_every_call_and_is_noticed() {
    let session = soon(start(server!(), options())).await.unwrap();
    let hang = tool("hang");
    let die = tool("die");
    let (waiting, dying) = soon(async {
        tokio::join!(
            session.call_tool(&hang, JsonObject::new(), None),
            session.call_tool(&die, JsonObject::new(), None),
        )
    })
    .await;
    for error in [waiting.unwrap_err(), dying.unwrap_err()] {
        let ToolError::Connection { phase: Phase::Call, reason, stderr, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(reason, "it was ended by signal 9 (SIGKILL), as the system does when memory is short");
        assert_eq!(stderr, ["about to die"]);
    }
    assert_eq!(
        soon(session.closed()).await,
        "it was ended by signal 9 (SIGKILL), as the system does when memory is short"
    );
    let error = soon(session.call_tool(&die, JsonObject::new(), None)).await.unwrap_err();
    assert!(matches!(error, ToolError::Connection { .. }), "{error:?}");
    soon(session.close()).await;
}

#[tokio::test]
async fn a_leader_that_dies_takes_its_descendants_along() {
    let (tethers, quirk) = Tethers::new().await;
    let session = soon(start(server!("grandchild", &quirk), options())).await.unwrap();
    let held = tethers.accept(2).await;
    // The grandchild holds the stream open: the end of the stream is not what tells.
    let error = soon(session.call_tool(&tool("die"), JsonObject::new(), None)).await.unwrap_err();
    assert!(error.to_string().contains("signal 9"), "{error}");
    gone(held).await;
}

#[tokio::test]
async fn closing_ends_the_whole_tree() {
    for quirks in [&["grandchild"][..], &["grandchild", "ignore-eof"], &["grandchild", "stubborn"]] {
        let (tethers, quirk) = Tethers::new().await;
        let mut hurried = options();
        hurried.close_grace = Duration::from_millis(100);
        let mut all = quirks.to_vec();
        all.push(&quirk);
        let Some(spec) = scripted(&all) else { return };
        let session = soon(start(spec, hurried)).await.unwrap();
        let held = tethers.accept(2).await;
        soon(session.close()).await;
        gone(held).await;
        assert_eq!(soon(session.closed()).await, "the session was closed");
    }
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_whole_tree() {
    let (tethers, quirk) = Tethers::new().await;
    let session = soon(start(server!("grandchild", "stubborn", &quirk), options())).await.unwrap();
    let held = tethers.accept(2).await;
    let clone = session.clone();
    drop(session);
    soon(clone.call_tool(&tool("echo"), JsonObject::new(), None)).await.unwrap();
    drop(clone);
    gone(held).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_child_leads_a_group_of_its_own_and_has_no_terminal_to_read() {
    let session = soon(start(server!(), options())).await.unwrap();
    let child = session.peer().pid.unwrap().to_string();
    let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    // Behind the name: state, parent, group, session, terminal.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    assert_eq!((fields[2], fields[4]), (child.as_str(), "0"), "{stat}");
    soon(session.close()).await;
}

#[test]
fn the_tree_ends_with_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = runtime.block_on(async {
        let (tethers, quirk) = Tethers::new().await;
        let spec = scripted(&["grandchild", "stubborn", &quirk])?;
        let session = soon(start(spec, options())).await.unwrap();
        let held: Vec<_> = tethers.accept(2).await.into_iter().map(|held| held.into_std().unwrap()).collect();
        Some((session, held))
    });
    let Some((session, held)) = opened else { return };
    // The session outlives the runtime: what ends the tree is the runtime's end.
    drop(runtime);
    for mut held in held {
        held.set_nonblocking(false).unwrap();
        held.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        loop {
            match held.read(&mut [0]) {
                Ok(0) => break,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => panic!("{other:?}"),
            }
        }
    }
    drop(session);
}

#[tokio::test]
async fn a_server_that_dies_at_the_start_is_quoted() {
    let mut spec = server!("crash");
    spec.env.insert("SCRIPTED_TOKEN".into(), "hush-hush-hush".into());
    let error = soon(start(spec, options())).await.unwrap_err();
    let ToolError::Start { reason, stderr, .. } = &error else { panic!("{error:?}") };
    assert_eq!(reason, "it exited with code 1 before it answered");
    assert_eq!(stderr[1], "ModuleNotFoundError: No module named 'fastmcp'");
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_is_quoted() {
    let error = soon(start(server!("refuses"), options())).await.unwrap_err();
    assert_eq!(error.to_string(), "server scripted answered with error -32000: not today");
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_named_with_the_remedy() {
    let launch = |program: &str| LaunchSpec {
        program: program.into(),
        env: [("PATH".to_owned(), env!("CARGO_MANIFEST_DIR").to_owned())].into(),
        ..LaunchSpec::default()
    };
    let cases = [
        ("uvx", "\"uvx\" is not on PATH. Install uv, or set command: to its full path"),
        (
            "no-such-program",
            "\"no-such-program\" is not on PATH. Install it, or set command: to its full path",
        ),
        (
            "/no/such/program",
            "/no/such/program does not exist. Install it, or set command: to where the program is, or to its name alone where \
             it is on PATH",
        ),
        ("", "its command is empty. Set command: to a program"),
    ];
    for (program, expected) in cases {
        let error = soon(start(launch(program), options())).await.unwrap_err();
        assert_eq!(error.to_string(), format!("server scripted did not start: {expected}"));
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let error = soon(start(launch(manifest), options())).await.unwrap_err();
    assert!(error.to_string().contains("is not a program that may be run"), "{error}");
    let mut elsewhere = launch("uvx");
    elsewhere.cwd = Some("/no/such/folder".into());
    let error = soon(start(elsewhere, options())).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/folder does not exist"), "{error}");
}

#[tokio::test]
async fn the_start_is_bounded() {
    let mut hurried = options();
    hurried.startup_timeout = Duration::from_millis(100);
    for quirks in [&["silent"][..], &["silent", "stubborn"]] {
        let Some(spec) = scripted(quirks) else { return };
        let error = soon(start(spec, hurried.clone())).await.unwrap_err();
        assert!(matches!(error, ToolError::Timeout { phase: Phase::Handshake, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_start_given_up_leaves_nothing() {
    let (tethers, quirk) = Tethers::new().await;
    let spec = server!("silent", "grandchild", "stubborn", &quirk);
    let mut patient = options();
    patient.startup_timeout = Duration::from_secs(600);
    let starting = tokio::spawn(start(spec, patient));
    let held = tethers.accept(2).await;
    starting.abort();
    gone(held).await;
}

#[tokio::test]
async fn the_child_sees_its_own_environment_only() {
    let mut spec = server!();
    spec.env.insert("GIVEN".into(), "yes".into());
    let session = soon(start(spec, options())).await.unwrap();
    let answer = soon(session.call_tool(&tool("env"), JsonObject::new(), None)).await.unwrap();
    let seen: serde_json::Map<String, Value> = serde_json::from_str(&answer.to_text()).unwrap();
    assert_eq!(seen["GIVEN"], "yes");
    // Shells and interpreters set some for themselves; these are ours, and none of them.
    let ours: Vec<_> = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).collect();
    assert!(ours.len() > 3, "there is something to leak");
    let theirs = ["PATH", "PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE", "LC_ALL", "LANG"];
    let leaked: Vec<_> = ours
        .iter()
        .filter(|name| {
            seen.contains_key(*name) && !theirs.contains(&name.as_str()) && !name.contains("PYENV")
        })
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    soon(session.close()).await;
}

#[tokio::test]
async fn every_line_of_standard_error_reaches_the_sink_or_is_counted() {
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);
    impl StderrSink for Lines {
        fn line(&self, server: &ServerName, line: &str) {
            self.0.lock().unwrap().push(format!("{server}: {line}"));
        }
    }
    let lines = Arc::new(Lines::default());
    let mut watched = options();
    watched.stderr = Some(lines.clone());
    let session = soon(start(server!("chatty"), watched)).await.unwrap();
    soon(session.close()).await;
    let lines = lines.0.lock().unwrap();
    // Of a flood, a sample of each second; the rest is counted.
    let left_out = |line: &String| {
        line.strip_prefix("scripted: [")?.split_once(" lines left out")?.0.parse::<usize>().ok()
    };
    let counted: Vec<usize> = lines.iter().filter_map(left_out).collect();
    assert_eq!(lines.len() - counted.len() + counted.iter().sum::<usize>(), 20_000);
    assert!(lines[0].starts_with("scripted: noise"));
    assert_eq!(session.stderr_tail().len(), 20);
}
