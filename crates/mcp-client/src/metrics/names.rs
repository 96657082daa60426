//! The names of what is measured, with their labels. A label in brackets is there where it applies.

/// Histogram in seconds, one value per request that went to a server, calls of tools and all others; labels `mcp.method.name`, `server`,
/// \[`gen_ai.tool.name`\], and \[`error.type`\] where it failed.
pub const OPERATION_DURATION: &str = "mcp.client.operation.duration";
/// Histogram in seconds, one value per session, from its opening to its end; labels `server`, `network.transport` (`pipe`,
/// `tcp`, `inproc`), `mcp.protocol.version`, and \[`error.type`\] where it was not ended by us.
pub const SESSION_DURATION: &str = "mcp.client.session.duration";
/// Gauge, 1 for the state that a circuit is in and 0 for the others; labels `server`, \[`tool`\] for a tool's circuit,
/// `state`.
pub const BREAKER_STATE: &str = "massgen.mcp.breaker.state";
/// Counter of changes of a circuit's state; labels `server`, \[`tool`\] for a tool's circuit, `from`, `to`, `reason`
/// (`connects`, `failures`, `failure_rate`, `lasting`, `probing`, `probe_answered`, `probe_failed`, `probe_given_back`,
/// `forced`, `disabled`, `reset`).
pub const BREAKER_TRANSITIONS: &str = "massgen.mcp.breaker.transitions";
/// Counter; labels `server`, \[`tool`\] for a tool's circuit, `outcome` (`success`, `slow`, `failure`, `neutral`, `rejected`).
pub const BREAKER_CALLS: &str = "massgen.mcp.breaker.calls";
/// Gauge, the share of failures within the circuit's window, 0 to 1, as of the last call; labels `server`, \[`tool`\].
pub const BREAKER_FAILURE_RATE: &str = "massgen.mcp.breaker.failure_rate";
/// Gauge, the share of slow calls within the circuit's window, 0 to 1, as of the last call; labels `server`, \[`tool`\].
pub const BREAKER_SLOW_RATE: &str = "massgen.mcp.breaker.slow_rate";
/// Histogram in seconds; labels `server`, `result` (`success`, `failure`, `neutral`).
pub const PROBE_DURATION: &str = "massgen.mcp.probe.duration";
/// Counter; labels `server`, `class` (the error: `timeout`, `connection`, `http` and so on), `decision` (`retried`,
/// `attempts`, `budget`, `deadline`, `unsafe`).
pub const RETRY_ATTEMPTS: &str = "massgen.mcp.retry.attempts";
/// Gauge; label `server`.
pub const RETRY_BUDGET: &str = "massgen.mcp.retry.budget.tokens";
/// Gauge; label `server`.
pub const BULKHEAD_IN_FLIGHT: &str = "massgen.mcp.bulkhead.in_flight";
/// Gauge; label `server`.
pub const BULKHEAD_QUEUE: &str = "massgen.mcp.bulkhead.queue";
/// Histogram in seconds, of calls that had to wait; label `server`.
pub const BULKHEAD_WAIT: &str = "massgen.mcp.bulkhead.wait";
/// Counter of calls that found no place; labels `server`, `reason` (`queue`, `wait`, `rate`).
pub const SHED: &str = "massgen.mcp.shed";
/// Gauge, 1 while a server's tools can be used; label `server`.
pub const SERVER_UP: &str = "massgen.mcp.server.up";
/// Counter of starts after the first one that worked, those from a rest left out; label `server`.
pub const SERVER_RESTARTS: &str = "massgen.mcp.server.restarts";
/// Histogram in seconds, from the start of a server to its list of tools; label `server`.
pub const SERVER_START_DURATION: &str = "massgen.mcp.server.start.duration";
/// Gauge in bytes: the resident memory of a server's program and what it started, as of the last 10 seconds, on Linux;
/// label `server`.
pub const SERVER_RSS: &str = "massgen.mcp.server.rss";
/// Counter of messages that break the protocol; labels `server`, `reason` (`id`, `duplicate`, `size`, `depth`, `utf8`,
/// `garbage`, `flood`, `misled`, `undeclared`), and of lines on a program's standard output that are no message (`chatter`).
pub const FRAMES_REJECTED: &str = "massgen.mcp.frames.rejected";
/// Counter of answers to requests that nobody waited for any more; label `server`.
pub const LATE_RESPONSES: &str = "massgen.mcp.late_responses";
/// Counter of calls that may have taken effect and whose outcome nobody knows; labels `server`, `tool`.
pub const LEDGER_UNKNOWN: &str = "massgen.mcp.ledger.unknown";
/// Counter; labels `server`, `category` (`call`, `pin`, `server`, `instructions`, `tool`, `arguments`, `answer`), `rule`,
/// `verdict` (`deny`, `flag`).
pub const SECURITY_DECISIONS: &str = "massgen.mcp.security.decisions";
/// Gauge of tools of a server that was accepted once; labels `server`, `state`: `approved` as they were accepted, `pending`
/// nobody has accepted yet, `changed` since they were accepted, and held back.
pub const PINS: &str = "massgen.mcp.pins";
/// Counter of texts that held a registered secret, which was taken out; label `sink`: where the text was on its way to
/// (`answer`, `error`, `log`, `telemetry`; a host may have others).
pub const SECRET_REDACTIONS: &str = "massgen.mcp.secret.redactions";
