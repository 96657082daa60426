//! For the tests of the formats: playing written streams and showing what they say.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use url::Url;

use super::chat::{self, Chat, ToolMode};
use super::generate_content::{self, GenerateContent};
use super::messages::{self, Messages};
use super::responses::{self, EncryptedReasoning, Responses, SystemPlace};
use super::{Codec, Encoded, ModelOptions, Origin};
use crate::http::{Body, HttpOptions};
use crate::{BackendError, Event, Message, Request, ToolDefinition, ToolInvocation, ToolReply, Turn, Wire};

pub(crate) fn origin(format: &'static str) -> Origin {
    Origin {
        provider: "P".into(),
        wire: Wire { format, host: "host".into() },
        key_hint: "set P_API_KEY".into(),
    }
}

/// The codec of a format, by its name; `chat` finds no calls in text.
pub(crate) fn codec(format: &str) -> Arc<dyn Codec> {
    let base = Url::parse("http://host/v1").unwrap();
    match format {
        "responses" => {
            let profile = responses::Profile {
                system: SystemPlace::Instructions,
                encrypted_reasoning: EncryptedReasoning::ReasoningModels,
            };
            Arc::new(Responses::new(origin(responses::FORMAT), &base, profile))
        }
        "messages" => Arc::new(Messages::new(origin(messages::FORMAT), &base)),
        "gemini" => Arc::new(GenerateContent::new(origin(generate_content::FORMAT), &base)),
        "chat" => chat_codec(ToolMode::Native),
        other => panic!("no format {other}"),
    }
}

pub(crate) fn chat_codec(tool_mode: ToolMode) -> Arc<dyn Codec> {
    let profile = chat::Profile { tool_mode, ..chat::Profile::default() };
    Arc::new(Chat::new(origin(chat::FORMAT), &Url::parse("http://host/v1").unwrap(), profile))
}

pub(crate) fn weather() -> ToolDefinition {
    let schema = json!({
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": false,
    });
    ToolDefinition {
        name: "get_weather".into(),
        description: "Current weather of a city.".into(),
        schema: Arc::new(schema),
    }
}

pub(crate) fn question() -> Request {
    Request {
        system: Some("Be brief.".into()),
        messages: vec![Message::User("weather please".into())],
        tools: vec![weather()],
        ..Request::default()
    }
}

pub(crate) fn options(model: &str) -> ModelOptions {
    ModelOptions { model: model.into(), ..ModelOptions::default() }
}

/// Data lines from JSON values.
pub(crate) fn sse(chunks: &[Value]) -> String {
    chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect()
}

/// What a stream says, in the pieces that arrive.
pub(crate) fn play_pieces(
    codec: &dyn Codec,
    request: &Request,
    pieces: Vec<Bytes>,
) -> Vec<Result<Event, BackendError>> {
    let format: &'static str = chat::FORMAT;
    let bytes = Box::pin(stream::iter(pieces.into_iter().map(Ok)));
    let mut body = Body::new(bytes, codec.decoder(request), origin(format), &HttpOptions::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mut events = Vec::new();
        while let Some(event) = body.next().await {
            events.push(event);
        }
        events
    })
}

pub(crate) fn play(codec: &dyn Codec, request: &Request, text: &str) -> Vec<Result<Event, BackendError>> {
    play_pieces(codec, request, vec![Bytes::copy_from_slice(text.as_bytes())])
}

/// The turn at the end.
pub(crate) fn turn(events: &[Result<Event, BackendError>]) -> Turn {
    match events.last() {
        Some(Ok(Event::Done { turn, .. })) => turn.clone(),
        other => panic!("no end but {other:?}"),
    }
}

/// One line per event; pieces of one text in one.
pub(crate) fn show(events: &[Result<Event, BackendError>]) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut pieces: Option<(&str, String)> = None;
    for event in events {
        let piece = match event {
            Ok(Event::Text(text)) => Some(("text", text)),
            Ok(Event::Reasoning(text)) => Some(("reasoning", text)),
            Ok(Event::Refusal(text)) => Some(("refusal", text)),
            _ => None,
        };
        match (&mut pieces, piece) {
            (Some((kind, all)), Some((more, text))) if *kind == more => all.push_str(text),
            (_, piece) => {
                lines.extend(pieces.take().map(|(kind, text)| format!("{kind} {text:?}")));
                match piece {
                    Some((kind, text)) => pieces = Some((kind, text.clone())),
                    None => lines.push(line(event)),
                }
            }
        }
    }
    lines.extend(pieces.map(|(kind, text)| format!("{kind} {text:?}")));
    lines.join("\n") + "\n"
}

fn line(event: &Result<Event, BackendError>) -> String {
    match event {
        Err(error) => {
            let again = if error.is_retryable() { "retryable" } else { "final" };
            format!("error ({again}) {error}")
        }
        Ok(Event::Start { model, id }) => {
            format!("start {} {}", model.as_deref().unwrap_or("-"), id.as_deref().unwrap_or("-"))
        }
        Ok(Event::ToolCallStart { index, id, name }) => format!("begin {index} {id} {name}"),
        Ok(Event::ToolCallArguments { index, delta }) => format!("arguments {index} {delta:?}"),
        Ok(Event::ToolCall(call)) => format!("call {}", show_call(call)),
        Ok(Event::Builtin { kind, id, phase, .. }) => {
            format!("builtin {kind} {} {phase}", id.as_deref().unwrap_or("-"))
        }
        Ok(Event::Citation(value)) => format!("citation {value}"),
        Ok(Event::Usage(u)) => format!(
            "usage in {} (cached {}) out {} (reasoning {})",
            u.input_tokens, u.cached_input_tokens, u.output_tokens, u.reasoning_tokens
        ),
        Ok(Event::Unknown(value)) => format!("unknown {value}"),
        Ok(Event::Done { reason, turn }) => {
            let calls: Vec<String> = turn.calls.iter().map(|call| call.id.clone()).collect();
            format!("done {reason:?} text {:?} calls {calls:?} items {}", turn.text, turn.items.len())
        }
        Ok(other) => format!("{other:?}"),
    }
}

fn show_call(call: &ToolInvocation) -> String {
    match &call.arguments {
        Ok(arguments) => format!("{} {} {}", call.id, call.name, Value::Object(arguments.clone())),
        Err(text) => format!("{} {} NOT AN OBJECT {text:?}", call.id, call.name),
    }
}

/// Answers every call of a turn, the first one with an error, and asks on.
pub(crate) fn follow_up(request: &Request, turn: Turn) -> Request {
    let mut request = request.clone();
    let reply = |(at, call): (usize, &ToolInvocation)| ToolReply {
        id: call.id.clone(),
        name: call.name.clone(),
        text: format!("result {at}"),
        is_error: at == 0,
    };
    let replies = turn.calls.iter().enumerate().map(reply).collect();
    request.messages.push(Message::Assistant(turn));
    request.messages.push(Message::ToolReplies(replies));
    request.messages.push(Message::User("Go on.".into()));
    request
}

/// The body of a request, indented. The schema of [`weather`] is named where it stands whole.
pub(crate) fn pretty(encoded: &Encoded) -> String {
    fn named(value: &mut Value, schema: &Value) {
        match value {
            _ if value == schema => *value = "the schema of get_weather".into(),
            Value::Array(items) => items.iter_mut().for_each(|item| named(item, schema)),
            Value::Object(fields) => fields.values_mut().for_each(|field| named(field, schema)),
            _ => {}
        }
    }
    let mut body = encoded.body.clone();
    named(&mut body, &weather().schema);
    serde_json::to_string_pretty(&body).unwrap() + "\n"
}
