//! What a scripted MCP server does: the script, as data.
//!
//! A script travels as JSON (`--script FILE`, `--script-json TEXT`) to `massgen-scripted-server`, or stays in
//! the process for [`crate::McpHttpServer`]. Both play it with the same engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The revision of the protocol that has no handshake.
pub const MODERN: &str = "2026-07-28";
/// The last revision with a handshake.
pub const LEGACY: &str = "2025-11-25";

/// A whole MCP server: who it is, what it offers, and how it misbehaves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerScript {
    /// `serverInfo.name`.
    pub name: String,
    /// `serverInfo.version`.
    pub version: String,
    /// What the server tells about its use.
    pub instructions: Option<String>,
    /// Which revisions of the protocol it speaks.
    pub era: Era,
    /// What a legacy server does when it is asked `server/discover`.
    pub on_probe: OnProbe,
    /// Which version a legacy handshake settles on.
    pub handshake_version: HandshakeVersion,
    /// Replaces the capabilities, which otherwise follow from what the script offers.
    pub capabilities: Option<Value>,
    /// The tools, in order.
    pub tools: Vec<ToolScript>,
    /// Tools a page of `tools/list`; `None`: all on one page.
    pub page_size: Option<usize>,
    /// Every page of `tools/list` names a next one, for ever.
    pub cursor_loop: bool,
    /// The misbehaviour.
    pub quirks: Vec<Quirk>,
    /// Results of any method, as they are, in place of what the server would answer.
    pub results: Map<String, Value>,
    /// What the processes after the first one play (in the order they start, counted in the journal they share);
    /// the last one stays. Empty: this script again.
    pub restarts: Vec<ServerScript>,
    /// Milliseconds after which the program ends by itself, whatever happens, so that a failing test leaves
    /// nothing behind.
    pub lifetime_ms: u64,
}

impl Default for ServerScript {
    fn default() -> Self {
        Self {
            name: "scripted".into(),
            version: "1.0.0".into(),
            instructions: None,
            era: Era::Legacy,
            on_probe: OnProbe::default(),
            handshake_version: HandshakeVersion::Negotiate,
            capabilities: None,
            tools: Vec::new(),
            page_size: None,
            cursor_loop: false,
            quirks: Vec::new(),
            results: Map::new(),
            restarts: Vec::new(),
            lifetime_ms: 180_000,
        }
    }
}

/// Which revisions of the protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// `initialize` only.
    Legacy,
    /// `server/discover` and `_meta` on each request only.
    Modern,
    /// Whichever comes first decides for the life of the process.
    Dual,
}

/// What a legacy server does with `server/discover`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnProbe {
    /// Answers with an error.
    Error {
        /// The JSON-RPC code.
        code: i64,
        /// The message.
        message: String,
    },
    /// Says nothing.
    Silent,
    /// Ends with this exit code.
    Exit(i32),
}

impl Default for OnProbe {
    fn default() -> Self {
        Self::Error { code: -32601, message: "Method not found".into() }
    }
}

/// Which version a legacy server settles on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HandshakeVersion {
    /// The asked one if it is a known legacy version, else [`LEGACY`].
    Negotiate,
    /// Whatever was asked, known or not.
    Echo,
    /// Always this one.
    Fixed(String),
}

/// Misbehaviour of a whole server. Each one was seen in a real server or is a named fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quirk {
    /// This many notifications of the unknown method `log` before the reply to the first request.
    LogBeforeHandshake(u32),
    /// The first request (`initialize` or `server/discover`) is answered after this many milliseconds.
    HandshakeDelay(u64),
    /// The first request is never answered.
    HandshakeSilent,
    /// Closing its input does not end it.
    NeverExitsOnEof,
    /// SIGTERM does not end it.
    IgnoresSigterm,
    /// A child process that sleeps; the journal tells its pid.
    Grandchild(Grandchild),
    /// These lines, which are not JSON, on stdout at the start.
    Chatter(Vec<String>),
    /// This line, which is not JSON, on stdout before each reply.
    ChatterBeforeReply(String),
    /// An empty line around each message.
    BlankLines,
    /// An error whose id is null before each reply.
    NullIdErrors,
    /// These lines on stderr at the start.
    Stderr(Vec<String>),
    /// This many bytes on stderr, in lines, before each reply to `tools/call`.
    StderrFlood(usize),
    /// Ends before it answers anything.
    ExitAtStart {
        /// The exit code.
        code: i32,
        /// What it writes to stderr before.
        stderr: String,
    },
    /// One line of this many bytes (a notification) on stdout before each reply to `tools/call`.
    OversizedLine(usize),
    /// After this many calls the server has one more tool, and says so.
    NewToolAfter {
        /// Calls until then.
        calls: u32,
        /// The tool.
        tool: Box<ToolScript>,
    },
    /// After this many calls one tool is described anew, and the server says so (a "rug pull").
    RedefineToolAfter {
        /// Calls until then.
        calls: u32,
        /// The tool that takes the place of the one of the same name.
        tool: Box<ToolScript>,
    },
    /// After this many calls the tool is gone, and the server says so.
    RemoveToolAfter {
        /// Calls until then.
        calls: u32,
        /// The tool's name.
        tool: String,
    },
    /// This many notifications before each reply to `tools/call`.
    NotificationFlood(u64),
    /// This many `tools/list_changed` before each reply to `tools/call`.
    ListChangedFlood(u64),
    /// Ends when it receives the call after this many calls, without answering it.
    CrashAfter {
        /// Calls it answers before.
        calls: u32,
        /// The exit code.
        code: i32,
    },
    /// Sends this request (such as `sampling/createMessage`) before each reply to `tools/call`; the answer is in
    /// the journal.
    ServerRequest {
        /// The method.
        method: String,
        /// The parameters.
        params: Value,
    },
    /// Answers calls although they were cancelled.
    IgnoresCancel,
    /// Stops reading its input after the handshake.
    StopsReading,
    /// `ping` is not answered.
    IgnoresPing,
}

/// A child process of a scripted server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Grandchild {
    /// Seconds it sleeps before it ends by itself.
    pub seconds: u64,
    /// It keeps the server's stdout open, so that the reader sees no end of file.
    pub holds_stdout: bool,
    /// It ignores SIGTERM.
    pub ignores_sigterm: bool,
    /// It leaves the process group (through the program `setsid`).
    pub own_session: bool,
}

impl Default for Grandchild {
    fn default() -> Self {
        Self { seconds: 180, holds_stdout: false, ignores_sigterm: false, own_session: false }
    }
}

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
    /// A line that is not a message, in place of the answer.
    RawLine(String),
    /// Bytes without a line end; then the process ends with this code, or (`None`) says nothing more.
    Partial {
        /// What is written.
        text: String,
        /// The exit code.
        exit: Option<i32>,
    },
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

impl ServerScript {
    /// A well-behaved legacy server without tools.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `serverInfo.name`.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the instructions.
    #[must_use]
    pub fn instructions(mut self, text: impl Into<String>) -> Self {
        self.instructions = Some(text.into());
        self
    }

    /// Sets the era.
    #[must_use]
    pub fn era(mut self, era: Era) -> Self {
        self.era = era;
        self
    }

    /// Speaks only the revision without handshake.
    #[must_use]
    pub fn modern(self) -> Self {
        self.era(Era::Modern)
    }

    /// Speaks both eras.
    #[must_use]
    pub fn dual(self) -> Self {
        self.era(Era::Dual)
    }

    /// Sets what a legacy server does with `server/discover`.
    #[must_use]
    pub fn on_probe(mut self, on_probe: OnProbe) -> Self {
        self.on_probe = on_probe;
        self
    }

    /// Sets which version a legacy handshake settles on.
    #[must_use]
    pub fn handshake_version(mut self, version: HandshakeVersion) -> Self {
        self.handshake_version = version;
        self
    }

    /// Replaces the capabilities.
    #[must_use]
    pub fn capabilities(mut self, capabilities: Value) -> Self {
        self.capabilities = Some(capabilities);
        self
    }

    /// Adds a tool.
    #[must_use]
    pub fn tool(mut self, tool: ToolScript) -> Self {
        self.tools.push(tool);
        self
    }

    /// Adds `count` echo tools whose list is about `bytes` long (57 and 45,000 were seen in the wild).
    #[must_use]
    pub fn many_tools(mut self, count: usize, bytes: usize) -> Self {
        let words = "Searches one more collection of papers. ";
        for number in 0..count {
            let bare = ToolScript::echo(format!("search_source_{number:03}"))
                .description("")
                .schema(json!({"type": "object", "properties": {"query": {"type": "string"}}}));
            let room = (bytes / count.max(1)).saturating_sub(bare.listed().to_string().len());
            let text: String = words.chars().cycle().take(room).collect();
            self.tools.push(bare.description(text));
        }
        self
    }

    /// Sets the page size of `tools/list`.
    #[must_use]
    pub fn page_size(mut self, tools: usize) -> Self {
        self.page_size = Some(tools);
        self
    }

    /// Lets the pages of `tools/list` never end.
    #[must_use]
    pub fn cursor_loop(mut self) -> Self {
        self.cursor_loop = true;
        self
    }

    /// Adds misbehaviour.
    #[must_use]
    pub fn quirk(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// Sets the result of a method, valid or not, such as `resources/list` or a broken `initialize`.
    #[must_use]
    pub fn result(mut self, method: impl Into<String>, result: Value) -> Self {
        self.results.insert(method.into(), result);
        self
    }

    /// Sets what the next process plays, when this one has ended and the client starts the server again.
    #[must_use]
    pub fn after_restart(mut self, script: ServerScript) -> Self {
        self.restarts.push(script);
        self
    }

    /// The script of the process with this number, from 0.
    pub fn for_process(&self, number: usize) -> &ServerScript {
        match number {
            0 => self,
            _ => self.restarts.get(number - 1).or(self.restarts.last()).unwrap_or(self),
        }
    }

    /// The script as `--script-json` takes it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a script is JSON")
    }

    /// Writes the script and an empty journal into a temporary folder, and says how to start the program. The
    /// program itself is built first where necessary ([`crate::scripted_server`]).
    pub fn launch(&self) -> crate::ScriptedServer {
        crate::ScriptedServer::new(self)
    }
}
