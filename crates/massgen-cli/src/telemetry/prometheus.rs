//! Metrics in Prometheus' text format, at `http://ADDR/metrics`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::registry::{Kind, Metrics, Registry, Value};
use crate::failure::Failure;

/// The longest head of a request, bytes.
const HEAD: usize = 8 * 1024;
/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests at a time.
const AT_A_TIME: usize = 8;

/// Answers requests until it is dropped.
pub(crate) struct Listener(tokio::task::JoinHandle<()>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to listen. Must be called on a tokio runtime.
pub(super) fn listen(
    address: SocketAddr,
    registry: Arc<Registry>,
) -> Result<(Listener, SocketAddr), Failure> {
    if !address.ip().is_loopback() {
        return Err(Failure::config(format!("--metrics {address}: metrics are shown on this machine only"))
            .with_hint(format!("--metrics 127.0.0.1:{}", address.port())));
    }
    let failed = |error: std::io::Error| {
        Failure::config(format!("--metrics {address}: nobody can be listened to there: {error}"))
            .with_hint("name a port that is free, or port 0 for any")
    };
    let listener = std::net::TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let listener = TcpListener::from_std(listener).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((Listener(tokio::spawn(serve(listener, registry))), bound))
}

async fn serve(listener: TcpListener, registry: Arc<Registry>) {
    let places = Arc::new(Semaphore::new(AT_A_TIME));
    // They end with this task.
    let mut running = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = registry.clone();
                running.spawn(async move {
                    let _place = place;
                    let _ = timeout(PATIENCE, answer(stream, &registry)).await;
                });
            }
            // Too many open files, most likely: it passes.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        while running.try_join_next().is_some() {}
    }
}

async fn answer(mut stream: TcpStream, registry: &Registry) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => ("200 OK", text(&registry.metrics())),
        (b"GET" | b"HEAD", _) => ("404 Not Found", "Metrics are at /metrics.\n".to_owned()),
        _ => ("405 Method Not Allowed", "Only GET.\n".to_owned()),
    };
    let mut reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    if method != b"HEAD" {
        reply.push_str(&body);
    }
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

/// All metrics in the text format, version 0.0.4.
fn text(metrics: &Metrics) -> String {
    let mut out = String::new();
    for (name, metric) in metrics {
        let name = exposed(name, metric.kind);
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string does not fail.
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for series in &metric.series {
            let labels: Vec<_> = series
                .labels
                .iter()
                .map(|(label, value)| format!("{}=\"{}\"", plain(label), escaped(value)))
                .collect();
            let braced = |further: &[String]| {
                let all: Vec<_> = labels.iter().chain(further).map(String::as_str).collect();
                if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
            };
            match &series.value {
                Value::Number { value } => {
                    let _ = writeln!(out, "{name}{} {value}", braced(&[]));
                }
                Value::Histogram { count, sum, bounds, buckets } => {
                    let mut so_far = 0;
                    for (bound, bucket) in bounds.iter().zip(buckets) {
                        so_far += bucket;
                        let _ =
                            writeln!(out, "{name}_bucket{} {so_far}", braced(&[format!("le=\"{bound}\"")]));
                    }
                    let _ = writeln!(out, "{name}_bucket{} {count}", braced(&["le=\"+Inf\"".to_owned()]));
                    let _ = writeln!(out, "{name}_sum{} {sum}", braced(&[]));
                    let _ = writeln!(out, "{name}_count{} {count}", braced(&[]));
                }
            }
        }
    }
    out
}

/// The name with the unit and the ending that Prometheus expects.
fn exposed(name: &str, kind: Kind) -> String {
    let plain = plain(name);
    match kind {
        Kind::Counter => format!("{plain}_total"),
        Kind::Gauge => plain,
        Kind::Histogram if name.ends_with(".usage") => format!("{plain}_tokens"),
        Kind::Histogram => format!("{plain}_seconds"),
    }
}

fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use massgen::client::metrics::Observer;

    use super::*;

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let registry = Registry::default();
        registry.count("massgen.mcp.breaker.calls", &[("server", "a"), ("outcome", "success")], 2);
        registry.gauge("massgen.mcp.server.up", &[("server", "a")], 1.0);
        registry.histogram("mcp.client.operation.duration", &[("mcp.method.name", "tools/call")], 0.015);
        registry.histogram("mcp.client.operation.duration", &[("mcp.method.name", "tools/call")], 400.0);
        let text = text(&registry.metrics());
        let short: Vec<_> = text
            .lines()
            .filter(|line| {
                !line.contains("le=")
                    || line.contains("0.01")
                    || line.contains("0.02")
                    || line.contains("Inf")
            })
            .collect();
        expect![[r#"
            # TYPE massgen_mcp_breaker_calls_total counter
            massgen_mcp_breaker_calls_total{outcome="success",server="a"} 2
            # TYPE massgen_mcp_server_up gauge
            massgen_mcp_server_up{server="a"} 1
            # TYPE mcp_client_operation_duration_seconds histogram
            mcp_client_operation_duration_seconds_bucket{mcp_method_name="tools/call",le="0.01"} 0
            mcp_client_operation_duration_seconds_bucket{mcp_method_name="tools/call",le="0.02"} 1
            mcp_client_operation_duration_seconds_bucket{mcp_method_name="tools/call",le="+Inf"} 2
            mcp_client_operation_duration_seconds_sum{mcp_method_name="tools/call"} 400.015
            mcp_client_operation_duration_seconds_count{mcp_method_name="tools/call"} 2
        "#]]
        .assert_eq(&format!("{}\n", short.join("\n")));
    }

    #[tokio::test]
    async fn metrics_stay_on_this_machine() {
        let refused = listen("0.0.0.0:0".parse().unwrap(), Arc::default()).err().unwrap();
        assert!(refused.to_string().contains("127.0.0.1:0"), "{refused}");
    }
}
