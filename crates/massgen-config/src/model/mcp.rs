//! One MCP server (`mcp_servers`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use mcp_core::{MissingCredential, ServerName};
use serde::Serialize;

use crate::Secret;

/// A server, how it is reached, and what may be done with it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McpServerConfig {
    /// Its name: the mapping's key, or `name` in the list form.
    pub name: ServerName,
    /// How it is reached.
    pub transport: McpTransport,
    /// What it is for.
    pub description: Option<String>,
    /// Bounds one tool call (`timeout`).
    pub timeout: Option<Duration>,
    /// Bounds start and handshake (`startup_timeout`); the first start of an `npx` or `uvx` server downloads it.
    pub startup_timeout: Option<Duration>,
    /// Bounds silence on an HTTP stream (`http_read_timeout`).
    pub http_read_timeout: Option<Duration>,
    /// A file of certificates (PEM) of authorities that are trusted for it, besides the system's; a full path.
    pub ca_file: Option<PathBuf>,
    /// Globs over this server's tools; `None`: the backend's list, else all.
    pub allowed_tools: Option<Vec<String>>,
    /// Globs over this server's tools; wins over `allowed_tools` and adds to the backend's.
    pub exclude_tools: Vec<String>,
    /// Whether a run may start without it; false unless said otherwise.
    pub required: bool,
    /// When its program is started (`start`).
    pub start: Start,
    /// How long nobody may have called it before its program is ended, to be started again by the next call
    /// (`idle_timeout`); `None`: it runs for as long as the team does.
    pub idle_timeout: Option<Duration>,
    /// What its program may touch (`sandbox`); `None`: whatever its user may.
    pub sandbox: Option<Sandbox>,
    /// TCP ports that it may connect to in a strict sandbox (`sandbox_ports`).
    pub sandbox_ports: Vec<u16>,
    /// The most processes that its program and all it started may be at a time (`max_processes`); `None`: 256.
    pub max_processes: Option<u32>,
    /// Whether agents share one session.
    pub isolation: Isolation,
    /// When calls that may change the world are executed.
    pub effects: Effects,
    /// What the security policy is told.
    pub security: SecurityConfig,
    /// `max_retries`: further attempts of calls that are safe to repeat.
    pub max_retries: Option<u32>,
    /// Globs over this server's tools that do no harm when they run twice (`retry_safe`).
    pub retry_safe: Vec<String>,
    /// Whether its hints about its tools are believed (`trust`).
    pub trusted: bool,
    /// What becomes of a call that another agent has made already (`duplicates`).
    pub duplicates: Duplicates,
    /// `circuit_breaker.enabled`.
    pub circuit_breaker: Option<bool>,
    /// A credential that its values wait for and that cannot be had now: it cannot be reached, and the others can.
    #[serde(skip)]
    pub missing_credential: Option<MissingCredential>,
    /// What its requests for a model's words may cost (`sampling`).
    pub sampling: SamplingConfig,
    /// The folders that it is told it may work in (`roots`).
    pub roots: Vec<PathBuf>,
    /// Where it is written; `None`: in no file.
    #[serde(skip)]
    pub origin: Option<Origin>,
}

/// Where a server is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// Its key in the file, such as `mcp_servers.papers`.
    pub key: String,
    /// The line of that key, from 1; 0 where it is not known.
    pub line: u32,
    /// The lines of its own keys, such as `command`, `args[1]` and `env.TOKEN`.
    pub lines: BTreeMap<String, u32>,
}

impl Origin {
    /// The line of one of its keys, else that of the next one around it.
    pub fn line_of(&self, key: &str) -> u32 {
        let around = key.split(['.', '[']).next().unwrap_or_default();
        self.lines.get(key).or_else(|| self.lines.get(around)).copied().unwrap_or(self.line)
    }
}

impl McpServerConfig {
    /// A server with defaults.
    pub fn new(name: ServerName, transport: McpTransport) -> Self {
        Self {
            name,
            transport,
            description: None,
            timeout: None,
            startup_timeout: None,
            http_read_timeout: None,
            ca_file: None,
            allowed_tools: None,
            exclude_tools: Vec::new(),
            required: false,
            start: Start::default(),
            idle_timeout: None,
            sandbox: None,
            sandbox_ports: Vec::new(),
            max_processes: None,
            isolation: Isolation::default(),
            effects: Effects::default(),
            security: SecurityConfig::default(),
            max_retries: None,
            retry_safe: Vec::new(),
            trusted: false,
            duplicates: Duplicates::default(),
            circuit_breaker: None,
            missing_credential: None,
            sampling: SamplingConfig::default(),
            roots: Vec::new(),
            origin: None,
        }
    }
}

/// `sampling` of a server: whether, and how far, it may have a model of the team continue a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SamplingConfig {
    /// Whether it is offered at all; false unless said otherwise.
    pub enabled: bool,
    /// Who agrees to each request.
    pub approval: SamplingApproval,
    /// The most requests in a run; 10 unless said otherwise.
    pub max_calls: u32,
    /// The most tokens in a run, questions and answers together; 20,000 unless said otherwise.
    pub max_tokens: u64,
    /// The agent whose model answers; `None`: the one that the server belongs to, else the first of the team.
    pub agent: Option<String>,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            approval: SamplingApproval::default(),
            max_calls: 10,
            max_tokens: 20_000,
            agent: None,
        }
    }
}

/// Who agrees to a request for a model's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingApproval {
    /// A person at the terminal; where nobody is there, nobody agrees.
    #[default]
    Ask,
    /// The configuration, for every request within the budget.
    Allow,
}

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum McpTransport {
    /// A child process.
    Stdio {
        /// The program. A command given as a list, or as one line with arguments, is split into program and `args`.
        command: String,
        /// Its arguments.
        args: Vec<String>,
        /// Added to the clean environment it gets. Values may be secret.
        env: BTreeMap<String, Secret>,
        /// Its working folder.
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP (`streamable-http` or `http`).
    StreamableHttp {
        /// The endpoint; `http` or `https`.
        url: String,
        /// Added to every request. Values may be secret.
        headers: BTreeMap<String, Secret>,
    },
    /// HTTP with server-sent events, which streamable HTTP replaced (`sse`).
    Sse {
        /// The endpoint; `http` or `https`.
        url: String,
        /// Added to every request. Values may be secret.
        headers: BTreeMap<String, Secret>,
    },
}

/// How closely a server's program is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sandbox {
    /// It writes to its own places only, and does not see where people keep their keys.
    Restrict,
    /// The same, with the network and the kernel's tools closed but for `sandbox_ports`.
    Strict,
}

/// When a server's program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At once; it stays.
    #[default]
    Eager,
    /// At once, to say which tools it has; then it is ended, and started again by the first call.
    Lazy,
}

/// What becomes of a call that may change something and that another agent has made with the same arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// It is made.
    #[default]
    Allow,
    /// It is not made again.
    Suppress,
}

/// Whether agents share one session with a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// One session for the team.
    #[default]
    Shared,
    /// One session for each agent.
    PerAgent,
}

/// When calls that may change the world are executed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Effects {
    /// For every tool that no pattern matches; `None`: the team's default (planned for a team of two or more).
    pub default: Option<ToolEffects>,
    /// Globs over tool names, in the order of the file; the first that matches decides.
    pub tools: Vec<(String, ToolEffects)>,
}

/// When a call that may change the world is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolEffects {
    /// It is recorded, and executed if the agent's answer wins.
    Planned,
    /// At once.
    Immediate,
}

/// `security` of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecurityConfig {
    /// `level`; `None`: the policy's default.
    pub level: Option<SecurityLevel>,
    /// `allow_localhost`.
    pub allow_localhost: bool,
    /// `allow_private_ips`.
    pub allow_private_ips: bool,
    /// `allowed_hostnames`; `None`: any host.
    pub allowed_hostnames: Option<Vec<String>>,
    /// `resolve_dns`; `None`: the policy's default.
    pub resolve_dns: Option<bool>,
    /// `allowed_executables`: programs that may be started beside the policy's own.
    pub allowed_executables: Vec<String>,
    /// `env`: which variables may be set.
    pub env: SecurityEnvConfig,
}

/// How strict the policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityLevel {
    /// For servers of others.
    Strict,
    /// In between.
    Moderate,
    /// For servers you wrote yourself.
    Permissive,
}

/// `security.env`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecurityEnvConfig {
    /// `level`; `None`: the server's.
    pub level: Option<SecurityLevel>,
    /// `mode`; `None`: the policy's default.
    pub mode: Option<SecurityEnvMode>,
    /// `allowed_vars`.
    pub allowed_vars: Vec<String>,
    /// `denied_vars`.
    pub denied_vars: Vec<String>,
}

/// `security.env.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecurityEnvMode {
    /// Everything but `denied_vars`.
    Denylist,
    /// Nothing but `allowed_vars`.
    Allowlist,
}
