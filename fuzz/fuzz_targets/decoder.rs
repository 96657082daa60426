//! Any bytes as one line of a server: a message, an answer to a call, a page of tools, or a reason why not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| mcp_transport::fuzz::line(line));
