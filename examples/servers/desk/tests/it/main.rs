//! The desk from the outside: as a tool service, and as a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so at once")]

mod process;
mod service;
