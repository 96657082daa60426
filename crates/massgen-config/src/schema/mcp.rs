//! A server of `mcp_servers`.

use super::{Kind, Table, key};

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
        key("allowed_tools", Kind::TextList, "Globs over its tools; all where it is missing."),
        key("exclude_tools", Kind::TextList, "Globs over its tools; wins over allowed_tools."),
        key("required", Kind::Bool, "Whether a run may not start without it."),
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
        key("description", Kind::Text, "What it is for."),
        key("max_retries", Kind::Integer(0, 100), "Further attempts of calls that are safe to repeat."),
        key("circuit_breaker", Kind::Switch, "Whether a circuit breaker watches it."),
    ],
};

const LEVELS: Kind = Kind::Choice(&["strict", "moderate", "permissive"]);

pub(crate) static SECURITY: Table = Table {
    name: "security",
    doc: "What the security policy is told about a server.",
    keys: &[
        key("level", LEVELS, "How strict it is; the policy's own default unless said otherwise."),
        key("allow_localhost", Kind::Bool, "Whether URLs may point to this machine."),
        key("allow_private_ips", Kind::Bool, "Whether URLs may point into private networks."),
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
pub(crate) const FOREIGN: [&str; 8] =
    ["autoApprove", "alwaysAllow", "icon", "disabledTools", "gallery", "trust", "title", "$schema"];
