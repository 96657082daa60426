//! Runs a team: gives the state machine what happens and does what it says.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use massgen_backends::{Message, Usage};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::agent::{
    Candidate, Draft, Feed, Mode, Presentation, Round, RoundEnd, Verdict, present, run_round,
};
use crate::budget::Budget;
use crate::state::{Bounds, Command, Coordination, Ending, Failure, Input, Limit, Snapshot};
use crate::team::{Agent, Ballot, Options, RunResult, Task};
use crate::vote::{Tally, anonymous, order_for};
use crate::{AgentSummary, Emitter, EventKind, RunOutcome};

/// Lets a team answer a question.
///
/// Always ends, within the limits of the options and soon after `cancel` fires; nothing it started is left running, nor
/// when the future is dropped. [`EventKind::RunStarted`] is the first event it emits and [`EventKind::RunFinished`] the
/// last, however it ends. Nothing is an error: what fails is told by events, and the result says what came of the run.
pub async fn run(
    agents: &[Agent],
    task: &Task,
    options: &Options,
    emitter: &Emitter,
    cancel: &CancellationToken,
) -> RunResult {
    let budget = Budget::new(agents.len(), &options.limits);
    run_when(std::future::ready(Ok(())), agents, task, options, budget, emitter, cancel).await
}

/// As [`run`], but the agents begin when `ready` does: servers are still starting, say. The wait is part of the run: it
/// comes after the first event, counts against [`crate::Limits::total`] and ends when `cancel` fires.
///
/// `budget` is the run's own, made with the limits of `options`; what others spend from it counts as the agents' use.
pub async fn run_when(
    ready: impl Future<Output = Result<(), String>>,
    agents: &[Agent],
    task: &Task,
    options: &Options,
    budget: Budget,
    emitter: &Emitter,
    cancel: &CancellationToken,
) -> RunResult {
    let started = Instant::now();
    let deadline = after(options.limits.total);
    emitter.emit(EventKind::RunStarted {
        question: task.question.clone(),
        agents: agents.iter().map(Agent::info).collect(),
        history: task.history.len(),
    });
    let ready = tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(Some(Input::Interrupt)),
        ready = ready => ready.map(|()| None),
        () = tokio::time::sleep_until(deadline) => Ok(Some(Input::Limit(Limit::Time))),
    };
    let mut driver = Driver::new(agents, task, options, budget, emitter);
    let (ending, tally) = match ready {
        Ok(first) => driver.coordinate(first, deadline, cancel).await,
        Err(message) => {
            emitter.emit(EventKind::Warning { message });
            (Ending::NobodyLeft, Tally::default())
        }
    };
    let conclusion = driver.conclude(ending, tally, cancel).await;
    driver.finish(conclusion, started)
}

struct Driver<'a> {
    agents: &'a [Agent],
    options: &'a Options,
    emitter: &'a Emitter,
    task: Arc<Task>,
    /// When the run began, for people and for all prompts alike.
    now: Arc<str>,
    mode: Mode,
    state: Coordination,
    budget: Budget,
    rounds: JoinSet<RoundEnd>,
    /// Whose the running tasks are.
    running: HashMap<Id, Running>,
    seats: Vec<Seat>,
    jitter: Jitter,
}

/// What the driver keeps of an agent.
#[derive(Default)]
struct Seat {
    cancel: CancellationToken,
    draft: Draft,
    pause_over: Option<Instant>,
    /// A conversation that an error of the provider ended, and the generation of the answers it knows.
    resumable: Option<(u64, Vec<Message>)>,
    given_up: Option<String>,
}

/// A round's task: whose it is, and the generation of the answers it knows.
struct Running {
    agent: usize,
    round: u32,
    generation: u64,
}

/// What came of the coordination and the presentation.
struct Conclusion {
    outcome: RunOutcome,
    tally: Tally,
    winner: Option<usize>,
    answer: Option<String>,
}

impl<'a> Driver<'a> {
    fn new(
        agents: &'a [Agent],
        task: &Task,
        options: &'a Options,
        budget: Budget,
        emitter: &'a Emitter,
    ) -> Self {
        let limits = &options.limits;
        let bounds = Bounds {
            answers: limits.max_answers_per_agent,
            rounds: limits.max_rounds,
            failures: limits.max_failures,
        };
        let direct = options.single_agent_direct && agents.len() == 1;
        Self {
            agents,
            options,
            emitter,
            task: Arc::new(task.clone()),
            now: jiff::Timestamp::now().strftime("%A, %Y-%m-%d %H:%M UTC").to_string().into(),
            mode: if direct { Mode::Direct } else { Mode::Coordinated },
            state: Coordination::new(agents.len(), bounds),
            budget,
            rounds: JoinSet::new(),
            running: HashMap::new(),
            seats: agents.iter().map(|_| Seat::default()).collect(),
            jitter: Jitter(options.seed),
        }
    }

    /// Runs rounds until the coordination is over, which `first` may be the end of already. No round is left running.
    async fn coordinate(
        &mut self,
        first: Option<Input>,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> (Ending, Tally) {
        let mut inputs: Vec<Input> = first.into_iter().collect();
        let ended = loop {
            let mut ended = None;
            for input in inputs {
                let commands = self.state.apply(input);
                ended = ended.or(self.carry_out(commands));
            }
            if let Some(ended) = ended {
                break ended;
            }
            let commands = self.state.start_rounds();
            if let Some(ended) = self.carry_out(commands) {
                break ended;
            }
            inputs = self.wait(deadline, cancel).await;
        };
        self.seats.iter().for_each(|seat| seat.cancel.cancel());
        self.rounds.shutdown().await;
        ended
    }

    /// Waits for something to happen and takes in everything that has happened by then.
    async fn wait(&mut self, deadline: Instant, cancel: &CancellationToken) -> Vec<Input> {
        let pause = self.seats.iter().filter_map(|seat| seat.pause_over).min();
        let mut ended = Vec::new();
        let mut inputs = Vec::new();
        tokio::select! {
            biased;
            () = cancel.cancelled() => inputs.push(Input::Interrupt),
            Some(round) = self.rounds.join_next_with_id() => ended.push(round),
            limit = self.budget.until_exceeded() => inputs.push(Input::Limit(limit)),
            () = tokio::time::sleep_until(deadline) => inputs.push(Input::Limit(Limit::Time)),
            () = reached(pause), if pause.is_some() => {}
        }
        while let Some(round) = self.rounds.try_join_next_with_id() {
            ended.push(round);
        }
        // What is finished counts, even where the run ends in the same moment.
        let ended: Vec<Input> = ended.into_iter().filter_map(|round| self.ended(round)).collect();
        inputs.splice(0..0, ended);
        let now = Instant::now();
        for (agent, seat) in self.seats.iter_mut().enumerate() {
            if seat.pause_over.is_some_and(|at| at <= now) {
                seat.pause_over = None;
                inputs.push(Input::PauseOver { agent });
            }
        }
        inputs
    }

    /// A task is over.
    fn ended(&mut self, joined: Result<(Id, RoundEnd), JoinError>) -> Option<Input> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let Running { agent, round, generation } = self.running.remove(&id)?;
        let fail = |error: &str, retryable| {
            let failure = Failure { error: error.into(), hint: None, retryable, retry_after: None };
            RoundEnd::Failed(failure, None)
        };
        // The state machine knows which rounds it has stopped; of those nothing but an answer counts. A round that was
        // not stopped by it must not look as if it still ran.
        let end = match joined {
            Ok((_, RoundEnd::Cancelled)) => fail("its round was cancelled", true),
            Ok((_, end)) => end,
            Err(error) if error.is_cancelled() => fail("its round was cancelled", true),
            Err(error) => {
                tracing::error!(%error, "a round panicked");
                fail("massgen itself failed in this agent's round; please report it", false)
            }
        };
        match end {
            RoundEnd::Cancelled => None,
            RoundEnd::Done(Verdict::Answer(text)) => Some(Input::Answer { agent, round, text }),
            RoundEnd::Done(Verdict::Vote { candidate, reason }) => {
                Some(Input::Vote { agent, round, candidate, reason })
            }
            RoundEnd::Failed(failure, conversation) => {
                if let Some(seat) = self.seats.get_mut(agent) {
                    seat.resumable = conversation.map(|messages| (generation, messages));
                }
                Some(Input::Failed { agent, round, failure, jitter: self.jitter.next() })
            }
        }
    }

    /// Does what the state machine says.
    fn carry_out(&mut self, commands: Vec<Command>) -> Option<(Ending, Tally)> {
        let mut ended = None;
        for command in commands {
            match command {
                Command::Start { agent, round, snapshot, may_answer } => {
                    self.start(agent, round, &snapshot, may_answer);
                }
                Command::Cancel { agent, because_of, .. } => {
                    let (Some(seat), Some(id), Some(because_of)) =
                        (self.seats.get(agent), self.id(agent), self.id(because_of))
                    else {
                        continue;
                    };
                    seat.cancel.cancel();
                    self.emitter.emit(EventKind::Restarted { agent: id, because_of });
                }
                Command::Accepted { agent, number, text, last } => {
                    let Some(id) = self.id(agent) else { continue };
                    self.emitter.emit(EventKind::Answer {
                        agent: id.clone(),
                        number,
                        text: text.as_ref().to_owned(),
                    });
                    if last && self.agents.len() > 1 {
                        self.emitter.emit(EventKind::LimitReached {
                            limit: "answers".into(),
                            message: format!(
                                "{id} has given {number} {}, as many as an agent may; from now on it only votes",
                                if number == 1 { "answer" } else { "answers" }
                            ),
                        });
                    }
                }
                Command::Voted { agent, candidate, reason } => {
                    if let (Some(agent), Some(candidate)) = (self.id(agent), self.id(candidate)) {
                        self.emitter.emit(EventKind::Vote { agent, candidate, reason });
                    }
                }
                Command::Pause { agent, failure, delay } => {
                    if let Some(seat) = self.seats.get_mut(agent) {
                        seat.pause_over = Some(after(delay));
                    }
                    self.failed(agent, failure, Some(delay));
                }
                Command::GiveUp { agent, failure } => {
                    if let Some(seat) = self.seats.get_mut(agent) {
                        seat.given_up = Some(failure.error.clone());
                    }
                    self.failed(agent, failure, None);
                }
                Command::Finish { ending, tally } => ended = Some((ending, tally)),
            }
        }
        ended
    }

    fn failed(&self, agent: usize, failure: Failure, delay: Option<Duration>) {
        let Some(agent) = self.id(agent) else { return };
        let retry_in_ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        let Failure { error, hint, .. } = failure;
        self.emitter.emit(EventKind::AgentFailed { agent, error, hint, retry_in_ms });
    }

    fn start(&mut self, agent: usize, number: u32, snapshot: &Snapshot, may_answer: bool) {
        let candidates = self.candidates(agent, snapshot);
        let (Some(member), Some(seat)) = (self.agents.get(agent), self.seats.get_mut(agent)) else { return };
        self.emitter.emit(EventKind::RoundStarted {
            agent: member.id.clone(),
            round: number,
            sees: candidates.iter().map(|candidate| candidate.id.clone()).collect(),
        });
        seat.cancel = CancellationToken::new();
        let resumed = seat.resumable.take().filter(|(generation, _)| *generation == snapshot.generation);
        let round = Round {
            agent: member.clone(),
            number,
            candidates,
            may_answer,
            task: self.task.clone(),
            tool_loop: self.options.tool_loop.clone(),
            limit: self.options.limits.round,
            now: self.now.clone(),
            resumed: resumed.map(|(_, messages)| messages),
        };
        let feed = Feed {
            agent: member.id.clone(),
            emitter: self.emitter.clone(),
            meter: self.budget.meter(agent),
            draft: seat.draft.clone(),
            cancel: seat.cancel.clone(),
        };
        let span = tracing::info_span!(
            "round",
            otel.name = %format_args!("invoke_agent {}", member.id),
            otel.kind = "internal",
            gen_ai.operation.name = "invoke_agent",
            gen_ai.agent.id = %member.id,
            massgen.round = number,
        );
        let task = run_round(round, feed, seat.cancel.clone(), self.mode).instrument(span);
        let task = self.rounds.spawn(task);
        self.running.insert(task.id(), Running { agent, round: number, generation: snapshot.generation });
    }

    /// The answers as an agent sees them: under names that stay the same for the whole run, in its own order.
    fn candidates(&self, agent: usize, snapshot: &Snapshot) -> Vec<Candidate> {
        let candidates = snapshot
            .answers
            .iter()
            .filter_map(|(seat, answer)| {
                let (seat, id) = (*seat, self.id(*seat)?);
                Some(Candidate { seat, name: anonymous(seat), id, answer: answer.clone() })
            })
            .collect();
        order_for(agent, self.options.seed, candidates)
    }

    /// Announces the winner and has it present.
    async fn conclude(&mut self, ending: Ending, tally: Tally, cancel: &CancellationToken) -> Conclusion {
        if let Ending::Limit(limit) = ending {
            let (limit, message) = self.describe(limit);
            self.emitter.emit(EventKind::LimitReached { limit, message });
        }
        self.emitter.emit(EventKind::Winner {
            agent: tally.winner.and_then(|winner| self.id(winner)),
            votes: self.counts(&tally),
            tie: tally.tie,
        });
        let mut winner = tally.winner;
        let mut answer = winner.and_then(|winner| self.state.answer(winner)).map(|a| a.as_ref().to_owned());
        let mut outcome = match ending {
            Ending::Interrupted => RunOutcome::Interrupted,
            Ending::Limit(_) if answer.is_some() => RunOutcome::TimedOut,
            _ if answer.is_some() => RunOutcome::Answered,
            _ => RunOutcome::NoAnswer,
        };
        // Not by one that was given up: it would only fail once more.
        let able = |seat: usize| self.seats.get(seat).is_some_and(|seat| seat.given_up.is_none());
        let presents = self.options.synthesize_final
            && self.agents.len() > 1
            && ending == Ending::Agreed
            && winner.is_some_and(able);
        match (winner, &answer) {
            (Some(seat), Some(_)) if presents => {
                let ended = tokio::select! {
                    biased;
                    () = cancel.cancelled() => None,
                    text = self.present(seat, &tally, cancel) => Some(text),
                };
                match ended {
                    Some(Some(text)) => answer = Some(text),
                    Some(None) => {}
                    None => outcome = RunOutcome::Interrupted,
                }
            }
            (None, _) => {
                // Nobody submitted anything: what was being written is better than nothing.
                let draft = |seat: &Seat| seat.draft.best();
                if let Some((seat, text)) =
                    self.seats.iter().enumerate().find_map(|(at, seat)| draft(seat).map(|text| (at, text)))
                {
                    if let Some(id) = self.id(seat) {
                        let message = format!(
                            "nobody had submitted an answer; what {id} had written until then is the final one"
                        );
                        self.emitter.emit(EventKind::Warning { message });
                    }
                    if let Ending::Limit(_) = ending {
                        outcome = RunOutcome::TimedOut;
                    }
                    (winner, answer) = (Some(seat), Some(text));
                }
            }
            _ => {}
        }
        if let (Some(agent), Some(text)) = (winner.and_then(|winner| self.id(winner)), &answer) {
            self.emitter.emit(EventKind::FinalAnswer { agent, text: text.clone() });
        }
        Conclusion { outcome, tally, winner, answer }
    }

    /// The winner's final answer, or `None`: its answer of the coordination has to do.
    async fn present(&self, seat: usize, tally: &Tally, cancel: &CancellationToken) -> Option<String> {
        let agent = self.agents.get(seat)?;
        self.emitter.emit(EventKind::PresentationStarted { agent: agent.id.clone() });
        let ballots: Vec<_> = self.state.ballots().collect();
        let for_winner = |(_, candidate, _): &&(usize, usize, &str)| *candidate == seat;
        let reasons: Vec<&str> = ballots
            .iter()
            .filter(for_winner)
            .map(|(_, _, reason)| *reason)
            .filter(|reason| !reason.trim().is_empty())
            .collect();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let presentation = Presentation {
            agent,
            seat,
            round: self.state.rounds(seat),
            candidates: self.candidates(seat, &self.state.snapshot()),
            votes: (count(ballots.iter().filter(for_winner).count()), count(ballots.len())),
            tie: tally.tie,
            reasons,
            task: &self.task,
            now: &self.now,
        };
        let cancel = cancel.child_token();
        let _ends_with_this = cancel.clone().drop_guard();
        let feed = Feed {
            agent: agent.id.clone(),
            emitter: self.emitter.clone(),
            meter: self.budget.meter(seat),
            draft: Draft::default(),
            cancel: cancel.clone(),
        };
        let limit = self.options.limits.presentation;
        let written = tokio::time::timeout(limit, present(presentation, feed, &cancel))
            .await
            .unwrap_or_else(|_| Err(format!("it took longer than {} s", limit.as_secs_f32())));
        match written {
            Ok(text) => Some(text),
            Err(_) if cancel.is_cancelled() => None,
            Err(reason) => {
                let message = format!(
                    "{} could not write the final answer ({reason}); the answer it had given is the final one",
                    agent.id
                );
                self.emitter.emit(EventKind::Warning { message });
                None
            }
        }
    }

    fn finish(self, conclusion: Conclusion, started: Instant) -> RunResult {
        let spent = self.budget.spent();
        let mut usage = Usage::default();
        spent.iter().for_each(|agent| usage.add(&agent.usage));
        let agents: Vec<AgentSummary> = self
            .agents
            .iter()
            .zip(&self.seats)
            .zip(&spent)
            .enumerate()
            .map(|(at, ((agent, seat), spent))| AgentSummary {
                id: agent.id.clone(),
                rounds: self.state.rounds(at),
                answers: self.state.answers(at),
                tool_calls: spent.tool_calls,
                usage: spent.usage,
                failure: seat.given_up.clone(),
            })
            .collect();
        let Conclusion { outcome, tally, winner, answer } = conclusion;
        let duration = started.elapsed();
        self.emitter.emit(EventKind::RunFinished {
            outcome,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            usage,
            agents: agents.clone(),
        });
        let ballots = self
            .state
            .ballots()
            .filter_map(|(voter, candidate, reason)| {
                let (voter, candidate) = (self.id(voter)?, self.id(candidate)?);
                Some(Ballot { voter, candidate, reason: reason.to_owned() })
            })
            .collect();
        RunResult {
            outcome,
            winner: winner.and_then(|winner| self.id(winner)),
            answer,
            votes: self.counts(&tally),
            ballots,
            tie: tally.tie,
            usage,
            agents,
            duration,
        }
    }

    fn counts(&self, tally: &Tally) -> Vec<(mcp_core::AgentId, u32)> {
        tally.counts.iter().filter_map(|(agent, votes)| Some((self.id(*agent)?, *votes))).collect()
    }

    fn id(&self, agent: usize) -> Option<mcp_core::AgentId> {
        self.agents.get(agent).map(|agent| agent.id.clone())
    }

    fn describe(&self, limit: Limit) -> (String, String) {
        let limits = &self.options.limits;
        let (name, what) = match limit {
            Limit::Time => ("time", format!("{} s are over", limits.total.as_secs_f32())),
            Limit::Tokens => {
                ("tokens", format!("more than {} tokens are used", limits.max_tokens.unwrap_or_default()))
            }
            Limit::Cost => (
                "cost",
                format!("more than {} US dollars are spent", limits.max_cost_usd.unwrap_or_default()),
            ),
            Limit::Rounds => ("rounds", format!("an agent has had its {} rounds", limits.max_rounds)),
        };
        (name.to_owned(), format!("{what}; the team stops, and the best answer so far is the final one"))
    }
}

/// The moment after a time; a time too long for the clock is a year.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    let year = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(time.min(year)).unwrap_or(now)
}

async fn reached(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Numbers from 0 to 1 that look random and depend on the seed only (SplitMix64).
struct Jitter(u64);

impl Jitter {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
}
