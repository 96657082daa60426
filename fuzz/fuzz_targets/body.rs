//! Any bytes as the body that answers a request over HTTP: an answer, other messages, or noise.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| mcp_transport::fuzz::body(body));
