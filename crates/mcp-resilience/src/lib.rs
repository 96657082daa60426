//! mcp-resilience
