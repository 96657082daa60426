//! Any bytes as the body that answers a request over HTTP: an answer, other messages, or noise; and as a compressed one, for
//! which where it is cut changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_transport::fuzz::{body, unpack};

fuzz_target!(|input: &[u8]| {
    body(input);
    // Of a body so small, how far it may swell does not depend on how much of it has come.
    if input.len() <= 4096 {
        assert_eq!(unpack(input, usize::MAX), unpack(input, 3));
    }
});
