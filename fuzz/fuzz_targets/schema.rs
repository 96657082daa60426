//! Any JSON as a tool's schema: it gets a verdict, and what models are shown instead is fine as it is.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_core::{ServerName, ToolName, ToolSpec};
use mcp_security::{Verdict, scan, schema};
use serde_json::Value;

fuzz_target!(|text: &str| {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    if let Verdict::Sanitize(shown) = schema::judge(&value) {
        assert_eq!(schema::judge(&shown), Verdict::Allow);
    }
    let (Ok(server), Ok(tool)) = (ServerName::new("server"), ToolName::new("tool")) else { return };
    let mut spec = ToolSpec::new(server, tool);
    spec.input_schema = value.clone().into();
    spec.output_schema = Some(value.into());
    let _ = scan::tool(&spec, &scan::Around::default());
});
