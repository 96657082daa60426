//! What a scripted model answers, on whatever wire.

use std::time::Duration;

use serde_json::Value;

use crate::http::Part;

/// What a model says in one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    /// What it says, in order.
    pub items: Vec<Item>,
    /// Why it stops.
    pub finish: Finish,
    /// What it cost.
    pub usage: Usage,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// Text.
    Text(String),
    /// Reasoning, with a signature or the like where the wire has one.
    Reasoning(String),
    /// A call of a tool.
    Call {
        /// Its id; `None`: one is made up (on Gemini: left out, as that service does).
        id: Option<String>,
        /// The tool.
        name: String,
        /// The arguments as text, which need not be JSON.
        arguments: String,
    },
    /// A refusal.
    Refusal(String),
    /// Anything of the wire itself: an output item (Responses), a delta (Chat), a content block (Messages), a part
    /// (Gemini).
    Raw(Value),
}

/// Why an answer stops.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Finish {
    /// It is complete, or calls tools.
    #[default]
    Done,
    /// The limit of tokens is reached.
    Length,
    /// The content filter.
    Filter,
    /// As the wire spells it.
    Other(String),
}

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// In the prompt, those from the cache included.
    pub input: u64,
    /// Of these, from the cache.
    pub cached: u64,
    /// Written, reasoning included.
    pub output: u64,
    /// Of these, reasoning.
    pub reasoning: u64,
}

impl Default for Usage {
    fn default() -> Self {
        Self { input: 100, cached: 0, output: 20, reasoning: 0 }
    }
}

impl Turn {
    /// A turn of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A turn of text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().and_text(text)
    }

    /// A turn of calls.
    pub fn calls<N: Into<String>>(calls: impl IntoIterator<Item = (N, Value)>) -> Self {
        calls.into_iter().fold(Self::new(), |turn, (name, arguments)| turn.and_call(name, &arguments))
    }

    /// A turn of one call.
    pub fn call(name: impl Into<String>, arguments: Value) -> Self {
        Self::new().and_call(name, &arguments)
    }

    /// Adds text.
    #[must_use]
    pub fn and_text(self, text: impl Into<String>) -> Self {
        self.item(Item::Text(text.into()))
    }

    /// Adds reasoning.
    #[must_use]
    pub fn and_reasoning(self, text: impl Into<String>) -> Self {
        self.item(Item::Reasoning(text.into()))
    }

    /// Adds a call.
    #[must_use]
    pub fn and_call(self, name: impl Into<String>, arguments: &Value) -> Self {
        self.item(Item::Call { id: None, name: name.into(), arguments: arguments.to_string() })
    }

    /// Adds a call whose arguments are this text, JSON or not.
    #[must_use]
    pub fn and_broken_call(self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        self.item(Item::Call { id: None, name: name.into(), arguments: arguments.into() })
    }

    /// Adds a piece.
    #[must_use]
    pub fn item(mut self, item: Item) -> Self {
        self.items.push(item);
        self
    }

    /// Sets why it stops.
    #[must_use]
    pub fn finish(mut self, finish: Finish) -> Self {
        self.finish = finish;
        self
    }

    /// Sets the tokens.
    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    pub(super) fn has_calls(&self) -> bool {
        self.items.iter().any(|item| matches!(item, Item::Call { .. }))
    }
}

/// One answer of an endpoint: a turn or trouble, and how it travels.
#[derive(Debug, Clone)]
pub struct Reply {
    pub(super) kind: Kind,
    pub(super) delay: Duration,
    pub(super) retry_after: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) ending: Option<(usize, Ending)>,
    pub(super) insert: Option<(usize, String)>,
    pub(super) split: Option<usize>,
    pub(super) pace: Duration,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Turn(Turn),
    Status { status: u16, code: Option<String>, message: Option<String> },
    Body { status: u16, content_type: String, bytes: Vec<u8> },
    Sse(String),
    Fault(Part),
}

/// How a stream ends before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The HTTP body ends properly; only the model's own end is missing.
    Clean,
    /// The connection closes within the body.
    Close,
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and nothing closes.
    Hang,
    /// The wire's own error event, such as an overloaded service sends.
    Error {
        /// The code or type, as the wire spells it.
        code: String,
        /// The message.
        message: String,
    },
}

impl From<Turn> for Reply {
    fn from(turn: Turn) -> Self {
        Self::of(Kind::Turn(turn))
    }
}

impl Reply {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            delay: Duration::ZERO,
            retry_after: None,
            headers: Vec::new(),
            ending: None,
            insert: None,
            split: None,
            pace: Duration::ZERO,
        }
    }

    /// A turn of text.
    pub fn text(text: impl Into<String>) -> Self {
        Turn::text(text).into()
    }

    /// A turn of one call.
    pub fn call(name: impl Into<String>, arguments: Value) -> Self {
        Turn::call(name, arguments).into()
    }

    /// A status with an error body as the wire has it.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Status { status, code: None, message: None })
    }

    /// Sets the error's code (type, status) in the body of a [`Reply::status`].
    #[must_use]
    pub fn code(mut self, text: impl Into<String>) -> Self {
        if let Kind::Status { code, .. } = &mut self.kind {
            *code = Some(text.into());
        }
        self
    }

    /// Sets the message in the body of a [`Reply::status`].
    #[must_use]
    pub fn message(mut self, text: impl Into<String>) -> Self {
        if let Kind::Status { message, .. } = &mut self.kind {
            *message = Some(text.into());
        }
        self
    }

    /// Any status and body, such as a proxy's HTML.
    pub fn body(status: u16, content_type: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(Kind::Body { status, content_type: content_type.into(), bytes: bytes.into() })
    }

    /// Any stream, as it stands, cut into frames at empty lines.
    pub fn sse(text: impl Into<String>) -> Self {
        Self::of(Kind::Sse(text.into()))
    }

    /// The connection closes without an answer.
    pub fn closed() -> Self {
        Self::of(Kind::Fault(Part::Close))
    }

    /// The connection is reset without an answer.
    pub fn reset() -> Self {
        Self::of(Kind::Fault(Part::Reset))
    }

    /// Nothing ever comes.
    pub fn hang() -> Self {
        Self::of(Kind::Fault(Part::Hang))
    }

    /// Waits before the headers.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Adds `retry-after` (and on Gemini the same in the body). Any text, so that nonsense can be sent too.
    #[must_use]
    pub fn retry_after(mut self, value: impl ToString) -> Self {
        self.retry_after = Some(value.to_string());
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Ends the stream after so many events.
    #[must_use]
    pub fn end_after(mut self, events: usize, ending: Ending) -> Self {
        self.ending = Some((events, ending));
        self
    }

    /// Puts this text into the stream before the event of this number. A comment is `": text\n\n"`.
    #[must_use]
    pub fn insert(mut self, before: usize, text: impl Into<String>) -> Self {
        self.insert = Some((before, text.into()));
        self
    }

    /// Puts an event whose data is broken JSON before the event of this number.
    #[must_use]
    pub fn malformed(self, before: usize) -> Self {
        self.insert(before, "data: {\"type\": \"text\", \n\n")
    }

    /// Sends the stream in pieces of so many bytes, wherever that cuts.
    #[must_use]
    pub fn split(mut self, bytes: usize) -> Self {
        self.split = Some(bytes);
        self
    }

    /// Waits between the pieces.
    #[must_use]
    pub fn pace(mut self, pace: Duration) -> Self {
        self.pace = pace;
        self
    }
}
