//! Teams of models that do what a closure says.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use massgen_backends::{
    Backend, BackendError, Capabilities, Event as ModelEvent, EventStream, FinishReason, ModelInfo, Request,
    ToolInvocation, Turn, Usage,
};
use massgen_orchestrator::*;
use mcp_core::{
    AgentId, BoxFuture, Catalogue, JsonObject, ServerName, ToolCall, ToolError, ToolFilter, ToolName,
    ToolOutput, ToolService, ToolSpec,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// One thing a played model does.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Wait(u64),
    Say(&'static str),
    Spend(u64),
    /// The beginning of a call's arguments, as they stream.
    Write(&'static str, &'static str),
    Fail(BackendError),
    Hang,
    End(Vec<(String, Value)>),
}

pub(crate) fn answer(text: &str) -> Vec<Act> {
    vec![Act::Wait(1), calls(&[("new_answer", json!({"content": text}))])]
}

pub(crate) fn vote(name: &str) -> Vec<Act> {
    vec![Act::Wait(1), calls(&[("vote", json!({"agent_id": name, "reason": format!("{name} is right")}))])]
}

pub(crate) fn calls(calls: &[(&str, Value)]) -> Act {
    Act::End(calls.iter().map(|(name, arguments)| ((*name).to_owned(), arguments.clone())).collect())
}

pub(crate) fn text(text: &'static str) -> Vec<Act> {
    vec![Act::Say(text), calls(&[])]
}

pub(crate) fn server_error() -> BackendError {
    BackendError::Http {
        provider: "Test".into(),
        status: 500,
        code: None,
        message: "down".into(),
        retry_after: None,
        request_id: None,
    }
}

pub(crate) fn bad_key() -> BackendError {
    BackendError::Auth { provider: "Test".into(), message: "no".into(), hint: "set TEST_API_KEY".into() }
}

type Play = dyn Fn(&Request, usize) -> Vec<Act> + Send + Sync;

/// A model that does what its closure makes of the request and of how many there were before.
pub(crate) struct Model {
    info: ModelInfo,
    play: Box<Play>,
    forced: bool,
    pub(crate) requests: Mutex<Vec<Request>>,
    /// Streams that are not dropped yet.
    pub(crate) live: Arc<AtomicUsize>,
    /// Streams that were dropped or cancelled before their end.
    pub(crate) stopped: Arc<AtomicUsize>,
}

struct Live {
    live: Arc<AtomicUsize>,
    stopped: Arc<AtomicUsize>,
    whole: bool,
    cancel: CancellationToken,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
        if !self.whole {
            assert!(self.cancel.is_cancelled(), "a dropped stream's token has fired");
            self.stopped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Backend for Model {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.forced_tool_use = self.forced;
        capabilities
    }

    fn stream(&self, request: Request, cancel: CancellationToken) -> EventStream {
        let number = {
            let mut requests = self.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        let acts = (self.play)(&request, number);
        self.live.fetch_add(1, Ordering::SeqCst);
        let live = Live { live: self.live.clone(), stopped: self.stopped.clone(), whole: false, cancel };
        let state = (acts.into_iter(), live, String::new());
        Box::pin(
            futures_util::stream::unfold(state, move |(mut acts, mut live, mut said)| async move {
                let event = match acts.next()? {
                    Act::Wait(seconds) => {
                        tokio::time::sleep(Duration::from_secs(seconds)).await;
                        Ok(ModelEvent::Start { model: None, id: None })
                    }
                    Act::Say(text) => {
                        said.push_str(text);
                        Ok(ModelEvent::Text(text.into()))
                    }
                    Act::Spend(tokens) => {
                        Ok(ModelEvent::Usage(Usage { input_tokens: tokens, ..Usage::default() }))
                    }
                    Act::Write("", delta) => {
                        Ok(ModelEvent::ToolCallArguments { index: 0, delta: delta.into() })
                    }
                    Act::Write(name, _) => {
                        Ok(ModelEvent::ToolCallStart { index: 0, id: "0".into(), name: name.into() })
                    }
                    Act::Fail(error) => {
                        live.whole = true;
                        Err(error)
                    }
                    Act::Hang => std::future::pending().await,
                    Act::End(calls) => {
                        live.whole = true;
                        let reason =
                            if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
                        let calls = calls
                            .into_iter()
                            .enumerate()
                            .map(|(at, (name, arguments))| ToolInvocation {
                                id: format!("{number}-{at}"),
                                name,
                                arguments: match arguments {
                                    Value::Object(object) => Ok(object),
                                    Value::String(broken) => Err(broken),
                                    other => Err(other.to_string()),
                                },
                            })
                            .collect();
                        let turn = Turn { text: std::mem::take(&mut said), calls, ..Turn::default() };
                        Ok(ModelEvent::Done { reason, turn })
                    }
                };
                Some((event, (acts, live, said)))
            })
            .boxed(),
        )
    }
}

/// A server with one tool, `mcp__s__look`.
pub(crate) struct Look;

impl ToolService for Look {
    fn catalogue(&self) -> Arc<Catalogue> {
        let server = ServerName::new("s").unwrap();
        let tool = ToolSpec::new(server.clone(), ToolName::new("look").unwrap());
        Arc::new(Catalogue::build([(server, vec![tool], ToolFilter::default())]).catalogue)
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        let arguments: JsonObject = call.arguments;
        Box::pin(async move { Ok(ToolOutput::text(format!("seen {}", Value::Object(arguments)))) })
    }
}

pub(crate) struct Team {
    agents: Vec<Agent>,
    models: Vec<Arc<Model>>,
    pub(crate) options: Options,
    pub(crate) task: Task,
    pub(crate) cancel: CancellationToken,
    /// Interrupts the run after so many seconds.
    pub(crate) interrupt: Option<u64>,
}

pub(crate) struct Played {
    pub(crate) result: RunResult,
    pub(crate) events: Vec<Event>,
    pub(crate) models: Vec<Arc<Model>>,
}

impl Team {
    /// Agents `alpha`, `beta`, … Without a synthesis, as most tests are about what comes before it.
    pub(crate) fn new() -> Self {
        Self {
            agents: Vec::new(),
            models: Vec::new(),
            options: Options { synthesize_final: false, ..Options::default() },
            task: Task::new("What is 6 times 7?"),
            cancel: CancellationToken::new(),
            interrupt: None,
        }
    }

    pub(crate) fn with(self, play: impl Fn(&Request, usize) -> Vec<Act> + Send + Sync + 'static) -> Self {
        self.member(play, false)
    }

    pub(crate) fn with_forced(
        self,
        play: impl Fn(&Request, usize) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        self.member(play, true)
    }

    fn member(
        mut self,
        play: impl Fn(&Request, usize) -> Vec<Act> + Send + Sync + 'static,
        forced: bool,
    ) -> Self {
        let name = ["alpha", "beta", "gamma", "delta"][self.agents.len()];
        let model = Arc::new(Model {
            info: ModelInfo { provider: "Test".into(), model: format!("model of {name}") },
            play: Box::new(play),
            forced,
            requests: Mutex::default(),
            live: Arc::default(),
            stopped: Arc::default(),
        });
        self.models.push(model.clone());
        self.agents.push(Agent::new(AgentId::new(name).unwrap(), model).with_tools(Arc::new(Look)));
        self
    }

    pub(crate) fn agents(&self) -> &[Agent] {
        &self.agents
    }

    pub(crate) fn models(&self) -> Vec<Arc<Model>> {
        self.models.clone()
    }

    /// Plays the run and checks what holds for every run.
    pub(crate) async fn play(self) -> Played {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let sink = events.clone();
        let emitter = Emitter::new(move |event| sink.lock().unwrap().push(event.clone()));
        let cancel = self.cancel.clone();
        let interrupter = async {
            match self.interrupt {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
            cancel.cancel();
            std::future::pending::<()>().await;
        };
        let running = run(&self.agents, &self.task, &self.options, &emitter, &self.cancel);
        let result = tokio::select! {
            result = running => result,
            () = interrupter => unreachable!(),
        };
        let events = std::mem::take(&mut *events.lock().unwrap());
        let played = Played { result, events, models: self.models };
        played.check_shape();
        played
    }
}

impl Played {
    fn check_shape(&self) {
        let events = &self.events;
        assert!(matches!(events.first().map(|e| &e.kind), Some(EventKind::RunStarted { .. })));
        assert!(matches!(events.last().map(|e| &e.kind), Some(EventKind::RunFinished { .. })));
        let seqs: Vec<_> = events.iter().map(|event| event.seq).collect();
        assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
        let finals = events.iter().filter(|e| matches!(e.kind, EventKind::FinalAnswer { .. })).count();
        assert_eq!(finals, usize::from(self.result.answer.is_some()));
        self.check_rules();
        for (at, model) in self.models.iter().enumerate() {
            assert_eq!(model.live.load(Ordering::SeqCst), 0, "model {at} was left streaming");
        }
    }

    /// The rules of the coordination, as the events tell them.
    fn check_rules(&self) {
        let mut answered: Vec<AgentId> = Vec::new();
        let mut answers: HashMap<AgentId, u32> = HashMap::new();
        let mut running: HashSet<AgentId> = HashSet::new();
        let mut given_up: HashSet<AgentId> = HashSet::new();
        let mut votes: HashMap<AgentId, AgentId> = HashMap::new();
        for event in &self.events {
            match &event.kind {
                EventKind::RoundStarted { agent, sees, .. } => {
                    assert!(running.insert(agent.clone()), "{agent} works twice at once");
                    assert!(!given_up.contains(agent), "{agent} was given up");
                    assert!(!votes.contains_key(agent), "{agent} has voted");
                    let sees: HashSet<_> = sees.iter().collect();
                    assert_eq!(sees, answered.iter().collect(), "a round knows all answers");
                }
                EventKind::Restarted { agent, .. } => assert!(running.remove(agent)),
                EventKind::Answer { agent, number, .. } => {
                    let count = answers.entry(agent.clone()).or_default();
                    *count += 1;
                    assert_eq!(count, number);
                    if *count == 1 {
                        answered.push(agent.clone());
                    }
                    running.remove(agent);
                    votes.clear();
                }
                EventKind::Vote { agent, candidate, .. } => {
                    assert!(running.remove(agent), "{agent} votes without a round");
                    assert!(answered.contains(candidate), "{candidate} has no answer");
                    votes.insert(agent.clone(), candidate.clone());
                }
                EventKind::AgentFailed { agent, retry_in_ms, .. } => {
                    assert!(running.remove(agent), "{agent} fails without a round");
                    if retry_in_ms.is_none() {
                        assert!(given_up.insert(agent.clone()));
                    }
                }
                EventKind::Text { agent, .. } | EventKind::TurnFinished { agent, .. } => {
                    assert!(!given_up.contains(agent), "{agent} was given up");
                }
                EventKind::Winner { agent, votes: counts, .. } => {
                    let total: u32 = counts.iter().map(|(_, votes)| votes).sum();
                    assert_eq!(total as usize, votes.len(), "only votes younger than the last answer count");
                    for (candidate, count) in counts {
                        let real = votes.values().filter(|vote| *vote == candidate).count();
                        assert_eq!(*count as usize, real);
                    }
                    assert_eq!(agent.is_some(), !answered.is_empty());
                    assert!(agent.iter().all(|agent| answered.contains(agent)));
                }
                _ => {}
            }
        }
    }

    /// The run in short: what happened, without figures and pieces of text.
    pub(crate) fn story(&self) -> Vec<String> {
        let shown = |event: &Event| match &event.kind {
            EventKind::RoundStarted { agent, round, sees } => {
                let sees: Vec<_> = sees.iter().map(AgentId::as_str).collect();
                Some(format!("{agent} round {round} sees {}", sees.join("+")))
            }
            EventKind::Answer { agent, number, text } => Some(format!("{agent} answers #{number}: {text}")),
            EventKind::Vote { agent, candidate, .. } => Some(format!("{agent} votes {candidate}")),
            EventKind::Restarted { agent, because_of } => Some(format!("{agent} restarts for {because_of}")),
            EventKind::AgentFailed { agent, error, retry_in_ms, .. } => Some(format!(
                "{agent} failed: {error}, {}",
                if retry_in_ms.is_some() { "again" } else { "given up" }
            )),
            EventKind::Enforced { agent, attempt, problem } => {
                Some(format!("{agent} attempt {attempt}: {problem}"))
            }
            EventKind::LimitReached { limit, .. } => Some(format!("limit {limit}")),
            EventKind::Warning { message } => Some(format!("warning: {message}")),
            EventKind::Winner { agent, .. } => {
                Some(format!("winner {}", agent.as_ref().map_or("nobody", AgentId::as_str)))
            }
            EventKind::PresentationStarted { agent } => Some(format!("{agent} presents")),
            EventKind::FinalAnswer { text, .. } => Some(format!("final: {text}")),
            EventKind::RunFinished { outcome, .. } => Some(format!("{outcome:?}")),
            EventKind::ToolFinished { agent, result, .. } => Some(format!("{agent} tool: {result}")),
            _ => None,
        };
        self.events.iter().filter_map(shown).collect()
    }

    pub(crate) fn outcome(&self) -> (RunOutcome, Option<&str>, Option<&str>) {
        let result = &self.result;
        (result.outcome, result.winner.as_ref().map(AgentId::as_str), result.answer.as_deref())
    }

    pub(crate) fn requests(&self, model: usize) -> Vec<Request> {
        self.models[model].requests.lock().unwrap().clone()
    }

    pub(crate) fn stopped(&self, model: usize) -> usize {
        self.models[model].stopped.load(Ordering::SeqCst)
    }
}
