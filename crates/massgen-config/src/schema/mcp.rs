//! A server of `mcp_servers`.

use super::{ANY_NUMBER, Kind, Table, key};

pub(crate) static MCP_SERVER: Table = Table {
    name: "mcp_server",
    doc: "An MCP server. The type follows from command (stdio) or url (streamable-http).",
    keys: &[
        key("name", Kind::Text, "Its name, in the list form: letters, digits, _ and -."),
        key(
            "type",
            Kind::Choice(&["stdio", "streamable-http", "http", "sse"]),
            "How it is reached; inferred where it is missing.",
        ),
        key("command", Kind::TextList, "The program, or program and arguments."),
        key("args", Kind::TextList, "Its arguments."),
        key("env", Kind::TextMap, "Environment variables it gets beside the safe default set."),
        key("cwd", Kind::Text, "Its working folder."),
        key("url", Kind::Text, "The endpoint."),
        key("headers", Kind::TextMap, "Headers added to every request."),
        key("timeout", Kind::Duration, "Bounds one tool call."),
        key("startup_timeout", Kind::Duration, "Bounds start and handshake."),
        key("http_read_timeout", Kind::Duration, "Bounds silence on an HTTP stream."),
        key(
            "ca_file",
            Kind::Text,
            "A file of certificates (PEM) of authorities that are trusted for it, besides the system's.",
        ),
        key("allowed_tools", Kind::TextList, "Globs over its tools; all where it is missing."),
        key("exclude_tools", Kind::TextList, "Globs over its tools; wins over allowed_tools."),
        key("required", Kind::Bool, "Whether a run may not start without it."),
        key(
            "start",
            Kind::Choice(&["eager", "lazy"]),
            "lazy: its program says which tools it has and is ended until the first call; eager unless said otherwise.",
        ),
        key(
            "idle_timeout",
            Kind::Duration,
            "How long nobody may have called it before its program is ended, until the next call; never where it is missing.",
        ),
        key(
            "sandbox",
            Kind::Choice(&["off", "restrict", "strict"]),
            "What its program may touch; off unless said otherwise. The server does not start where the system cannot do it.",
        ),
        key(
            "sandbox_ports",
            Kind::TextList,
            "TCP ports that it may connect to in a strict sandbox; none where it is missing.",
        ),
        key(
            "max_processes",
            ANY_NUMBER,
            "The most processes that its program and all it started may be at a time; one that runs more is ended; 256 unless said otherwise.",
        ),
        key(
            "isolation",
            Kind::Choice(&["shared", "per_agent"]),
            "Whether agents share one session; shared unless said otherwise.",
        ),
        key(
            "effects",
            Kind::Effects,
            "When calls that may change the world are executed: planned, immediate, or a mapping of tool patterns to these.",
        ),
        key("security", Kind::Section(&SECURITY), "What the security policy is told."),
        key(
            "sampling",
            Kind::Section(&SAMPLING),
            "Whether, and how far, it may have a model of the team continue a conversation.",
        ),
        key("roots", Kind::TextList, "The folders that it is told it may work in."),
        key("description", Kind::Text, "What it is for."),
        key("max_retries", Kind::Integer(0, 100), "Further attempts of calls that are safe to repeat."),
        key(
            "retry_safe",
            Kind::TextList,
            "Globs over its tools that do no harm when they run twice: they may be called again after a failure that leaves it open whether they ran.",
        ),
        key(
            "trust",
            Kind::Choice(&["untrusted", "trusted"]),
            "trusted: what it calls read-only or idempotent may be called again as well; untrusted unless said otherwise.",
        ),
        key(
            "duplicates",
            Kind::Choice(&["allow", "suppress"]),
            "suppress: a call that may change something, and that another agent has made with the same arguments, is not made again; allow unless said otherwise.",
        ),
        key("circuit_breaker", Kind::Switch, "Whether a circuit breaker watches it."),
    ],
};

pub(crate) static SAMPLING: Table = Table {
    name: "sampling",
    doc: "Whether, and how far, a server may have a model of the team continue a conversation.",
    keys: &[
        key("enabled", Kind::Bool, "Whether it is offered at all; false unless said otherwise."),
        key(
            "approval",
            Kind::Choice(&["ask", "allow"]),
            "Who agrees to each request: a person at the terminal (ask), or this file (allow).",
        ),
        key(
            "max_calls",
            Kind::Integer(0, 1_000_000),
            "The most requests in a run; 10 unless said otherwise.",
        ),
        key(
            "max_tokens",
            Kind::Integer(0, u64::MAX),
            "The most tokens in a run, questions and answers together; 20000 unless said otherwise.",
        ),
        key(
            "agent",
            Kind::Text,
            "The agent whose model answers; else the one that the server belongs to, else the first.",
        ),
    ],
};

const LEVELS: Kind = Kind::Choice(&["strict", "moderate", "permissive"]);

pub(crate) static SECURITY: Table = Table {
    name: "security",
    doc: "What the security policy is told about a server.",
    keys: &[
        key("level", LEVELS, "How strict it is; the policy's own default unless said otherwise."),
        key("allow_localhost", Kind::Bool, "Whether URLs may point to this machine."),
        key(
            "allow_private_ips",
            Kind::Bool,
            "Whether URLs may point, and names lead, into private networks. Never to this machine by another name.",
        ),
        key("allowed_hostnames", Kind::TextList, "The hosts that URLs may name; any where it is missing."),
        key("resolve_dns", Kind::Bool, "Whether names are resolved for the check."),
        key("allowed_executables", Kind::TextList, "Programs that may be started beside the policy's own."),
        key("env", Kind::Section(&SECURITY_ENV), "Which environment variables may be set."),
    ],
};

pub(crate) static SECURITY_ENV: Table = Table {
    name: "security_env",
    doc: "Which environment variables a server may be given.",
    keys: &[
        key("level", LEVELS, "How strict it is; the server's level where it is missing."),
        key(
            "mode",
            Kind::Choice(&["denylist", "allowlist"]),
            "Everything but denied_vars, or nothing but allowed_vars.",
        ),
        key("allowed_vars", Kind::TextList, "Names that may be set."),
        key("denied_vars", Kind::TextList, "Names that may not be set."),
    ],
};

/// Keys of other programs' `mcpServers` files that mean nothing here and need no warning.
pub(crate) const FOREIGN: [&str; 10] = [
    "autoApprove",
    "alwaysAllow",
    "icon",
    "disabledTools",
    "gallery",
    "trust",
    "title",
    "$schema",
    "envFile",
    "dev",
];
