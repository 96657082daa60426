//! What can go wrong between asking for a tool and having its answer.

use std::time::{Duration, Instant};

use crate::{Catalogue, MissingCredential, Refusal, ServerName};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Where a call was when it failed. It decides whether sending it again is safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// The name of the server's host was being looked up, and that failed for now: nothing was sent.
    Resolve,
    /// The name of the server's host was looked up, and no host has it: nothing was sent.
    NoHost,
    /// The server was being started or dialled: nothing was sent.
    Connect,
    /// The secure connection was being set up (TLS): nothing was sent.
    Secure,
    /// The session was being opened (`initialize` or `server/discover`): no call was sent.
    Handshake,
    /// The tools were being listed: no call was sent.
    List,
    /// The server was being asked whether it is there: no call was sent.
    Ping,
    /// The call waited to be written, behind others that the server does not read: nothing of it was sent.
    Queue,
    /// The call was being written: a part of it was sent.
    Write,
    /// The call was in flight: it may or may not have taken effect.
    Call,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resolve | Self::NoHost => "looking up its name",
            Self::Connect => "connecting",
            Self::Secure => "setting up a secure connection",
            Self::Handshake => "opening the session",
            Self::List => "listing the tools",
            Self::Ping => "answering whether it is there",
            Self::Queue | Self::Write => "taking the call in",
            Self::Call => "calling the tool",
        })
    }
}

/// Who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller: a wrong name, wrong arguments.
    Caller,
    /// The owner of the configuration: a command, an address, a limit, a credential.
    Config,
    /// The policy said no.
    Denied,
    /// The server or the way to it.
    Server,
    /// Nobody: the caller went away.
    Cancelled,
    /// Us.
    Internal,
}

/// Why a tool did not answer.
///
/// # The exceptions of MassGen v0.0.15
///
/// | v0.0.15 | here |
/// |---|---|
/// | `MCPConnectionError` | [`ToolError::Start`], [`ToolError::Connection`] |
/// | `MCPServerError` | [`ToolError::Server`], [`ToolError::Http`], [`ToolError::Throttled`], [`ToolError::Malformed`], [`ToolError::NotMcp`], [`ToolError::TooLarge`] |
/// | `MCPValidationError` | [`ToolError::InvalidArguments`], [`ToolError::UnknownTool`], [`ToolError::ToolGone`] |
/// | `MCPTimeoutError` | [`ToolError::Timeout`] |
/// | `MCPAuthenticationError` | [`ToolError::AuthRequired`], [`ToolError::Forbidden`] |
/// | `MCPConfigurationError` | [`ToolError::Refused`], [`ToolError::Spawn`] |
/// | `MCPResourceError` | [`ToolError::Server`] (a resource's error is the server's answer) |
/// | `MCPError` (the base) | [`ToolError`] itself; its categories are [`ToolError::kind`] |
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolError {
    /// No tool has this name. The nearest known name, if any, is in `nearest`.
    #[error("there is no tool {name:?}{}", nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    UnknownTool {
        /// The name that was asked for.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// The server offered this tool and does so no longer: it left it out of a later list. Others of its tools can be called.
    #[error(
        "server {server} has no tool {tool:?} any more: it left it out of its last list. Use another tool, or go on without it."
    )]
    ToolGone {
        /// The server.
        server: ServerName,
        /// The tool, by the name that its server gave it.
        tool: String,
    },
    /// The arguments do not fit the tool's schema or a limit. `problems` says where; correct them and call again.
    #[error("the arguments of {tool} are not valid: {}", problems.join("; "))]
    InvalidArguments {
        /// The tool, by its exposed name.
        tool: String,
        /// What is wrong, one sentence each, with the place inside the arguments.
        problems: Vec<String>,
    },
    /// The policy refused a command, an address or a call. The refusal carries rule and remedy.
    #[error("server {server} was refused: {refusal}")]
    Refused {
        /// The server.
        server: ServerName,
        /// Rule, reason and remedy.
        #[source]
        refusal: Refusal,
    },
    /// The server's program did not start, or ended before it spoke. `stderr` holds its last words: they are the diagnosis.
    #[error("server {server} did not start: {reason}{}", tail(stderr))]
    Start {
        /// The server.
        server: ServerName,
        /// What happened.
        reason: String,
        /// The last lines of its standard error.
        stderr: Vec<String>,
    },
    /// The server's program cannot be run: it is not there, or is no program. It is not tried again until that has changed.
    #[error("server {server} did not start: {reason}")]
    Spawn {
        /// The server.
        server: ServerName,
        /// What is wrong, with the remedy.
        reason: String,
        /// The folders in which it was looked for: those of its `PATH`. Empty for a program that is named by its path.
        searched: Vec<std::path::PathBuf>,
    },
    /// The connection broke or could not be made.
    #[error("the connection to server {server} failed while {phase}: {reason}{}", tail(stderr))]
    Connection {
        /// The server.
        server: ServerName,
        /// How far the call had come.
        phase: Phase,
        /// What happened.
        reason: String,
        /// The last lines of its standard error, for a child process.
        stderr: Vec<String>,
        /// The lower layer's error.
        #[source]
        source: Option<Source>,
    },
    /// The server answered with a protocol error.
    #[error("server {server} answered with error {code}: {message}")]
    Server {
        /// The server.
        server: ServerName,
        /// The JSON-RPC error code.
        code: i64,
        /// The server's words.
        message: String,
    },
    /// The server answered with an HTTP error status.
    #[error("server {server} answered with HTTP status {status}")]
    Http {
        /// The server.
        server: ServerName,
        /// The status code.
        status: u16,
        /// The beginning of what came with a status from 500 on, as it came, 2 KiB at most; else empty. It is for logs: no
        /// message shows it.
        body: String,
    },
    /// The server asks to be left alone for a while: HTTP status 429, or 503 with the time to wait. It did nothing.
    #[error("server {server} asks to be left alone (HTTP status {status}){}", retry_after.map(|wait| format!("; try again in {} s", wait.as_secs())).unwrap_or_default())]
    Throttled {
        /// The server.
        server: ServerName,
        /// The status code.
        status: u16,
        /// How long, where it says so.
        retry_after: Option<Duration>,
    },
    /// The server's answer could not be understood.
    #[error("server {server} sent something that is not MCP: {reason}")]
    Malformed {
        /// The server.
        server: ServerName,
        /// What is wrong with it.
        reason: String,
    },
    /// What answers at the server's address is something else than a server of MCP, such as the page of a network that
    /// wants a login: it would answer the same once more.
    #[error(
        "server {server} sent something that is not MCP: a response of the type {content_type:?}{}",
        if title.is_empty() { String::new() } else { format!(", with the title {title:?}") }
    )]
    NotMcp {
        /// The server.
        server: ServerName,
        /// The response's media type, 100 characters at most; empty where it has none.
        content_type: String,
        /// The title of the page, 100 characters at most; empty where there is none.
        title: String,
    },
    /// The server sent more than is accepted at once.
    #[error("server {server} sent more than the {limit} bytes that are accepted at once: {what}")]
    TooLarge {
        /// The server.
        server: ServerName,
        /// What is accepted, bytes.
        limit: usize,
        /// What it was, with its size as far as that is known.
        what: String,
    },
    /// A limit of time ran out.
    #[error("server {server} took longer than {} s {phase}{}", limit.as_secs_f32(), doubt(*phase))]
    Timeout {
        /// The server.
        server: ServerName,
        /// How far the call had come.
        phase: Phase,
        /// The limit that ran out.
        limit: Duration,
    },
    /// The server wants a login. `massgen mcp auth SERVER` makes one.
    #[error("server {server} requires authentication")]
    AuthRequired {
        /// The server.
        server: ServerName,
    },
    /// A credential that the server's configuration names cannot be had: its store is locked, absent or does not answer.
    #[error("server {server} cannot be used: {missing}")]
    CredentialUnavailable {
        /// The server.
        server: ServerName,
        /// Name, store and reason.
        missing: MissingCredential,
    },
    /// The credentials do not allow this.
    #[error("server {server} forbids this{}", scope.as_ref().map(|s| format!("; it needs the scope {s:?}")).unwrap_or_default())]
    Forbidden {
        /// The server.
        server: ServerName,
        /// The scope the server asks for.
        scope: Option<String>,
    },
    /// The server is not to be used now: its circuit is open, it is full, or it is gone.
    #[error("server {server} is not available: {reason}")]
    Unavailable {
        /// The server.
        server: ServerName,
        /// Why.
        reason: String,
        /// When to try again.
        retry_at: Option<Instant>,
    },
    /// The call was sent and its answer lost: it may or may not have taken effect.
    #[error(
        "the outcome of {tool} on server {server} is unknown. The call may or may not have taken effect ({reason}). \
         Check the state with a read-only tool before repeating it."
    )]
    OutcomeUnknown {
        /// The server.
        server: ServerName,
        /// The tool, by its exposed name.
        tool: String,
        /// What happened.
        reason: String,
    },
    /// The server speaks no revision of MCP that this client speaks. It is not tried again.
    #[error("server {server} speaks revision {theirs} of MCP; this client speaks {ours}")]
    Version {
        /// The server.
        server: ServerName,
        /// The revisions that this client speaks.
        ours: String,
        /// The revision that the server named.
        theirs: String,
    },
    /// A call that failed as often with the very same arguments: once more would be in vain.
    #[error(
        "{error}\nThis very call has failed {times} times in this run. Do not repeat it: change the arguments, use another \
         tool, or go on without it."
    )]
    Repeated {
        /// How it failed this time.
        #[source]
        error: Box<ToolError>,
        /// How often it has failed by now.
        times: u32,
    },
    /// The caller went away.
    #[error("the call was cancelled")]
    Cancelled,
    /// A fault of ours. Please report it.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What a caller must know of a call whose time ran out after it was sent.
fn doubt(phase: Phase) -> &'static str {
    match phase {
        Phase::Write | Phase::Call => {
            ". The call may or may not have taken effect: check the state with a read-only tool before repeating it"
        }
        _ => "",
    }
}

fn tail(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\n  its last words:\n    {}", lines.join("\n    "))
}

impl ToolError {
    /// An [`ToolError::UnknownTool`] that names the nearest tool of the catalogue.
    pub fn unknown_tool(name: impl Into<String>, catalogue: &Catalogue) -> Self {
        let name = name.into();
        // The distance is at least the difference in length, which takes no time to tell of a name as long as a book.
        let length = name.chars().count();
        let nearest = catalogue
            .iter()
            .map(|entry| entry.exposed.as_str())
            .filter(|exposed| length.abs_diff(exposed.len()) <= exposed.len() / 3)
            .map(|exposed| (distance(&name, exposed), exposed))
            .min()
            .filter(|(distance, exposed)| *distance <= exposed.len() / 3)
            .map(|(_, exposed)| exposed.to_owned());
        Self::UnknownTool { name, nearest }
    }

    /// Who has to act.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownTool { .. } | Self::ToolGone { .. } | Self::InvalidArguments { .. } => {
                ErrorKind::Caller
            }
            Self::Start { .. }
            | Self::Spawn { .. }
            | Self::AuthRequired { .. }
            | Self::CredentialUnavailable { .. }
            | Self::Version { .. } => ErrorKind::Config,
            Self::Repeated { error, .. } => error.kind(),
            Self::Refused { .. } | Self::Forbidden { .. } => ErrorKind::Denied,
            Self::Connection { .. }
            | Self::Server { .. }
            | Self::Http { .. }
            | Self::Throttled { .. }
            | Self::Malformed { .. }
            | Self::NotMcp { .. }
            | Self::TooLarge { .. }
            | Self::Timeout { .. }
            | Self::Unavailable { .. }
            | Self::OutcomeUnknown { .. } => ErrorKind::Server,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Internal(_) => ErrorKind::Internal,
        }
    }

    /// What the user can do about it, where there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.hint.clone()),
            Self::Spawn { searched, .. } if !searched.is_empty() => {
                let folders: Vec<_> = searched.iter().map(|folder| folder.display().to_string()).collect();
                Some(format!("its PATH was searched: {}", folders.join(", ")))
            }
            Self::Timeout {
                phase: Phase::Resolve | Phase::NoHost | Phase::Connect | Phase::Secure | Phase::Handshake,
                ..
            } => Some(
                "raise startup_timeout for this server; a first start through npx or uvx downloads".into(),
            ),
            Self::Timeout { .. } => Some("raise timeout for this server".into()),
            Self::AuthRequired { server } => Some(format!("run: massgen mcp auth {server}")),
            Self::CredentialUnavailable { missing, .. } => Some(format!(
                "unlock {}, or keep it anew: massgen secrets set {}",
                missing.store, missing.name
            )),
            Self::Version { .. } => Some("update the server, or massgen".into()),
            Self::Repeated { error, .. } => error.hint(),
            Self::OutcomeUnknown { .. } => {
                Some("check the state with a read-only tool before repeating the call".into())
            }
            Self::Start { reason, stderr, .. } => start_remedy(reason, stderr).map(str::to_owned),
            Self::Connection { phase, stderr, .. } if stderr.is_empty() => match phase {
                Phase::Resolve | Phase::NoHost => {
                    Some("look at the name in its url, and whether this computer is online".into())
                }
                Phase::Connect => Some("is it running, and is its url right?".into()),
                _ => None,
            },
            Self::Http { status: 404 | 405 | 406 | 415, .. } => Some(ADDRESS.into()),
            Self::Http { status: 500..=599, .. } => {
                Some("the trouble is the server's own: try later, or ask whoever runs it".into())
            }
            Self::NotMcp { .. } => Some(ADDRESS.into()),
            Self::Forbidden { server, .. } => Some(format!(
                "its credentials are not enough: give it others under headers:, or run: massgen mcp auth {server}"
            )),
            _ => None,
        }
    }
}

/// For an address at which something else than a server of MCP answers.
const ADDRESS: &str =
    "is it the address of an MCP server? Many answer at /mcp, and older ones at /sse with type: sse";

/// What helps where a program ended before it spoke: the mistakes that are made most, by its last words.
fn start_remedy(reason: &str, stderr: &[String]) -> Option<&'static str> {
    const REMEDIES: [(&[&str], &str); 6] = [
        (
            &[
                "npm error code E404",
                "was not found in the package registry",
                "No matching distribution found",
            ],
            "there is no such package: look up its name, and the registry it is in",
        ),
        (
            &["npm error code ETARGET", "No matching version found", "there is no version of"],
            "the package has no such version: look up which ones there are",
        ),
        (
            &["could not determine executable to run", "does not provide any executables"],
            "the package holds no program: is it the server's?",
        ),
        (
            &["can't open file", "Cannot find module"],
            "a path in args is wrong; paths lead from the folder massgen runs in, or from the server's cwd",
        ),
        (
            &["No module named", "ModuleNotFoundError", "ImportError"],
            "a Python module is missing, or is of another version than the server was written for: name it by --with, \
             such as --with 'mcp<2'",
        ),
        (
            &["Missing required environment variable", "environment variable is required"],
            "give it the variable under env:",
        ),
    ];
    let says = |marks: &[&str]| stderr.iter().any(|line| marks.iter().any(|mark| line.contains(mark)));
    REMEDIES.iter().find(|(marks, _)| says(marks)).map(|(_, remedy)| *remedy).or_else(|| {
        let ended = reason.starts_with("it exited with code 0");
        ended.then_some("an MCP server stays and waits for input; is this the command that starts it?")
    })
}

/// Levenshtein distance in characters; names are short, so the quadratic way will do.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ToolFilter, ToolName, ToolSpec};

    #[test]
    fn an_unknown_tool_is_met_with_the_nearest_name() {
        let server = ServerName::new("time").unwrap();
        let tool = ToolSpec::new(server.clone(), ToolName::new("current_time").unwrap());
        let catalogue = Catalogue::build([(server, vec![tool], ToolFilter::default())]).catalogue;
        let error = ToolError::unknown_tool("mcp__time__curent_time", &catalogue).to_string();
        assert_eq!(
            error,
            r#"there is no tool "mcp__time__curent_time"; did you mean "mcp__time__current_time"?"#
        );
        assert_eq!(ToolError::unknown_tool("rm", &catalogue).to_string(), r#"there is no tool "rm""#);
        let book = "mcp__time__".repeat(1_000_000);
        assert!(matches!(
            ToolError::unknown_tool(book, &catalogue),
            ToolError::UnknownTool { nearest: None, .. }
        ));
    }

    #[test]
    fn a_server_that_dies_speaks_through_its_error() {
        let error = ToolError::Start {
            server: ServerName::new("papers").unwrap(),
            reason: "it exited with code 1".into(),
            stderr: vec!["ModuleNotFoundError: fastmcp".into()],
        };
        assert!(error.to_string().contains("ModuleNotFoundError"));
        assert_eq!(error.kind(), ErrorKind::Config);
    }

    #[test]
    fn what_most_people_trip_over_has_a_remedy() {
        let server = || ServerName::new("s").unwrap();
        let start = |reason: &str, words: &str| ToolError::Start {
            server: server(),
            reason: reason.into(),
            stderr: vec!["first".into(), words.into()],
        };
        let connection = |phase| ToolError::Connection {
            server: server(),
            phase,
            reason: "it broke".into(),
            stderr: Vec::new(),
            source: None,
        };
        for (error, words) in [
            (start("it exited with code 1", "npm error code E404"), "no such package"),
            (start("it exited with code 1", "npm error code ETARGET"), "no such version"),
            (start("it exited with code 1", "npm error could not determine executable to run"), "no program"),
            (start("it exited with code 2", "python3: can't open file 'x.py'"), "a path in args"),
            (start("it exited with code 1", "/usr/bin/python3: No module named x"), "--with"),
            (start("it exited with code 0 before it answered", ""), "waits for input"),
            (connection(Phase::Connect), "is it running"),
            (connection(Phase::NoHost), "the name in its url"),
            (
                ToolError::NotMcp {
                    server: server(),
                    content_type: "text/html".into(),
                    title: String::new(),
                },
                "/mcp",
            ),
            (ToolError::Forbidden { server: server(), scope: None }, "massgen mcp auth s"),
        ] {
            let hint = error.hint().unwrap_or_default();
            assert!(hint.contains(words), "{error}: {hint}");
        }
        assert_eq!(start("it exited with code 1", "boom").hint(), None);
        assert_eq!(connection(Phase::Call).hint(), None);
    }
}
