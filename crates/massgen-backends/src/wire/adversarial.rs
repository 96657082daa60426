//! Streams that break clients: each was seen to be dropped, misread or taken for a success by at least one of them, or
//! is close to one that was. (The one about an HTTP status is in the tests over sockets.)

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::testing::{codec, play, question, show, sse};

fn check(format: &str, chunks: &[Value], expect: Expect) {
    check_text(format, &sse(chunks), expect);
}

fn check_text(format: &str, text: &str, expect: Expect) {
    expect.assert_eq(&show(&play(&*codec(format), &question(), text)));
}

fn message_start() -> Value {
    json!({"type": "message_start", "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}}})
}

fn text_block(index: u64, text: &str) -> Vec<Value> {
    vec![
        json!({"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}),
        json!({"type": "content_block_stop", "index": index}),
    ]
}

fn message_end(reason: &str) -> Vec<Value> {
    vec![
        json!({"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": null}, "usage": {"output_tokens": 7}}),
        json!({"type": "message_stop"}),
    ]
}

fn chunk(delta: Value) -> Value {
    json!({"id": "c1", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"id": "c1", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

const DONE: &str = "data: [DONE]\n\n";

#[test]
fn messages_01_web_search_with_result_and_citations() {
    let mut chunks = vec![
        message_start(),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{\"query\":\"rust\"}"}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result", "url": "u", "encrypted_content": "x"}]}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "content_block_start", "index": 2, "content_block": {"type": "text", "text": "", "citations": []}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "citations_delta", "citation": {"url": "u"}}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "Rust 1.95."}}),
        json!({"type": "content_block_stop", "index": 2}),
    ];
    chunks.extend(message_end("end_turn"));
    check(
        "messages",
        &chunks,
        expect![[r#"
            start claude msg_1
            usage in 9 (cached 0) out 1 (reasoning 0)
            builtin web_search srv_1 started
            builtin web_search srv_1 requested
            builtin web_search srv_1 completed
            citation {"url":"u"}
            text "Rust 1.95."
            usage in 9 (cached 0) out 7 (reasoning 0)
            done Stop text "Rust 1.95." calls [] items 3
        "#]],
    );
}

#[test]
fn messages_02_citations_only() {
    let mut chunks = vec![
        message_start(),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "A"}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"n": 1}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "B"}}),
        json!({"type": "content_block_stop", "index": 0}),
    ];
    chunks.extend(message_end("end_turn"));
    check(
        "messages",
        &chunks,
        expect![[r#"
        start claude msg_1
        usage in 9 (cached 0) out 1 (reasoning 0)
        text "A"
        citation {"n":1}
        text "B"
        usage in 9 (cached 0) out 7 (reasoning 0)
        done Stop text "AB" calls [] items 1
    "#]],
    );
}

#[test]
fn messages_03_overloaded_in_mid_stream() {
    let text = sse(&[message_start()])
        + &sse(&text_block(0, "Hal"))
        + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    check_text(
        "messages",
        &text,
        expect![[r#"
        start claude msg_1
        usage in 9 (cached 0) out 1 (reasoning 0)
        text "Hal"
        error (retryable) P broke off (overloaded_error): Overloaded
    "#]],
    );
}

#[test]
fn messages_04_cut_before_its_end() {
    let mut chunks = vec![message_start()];
    chunks.extend(text_block(0, "half"));
    chunks.push(message_end("end_turn").remove(0));
    check(
        "messages",
        &chunks,
        expect![[r#"
        start claude msg_1
        usage in 9 (cached 0) out 1 (reasoning 0)
        text "half"
        usage in 9 (cached 0) out 7 (reasoning 0)
        error (retryable) P's answer was cut off
    "#]],
    );
}

#[test]
fn messages_05_an_unknown_event() {
    let mut chunks = vec![message_start(), json!({"type": "weather_report", "sun": true})];
    chunks.extend(text_block(0, "ok"));
    chunks.insert(
        4,
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "hum_delta", "hum": 1}}),
    );
    chunks.extend(message_end("end_turn"));
    check(
        "messages",
        &chunks,
        expect![[r#"
        start claude msg_1
        usage in 9 (cached 0) out 1 (reasoning 0)
        unknown {"type":"weather_report","sun":true}
        text "ok"
        unknown {"type":"content_block_delta","index":0,"delta":{"type":"hum_delta","hum":1}}
        usage in 9 (cached 0) out 7 (reasoning 0)
        done Stop text "ok" calls [] items 1
    "#]],
    );
}

#[test]
fn responses_06_provider_tools() {
    check(
        "responses",
        &[
            json!({"type": "response.created", "response": {"id": "r1", "model": "gpt"}}),
            json!({"type": "response.output_item.added", "output_index": 0, "item": {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}}),
            json!({"type": "response.web_search_call.in_progress", "output_index": 0, "item_id": "ws_1"}),
            json!({"type": "response.web_search_call.searching", "output_index": 0, "item_id": "ws_1"}),
            json!({"type": "response.web_search_call.completed", "output_index": 0, "item_id": "ws_1"}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "web_search_call", "id": "ws_1", "action": {"query": "q"}}}),
            json!({"type": "response.code_interpreter_call.interpreting", "output_index": 1, "item_id": "ci_1"}),
            json!({"type": "response.code_interpreter_call_code.delta", "output_index": 1, "item_id": "ci_1", "delta": "1+1"}),
            json!({"type": "response.code_interpreter_call_code.done", "output_index": 1, "item_id": "ci_1", "code": "1+1"}),
            json!({"type": "response.output_item.done", "output_index": 1, "item": {"type": "code_interpreter_call", "id": "ci_1", "code": "1+1"}}),
            json!({"type": "response.output_text.delta", "output_index": 2, "delta": "2"}),
            json!({"type": "response.output_text.annotation.added", "annotation": {"type": "url_citation", "url": "u"}}),
            json!({"type": "response.output_item.done", "output_index": 2, "item": {"type": "message", "content": [{"type": "output_text", "text": "2"}]}}),
            json!({"type": "response.completed", "response": {"usage": {"input_tokens": 5, "output_tokens": 6}}}),
        ],
        expect![[r#"
            start gpt r1
            builtin web_search ws_1 started
            builtin web_search ws_1 in_progress
            builtin web_search ws_1 searching
            builtin web_search ws_1 completed
            builtin web_search ws_1 result
            builtin code_interpreter ci_1 interpreting
            builtin code_interpreter ci_1 code
            builtin code_interpreter ci_1 result
            text "2"
            citation {"type":"url_citation","url":"u"}
            usage in 5 (cached 0) out 6 (reasoning 0)
            done Stop text "2" calls [] items 3
        "#]],
    );
}

#[test]
fn responses_07_a_refusal() {
    check(
        "responses",
        &[
            json!({"type": "response.created", "response": {"id": "r1", "model": "gpt"}}),
            json!({"type": "response.refusal.delta", "delta": "I "}),
            json!({"type": "response.refusal.delta", "delta": "cannot."}),
            json!({"type": "response.output_item.done", "output_index": 0, "item": {"type": "message", "content": [{"type": "refusal", "refusal": "I cannot."}]}}),
            json!({"type": "response.completed", "response": {}}),
        ],
        expect![[r#"
            start gpt r1
            refusal "I cannot."
            done Refusal text "I cannot." calls [] items 1
        "#]],
    );
}

#[test]
fn responses_08_failed_by_a_rate_limit() {
    check(
        "responses",
        &[
            json!({"type": "response.created", "response": {"id": "r1"}}),
            json!({"type": "response.failed", "response": {"id": "r1", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "Slow down"}}}),
        ],
        expect![[r#"
            start - r1
            error (retryable) P broke off (rate_limit_exceeded): Slow down
        "#]],
    );
}

#[test]
fn responses_09_an_error_event() {
    check(
        "responses",
        &[
            json!({"type": "error", "code": "server_error", "message": "oops", "param": null, "sequence_number": 3}),
        ],
        expect![[r#"
            error (retryable) P broke off (server_error): oops
        "#]],
    );
    check(
        "responses",
        &[
            json!({"type": "error", "error": {"type": "invalid_request_error", "code": "context_length_exceeded", "message": "too long"}}),
        ],
        expect![[r#"
            error (final) P: too long
        "#]],
    );
}

#[test]
fn responses_10_truncated() {
    check(
        "responses",
        &[
            json!({"type": "response.created", "response": {"id": "r1", "model": "gpt"}}),
            json!({"type": "response.output_text.delta", "delta": "half"}),
        ],
        expect![[r#"
            start gpt r1
            text "half"
            error (retryable) P's answer was cut off
        "#]],
    );
}

#[test]
fn responses_11_incomplete_by_its_limit() {
    check(
        "responses",
        &[
            json!({"type": "response.output_text.delta", "delta": "half"}),
            json!({"type": "response.incomplete", "response": {"id": "r1", "incomplete_details": {"reason": "max_output_tokens"}, "usage": {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"reasoning_tokens": 1}}}}),
        ],
        expect![[r#"
            start - -
            text "half"
            usage in 1 (cached 0) out 2 (reasoning 1)
            done Length text "half" calls [] items 0
        "#]],
    );
}

#[test]
fn gemini_12_code_execution_and_grounding() {
    check(
        "gemini",
        &[
            json!({"candidates": [{"content": {"role": "model", "parts": [{"executableCode": {"language": "PYTHON", "code": "1+1"}}, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}]}}], "modelVersion": "gemini", "responseId": "g1"}),
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "It is 2."}]}, "finishReason": "STOP", "groundingMetadata": {"webSearchQueries": ["q"], "groundingChunks": [{"web": {"uri": "u"}}]}}], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 4, "thoughtsTokenCount": 5, "toolUsePromptTokenCount": 2}}),
        ],
        expect![[r#"
            start gemini g1
            builtin code_execution - started
            builtin code_execution - completed
            usage in 5 (cached 0) out 9 (reasoning 5)
            text "It is 2."
            builtin web_search - completed
            citation {"web":{"uri":"u"}}
            done Stop text "It is 2." calls [] items 3
        "#]],
    );
}

#[test]
fn gemini_13_one_function_twice_in_two_chunks_without_ids() {
    let call = |city: &str| json!({"functionCall": {"name": "get_weather", "args": {"city": city}}});
    check(
        "gemini",
        &[
            json!({"candidates": [{"content": {"parts": [call("Paris")]}}]}),
            json!({"candidates": [{"content": {"parts": [call("Oslo")]}, "finishReason": "STOP"}]}),
        ],
        expect![[r#"
            start - -
            begin 0 call_1 get_weather
            call call_1 get_weather {"city":"Paris"}
            begin 1 call_2 get_weather
            call call_2 get_weather {"city":"Oslo"}
            done ToolCalls text "" calls ["call_1", "call_2"] items 2
        "#]],
    );
}

#[test]
fn gemini_14_a_blocked_prompt() {
    check(
        "gemini",
        &[
            json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 3}}),
        ],
        expect![[r#"
        start - -
        usage in 3 (cached 0) out 0 (reasoning 0)
        refusal "The provider blocked the prompt (PROHIBITED_CONTENT)"
        done ContentFilter text "The provider blocked the prompt (PROHIBITED_CONTENT)" calls [] items 0
    "#]],
    );
}

#[test]
fn gemini_15_a_malformed_call() {
    check(
        "gemini",
        &[
            json!({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: print(x"}]}),
        ],
        expect![[r#"
            start - -
            error (retryable) P broke off (MALFORMED_FUNCTION_CALL): Malformed function call: print(x
        "#]],
    );
}

#[test]
fn chat_16_no_end_mark() {
    check(
        "chat",
        &[
            chunk(
                json!({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\""}}]}),
            ),
            chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": ":\"Paris\"}"}}]})),
            finish("tool_calls"),
        ],
        expect![[r#"
            start m c1
            begin 0 a get_weather
            arguments 0 "{\"city\""
            arguments 0 ":\"Paris\"}"
            call a get_weather {"city":"Paris"}
            done ToolCalls text "" calls ["a"] items 1
        "#]],
    );
}

#[test]
fn chat_17_calls_without_an_index() {
    let text = sse(&[
        chunk(
            json!({"tool_calls": [{"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":\"Paris\"}"}}]}),
        ),
        chunk(
            json!({"tool_calls": [{"id": "b", "type": "function", "function": {"name": "get_weather", "arguments": "{\"city\":"}}]}),
        ),
        chunk(json!({"tool_calls": [{"function": {"arguments": "\"Oslo\"}"}}]})),
        finish("stop"),
    ]) + DONE;
    check_text(
        "chat",
        &text,
        expect![[r#"
        start m c1
        begin 0 a get_weather
        arguments 0 "{\"city\":\"Paris\"}"
        begin 1 b get_weather
        arguments 1 "{\"city\":"
        arguments 1 "\"Oslo\"}"
        call a get_weather {"city":"Paris"}
        call b get_weather {"city":"Oslo"}
        done ToolCalls text "" calls ["a", "b"] items 1
    "#]],
    );
}

#[test]
fn chat_18_a_null_error() {
    let mut odd = chunk(json!({"content": "fine"}));
    odd["error"] = Value::Null;
    check_text(
        "chat",
        &(sse(&[odd, finish("stop")]) + DONE),
        expect![[r#"
        start m c1
        text "fine"
        done Stop text "fine" calls [] items 1
    "#]],
    );
}

#[test]
fn chat_19_reasoning_and_usage_behind_the_end() {
    let text = sse(&[
        chunk(json!({"role": "assistant", "content": null, "reasoning_content": "Hm"})),
        chunk(json!({"content": "Hi"})),
        finish("stop"),
        json!({"id": "c1", "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 5, "total_tokens": 9, "prompt_tokens_details": {"cached_tokens": 2}, "completion_tokens_details": {"reasoning_tokens": 3}}}),
    ]) + DONE;
    check_text(
        "chat",
        &text,
        expect![[r#"
        start m c1
        reasoning "Hm"
        text "Hi"
        usage in 4 (cached 2) out 5 (reasoning 3)
        done Stop text "Hi" calls [] items 1
    "#]],
    );
}

#[test]
fn chat_20_comments() {
    let text = format!(
        ": OPENROUTER PROCESSING\n\n{}: again\n\n{}{DONE}",
        sse(&[chunk(json!({"content": "x"}))]),
        sse(&[finish("stop")])
    );
    check_text(
        "chat",
        &text,
        expect![[r#"
        start m c1
        text "x"
        done Stop text "x" calls [] items 1
    "#]],
    );
}

#[test]
fn chat_21_truncated() {
    check(
        "chat",
        &[chunk(json!({"content": "half"}))],
        expect![[r#"
        start m c1
        text "half"
        error (retryable) P's answer was cut off
    "#]],
    );
}

#[test]
fn chat_22_an_error_inside_a_chunk() {
    check(
        "chat",
        &[
            chunk(json!({"content": "half"})),
            json!({"id": "c1", "error": {"code": 502, "message": "Provider disconnected"}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}),
        ],
        expect![[r#"
            start m c1
            text "half"
            error (retryable) P broke off (502): Provider disconnected
        "#]],
    );
}

#[test]
fn chat_23_a_refusal() {
    check_text(
        "chat",
        &(sse(&[chunk(json!({"refusal": "No."})), finish("stop")]) + DONE),
        expect![[r#"
        start m c1
        refusal "No."
        done Refusal text "No." calls [] items 1
    "#]],
    );
}

#[test]
fn an_error_in_json_instead_of_a_stream_is_no_success() {
    for format in ["chat", "responses", "messages", "gemini"] {
        let events =
            play(&*codec(format), &question(), "{\"error\":{\"code\":\"overloaded\",\"message\":\"busy\"}}");
        let [Err(error)] = events.as_slice() else { panic!("{events:?}") };
        assert!(error.to_string().contains("busy") && error.is_retryable(), "{error}");
    }
}
