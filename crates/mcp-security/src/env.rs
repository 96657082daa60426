//! The environment of a server: what it inherits, and what may be set for it.
//!
//! A server inherits nothing but what programs need to run at all: where things are, the language, proxies and
//! certificates, the settings of package runners. The host's own keys are never among it.

use std::collections::BTreeMap;

use mcp_core::{Environment, Refusal};

use crate::{Level, limits, refusal};

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
    let inherited =
        ambient.iter().filter(|(name, value)| is_passed(name) && !is_function(value)).map(|(name, value)| {
            (name.to_owned(), if name == "PATH" { clean_path(value) } else { value.to_owned() })
        });
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

fn is_passed(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    if CREDENTIAL_PARTS.iter().any(|part| upper.contains(part)) {
        return false;
    }
    PASSED.contains(&name)
        || PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || (cfg!(windows)
            && (PASSED_ON_WINDOWS.contains(&upper.as_str()) || PASSED.contains(&upper.as_str())))
}

/// A function exported by a shell; importing shells have run what stands after it.
fn is_function(value: &str) -> bool {
    value.trim_start().starts_with("()")
}

/// An empty or relative entry of `PATH` would find programs in whatever folder the server runs in.
fn clean_path(path: &str) -> String {
    if cfg!(windows) {
        return path.to_owned();
    }
    path.split(':').filter(|entry| entry.starts_with('/')).collect::<Vec<_>>().join(":")
}

/// May a child have this environment?
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `env-limit`, `env-name`, `control-character`, `loader-variable`.
pub fn judge(env: &BTreeMap<String, String>, level: Level) -> Result<(), Refusal> {
    if env.len() > limits::ENV_ITEMS {
        let reason =
            format!("the server has {} environment variables; {} are allowed", env.len(), limits::ENV_ITEMS);
        return Err(refusal("env-limit", reason, "declare only what the server reads"));
    }
    let mut total = 0;
    for (name, value) in env {
        total += name.len() + value.len();
        if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_control) {
            return Err(refusal(
                "env-name",
                format!("{name:?} cannot be the name of an environment variable"),
                "use letters, digits and \"_\"",
            ));
        }
        if value.contains('\0') {
            return Err(refusal(
                "control-character",
                format!("the value of {name} contains a zero byte"),
                "remove the byte",
            ));
        }
        if value.len() > limits::ARGUMENT_BYTES {
            let reason = format!(
                "the value of {name} is {} bytes long; {} are allowed",
                value.len(),
                limits::ARGUMENT_BYTES
            );
            return Err(refusal("env-limit", reason, "pass the value through a file"));
        }
        if level < Level::Permissive {
            judge_variable(name, value)?;
        }
    }
    if total > limits::ENV_BYTES {
        let reason = format!("the environment is {total} bytes long; {} are allowed", limits::ENV_BYTES);
        return Err(refusal("env-limit", reason, "pass long values through files"));
    }
    Ok(())
}

/// Variables that make a loader, an interpreter or a helper program run something else first.
const LOADERS: &[&str] = &[
    "LD_PRELOAD",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "DYLD_INSERT_LIBRARIES",
    "DYLD_LIBRARY_PATH",
    "DYLD_FRAMEWORK_PATH",
    "BASH_ENV",
    "ENV",
    "PROMPT_COMMAND",
    "PYTHONSTARTUP",
    "PYTHONINSPECT",
    "PYTHONHOME",
    "PERL5OPT",
    "PERL5DB",
    "PERL5LIB",
    "RUBYLIB",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_ASKPASS",
    "SSLKEYLOGFILE",
    "CLASSPATH",
    "GCONV_PATH",
    "NODE_PATH",
    "IFS",
    "NPM_CONFIG_SCRIPT_SHELL",
    "NPM_CONFIG_NODE_OPTIONS",
    "NPM_CONFIG_SHELL",
];

/// May this variable be set for a program? Some only with certain values.
pub(crate) fn judge_variable(name: &str, value: &str) -> Result<(), Refusal> {
    let upper = name.to_ascii_uppercase();
    let starts_option = |options: &[&str]| {
        value.split_whitespace().any(|word| options.iter().any(|option| word.starts_with(option)))
    };
    let refused = match upper.as_str() {
        _ if is_function(value) => true,
        name if LOADERS.contains(&name) => true,
        name if name.starts_with("BASH_FUNC_") || name.starts_with("GIT_CONFIG") => true,
        "NODE_OPTIONS" => {
            starts_option(&["-r", "--require", "--import", "--loader", "--experimental-loader", "--inspect"])
        }
        "RUBYOPT" => starts_option(&["-r", "-e", "-I"]),
        "JAVA_TOOL_OPTIONS" | "_JAVA_OPTIONS" | "JDK_JAVA_OPTIONS" => starts_option(&[
            "-javaagent",
            "-agentlib",
            "-agentpath",
            "-XX:OnError",
            "-XX:OnOutOfMemoryError",
            "@",
        ]),
        "NODE_TLS_REJECT_UNAUTHORIZED" => value == "0",
        // Folders of the user's own code are in common use; an empty or relative entry means "wherever it runs".
        "PYTHONPATH" | "PATH" if cfg!(not(windows)) => value.split(':').any(|entry| !entry.starts_with('/')),
        _ => false,
    };
    if !refused {
        return Ok(());
    }
    Err(refusal(
        "loader-variable",
        format!("with this value, the variable {name} makes programs load or trust something else"),
        "remove it from env:, or set security.level: permissive for this server",
    ))
}
