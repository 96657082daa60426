//! What a class of outcome does to the circuits, and whether the call may be made again: the table of the whole crate.

use std::time::Duration;

use mcp_core::Class;
use mcp_resilience::breaker::{Failure, Outcome};

/// How long a server whose certificate is no good is left alone at least.
pub(crate) const TLS: Duration = Duration::from_secs(300);
/// What a server that asks to be left alone, without saying how long, is given.
const THROTTLED: Duration = Duration::from_secs(1);
/// The shortest and the longest time a server can ask for.
const ASKED: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// Whether a call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resend {
    /// It would end the same way, or nobody wants it.
    Never,
    /// Only one that does no harm when it happens twice.
    IfSafe,
    /// Any: it certainly did not happen.
    Always,
}

/// What an outcome means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meaning {
    /// For the server's circuit. `None`: a ping decides whether it was the server or the tool.
    pub(crate) server: Option<Outcome>,
    /// For the tool's circuit, where the server is well.
    pub(crate) tool: Outcome,
    pub(crate) resend: Resend,
    /// How long the server asks to be left alone.
    pub(crate) asked: Option<Duration>,
}

/// What this class of outcome means. Pure, and without a wildcard.
pub(crate) fn meaning(class: Class) -> Meaning {
    use Outcome::{Neutral, Success};
    const FAILED: Outcome = Outcome::Failure(Failure::Call);
    let means = |server: Outcome, tool, resend| Meaning { server: Some(server), tool, resend, asked: None };
    match class {
        Class::Success => means(Success, Success, Resend::Never),
        Class::ToolFailed
        | Class::Caller
        | Class::Unsupported
        | Class::Host
        | Class::Login
        | Class::Forbidden
        | Class::Cancelled
        | Class::Rejected
        | Class::Denied
        // Its circuit is opened for good by whoever starts it.
        | Class::Spawn
        | Class::Internal => means(Neutral, Neutral, Resend::Never),
        Class::Stale | Class::Version => means(Neutral, Neutral, Resend::Always),
        Class::ToolFault => means(Neutral, FAILED, Resend::IfSafe),
        Class::Violation | Class::ServerFault | Class::Gateway => means(FAILED, Neutral, Resend::IfSafe),
        Class::NotMcp => means(FAILED, Neutral, Resend::Never),
        Class::Lost => means(Outcome::Failure(Failure::Lost), Neutral, Resend::IfSafe),
        Class::Start | Class::NoHost => means(Outcome::Failure(Failure::Connect), Neutral, Resend::Never),
        Class::Unreached => means(Outcome::Failure(Failure::Connect), Neutral, Resend::Always),
        Class::NotProcessed => means(FAILED, Neutral, Resend::Always),
        Class::Tls => means(Outcome::Failure(Failure::Lasting(TLS)), Neutral, Resend::Never),
        Class::Throttled { retry_after } => {
            let wait = retry_after.unwrap_or(THROTTLED).clamp(ASKED.0, ASKED.1);
            let server = Some(Outcome::Throttled(wait));
            Meaning { server, tool: Neutral, resend: Resend::Always, asked: Some(wait) }
        }
        Class::Timeout => Meaning { server: None, tool: FAILED, resend: Resend::IfSafe, asked: None },
    }
}

/// Whether it would be wrong to say that this call, which was sent and must not be sent twice, did or did not happen.
pub(crate) fn is_ambiguous(class: Class) -> bool {
    matches!(class, Class::Lost | Class::Gateway)
}

#[cfg(test)]
mod tests {
    use mcp_core::{MissingCredential, Phase, Refusal, ServerName, ToolError, ToolOutput};

    use super::*;

    fn server() -> ServerName {
        ServerName::new("srv").unwrap()
    }

    fn code(code: i64) -> Result<ToolOutput, ToolError> {
        Err(ToolError::Server { server: server(), code, message: String::new() })
    }

    fn http(status: u16, retry_after: Option<u64>) -> Result<ToolOutput, ToolError> {
        // As the transport makes them.
        Err(match (status, retry_after.map(Duration::from_secs)) {
            (429, retry_after) | (503, retry_after @ Some(_)) => {
                ToolError::Throttled { server: server(), status, retry_after }
            }
            _ => ToolError::Http { server: server(), status, body: String::new() },
        })
    }

    fn broken(phase: Phase) -> Result<ToolOutput, ToolError> {
        let reason = "reset".to_owned();
        Err(ToolError::Connection { server: server(), phase, reason, stderr: Vec::new(), source: None })
    }

    fn late(phase: Phase) -> Result<ToolOutput, ToolError> {
        Err(ToolError::Timeout { server: server(), phase, limit: Duration::ZERO })
    }

    /// The table: each outcome with the server's circuit, the tool's circuit, and whether it may be made again.
    #[test]
    fn each_outcome_means_what_the_table_says() {
        let refusal = Refusal { rule: "rule", reason: "no".into(), hint: "do not".into() };
        let rows: Vec<(&str, Result<ToolOutput, ToolError>, &str)> = vec![
            ("a result", Ok(ToolOutput::text("42")), "success success never"),
            ("is_error", Ok(ToolOutput::error("no")), "neutral neutral never"),
            ("invalid params", code(-32602), "neutral neutral never"),
            (
                "unknown tool",
                Err(ToolError::UnknownTool { name: "t".into(), nearest: None }),
                "neutral neutral never",
            ),
            (
                "invalid arguments",
                Err(ToolError::InvalidArguments { tool: "t".into(), problems: Vec::new() }),
                "neutral neutral never",
            ),
            ("method not found", code(-32601), "neutral neutral never"),
            ("internal error of the server", code(-32603), "neutral failure if-safe"),
            ("an error code of its own", code(-32001), "neutral failure if-safe"),
            ("it cannot parse us", code(-32700), "neutral neutral never"),
            ("it takes us for invalid", code(-32600), "neutral neutral never"),
            ("header mismatch", code(-32020), "neutral neutral always"),
            ("missing capability", code(-32021), "neutral neutral never"),
            ("unsupported version", code(-32022), "neutral neutral always"),
            (
                "malformed",
                Err(ToolError::Malformed { server: server(), reason: String::new() }),
                "failure neutral if-safe",
            ),
            (
                "a page of something else",
                Err(ToolError::NotMcp {
                    server: server(),
                    content_type: "text/html".into(),
                    title: String::new(),
                }),
                "failure neutral never",
            ),
            (
                "too large",
                Err(ToolError::TooLarge { server: server(), limit: 1, what: String::new() }),
                "failure neutral if-safe",
            ),
            (
                "spawn error",
                Err(ToolError::Spawn { server: server(), reason: String::new(), searched: Vec::new() }),
                "neutral neutral never",
            ),
            (
                "start failure",
                Err(ToolError::Start { server: server(), reason: String::new(), stderr: Vec::new() }),
                "connect neutral never",
            ),
            ("end of the stream while calling", broken(Phase::Call), "lost neutral if-safe"),
            ("connect refused", broken(Phase::Connect), "connect neutral always"),
            ("a name that cannot be looked up now", broken(Phase::Resolve), "connect neutral always"),
            ("no such host", broken(Phase::NoHost), "connect neutral never"),
            (
                "a revision of its own",
                Err(ToolError::Version { server: server(), ours: String::new(), theirs: String::new() }),
                "neutral neutral always",
            ),
            (
                "the same failure again",
                Err(ToolError::Repeated { error: Box::new(late(Phase::Call).unwrap_err()), times: 3 }),
                "ping failure if-safe",
            ),
            ("TLS", broken(Phase::Secure), "lasting-300 neutral never"),
            ("HTTP 400", http(400, None), "neutral neutral never"),
            ("HTTP 404", http(404, None), "neutral neutral never"),
            ("HTTP 405", http(405, None), "neutral neutral never"),
            ("HTTP 415", http(415, None), "neutral neutral never"),
            ("HTTP 401", http(401, None), "neutral neutral never"),
            ("login", Err(ToolError::AuthRequired { server: server() }), "neutral neutral never"),
            (
                "HTTP 403",
                Err(ToolError::Forbidden { server: server(), scope: None }),
                "neutral neutral never",
            ),
            ("HTTP 408", http(408, None), "failure neutral always"),
            ("HTTP 425", http(425, None), "failure neutral always"),
            ("HTTP 409", http(409, None), "neutral neutral never"),
            ("HTTP 410", http(410, None), "neutral neutral never"),
            ("HTTP 422", http(422, None), "neutral neutral never"),
            ("HTTP 429", http(429, None), "throttled-1 neutral always"),
            ("HTTP 429 with a wish", http(429, Some(5)), "throttled-5 neutral always"),
            (
                "HTTP 429 with an impossible wish",
                http(429, Some(99_999_999_999)),
                "throttled-60 neutral always",
            ),
            ("HTTP 429 without patience", http(429, Some(0)), "throttled-0.25 neutral always"),
            ("HTTP 503 with a wish", http(503, Some(5)), "throttled-5 neutral always"),
            ("HTTP 500", http(500, None), "failure neutral if-safe"),
            ("HTTP 502", http(502, None), "failure neutral if-safe"),
            ("HTTP 503", http(503, None), "failure neutral if-safe"),
            ("HTTP 504", http(504, None), "failure neutral if-safe"),
            ("timeout", late(Phase::Call), "ping failure if-safe"),
            ("timeout while a part was written", late(Phase::Write), "ping failure if-safe"),
            ("timeout before anything was written", late(Phase::Queue), "connect neutral always"),
            ("timeout before sending", late(Phase::Connect), "connect neutral always"),
            ("cancelled", Err(ToolError::Cancelled), "neutral neutral never"),
            (
                "rejected",
                Err(ToolError::Unavailable { server: server(), reason: String::new(), retry_at: None }),
                "neutral neutral never",
            ),
            ("denied", Err(ToolError::Refused { server: server(), refusal }), "neutral neutral never"),
            ("internal", Err(ToolError::Internal(String::new())), "neutral neutral never"),
            (
                "a credential that cannot be had",
                Err(ToolError::CredentialUnavailable {
                    server: server(),
                    missing: MissingCredential {
                        name: String::new(),
                        store: String::new(),
                        reason: String::new(),
                    },
                }),
                "neutral neutral never",
            ),
        ];
        for (what, result, expected) in rows {
            let class = Class::of(&result);
            let Meaning { server, tool, resend, .. } = meaning(class);
            let word = |outcome: Outcome| match outcome {
                Outcome::Success => "success".to_owned(),
                Outcome::Neutral => "neutral".to_owned(),
                Outcome::Failure(Failure::Connect) => "connect".to_owned(),
                Outcome::Failure(Failure::Lost) => "lost".to_owned(),
                Outcome::Failure(Failure::Call) => "failure".to_owned(),
                Outcome::Failure(Failure::Lasting(time)) => format!("lasting-{}", time.as_secs()),
                Outcome::Throttled(wait) => format!("throttled-{}", wait.as_secs_f64()),
                other => format!("{other:?}"),
            };
            let resend = match resend {
                Resend::Never => "never",
                Resend::IfSafe => "if-safe",
                Resend::Always => "always",
            };
            let server = server.map_or("ping".to_owned(), word);
            assert_eq!(format!("{server} {} {resend}", word(tool)), expected, "{what}");
        }
    }

    #[test]
    fn what_may_be_sent_again_by_anybody_was_not_sent() {
        let statuses = (400..=599).flat_map(|status| [http(status, None), http(status, Some(1))]);
        let codes = (-32768..=-32000).map(code);
        for result in statuses.chain(codes) {
            let class = Class::of(&result);
            if meaning(class).resend == Resend::Always {
                assert!(class.is_unsent(), "{class:?}");
            }
            assert!(!(is_ambiguous(class) && class.is_unsent()), "{class:?}");
        }
    }
}
