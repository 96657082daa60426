//! The coordination as a pure state machine: what happened goes in, what to do comes out. No I/O, no clock, no waiting.
//!
//! All agents work at once, each on a snapshot of the answers. A new answer makes every vote and every running round
//! stale: votes are taken back, rounds are stopped, everybody starts again. The coordination ends when every living
//! agent holds a vote that is younger than the last answer.

use std::sync::Arc;
use std::time::Duration;

use crate::vote::{Tally, tally};

/// What bounds the coordination, as far as it can be counted here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Answers per agent, at least 1.
    pub(crate) answers: u32,
    /// Rounds per agent, at least 1.
    pub(crate) rounds: u32,
    /// Failures in a row until an agent is given up, at least 1.
    pub(crate) failures: u32,
}

/// The pause after the first failure; it doubles with every further one in a row.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, whatever a provider asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The answers at one moment, in the team's order. Numbered by how many answers had been accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    pub(crate) generation: u64,
    pub(crate) answers: Vec<(usize, Arc<str>)>,
}

/// Why a round came to nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    pub(crate) error: String,
    pub(crate) hint: Option<String>,
    /// Asking again may help.
    pub(crate) retryable: bool,
    /// How long the provider asks to wait.
    pub(crate) retry_after: Option<Duration>,
}

/// Something happened. Agents are numbered in the team's order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Input {
    /// A round ended with an answer.
    Answer { agent: usize, round: u32, text: String },
    /// A round ended with a vote.
    Vote { agent: usize, round: u32, candidate: usize, reason: String },
    /// A round failed. `jitter`, 0 to 1, spreads the pause.
    Failed { agent: usize, round: u32, failure: Failure, jitter: f64 },
    /// The pause of a [`Command::Pause`] is over.
    PauseOver { agent: usize },
    /// A limit that is measured outside was reached.
    Limit(Limit),
    /// The user stops the run.
    Interrupt,
}

/// A limit of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Time,
    Tokens,
    Cost,
    Rounds,
}

/// Something is to be done, or told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Start a round.
    Start { agent: usize, round: u32, snapshot: Arc<Snapshot>, may_answer: bool },
    /// Stop a running round: its snapshot is out of date.
    Cancel { agent: usize, round: u32, because_of: usize },
    /// An answer was accepted.
    Accepted { agent: usize, number: u32, text: Arc<str>, last: bool },
    /// A vote was accepted.
    Voted { agent: usize, candidate: usize, reason: String },
    /// An agent failed; tell [`Input::PauseOver`] after the delay.
    Pause { agent: usize, failure: Failure, delay: Duration },
    /// An agent failed and is not started again.
    GiveUp { agent: usize, failure: Failure },
    /// The coordination is over. The last command. Whatever still runs is to be stopped.
    Finish { ending: Ending, tally: Tally },
}

/// How a coordination ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every living agent has voted, or there is nobody else to ask.
    Agreed,
    /// Every agent was given up.
    NobodyLeft,
    /// A limit.
    Limit(Limit),
    /// The user.
    Interrupted,
}

#[derive(Debug, Default)]
struct Member {
    answer: Option<Arc<str>>,
    answers: u32,
    vote: Option<(usize, String)>,
    rounds: u32,
    failures: u32,
    activity: Activity,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Activity {
    /// Nothing to do, or not started yet.
    #[default]
    Idle,
    Running {
        round: u32,
    },
    /// Waits after a failure.
    Pausing,
    GivenUp,
}

/// A coordination.
#[derive(Debug)]
pub(crate) struct Coordination {
    members: Vec<Member>,
    bounds: Bounds,
    generation: u64,
    finished: bool,
}

impl Coordination {
    pub(crate) fn new(agents: usize, bounds: Bounds) -> Self {
        Self {
            members: (0..agents).map(|_| Member::default()).collect(),
            bounds: Bounds {
                answers: bounds.answers.max(1),
                rounds: bounds.rounds.max(1),
                failures: bounds.failures.max(1),
            },
            generation: 0,
            finished: false,
        }
    }

    pub(crate) fn rounds(&self, agent: usize) -> u32 {
        self.members.get(agent).map_or(0, |member| member.rounds)
    }

    pub(crate) fn answers(&self, agent: usize) -> u32 {
        self.members.get(agent).map_or(0, |member| member.answers)
    }

    pub(crate) fn answer(&self, agent: usize) -> Option<Arc<str>> {
        self.members.get(agent).and_then(|member| member.answer.clone())
    }

    /// The votes that count now: voter, candidate, reason.
    pub(crate) fn ballots(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        self.members.iter().enumerate().filter_map(|(voter, member)| {
            member.vote.as_ref().map(|(candidate, reason)| (voter, *candidate, reason.as_str()))
        })
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let answers = self
            .members
            .iter()
            .enumerate()
            .filter_map(|(agent, member)| member.answer.clone().map(|answer| (agent, answer)))
            .collect();
        Snapshot { generation: self.generation, answers }
    }

    /// Takes in what happened. Rounds are stopped here, and started by [`Coordination::start_rounds`], so that
    /// everything that happened at one moment is known before anybody starts.
    pub(crate) fn apply(&mut self, input: Input) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.finished {
            return commands;
        }
        match input {
            Input::Answer { agent, round, text } => self.answered(agent, round, text, &mut commands),
            Input::Vote { agent, round, candidate, reason } => {
                if self.end_round(agent, round) {
                    self.voted(agent, candidate, reason, &mut commands);
                }
            }
            Input::Failed { agent, round, failure, jitter } => {
                if self.end_round(agent, round) {
                    self.failed(agent, failure, jitter, &mut commands);
                }
            }
            Input::PauseOver { agent } => {
                if let Some(member) = self.members.get_mut(agent)
                    && member.activity == Activity::Pausing
                {
                    member.activity = Activity::Idle;
                }
            }
            Input::Limit(limit) => self.finish(Ending::Limit(limit), &mut commands),
            Input::Interrupt => self.finish(Ending::Interrupted, &mut commands),
        }
        self.settle(&mut commands);
        commands
    }

    /// Starts everybody who has something to do.
    pub(crate) fn start_rounds(&mut self) -> Vec<Command> {
        let mut commands = Vec::new();
        self.settle(&mut commands);
        if self.finished {
            return commands;
        }
        let bounds = self.bounds;
        let due = |member: &Member| member.activity == Activity::Idle && member.vote.is_none();
        if self.members.iter().any(|member| due(member) && member.rounds >= bounds.rounds) {
            self.finish(Ending::Limit(Limit::Rounds), &mut commands);
            return commands;
        }
        let snapshot = Arc::new(self.snapshot());
        for (agent, member) in self.members.iter_mut().enumerate().filter(|(_, member)| due(member)) {
            member.rounds += 1;
            member.activity = Activity::Running { round: member.rounds };
            commands.push(Command::Start {
                agent,
                round: member.rounds,
                snapshot: snapshot.clone(),
                may_answer: member.answers < bounds.answers,
            });
        }
        commands
    }

    /// Whether this was the agent's running round, which is over now.
    fn end_round(&mut self, agent: usize, round: u32) -> bool {
        match self.members.get_mut(agent) {
            Some(member) if member.activity == (Activity::Running { round }) => {
                member.activity = Activity::Idle;
                true
            }
            _ => false,
        }
    }

    fn answered(&mut self, agent: usize, round: u32, text: String, commands: &mut Vec<Command>) {
        let current = self.end_round(agent, round);
        let Some(member) = self.members.get(agent) else { return };
        if member.activity == Activity::GivenUp {
            return;
        }
        let spent = member.answers >= self.bounds.answers;
        if let Some(same) = self.same_answer(&text) {
            // Agreement, not news. A stale round's agreement is not told: its agent starts again and sees the answer.
            if current {
                self.voted(agent, same, "It gave the same answer.".into(), commands);
            }
            return;
        }
        if text.trim().is_empty() || spent {
            if current {
                let error = match spent {
                    true => "it gave another answer although it had given all it may",
                    false => "it gave an empty answer",
                };
                let failure = Failure { error: error.into(), hint: None, retryable: true, retry_after: None };
                self.failed(agent, failure, 0.0, commands);
            }
            return;
        }
        // An answer that was finished just before its round became stale is work done: it counts.
        self.generation += 1;
        let text: Arc<str> = text.into();
        for (other, member) in self.members.iter_mut().enumerate() {
            member.vote = None;
            if let Activity::Running { round } = member.activity {
                member.activity = Activity::Idle;
                commands.push(Command::Cancel { agent: other, round, because_of: agent });
            }
        }
        let limit = self.bounds.answers;
        if let Some(member) = self.members.get_mut(agent) {
            member.failures = 0;
            member.answers += 1;
            member.answer = Some(text.clone());
            let number = member.answers;
            commands.insert(0, Command::Accepted { agent, number, text, last: number == limit });
        }
    }

    /// Who gave this answer already, apart from white space around it.
    fn same_answer(&self, text: &str) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.answer.as_ref().is_some_and(|answer| answer.trim() == text.trim()))
    }

    /// Takes a vote of the running round, which therefore is not stale: a new answer ends all running rounds.
    fn voted(&mut self, agent: usize, candidate: usize, reason: String, commands: &mut Vec<Command>) {
        if self.answer(candidate).is_none() {
            let error = "it voted for somebody who has no answer".into();
            let failure = Failure { error, hint: None, retryable: true, retry_after: None };
            return self.failed(agent, failure, 0.0, commands);
        }
        if let Some(member) = self.members.get_mut(agent) {
            member.failures = 0;
            member.vote = Some((candidate, reason.clone()));
            commands.push(Command::Voted { agent, candidate, reason });
        }
    }

    fn failed(&mut self, agent: usize, failure: Failure, jitter: f64, commands: &mut Vec<Command>) {
        let limit = self.bounds.failures;
        let Some(member) = self.members.get_mut(agent) else { return };
        member.failures += 1;
        if !failure.retryable || member.failures >= limit {
            member.activity = Activity::GivenUp;
            commands.push(Command::GiveUp { agent, failure });
        } else {
            member.activity = Activity::Pausing;
            let delay = pause(member.failures, failure.retry_after, jitter);
            commands.push(Command::Pause { agent, failure, delay });
        }
    }

    /// Ends the coordination where there is nothing left to wait for.
    fn settle(&mut self, commands: &mut Vec<Command>) {
        if self.finished {
            return;
        }
        let mut living =
            self.members.iter().enumerate().filter(|(_, member)| member.activity != Activity::GivenUp);
        let Some((first, member)) = living.next() else {
            return self.finish(Ending::NobodyLeft, commands);
        };
        let alone = living.next().is_none();
        // The only one left would vote on nothing but its own answer.
        let own_answer_only = alone
            && member.answer.is_some()
            && self.members.iter().enumerate().all(|(agent, m)| agent == first || m.answer.is_none());
        let all_voted = self
            .members
            .iter()
            .filter(|member| member.activity != Activity::GivenUp)
            .all(|member| member.vote.is_some());
        if own_answer_only || all_voted {
            self.finish(Ending::Agreed, commands);
        }
    }

    fn finish(&mut self, ending: Ending, commands: &mut Vec<Command>) {
        self.finished = true;
        let candidates: Vec<usize> =
            self.snapshot().answers.into_iter().map(|(candidate, _)| candidate).collect();
        let votes: Vec<usize> = self.ballots().map(|(_, candidate, _)| candidate).collect();
        commands.push(Command::Finish { ending, tally: tally(&candidates, votes) });
    }
}

/// Doubles with every failure in a row, spread by a quarter either way, and not shorter than the provider asks.
fn pause(failures: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let doubled =
        FIRST_PAUSE.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
    let spread = doubled.min(LONGEST_PAUSE).mul_f64(0.75 + jitter / 2.0);
    spread.max(retry_after.unwrap_or_default()).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
