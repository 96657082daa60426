//! What an agent's turn means under the protocol of the coordination. Pure.

use std::fmt;

use massgen_backends::{FinishReason, LoopEnd, LoopStop, ToolInvocation};
use mcp_core::JsonObject;
use serde_json::Value;

use super::{Candidate, Round};
use crate::prompt::{NEW_ANSWER, VOTE};

/// What a round comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Answer(String),
    /// For the agent in this place of the team.
    Vote {
        candidate: usize,
        reason: String,
    },
}

/// How a turn broke the protocol. Displays as a sentence for people, without a full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    NoTool,
    Silent,
    TurnLimit,
    SeveralVotes(usize),
    Both,
    NoCandidates,
    UnknownCandidate { named: String, valid: Vec<String> },
    Duplicate { candidate: usize, name: String },
    MayNotAnswer,
    EmptyAnswer,
    BrokenArguments { tool: String, reason: String },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTool => write!(f, "it ended its turn without submitting an answer or voting"),
            Self::Silent => write!(f, "the model answered nothing"),
            Self::TurnLimit => {
                write!(f, "it used up its turns on tools without submitting an answer or voting")
            }
            Self::SeveralVotes(count) => write!(f, "it voted for {count} agents at once"),
            Self::Both => write!(f, "it submitted an answer and voted in the same turn"),
            Self::NoCandidates => write!(f, "it voted although nobody has an answer yet"),
            Self::UnknownCandidate { named, valid } => write!(
                f,
                "it voted for {named:?}, which is not an agent with an answer ({})",
                valid.join(", ")
            ),
            Self::Duplicate { name, .. } => {
                write!(f, "it submitted the answer that {name} has given already")
            }
            Self::MayNotAnswer => write!(f, "it submitted an answer after its last one"),
            Self::EmptyAnswer => write!(f, "it submitted an empty answer"),
            Self::BrokenArguments { tool, reason } => {
                write!(f, "its arguments of {tool} are not a JSON object: {reason}")
            }
        }
    }
}

/// Judges how an attempt ended.
pub(crate) fn judge(end: &LoopEnd, round: &Round) -> Result<Verdict, Problem> {
    let votes: Vec<_> = end.pending.iter().filter(|call| call.name == VOTE).collect();
    let answers: Vec<_> = end.pending.iter().filter(|call| call.name == NEW_ANSWER).collect();
    match (votes.is_empty(), answers.is_empty()) {
        (false, false) => Err(Problem::Both),
        (false, true) => judge_votes(&votes, round),
        (true, false) => judge_answers(&answers, end, round),
        (true, true) => Err(match end.stop {
            LoopStop::TurnLimit => Problem::TurnLimit,
            _ if end.all_text.trim().is_empty() => Problem::Silent,
            _ => Problem::NoTool,
        }),
    }
}

/// What can be made of the last attempt, so that work is not thrown away; with a sentence about it for people. `said`
/// is the last text of any attempt.
pub(crate) fn last_resort(
    end: &LoopEnd,
    round: &Round,
    problem: &Problem,
    said: &str,
) -> Option<(Verdict, &'static str)> {
    const AS_ANSWER: &str = "what it wrote is taken as its answer";
    const AS_VOTE: &str = "what it wrote is taken as its vote";
    match problem {
        Problem::Duplicate { candidate, .. } => {
            Some((agreement(*candidate), "the repeated answer is taken as a vote"))
        }
        Problem::Both => {
            let answers: Vec<_> = end.pending.iter().filter(|call| call.name == NEW_ANSWER).collect();
            let votes: Vec<_> = end.pending.iter().filter(|call| call.name == VOTE).collect();
            if let Ok(verdict) = judge_answers(&answers, end, round) {
                return Some((verdict, "its answer is taken, its vote in the same turn is not"));
            }
            judge_votes(&votes, round).ok().map(|verdict| (verdict, "its vote is taken, its answer is not"))
        }
        Problem::BrokenArguments { tool, .. } if tool == NEW_ANSWER && round.may_answer => {
            let broken = end.pending.iter().find_map(|call| call.arguments.as_ref().err());
            let text = broken.and_then(|raw| partial_content(raw)).unwrap_or_else(|| said.to_owned());
            plain(text, round).map(|verdict| (verdict, "the readable part of its answer is taken"))
        }
        Problem::NoTool
        | Problem::Silent
        | Problem::TurnLimit
        | Problem::EmptyAnswer
        | Problem::NoCandidates => {
            if let Some(candidate) = plain_vote(said, round) {
                let reason = said.trim().to_owned();
                return Some((Verdict::Vote { candidate: candidate.seat, reason }, AS_VOTE));
            }
            if !round.may_answer {
                return None;
            }
            plain(said.to_owned(), round).map(|verdict| (verdict, AS_ANSWER))
        }
        _ => None,
    }
}

fn judge_votes(votes: &[&ToolInvocation], round: &Round) -> Result<Verdict, Problem> {
    if round.candidates.is_empty() {
        return Err(Problem::NoCandidates);
    }
    let mut chosen: Vec<(&Candidate, String)> = Vec::new();
    for call in votes {
        let arguments = arguments(call)?;
        let named = text_argument(&arguments, "agent_id").unwrap_or_default();
        let Some(candidate) = find(&named, &round.candidates) else {
            let mut valid: Vec<_> = round.candidates.iter().map(|candidate| candidate.name.clone()).collect();
            valid.sort();
            return Err(Problem::UnknownCandidate { named, valid });
        };
        // The same vote twice is one vote.
        if !chosen.iter().any(|(other, _)| other.seat == candidate.seat) {
            chosen.push((candidate, text_argument(&arguments, "reason").unwrap_or_default()));
        }
    }
    let count = chosen.len();
    match chosen.pop() {
        Some((candidate, reason)) if count == 1 => Ok(Verdict::Vote { candidate: candidate.seat, reason }),
        _ => Err(Problem::SeveralVotes(count)),
    }
}

/// The first good one of several answers counts.
fn judge_answers(answers: &[&ToolInvocation], end: &LoopEnd, round: &Round) -> Result<Verdict, Problem> {
    if !round.may_answer {
        return Err(Problem::MayNotAnswer);
    }
    let mut problem = Problem::EmptyAnswer;
    for (at, call) in answers.iter().enumerate() {
        let judged = arguments(call).and_then(|arguments| {
            // Some models write the answer as text and submit nothing.
            let content = text_argument(&arguments, "content").filter(|content| !content.trim().is_empty());
            let text = content.unwrap_or_else(|| end.text.clone());
            if text.trim().is_empty() {
                return Err(Problem::EmptyAnswer);
            }
            match duplicate(&text, round) {
                Some(problem) => Err(problem),
                None => Ok(Verdict::Answer(text)),
            }
        });
        match judged {
            Ok(verdict) => return Ok(verdict),
            Err(first) if at == 0 => problem = first,
            Err(_) => {}
        }
    }
    Err(problem)
}

fn duplicate(text: &str, round: &Round) -> Option<Problem> {
    let same = round.candidates.iter().find(|candidate| candidate.answer.trim() == text.trim())?;
    Some(Problem::Duplicate { candidate: same.seat, name: same.name.clone() })
}

fn arguments(call: &ToolInvocation) -> Result<JsonObject, Problem> {
    let text = match &call.arguments {
        Ok(arguments) => return Ok(arguments.clone()),
        Err(text) => text,
    };
    let reason = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(arguments)) => return Ok(arguments),
        Ok(_) => "it is valid JSON, but not an object".to_owned(),
        Err(_) if text.trim().is_empty() => return Ok(JsonObject::new()),
        Err(error) => error.to_string(),
    };
    Err(Problem::BrokenArguments { tool: call.name.clone(), reason })
}

/// A string as it is; anything else a model puts in its place as JSON.
fn text_argument(arguments: &JsonObject, key: &str) -> Option<String> {
    match arguments.get(key)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The candidate of this anonymous name, in any spelling of it, or else of this real name.
fn find<'a>(named: &str, candidates: &'a [Candidate]) -> Option<&'a Candidate> {
    let plain: String = named.chars().filter(char::is_ascii_alphanumeric).collect();
    candidates
        .iter()
        .find(|candidate| candidate.name.eq_ignore_ascii_case(&plain))
        .or_else(|| candidates.iter().find(|candidate| candidate.id.as_str() == named.trim()))
}

/// A text that plainly votes: it speaks of voting and names exactly one candidate.
fn plain_vote<'a>(text: &str, round: &'a Round) -> Option<&'a Candidate> {
    let words: Vec<String> =
        text.split(|c: char| !c.is_alphanumeric()).map(str::to_ascii_lowercase).collect();
    if !words.iter().any(|word| word.starts_with("vot")) {
        return None;
    }
    let mut named = round.candidates.iter().filter(|candidate| words.contains(&candidate.name));
    named.next().filter(|_| named.next().is_none())
}

fn plain(text: String, round: &Round) -> Option<Verdict> {
    if text.trim().is_empty() {
        return None;
    }
    match duplicate(&text, round) {
        Some(Problem::Duplicate { candidate, .. }) => Some(agreement(candidate)),
        _ => Some(Verdict::Answer(text)),
    }
}

fn agreement(candidate: usize) -> Verdict {
    Verdict::Vote { candidate, reason: "It gave the same answer.".into() }
}

/// The text of `"content"` in arguments that break off or are otherwise broken, as far as it can be read.
pub(crate) fn partial_content(raw: &str) -> Option<String> {
    let rest = &raw[raw.find("\"content\"")? + "\"content\"".len()..];
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let mut end = rest.len();
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    // Raw line breaks are what breaks arguments most often, and an escape may be cut in two at the end.
    let body = rest[..end].replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
    let whole = (0..=12).find_map(|cut| {
        let body = body.get(..body.len().checked_sub(cut)?)?;
        serde_json::from_str::<String>(&format!("\"{body}\"")).ok()
    })?;
    (!whole.trim().is_empty()).then_some(whole)
}

/// Whether the provider cut the text off.
pub(crate) fn is_cut_off(end: &LoopEnd) -> bool {
    matches!(end.stop, LoopStop::Finished(FinishReason::Length | FinishReason::ContentFilter))
}

#[cfg(test)]
mod tests;
