//! What is wrong with a script, all at once and before anything runs.

use std::fmt;

use serde_json::Value;

use super::script::{Script, ScriptPhase, ScriptTurn, VoteTarget, When};
use super::template;

/// One thing wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptProblem {
    /// Where, as a path of keys such as `agents.scout[2].answer`; empty for the script as a whole.
    pub place: String,
    /// What is wrong and what to do, in a sentence.
    pub message: String,
}

impl fmt::Display for ScriptProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.place, self.message)
        }
    }
}

impl Script {
    /// Everything that is wrong with the script by itself; empty: nothing.
    pub fn validate(&self) -> Vec<ScriptProblem> {
        let mut problems = Problems::default();
        if self.turns.is_empty() && self.agents.values().all(Vec::is_empty) {
            problems
                .add("", "the script has no turns; add agents: with turns of each agent, or turns: for all");
        }
        if self.question.as_deref().is_some_and(|question| question.trim().is_empty()) {
            problems.add("question", "the question is empty; leave it out or ask something");
        }
        for (agent, turns) in &self.agents {
            problems.turns(&format!("agents.{agent}"), turns);
        }
        problems.turns("turns", &self.turns);
        problems.0
    }

    /// What is wrong with the script for this team: turns of agents that are not in it, agents without turns.
    pub fn validate_for<'a>(&self, team: impl IntoIterator<Item = &'a str>) -> Vec<ScriptProblem> {
        let team: Vec<&str> = team.into_iter().collect();
        let mut problems = Problems::default();
        for agent in self.agents.keys().filter(|agent| !team.contains(&agent.as_str())) {
            let ids = template::list(team.iter().copied());
            problems.add(
                format!("agents.{agent}"),
                format!(
                    "no agent of the team that plays this script is called {agent:?}; those that do: {ids}"
                ),
            );
        }
        if self.turns.is_empty() {
            for agent in team.iter().filter(|agent| self.agents.get(**agent).is_none_or(Vec::is_empty)) {
                problems.add(
                    "agents",
                    format!("there are no turns for {agent:?}; add agents.{agent}, or turns: for all"),
                );
            }
        }
        problems.0
    }
}

#[derive(Default)]
struct Problems(Vec<ScriptProblem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(ScriptProblem { place: place.into(), message: message.into() });
    }

    fn turns(&mut self, list: &str, turns: &[ScriptTurn]) {
        let mut always: Option<usize> = None;
        for (at, turn) in turns.iter().enumerate() {
            let place = format!("{list}[{at}]");
            if let Some(before) = always {
                self.add(
                    &place,
                    format!(
                        "{list}[{before}] always fits and is never used up, so this turn is never played"
                    ),
                );
                // Said once: the turns after it have the same cause.
                always = None;
            }
            self.turn(&place, turn);
            if turn.repeat && turn.when == When::default() && at + 1 < turns.len() {
                always = Some(at);
            }
        }
    }

    fn turn(&mut self, place: &str, turn: &ScriptTurn) {
        let says = turn.reasoning.is_some() || turn.text.is_some();
        let calls = !turn.calls.is_empty() || turn.answer.is_some() || turn.vote.is_some();
        match (turn.silence, says || calls || turn.error.is_some()) {
            (false, false) => {
                self.add(place, "the turn does nothing; give it text:, calls:, answer:, vote: or error:, or say silence: true");
            }
            (true, true) => {
                self.add(place, "a turn with silence: true says and calls nothing; remove one or the other")
            }
            _ => {}
        }
        if turn.error.is_some() && calls {
            self.add(place, "a turn that ends in an error: cannot call anything; split it in two");
        }
        if turn.answer.is_some() && turn.vote.is_some() {
            self.add(
                place,
                "a turn cannot both answer and vote; to rehearse that fault, write them as calls:",
            );
        }
        if turn.repeat && turn.times.is_some() {
            self.add(place, "repeat: true and times: exclude each other; keep one");
        }
        if turn.times == Some(0) {
            self.add(place, "with times: 0 the turn is never played; leave times: out for once");
        }
        if turn.when.phase == Some(ScriptPhase::Presentation)
            && (turn.answer.is_some() || turn.vote.is_some())
        {
            self.add(place, "the presentation has neither answers nor votes; give it text:");
        }
        if turn.when.round == Some(0) {
            self.add(format!("{place}.when.round"), "rounds count from 1");
        }
        let texts = [("reasoning", &turn.reasoning), ("text", &turn.text), ("answer", &turn.answer)];
        for (key, text) in texts {
            self.template(&format!("{place}.{key}"), text.as_deref());
        }
        for (at, call) in turn.calls.iter().enumerate() {
            let place = format!("{place}.calls[{at}]");
            if call.tool.trim().is_empty() {
                self.add(format!("{place}.tool"), "the tool's name is empty");
            }
            if !matches!(call.arguments, Value::Object(_) | Value::String(_)) {
                self.add(
                    format!("{place}.arguments"),
                    "arguments are a mapping, or a text to be sent as it is",
                );
            }
            self.templates(&format!("{place}.arguments"), &call.arguments);
        }
        if let Some(vote) = &turn.vote {
            self.template(&format!("{place}.vote.reason"), Some(&vote.reason));
            if matches!(&vote.target, VoteTarget::Id(id) if id.trim().is_empty()) {
                self.add(
                    format!("{place}.vote.for"),
                    "the vote is for nobody; name a candidate such as agent1",
                );
            }
        }
        if let Some(error) = &turn.error {
            if !(400..=599).contains(&error.status) {
                self.add(format!("{place}.error.status"), "the status of an error is between 400 and 599");
            }
            self.template(&format!("{place}.error.message"), Some(&error.message));
        }
        if turn.usage.is_some_and(|usage| !(usage.cost_usd.is_finite() && usage.cost_usd >= 0.0)) {
            self.add(format!("{place}.usage.cost_usd"), "a cost is not negative");
        }
    }

    fn template(&mut self, place: &str, text: Option<&str>) {
        if let Some(Err(problem)) = text.map(template::parse) {
            self.add(place, problem);
        }
    }

    fn templates(&mut self, place: &str, value: &Value) {
        match value {
            Value::String(text) => self.template(place, Some(text)),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    self.templates(&format!("{place}[{at}]"), item);
                }
            }
            Value::Object(fields) => {
                for (key, value) in fields {
                    self.templates(&format!("{place}.{key}"), value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
