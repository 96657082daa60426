//! What a child inherits.

use std::collections::BTreeMap;

use mcp_core::Environment;

use super::{Place, is_function, judge_variable};
use crate::command::is_world_writable;
use crate::{Finding, Level};

/// The user's own environment.
const AMBIENT: Place = Place { level: Level::Strict, project: false, windows: cfg!(windows) };

/// Inherited by name, on every platform. Upper and lower case of the proxy variables are both in use.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "LOGNAME",
    "SHELL",
    "TERM",
    "USER",
    "LANG",
    "LANGUAGE",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    // Without these, package runners fail behind a proxy that inspects TLS.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Inherited by the beginning of the name.
const PASSED_PREFIXES: &[&str] = &["LC_", "PIP_", "UV_", "npm_config_", "NPM_CONFIG_"];

/// Inherited on Windows besides; names there have no case.
const PASSED_ON_WINDOWS: &[&str] = &[
    "APPDATA",
    "COMSPEC",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "NUMBER_OF_PROCESSORS",
    "PATHEXT",
    "PROCESSOR_ARCHITECTURE",
    "PROGRAMDATA",
    "PROGRAMFILES",
    "PROGRAMFILES(X86)",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "USERNAME",
    "USERPROFILE",
    "WINDIR",
];

/// Parts of inherited names that mark a credential, such as `UV_PUBLISH_TOKEN` or `PIP_INDEX_PASSWORD`.
const CREDENTIAL_PARTS: &[&str] =
    &["TOKEN", "PASSWORD", "SECRET", "_AUTH", "APIKEY", "API_KEY", "CREDENTIAL", "_KEY"];

/// The whole environment of a child: what it inherits from `ambient`, overlaid with what is `declared` for it.
///
/// ```
/// use std::collections::BTreeMap;
/// use mcp_core::Environment;
///
/// let ambient = Environment::from_iter([("PATH", "/usr/bin"), ("OPENAI_API_KEY", "sk-...")]);
/// let declared = BTreeMap::from([("PORT".to_owned(), "8080".to_owned())]);
///
/// let child = mcp_security::env::child_environment(&ambient, &declared);
/// assert_eq!(child.keys().collect::<Vec<_>>(), ["PATH", "PORT"]);
/// ```
pub fn child_environment(
    ambient: &Environment,
    declared: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let inherited = inherited(ambient).filter(|(name, value)| judge_variable(name, value, AMBIENT).is_ok());
    let mut child: BTreeMap<String, String> = inherited.collect();
    for (name, value) in declared {
        if is_function(value) {
            tracing::warn!(variable = %name.escape_debug(), "left out: its value is a shell function");
            continue;
        }
        child.insert(name.clone(), value.clone());
    }
    child
}

/// What a child would inherit of `ambient`, judged or not.
fn inherited(ambient: &Environment) -> impl Iterator<Item = (String, String)> {
    ambient.iter().filter(|(name, value)| is_passed(name) && !is_function(value)).map(|(name, value)| {
        (name.to_owned(), if name == "PATH" { clean_path(value) } else { value.to_owned() })
    })
}

/// The variables of `ambient` that children would inherit and do not, because of their values; `None`: there are none.
///
/// ```
/// use mcp_core::Environment;
///
/// let ambient = Environment::from_iter([("SSL_CERT_FILE", "/tmp/ca.pem"), ("LANG", "C.UTF-8")]);
/// let withheld = mcp_security::env::withheld(&ambient).expect("others can write to /tmp");
/// assert_eq!(withheld.rule, "inherited-variable");
/// assert!(withheld.reason.starts_with("SSL_CERT_FILE of your own environment"));
/// ```
pub fn withheld(ambient: &Environment) -> Option<Finding> {
    let refused = inherited(ambient).filter(|(name, value)| judge_variable(name, value, AMBIENT).is_err());
    let names: Vec<String> = refused.map(|(name, _)| name).collect();
    let finding = Finding::new(
        "inherited-variable",
        format!(
            "{} of your own environment is not passed on to servers: with that value, programs load or trust something \
             else",
            names.join(", ")
        ),
        "let it name a place where nobody else can write, or set it in the server's own env: if it needs it",
    );
    (!names.is_empty()).then_some(finding)
}

pub(super) fn is_passed(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if CREDENTIAL_PARTS.iter().any(|part| upper.contains(part)) {
        return false;
    }
    PASSED.contains(&name)
        || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (cfg!(windows)
            && (PASSED_ON_WINDOWS.contains(&upper.as_str()) || PASSED.contains(&upper.as_str())))
}

/// An empty or relative entry of `PATH` would find programs in whatever folder the server runs in; one that everybody
/// may write to, whatever others put there.
fn clean_path(path: &str) -> String {
    if cfg!(windows) {
        return path.to_owned();
    }
    let own = |entry: &&str| entry.starts_with('/') && !is_world_writable(entry);
    path.split(':').filter(own).collect::<Vec<_>>().join(":")
}
