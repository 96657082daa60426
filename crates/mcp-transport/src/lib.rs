//! mcp-transport
