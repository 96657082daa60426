//! What a collector hears, over a real child process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_testkit::{CallReply, Outcome as Plays, PATIENCE, ServerScript, ToolScript, process};
use mcp_client::metrics::{Label, Observer, names};
use mcp_client::{BulkheadOptions, CircuitState, McpClient, NewTools, Pins, RetryOptions};
use mcp_core::{ToolFilter, ToolService};
use serde_json::json;

use crate::support::*;

/// Every measurement as a line, with how often it came.
#[derive(Default)]
struct Lines(Mutex<BTreeMap<String, u64>>);

impl Lines {
    fn add(&self, name: &str, labels: &[Label<'_>], end: &str, by: u64) {
        let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        *self.0.lock().unwrap().entry(format!("{name} {}{end}", labels.join(","))).or_default() += by;
    }

    #[track_caller]
    fn expect(&self, line: &str, count: u64) {
        let lines = self.0.lock().unwrap();
        assert_eq!(lines.get(line).copied().unwrap_or_default(), count, "{line}\n{lines:#?}");
    }
}

impl Observer for Lines {
    fn count(&self, name: &'static str, labels: &[Label<'_>], by: u64) {
        self.add(name, labels, "", by);
    }

    fn histogram(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        assert!(value >= 0.0);
        self.add(name, labels, "", 1);
    }

    fn gauge(&self, name: &'static str, labels: &[Label<'_>], value: f64) {
        self.add(name, labels, &format!(" is {value}"), 1);
    }
}

#[tokio::test]
async fn a_collector_hears_of_servers_calls_circuits_and_lost_answers() {
    let scripted = ServerScript::new()
        .tool(ToolScript::echo("read"))
        .tool(
            ToolScript::new("no")
                .replies(CallReply::new(Plays::RpcError { code: -32050, message: "no".into() })),
        )
        .tool(ToolScript::new("garbled").replies(CallReply::new(Plays::InvalidUtf8)))
        .tool(ToolScript::new("die").replies(Plays::Exit(3)))
        .launch();
    let lines = Arc::new(Lines::default());
    let mut options = restarts(5);
    options.metrics = Some(lines.clone());
    let (client, _) = start([child("srv", &scripted)], options);
    client.ready(PATIENCE).await;
    client.call(call("mcp__srv__read", json!({}))).await.unwrap();
    client.call(call("mcp__srv__no", json!({}))).await.unwrap_err();
    client.call(call("mcp__srv__garbled", json!({}))).await.unwrap_err();
    client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    until(client.client("srv").unwrap(), is_ready).await;
    client.close().await;

    let request = "mcp.method.name=tools/call,server=srv,gen_ai.tool.name=";
    lines.expect(&format!("{} {request}read", names::OPERATION_DURATION), 1);
    lines.expect(&format!("{} {request}no,error.type=-32050", names::OPERATION_DURATION), 1);
    lines.expect(&format!("{} {request}die,error.type=connection", names::OPERATION_DURATION), 1);
    lines.expect(&format!("{} server=srv,outcome=success", names::BREAKER_CALLS), 1);
    lines.expect(&format!("{} server=srv,outcome=failure", names::BREAKER_CALLS), 2);
    lines.expect(&format!("{} server=srv,reason=utf8", names::FRAMES_REJECTED), 1);
    lines.expect(&format!("{} server=srv,tool=no,outcome=failure", names::BREAKER_CALLS), 1);
    lines.expect(&format!("{} server=srv,state=closed is 1", names::BREAKER_STATE), 1);
    for class in ["server", "malformed", "connection"] {
        lines.expect(&format!("{} server=srv,class={class},decision=unsafe", names::RETRY_ATTEMPTS), 1);
    }
    lines.expect(&format!("{} server=srv,tool=die", names::LEDGER_UNKNOWN), 1);
    lines.expect(&format!("{} server=srv is 1", names::SERVER_UP), 2);
    lines.expect(&format!("{} server=srv", names::SERVER_START_DURATION), 2);
    lines.expect(&format!("{} server=srv", names::SERVER_RESTARTS), 1);
    lines.expect(&format!("{} server=srv is 1", names::BULKHEAD_IN_FLIGHT), 4);
}

/// What is measured of servers and calls: its kind, the labels that it always has, those that it has where they apply (with a
/// question mark), and the values of those that have few. What is in braces is more than the specification of metrics names:
/// a circuit may be a tool's, and what a policy decides or refuses is some server's.
const TABLE: &str = "
mcp.client.operation.duration | histogram | mcp.method.name server gen_ai.tool.name? error.type? |
mcp.client.session.duration | histogram | server network.transport mcp.protocol.version error.type? |
massgen.mcp.breaker.state | gauge | server tool? state | state=closed,open,half_open
massgen.mcp.breaker.transitions | counter | server {tool?} from to reason | reason=failures,connects,probing,probe_answered,probe_failed
massgen.mcp.breaker.calls | counter | server {tool?} outcome | outcome=success,failure,slow,neutral,rejected
massgen.mcp.breaker.failure_rate | gauge | server {tool?} |
massgen.mcp.breaker.slow_rate | gauge | server {tool?} |
massgen.mcp.probe.duration | histogram | server result | result=success,failure
massgen.mcp.retry.attempts | counter | server class decision | decision=retried,budget,unsafe,deadline,{attempts}
massgen.mcp.retry.budget.tokens | gauge | server |
massgen.mcp.ledger.unknown | counter | server tool |
massgen.mcp.bulkhead.in_flight | gauge | server |
massgen.mcp.bulkhead.queue | gauge | server |
massgen.mcp.bulkhead.wait | histogram | server |
massgen.mcp.shed | counter | {server} reason | reason=queue
massgen.mcp.server.up | gauge | server |
massgen.mcp.server.restarts | counter | server |
massgen.mcp.server.start.duration | histogram | server |
massgen.mcp.server.rss | gauge | server |
massgen.mcp.frames.rejected | counter | server reason | reason=depth,size,utf8,id,duplicate,garbage
massgen.mcp.security.decisions | counter | {server} category rule verdict | verdict=deny,flag
massgen.mcp.pins | gauge | {server} state | state=approved,pending,changed
massgen.mcp.secret.redactions | counter | sink | sink=answer,error,log
";

/// The series that were heard of, by name: the kind, and the labels with their values.
#[derive(Default)]
struct Series(Mutex<BTreeMap<&'static str, BTreeSet<Heard>>>);

type Heard = (&'static str, Vec<(String, String)>);

impl Series {
    fn add(&self, kind: &'static str, name: &'static str, labels: &[Label<'_>]) {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.0.lock().unwrap().entry(name).or_default().insert((kind, labels));
    }
}

impl Observer for Series {
    fn count(&self, name: &'static str, labels: &[Label<'_>], _: u64) {
        self.add("counter", name, labels);
    }
    fn histogram(&self, name: &'static str, labels: &[Label<'_>], _: f64) {
        self.add("histogram", name, labels);
    }
    fn gauge(&self, name: &'static str, labels: &[Label<'_>], _: f64) {
        self.add("gauge", name, labels);
    }
}

/// A team's bad day: answers that cannot be read, a tool that fails, a program that dies, a queue that is full, tools that are
/// not what they were, a secret that comes back.
async fn bad_day(options: mcp_client::ClientOptions) {
    let fails = || Plays::RpcError { code: -32050, message: "no, for hunter2-hunter2".into() };
    let tool = |name: &str, plays: Plays| ToolScript::new(name).replies(CallReply::new(plays));
    let trouble = ServerScript::new()
        .tool(ToolScript::echo("read"))
        .tool(tool("no", fails()))
        .tool(tool("garbled", Plays::InvalidUtf8))
        .tool(tool("die", Plays::Exit(3)))
        .launch();
    let slow = CallReply::new(Plays::Text("at last".into())).delay_ms(50);
    let busy =
        ServerScript::new().tool(ToolScript::new("slow").replies(slow)).tool(tool("no", fails())).launch();
    let kept = ToolScript::echo("kept");
    let before = ServerScript::new().tool(kept.clone()).tool(ToolScript::echo("swapped")).launch();
    let swapped = ToolScript::new("swapped").description("Does something else.");
    let after = ServerScript::new().tool(kept).tool(swapped).tool(ToolScript::echo("new")).launch();

    let first =
        McpClient::connect(child("pinned", &before), policy(), Arc::new(()), restarts(0)).await.unwrap();
    let mut pinned = child("pinned", &after);
    pinned.pins = Some(Pins { accepted: first.pins(), new_tools: NewTools::Hold });
    first.close().await;
    let mut srv = child("srv", &trouble);
    srv.breaker.failures_in_a_row = 1;
    srv.breaker.open_base = Duration::from_millis(300);
    let mut queued = child("busy", &busy);
    queued.bulkhead = BulkheadOptions { in_flight: 1, queue: 1, ..BulkheadOptions::default() };
    queued.retry_safe = Some(ToolFilter::default());
    let soon = Duration::from_millis(1);
    queued.retry = RetryOptions { base: soon, cap: soon, ..RetryOptions::default() };

    options.redactor.register("hunter2-hunter2");
    let (client, _) = start([srv, queued, pinned], options);
    client.ready(PATIENCE).await;
    let said = client.call(call("mcp__srv__read", json!({"text": "hunter2-hunter2"}))).await.unwrap();
    assert!(!said.to_text().contains("hunter2"));
    // The tool's circuit, then the server's, which a ping closes again, then the program itself.
    for tool in ["no", "no", "garbled", "read"] {
        client.call(call(&format!("mcp__srv__{tool}"), json!({}))).await.unwrap_err();
    }
    let srv = client.client("srv").unwrap();
    let back = |restarts| {
        process::until(PATIENCE, move || {
            let status = srv.status();
            (status.restarts, status.circuit) == (restarts, CircuitState::Closed)
        })
    };
    assert!(back(0).await, "{:?}", srv.status());
    client.call(call("mcp__srv__die", json!({}))).await.unwrap_err();
    assert!(back(1).await, "{:?}", srv.status());
    let slow = || client.call(call("mcp__busy__slow", json!({})));
    let (one, two, three) = tokio::join!(slow(), slow(), slow());
    assert_eq!([one.is_ok(), two.is_ok(), three.is_ok()].iter().filter(|ok| **ok).count(), 2);
    client.call(call("mcp__busy__no", json!({}))).await.unwrap_err();
    client.close().await;
}

#[tokio::test]
async fn everything_in_the_table_is_measured_with_the_labels_it_says_and_nothing_else() {
    let series = Arc::new(Series::default());
    let mut options = restarts(5);
    options.metrics = Some(series.clone());
    bad_day(options).await;

    let heard = series.0.lock().unwrap();
    let mut named = BTreeSet::new();
    for row in TABLE.trim().lines() {
        let cells: Vec<_> = row.split('|').map(|cell| cell.replace(['{', '}'], "")).collect();
        let [name, kind, labels, values] = &cells[..] else { panic!("{row}") };
        let (name, kind) = (name.trim(), kind.trim());
        named.insert(name.to_owned());
        if name.ends_with(".rss") && !cfg!(target_os = "linux") {
            continue;
        }
        let series = heard.get(name).unwrap_or_else(|| panic!("nobody measured {name}"));
        for (its_kind, its_labels) in series {
            assert_eq!(*its_kind, kind, "{name}");
            let its: BTreeSet<_> = its_labels.iter().map(|(label, _)| label.as_str()).collect();
            let required: BTreeSet<_> =
                labels.split_whitespace().filter(|label| !label.ends_with('?')).collect();
            let known: BTreeSet<_> =
                labels.split_whitespace().map(|label| label.trim_end_matches('?')).collect();
            assert!(required.is_subset(&its) && its.is_subset(&known), "{name}: {its_labels:?}");
            let Some((label, words)) = values.trim().split_once('=') else { continue };
            let value = &its_labels.iter().find(|(its, _)| its == label).unwrap().1;
            assert!(words.split(',').any(|word| word == value), "{name}: {label}={value}");
        }
    }
    let more: Vec<_> = heard.keys().filter(|name| !named.contains(**name)).collect();
    assert!(more.is_empty(), "{more:?}");
}
