//! Misbehaviour of a whole server.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ToolScript;

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
    /// Notifications before each reply to `tools/call`: so many bursts of so many, with milliseconds after each.
    NotificationStream {
        /// How many bursts.
        bursts: u32,
        /// Notifications of a burst.
        each: u64,
        /// Milliseconds after each burst.
        every_ms: u64,
    },
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
