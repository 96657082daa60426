//! An answer in the `generateContent` format. It has no end mark but the last candidate's `finishReason`, and usage
//! or grounding may follow that, so the end is told at the end of the stream.

use serde_json::Value;

use super::super::assembly::Assembly;
use super::super::{Decoder, Origin, arguments_object, count_at, text_at};
use crate::classify::error_words;
use crate::{BackendError, Event, FinishReason, Request, ToolInvocation, Usage};

#[derive(Debug)]
pub(super) struct GenerateContentDecoder {
    turn: Assembly,
    items: Vec<Value>,
    calls: usize,
    reason: Option<FinishReason>,
}

impl GenerateContentDecoder {
    pub(super) fn new(origin: Origin, request: &Request) -> Self {
        Self { turn: Assembly::new(origin, request), items: Vec::new(), calls: 0, reason: None }
    }

    fn chunk(&mut self, chunk: Value) {
        // Some proxies send the chunks as lists.
        if let Value::Array(chunks) = chunk {
            chunks.into_iter().for_each(|chunk| self.chunk(chunk));
            return;
        }
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            let (code, message) = error_words(&chunk);
            self.turn.error(code.as_deref(), &message);
            return;
        }
        self.turn.start(text_at(&chunk, "modelVersion"), text_at(&chunk, "responseId"));
        if let Some(usage) = chunk.get("usageMetadata").filter(|usage| usage.is_object()) {
            let thoughts = count_at(usage, "/thoughtsTokenCount");
            self.turn.usage(Usage {
                input_tokens: count_at(usage, "/promptTokenCount")
                    .saturating_add(count_at(usage, "/toolUsePromptTokenCount")),
                cached_input_tokens: count_at(usage, "/cachedContentTokenCount"),
                // This provider's count of the answer leaves the thoughts out.
                output_tokens: count_at(usage, "/candidatesTokenCount").saturating_add(thoughts),
                reasoning_tokens: thoughts,
                cost_usd: None,
            });
        }
        let candidate = chunk.pointer("/candidates/0");
        if let Some(candidate) = candidate {
            self.candidate(candidate);
        } else if let Some(reason) = chunk.pointer("/promptFeedback/blockReason").and_then(Value::as_str) {
            let why = chunk.pointer("/promptFeedback/blockReasonMessage").and_then(Value::as_str);
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            self.turn.refusal(&format!("The provider blocked the prompt ({reason}){why}"));
            self.reason = Some(FinishReason::ContentFilter);
        } else if chunk.get("usageMetadata").is_none() && chunk.get("promptFeedback").is_none() {
            self.turn.push(Event::Unknown(chunk));
        }
    }

    fn candidate(&mut self, candidate: &Value) {
        let parts =
            candidate.pointer("/content/parts").and_then(Value::as_array).cloned().unwrap_or_default();
        parts.into_iter().for_each(|part| self.part(part));
        if let Some(grounding) = candidate.get("groundingMetadata").filter(|g| g.is_object()) {
            if grounding.get("webSearchQueries").is_some() {
                self.turn.builtin("web_search", None, "completed", grounding.clone());
            }
            let sources = grounding.get("groundingChunks").and_then(Value::as_array);
            for source in sources.into_iter().flatten() {
                self.turn.push(Event::Citation(source.clone()));
            }
        }
        if let Some(urls) = candidate.get("urlContextMetadata").filter(|urls| urls.is_object()) {
            self.turn.builtin("url_context", None, "completed", urls.clone());
        }
        let Some(reason) = text_at(candidate, "finishReason") else { return };
        let message = text_at(candidate, "finishMessage");
        self.reason = Some(match reason {
            // The second is an emulator's word.
            "STOP" | "FUNCTION_CALL" => FinishReason::Stop,
            "MAX_TOKENS" => FinishReason::Length,
            "SAFETY"
            | "RECITATION"
            | "BLOCKLIST"
            | "PROHIBITED_CONTENT"
            | "SPII"
            | "LANGUAGE"
            | "IMAGE_SAFETY"
            | "IMAGE_PROHIBITED_CONTENT"
            | "IMAGE_RECITATION" => FinishReason::ContentFilter,
            // The model wrote something that the provider could not read as a call: nothing of it can be used.
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "MALFORMED_RESPONSE"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE" => {
                let message = message.unwrap_or("the model's call could not be read").to_owned();
                self.turn.fail(BackendError::InStream {
                    provider: self.turn.origin.provider.to_string(),
                    code: Some(reason.to_owned()),
                    message,
                    retryable: reason != "MISSING_THOUGHT_SIGNATURE",
                });
                return;
            }
            other => FinishReason::Other(match message {
                Some(message) => format!("{other}: {message}"),
                None => other.to_owned(),
            }),
        });
    }

    fn part(&mut self, mut part: Value) {
        if let Some(text) = text_at(&part, "text") {
            if is_thought(&part) {
                self.turn.reasoning(text);
            } else {
                self.turn.text(text);
            }
        } else if let Some(call) = part.get("functionCall") {
            let id = self.turn.claim_id(text_at(call, "id"));
            let name = text_at(call, "name").unwrap_or_default().to_owned();
            let arguments = match call.get("args") {
                None | Some(Value::Null) => Ok(mcp_core::JsonObject::new()),
                Some(Value::Object(args)) => Ok(args.clone()),
                Some(other) => Err(other.to_string()),
            };
            self.turn.call_start(self.calls, &id, &name);
            self.calls += 1;
            if arguments.is_err()
                && let Some(call) = part.get_mut("functionCall").and_then(Value::as_object_mut)
            {
                // The provider takes nothing else back.
                call.insert("args".into(), arguments_object(&arguments).into());
            }
            self.turn.invocation(ToolInvocation { id, name, arguments });
        } else if let Some(code) = part.get("executableCode") {
            self.turn.builtin("code_execution", text_at(code, "id"), "started", code.clone());
        } else if let Some(result) = part.get("codeExecutionResult") {
            let failed = text_at(result, "outcome").is_some_and(|outcome| outcome != "OUTCOME_OK");
            let phase = if failed { "failed" } else { "completed" };
            self.turn.builtin("code_execution", text_at(result, "id"), phase, result.clone());
        } else if let Some(call) = part.get("toolCall") {
            self.turn.builtin(&tool_type(call), text_at(call, "id"), "started", call.clone());
        } else if let Some(response) = part.get("toolResponse") {
            self.turn.builtin(&tool_type(response), text_at(response, "id"), "completed", response.clone());
        } else if part.get("thoughtSignature").is_none() {
            self.turn.push(Event::Unknown(part.clone()));
        }
        self.keep(part);
    }

    /// Keeps a part for replay. Pieces of one text become one part again, but a signature belongs to its own part.
    fn keep(&mut self, part: Value) {
        let is_plain = |part: &Value| {
            part.as_object().is_some_and(|part| part.keys().all(|key| key == "text" || key == "thought"))
                && part.get("text").is_some_and(Value::is_string)
        };
        if let Some(last) = self.items.last_mut()
            && is_plain(last)
            && is_plain(&part)
            && is_thought(last) == is_thought(&part)
            && let (Some(Value::String(text)), Some(more)) = (last.get_mut("text"), text_at(&part, "text"))
        {
            text.push_str(more);
        } else {
            self.items.push(part);
        }
    }
}

fn is_thought(part: &Value) -> bool {
    part.get("thought").and_then(Value::as_bool).unwrap_or(false)
}

fn tool_type(value: &Value) -> String {
    text_at(value, "toolType").or_else(|| text_at(value, "name")).unwrap_or("tool").to_lowercase()
}

impl Decoder for GenerateContentDecoder {
    fn feed(&mut self, _name: Option<&str>, data: &str) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over()
            && data.trim() != "[DONE]"
            && let Some(chunk) = self.turn.parse(data)
        {
            self.chunk(chunk);
        }
        self.turn.drain()
    }

    fn finish(&mut self) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over() {
            match self.reason.take() {
                Some(reason) => self.turn.done(reason, std::mem::take(&mut self.items)),
                None => self.turn.truncated(),
            }
        }
        self.turn.drain()
    }
}
