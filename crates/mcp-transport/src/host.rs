//! What a server may ask of the program that uses it: input from the user (elicitation), a model's words (sampling),
//! the folders it may work in (roots); and what it tells unasked: log messages and news of resources.
//!
//! A server can only ask for what was offered when the session opened, and by default nothing is.

mod field;
mod form;
mod requests;

use mcp_core::{BoxFuture, Content, JsonObject, ServerName};
use serde_json::Value;

pub use self::field::{Field, FieldKind};
pub(crate) use self::requests::{Asked, answer, capabilities, hear};

/// Answers a server's requests. The default of each method refuses, so an implementation names what it can do in
/// [`Host::abilities`] and overrides the method that belongs to it.
pub trait Host: Send + Sync {
    /// What is offered to this server. Asked when a session opens, and again at each request.
    fn abilities(&self, server: &ServerName) -> Abilities;

    /// The server wants input from the user. Show its name with the question. Where nobody is there to answer:
    /// [`ElicitationReply::Decline`], which is the default. After 10 minutes, or when the server takes its question
    /// back, the future is dropped.
    fn elicit<'a>(&'a self, server: &'a ServerName, request: Elicitation) -> BoxFuture<'a, ElicitationReply> {
        let _ = (server, request);
        Box::pin(std::future::ready(ElicitationReply::Decline))
    }

    /// The server wants a model to continue a conversation, at this program's cost. The default refuses. The future is
    /// dropped as that of [`Host::elicit`].
    ///
    /// # Errors
    ///
    /// [`SamplingRefusal`], which the server is told.
    fn sample<'a>(
        &'a self,
        server: &'a ServerName,
        request: SamplingRequest,
    ) -> BoxFuture<'a, Result<SamplingReply, SamplingRefusal>> {
        let _ = (server, request);
        Box::pin(std::future::ready(Err(SamplingRefusal::NotAgreed)))
    }

    /// The folders that the server may work in. Default: none.
    fn roots(&self, server: &ServerName) -> Vec<Root> {
        let _ = server;
        Vec::new()
    }

    /// The server logs something. It must return at once.
    fn log(&self, server: &ServerName, message: LogMessage) {
        let _ = (server, message);
    }
}

/// What a [`Host`] offers to servers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// The user can fill in forms.
    pub form: bool,
    /// The user can be sent to a web page.
    pub url: bool,
    /// A model can be asked.
    pub sampling: bool,
    /// Roots are told.
    pub roots: bool,
}

impl Abilities {
    /// Forms and nothing else.
    pub fn forms() -> Self {
        Self { form: true, ..Self::default() }
    }
}

/// Input that a server wants from the user (MCP client/elicitation).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Elicitation {
    /// Values for a flat form.
    Form {
        /// The server's question.
        message: String,
        /// A JSON Schema of an object whose properties are text, numbers, yes or no, or choices.
        schema: Value,
    },
    /// A visit to a web page, where the user gives the input to the server itself. It must be shown whole and opened
    /// only after the user agreed.
    Url {
        /// The server's question.
        message: String,
        /// The page.
        url: String,
    },
}

impl Elicitation {
    /// Values for a form.
    pub fn form(message: impl Into<String>, schema: Value) -> Self {
        Self::Form { message: message.into(), schema }
    }

    /// A visit to a web page.
    pub fn url(message: impl Into<String>, url: impl Into<String>) -> Self {
        Self::Url { message: message.into(), url: url.into() }
    }

    /// The server's question.
    pub fn message(&self) -> &str {
        match self {
            Self::Form { message, .. } | Self::Url { message, .. } => message,
        }
    }

    /// The defaults that a form's schema gives, to begin with.
    pub fn defaults(&self) -> JsonObject {
        match self {
            Self::Form { schema, .. } => form::defaults(schema),
            Self::Url { .. } => JsonObject::new(),
        }
    }

    /// The fields of a form, in the server's order; none for a web page.
    pub fn fields(&self) -> Vec<Field> {
        match self {
            Self::Form { schema, .. } => field::fields(schema),
            Self::Url { .. } => Vec::new(),
        }
    }

    /// What is wrong with the values for a form; empty where they are right.
    pub fn problems(&self, values: &JsonObject) -> Vec<String> {
        match self {
            Self::Form { schema, .. } => form::problems(schema, values),
            Self::Url { .. } => Vec::new(),
        }
    }
}

/// The user's answer to an [`Elicitation`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ElicitationReply {
    /// The user agreed and gave these values; none for a web page. Values that do not fit the schema are not sent: the
    /// request is cancelled instead.
    Accept(JsonObject),
    /// The user said no.
    Decline,
    /// The user went away without a decision.
    Cancel,
}

/// A conversation that a server wants continued by a model (MCP client/sampling).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplingRequest {
    /// The messages so far.
    pub messages: Vec<SamplingMessage>,
    /// What the server would like the model to be told first.
    pub system_prompt: Option<String>,
    /// The most tokens that the answer may have. It must be respected.
    pub max_tokens: Option<u64>,
    /// How random the answer may be.
    pub temperature: Option<f64>,
    /// Text that ends the answer.
    pub stop_sequences: Vec<String>,
}

/// One message of a [`SamplingRequest`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SamplingMessage {
    /// `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: Vec<Content>,
}

/// A model's answer to a [`SamplingRequest`].
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingReply {
    /// What the model said.
    pub content: Content,
    /// The model's name.
    pub model: String,
    /// Why it stopped: `endTurn`, `maxTokens`, `stopSequence`.
    pub stop_reason: Option<String>,
}

/// Why a server gets no words of a model. It hears of it as error -1, which MCP gives for this, with
/// [`SamplingRefusal::name`] as `reason` in the error's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SamplingRefusal {
    /// Nobody agreed to it. Remedy: agree, or have the configuration agree.
    #[error("nobody agreed to it")]
    NotAgreed,
    /// What may be spent on it is spent: by this server, or by the whole run. Asking again in the same run is in vain.
    #[error("the budget for it is spent")]
    BudgetSpent,
    /// The model failed or took too long, or the request makes no sense to it.
    #[error("no model could answer it")]
    Failed,
}

impl SamplingRefusal {
    /// Its name, as the server is told: `not_agreed`, `budget_spent` or `failed`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotAgreed => "not_agreed",
            Self::BudgetSpent => "budget_spent",
            Self::Failed => "failed",
        }
    }
}

/// A folder that a server may work in (MCP client/roots).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its address; `file:` only, others are not told.
    pub uri: String,
    /// A name for people.
    pub name: Option<String>,
}

/// Something a server logs (MCP server/utilities/logging). It is the server's text: escape it before it is shown.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LogMessage {
    /// `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
    pub level: String,
    /// Which part of the server speaks.
    pub logger: Option<String>,
    /// Text, or any other JSON.
    pub data: Value,
}
