//! The command as a user has it: the real binary, real servers, real sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a panic is how it reports, and it starts the programs it is about"
)]

mod audit;
mod bad_input;
#[cfg(unix)]
mod consent;
mod conversation;
mod doctor;
#[cfg(unix)]
mod examples;
mod guard;
#[cfg(unix)]
mod logins;
mod mcp;
#[cfg(target_os = "linux")]
mod processes;
mod questions;
mod real_model;
mod recovery;
mod scan;
mod schemas;
#[cfg(unix)]
mod seat;
mod secrets;
mod support;
mod team;
mod telemetry;
#[cfg(unix)]
mod terminal;
mod trouble;
mod trust;
