//! What holds for every format: framing, sizes, pieces, garbage.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::chat::ToolMode;
use super::testing::{chat_codec, codec, play, play_pieces, question, show, sse};
use crate::{BackendError, Event};

const FORMATS: [&str; 4] = ["chat", "responses", "messages", "gemini"];

/// A whole answer in a format: text with letters of two to four bytes, reasoning, two calls.
fn answer(format: &str) -> String {
    let chunks: Vec<Value> = match format {
        "chat" => vec![
            json!({"id": "c", "model": "m", "choices": [{"delta": {"reasoning": "hm…"}}]}),
            json!({"id": "c", "choices": [{"delta": {"content": "Grüße 🌍"}}]}),
            json!({"id": "c", "choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "get_weather", "arguments": "{\"city\":"}}]}}]}),
            json!({"id": "c", "choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "\"Łódź\"}"}}, {"index": 1, "id": "b", "function": {"name": "get_weather", "arguments": ""}}]}}]}),
            json!({"id": "c", "choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
        ],
        "responses" => vec![
            json!({"type": "response.created", "response": {"id": "r", "model": "m"}}),
            json!({"type": "response.reasoning_summary_text.delta", "delta": "hm…"}),
            json!({"type": "response.output_text.delta", "delta": "Grüße 🌍"}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": [{"type": "output_text", "text": "Grüße 🌍"}]}}),
            json!({"type": "response.output_item.added", "output_index": 1, "item": {"type": "function_call", "id": "f", "call_id": "a", "name": "get_weather", "arguments": ""}}),
            json!({"type": "response.function_call_arguments.delta", "output_index": 1, "item_id": "f", "delta": "{\"city\":\"Łódź\"}"}),
            json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "function_call", "id": "f", "call_id": "a", "name": "get_weather", "arguments": "{\"city\":\"Łódź\"}"}}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 1, "output_tokens": 2}}}),
        ],
        "messages" => vec![
            json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1}}}),
            json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm…"}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s"}}),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}}),
            json!({"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüße 🌍"}}),
            json!({"type": "content_block_stop", "index": 1}),
            json!({"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "a", "name": "get_weather", "input": {}}}),
            json!({"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{\"city\":\"Łódź\"}"}}),
            json!({"type": "content_block_stop", "index": 2}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}),
            json!({"type": "message_stop"}),
        ],
        _ => vec![
            json!({"candidates": [{"content": {"parts": [{"text": "hm…", "thought": true}, {"text": "Grüße "}]}}]}),
            json!({"candidates": [{"content": {"parts": [{"text": "🌍"}, {"functionCall": {"name": "get_weather", "args": {"city": "Łódź"}}, "thoughtSignature": "s"}]}, "finishReason": "STOP"}]}),
        ],
    };
    sse(&chunks)
}

fn assert_same(format: &str, text: &[u8]) {
    let codec = codec(format);
    let whole = show(&play(&*codec, &question(), &answer(format)));
    let got = play_pieces(&*codec, &question(), vec![Bytes::copy_from_slice(text)]);
    assert_eq!(show(&got), whole);
}

#[test]
fn every_format_tells_text_reasoning_and_calls() {
    for format in FORMATS {
        let shown = show(&play(&*codec(format), &question(), &answer(format)));
        for part in
            ["text \"Grüße 🌍\"", "reasoning \"hm…\"", "get_weather {\"city\":\"Łódź\"}", "done ToolCalls"]
        {
            assert!(shown.contains(part), "{format} lacks {part}:\n{shown}");
        }
    }
}

#[test]
fn a_byte_order_mark_and_every_kind_of_line_end_are_read() {
    for format in FORMATS {
        let text = answer(format);
        assert_same(format, format!("\u{feff}{text}").as_bytes());
        assert_same(format, text.replace('\n', "\r\n").as_bytes());
        assert_same(format, text.replace('\n', "\r").as_bytes());
        assert_same(format, text.replace("data: ", "data:").as_bytes());
        assert_same(format, format!("event: hello\n\n: comment\n\nretry: 5\n\n{text}").as_bytes());
    }
}

#[test]
fn letters_split_between_pieces_stay_whole() {
    for format in FORMATS {
        let pieces = answer(format).into_bytes().chunks(1).map(Bytes::copy_from_slice).collect();
        let codec = codec(format);
        let got = show(&play_pieces(&*codec, &question(), pieces));
        assert_eq!(got, show(&play(&*codec, &question(), &answer(format))));
    }
}

#[test]
fn an_event_of_three_megabytes_is_read() {
    let long = "x".repeat(3 << 20);
    let text = sse(&[json!({"choices": [{"delta": {"content": long}, "finish_reason": "stop"}]})]);
    let events = play(&*codec("chat"), &question(), &text);
    assert_eq!(super::testing::turn(&events).text.len(), 3 << 20);
}

#[test]
fn an_event_without_end_is_cut_off_at_the_limit() {
    let endless = (0..40).map(|_| Bytes::from(vec![b'x'; 1 << 20])).collect();
    let events = play_pieces(&*codec("chat"), &question(), endless);
    let [Err(error @ BackendError::Decode { .. })] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(error.to_string(), "P sent something unreadable: one event is longer than 16777216 bytes");
}

#[test]
fn an_event_that_is_no_json_is_an_error_that_quotes_it() {
    for format in FORMATS {
        let events = play(&*codec(format), &question(), "data: {\"type\": oops\n\n");
        let [Err(error)] = events.as_slice() else { panic!("{events:?}") };
        assert!(error.to_string().contains("oops") && !error.is_retryable(), "{error}");
    }
}

/// JSON that resembles the formats' own.
fn odd_json() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("type"),
        Just("choices"),
        Just("delta"),
        Just("content"),
        Just("tool_calls"),
        Just("function"),
        Just("arguments"),
        Just("name"),
        Just("id"),
        Just("index"),
        Just("item"),
        Just("output_index"),
        Just("error"),
        Just("message"),
        Just("candidates"),
        Just("parts"),
        Just("functionCall"),
        Just("args"),
        Just("usage"),
        Just("finishReason"),
        Just("finish_reason"),
        Just("content_block"),
        Just("response"),
        Just("output"),
        Just("input_tokens"),
        Just("text"),
        Just("reasoning_details"),
        Just("citations"),
        Just("input"),
    ];
    let text = prop_oneof![
        Just("response.output_item.added"),
        Just("response.output_item.done"),
        Just("response.completed"),
        Just("response.function_call_arguments.delta"),
        Just("function_call"),
        Just("message"),
        Just("tool_use"),
        Just("content_block_start"),
        Just("content_block_delta"),
        Just("content_block_stop"),
        Just("message_delta"),
        Just("message_stop"),
        Just("message_start"),
        Just("input_json_delta"),
        Just("citations_delta"),
        Just("text"),
        Just("STOP"),
        Just("stop"),
        Just("{\"a\":"),
        Just(""),
        Just("get_weather"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((word.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

/// A stream ends once: with an end or an error, and nothing behind it.
fn assert_ends_once(events: &[Result<Event, BackendError>]) {
    let is_end = |event: &Result<Event, BackendError>| matches!(event, Err(_) | Ok(Event::Done { .. }));
    assert_eq!(events.iter().filter(|event| is_end(event)).count(), 1);
    assert!(events.last().is_some_and(is_end));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_cut_into_pieces_gives_the_same_events(at in 0usize..4, cuts in prop::collection::vec(0usize..2000, 0..12)) {
        let text = answer(FORMATS[at]).into_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % text.len()).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| Bytes::copy_from_slice(&text[pair[0]..pair[1]])).collect();
        let codec = codec(FORMATS[at]);
        let whole = play_pieces(&*codec, &question(), vec![Bytes::from(text)]);
        prop_assert_eq!(show(&play_pieces(&*codec, &question(), pieces)), show(&whole));
    }

    #[test]
    fn an_answer_cut_short_is_never_a_success(at in 0usize..4, cut in 0.0f64..1.0) {
        let text = answer(FORMATS[at]);
        // Before the last event: that is the one with the end in it.
        let most = text.trim_end().rfind("\n\n").unwrap_or_default();
        let cut = (most as f64 * cut) as usize;
        let piece = Bytes::copy_from_slice(&text.as_bytes()[..cut]);
        let events = play_pieces(&*codec(FORMATS[at]), &question(), vec![piece]);
        prop_assert!(matches!(events.last(), Some(Err(_))), "{}", show(&events));
    }

    #[test]
    fn bytes_never_panic(at in 0usize..4, bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        assert_ends_once(&play_pieces(&*codec(FORMATS[at]), &question(), vec![Bytes::from(bytes)]));
    }

    #[test]
    fn odd_json_never_panics(values in prop::collection::vec(odd_json(), 0..8)) {
        let text = sse(&values);
        for format in FORMATS {
            assert_ends_once(&play(&*codec(format), &question(), &text));
        }
        for mode in [ToolMode::Auto, ToolMode::JsonSchema] {
            assert_ends_once(&play(&*chat_codec(mode), &question(), &text));
        }
    }
}
