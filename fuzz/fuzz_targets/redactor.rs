//! Any secrets in any text: none of them is left, as text, inside JSON, or on its way to another server.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mcp_core::ServerName;
use mcp_security::{Redactor, Scopes};
use serde_json::{Value, json};

/// What stands in a secret's place may hold a secret that is a part of it, or make one with what is around it.
fn is_of_the_mark(secret: &str) -> bool {
    "[redacted]".contains(secret) || secret.contains(['[', ']'])
}

fn look(value: &Value, secret: &str) {
    match value {
        Value::String(text) => assert!(!text.contains(secret), "{secret:?} is left"),
        Value::Array(items) => items.iter().for_each(|item| look(item, secret)),
        Value::Object(fields) => {
            for (key, value) in fields {
                assert!(!key.contains(secret), "{secret:?} is left in a key");
                look(value, secret);
            }
        }
        _ => {}
    }
}

fuzz_target!(|input: (Vec<&str>, &str)| {
    let (secrets, text) = input;
    let (Ok(owner), Ok(other)) = (ServerName::new("owner"), ServerName::new("other")) else { return };
    let (redactor, scopes) = (Redactor::default(), Scopes::default());
    let secrets: Vec<&str> = secrets.into_iter().filter(|secret| secret.len() <= 64).take(4).map(str::trim).collect();
    for secret in &secrets {
        redactor.register(secret);
        scopes.register(&owner, "SECRET", secret);
    }
    let shown = redactor.redact(text);
    let mut value = serde_json::from_str(text).unwrap_or_else(|_| json!({ text: [text] }));
    let sent = value.clone();
    redactor.redact_json(&mut value);
    for secret in secrets.iter().filter(|secret| secret.len() >= 6 && !is_of_the_mark(secret)) {
        assert!(!shown.contains(secret), "{secret:?} is left");
        look(&value, secret);
        if secret.len() >= 8 && text.contains(secret) {
            assert!(scopes.foreign(&other, &json!(text)).is_some(), "{secret:?} may go to another server");
        }
    }
    assert!(scopes.foreign(&owner, &sent).is_none());
});
