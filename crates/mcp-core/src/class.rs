//! What an outcome means: for the next attempt, for whoever counts failures, for whoever asked.

use std::time::Duration;

use crate::{Phase, ToolError, ToolOutput};

/// What kind of outcome a call had.
///
/// One pure function, [`Class::of`], decides it; it has no wildcard, so that a new error is a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The tool answered.
    Success,
    /// The tool ran and says that it failed: an answer.
    ToolFailed,
    /// The call was wrong: a name, arguments, a state of things.
    Caller,
    /// The server lacks a capability.
    Unsupported,
    /// The tool broke on the server: a protocol error of its own.
    ToolFault,
    /// The server takes our message for wrong: our fault, or the address is not an endpoint of MCP.
    Host,
    /// Our idea of the tools is out of date; nothing was done.
    Stale,
    /// The revisions of the protocol do not fit; nothing was done.
    Version,
    /// What came back is not MCP.
    Violation,
    /// What answers is no server of MCP: it would answer the same once more.
    NotMcp,
    /// The program cannot be run: it is not there, or is no program.
    Spawn,
    /// The program did not start, or ended before it spoke.
    Start,
    /// The server was not reached: nothing was sent.
    Unreached,
    /// No host has the server's name: nothing was sent, and it will be no different in a moment.
    NoHost,
    /// No secure connection could be made: nothing was sent, and it will not be better soon.
    Tls,
    /// The connection broke after sending: the call may or may not have taken effect.
    Lost,
    /// The server wants a login; nothing was done.
    Login,
    /// The credentials do not allow it; nothing was done.
    Forbidden,
    /// The server says that it did not process the call (HTTP 408, 425).
    NotProcessed,
    /// The server asks to be left alone for a while; nothing was done.
    Throttled {
        /// For how long, where it says so.
        retry_after: Option<Duration>,
    },
    /// The server broke (HTTP 500).
    ServerFault,
    /// Something between us and the server broke (HTTP 502, 503, 504): the call may or may not have taken effect.
    Gateway,
    /// A limit of time ran out after sending.
    Timeout,
    /// The caller went away.
    Cancelled,
    /// The call was not sent: the circuit is open, the queue is full, the server is away.
    Rejected,
    /// The call was not sent: the policy said no.
    Denied,
    /// A fault of ours.
    Internal,
}

impl Class {
    /// The class of an outcome.
    pub fn of(result: &Result<ToolOutput, ToolError>) -> Self {
        match result {
            Ok(output) if output.is_error => Self::ToolFailed,
            Ok(_) => Self::Success,
            Err(error) => error.class(),
        }
    }

    /// Whether it is certain that the call had no effect, so that making it again cannot make it happen twice.
    pub fn is_unsent(self) -> bool {
        match self {
            Self::Caller
            | Self::Unsupported
            | Self::Host
            | Self::Stale
            | Self::Version
            | Self::Spawn
            | Self::Start
            | Self::Unreached
            | Self::NoHost
            | Self::Tls
            | Self::Login
            | Self::Forbidden
            | Self::NotProcessed
            | Self::Throttled { .. }
            | Self::Rejected
            | Self::Denied => true,
            Self::Success
            | Self::ToolFailed
            | Self::ToolFault
            | Self::Violation
            | Self::NotMcp
            | Self::Lost
            | Self::ServerFault
            | Self::Gateway
            | Self::Timeout
            | Self::Cancelled
            | Self::Internal => false,
        }
    }

    fn of_phase(phase: Phase, at_call: Self) -> Self {
        match phase {
            Phase::Resolve | Phase::Connect | Phase::Handshake | Phase::List | Phase::Ping | Phase::Queue => {
                Self::Unreached
            }
            Phase::NoHost => Self::NoHost,
            Phase::Secure => Self::Tls,
            Phase::Write | Phase::Call => at_call,
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Login,
            403 => Self::Forbidden,
            408 | 425 => Self::NotProcessed,
            409 | 410 | 422 => Self::Caller,
            502..=504 => Self::Gateway,
            500..=599 => Self::ServerFault,
            400..=499 => Self::Host,
            _ => Self::Violation,
        }
    }

    fn of_code(code: i64) -> Self {
        match code {
            -32602 => Self::Caller,
            -32601 | -32021 => Self::Unsupported,
            -32700 | -32600 => Self::Host,
            -32020 => Self::Stale,
            -32022 => Self::Version,
            _ => Self::ToolFault,
        }
    }
}

impl ToolError {
    /// The class of this error.
    pub fn class(&self) -> Class {
        match self {
            Self::UnknownTool { .. } | Self::ToolGone { .. } | Self::InvalidArguments { .. } => Class::Caller,
            Self::Refused { .. } => Class::Denied,
            Self::Spawn { .. } => Class::Spawn,
            Self::Start { .. } => Class::Start,
            Self::Connection { phase, .. } => Class::of_phase(*phase, Class::Lost),
            Self::Server { code, .. } => Class::of_code(*code),
            Self::Http { status, .. } => Class::of_status(*status),
            Self::Throttled { retry_after, .. } => Class::Throttled { retry_after: *retry_after },
            Self::Malformed { .. } | Self::TooLarge { .. } => Class::Violation,
            Self::NotMcp { .. } => Class::NotMcp,
            Self::Timeout { phase, .. } => Class::of_phase(*phase, Class::Timeout),
            Self::AuthRequired { .. } | Self::CredentialUnavailable { .. } => Class::Login,
            Self::Forbidden { .. } => Class::Forbidden,
            Self::Unavailable { .. } => Class::Rejected,
            Self::OutcomeUnknown { .. } => Class::Lost,
            Self::Version { .. } => Class::Version,
            Self::Repeated { error, .. } => error.class(),
            Self::Cancelled => Class::Cancelled,
            Self::Internal(_) => Class::Internal,
        }
    }

    /// The stable name of this error, in one word: what audit logs, spans and metrics call it.
    ///
    /// ```
    /// assert_eq!(mcp_core::ToolError::Cancelled.name(), "cancelled");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            Self::UnknownTool { .. } => "unknown_tool",
            Self::ToolGone { .. } => "tool_gone",
            Self::InvalidArguments { .. } => "invalid_arguments",
            Self::Refused { .. } => "refused",
            Self::Spawn { .. } => "spawn",
            Self::Start { .. } => "start",
            Self::Connection { .. } => "connection",
            Self::Server { .. } => "server",
            Self::Http { .. } => "http",
            Self::Throttled { .. } => "throttled",
            Self::Malformed { .. } | Self::NotMcp { .. } => "malformed",
            Self::TooLarge { .. } => "too_large",
            Self::Timeout { .. } => "timeout",
            Self::AuthRequired { .. } => "auth_required",
            Self::CredentialUnavailable { .. } => "credential_unavailable",
            Self::Forbidden { .. } => "forbidden",
            Self::Unavailable { .. } => "unavailable",
            Self::OutcomeUnknown { .. } => "outcome_unknown",
            Self::Version { .. } => "version",
            Self::Repeated { error, .. } => error.name(),
            Self::Cancelled => "cancelled",
            Self::Internal(_) => "internal",
        }
    }
}
