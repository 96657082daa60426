//! Any text of a server: it is scanned and shown, and what is shown no longer needs to be made fit to be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_security::{scan, text};

fuzz_target!(|raw: &str| {
    let around = scan::Around {
        foreign: ["send_email".to_owned()].into(),
        own: ["read_file".to_owned()].into(),
    };
    let _ = scan::text(raw, &around);
    let clean = text::visible(raw).into_owned();
    assert_eq!(text::visible(&clean), clean);
    let shown = text::escaped(raw);
    assert!(!shown.contains(|c: char| c.is_control() && !matches!(c, '\t' | '\n')));
});
