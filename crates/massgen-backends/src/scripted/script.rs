//! What a script may say.

use std::collections::BTreeMap;
use std::fmt;

use globset::{Glob, GlobMatcher};
use regex::Regex;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use super::Pause;

/// A script: who says what, and when.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// The question this script is made for, asked where the user asks nothing.
    pub question: Option<String>,
    /// What the script shows, for people.
    pub description: Option<String>,
    /// Before every turn that names no delay of its own.
    pub delay: Pause,
    /// Between two words of every turn that names none of its own.
    pub chunk_delay: Pause,
    /// Turns of one agent each, by the agent's id; tried in order.
    pub agents: BTreeMap<String, Vec<ScriptTurn>>,
    /// Turns of every agent, tried after its own.
    pub turns: Vec<ScriptTurn>,
}

/// One answer of a model: when it is given, and what it does. What it does happens in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptTurn {
    /// When this turn fits; empty: always.
    pub when: When,
    /// How often it may be used; once unless given.
    pub times: Option<u32>,
    /// It may be used without end.
    pub repeat: bool,
    /// Before the first word; the script's unless given.
    pub delay: Option<Pause>,
    /// Between two words; the script's unless given.
    pub chunk_delay: Option<Pause>,
    /// What the model thinks aloud.
    pub reasoning: Option<String>,
    /// What it says.
    pub text: Option<String>,
    /// The tools it calls, all in one turn.
    pub calls: Vec<ScriptCall>,
    /// Its answer: short for a call of `new_answer`.
    pub answer: Option<String>,
    /// Its vote: short for a call of `vote`.
    pub vote: Option<ScriptVote>,
    /// The provider fails; after what the model has said until here, if anything.
    pub error: Option<ScriptError>,
    /// The model says nothing at all.
    pub silence: bool,
    /// What the turn uses; estimated at four characters a token unless given.
    pub usage: Option<ScriptUsage>,
}

/// A tool call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptCall {
    /// The tool, by the name models see, such as `mcp__desk__now`.
    pub tool: String,
    /// The arguments. A text instead of a mapping goes out as it is: broken JSON can be rehearsed too.
    #[serde(default = "no_arguments")]
    pub arguments: Value,
}

fn no_arguments() -> Value {
    Value::Object(Default::default())
}

/// A vote.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptVote {
    /// For whom.
    #[serde(rename = "for")]
    pub target: VoteTarget,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// For whom a vote is: an id such as `agent2`, sent as it is; `first`, `last` or `longest` of the candidates by their
/// ids; or the first whose answer fits `{contains: …}` or `{matches: …}`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VoteTarget {
    /// This id, whether there is such a candidate or not.
    Id(String),
    /// The candidate with the lowest id.
    First,
    /// The candidate with the highest id.
    Last,
    /// The candidate with the longest answer.
    Longest,
    /// The first candidate whose answer fits.
    Answer(TextMatch),
}

/// A failing provider.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptError {
    /// The HTTP status; 500 unless given.
    #[serde(default = "internal_server_error")]
    pub status: u16,
    /// The provider's words.
    #[serde(default)]
    pub message: String,
    /// How long it asks to wait.
    #[serde(default)]
    pub retry_after: Option<Pause>,
}

fn internal_server_error() -> u16 {
    500
}

/// Tokens of a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptUsage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Those of them that came from a cache.
    pub cached_input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// In US dollars.
    pub cost_usd: f64,
}

/// When a turn fits: all conditions given must hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// The user's question.
    pub question: Option<TextMatch>,
    /// The last message the model was sent by the user or in the user's place.
    pub message: Option<TextMatch>,
    /// The agent's round, from 1.
    pub round: Option<u32>,
    /// Which answers of the team the agent can see.
    pub candidates: Option<CandidateMatch>,
    /// The phase of the run.
    pub phase: Option<ScriptPhase>,
    /// A tool has answered in this conversation.
    pub tool_result: Option<ToolResultMatch>,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScriptPhase {
    /// Answers and votes are being made.
    Coordination,
    /// The winner presents.
    Presentation,
}

/// A condition on a text: a plain string is `contains`.
#[derive(Debug, Clone, Default)]
pub struct TextMatch {
    /// The text contains this; upper and lower case are the same.
    pub contains: Option<String>,
    /// This regular expression is found in the text.
    pub matches: Option<Regex>,
}

/// Which answers an agent can see: `none`, `some`, exactly so many, or one that fits `{contains: …}` or `{matches: …}`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum CandidateMatch {
    /// No answers.
    None,
    /// One or more.
    Some,
    /// Exactly so many.
    Exactly(u32),
    /// At least one whose text fits.
    Answer(TextMatch),
}

/// A condition on the tool results of the conversation.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ToolResultMatch {
    /// The tool, a glob over the name models see; any unless given.
    pub tool: Option<ToolPattern>,
    /// The result contains this; upper and lower case are the same.
    pub contains: Option<String>,
    /// The tool failed, or did not.
    pub is_error: Option<bool>,
    /// At least so many such results; 0: none yet. 1 unless given.
    pub count: Option<u32>,
}

/// A glob over tool names, such as `mcp__desk__*`.
#[derive(Debug, Clone)]
pub struct ToolPattern(GlobMatcher);

impl ToolPattern {
    /// Whether the tool's name fits.
    pub fn is_match(&self, tool: &str) -> bool {
        self.0.is_match(tool)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.glob().glob()
    }
}

impl PartialEq for ToolPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<'de> Deserialize<'de> for ToolPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let glob = Glob::new(&text)
            .map_err(|error| D::Error::custom(format!("{text:?} is not a pattern: {error}")))?;
        Ok(Self(glob.compile_matcher()))
    }
}

impl TextMatch {
    /// Whether the text fits.
    pub fn is_match(&self, text: &str) -> bool {
        self.contains.as_deref().is_none_or(|part| contains_ignoring_case(text, part))
            && self.matches.as_ref().is_none_or(|regex| regex.is_match(text))
    }
}

pub(super) fn contains_ignoring_case(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

impl PartialEq for TextMatch {
    fn eq(&self, other: &Self) -> bool {
        self.contains == other.contains
            && self.matches.as_ref().map(Regex::as_str) == other.matches.as_ref().map(Regex::as_str)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextMatchFields {
    #[serde(default)]
    contains: Option<String>,
    #[serde(default)]
    matches: Option<String>,
}

impl TextMatchFields {
    fn compile<E: Error>(self) -> Result<TextMatch, E> {
        if self.contains.is_none() && self.matches.is_none() {
            return Err(E::custom("give contains: or matches:"));
        }
        let compile = |text: String| {
            Regex::new(&text).map_err(|error| {
                // The crate's message draws a picture over several lines; its last line says what is wrong.
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                E::custom(format!("{text:?} is not a regular expression: {reason}"))
            })
        };
        Ok(TextMatch { contains: self.contains, matches: self.matches.map(compile).transpose()? })
    }
}

impl<'de> Deserialize<'de> for TextMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = TextMatch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text to look for, {contains: TEXT} or {matches: REGEX}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TextMatch, E> {
                Ok(TextMatch { contains: Some(text.to_owned()), matches: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextMatch, A::Error> {
                TextMatchFields::deserialize(MapAccessDeserializer::new(map))?.compile()
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for CandidateMatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = CandidateMatch;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("none, some, a number of answers, {contains: TEXT} or {matches: REGEX}")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<CandidateMatch, E> {
                match text {
                    "none" => Ok(CandidateMatch::None),
                    "some" => Ok(CandidateMatch::Some),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_u64<E: Error>(self, count: u64) -> Result<CandidateMatch, E> {
                u32::try_from(count).map(CandidateMatch::Exactly).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, count: i64) -> Result<CandidateMatch, E> {
                u32::try_from(count).map(CandidateMatch::Exactly).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<CandidateMatch, A::Error> {
                let fields = TextMatchFields::deserialize(MapAccessDeserializer::new(map))?;
                fields.compile().map(CandidateMatch::Answer)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl<'de> Deserialize<'de> for VoteTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = VoteTarget;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "a candidate such as agent2, first, last, longest, {contains: TEXT} or {matches: REGEX}",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<VoteTarget, E> {
                Ok(match text {
                    "first" => VoteTarget::First,
                    "last" => VoteTarget::Last,
                    "longest" => VoteTarget::Longest,
                    id => VoteTarget::Id(id.to_owned()),
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<VoteTarget, A::Error> {
                let fields = TextMatchFields::deserialize(MapAccessDeserializer::new(map))?;
                fields.compile().map(VoteTarget::Answer)
            }
        }
        deserializer.deserialize_any(Read)
    }
}
