//! Runs of whole teams, with models played by closures and a paused clock.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod journal;
mod runs;
mod team;
