//! The far ends, tried by hand-written near ends.

// These tests are about programs.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod ground;
mod mcp_http;
mod stdio;
mod upstream;
mod wires;
