//! Backends over real sockets, against scripted endpoints.

// The helpers of tests report by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod http;
mod local;
mod rounds;
