//! The server of `cargo xtask race`: `echo`, `big` and `sleep`, and as many more tools as wanted, none of which costs
//! anything to run. `--tools N` sets how many are listed, `--http ADDRESS` serves streamable HTTP instead of stdio.

use std::sync::Arc;
use std::time::Duration;

use mcp_core::{
    BoxFuture, Catalogue, ServerName, ToolCall, ToolError, ToolFilter, ToolName, ToolOutput, ToolService,
    ToolSpec,
};
use mcp_transport::serve::{self, ServerInfo};
use serde_json::json;

/// A line with characters that JSON must escape, as texts have them.
const LINE: &str = "The quick brown fox jumps over \"the lazy dog\" 0123456789 abcdefghij klmnop.\n";

struct Tools(Arc<Catalogue>);

impl ToolService for Tools {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.0.clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        Box::pin(async move {
            let number = |key: &str| call.arguments.get(key).and_then(serde_json::Value::as_u64).unwrap_or(0);
            if let Some(text) = call.arguments.get("text").and_then(serde_json::Value::as_str) {
                return Ok(ToolOutput::text(text));
            }
            if call.arguments.contains_key("ms") {
                tokio::time::sleep(Duration::from_millis(number("ms"))).await;
                return Ok(ToolOutput::text("slept"));
            }
            let length = usize::try_from(number("bytes")).unwrap_or(0);
            let mut text = LINE.repeat(length.div_ceil(LINE.len()));
            text.truncate(length);
            Ok(ToolOutput::text(text))
        })
    }
}

fn catalogue(count: usize) -> Result<Catalogue, Box<dyn std::error::Error>> {
    let server = ServerName::new("race")?;
    let one = |key: &str, kind: &str| json!({"type": "object", "properties": {key: {"type": kind}}, "required": [key]});
    let mut tools = Vec::new();
    for (name, schema) in
        [("echo", one("text", "string")), ("big", one("bytes", "integer")), ("sleep", one("ms", "integer"))]
    {
        tools.push(ToolSpec::new(server.clone(), ToolName::new(name)?).with_input_schema(schema));
    }
    // As large and as deep as those of real servers, about 1.3 kB each.
    let text = "What to look for. Quotes hold words together, a minus leaves out, OR takes either; case does not matter";
    let field = |kind: &str| json!({"type": kind, "description": text});
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["query", "kind"], "properties": {
        "query": {"type": "string", "minLength": 1, "maxLength": 512, "description": text},
        "kind": {"type": "string", "enum": ["issues", "pulls", "commits", "releases"], "description": text},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 30},
        "sort": {"type": "object", "properties": {"by": field("string"), "down": {"type": "boolean"}}},
        "labels": {"type": "array", "items": field("string"), "maxItems": 20},
        "created": {"type": "object", "properties": {"from": field("string"), "to": field("string")}}}});
    for n in tools.len()..count {
        let tool = ToolSpec::new(server.clone(), ToolName::new(format!("search_collection_{n:03}"))?);
        tools.push(
            tool.with_description(format!("{text}, in collection {n}")).with_input_schema(schema.clone()),
        );
    }
    Ok(Catalogue::build([(server, tools, ToolFilter::default())]).catalogue)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| {
        words.iter().position(|word| word == name).and_then(|at| words.get(at + 1)).map(String::as_str)
    };
    let tools = option("--tools").and_then(|count| count.parse().ok()).unwrap_or(50);
    let service = Arc::new(Tools(Arc::new(catalogue(tools)?)));
    let info = ServerInfo::new("race", env!("CARGO_PKG_VERSION"));
    match option("--http") {
        Some(address) => {
            let listener = tokio::net::TcpListener::bind(address).await?;
            serve::http(service, info, listener).await?;
        }
        None => serve::stdio(service, info).await?,
    }
    Ok(())
}
