//! Tools, and what calls of them answer.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Grandchild;

/// One tool: what the list says of it, and what calls of it answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolScript {
    /// The name.
    pub name: String,
    /// The description.
    pub description: Option<String>,
    /// `inputSchema`; `None` leaves it out, which the protocol forbids.
    pub input_schema: Option<Value>,
    /// `outputSchema`.
    pub output_schema: Option<Value>,
    /// `annotations`.
    pub annotations: Option<Value>,
    /// Further keys of the tool object, which may also replace the ones above.
    pub extra: Map<String, Value>,
    /// What the calls answer: the first call takes the first, and so on; the last one stays.
    pub replies: Vec<CallReply>,
}

impl Default for ToolScript {
    fn default() -> Self {
        Self {
            name: String::new(),
            description: None,
            input_schema: Some(json!({"type": "object"})),
            output_schema: None,
            annotations: None,
            extra: Map::new(),
            replies: Vec::new(),
        }
    }
}

impl ToolScript {
    /// A tool that takes any object and answers `ok`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// A tool that answers with its own arguments, as text and as structured content.
    pub fn echo(name: impl Into<String>) -> Self {
        Self::new(name).description("Answers with its arguments.").replies(Outcome::Echo)
    }

    /// Sets the description.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Sets `inputSchema`.
    #[must_use]
    pub fn schema(mut self, schema: Value) -> Self {
        self.input_schema = Some(schema);
        self
    }

    /// Leaves `inputSchema` out.
    #[must_use]
    pub fn without_schema(mut self) -> Self {
        self.input_schema = None;
        self
    }

    /// Sets `outputSchema`.
    #[must_use]
    pub fn output_schema(mut self, schema: Value) -> Self {
        self.output_schema = Some(schema);
        self
    }

    /// Sets `annotations`.
    #[must_use]
    pub fn annotations(mut self, annotations: Value) -> Self {
        self.annotations = Some(annotations);
        self
    }

    /// Annotations that say: only reads.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.annotations(json!({"readOnlyHint": true}))
    }

    /// Sets any further key of the tool object.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>, value: Value) -> Self {
        self.extra.insert(key.into(), value);
        self
    }

    /// Adds an answer; the first call takes the first one added, and the last one stays.
    #[must_use]
    pub fn replies(mut self, reply: impl Into<CallReply>) -> Self {
        self.replies.push(reply.into());
        self
    }

    /// Adds an answer of one text block.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.replies(Outcome::Text(text.into()))
    }

    /// The tool object of `tools/list`.
    pub fn listed(&self) -> Value {
        let mut tool = Map::new();
        tool.insert("name".into(), self.name.clone().into());
        let parts = [
            ("description", self.description.clone().map(Value::from)),
            ("inputSchema", self.input_schema.clone()),
            ("outputSchema", self.output_schema.clone()),
            ("annotations", self.annotations.clone()),
        ];
        for (key, value) in parts {
            if let Some(value) = value {
                tool.insert(key.into(), value);
            }
        }
        tool.extend(self.extra.clone());
        Value::Object(tool)
    }
}

/// What one call answers, and when.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallReply {
    /// Milliseconds before the outcome.
    pub delay_ms: u64,
    /// Progress notifications before the outcome, if the caller gave a token.
    pub progress: Option<Progress>,
    /// Which id the answer carries.
    pub id: ReplyId,
    /// What it answers.
    pub outcome: Outcome,
}

impl CallReply {
    /// An answer at once.
    pub fn new(outcome: Outcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Waits before the outcome.
    #[must_use]
    pub fn delay_ms(mut self, delay_ms: u64) -> Self {
        self.delay_ms = delay_ms;
        self
    }

    /// Sends progress before the outcome.
    #[must_use]
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Answers under another id.
    #[must_use]
    pub fn id(mut self, id: ReplyId) -> Self {
        self.id = id;
        self
    }
}

impl From<Outcome> for CallReply {
    fn from(outcome: Outcome) -> Self {
        Self::new(outcome)
    }
}

/// Progress notifications of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// How many; `u64::MAX` is for ever.
    pub count: u64,
    /// Milliseconds between them.
    pub every_ms: u64,
}

/// Which id an answer carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyId {
    /// The request's.
    #[default]
    Same,
    /// Another one, and the right one never comes.
    Wrong,
    /// Another one first, then the right one.
    WrongThenSame,
    /// The request's, twice.
    Twice,
    /// The request's number as a string.
    AsText,
    /// The one next to the request's, as if it were another's; the right one never comes.
    Neighbour,
}

/// What a call answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// One text block. `{name}` is replaced by the argument of that name, `{#}` by the number of the call in
    /// this process, from 1.
    Text(String),
    /// The arguments, as text and as structured content.
    Echo,
    /// These content blocks, as they are.
    Content(Vec<Value>),
    /// Structured content, and the same as text.
    Structured(Value),
    /// One text block, and `isError`.
    Failed(String),
    /// A failure whose `isError` stands inside the content block, where nobody looks for it.
    MisplacedError(String),
    /// A JSON-RPC error.
    RpcError {
        /// The code.
        code: i64,
        /// The message.
        message: String,
    },
    /// Any `result`, as it is.
    Result(Value),
    /// One text block like [`Outcome::Text`]'s, written byte by byte with this many milliseconds between.
    Drip {
        /// The text.
        text: String,
        /// Milliseconds between two bytes.
        every_ms: u64,
    },
    /// Asks the client something first (such as `elicitation/create`), and answers with its answer, as JSON text:
    /// `result` or `error`. For the revisions in which a server sends requests.
    Ask {
        /// The method.
        method: String,
        /// The parameters.
        params: Value,
    },
    /// Does what a server has no business to do, as far as the arguments name it, and answers with a JSON object that says
    /// for each what became of it. `read`: a file; what it holds. `write`: a file; `"done"`. `connect` (TCP) and `send` (UDP):
    /// an address with its port; `"done"`. `join`: a socket in the file system; `"done"`. Where it could not: the system's error.
    Trespass,
    /// Never an answer.
    Hang,
    /// Closes its stdout and lives on.
    CloseStdout,
    /// Stops itself by SIGSTOP; whatever continues it gets no answer to this call.
    Stop,
    /// The process ends with this code.
    Exit(i32),
    /// The process ends by SIGABRT.
    Abort,
    /// Limits its own memory (RLIMIT_AS) and asks for more than that: it ends as its language's runtime does then.
    OutOfMemory,
    /// Takes memory until it holds so many MiB, and is killed then: it sends itself the SIGKILL that the system sends to
    /// who is over the limit of its control group.
    OutOfMemoryKilled(u64),
    /// A line that is not a message, in place of the answer; `{id}` is replaced by the request's id.
    RawLine(String),
    /// Bytes without a line end; then the process ends with this code, or (`None`) says nothing more.
    Partial {
        /// What is written.
        text: String,
        /// The exit code.
        exit: Option<i32>,
    },
    /// So many bytes without an end of line, then nothing more.
    Lineless(u64),
    /// Starts so many children that sleep, and gives no answer: what a fork bomb is to its neighbours, with an end.
    Tree(u32),
    /// A line that is not UTF-8, in place of the answer.
    InvalidUtf8,
    /// An answer whose result nests this many arrays.
    Nested(usize),
    /// A text block of this many bytes.
    Big(usize),
    /// The environment as a JSON object in a text block: names and values.
    Environment,
    /// The working directory as text.
    WorkingDirectory,
    /// The command line as a JSON array in a text block.
    CommandLine,
    /// The process id as text.
    ProcessId,
    /// Starts a [`Grandchild`] and answers with its pid as text.
    SpawnGrandchild(Grandchild),
}

impl Default for Outcome {
    fn default() -> Self {
        Self::Text("ok".into())
    }
}
