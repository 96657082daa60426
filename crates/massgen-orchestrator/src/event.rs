//! The event stream: every step of a run, typed and versioned. `events.jsonl` is its record, and every other view
//! (display, summary, replay) is made from it.

use std::sync::{Arc, Mutex, PoisonError};

use massgen_backends::{FinishReason, Usage};
use mcp_core::AgentId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of the event format. It grows when a reader of the old format would misunderstand the new one.
pub const VERSION: u32 = 1;

/// One step of a run: a line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// [`VERSION`] of the writer.
    pub v: u32,
    /// Counts from 1 without gaps.
    pub seq: u64,
    /// When, UTC.
    pub at: jiff::Timestamp,
    /// What.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The run begins. Always the first event.
    RunStarted {
        /// The question, byte for byte.
        question: String,
        /// The team, in order.
        agents: Vec<AgentInfo>,
        /// How many exchanges came before in this conversation.
        history: usize,
    },
    /// A server's state changed.
    Server {
        /// The server's name.
        server: String,
        /// Its new state.
        state: ServerState,
        /// How many tools it offers now.
        tools: usize,
        /// Why, where that is worth telling.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// Something the user should know that stops nothing.
    Warning {
        /// The sentence.
        message: String,
    },
    /// An agent begins a round on a snapshot of the answers.
    RoundStarted {
        /// The agent.
        agent: AgentId,
        /// Its round, from 1.
        round: u32,
        /// The agents whose answers it sees, in the order it sees them.
        sees: Vec<AgentId>,
    },
    /// A piece of an agent's text.
    Text {
        /// The agent.
        agent: AgentId,
        /// The text.
        delta: String,
    },
    /// A piece of an agent's reasoning.
    Reasoning {
        /// The agent.
        agent: AgentId,
        /// The text.
        delta: String,
    },
    /// A provider's own tool at work.
    Builtin {
        /// The agent.
        agent: AgentId,
        /// The tool, such as `web_search`.
        tool: String,
        /// Such as `searching`.
        phase: String,
        /// What the provider says about it.
        detail: Value,
    },
    /// A tool call begins.
    ToolStarted {
        /// The agent.
        agent: AgentId,
        /// The call's id.
        call: String,
        /// The tool, by its exposed name.
        tool: String,
        /// The arguments as the model wrote them.
        arguments: Value,
    },
    /// A tool call ends.
    ToolFinished {
        /// The agent.
        agent: AgentId,
        /// The call's id.
        call: String,
        /// The tool, by its exposed name.
        tool: String,
        /// How it ended.
        status: ToolStatus,
        /// How long it took, milliseconds.
        duration_ms: u64,
        /// What the model reads.
        result: String,
    },
    /// A model's turn ends.
    TurnFinished {
        /// The agent.
        agent: AgentId,
        /// Why the model stopped.
        reason: FinishReason,
        /// What the turn used.
        usage: Usage,
    },
    /// The agent ended its turn against the protocol and is told so.
    Enforced {
        /// The agent.
        agent: AgentId,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// What was wrong.
        problem: String,
    },
    /// An agent gives an answer. Everyone starts again.
    Answer {
        /// The agent.
        agent: AgentId,
        /// Counts this agent's answers, from 1.
        number: u32,
        /// The answer, byte for byte.
        text: String,
    },
    /// An agent votes.
    Vote {
        /// The voter.
        agent: AgentId,
        /// For whom.
        candidate: AgentId,
        /// Why.
        reason: String,
    },
    /// An agent's round was stopped because its snapshot is out of date.
    Restarted {
        /// The agent.
        agent: AgentId,
        /// Whose new answer did it.
        because_of: AgentId,
    },
    /// An agent failed; it tries again after a pause, or is given up.
    AgentFailed {
        /// The agent.
        agent: AgentId,
        /// Why, in a sentence.
        error: String,
        /// What the user can do.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
        /// How long until the next try, milliseconds; `None`: given up.
        retry_in_ms: Option<u64>,
    },
    /// A limit of the run was reached.
    LimitReached {
        /// Which, such as `time`, `tokens`, `cost`, `answers`.
        limit: String,
        /// What that means for the run.
        message: String,
    },
    /// The vote is counted.
    Winner {
        /// Who presents; `None`: nobody has an answer.
        agent: Option<AgentId>,
        /// Votes per candidate, in the team's order; those without an answer are absent.
        votes: Vec<(AgentId, u32)>,
        /// Two or more had the most votes; the first in the team's order won.
        tie: bool,
    },
    /// The winner presents; its text follows as [`EventKind::Text`].
    PresentationStarted {
        /// The winner.
        agent: AgentId,
    },
    /// The final answer.
    FinalAnswer {
        /// Who gave it.
        agent: AgentId,
        /// Byte for byte.
        text: String,
    },
    /// The run is over. Always the last event.
    RunFinished {
        /// How.
        outcome: RunOutcome,
        /// How long it took, milliseconds.
        duration_ms: u64,
        /// What it used, all agents together.
        usage: Usage,
        /// What each agent used and did.
        agents: Vec<AgentSummary>,
    },
}

impl EventKind {
    /// Hands every text that a person, a model, a tool or a server wrote to `change`: the place to take secrets out.
    /// Ids, states and numbers are left alone.
    pub fn for_each_text(&mut self, mut change: impl FnMut(&mut String)) {
        match self {
            Self::RunStarted { question, .. } => change(question),
            Self::Server { detail, .. } => detail.iter_mut().for_each(change),
            Self::Warning { message } | Self::LimitReached { message, .. } => change(message),
            Self::Text { delta, .. } | Self::Reasoning { delta, .. } => change(delta),
            Self::Builtin { detail, .. } => for_each_string(detail, &mut change),
            Self::ToolStarted { arguments, .. } => for_each_string(arguments, &mut change),
            Self::ToolFinished { result, .. } => change(result),
            Self::Enforced { problem, .. } => change(problem),
            Self::Answer { text, .. } | Self::FinalAnswer { text, .. } => change(text),
            Self::Vote { reason, .. } => change(reason),
            Self::AgentFailed { error, hint, .. } => {
                change(error);
                hint.iter_mut().for_each(change);
            }
            Self::RunFinished { agents, .. } => {
                agents.iter_mut().filter_map(|agent| agent.failure.as_mut()).for_each(change);
            }
            Self::RoundStarted { .. }
            | Self::TurnFinished { .. }
            | Self::Restarted { .. }
            | Self::Winner { .. }
            | Self::PresentationStarted { .. } => {}
        }
    }
}

/// Every string value inside a JSON value; keys are left alone.
fn for_each_string(value: &mut Value, change: &mut impl FnMut(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| for_each_string(item, change)),
        Value::Object(entries) => entries.values_mut().for_each(|item| for_each_string(item, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An agent, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentInfo {
    /// Its id.
    pub id: AgentId,
    /// The provider's label.
    pub provider: String,
    /// The model.
    pub model: String,
}

/// What an agent did in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// Its id.
    pub id: AgentId,
    /// Rounds it began.
    pub rounds: u32,
    /// Answers it gave.
    pub answers: u32,
    /// Tool calls it made.
    pub tool_calls: u32,
    /// What it used.
    pub usage: Usage,
    /// Why it was given up, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// The state of a server as the team sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ServerState {
    /// It is being started or dialled.
    Starting,
    /// Its tools can be used.
    Ready,
    /// Its tools can be used, but it is slow, or left alone now and then.
    Degraded,
    /// Nobody called it for a while, and its program was ended; a call starts it again.
    Resting,
    /// It failed; its tools are away.
    Unreachable,
    /// It wants a login, or a credential that cannot be had now.
    AuthRequired,
    /// It broke the protocol as no honest server does; its calls are refused.
    Quarantined,
    /// It was stopped on purpose.
    Stopped,
}

/// How a tool call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolStatus {
    /// The tool answered.
    Ok,
    /// The tool ran and says that it failed.
    ToolError,
    /// The tool did not answer.
    Failed,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunOutcome {
    /// There is an answer.
    Answered,
    /// A limit ended the run; the best answer so far is the final one.
    TimedOut,
    /// Every agent failed, or nobody had an answer when a limit ended the run.
    NoAnswer,
    /// The user stopped it.
    Interrupted,
}

/// Numbers, dates and hands on the events of one run, in order. Cheap to clone.
#[derive(Clone)]
pub struct Emitter(Arc<Mutex<Inner>>);

struct Inner {
    seq: u64,
    finished: bool,
    sink: Box<dyn FnMut(&Event) + Send>,
}

impl Emitter {
    /// Hands every event to `sink`, one at a time. The sink is called where the event happens: it must not wait.
    pub fn new(sink: impl FnMut(&Event) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner { seq: 0, finished: false, sink: Box::new(sink) })))
    }

    /// Says that something happened. Nothing follows [`EventKind::RunFinished`]: what comes later is dropped.
    pub fn emit(&self, kind: EventKind) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.finished {
            return;
        }
        inner.finished = matches!(kind, EventKind::RunFinished { .. });
        inner.seq += 1;
        let event = Event { v: VERSION, seq: inner.seq, at: jiff::Timestamp::now(), kind };
        (inner.sink)(&event);
    }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Emitter")
    }
}
