//! Any bytes as a stream of events over HTTP: where it is cut changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_transport::fuzz::events;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    // Room for all of it: how much of an event that is too large is seen before it is given up depends on the pieces.
    let limit = bytes.len().max(1);
    assert_eq!(events(bytes, usize::MAX, limit), events(bytes, usize::from(piece), limit));
    let _ = events(bytes, usize::from(piece), 64);
});
