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
    assert_eq!((operations.len(), errors), (2, vec!["-32050"]));
    assert_eq!(
        metrics["gen_ai.client.operation.duration"]["series"][0]["labels"]["gen_ai.request.model"],
        "player"
    );

    let stats = place.run(&["mcp", "stats", "--json"]).expect_code(0).json();
    assert_eq!(stats["servers"]["srv"]["not_retried"], json!({"unsafe": 1}));
    assert_eq!(stats["servers"]["srv"]["opened"], 0);
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
        ] {
            assert!(spans.contains(name), "{name}\n{spans}");
        }
        assert!(!spans.contains("whispered"), "{spans}");
        let metrics = sent(&collector, "/v1/metrics");
        for name in
            ["mcp.client.operation.duration", "massgen.mcp.breaker.calls", "gen_ai.client.operation.duration"]
        {
            assert!(metrics.contains(name), "{name}\n{metrics}");
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
