//! The calls of one turn: all run at once, every one is answered.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use mcp_core::{CallId, Envelope, JsonObject, ToolCall, ToolError};
use serde_json::Value;
use tokio::time::Instant;

use super::{CallStatus, LoopEvent, ToolLoop};
use crate::{ToolChoice, ToolDefinition, ToolInvocation, ToolReply};

/// Longer than any call, and not too long for the clock.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// How often each call failed, by tool and canonical arguments.
pub(super) type Failures = HashMap<(String, String), u32>;

struct Answer {
    status: CallStatus,
    text: String,
    /// The text before it was shortened.
    whole: Option<String>,
    envelope: Option<Envelope>,
    duration: Duration,
}

impl Answer {
    fn refused(text: String) -> Self {
        Self { status: CallStatus::Failed, text, whole: None, envelope: None, duration: Duration::ZERO }
    }
}

impl ToolLoop {
    /// Runs the calls at once; the answers stand in the order of the calls.
    pub(super) async fn answer_all(
        &self,
        calls: Vec<ToolInvocation>,
        offered: &[ToolDefinition],
        choice: ToolChoice,
        failures: &mut Failures,
        on_event: &mut (dyn FnMut(LoopEvent) + Send),
    ) -> Vec<ToolReply> {
        for call in &calls {
            on_event(LoopEvent::ToolStarted { call: call.clone() });
        }
        let mut running: FuturesUnordered<_> = calls
            .iter()
            .enumerate()
            .map(|(at, call)| async move { (at, self.answer(call, offered, choice).await) })
            .collect();
        let mut replies: Vec<Option<ToolReply>> = vec![None; calls.len()];
        while let Some((at, mut answer)) = running.next().await {
            let Some(call) = calls.get(at) else { continue };
            if answer.status != CallStatus::Ok {
                let count = failures.entry((call.name.clone(), canonical(call))).or_default();
                *count += 1;
                if *count >= self.options.max_identical_failures.max(1) {
                    answer.text.push_str(&format!(
                        "\n\nThis exact call has failed {count} times. Do not repeat it: change the arguments, use \
                         another tool, or go on without it."
                    ));
                }
            }
            // The model is told where the words come from, and reads a long answer without its middle; whoever follows the
            // run gets them as they are.
            on_event(LoopEvent::ToolFinished {
                id: call.id.clone(),
                name: call.name.clone(),
                duration: answer.duration,
                status: answer.status,
                text: answer.whole.unwrap_or_else(|| answer.text.clone()),
            });
            replies[at] = Some(ToolReply {
                id: call.id.clone(),
                name: call.name.clone(),
                text: match answer.envelope {
                    Some(envelope) => envelope.seal(&answer.text),
                    None => answer.text,
                },
                is_error: answer.status != CallStatus::Ok,
            });
        }
        replies.into_iter().flatten().collect()
    }

    async fn answer(&self, call: &ToolInvocation, offered: &[ToolDefinition], choice: ToolChoice) -> Answer {
        if choice == ToolChoice::None {
            return Answer::refused("No tool can be used now. Answer in text.".into());
        }
        // Looked up again: a server may have come or gone since the model was asked.
        let is_there = self.tools.catalogue().find(&call.name).is_some();
        let arguments = match arguments(call) {
            Ok(arguments) => arguments,
            Err(problem) if is_there => return Answer::refused(problem),
            Err(_) => JsonObject::new(),
        };
        let started = Instant::now();
        let deadline = started.checked_add(self.options.call_timeout.min(YEAR)).unwrap_or(started);
        let request = ToolCall::new(CallId::new(&call.id), &call.name, arguments)
            .by(self.caller.clone())
            .until(deadline.into_std());
        let mut envelope = None;
        let (status, text) = match tokio::time::timeout_at(deadline, self.tools.call(request)).await {
            Ok(Ok(mut output)) => {
                envelope = output.envelope.take();
                let status = if output.is_error { CallStatus::ToolError } else { CallStatus::Ok };
                (status, output.to_text())
            }
            // Whoever has the tools was asked all the same: it may know why this one is not there, and keeps a record.
            Ok(Err(ToolError::UnknownTool { .. })) if !is_there => {
                return Answer::refused(unknown(&call.name, offered));
            }
            Ok(Err(error)) => (CallStatus::Failed, error.to_string()),
            Err(_) => {
                let limit = self.options.call_timeout.as_secs_f32();
                (CallStatus::Failed, format!("The tool did not answer within {limit} s."))
            }
        };
        let text = match text.trim().is_empty() {
            true => "(the tool returned nothing)".to_owned(),
            false => text,
        };
        let whole = (text.len() > self.options.max_result_bytes).then(|| text.clone());
        let text = shorten(text, self.options.max_result_bytes);
        Answer { status, text, whole, envelope, duration: started.elapsed() }
    }
}

/// The arguments, or a sentence for the model about what is wrong with them.
fn arguments(call: &ToolInvocation) -> Result<JsonObject, String> {
    let text = match &call.arguments {
        Ok(arguments) => return Ok(arguments.clone()),
        // Some models write nothing where a tool takes no arguments.
        Err(text) if text.trim().is_empty() => return Ok(JsonObject::new()),
        Err(text) => text,
    };
    let problem = match serde_json::from_str::<Value>(text) {
        Ok(Value::Object(arguments)) => return Ok(arguments),
        Ok(_) => "it is valid JSON, but not an object".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(format!(
        "{} was not run: its arguments are not a JSON object ({problem}). You wrote: {}\nCall it again with one JSON \
         object.",
        call.name,
        shorten(text.clone(), 400)
    ))
}

fn unknown(name: &str, offered: &[ToolDefinition]) -> String {
    let name = &shorten(name.to_owned(), 200);
    match nearest(name, offered.iter().map(|tool| tool.name.as_str())) {
        Some(nearest) => format!("There is no tool {name:?}; did you mean {nearest:?}?"),
        None if offered.is_empty() => format!("There is no tool {name:?}; there are no tools at all."),
        None => {
            let names: Vec<_> = offered.iter().take(20).map(|tool| tool.name.as_str()).collect();
            format!("There is no tool {name:?}. Among those there are: {}.", names.join(", "))
        }
    }
}

/// A tool whose last part is the name (models drop prefixes), else the one with the fewest letters to change.
fn nearest<'a>(name: &str, offered: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let suffix = format!("__{name}");
    let mut by_suffix = offered.clone().filter(|tool| tool.ends_with(&suffix));
    if let (Some(tool), None) = (by_suffix.next(), by_suffix.next()) {
        return Some(tool);
    }
    // The distance is at least the difference in length, which takes no time to tell of a name as long as a book.
    let length = name.chars().count();
    offered
        .filter(|tool| length.abs_diff(tool.chars().count()) <= tool.len() / 3)
        .map(|tool| (strsim::levenshtein(name, tool), tool))
        .filter(|(distance, tool)| *distance <= tool.len() / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, tool)| tool)
}

/// The text within the limit: its beginning and its end, as errors tend to stand there, around a mark.
pub(super) fn shorten(text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let head = text.floor_char_boundary(limit / 4 * 3);
    let tail = text.ceil_char_boundary(text.len() - limit / 4);
    format!("{}\n[... {} bytes left out ...]\n{}", &text[..head], tail - head, &text[tail..])
}

/// The arguments in one spelling: keys sorted at every depth.
fn canonical(call: &ToolInvocation) -> String {
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            Value::Object(object) => {
                let mut pairs: Vec<_> = object.iter().collect();
                pairs.sort_by_key(|(key, _)| key.as_str());
                Value::Object(pairs.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
            }
            other => other.clone(),
        }
    }
    match &call.arguments {
        Ok(arguments) => sorted(&Value::Object(arguments.clone())).to_string(),
        Err(text) => text.trim().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn long_results_keep_both_ends_and_whole_characters() {
        for limit in 0..40 {
            let short = shorten("ä".repeat(100), limit);
            assert!(short.contains("bytes left out"), "{limit}: {short}");
        }
        assert_eq!(shorten("ab".repeat(8), 8), "ababab\n[... 8 bytes left out ...]\nab");
        assert_eq!(shorten("abc".into(), 3), "abc");
    }

    #[test]
    fn equal_arguments_are_one_whatever_their_order() {
        let call = |text: &str| ToolInvocation {
            id: "1".into(),
            name: "t".into(),
            arguments: Ok(serde_json::from_str(text).unwrap()),
        };
        assert_eq!(
            canonical(&call(r#"{"b":[{"y":1,"x":2}],"a":null}"#)),
            canonical(&call(r#"{"a":null,"b":[{"x":2,"y":1}]}"#))
        );
    }

    #[test]
    fn a_name_as_long_as_a_book_is_quoted_in_part() {
        let tool =
            ToolDefinition { name: "new_answer".into(), description: String::new(), schema: Arc::default() };
        let text = unknown(&"new_answer".repeat(1_000_000), &[tool]);
        assert!(text.contains("There is no tool") && text.len() < 400, "{text}");
    }

    #[test]
    fn a_dropped_prefix_and_a_misspelling_find_their_tool() {
        let tools = ["new_answer", "mcp__time__now", "mcp__time__zones", "mcp__a__list", "mcp__b__list"];
        for (name, expected) in [
            ("now", Some("mcp__time__now")),
            ("new_anwser", Some("new_answer")),
            ("list", None),
            ("rm", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, tools.iter().copied()), expected, "{name}");
        }
    }
}
