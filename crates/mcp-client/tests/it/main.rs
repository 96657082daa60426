//! The client against services in memory, real child processes and servers that nobody here wrote.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so at once")]

mod allocations;
mod asked;
mod calls;
mod children;
mod fair;
mod fleet;
mod ledger;
mod metrics;
mod permission;
mod quirks;
mod real_servers;
mod resilience;
mod rest;
mod spans;
mod sse;
mod states;
mod support;
mod told;
