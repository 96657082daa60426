//! mcp-security
