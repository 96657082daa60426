//! Plays turns as event streams.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream;
use mcp_core::JsonObject;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::choose::Ledger;
use super::script::{Script, ScriptError, ScriptTurn, ScriptVote, VoteTarget};
use super::template::{Scene, list};
use crate::{
    Backend, BackendError, Event, EventStream, FinishReason, Message, ModelInfo, Request, ToolInvocation,
    Turn, Usage,
};

/// The label of [`ModelInfo::provider`], and of errors.
const PROVIDER: &str = "Scripted";

/// A model played from a [`Script`], for one agent. Cheap to clone; clones share what is used up.
///
/// Turns are counted anew for every question: a new run begins where the question changes, the round goes back, or
/// coordination follows a presentation.
#[derive(Debug, Clone)]
pub struct ScriptedBackend(Arc<Player>);

#[derive(Debug)]
struct Player {
    script: Arc<Script>,
    agent: String,
    model: ModelInfo,
    ledger: Mutex<Ledger>,
    calls: AtomicU64,
}

impl ScriptedBackend {
    /// Plays the script's part of this agent under this model's name. Check the script with [`Script::validate`] and
    /// [`Script::validate_for`] before; what they would find is an error of the stream otherwise.
    pub fn new(script: impl Into<Arc<Script>>, agent: impl Into<String>, model: impl Into<String>) -> Self {
        Self(Arc::new(Player {
            script: script.into(),
            agent: agent.into(),
            model: ModelInfo { provider: PROVIDER.to_owned(), model: model.into() },
            ledger: Mutex::default(),
            calls: AtomicU64::new(0),
        }))
    }
}

impl Backend for ScriptedBackend {
    fn model(&self) -> &ModelInfo {
        &self.0.model
    }

    fn stream(&self, request: Request, cancel: CancellationToken) -> EventStream {
        let playing = Playing::Waiting { player: self.0.clone(), request: Box::new(request) };
        Box::pin(stream::unfold((playing, cancel), |(mut playing, cancel)| async move {
            // Dropping the pause when the token fires is all there is to stop.
            let item = cancel.run_until_cancelled(playing.next()).await;
            match item {
                Some(item) => item.map(|item| (item, (playing, cancel))),
                None if playing.is_over() => None,
                None => Some((Err(BackendError::Cancelled), (Playing::over(), cancel))),
            }
        }))
    }
}

/// A stream at its place in a turn.
enum Playing {
    /// Not polled yet: no turn is used up.
    Waiting { player: Arc<Player>, request: Box<Request> },
    /// These steps are left.
    Steps(VecDeque<Step>),
}

#[derive(Debug)]
enum Step {
    Wait(Duration),
    Emit(Event),
    Fail(BackendError),
}

impl Playing {
    fn over() -> Self {
        Self::Steps(VecDeque::new())
    }

    fn is_over(&self) -> bool {
        matches!(self, Self::Steps(steps) if steps.is_empty())
    }

    async fn next(&mut self) -> Option<Result<Event, BackendError>> {
        if let Self::Waiting { player, request } = self {
            let steps = player
                .perform(request)
                .unwrap_or_else(|problem| VecDeque::from([Step::Fail(BackendError::Unsupported(problem))]));
            *self = Self::Steps(steps);
        }
        let Self::Steps(steps) = self else { return None };
        loop {
            match steps.pop_front()? {
                Step::Wait(pause) => tokio::time::sleep(pause).await,
                Step::Emit(event) => return Some(Ok(event)),
                Step::Fail(error) => {
                    steps.clear();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl Player {
    /// Chooses the turn and lays out all it does.
    fn perform(&self, request: &Request) -> Result<VecDeque<Step>, String> {
        let scene = Scene { agent: &self.agent, request };
        let turns = self.script.turns_of(&self.agent);
        let at = self.ledger.lock().unwrap_or_else(PoisonError::into_inner).choose(&turns, scene)?;
        let chosen = &turns[at];
        self.lay_out(chosen.turn, scene)
            .map_err(|problem| format!("the script's {} for agent {:?}: {problem}", chosen.place, self.agent))
    }

    fn lay_out(&self, turn: &ScriptTurn, scene: Scene<'_>) -> Result<VecDeque<Step>, String> {
        let fill = |text: &Option<String>| text.as_deref().map(|text| scene.fill(text)).transpose();
        let reasoning = fill(&turn.reasoning)?.unwrap_or_default();
        let text = fill(&turn.text)?.unwrap_or_default();
        let calls = self.calls(turn, scene)?;

        let mut steps =
            Steps { steps: VecDeque::new(), between: turn.chunk_delay.unwrap_or(self.script.chunk_delay).0 };
        let delay = turn.delay.unwrap_or(self.script.delay).0;
        if let Some(error) = &turn.error {
            let message = scene.fill(&error.message)?;
            if reasoning.is_empty() && text.is_empty() {
                steps.wait(delay);
                steps.push(Step::Fail(error.refused(message)));
                return Ok(steps.steps);
            }
        }
        steps.emit(Event::Start { model: Some(self.model.model.clone()), id: None });
        steps.wait(delay);
        steps.words(&reasoning, Event::Reasoning);
        steps.words(&text, Event::Text);
        if let Some(error) = &turn.error {
            let message = scene.fill(&error.message)?;
            steps.push(Step::Fail(error.broken_off(message)));
            return Ok(steps.steps);
        }
        for (index, (call, json)) in calls.iter().enumerate() {
            steps.emit(Event::ToolCallStart { index, id: call.id.clone(), name: call.name.clone() });
            steps.words(json, |delta| Event::ToolCallArguments { index, delta });
            steps.emit(Event::ToolCall(call.clone()));
        }
        let written = reasoning.len()
            + text.len()
            + calls.iter().map(|(c, json)| c.name.len() + json.len()).sum::<usize>();
        steps.emit(Event::Usage(usage(turn, scene.request, written)));
        let reason = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
        let calls = calls.into_iter().map(|(call, _)| call).collect();
        steps.emit(Event::Done { reason, turn: Turn { origin: None, items: Vec::new(), text, calls } });
        Ok(steps.steps)
    }

    /// The turn's calls in order, each with its arguments as JSON text.
    fn calls(&self, turn: &ScriptTurn, scene: Scene<'_>) -> Result<Vec<(ToolInvocation, String)>, String> {
        let mut calls = Vec::new();
        for call in &turn.calls {
            calls.push(match &call.arguments {
                Value::String(raw) => {
                    let raw = scene.fill(raw)?;
                    let arguments = serde_json::from_str::<JsonObject>(&raw).map_err(|_| raw.clone());
                    (self.call(&call.tool, arguments), raw)
                }
                arguments => self.whole_call(&call.tool, scene.fill_value(arguments)?),
            });
        }
        if let Some(answer) = &turn.answer {
            calls.push(self.whole_call("new_answer", json!({"content": scene.fill(answer)?})));
        }
        if let Some(vote) = &turn.vote {
            let reason = scene.fill(&vote.reason)?;
            calls
                .push(self.whole_call("vote", json!({"agent_id": vote.candidate(scene)?, "reason": reason})));
        }
        Ok(calls)
    }

    fn whole_call(&self, tool: &str, arguments: Value) -> (ToolInvocation, String) {
        let json = arguments.to_string();
        let arguments = match arguments {
            Value::Object(fields) => Ok(fields),
            _ => Err(json.clone()),
        };
        (self.call(tool, arguments), json)
    }

    fn call(&self, tool: &str, arguments: Result<JsonObject, String>) -> ToolInvocation {
        let number = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        ToolInvocation { id: format!("{}-call-{number}", self.agent), name: tool.to_owned(), arguments }
    }
}

impl ScriptVote {
    fn candidate(&self, scene: Scene<'_>) -> Result<String, String> {
        // By id, not by the order in which this agent happens to see them: the same script votes the same.
        let mut candidates: Vec<&(String, String)> = scene.request.context.candidates.iter().collect();
        candidates.sort_by_key(|(id, _)| (id.len(), id.as_str()));
        let found = match &self.target {
            VoteTarget::Id(id) => return Ok(id.clone()),
            VoteTarget::First => candidates.first(),
            VoteTarget::Last => candidates.last(),
            // The first of the longest: `max_by_key` would take the last.
            VoteTarget::Longest => candidates.iter().rev().max_by_key(|(_, answer)| answer.chars().count()),
            VoteTarget::Answer(wanted) => candidates.iter().find(|(_, answer)| wanted.is_match(answer)),
        };
        found.map(|(id, _)| id.clone()).ok_or_else(|| {
            let ids = list(scene.request.context.candidates.iter().map(|(id, _)| id.as_str()));
            format!("its vote fits no candidate; there are: {ids}")
        })
    }
}

impl ScriptError {
    fn message(&self, message: String) -> String {
        if message.is_empty() { "a failure from the script".to_owned() } else { message }
    }

    fn refused(&self, message: String) -> BackendError {
        let provider = PROVIDER.to_owned();
        let message = self.message(message);
        match self.status {
            401 | 403 => BackendError::Auth { provider, message, hint: "The script says so.".to_owned() },
            status => BackendError::Http {
                provider,
                status,
                code: None,
                message,
                retry_after: self.retry_after.map(|pause| pause.0),
                request_id: None,
            },
        }
    }

    fn broken_off(&self, message: String) -> BackendError {
        BackendError::InStream {
            provider: PROVIDER.to_owned(),
            code: Some(self.status.to_string()),
            message: self.message(message),
            retryable: self.status == 429 || self.status >= 500,
        }
    }
}

struct Steps {
    steps: VecDeque<Step>,
    between: Duration,
}

impl Steps {
    fn push(&mut self, step: Step) {
        self.steps.push_back(step);
    }

    fn emit(&mut self, event: Event) {
        self.push(Step::Emit(event));
    }

    fn wait(&mut self, pause: Duration) {
        if !pause.is_zero() {
            self.push(Step::Wait(pause));
        }
    }

    /// The text word by word, white space kept, with pauses between.
    fn words(&mut self, text: &str, event: impl Fn(String) -> Event) {
        for (at, word) in words(text).into_iter().enumerate() {
            if at > 0 {
                self.wait(self.between);
            }
            self.emit(event(word.to_owned()));
        }
    }
}

/// The words of a text, each with the white space after it. A text without white space comes in pieces too.
fn words(text: &str) -> Vec<&str> {
    const LONGEST: usize = 24;
    let mut words = Vec::new();
    let mut start = 0;
    let mut length = 0;
    let mut in_space = false;
    for (at, c) in text.char_indices() {
        let word_begins = in_space && !c.is_whitespace();
        if at > start && (word_begins || length >= LONGEST) {
            words.push(&text[start..at]);
            (start, length) = (at, 0);
        }
        length += 1;
        in_space = c.is_whitespace();
    }
    if start < text.len() {
        words.push(&text[start..]);
    }
    words
}

fn usage(turn: &ScriptTurn, request: &Request, written: usize) -> Usage {
    if let Some(usage) = turn.usage {
        return Usage {
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            output_tokens: usage.output_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            cost_usd: Some(usage.cost_usd),
        };
    }
    let read = request.system.as_ref().map_or(0, String::len)
        + request.messages.iter().map(size).sum::<usize>()
        + request.tools.iter().map(|tool| tool.name.len() + tool.description.len()).sum::<usize>();
    Usage {
        input_tokens: tokens(read),
        output_tokens: tokens(written),
        reasoning_tokens: tokens(turn.reasoning.as_ref().map_or(0, String::len)),
        cost_usd: Some(0.0),
        ..Usage::default()
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::User(text) => text.len(),
        Message::Assistant(turn) => {
            turn.text.len() + turn.calls.iter().map(|call| call.name.len()).sum::<usize>()
        }
        Message::ToolReplies(replies) => replies.iter().map(|reply| reply.text.len()).sum(),
    }
}

/// Four characters a token: no real tokenizer stands behind a script.
fn tokens(characters: usize) -> u64 {
    (characters as u64).div_ceil(4)
}
