//! Example MCP server.
fn main() {}
