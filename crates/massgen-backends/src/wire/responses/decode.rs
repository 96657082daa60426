//! An answer in the Responses format.

use serde_json::Value;

use super::super::assembly::Assembly;
use super::super::{Decoder, Origin, count_at, text_at};
use crate::classify::error_words;
use crate::{BackendError, Event, FinishReason, Request, Usage};

#[derive(Debug)]
pub(super) struct ResponsesDecoder {
    turn: Assembly,
    calls: Vec<Call>,
    /// With the place the provider gives them: they may be completed in another order.
    items: Vec<(u64, Value)>,
    /// Something was written since the last message item: its whole text need not be told again.
    told: bool,
}

#[derive(Debug)]
struct Call {
    output_index: Option<u64>,
    item_id: Option<String>,
    id: String,
    name: String,
    arguments: String,
    done: bool,
}

impl ResponsesDecoder {
    pub(super) fn new(origin: Origin, request: &Request) -> Self {
        Self { turn: Assembly::new(origin, request), calls: Vec::new(), items: Vec::new(), told: false }
    }

    fn event(&mut self, kind: &str, event: Value) {
        if kind != "error" && kind != "response.failed" {
            let response = event.get("response").unwrap_or(&Value::Null);
            self.turn.start(text_at(response, "model"), text_at(response, "id"));
        }
        let delta = text_at(&event, "delta").unwrap_or_default();
        match kind {
            "response.output_text.delta" => {
                self.told = true;
                self.turn.text(delta);
            }
            "response.refusal.delta" => {
                self.told = true;
                self.turn.refusal(delta);
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                self.turn.reasoning(delta)
            }
            // Summaries come in parts; without a break the next one would stick to the last.
            "response.reasoning_summary_part.added" => {
                if count_at(&event, "/summary_index") > 0 {
                    self.turn.reasoning("\n\n");
                }
            }
            "response.output_text.annotation.added" => {
                self.turn.push(Event::Citation(event.get("annotation").cloned().unwrap_or(event)));
            }
            "response.output_item.added" => self.item_added(&event),
            "response.output_item.done" => self.item_done(&event),
            "response.function_call_arguments.delta" => {
                if let Some(at) = self.find(&event) {
                    self.calls[at].arguments.push_str(delta);
                    self.turn.call_arguments(at, delta);
                }
            }
            "response.function_call_arguments.done" => {
                if let (Some(at), Some(whole)) = (self.find(&event), text_at(&event, "arguments")) {
                    self.calls[at].arguments = whole.to_owned();
                }
            }
            "response.completed" => self.end(FinishReason::Stop, &event),
            "response.incomplete" => {
                let reason = event.pointer("/response/incomplete_details/reason").and_then(Value::as_str);
                let reason = match reason {
                    Some("max_output_tokens") => FinishReason::Length,
                    Some("content_filter") => FinishReason::ContentFilter,
                    other => FinishReason::Other(other.unwrap_or("incomplete").to_owned()),
                };
                self.end(reason, &event);
            }
            "response.failed" => {
                let error = event.get("response").filter(|r| r.get("error").is_some()).unwrap_or(&event);
                let (code, message) = error_words(error);
                self.turn.error(code.as_deref(), &message);
            }
            "error" => {
                let (code, message) = error_words(&event);
                self.turn.error(code.as_deref(), &message);
            }
            "response.created"
            | "response.in_progress"
            | "response.queued"
            | "response.content_part.added"
            | "response.content_part.done"
            | "response.output_text.done"
            | "response.refusal.done"
            | "response.reasoning_summary_part.done"
            | "response.reasoning_summary_text.done"
            | "response.reasoning_text.done"
            | "response.code_interpreter_call_code.delta"
            | "response.mcp_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
            | "keepalive" => {}
            _ => self.other(kind, event),
        }
    }

    /// `response.web_search_call.searching` and its kind, and what this version does not know.
    fn other(&mut self, kind: &str, event: Value) {
        let parts = kind.strip_prefix("response.").and_then(|rest| rest.split_once('.'));
        if let Some((tool, phase)) = parts
            && (tool.ends_with("_call") || tool.contains("_call_") || tool == "mcp_list_tools")
        {
            // `code_interpreter_call_code.done` tells the code.
            let (tool, part) = tool.split_once("_call").unwrap_or((tool, ""));
            let phase = part.strip_prefix('_').unwrap_or(phase).to_owned();
            let (id, tool) = (text_at(&event, "item_id").map(str::to_owned), tool.to_owned());
            self.turn.builtin(&tool, id.as_deref(), &phase, event);
        } else if event.get("error").is_some_and(|error| !error.is_null()) {
            let (code, message) = error_words(&event);
            self.turn.error(code.as_deref(), &message);
        } else {
            self.turn.push(Event::Unknown(event));
        }
    }

    fn item_added(&mut self, event: &Value) {
        let item = event.get("item").unwrap_or(&Value::Null);
        let kind = text_at(item, "type").unwrap_or_default();
        if kind == "function_call" {
            self.open(event, item);
        } else if let Some(tool) = kind.strip_suffix("_call") {
            self.turn.builtin(tool, text_at(item, "id"), "started", item.clone());
        }
    }

    fn open(&mut self, event: &Value, item: &Value) -> usize {
        let id = self.turn.claim_id(text_at(item, "call_id").or_else(|| text_at(item, "id")));
        let name = text_at(item, "name").unwrap_or_default().to_owned();
        let at = self.calls.len();
        self.turn.call_start(at, &id, &name);
        self.calls.push(Call {
            output_index: event.get("output_index").and_then(Value::as_u64),
            item_id: text_at(item, "id").filter(|id| !id.is_empty()).map(str::to_owned),
            id,
            name,
            arguments: text_at(item, "arguments").unwrap_or_default().to_owned(),
            done: false,
        });
        at
    }

    /// The open call that an event is about.
    fn find(&self, event: &Value) -> Option<usize> {
        let open = |call: &Call| !call.done;
        let item_id = text_at(event, "item_id").or_else(|| event.pointer("/item/id").and_then(Value::as_str));
        let by_id = item_id
            .filter(|id| !id.is_empty())
            .and_then(|id| self.calls.iter().position(|c| open(c) && c.item_id.as_deref() == Some(id)));
        let index = event.get("output_index").and_then(Value::as_u64);
        let by_index =
            || index.and_then(|i| self.calls.iter().position(|c| open(c) && c.output_index == Some(i)));
        let by_call_id = || {
            let id = event.pointer("/item/call_id").and_then(Value::as_str)?;
            self.calls.iter().position(|c| open(c) && c.id == id)
        };
        let last =
            || (item_id.is_none() && index.is_none()).then(|| self.calls.iter().rposition(open)).flatten();
        by_id.or_else(by_index).or_else(by_call_id).or_else(last)
    }

    fn item_done(&mut self, event: &Value) {
        let Some(item) = event.get("item") else { return };
        let place = event.get("output_index").and_then(Value::as_u64).unwrap_or(self.items.len() as u64);
        let item = self.item(event, item);
        self.items.push((place, item));
    }

    /// Tells of a whole item, and hands it back as it is to be replayed.
    fn item(&mut self, event: &Value, item: &Value) -> Value {
        let mut item = item.clone();
        let kind = text_at(&item, "type").unwrap_or_default().to_owned();
        match kind.as_str() {
            "function_call" => {
                let at = self.find(event).unwrap_or_else(|| self.open(event, &item));
                if let Some(name) = text_at(&item, "name").filter(|name| !name.is_empty()) {
                    self.calls[at].name = name.to_owned();
                }
                if let Some(whole) = text_at(&item, "arguments").filter(|whole| !whole.is_empty()) {
                    self.calls[at].arguments = whole.to_owned();
                }
                self.close(at);
                // The id that the reply will name, should the provider's have been taken.
                if let Some(object) = item.as_object_mut() {
                    object.insert("call_id".into(), self.calls[at].id.clone().into());
                    if self.calls[at].arguments.trim().is_empty() {
                        object.insert("arguments".into(), "{}".into());
                    } else {
                        object.insert("arguments".into(), self.calls[at].arguments.clone().into());
                    }
                }
            }
            "message" => {
                if !self.told {
                    for part in item.get("content").and_then(Value::as_array).into_iter().flatten() {
                        match text_at(part, "type") {
                            Some("refusal") => {
                                self.turn.refusal(text_at(part, "refusal").unwrap_or_default())
                            }
                            _ => self.turn.text(text_at(part, "text").unwrap_or_default()),
                        }
                    }
                }
                self.told = false;
            }
            _ => {
                if let Some(tool) = kind.strip_suffix("_call") {
                    self.turn.builtin(tool, text_at(&item, "id"), "result", item.clone());
                }
            }
        }
        item
    }

    fn close(&mut self, at: usize) {
        let call = &mut self.calls[at];
        if !call.done {
            call.done = true;
            self.turn.call(call.id.clone(), call.name.clone(), &call.arguments);
        }
    }

    fn end(&mut self, reason: FinishReason, event: &Value) {
        let response = event.get("response").unwrap_or(&Value::Null);
        // Some servers tell the items only here.
        if self.items.is_empty() {
            let output = response.get("output").and_then(Value::as_array).cloned().unwrap_or_default();
            for (place, item) in output.iter().enumerate() {
                let event = serde_json::json!({"output_index": place, "item": item});
                self.item_done(&event);
            }
        }
        for at in 0..self.calls.len() {
            if !self.calls[at].done {
                // Cut off by a limit, or never closed by the server: the item is ours, for the reply needs its call.
                let (place, call) = (self.calls[at].output_index, &self.calls[at]);
                let item = serde_json::json!({
                    "type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments,
                });
                self.items.push((place.unwrap_or(u64::MAX), item));
                self.close(at);
            }
        }
        if let Some(usage) = response.get("usage").filter(|usage| usage.is_object()) {
            self.turn.usage(Usage {
                input_tokens: count_at(usage, "/input_tokens"),
                cached_input_tokens: count_at(usage, "/input_tokens_details/cached_tokens"),
                output_tokens: count_at(usage, "/output_tokens"),
                reasoning_tokens: count_at(usage, "/output_tokens_details/reasoning_tokens"),
                cost_usd: None,
            });
        }
        let ids: Vec<String> = self.calls.iter().map(|call| call.id.clone()).collect();
        self.turn.order_calls(&ids);
        self.items.sort_by_key(|(place, _)| *place);
        let items = std::mem::take(&mut self.items).into_iter().map(|(_, item)| item).collect();
        self.turn.done(reason, items);
    }
}

impl Decoder for ResponsesDecoder {
    fn feed(&mut self, name: Option<&str>, data: &str) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over()
            && data.trim() != "[DONE]"
            && let Some(event) = self.turn.parse(data)
        {
            let kind = text_at(&event, "type").or(name).unwrap_or_default().to_owned();
            self.event(&kind, event);
        }
        self.turn.drain()
    }

    fn finish(&mut self) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over() {
            self.turn.truncated();
        }
        self.turn.drain()
    }
}
