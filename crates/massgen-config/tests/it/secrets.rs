//! `${keyring:NAME}`: found, unknown, and in a place that cannot be used.

use std::path::Path;
use std::sync::Arc;

use massgen_config::{
    Format, LoadOptions, Loaded, McpTransport, Secret, SecretError, SecretSource, load_str,
};
use mcp_core::MissingCredential;

use crate::{Files, options};

/// Knows `good`; `locked` is in a place that is locked.
struct Keyring;

impl SecretSource for Keyring {
    fn secret(&self, name: &str) -> Result<Secret, SecretError> {
        match name {
            "good" => Ok(Secret::new("tok-very-secret-value")),
            "locked" => Err(SecretError::Unavailable(MissingCredential {
                name: name.into(),
                store: "the keyring".into(),
                reason: "it is locked".into(),
            })),
            _ => Err(SecretError::Unknown { store: "the keyring".into() }),
        }
    }
}

fn load(text: &str) -> Loaded {
    let options = LoadOptions { keyring: Some(Arc::new(Keyring)), ..options(&[]) };
    let files = Files(
        [(
            "conf/desktop.json",
            r#"{"mcpServers": {"d": {"command": "x", "env": {"K": "${keyring:locked}"}}}}"#,
        )]
        .into(),
    );
    load_str(text, Path::new("conf/team.yaml"), Format::Yaml, &options, &files)
}

#[test]
fn a_kept_value_is_put_in_and_known_to_redactors() {
    let loaded = load(
        "agent: { backend: { type: openai, model: m, api_key: \"${keyring:good}\" } }
mcp_servers: { s: { url: \"https://a.example/mcp\", headers: { Authorization: \"Bearer ${keyring:good}\" } } }",
    );
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics));
    let McpTransport::StreamableHttp { headers, .. } = &config.mcp_servers[0].transport else { panic!() };
    assert_eq!(headers["Authorization"].expose(), "Bearer tok-very-secret-value");
    assert!(config.secrets().contains(&Secret::new("tok-very-secret-value")));
    assert_eq!(config.mcp_servers[0].missing_credential, None);
}

#[test]
fn a_locked_place_costs_the_server_that_needs_it_and_nothing_else() {
    let loaded = load(
        "agent: { backend: { type: openai, model: m, api_key: k } }
mcp_config: desktop.json
mcp_servers:
  wants: { command: x, env: { A: \"1\", TOKEN: \"a ${keyring:locked}\" } }
  other: { command: y, env: { TOKEN: \"${keyring:good}\" } }",
    );
    let config = loaded.config.unwrap_or_else(|| panic!("{}", loaded.diagnostics));
    let missing = |name: &str| {
        let server = config.mcp_servers.iter().find(|server| server.name.as_str() == name).unwrap();
        server.missing_credential.as_ref().map(|missing| (missing.name.as_str(), missing.store.as_str()))
    };
    assert_eq!(missing("wants"), Some(("locked", "the keyring")));
    assert_eq!(missing("other"), None);
    assert_eq!(missing("d"), Some(("locked", "the keyring")));
    let told = loaded.diagnostics.to_string();
    assert!(told.contains("conf/team.yaml:4:49: warning") && told.contains("it is locked"), "{told}");
    assert!(told.contains("massgen secrets set locked"), "{told}");
    assert!(!loaded.diagnostics.has_errors(), "{told}");
}

#[test]
fn elsewhere_and_for_unknown_names_it_is_an_error_with_the_remedy() {
    for (reference, part) in [
        ("${keyring:locked}", "it is locked"),
        ("${keyring:nobody}", "there is no secret nobody in the keyring"),
        ("${keyring:a b}", "cannot be the name of a secret"),
        ("${keyring:}", "cannot be the name of a secret"),
    ] {
        let loaded =
            load(&format!("agent: {{ backend: {{ type: openai, model: m, api_key: \"{reference}\" }} }}"));
        let told = loaded.diagnostics.to_string();
        assert!(
            loaded.config.is_none() && told.contains("conf/team.yaml:1:") && told.contains(part),
            "{told}"
        );
    }
    let told = load(
        "agent: { backend: { model: m, type: openai } }\nmcp_servers: { s: { command: x, args: [\"${keyring:good}\"] } }",
    );
    let told = told.diagnostics.to_string();
    assert!(told.contains("puts good on a command line"), "{told}");
}
