//! What a run came to, made from its events alone: `summary.json`, `--output json` and the last lines on the terminal.

use std::collections::BTreeMap;

use massgen::backends::Usage;
use massgen::orchestrator::{AgentInfo, AgentSummary, Event, EventKind, RunOutcome, ServerState, ToolStatus};
use serde::Serialize;

/// The version of this document.
const VERSION: u32 = 1;

/// A run in one document.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    pub(crate) version: u32,
    pub(crate) question: String,
    pub(crate) outcome: Option<RunOutcome>,
    pub(crate) winner: Option<String>,
    pub(crate) answer: Option<String>,
    pub(crate) tie: bool,
    pub(crate) votes: BTreeMap<String, u32>,
    pub(crate) ballots: Vec<Ballot>,
    pub(crate) team: Vec<AgentInfo>,
    pub(crate) agents: Vec<AgentSummary>,
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) tools: BTreeMap<String, ToolUse>,
    pub(crate) usage: Usage,
    pub(crate) duration_ms: u64,
    pub(crate) warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<String>,
}

/// Who voted for whom, in the end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Ballot {
    pub(crate) voter: String,
    pub(crate) candidate: String,
    pub(crate) reason: String,
}

/// A server at the end of the run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Server {
    pub(crate) state: ServerState,
    pub(crate) tools: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
}

/// How often a tool was called, and how that went.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct ToolUse {
    pub(crate) calls: u32,
    pub(crate) errors: u32,
    pub(crate) total_ms: u64,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            version: VERSION,
            question: String::new(),
            outcome: None,
            winner: None,
            answer: None,
            tie: false,
            votes: BTreeMap::new(),
            ballots: Vec::new(),
            team: Vec::new(),
            agents: Vec::new(),
            servers: BTreeMap::new(),
            tools: BTreeMap::new(),
            usage: Usage::default(),
            duration_ms: 0,
            warnings: Vec::new(),
            log: None,
        }
    }
}

impl Summary {
    /// Takes in the next event.
    pub(crate) fn add(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { question, agents, .. } => {
                self.question.clone_from(question);
                self.team.clone_from(agents);
            }
            EventKind::Server { server, state, tools, detail } => {
                let server_now = Server { state: *state, tools: *tools, detail: detail.clone() };
                self.servers.insert(server.clone(), server_now);
            }
            EventKind::Warning { message } => self.warnings.push(message.clone()),
            EventKind::ToolFinished { tool, status, duration_ms, .. } => {
                let entry = self.tools.entry(tool.clone()).or_default();
                entry.calls += 1;
                entry.errors += u32::from(*status != ToolStatus::Ok);
                entry.total_ms += duration_ms;
            }
            // A new answer voids every vote.
            EventKind::Answer { .. } => self.ballots.clear(),
            EventKind::Vote { agent, candidate, reason } => {
                self.ballots.retain(|ballot| ballot.voter != agent.as_str());
                self.ballots.push(Ballot {
                    voter: agent.to_string(),
                    candidate: candidate.to_string(),
                    reason: reason.clone(),
                });
            }
            EventKind::Winner { agent, votes, tie } => {
                self.winner = agent.as_ref().map(ToString::to_string);
                self.votes = votes.iter().map(|(agent, count)| (agent.to_string(), *count)).collect();
                self.tie = *tie;
            }
            EventKind::FinalAnswer { text, .. } => self.answer = Some(text.clone()),
            EventKind::RunFinished { outcome, duration_ms, usage, agents } => {
                self.outcome = Some(*outcome);
                self.duration_ms = *duration_ms;
                self.usage = *usage;
                self.agents.clone_from(agents);
            }
            _ => {}
        }
    }

    /// Calls of all tools together: how many, and how many of them failed.
    pub(crate) fn calls(&self) -> (u32, u32) {
        self.tools.values().fold((0, 0), |(calls, errors), tool| (calls + tool.calls, errors + tool.errors))
    }
}
