//! The facade against the project's own examples.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should say so at once")]

mod examples;
mod keys;
mod required;
mod steered;
mod strict;
