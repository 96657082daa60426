//! Real pipes, sockets and processes against [`mcp_transport`].

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::field_reassign_with_default,
    reason = "a test says what it expects by failing"
)]

mod child;
mod features;
mod host;
mod http;
mod memory;
mod oauth;
mod packed;
mod plain;
mod posts;
mod sse;
mod support;
mod visits;
mod ways;
#[cfg(feature = "serve-http")]
mod web;
