//! Gemini's `generateContent`.

use serde_json::{Value, json};

use super::request::{Draft, content_text};
use super::{Finish, Item, ModelRequest, Role, Turn, Usage, bare, list, only_keys, pieces, text, tool_name};
use crate::http::HttpRequest;

const KEYS: [&str; 10] = [
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "serviceTier",
    "store",
    "labels",
];
const GENERATION: [&str; 20] = [
    "temperature",
    "topP",
    "topK",
    "maxOutputTokens",
    "stopSequences",
    "seed",
    "responseMimeType",
    "responseJsonSchema",
    "responseSchema",
    "thinkingConfig",
    "candidateCount",
    "presencePenalty",
    "frequencyPenalty",
    "responseLogprobs",
    "logprobs",
    "responseModalities",
    "speechConfig",
    "mediaResolution",
    "imageConfig",
    "enableEnhancedCivicAnswers",
];
const PART: [&str; 13] = [
    "text",
    "thought",
    "thoughtSignature",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "inlineData",
    "fileData",
    "videoMetadata",
    "partMetadata",
];

/// The body with its own keys in camel case: the service reads `generation_config` as well. What belongs to the
/// caller (arguments, results, schemas) stays.
fn camel(value: &Value) -> Value {
    const FOREIGN: [&str; 7] = [
        "args",
        "response",
        "parameters",
        "parametersJsonSchema",
        "responseJsonSchema",
        "responseSchema",
        "labels",
    ];
    match value {
        Value::Array(all) => all.iter().map(camel).collect(),
        Value::Object(object) => {
            let entry = |(key, value): (&String, &Value)| {
                let mut words = key.split('_');
                let mut name = words.next().unwrap_or_default().to_owned();
                for word in words {
                    name.extend(
                        word.chars()
                            .enumerate()
                            .map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c }),
                    );
                }
                let value = if FOREIGN.contains(&name.as_str()) { value.clone() } else { camel(value) };
                (name, value)
            };
            Value::Object(object.iter().map(entry).collect())
        }
        other => other.clone(),
    }
}

pub(super) fn check(body: &Value, http: &HttpRequest) -> Result<(), String> {
    if http.path.ends_with(":streamGenerateContent") && !http.query.split('&').any(|pair| pair == "alt=sse") {
        return Err("without alt=sse the stream is a JSON array, not events".into());
    }
    let body = &camel(body);
    only_keys("the request", body, &KEYS)?;
    if let Some(config) = body.get("generationConfig") {
        only_keys("generationConfig", config, &GENERATION)?;
    }
    if let Some(system) = body.get("systemInstruction") {
        list("systemInstruction", system, "parts")?;
    }
    let (mut functions, mut built_in) = (false, false);
    for tool in body.get("tools").and_then(Value::as_array).into_iter().flatten() {
        let known = [
            "functionDeclarations",
            "googleSearch",
            "codeExecution",
            "urlContext",
            "googleMaps",
            "fileSearch",
            "computerUse",
            "mcpServers",
        ];
        only_keys("a tool", tool, &known)?;
        built_in |= tool.as_object().is_some_and(|t| t.keys().any(|k| k != "functionDeclarations"));
        for function in tool.get("functionDeclarations").and_then(Value::as_array).into_iter().flatten() {
            functions = true;
            let known = [
                "name",
                "description",
                "parameters",
                "parametersJsonSchema",
                "response",
                "responseJsonSchema",
                "behavior",
            ];
            only_keys("a function declaration", function, &known)?;
            tool_name(text("a function declaration", function, "name")?, 64)?;
            if function.get("parameters").is_some() && function.get("parametersJsonSchema").is_some() {
                return Err("parameters and parametersJsonSchema exclude each other".into());
            }
        }
    }
    if functions && built_in && body["toolConfig"]["includeServerSideToolInvocations"] != true {
        return Err("built-in tools with functions need toolConfig.includeServerSideToolInvocations".into());
    }
    let contents = list("the request", body, "contents")?;
    if contents.first().is_none_or(|first| first["role"] == "model") {
        return Err("please ensure that the conversation starts with a user turn".into());
    }
    let signed = http.path.contains("/gemini-3");
    let mut open: Vec<&str> = Vec::new();
    for content in contents {
        only_keys("a content", content, &["role", "parts"])?;
        let role = content.get("role").and_then(Value::as_str).unwrap_or("user");
        if !matches!(role, "user" | "model") {
            return Err("please use a valid role: user, model".into());
        }
        let parts = list("a content", content, "parts")?;
        if parts.is_empty() {
            return Err("a content has no parts".into());
        }
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        for part in parts {
            only_keys("a part", part, &PART)?;
            if part.as_object().is_some_and(|part| part.is_empty()) {
                return Err("a part has no data".into());
            }
            if let Some(call) = part.get("functionCall") {
                only_keys("a functionCall", call, &["id", "name", "args"])?;
                if call.get("args").is_some_and(|args| !args.is_object()) {
                    return Err("the args of a functionCall are not an object".into());
                }
                if signed && calls.is_empty() && !part["thoughtSignature"].is_string() {
                    return Err("function call is missing a thought_signature in functionCall parts".into());
                }
                calls.push(text("a functionCall", call, "name")?);
            }
            if let Some(answer) = part.get("functionResponse") {
                only_keys(
                    "a functionResponse",
                    answer,
                    &["id", "name", "response", "parts", "scheduling", "willContinue"],
                )?;
                if !answer["response"].is_object() {
                    return Err("the response of a functionResponse is not an object".into());
                }
                answers.push(text("a functionResponse", answer, "name")?);
            }
        }
        if !calls.is_empty() && role != "model" || !answers.is_empty() && role != "user" {
            return Err(format!("a part of a call cannot stand in a turn of the role {role}"));
        }
        let (mut expected, mut given) = (open.clone(), answers);
        expected.sort_unstable();
        given.sort_unstable();
        if expected != given {
            return Err(
                "please ensure that the number of function response parts is equal to the number of \
                        function call parts of the function call turn"
                    .into(),
            );
        }
        open = calls;
    }
    if !open.is_empty() {
        return Err("the last function calls have no function response parts".into());
    }
    Ok(())
}

pub(super) fn read(body: &Value, draft: &mut Draft) {
    let body = &camel(body);
    let system = content_text(&body["systemInstruction"]["parts"]);
    if !system.is_empty() {
        draft.system.push(system);
    }
    for content in body["contents"].as_array().into_iter().flatten() {
        let role = if content["role"] == "model" { Role::Assistant } else { Role::User };
        for part in content["parts"].as_array().into_iter().flatten() {
            if let Some(call) = part.get("functionCall") {
                draft.call(&call["id"], &call["name"], call.get("args").unwrap_or(&json!({})));
            } else if let Some(answer) = part.get("functionResponse") {
                draft.result(&answer["id"], &answer["name"], result_text(&answer["response"]), false);
            } else if let (Some(text), false) = (part["text"].as_str(), part["thought"] == true) {
                draft.say(role, text);
            }
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        for function in tool["functionDeclarations"].as_array().into_iter().flatten() {
            let schema = function.get("parametersJsonSchema").or(function.get("parameters"));
            draft.tool(function, schema.unwrap_or(&Value::Null));
        }
    }
}

/// A response of a single text is that text; any other is its JSON.
fn result_text(response: &Value) -> String {
    let single = response.as_object().filter(|object| object.len() == 1);
    match single.and_then(|object| object.values().next()).and_then(Value::as_str) {
        Some(text) => text.to_owned(),
        None => response.to_string(),
    }
}

fn finish(turn: &Turn) -> &str {
    match &turn.finish {
        Finish::Done if turn.items.iter().any(|i| matches!(i, Item::Refusal(_))) => "SAFETY",
        Finish::Done => "STOP",
        Finish::Length => "MAX_TOKENS",
        Finish::Filter => "SAFETY",
        Finish::Other(reason) => reason,
    }
}

fn usage(usage: &Usage) -> Value {
    // On this wire thoughts are not among the candidates' tokens.
    json!({
        "promptTokenCount": usage.input, "cachedContentTokenCount": usage.cached,
        "candidatesTokenCount": usage.output - usage.reasoning.min(usage.output),
        "thoughtsTokenCount": usage.reasoning, "totalTokenCount": usage.input + usage.output,
    })
}

fn parts(turn: &Turn, request: &ModelRequest, split: bool) -> Vec<Value> {
    let mut parts = Vec::new();
    let mut signed = false;
    for item in &turn.items {
        let texts = |text: &str| if split { pieces(text) } else { vec![text.to_owned()] };
        match item {
            Item::Text(text) => parts.extend(texts(text).into_iter().map(|text| json!({"text": text}))),
            Item::Refusal(text) => parts.extend(texts(text).into_iter().map(|text| json!({"text": text}))),
            Item::Reasoning(text) => {
                parts.extend(texts(text).into_iter().map(|text| json!({"text": text, "thought": true})));
            }
            Item::Call { id, name, arguments } => {
                let args =
                    serde_json::from_str::<Value>(arguments).unwrap_or_else(|_| arguments.clone().into());
                let mut part = json!({"functionCall": {"name": name, "args": args}});
                if let Some(id) = id {
                    part["functionCall"]["id"] = id.clone().into();
                }
                // Of parallel calls only the first is signed.
                if !signed {
                    part["thoughtSignature"] = format!("signed-{}", request.number).into();
                    signed = true;
                }
                parts.push(part);
            }
            Item::Raw(value) => parts.push(value.clone()),
        }
    }
    parts
}

fn answer(parts: Vec<Value>, finish: Option<&str>, turn: &Turn, request: &ModelRequest) -> Value {
    let mut candidate = json!({"content": {"role": "model", "parts": parts}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = finish.into();
    }
    json!({
        "candidates": [candidate], "usageMetadata": usage(&turn.usage), "modelVersion": request.model,
        "responseId": format!("resp-{}", request.number),
    })
}

pub(super) fn whole(turn: &Turn, request: &ModelRequest) -> Value {
    answer(parts(turn, request, false), Some(finish(turn)), turn, request)
}

pub(super) fn stream(turn: &Turn, request: &ModelRequest) -> Vec<String> {
    let mut all = parts(turn, request, true);
    // The end comes with the last part.
    let last = all.pop();
    let mut frames: Vec<String> =
        all.into_iter().map(|part| bare(&answer(vec![part], None, turn, request))).collect();
    let last = last.unwrap_or_else(|| json!({"text": ""}));
    frames.push(bare(&answer(vec![last], Some(finish(turn)), turn, request)));
    frames
}

pub(super) fn error_frame(code: &str, message: &str) -> String {
    bare(&json!({"error": {"code": 503, "status": code, "message": message}}))
}
