//! The wire formats, as pure functions: a request becomes a URL, headers and a JSON body; server-sent events become
//! [`Event`]s. Nothing here does I/O, so every format is tested on written streams.

mod assembly;
pub mod chat;
pub mod generate_content;
mod history;
pub mod messages;
pub mod responses;
#[cfg(test)]
pub(crate) mod testing;

#[cfg(test)]
mod adversarial;
#[cfg(test)]
mod robustness;

use std::sync::Arc;

use mcp_core::JsonObject;
use serde_json::Value;
use url::Url;

use crate::{BackendError, Event, Request, Wire};

/// Who is being spoken to: for error texts, and to tell whose opaque items may be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The provider's label for people.
    pub provider: Arc<str>,
    /// The format and the host.
    pub wire: Wire,
    /// Where the key comes from, such as a variable's name.
    pub key_hint: Arc<str>,
}

/// What the user chose for a model, apart from the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelOptions {
    /// The model's name (Azure: the deployment's).
    pub model: String,
    /// Sampling temperature.
    pub temperature: Option<f64>,
    /// Nucleus sampling.
    pub top_p: Option<f64>,
    /// The most tokens to write.
    pub max_tokens: Option<u64>,
    /// Reasoning settings, in the OpenAI form `{effort, summary}` or the provider's own.
    pub reasoning: Option<Value>,
    /// Text settings, in the OpenAI form `{verbosity, format}`.
    pub text: Option<Value>,
    /// More parameters, merged last into the top level of the body: `tools` is appended to, `null` removes a key.
    pub extra: JsonObject,
}

/// A request in a provider's form. It holds no key: that is added where the request is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Where to.
    pub url: Url,
    /// Headers besides the content type and the key.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The body.
    pub body: Value,
}

/// One wire format at one endpoint.
pub trait Codec: Send + Sync + std::fmt::Debug {
    /// The request as this provider wants it.
    fn encode(&self, request: &Request, options: &ModelOptions) -> Encoded;

    /// A decoder for the answer to this request.
    fn decoder(&self, request: &Request) -> Box<dyn Decoder>;
}

/// Reads one answer. It holds at most the answer itself.
pub trait Decoder: Send {
    /// Takes one server-sent event: its name, where it has one, and its data. After [`Event::Done`] or an error it
    /// answers nothing more.
    fn feed(&mut self, name: Option<&str>, data: &str) -> Vec<Result<Event, BackendError>>;

    /// Says that no event follows: what is still open is closed, or the answer was cut off.
    fn finish(&mut self) -> Vec<Result<Event, BackendError>>;
}

/// `base` with `path` behind its own path; a query stays.
pub(crate) fn endpoint(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    let own = base.path().trim_end_matches('/');
    if !own.ends_with(path) {
        url.set_path(&format!("{own}{path}"));
    }
    url
}

/// Merges the user's own parameters into a body.
pub(crate) fn merge_extra(body: &mut JsonObject, extra: &JsonObject) {
    for (key, value) in extra {
        match (key.as_str(), body.get_mut(key), value) {
            (_, _, Value::Null) => {
                // Not `remove`, which would put the last key into its place.
                body.shift_remove(key);
            }
            ("tools", Some(Value::Array(tools)), Value::Array(more)) => tools.extend(more.iter().cloned()),
            _ => {
                body.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Text as a call's arguments: nothing at all means none, and so does `null`, which some models write for tools
/// without parameters.
pub(crate) fn parse_arguments(text: &str) -> Result<JsonObject, String> {
    if matches!(text.trim(), "" | "null") {
        return Ok(JsonObject::new());
    }
    serde_json::from_str(text).map_err(|_| text.to_owned())
}

/// Arguments as an object that any provider takes back: what was no object is wrapped.
pub(crate) fn arguments_object(arguments: &Result<JsonObject, String>) -> JsonObject {
    match arguments {
        Ok(object) => object.clone(),
        Err(text) => {
            let mut object = JsonObject::new();
            object.insert("raw_input".to_owned(), text.clone().into());
            object
        }
    }
}

/// A tool's schema as every provider takes it: MCP allows less than they demand.
pub(crate) fn object_schema(schema: &Value) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    for (key, default) in [("type", Value::from("object")), ("properties", Value::Object(JsonObject::new()))]
    {
        if schema.get(key).is_none_or(Value::is_null) {
            schema.insert(key.to_owned(), default);
        }
    }
    schema.into()
}

/// A number of the user's; what is none in JSON becomes `null`.
pub(crate) fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// A field as text.
pub(crate) fn text_at<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

/// A field as a count; what is absent or no number counts as 0.
pub(crate) fn count_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(|v| v.as_u64().or_else(|| v.as_f64().map(|f| f as u64))).unwrap_or(0)
}

/// The beginning of a text, for quoting.
pub(crate) fn beginning(text: &str) -> String {
    const MOST: usize = 300;
    let text = text.trim();
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_is_appended_whether_or_not_the_base_ends_with_a_slash() {
        for (base, path, want) in [
            ("http://h/v1", "/chat/completions", "http://h/v1/chat/completions"),
            ("http://h/v1/", "/chat/completions", "http://h/v1/chat/completions"),
            ("http://h", "/responses", "http://h/responses"),
            ("http://h/v1/chat/completions", "/chat/completions", "http://h/v1/chat/completions"),
            ("http://h/a?api-version=1", "/x", "http://h/a/x?api-version=1"),
        ] {
            assert_eq!(endpoint(&Url::parse(base).unwrap(), path).as_str(), want);
        }
    }

    #[test]
    fn extra_parameters_win_append_tools_and_null_removes() {
        let mut body = json!({"a": 1, "b": 2, "tools": [1]}).as_object().unwrap().clone();
        let extra = json!({"a": 5, "b": null, "tools": [2], "c": 3});
        merge_extra(&mut body, extra.as_object().unwrap());
        assert_eq!(Value::Object(body), json!({"a": 5, "tools": [1, 2], "c": 3}));
    }

    #[test]
    fn schemas_get_what_providers_demand() {
        for (schema, want) in [
            (json!({}), json!({"type": "object", "properties": {}})),
            (json!({"type": "object"}), json!({"type": "object", "properties": {}})),
            (json!(true), json!({"type": "object", "properties": {}})),
            (json!({"properties": {"a": {}}}), json!({"properties": {"a": {}}, "type": "object"})),
        ] {
            assert_eq!(object_schema(&schema), want);
        }
    }

    #[test]
    fn arguments_are_an_object_or_their_text() {
        assert_eq!(parse_arguments(""), Ok(JsonObject::new()));
        assert_eq!(parse_arguments(" \n"), Ok(JsonObject::new()));
        assert_eq!(parse_arguments("null"), Ok(JsonObject::new()));
        assert_eq!(parse_arguments("{\"a\":1}").unwrap()["a"], 1);
        for text in ["[1]", "nul", "{\"a\":", "3", "\"x\""] {
            assert_eq!(parse_arguments(text), Err(text.to_owned()));
        }
    }
}
