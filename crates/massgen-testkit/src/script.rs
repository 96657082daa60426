//! What a scripted MCP server does: the script, as data.
//!
//! A script travels as JSON (`--script FILE`, `--script-json TEXT`) to `massgen-scripted-server`, or stays in
//! the process for [`crate::McpHttpServer`]. Both play it with the same engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

mod quirk;
mod tool;

pub use quirk::{Grandchild, Quirk};
pub use tool::{CallReply, Outcome, Progress, ReplyId, ToolScript};

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
