//! What a run needs, and what comes of it.

use std::sync::Arc;
use std::time::Duration;

use massgen_backends::{Backend, ToolLoopOptions, Usage};
use mcp_core::{AgentId, ToolService};

use crate::{AgentInfo, AgentSummary, RunOutcome};

/// One member of a team. Cheap to clone.
#[derive(Clone)]
#[non_exhaustive]
pub struct Agent {
    /// Its name: in events, logs and to people. Models read an anonymous one.
    pub id: AgentId,
    /// Its model.
    pub backend: Arc<dyn Backend>,
    /// Its tools, beside those of the coordination.
    pub tools: Arc<dyn ToolService>,
    /// What its owner wants it to be told first.
    pub system_message: Option<String>,
}

impl Agent {
    /// An agent without tools and without a message of its own.
    pub fn new(id: AgentId, backend: Arc<dyn Backend>) -> Self {
        Self { id, backend, tools: Arc::new(()), system_message: None }
    }

    /// The same agent with tools.
    #[must_use]
    pub fn with_tools(mut self, tools: Arc<dyn ToolService>) -> Self {
        self.tools = tools;
        self
    }

    /// The same agent with a system message of its own.
    #[must_use]
    pub fn with_system_message(mut self, message: impl Into<String>) -> Self {
        self.system_message = Some(message.into());
        self
    }

    /// The agent, for people.
    pub fn info(&self) -> AgentInfo {
        let model = self.backend.model();
        AgentInfo { id: self.id.clone(), provider: model.provider.clone(), model: model.model.clone() }
    }
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("id", &self.id)
            .field("model", self.backend.model())
            .finish_non_exhaustive()
    }
}

/// What a team is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Task {
    /// The question.
    pub question: String,
    /// The conversation so far, oldest first.
    pub history: Vec<Exchange>,
}

impl Task {
    /// A question that begins a conversation.
    pub fn new(question: impl Into<String>) -> Self {
        Self { question: question.into(), history: Vec::new() }
    }
}

/// A question of before and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the user said.
    pub user: String,
    /// What was answered.
    pub assistant: String,
}

/// How a run is done.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What bounds it.
    pub limits: Limits,
    /// What bounds an agent's work with its tools.
    pub tool_loop: ToolLoopOptions,
    /// The winner writes a final answer from all answers; otherwise its own answer is the final one. A team of one,
    /// a run that a limit or the user ended, and a winner that was given up never do this.
    pub synthesize_final: bool,
    /// A team of one answers directly, with its own tools only, instead of submitting its answer to a coordination.
    pub single_agent_direct: bool,
    /// Rotates the order in which voters see the candidates, and spreads the pauses before retries. Equal seeds give
    /// equal orders and pauses.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            tool_loop: ToolLoopOptions::default(),
            synthesize_final: true,
            single_agent_direct: false,
            seed: 0,
        }
    }
}

/// What bounds a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// From the start of the run to the end of the coordination, the wait for servers included. Default 1800 s.
    pub total: Duration,
    /// The final presentation. When it runs out, the winner's own answer is the final one. Default 300 s.
    pub presentation: Duration,
    /// One round of one agent; a longer one counts as a failure. Default 900 s.
    pub round: Duration,
    /// Answers per agent; an agent that has given them all only votes. At least 1, default 5.
    pub max_answers_per_agent: u32,
    /// Rounds per agent; an agent that would begin another one ends the coordination. Default 100.
    pub max_rounds: u32,
    /// Failures of an agent in a row until it is given up. At least 1, default 3.
    pub max_failures: u32,
    /// Tokens of the coordination, all agents together, input and output.
    pub max_tokens: Option<u64>,
    /// Cost of the coordination in US dollars, all agents together, as far as prices are known.
    pub max_cost_usd: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(1800),
            presentation: Duration::from_secs(300),
            round: Duration::from_secs(900),
            max_answers_per_agent: 5,
            max_rounds: 100,
            max_failures: 3,
            max_tokens: None,
            max_cost_usd: None,
        }
    }
}

/// What came of a run. Everything in it is in the events, too.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunResult {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Whose answer it is.
    pub winner: Option<AgentId>,
    /// The final answer, byte for byte. There may be one even where the outcome is not
    /// [`RunOutcome::Answered`]: the best there was.
    pub answer: Option<String>,
    /// Votes per candidate, in the team's order; those without an answer are absent.
    pub votes: Vec<(AgentId, u32)>,
    /// Who voted for whom, in the team's order.
    pub ballots: Vec<Ballot>,
    /// Two or more had the most votes; the first in the team's order won.
    pub tie: bool,
    /// What it used, all agents together.
    pub usage: Usage,
    /// What each agent used and did, in the team's order.
    pub agents: Vec<AgentSummary>,
    /// How long it took.
    pub duration: Duration,
}

/// A vote that counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ballot {
    /// Who voted.
    pub voter: AgentId,
    /// For whom.
    pub candidate: AgentId,
    /// Why.
    pub reason: String,
}
