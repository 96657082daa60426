//! An answer in the Messages format.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::assembly::Assembly;
use super::super::{Decoder, Origin, arguments_object, count_at, parse_arguments, text_at};
use crate::classify::error_words;
use crate::{BackendError, Event, FinishReason, Request, ToolInvocation, Usage};

#[derive(Debug)]
pub(super) struct MessagesDecoder {
    turn: Assembly,
    /// By the provider's index. Deltas of several blocks may interleave.
    blocks: BTreeMap<u64, Block>,
    /// How many calls have begun.
    calls: usize,
    reason: Option<String>,
    usage: Counts,
}

#[derive(Debug)]
struct Block {
    value: Value,
    kind: String,
    /// The JSON text of a tool's input.
    json: String,
    call: Option<(usize, String)>,
    closed: bool,
}

/// The provider's counts: cumulative, and told in parts.
#[derive(Debug, Default)]
struct Counts {
    input: u64,
    written: u64,
    cached: u64,
    output: u64,
    thinking: u64,
}

impl MessagesDecoder {
    pub(super) fn new(origin: Origin, request: &Request) -> Self {
        Self {
            turn: Assembly::new(origin, request),
            blocks: BTreeMap::new(),
            calls: 0,
            reason: None,
            usage: Counts::default(),
        }
    }

    fn event(&mut self, kind: &str, event: Value) {
        match kind {
            "message_start" => {
                let message = event.get("message").unwrap_or(&Value::Null);
                self.turn.start(text_at(message, "model"), text_at(message, "id"));
                self.count(message.get("usage"));
            }
            "content_block_start" => self.open(&event),
            "content_block_delta" => self.delta(event),
            "content_block_stop" => self.close(count_at(&event, "/index")),
            "message_delta" => {
                self.turn.start(None, None);
                if let Some(reason) = event.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    self.reason = Some(reason.to_owned());
                }
                self.count(event.get("usage"));
            }
            "message_stop" => self.end(),
            "ping" => {}
            "error" => {
                let (code, message) = error_words(&event);
                self.turn.error(code.as_deref(), &message);
            }
            _ if event.get("error").is_some_and(|error| !error.is_null()) => {
                let (code, message) = error_words(&event);
                self.turn.error(code.as_deref(), &message);
            }
            _ => self.turn.push(Event::Unknown(event)),
        }
    }

    fn open(&mut self, event: &Value) {
        self.turn.start(None, None);
        let index = count_at(event, "/index");
        let mut value = event.get("content_block").cloned().unwrap_or_else(|| serde_json::json!({}));
        let kind = text_at(&value, "type").unwrap_or_default().to_owned();
        let mut call = None;
        match kind.as_str() {
            "tool_use" => {
                let id = self.turn.claim_id(text_at(&value, "id"));
                let name = text_at(&value, "name").unwrap_or_default().to_owned();
                self.turn.call_start(self.calls, &id, &name);
                set(&mut value, "id", id.clone().into());
                call = Some((self.calls, id));
                self.calls += 1;
            }
            "text" => self.turn.text(text_at(&value, "text").unwrap_or_default()),
            "thinking" => self.turn.reasoning(text_at(&value, "thinking").unwrap_or_default()),
            "redacted_thinking" => {}
            "server_tool_use" | "mcp_tool_use" => {
                let name = text_at(&value, "name").unwrap_or(&kind);
                self.turn.builtin(name, text_at(&value, "id"), "started", value.clone());
            }
            _ => match kind.strip_suffix("_tool_result") {
                Some(tool) => {
                    let id = text_at(&value, "tool_use_id");
                    let failed = value.pointer("/content/error_code").is_some();
                    let phase = if failed { "failed" } else { "completed" };
                    self.turn.builtin(tool, id, phase, value.get("content").cloned().unwrap_or_default());
                }
                None => self.turn.push(Event::Unknown(event.clone())),
            },
        }
        self.blocks.insert(index, Block { value, kind, json: String::new(), call, closed: false });
    }

    fn delta(&mut self, event: Value) {
        let index = count_at(&event, "/index");
        let delta = event.get("delta").unwrap_or(&Value::Null);
        let kind = text_at(delta, "type").unwrap_or_default();
        let piece = |key| text_at(delta, key).unwrap_or_default();
        // A block that was never opened: told all the same, but it cannot be replayed.
        let block = self.blocks.get_mut(&index).filter(|block| !block.closed);
        match kind {
            "text_delta" => {
                block.into_iter().for_each(|block| append(&mut block.value, "text", piece("text")));
                self.turn.text(piece("text"));
            }
            "thinking_delta" => {
                block.into_iter().for_each(|block| append(&mut block.value, "thinking", piece("thinking")));
                self.turn.reasoning(piece("thinking"));
            }
            "signature_delta" => {
                block.into_iter().for_each(|block| append(&mut block.value, "signature", piece("signature")));
            }
            "citations_delta" => {
                let citation = delta.get("citation").cloned().unwrap_or_default();
                if let Some(block) = block {
                    match block.value.get_mut("citations").and_then(Value::as_array_mut) {
                        Some(citations) => citations.push(citation.clone()),
                        None => set(&mut block.value, "citations", vec![citation.clone()].into()),
                    }
                }
                self.turn.push(Event::Citation(citation));
            }
            "input_json_delta" => {
                if let Some(block) = block {
                    block.json.push_str(piece("partial_json"));
                    if let Some((at, _)) = block.call {
                        self.turn.call_arguments(at, piece("partial_json"));
                    }
                }
            }
            _ => self.turn.push(Event::Unknown(event)),
        }
    }

    fn close(&mut self, index: u64) {
        let Some(block) = self.blocks.get_mut(&index).filter(|block| !block.closed) else { return };
        block.closed = true;
        // Input may come whole in the block, or in pieces behind it.
        let arguments = match block.value.get("input").and_then(Value::as_object) {
            Some(input) if block.json.trim().is_empty() => Ok(input.clone()),
            _ => parse_arguments(&block.json),
        };
        if let Some((_, id)) = &block.call {
            set(&mut block.value, "input", arguments_object(&arguments).into());
            let name = text_at(&block.value, "name").unwrap_or_default().to_owned();
            self.turn.invocation(ToolInvocation { id: id.clone(), name, arguments });
        } else if matches!(block.kind.as_str(), "server_tool_use" | "mcp_tool_use") {
            set(&mut block.value, "input", arguments_object(&arguments).into());
            let value = block.value.clone();
            let name = text_at(&value, "name").unwrap_or_default();
            self.turn.builtin(name, text_at(&value, "id"), "requested", value.clone());
        }
    }

    fn count(&mut self, usage: Option<&Value>) {
        let Some(usage) = usage.filter(|usage| usage.is_object()) else { return };
        let keep = |field: &mut u64, pointer| {
            if usage.pointer(pointer).is_some_and(Value::is_number) {
                *field = count_at(usage, pointer);
            }
        };
        keep(&mut self.usage.input, "/input_tokens");
        keep(&mut self.usage.written, "/cache_creation_input_tokens");
        keep(&mut self.usage.cached, "/cache_read_input_tokens");
        keep(&mut self.usage.output, "/output_tokens");
        keep(&mut self.usage.thinking, "/output_tokens_details/thinking_tokens");
        let counts = &self.usage;
        // This provider's input leaves out what went into its cache or came from it.
        self.turn.usage(Usage {
            input_tokens: counts.input.saturating_add(counts.written).saturating_add(counts.cached),
            cached_input_tokens: counts.cached,
            output_tokens: counts.output,
            reasoning_tokens: counts.thinking,
            cost_usd: None,
        });
    }

    fn end(&mut self) {
        // A limit may cut a call short, and then nothing closes it.
        let open: Vec<u64> = self.blocks.keys().copied().collect();
        open.into_iter().for_each(|index| self.close(index));
        let reason = match self.reason.take().as_deref() {
            None | Some("end_turn" | "stop_sequence") => FinishReason::Stop,
            Some("tool_use") => FinishReason::ToolCalls,
            Some("max_tokens" | "model_context_window_exceeded") => FinishReason::Length,
            Some("pause_turn") => FinishReason::Pause,
            Some("refusal") => FinishReason::Refusal,
            Some(other) => FinishReason::Other(other.to_owned()),
        };
        let ids: Vec<String> =
            self.blocks.values().filter_map(|block| block.call.as_ref().map(|(_, id)| id.clone())).collect();
        self.turn.order_calls(&ids);
        let items = std::mem::take(&mut self.blocks).into_values().map(|block| block.value).collect();
        self.turn.done(reason, items);
    }
}

fn set(value: &mut Value, key: &str, new: Value) {
    if let Some(object) = value.as_object_mut() {
        object.insert(key.to_owned(), new);
    }
}

fn append(value: &mut Value, key: &str, piece: &str) {
    match value.get_mut(key) {
        Some(Value::String(text)) => text.push_str(piece),
        _ => set(value, key, piece.into()),
    }
}

impl Decoder for MessagesDecoder {
    fn feed(&mut self, name: Option<&str>, data: &str) -> Vec<Result<Event, BackendError>> {
        if !self.turn.is_over()
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
