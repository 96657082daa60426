//! What is measured, and who gets it: the log folder, Prometheus, a collector.

use massgen_testkit::{CallReply, Outcome, ScriptedServer, ServerScript, ToolScript};
use serde_json::{Value, json};

use crate::support::Place;

/// A server with a tool that answers, one that fails and one that never answers.
fn server() -> ScriptedServer {
    let fails = Outcome::RpcError { code: -32050, message: "no".into() };
    ServerScript::new()
        .tool(ToolScript::echo("echo"))
        .tool(ToolScript::new("no").replies(CallReply::new(fails)))
        .tool(ToolScript::new("wait").replies(CallReply::new(Outcome::Hang)))
        .launch()
}

/// A place in which an agent calls these tools, one after the other, and answers.
fn place(server: &ScriptedServer, tools: &[&str]) -> Place {
    let place = Place::new();
    let calls = tools.iter().map(|tool| json!({"calls": [{"tool": format!("mcp__srv__{tool}")}]}));
    let ends = [json!({"answer": "done"}), json!({"vote": {"for": "first"}}), json!({"text": "done"})];
    let turns: Vec<Value> = calls.chain(ends).collect();
    place.write("play.yaml", json!({"turns": turns}).to_string());
    place.config(&json!({
        "mcp_servers": [server.config("srv")],
        "agents": [{"id": "a", "backend": {"type": "scripted", "script": "play.yaml", "model": "player"}}],
    }));
    place
}

#[test]
fn a_run_leaves_its_figures_and_stats_shows_them() {
    let server = server();
    let place = place(&server, &["echo", "no"]);
    place.run(&["--config", "team.yaml", "q"]).expect_code(0);
    let text = std::fs::read_to_string(place.log().join("metrics.json")).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["version"], 1);
    let metrics = &document["metrics"];
    assert_eq!(metrics["massgen.mcp.server.start.duration"]["series"][0]["count"], 1);
    let operations = metrics["mcp.client.operation.duration"]["series"].as_array().unwrap();
    let errors: Vec<_> =
        operations.iter().filter_map(|series| series["labels"]["error.type"].as_str()).collect();
    // The list of tools, and a call of each.
    assert_eq!((operations.len(), errors), (3, vec!["-32050"]));
    for (name, kind) in [
        ("massgen.mcp.audit.records", "counter"),
        ("massgen.mcp.audit.dropped", "counter"),
        ("massgen.mcp.audit.lag", "gauge"),
    ] {
        assert_eq!(
            (&metrics[name]["kind"], &metrics[name]["series"][0]["labels"]),
            (&json!(kind), &json!({})),
            "{name}"
        );
    }
    assert_eq!(
        metrics["gen_ai.client.operation.duration"]["series"][0]["labels"]["gen_ai.request.model"],
        "player"
    );

    let stats = place.run(&["mcp", "stats", "--json"]).expect_code(0).json();
    assert_eq!(stats["servers"]["srv"]["not_retried"], json!({"unsafe": 1}));
    assert_eq!(stats["servers"]["srv"]["opened"], 0);
    assert_eq!(stats["servers"]["srv"]["requests"], 3);
    assert!(stats["servers"]["srv"]["p95_ms"].as_u64() >= stats["servers"]["srv"]["p50_ms"].as_u64());
    let shown = place.run(&["mcp", "stats"]).expect_code(0).stdout;
    assert!(shown.contains("NOT RETRIED") && shown.contains("unsafe 1"), "{shown}");
}

#[cfg(feature = "prometheus")]
mod prometheus {
    use std::io::{Read, Write};

    use massgen_testkit::{PATIENCE, process};

    use super::*;

    /// What the address answers.
    fn fetch(address: &str, request: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[cfg(unix)]
    #[tokio::test(flavor = "multi_thread")]
    async fn prometheus_reads_metrics_while_a_run_goes_on() {
        let server = server();
        let place = place(&server, &["echo", "no", "wait"]);
        let mut running = place.spawn(&["--config", "team.yaml", "--metrics", "127.0.0.1:0", "q"]);
        let line = running.line_of_stderr("metrics  ");
        let address = line.trim_start_matches("metrics  http://").trim_end_matches("/metrics").to_owned();
        let journal = server.journal();
        for number in 1..=3 {
            assert!(process::until(PATIENCE, || journal.method("tools/call").len() >= number).await);
        }
        let answer = fetch(&address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{answer}");
        for line in [
            "massgen_mcp_server_up{server=\"srv\"} 1",
            "massgen_mcp_bulkhead_in_flight{server=\"srv\"} 1",
            "massgen_mcp_breaker_state{server=\"srv\",state=\"closed\"} 1",
            "mcp_client_operation_duration_seconds_count{error_type=\"-32050\",gen_ai_tool_name=\"no\",mcp_method_name=\"tools/call\",server=\"srv\"} 1",
        ] {
            assert!(answer.contains(&format!("\n{line}\n")), "{line}\n{answer}");
        }
        assert!(fetch(&address, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(fetch(&address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        running.signal(process::Signal::Interrupt);
        running.wait().expect_code(130);
        assert!(std::net::TcpStream::connect(&address).is_err(), "nobody listens any more");
    }

    #[test]
    fn metrics_are_for_this_machine_only() {
        let server = server();
        let place = place(&server, &[]);
        let ended = place.run(&["--config", "team.yaml", "--metrics", "0.0.0.0:0", "q"]).expect_code(1);
        assert!(ended.stderr.contains("--metrics 127.0.0.1:0"), "{}", ended.stderr);
    }
}

#[cfg(feature = "otlp")]
mod otlp {
    use std::sync::Arc;

    use massgen_testkit::http::{HttpReply, HttpServer, Part};

    use super::*;

    /// Everything that was sent to a path, as one text: names are plain text in protobuf.
    fn sent(collector: &HttpServer, path: &str) -> String {
        let bodies = collector.requests().into_iter().filter(|request| request.path == path).map(|request| {
            assert_eq!(request.method, "POST");
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            String::from_utf8_lossy(&request.body).into_owned()
        });
        bodies.collect()
    }

    #[test]
    fn a_collector_gets_spans_and_metrics_and_no_argument() {
        let collector = HttpServer::start(Arc::new(|_| HttpReply::new(200, "application/x-protobuf", "")));
        let server = server();
        let mut place = place(&server, &["echo", "no"]);
        place.write(
            "play.yaml",
            json!({"turns": [
                {"calls": [{"tool": "mcp__srv__echo", "arguments": {"text": "whispered"}}]},
                {"calls": [{"tool": "mcp__srv__no"}]},
                {"answer": "done"}, {"vote": {"for": "first"}}, {"text": "done"},
            ]})
            .to_string(),
        );
        place.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""));
        place.run(&["--config", "team.yaml", "q"]).expect_code(0);
        let spans = sent(&collector, "/v1/traces");
        for name in [
            "massgen run",
            "invoke_agent a",
            "chat player",
            "execute_tool echo",
            "tools/call echo",
            "tools/call no",
            "network.transport",
            "error.type",
            "-32050",
            "jsonrpc.request.id",
            "rpc.response.status_code",
        ] {
            assert!(spans.contains(name), "{name}\n{spans}");
        }
        assert!(!spans.contains("whispered"), "{spans}");
        place.set("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "true");
        place.run(&["--config", "team.yaml", "q"]).expect_code(0);
        let spans = sent(&collector, "/v1/traces");
        assert!(spans.contains("gen_ai.tool.call.arguments") && spans.contains("whispered"), "{spans}");
        let metrics = sent(&collector, "/v1/metrics");
        for name in
            ["mcp.client.operation.duration", "massgen.mcp.breaker.calls", "gen_ai.client.operation.duration"]
        {
            assert!(metrics.contains(name), "{name}\n{metrics}");
        }
    }

    /// What a span says of where it belongs (opentelemetry/proto/trace/v1, message Span).
    #[derive(Debug, Default)]
    struct Span {
        trace: String,
        id: String,
        parent: String,
        name: String,
    }

    /// The fields of a message of protobuf that hold bytes: number and content. Others are passed over.
    fn fields(mut message: &[u8]) -> Vec<(u64, &[u8])> {
        fn number(from: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..64).step_by(7) {
                let (byte, rest) = from.split_first().unwrap();
                *from = rest;
                value |= u64::from(byte & 0x7f) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            value
        }
        let mut fields = Vec::new();
        while !message.is_empty() {
            let key = number(&mut message);
            let length = match key & 7 {
                0 => {
                    number(&mut message);
                    continue;
                }
                1 => 8,
                5 => 4,
                _ => usize::try_from(number(&mut message)).unwrap(),
            };
            let (content, rest) = message.split_at(length);
            if key & 7 == 2 {
                fields.push((key >> 3, content));
            }
            message = rest;
        }
        fields
    }

    /// Every span that was sent: they are in scopes, which are in resources.
    fn spans(collector: &HttpServer) -> Vec<Span> {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let inner = |outer: &[u8], field: u64| -> Vec<Vec<u8>> {
            fields(outer)
                .into_iter()
                .filter(|(number, _)| *number == field)
                .map(|(_, it)| it.to_vec())
                .collect()
        };
        let requests = collector.requests().into_iter().filter(|request| request.path == "/v1/traces");
        let resources = requests.flat_map(|request| inner(&request.body, 1));
        let spans = resources.flat_map(|resource| inner(&resource, 2)).flat_map(|scope| inner(&scope, 2));
        let read = |span: Vec<u8>| {
            let mut found = Span::default();
            for (number, content) in fields(&span) {
                match number {
                    1 => found.trace = hex(content),
                    2 => found.id = hex(content),
                    4 => found.parent = hex(content),
                    5 => found.name = String::from_utf8(content.to_vec()).unwrap(),
                    _ => {}
                }
            }
            found
        };
        spans.map(read).collect()
    }

    #[test]
    fn a_server_is_told_the_span_that_the_collector_gets() {
        let collector = HttpServer::start(Arc::new(|_| HttpReply::new(200, "application/x-protobuf", "")));
        let server = server();
        let mut place = place(&server, &["echo", "no"]);
        place.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""));
        place.run(&["--config", "team.yaml", "q"]).expect_code(0);
        let spans = spans(&collector);
        let root = spans.iter().find(|span| span.name == "massgen run").unwrap();
        assert_eq!(root.parent, "", "a run begins a trace: {spans:?}");
        for tool in ["echo", "no"] {
            let calls = server.journal().method("tools/call");
            let call = calls.iter().find(|call| call["params"]["name"] == tool).unwrap();
            let told = call["params"]["_meta"]["traceparent"].as_str().unwrap();
            let span = spans.iter().find(|span| span.name == format!("tools/call {tool}")).unwrap();
            assert_eq!(told, format!("00-{}-{}-01", span.trace, span.id), "{tool}: {spans:?}");
            assert_eq!(span.trace, root.trace, "{tool}: {spans:?}");
            // Up to the run, no span is missing in between.
            let mut above = span;
            while !above.parent.is_empty() {
                let up = spans.iter().find(|span| span.id == above.parent);
                above =
                    up.unwrap_or_else(|| panic!("{tool}: the parent of {above:?} was not sent: {spans:?}"));
            }
            assert_eq!(above.id, root.id, "{tool}: {spans:?}");
        }
    }

    #[test]
    fn a_collector_that_never_answers_costs_a_run_nothing_but_its_bound() {
        let collector = HttpServer::start(Arc::new(|_| HttpReply::fault(Part::Hang)));
        let server = server();
        let mut place = place(&server, &["echo"]);
        place.set("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url(""));
        place.set("OTEL_EXPORTER_OTLP_TIMEOUT", "500");
        let ended = place.run(&["--config", "team.yaml", "q"]).expect_code(0);
        assert!(ended.stderr.contains("not all telemetry was delivered"), "{}", ended.stderr);
    }
}
