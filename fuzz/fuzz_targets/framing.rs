//! Any bytes as what a server writes: the stream ends when they do, and where it is cut changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_transport::fuzz::stream;

fuzz_target!(|input: (u8, u16, &[u8])| {
    let (piece, limit, bytes) = input;
    let limit = usize::from(limit).max(1);
    let whole = stream(bytes, usize::MAX, limit).expect("a runtime");
    let cut = stream(bytes, usize::from(piece), limit).expect("a runtime");
    assert_eq!(whole, cut);
});
