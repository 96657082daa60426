//! An answer in the Chat Completions format, as the many servers of it write it.

use mcp_core::JsonObject;
use serde_json::{Value, json};

use super::super::assembly::Assembly;
use super::super::{Decoder, Origin, arguments_object, count_at, parse_arguments, text_at};
use super::found::{find_calls, may_be_call};
use super::{Profile, ToolMode, is_schema_bound};
use crate::classify::error_words;
use crate::http::is_under;
use crate::{BackendError, Event, FinishReason, Request, ToolChoice, ToolInvocation, Usage};

#[derive(Debug)]
pub(super) struct ChatDecoder {
    turn: Assembly,
    /// The names that a call in the text may have; empty where none is looked for.
    findable: Vec<String>,
    /// All of the text, told or not.
    content: String,
    /// How much of it was told.
    told: usize,
    /// Text is held back until it is clear whether it is a call.
    holding: bool,
    /// The answer is bound to be a call: no text of it is told before it is whole.
    bound: bool,
    reasoning: String,
    /// OpenRouter's opaque reasoning, which it wants back.
    details: Vec<Value>,
    calls: Vec<Call>,
    reason: Option<FinishReason>,
    /// The end mark came.
    marked: bool,
    citations: usize,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    /// As the server gave it.
    given: Option<String>,
    id: String,
    name: String,
    arguments: String,
    announced: bool,
    /// What else the server says of the call, such as a signature; it wants it back.
    rest: JsonObject,
}

impl ChatDecoder {
    pub(super) fn new(origin: Origin, request: &Request, profile: Profile) -> Self {
        let bound = is_schema_bound(profile, request);
        let finds = bound || (profile.tool_mode == ToolMode::Auto && request.tool_choice != ToolChoice::None);
        let findable: Vec<String> = match finds {
            true => request.tools.iter().map(|tool| tool.name.clone()).collect(),
            false => Vec::new(),
        };
        Self {
            turn: Assembly::new(origin, request),
            holding: !findable.is_empty(),
            bound,
            findable,
            content: String::new(),
            told: 0,
            reasoning: String::new(),
            details: Vec::new(),
            calls: Vec::new(),
            reason: None,
            marked: false,
            citations: 0,
        }
    }

    fn chunk(&mut self, kind: Option<&str>, chunk: Value) {
        let choice = chunk.pointer("/choices/0").filter(|choice| choice.is_object());
        let finish = choice.and_then(|choice| text_at(choice, "finish_reason"));
        let in_choice = choice.filter(|choice| choice.get("error").is_some_and(|error| !error.is_null()));
        let is_error = chunk.get("error").is_some_and(|error| !error.is_null())
            || (kind == Some("error") && choice.is_none())
            || finish == Some("error")
            || text_at(&chunk, "object") == Some("error")
            || in_choice.is_some();
        if is_error {
            let (code, message) = error_words(in_choice.unwrap_or(&chunk));
            self.turn.error(code.as_deref(), &message);
            return;
        }
        self.turn.start(text_at(&chunk, "model"), text_at(&chunk, "id"));
        let usage = ["/usage", "/x_groq/usage", "/choices/0/usage"]
            .iter()
            .find_map(|at| chunk.pointer(at).filter(|usage| usage.is_object()));
        if let Some(usage) = usage {
            self.turn.usage(read_usage(usage));
        }
        // Some servers repeat all sources in every chunk.
        let sources = chunk.get("citations").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for source in sources.iter().skip(self.citations) {
            self.turn.push(Event::Citation(source.clone()));
        }
        self.citations = self.citations.max(sources.len());

        let Some(choice) = choice else {
            let known = ["choices", "usage", "citations", "prompt_filter_results", "x_groq", "object"];
            if !known.iter().any(|key| chunk.get(*key).is_some()) {
                self.turn.push(Event::Unknown(chunk));
            }
            return;
        };
        // A server that does not stream a short answer sends it as a whole message.
        if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
            self.delta(delta);
        }
        if let Some(finish) = finish.filter(|finish| !finish.is_empty()) {
            self.reason = Some(match finish {
                "stop" | "eos" | "stop_sequence" | "end_turn" => FinishReason::Stop,
                "tool_calls" | "function_call" => FinishReason::ToolCalls,
                "length" | "max_tokens" | "model_length" => FinishReason::Length,
                "content_filter" => FinishReason::ContentFilter,
                other => FinishReason::Other(other.to_owned()),
            });
        }
    }

    fn delta(&mut self, delta: &Value) {
        // The first that is there: some servers send the same under two names.
        let reasoning = ["reasoning_content", "reasoning"]
            .iter()
            .find_map(|key| text_at(delta, key).filter(|t| !t.is_empty()));
        if let Some(reasoning) = reasoning {
            self.reasoning.push_str(reasoning);
            self.turn.reasoning(reasoning);
        }
        let details = delta.get("reasoning_details").and_then(Value::as_array);
        for detail in details.into_iter().flatten() {
            if reasoning.is_none() {
                let text = text_at(detail, "text").or_else(|| text_at(detail, "summary"));
                self.turn.reasoning(text.unwrap_or_default());
            }
            self.keep_detail(detail);
        }
        match delta.get("content") {
            Some(Value::String(text)) => self.text(text),
            Some(Value::Array(parts)) => {
                for part in parts {
                    match part.get("thinking") {
                        Some(Value::Array(thoughts)) => {
                            let texts = thoughts.iter().filter_map(|thought| text_at(thought, "text"));
                            texts.for_each(|text| self.turn.reasoning(text));
                        }
                        Some(Value::String(text)) => self.turn.reasoning(text),
                        _ => self.text(text_at(part, "text").unwrap_or_default()),
                    }
                }
            }
            _ => {}
        }
        if let Some(refusal) = text_at(delta, "refusal") {
            self.turn.refusal(refusal);
        }
        let annotations = delta.get("annotations").and_then(Value::as_array);
        for annotation in annotations.into_iter().flatten() {
            self.turn.push(Event::Citation(annotation.clone()));
        }
        let calls = delta.get("tool_calls").and_then(Value::as_array);
        for call in calls.into_iter().flatten() {
            self.call(call);
        }
        // The form before there could be several.
        if let Some(function) = delta.get("function_call").filter(|function| function.is_object()) {
            self.call(&json!({"index": 0, "function": function}));
        }
    }

    fn text(&mut self, text: &str) {
        self.content.push_str(text);
        if !self.holding || !(self.bound || may_be_call(&self.content)) {
            self.holding = false;
            self.tell();
        }
    }

    /// Tells what is not told yet.
    fn tell(&mut self) {
        let untold = self.content[self.told..].to_owned();
        self.told = self.content.len();
        self.turn.text(&untold);
    }

    /// Pieces of one detail come one by one, told apart by their index.
    fn keep_detail(&mut self, detail: &Value) {
        let key = |detail: &Value| (detail.get("index").cloned(), text_at(detail, "type").map(str::to_owned));
        let index = detail.get("index").is_some();
        let same = self.details.last_mut().filter(|last| index && key(last) == key(detail));
        match (same, detail) {
            (Some(Value::Object(last)), Value::Object(more)) => {
                for (field, value) in more {
                    let grows = matches!(field.as_str(), "text" | "summary" | "data");
                    match (last.get_mut(field), value) {
                        (Some(Value::String(text)), Value::String(piece)) if grows => text.push_str(piece),
                        (_, Value::Null) => {}
                        _ => _ = last.insert(field.clone(), value.clone()),
                    }
                }
            }
            _ => self.details.push(detail.clone()),
        }
    }

    fn call(&mut self, delta: &Value) {
        let at = self.place(delta);
        let function = delta.get("function").unwrap_or(&Value::Null);
        let call = &mut self.calls[at];
        if let Some(name) = text_at(function, "name")
            && call.name != name
        {
            // Whole, or in pieces; a server that repeats it repeats it whole.
            if call.announced { call.name = name.to_owned() } else { call.name.push_str(name) }
        }
        if !call.announced && !call.name.is_empty() {
            call.announced = true;
            let (id, name) = (call.id.clone(), call.name.clone());
            self.turn.call_start(at, &id, &name);
        }
        let piece = match function.get("arguments") {
            Some(Value::String(text)) => text.clone(),
            // Some servers send the object itself.
            Some(value @ Value::Object(_)) => value.to_string(),
            _ => String::new(),
        };
        let call = &mut self.calls[at];
        call.arguments.push_str(&piece);
        for (key, value) in delta.as_object().into_iter().flatten() {
            if !matches!(key.as_str(), "index" | "id" | "type" | "function") && !value.is_null() {
                call.rest.insert(key.clone(), value.clone());
            }
        }
        self.turn.call_arguments(at, &piece);
    }

    /// Which call a piece belongs to. The index decides, where there is one and the server keeps to it: some give
    /// every whole call the index 0.
    fn place(&mut self, delta: &Value) -> usize {
        let index = delta.get("index").and_then(Value::as_u64);
        let given = text_at(delta, "id").filter(|id| !id.is_empty());
        let other = |call: &Call| given.is_some() && call.given.is_some() && call.given.as_deref() != given;
        let known = match (index, given) {
            (Some(index), _) => self.calls.iter().rposition(|call| call.index == Some(index) && !other(call)),
            (None, Some(given)) => self.calls.iter().rposition(|call| call.given.as_deref() == Some(given)),
            (None, None) => {
                // A name begins a call; bare arguments go on with the last one.
                let begins =
                    delta.pointer("/function/name").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
                if begins { None } else { self.calls.len().checked_sub(1) }
            }
        };
        if let Some(at) = known {
            let call = &mut self.calls[at];
            if call.given.is_none() {
                call.given = given.map(str::to_owned);
            }
            return at;
        }
        let id = self.turn.claim_id(given);
        self.calls.push(Call {
            index,
            given: given.map(str::to_owned),
            id,
            name: String::new(),
            arguments: String::new(),
            announced: false,
            rest: JsonObject::new(),
        });
        self.calls.len() - 1
    }

    fn end(&mut self) {
        if self.turn.is_over() {
            return;
        }
        if self.reason.is_none() && !self.marked {
            self.turn.truncated();
            return;
        }
        let mut found = false;
        if self.calls.is_empty() && !self.findable.is_empty() {
            let names: Vec<&str> = self.findable.iter().map(String::as_str).collect();
            if let Some((before, calls)) = find_calls(&self.content, &names) {
                found = true;
                let before = before.to_owned();
                for (at, call) in calls.into_iter().enumerate() {
                    let id = self.turn.claim_id(None);
                    self.turn.call_start(at, &id, &call.name);
                    self.turn.invocation(ToolInvocation { id, name: call.name, arguments: call.arguments });
                }
                self.turn.set_text(before);
            }
        }
        if !found {
            self.tell();
        }
        let mut whole = Vec::new();
        for call in std::mem::take(&mut self.calls) {
            whole.push(whole_call(&call));
            self.turn.call(call.id, call.name, &call.arguments);
        }
        // What was found in the text was no call to the server: the canonical form tells it as one.
        let items = if found { Vec::new() } else { vec![self.message(whole)] };
        self.turn.done(self.reason.take().unwrap_or(FinishReason::Stop), items);
    }

    /// The message as the server wants it back.
    fn message(&mut self, calls: Vec<Value>) -> Value {
        let content = match self.content.is_empty() {
            true => Value::Null,
            false => std::mem::take(&mut self.content).into(),
        };
        let mut message = JsonObject::new();
        message.insert("role".into(), "assistant".into());
        message.insert("content".into(), content);
        if !self.details.is_empty() {
            message.insert("reasoning_details".into(), std::mem::take(&mut self.details).into());
        } else if !calls.is_empty() && !self.reasoning.is_empty() && self.wants_reasoning_back() {
            message.insert("reasoning_content".into(), std::mem::take(&mut self.reasoning).into());
        }
        if !calls.is_empty() {
            message.insert("tool_calls".into(), calls.into());
        }
        message.into()
    }

    /// Some hosts demand the reasoning behind a call back, others refuse a message that holds it.
    fn wants_reasoning_back(&self) -> bool {
        is_under(&self.turn.origin.wire.host, &["deepseek.com", "moonshot.cn", "moonshot.ai", "z.ai"])
    }
}

fn whole_call(call: &Call) -> Value {
    // Verbatim where it is an object; some servers read it when it comes back.
    let text = match call.arguments.trim_start().starts_with('{') {
        true if serde_json::from_str::<JsonObject>(&call.arguments).is_ok() => call.arguments.clone(),
        _ => Value::Object(arguments_object(&parse_arguments(&call.arguments))).to_string(),
    };
    let mut whole = JsonObject::new();
    whole.insert("id".into(), call.id.clone().into());
    whole.insert("type".into(), "function".into());
    whole.insert("function".into(), json!({"name": call.name, "arguments": text}));
    whole.extend(call.rest.clone());
    whole.into()
}

fn read_usage(usage: &Value) -> Usage {
    let input = count_at(usage, "/prompt_tokens");
    let reasoning = count_at(usage, "/completion_tokens_details/reasoning_tokens");
    let mut output = count_at(usage, "/completion_tokens");
    // Some servers do not count reasoning as output; the total gives them away.
    if reasoning > 0
        && count_at(usage, "/total_tokens") == input.saturating_add(output).saturating_add(reasoning)
    {
        output = output.saturating_add(reasoning);
    }
    let cached = count_at(usage, "/prompt_tokens_details/cached_tokens");
    Usage {
        input_tokens: input,
        cached_input_tokens: if cached > 0 { cached } else { count_at(usage, "/prompt_cache_hit_tokens") },
        output_tokens: output,
        reasoning_tokens: reasoning,
        cost_usd: usage.get("cost").and_then(Value::as_f64).filter(|cost| cost.is_finite() && *cost >= 0.0),
    }
}

impl Decoder for ChatDecoder {
    fn feed(&mut self, name: Option<&str>, data: &str) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over() {
            if data.trim() == "[DONE]" {
                self.marked = true;
                self.end();
            } else if let Some(chunk) = self.turn.parse(data) {
                self.chunk(name, chunk);
            }
        }
        self.turn.drain()
    }

    fn finish(&mut self) -> Vec<Result<Event, BackendError>> {
        self.end();
        self.turn.drain()
    }
}
