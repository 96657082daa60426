//! What a collector hears, over a real child process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use massgen_testkit::{CallReply, Outcome as Plays, PATIENCE, ServerScript, ToolScript};
use mcp_client::metrics::{Label, Observer, names};
use mcp_core::ToolService;
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
    lines.expect(&format!("{} server=srv,reason=unreadable", names::FRAMES_REJECTED), 1);
    lines.expect(&format!("{} server=srv,tool=no,outcome=failure", names::BREAKER_CALLS), 1);
    lines.expect(&format!("{} server=srv,state=closed is 1", names::BREAKER_STATE), 1);
    lines.expect(&format!("{} server=srv,decision=unsafe", names::RETRY_ATTEMPTS), 3);
    lines.expect(&format!("{} server=srv,tool=die", names::LEDGER_UNKNOWN), 1);
    lines.expect(&format!("{} server=srv is 1", names::SERVER_UP), 2);
    lines.expect(&format!("{} server=srv", names::SERVER_START_DURATION), 2);
    lines.expect(&format!("{} server=srv", names::SERVER_RESTARTS), 1);
    lines.expect(&format!("{} server=srv is 1", names::BULKHEAD_IN_FLIGHT), 4);
}
