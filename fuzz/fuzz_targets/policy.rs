//! Any text as a command line, an address and a schema: each gets a verdict, and what is split comes back the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_security::url::{Context, Question, admit};
use mcp_security::{Rules, command, scan, schema};

fuzz_target!(|text: &str| {
    let rules = Rules::default();
    if let Ok(words) = command::split(text) {
        let _ = command::judge(&words[0], &words[1..], &rules);
    }
    let words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    let _ = command::judge(&words[0], &words[1..], &rules);
    for context in [Context::ServerConfig, Context::OAuthMetadata, Context::AuthorizationUrl, Context::ResourceLink] {
        let _ = admit(Question { text, context, base: None, hops: 0 }, &rules);
    }
    if let Ok(value) = serde_json::from_str(text) {
        let _ = schema::judge(&value);
    }
    let _ = scan::text(text, &scan::Around::default());
});
