//! Texts with placeholders.

use mcp_core::Envelope;
use serde_json::Value;

use crate::{Message, Request, ToolReply};

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Slot(Slot),
}

/// A placeholder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// As it was written, for messages.
    source: String,
    what: What,
    fallback: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Question,
    Agent,
    Round,
    Candidate(String),
    Result { tool: String, nth: Option<usize>, path: Vec<String> },
}

/// Splits a text into literals and placeholders.
///
/// # Errors
///
/// The placeholder that is none, and what there is.
pub(super) fn parse(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("{{") {
        if let Some(before) = rest[..at].strip_suffix('\\') {
            literal.push_str(before);
            literal.push_str("{{");
            rest = &rest[at + 2..];
            continue;
        }
        literal.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let Some(end) = inside.find("}}") else {
            let shown: String = rest[at..].chars().take(40).collect();
            return Err(format!(
                "the placeholder {shown:?} has no end; close it with }}}}, or write \\{{{{ for two braces"
            ));
        };
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Slot(Slot::parse(&inside[..end])?));
        rest = &inside[end + 2..];
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

impl Slot {
    fn parse(inside: &str) -> Result<Self, String> {
        let (name, fallback) = match inside.split_once('|') {
            Some((name, fallback)) => (name.trim(), Some(fallback.trim().to_owned())),
            None => (inside.trim(), None),
        };
        let source = format!("{{{{{}}}}}", inside.trim());
        let what = match name.split_once(':') {
            None if name == "question" => What::Question,
            None if name == "agent" => What::Agent,
            None if name == "round" => What::Round,
            Some(("candidate", id)) if !id.trim().is_empty() => What::Candidate(id.trim().to_owned()),
            Some(("result", place)) if !place.trim().is_empty() => Self::parse_result(place.trim(), &source)?,
            _ => {
                return Err(format!(
                    "there is no placeholder {source}; there are {{{{question}}}}, {{{{agent}}}}, {{{{round}}}}, \
                     {{{{candidate:agent1}}}} and {{{{result:TOOL}}}}, {{{{result:TOOL#1.path.to.value}}}}"
                ));
            }
        };
        Ok(Self { source, what, fallback })
    }

    fn parse_result(place: &str, source: &str) -> Result<What, String> {
        let mut parts = place.split('.');
        let tool = parts.next().unwrap_or_default();
        let path: Vec<String> = parts.map(str::to_owned).collect();
        let (tool, nth) = match tool.split_once('#') {
            None => (tool, None),
            Some((tool, nth)) => match nth.parse() {
                Ok(nth) if nth > 0 => (tool, Some(nth)),
                _ => {
                    return Err(format!(
                        "in {source}, {nth:?} is not the number of a result; they count from 1"
                    ));
                }
            },
        };
        if tool.is_empty() || path.iter().any(String::is_empty) {
            return Err(format!(
                "in {source} a name is missing; write it like {{{{result:mcp__desk__now.time}}}}"
            ));
        }
        Ok(What::Result { tool: tool.to_owned(), nth, path })
    }
}

/// What placeholders are filled from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) agent: &'a str,
    pub(super) request: &'a Request,
}

impl<'a> Scene<'a> {
    /// All tool results of the conversation, oldest first.
    pub(super) fn results(&self) -> impl Iterator<Item = &'a ToolReply> {
        self.request.messages.iter().flat_map(|message| match message {
            Message::ToolReplies(replies) => replies.as_slice(),
            Message::User(_) | Message::Assistant(_) => &[],
        })
    }

    /// The text with its placeholders filled.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        let mut filled = String::new();
        for piece in parse(text)? {
            match piece {
                Piece::Literal(literal) => filled.push_str(&literal),
                Piece::Slot(slot) => match self.value(&slot)? {
                    Value::String(text) => filled.push_str(&text),
                    other => filled.push_str(&other.to_string()),
                },
            }
        }
        Ok(filled)
    }

    /// The value with the placeholders of all its strings filled.
    pub(super) fn fill_value(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => match parse(text)?.as_slice() {
                [Piece::Slot(slot)] => self.value(slot)?,
                _ => Value::String(self.fill(text)?),
            },
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill_value(item)).collect::<Result<_, _>>()?)
            }
            Value::Object(fields) => Value::Object(
                fields
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), self.fill_value(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            other => other.clone(),
        })
    }

    fn value(&self, slot: &Slot) -> Result<Value, String> {
        self.look_up(&slot.what).or_else(|problem| match &slot.fallback {
            Some(fallback) => Ok(Value::String(fallback.clone())),
            None => Err(format!("{} cannot be filled: {problem}", slot.source)),
        })
    }

    fn look_up(&self, what: &What) -> Result<Value, String> {
        let context = &self.request.context;
        match what {
            What::Question => Ok(context.question.clone().into()),
            What::Agent => Ok(self.agent.into()),
            What::Round => Ok(context.round.into()),
            What::Candidate(id) => {
                let found = context.candidates.iter().find(|(candidate, _)| candidate == id);
                found.map(|(_, answer)| answer.clone().into()).ok_or_else(|| {
                    let ids = list(context.candidates.iter().map(|(id, _)| id.as_str()));
                    format!("there is no candidate {id:?}; there are: {ids}")
                })
            }
            What::Result { tool, nth, path } => {
                let of_tool: Vec<&ToolReply> = self.results().filter(|reply| reply.name == *tool).collect();
                let reply = match nth {
                    Some(nth) => of_tool.get(nth - 1),
                    None => of_tool.last(),
                };
                let Some(reply) = reply else {
                    let names = list(self.results().map(|reply| reply.name.as_str()));
                    let count = of_tool.len();
                    return Err(format!(
                        "the conversation has {count} results of {tool:?}; its results are of: {names}"
                    ));
                };
                // A script asks for what the tool said, not for what the host says about it.
                inside(Envelope::open(&reply.text), path)
            }
        }
    }
}

/// The value at the path of a result's text.
fn inside(text: &str, path: &[String]) -> Result<Value, String> {
    if path.is_empty() {
        return Ok(text.into());
    }
    let mut value: Value = serde_json::from_str(text)
        .map_err(|_| format!("the tool's result is not JSON: {:?}", beginning(text)))?;
    for (depth, key) in path.iter().enumerate() {
        let next = match &mut value {
            Value::Object(fields) => fields.get_mut(key),
            Value::Array(items) => key.parse::<usize>().ok().and_then(|at| items.get_mut(at)),
            _ => None,
        };
        match next.map(Value::take) {
            Some(next) => value = next,
            None => {
                let path = path[..=depth].join(".");
                return Err(format!("the tool's result has nothing at {path:?}: {:?}", beginning(text)));
            }
        }
    }
    Ok(value)
}

fn beginning(text: &str) -> String {
    let mut start: String = text.chars().take(120).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    if seen.is_empty() { "none".to_owned() } else { seen.join(", ") }
}
