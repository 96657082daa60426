//! What a model's stream says, in one vocabulary for all wires.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ToolInvocation, Turn};

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The provider took the request.
    Start {
        /// The model that really answers.
        model: Option<String>,
        /// The provider's id for the answer.
        id: Option<String>,
    },
    /// A piece of text.
    Text(String),
    /// A piece of reasoning, or of its summary.
    Reasoning(String),
    /// A call has begun; its arguments are still coming.
    ToolCallStart {
        /// Its place among the turn's calls.
        index: usize,
        /// Its id.
        id: String,
        /// The tool.
        name: String,
    },
    /// A piece of a call's arguments.
    ToolCallArguments {
        /// The call's place.
        index: usize,
        /// A piece of JSON text.
        delta: String,
    },
    /// A call is whole.
    ToolCall(ToolInvocation),
    /// Something a provider's own tool does (web search, code execution).
    Builtin {
        /// The tool, such as `web_search`.
        kind: String,
        /// The provider's id for this use.
        id: Option<String>,
        /// Such as `searching` or `completed`.
        phase: String,
        /// What the provider says about it.
        detail: Value,
    },
    /// A source the model cites.
    Citation(Value),
    /// A piece of text in which the model declines.
    Refusal(String),
    /// The provider's rate limit headers, by name.
    RateLimit(Vec<(String, String)>),
    /// What the turn has used so far; later ones replace earlier ones.
    Usage(Usage),
    /// Something this version does not know.
    Unknown(Value),
    /// The end. Nothing follows.
    Done {
        /// Why the model stopped.
        reason: FinishReason,
        /// The whole turn, for the next request.
        turn: Turn,
    },
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It waits for the answers to its calls.
    ToolCalls,
    /// The limit of output tokens.
    Length,
    /// A filter of the provider's.
    ContentFilter,
    /// It declined.
    Refusal,
    /// The provider pauses a long turn; send the conversation again to go on.
    Pause,
    /// Something else, in the provider's word.
    Other(String),
}

/// Tokens of one or more requests. Input includes what came from a cache; output includes reasoning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Those of them that came from the provider's cache.
    pub cached_input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// In US dollars; `None` where the price is not known.
    pub cost_usd: Option<f64>,
}

impl Usage {
    /// Adds another request's usage; counts end at the largest number there is. A cost is known only where at least one of
    /// the two is.
    pub fn add(&mut self, other: &Usage) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
        self.cost_usd = match (self.cost_usd, other.cost_usd) {
            (None, None) => None,
            (a, b) => Some(a.unwrap_or(0.0) + b.unwrap_or(0.0)),
        };
    }

    /// Input and output together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// Which wait ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimeoutPhase {
    /// The connection.
    Connect,
    /// The response headers.
    Headers,
    /// The next bytes of the body.
    Idle,
    /// The whole request.
    Total,
}

/// What was used up, so that asking again does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exhausted {
    /// The account's quota.
    Quota,
    /// The model's context window.
    Context,
}

/// Why a model did not answer. No text in it holds a key.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The provider answered with an error status.
    #[error("{provider} answered with status {status}{}: {message}", code.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    Http {
        /// The provider's label.
        provider: String,
        /// The HTTP status.
        status: u16,
        /// The provider's code.
        code: Option<String>,
        /// The provider's words.
        message: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
        /// Its id for the request, to quote to its support.
        request_id: Option<String>,
    },
    /// The stream carried an error.
    #[error("{provider} broke off{}: {message}", code.as_ref().map(|c| format!(" ({c})")).unwrap_or_default())]
    InStream {
        /// The provider's label.
        provider: String,
        /// The provider's code.
        code: Option<String>,
        /// The provider's words.
        message: String,
        /// It may work when asked again.
        retryable: bool,
    },
    /// The stream ended without its end mark.
    #[error("{provider}'s answer was cut off")]
    Truncated {
        /// The provider's label.
        provider: String,
    },
    /// A wait ran out.
    #[error("{provider} took longer than {} s ({phase:?})", limit.as_secs_f32())]
    Timeout {
        /// The provider's label.
        provider: String,
        /// Which wait.
        phase: TimeoutPhase,
        /// The limit.
        limit: Duration,
    },
    /// The answer is not in the provider's format.
    #[error("{provider} sent something unreadable: {reason}")]
    Decode {
        /// The provider's label.
        provider: String,
        /// What is wrong, with the beginning of the text.
        reason: String,
    },
    /// The connection failed.
    #[error("{provider} could not be reached: {reason}")]
    Transport {
        /// The provider's label.
        provider: String,
        /// What happened.
        reason: String,
    },
    /// The key is missing or refused. The hint names the variable.
    #[error("{provider} refused the key: {message}")]
    Auth {
        /// The provider's label.
        provider: String,
        /// The provider's words.
        message: String,
        /// Where the key comes from.
        hint: String,
    },
    /// Something is used up.
    #[error("{provider}: {message}")]
    Exhausted {
        /// The provider's label.
        provider: String,
        /// What.
        what: Exhausted,
        /// The provider's words.
        message: String,
    },
    /// This backend cannot run (yet). The message says what to do.
    #[error("{0}")]
    Unsupported(String),
    /// The caller went away.
    #[error("cancelled")]
    Cancelled,
}

impl BackendError {
    /// Whether asking again may help.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Http { status, .. } => matches!(status, 408 | 409 | 425 | 429 | 500..=599),
            Self::InStream { retryable, .. } => *retryable,
            Self::Truncated { .. } | Self::Timeout { .. } | Self::Transport { .. } => true,
            Self::Decode { .. }
            | Self::Auth { .. }
            | Self::Exhausted { .. }
            | Self::Unsupported(_)
            | Self::Cancelled => false,
        }
    }

    /// How long the provider asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Http { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_counts_beyond_all_bounds_is_added_up() {
        let most = Usage {
            input_tokens: u64::MAX,
            cached_input_tokens: u64::MAX,
            output_tokens: u64::MAX,
            reasoning_tokens: u64::MAX,
            cost_usd: Some(0.5),
        };
        let mut sum = Usage { input_tokens: 1, output_tokens: 1, ..Usage::default() };
        sum.add(&most);
        sum.add(&most);
        assert_eq!(sum, Usage { cost_usd: Some(1.0), ..most });
        assert_eq!(sum.total_tokens(), u64::MAX);
    }
}
