//! The environment of a server: what it inherits, and what may be set for it.
//!
//! A server inherits nothing but what programs need to run at all: where things are, the language, proxies and
//! certificates, the settings of package runners. The host's own keys are never among it.

use std::collections::BTreeMap;

use mcp_core::Refusal;

use crate::command::is_world_writable;
use crate::{Finding, Level, limits, refusal, text};

mod child;
mod known;

use child::is_passed;
pub use child::{child_environment, withheld};
use known::{
    GIT_PROGRAMS, LOADER_PREFIXES, LOADERS, PROGRAMS, SETTINGS, SOURCES, TRUST_ROOTS, is_base,
    is_feature_flags, is_java_options, is_model_host,
};

/// A function exported by a shell; importing shells have run what stands after it.
fn is_function(value: &str) -> bool {
    value.trim_start().starts_with("()")
}

/// Where a variable comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How much is taken on trust.
    pub level: Level,
    /// The configuration came with a project that somebody else may have written.
    pub project: bool,
    /// Names have no case and lists are split at `;`.
    pub windows: bool,
}

impl Place {
    pub(crate) fn declared(level: Level, project: bool, windows: bool) -> Self {
        Self { level, project, windows }
    }
}

/// May a child have this environment? Answers with what is worth telling about it.
///
/// # Errors
///
/// A [`Refusal`] by one of the rules `env-limit`, `env-name`, `control-character`, `loader-variable`,
/// `package-source`, `project-variable`.
pub fn judge(env: &BTreeMap<String, String>, place: Place) -> Result<Vec<Finding>, Refusal> {
    if env.len() > limits::ENV_ITEMS {
        let reason =
            format!("the server has {} environment variables; {} are allowed", env.len(), limits::ENV_ITEMS);
        return Err(refusal("env-limit", reason, "declare only what the server reads"));
    }
    let mut findings = Vec::new();
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
        if text::hidden(name).count > 0 || text::skeleton(name) != name.to_lowercase() {
            return Err(refusal(
                "env-name",
                format!("the variable {} is not what it looks like", name.escape_unicode()),
                "write its name in plain letters",
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
        if place.level < Level::Permissive {
            findings.extend(judge_variable(name, value, place)?);
        }
    }
    if total > limits::ENV_BYTES {
        let reason = format!("the environment is {total} bytes long; {} are allowed", limits::ENV_BYTES);
        return Err(refusal("env-limit", reason, "pass long values through files"));
    }
    Ok(findings)
}

/// May a value name these variables by `${NAME}`? Only those in `scope`, and those that every child inherits.
///
/// ```
/// let scope = |name: &str| name == "NOTION_TOKEN";
/// assert!(mcp_security::env::judge_references("Bearer ${NOTION_TOKEN}", scope).is_ok());
/// assert!(mcp_security::env::judge_references("${HOME}/data", scope).is_ok());
/// assert_eq!(mcp_security::env::judge_references("${AWS_SECRET}", scope).unwrap_err().rule, "secret-scope");
/// ```
///
/// # Errors
///
/// A [`Refusal`] by the rule `secret-scope`.
pub fn judge_references(value: &str, scope: impl Fn(&str) -> bool) -> Result<(), Refusal> {
    let mut rest = value;
    while let Some((_, after)) = rest.split_once("${") {
        // What stands inside may refer to something again, as a default does: `${A:-${B}}`.
        rest = after;
        let Some((name, _)) = after.split_once('}') else { break };
        let bare = name.split(':').next().unwrap_or(name);
        let is_name = bare.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && bare.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_name && !scope(bare) && !is_passed(bare) {
            return Err(refusal(
                "secret-scope",
                format!("the value asks for {bare}, which is not this server's"),
                "name the variable among those that this server may read",
            ));
        }
    }
    Ok(())
}

enum Say {
    No,
    Tell(&'static str, &'static str),
    Nothing,
}

/// May this variable be set for a program? Some only with certain values.
pub(crate) fn judge_variable(name: &str, value: &str, place: Place) -> Result<Option<Finding>, Refusal> {
    let upper = name.trim().to_ascii_uppercase().replace('-', "_");
    // Settings of npm and yarn are read with any prefix of the two.
    let upper = match upper.strip_prefix("YARN_NPM_") {
        Some(rest) => format!("NPM_CONFIG_{rest}"),
        None => upper,
    };
    let option = |options: &[&str]| {
        value.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).any(|word| {
            let word = word.to_ascii_lowercase().replace('_', "-");
            options.iter().any(|option| word.starts_with(option))
        })
    };
    let is_false = matches!(value.trim().to_ascii_lowercase().as_str(), "0" | "false" | "no" | "off");
    let is_true = !value.is_empty() && !is_false;
    let say = match upper.as_str() {
        _ if is_function(value) => Say::No,
        // Nothing is loaded from nowhere; an empty separator of words is one all the same.
        name if value.is_empty() && name != "IFS" => Say::Nothing,
        // A shell takes the file that it names for its first program; to others it is a word such as "production".
        "ENV" if !value.contains(['/', '\\', '$', '`']) => Say::Nothing,
        "ENV" => Say::No,
        "GIT_CONFIG_NOSYSTEM" => Say::Nothing,
        "GIT_CONFIG_GLOBAL" | "GIT_CONFIG_SYSTEM" if value == "/dev/null" => Say::Nothing,
        "GIT_ALLOW_PROTOCOL" if value.to_ascii_lowercase().split(':').any(|part| part.trim() == "ext") => {
            Say::No
        }
        name if name.starts_with("CARGO_TARGET_")
            && (name.ends_with("_RUNNER") || name.ends_with("_LINKER")) =>
        {
            Say::No
        }
        "RUSTFLAGS" | "CARGO_BUILD_RUSTFLAGS" | "CARGO_ENCODED_RUSTFLAGS" | "RUSTDOCFLAGS" => {
            if value.contains("linker") { Say::No } else { Say::Nothing }
        }
        "ERL_FLAGS" | "ERL_AFLAGS" | "ERL_ZFLAGS" | "ELIXIR_ERL_OPTIONS" | "ELIXIR_ERL_FLAGS" => {
            if option(&["-eval", "-run", "-s", "-pa", "-pz", "-boot", "-config", "-remsh", "-loader"]) {
                Say::No
            } else {
                Say::Nothing
            }
        }
        "YARN_ENABLE_STRICT_SSL" if is_false => Say::No,
        "GOINSECURE" => Say::No,
        "GONOSUMDB" | "GONOSUMCHECK" | "GOFLAGS_INSECURE" if place.project => Say::No,
        name if SETTINGS.contains(&name) => {
            if value.split([':', ';']).any(is_world_writable) {
                Say::No
            } else {
                Say::Nothing
            }
        }
        "COMSPEC" | "PATHEXT" if !place.windows && cfg!(not(windows)) => Say::Nothing,
        name if is_feature_flags(name) => Say::Nothing,
        // A program of everyday use, found by its name alone, is what git would use anyway.
        "GIT_PAGER" | "GIT_EDITOR" | "GIT_SEQUENCE_EDITOR" if is_plain_program(value) => Say::Nothing,
        name if LOADERS.contains(&name) || GIT_PROGRAMS.contains(&name) => Say::No,
        name if LOADER_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => Say::No,
        "NODE_OPTIONS" | "BUN_OPTIONS" => {
            let bad = [
                "-r",
                "-e",
                "-p",
                "--require",
                "--import",
                "--loader",
                "--experimental-loader",
                "--inspect",
                "--eval",
                "--print",
                "--preload",
                "--openssl-config",
                "--env-file",
                "--security-revert",
                "--debug",
                "--tls-keylog",
                "--snapshot-blob",
                "--diagnostic-dir",
                "--experimental-config-file",
                "--experimental-default-config-file",
            ];
            if option(&bad) { Say::No } else { Say::Nothing }
        }
        "BUN_INSPECT" | "BUN_INSPECT_PRELOAD" => Say::No,
        "RUBYOPT" => {
            if option(&["-r", "-e", "-i", "-x", "-c", "-s"]) {
                Say::No
            } else {
                Say::Nothing
            }
        }
        name if is_java_options(name) => {
            let bad = [
                "-javaagent",
                "-agentlib",
                "-agentpath",
                "-xx:onerror",
                "-xx:onoutofmemoryerror",
                "-xx:flags",
                "-xx:vmoptionsfile",
                "-xrun",
                "-xbootclasspath",
                "-xdebug",
                "-cp",
                "-classpath",
                "--patch-module",
                "-djava.class.path",
                "-djava.system.class.loader",
                "-dcom.sun.management",
                "@",
            ];
            if option(&bad) { Say::No } else { Say::Nothing }
        }
        "GOFLAGS" => {
            if option(&["-toolexec", "-exec", "-overlay"]) {
                Say::No
            } else {
                Say::Nothing
            }
        }
        "NODE_TLS_REJECT_UNAUTHORIZED" | "PYTHONHTTPSVERIFY" | "NPM_CONFIG_STRICT_SSL" => {
            if is_false {
                Say::No
            } else {
                Say::Nothing
            }
        }
        "GIT_SSL_NO_VERIFY"
        | "UV_INSECURE_HOST"
        | "UV_NATIVE_TLS_INSECURE"
        | "PIP_TRUSTED_HOST"
        | "DENO_TLS_INSECURE" => {
            if is_true {
                Say::No
            } else {
                Say::Nothing
            }
        }
        // Folders of the user's own code are in common use; an empty or relative entry means "wherever it runs".
        "PYTHONPATH" | "PATH" => {
            if has_open_entry(value, place) {
                Say::No
            } else {
                Say::Nothing
            }
        }
        "DOCKER_HOST" if value.to_ascii_lowercase().starts_with("unix:") => Say::Nothing,
        "DOCKER_HOST" if value.to_ascii_lowercase().starts_with("ssh:") => {
            Say::Tell("remote-program", "starts containers on another computer")
        }
        "DOCKER_HOST" if is_true => Say::No,
        "PYTHONHOME" | "NODE_PATH" | "CLASSPATH" | "GEM_PATH" | "GEM_HOME" | "NPM_CONFIG_PREFIX" => {
            if is_world_writable(value) || has_open_entry(value, place) {
                Say::No
            } else {
                Say::Tell("library-path", "changes where the program takes its libraries from")
            }
        }
        name if PROGRAMS.contains(&name) => {
            // A program with options is in use (`code --wait`), an interpreter with code is not.
            let mut words = value.split_whitespace();
            let code = crate::command::runs_code(words.next().unwrap_or_default()) && words.next().is_some();
            if is_world_writable(value) || code { Say::No } else { Say::Nothing }
        }
        name if SOURCES.contains(&name)
            || name.starts_with("UV_INDEX_")
            || (name.starts_with("NPM_CONFIG_") && name.ends_with(":REGISTRY")) =>
        {
            if name.ends_with("_USERNAME") || name.ends_with("_PASSWORD") || name.ends_with("_STRATEGY") {
                Say::Nothing
            } else {
                source(value, place)?
            }
        }
        name if TRUST_ROOTS.contains(&name) => {
            if is_world_writable(value) || place.project {
                Say::No
            } else if is_system_path(value) {
                Say::Nothing
            } else {
                Say::Tell(
                    "trust-root",
                    "decides whom the program trusts, and is not in a folder of the system",
                )
            }
        }
        name if is_base(name) && is_model_host(name) => {
            if place.project {
                Say::No
            } else if is_own_api(name, value) {
                Say::Nothing
            } else {
                Say::Tell("base-url", "sends what is meant for a model, keys included, to another place")
            }
        }
        // Whoever wrote a project would read the traffic, or at least choose who does.
        "HTTP_PROXY" | "HTTPS_PROXY" | "ALL_PROXY" if place.project && is_true => {
            if crate::command::leads_here(value) {
                Say::Tell("proxy", "leads the server's traffic through another program")
            } else {
                return Err(refusal(
                    "proxy",
                    format!(
                        "the variable {name} of a project leads the server's traffic through a place of its choice"
                    ),
                    "put it into your own configuration if you want it",
                ));
            }
        }
        _ => Say::Nothing,
    };
    match say {
        Say::Nothing => Ok(None),
        Say::Tell(rule, what) => Ok(Some(Finding::new(
            rule,
            format!("the variable {name} {what}"),
            "keep it only if you put it there",
        ))),
        Say::No if place.project && is_base(&upper) => Err(refusal(
            "project-variable",
            format!("the variable {name} of a project leads keys to a place of its choice"),
            "set it in your own configuration if it is right",
        )),
        Say::No => Err(refusal(
            "loader-variable",
            format!("with this value, the variable {name} makes programs load or trust something else"),
            "remove it from env:, or set security.level: permissive for this server",
        )),
    }
}

fn source(value: &str, place: Place) -> Result<Say, Refusal> {
    let open = value.split_whitespace().flat_map(|word| word.split(',')).any(|word| {
        let address =
            word.rsplit_once('=').filter(|(_, rest)| rest.contains("://")).map_or(word, |(_, rest)| rest);
        address.to_ascii_lowercase().starts_with("http:") && !crate::command::leads_here(address)
    });
    if open {
        return Err(refusal(
            "package-source",
            "packages would come over a connection that anybody can change",
            "use an https: address",
        ));
    }
    Ok(if place.project {
        Say::Tell("package-source", "decides where packages come from")
    } else {
        Say::Nothing
    })
}

/// A program's bare name with options of letters, which runs no code of its options.
fn is_plain_program(value: &str) -> bool {
    value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'-'))
        && !crate::command::runs_code(value.split(' ').next().unwrap_or_default())
}

/// Whether an address is the owner's own, or on this computer.
fn is_own_api(name: &str, value: &str) -> bool {
    let owner = name.split('_').next().unwrap_or_default().to_ascii_lowercase();
    let Ok(url) = url::Url::parse(value) else { return value.is_empty() };
    let host = url.host_str().unwrap_or_default().trim_end_matches('.');
    let mut own = vec![format!("{owner}.com"), format!("{owner}.ai"), format!("{owner}.azure.com")];
    own.extend(match owner.as_str() {
        "gemini" | "google" | "vertex" => Some("googleapis.com".to_owned()),
        "xai" => Some("x.ai".to_owned()),
        "azure" => Some("openai.azure.com".to_owned()),
        _ => None,
    });
    (url.scheme() == "https" && own.iter().any(|own| host == own || host.ends_with(&format!(".{own}"))))
        || crate::url::is_loopback_name(host)
        || url.host().is_some_and(|host| match host {
            url::Host::Ipv4(ip) => ip.is_loopback(),
            url::Host::Ipv6(ip) => ip.is_loopback(),
            url::Host::Domain(_) => false,
        })
}

fn is_system_path(value: &str) -> bool {
    let lower = value.replace('\\', "/").to_ascii_lowercase();
    let climbs = lower.split('/').any(|part| part == "..");
    !climbs
        && (lower.is_empty()
            || [
                "/etc/",
                "/usr/",
                "/opt/",
                "/library/",
                "/system/",
                "/nix/",
                "c:/windows/",
                "c:/programdata/",
                "c:/program files",
            ]
            .iter()
            .any(|root| lower.starts_with(root)))
}

/// An entry that is empty, relative, or in a folder that others may write to.
fn has_open_entry(value: &str, place: Place) -> bool {
    let windows = place.windows || cfg!(windows);
    let entries: Vec<&str> = if windows { value.split(';').collect() } else { value.split(':').collect() };
    // An empty value sets nothing; an empty entry among others is the folder it runs in.
    if value.is_empty() {
        return false;
    }
    entries.iter().any(|entry| {
        let absolute = if windows {
            entry.as_bytes().get(1) == Some(&b':')
                || entry.starts_with("\\\\")
                || entry.starts_with('%')
                || entry.is_empty()
        } else {
            entry.starts_with('/')
        };
        let reference = entry.starts_with("${") && entry.contains('}');
        (!absolute && !reference) || is_world_writable(entry)
    })
}
