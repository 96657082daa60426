//! Arguments against the tool's JSON Schema, before anything is sent; and what the tool calls the structure of its result
//! against the schema that it promised for that.
//!
//! A schema is the server's word: one that cannot be compiled switches the check off for its tool, with a warning,
//! and never fails a call. Nothing is fetched for a schema.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use jsonschema::{PatternOptions, Validator};
use mcp_core::{ExposedName, JsonObject, Schema, ToolError, ToolName, ToolOutput, ToolSpec};
use mcp_security::args;
use serde_json::Value;
use tower::{Layer, Service};

use crate::pipeline::Request;

mod plain;

/// The largest arguments of a call, bytes as JSON.
pub const ARGUMENT_BYTES: usize = 10 * 1024 * 1024;
/// The deepest arguments of a call, levels of objects and arrays, the arguments themselves included.
pub const ARGUMENT_DEPTH: usize = 64;
/// The largest schema that is compiled, bytes as JSON.
const SCHEMA_BYTES: usize = 256 * 1024;
/// The deepest schema that is compiled.
const SCHEMA_DEPTH: usize = 64;
/// How many problems a model is told at once.
const PROBLEMS: usize = 8;
/// The length of one problem, characters; a schema's `enum` or `pattern` can be of any size.
const PROBLEM_CHARS: usize = 300;
/// Steps of a regular expression with look-around or references before it is given up.
const BACKTRACKING: usize = 100_000;

/// The schemas of one server: each is read when its tool is first called, and compiled once, when a value does not plainly
/// fit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Validators(Arc<Mutex<BySchema>>);

type BySchema = HashMap<(ToolName, Side), Arc<Known>>;

/// Which of a tool's two schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Input,
    Output,
}

#[derive(Debug)]
struct Known {
    schema: Schema,
    /// `None`: nobody can read it.
    tree: Option<Value>,
    /// `None`: the schema is no use.
    validator: OnceLock<Option<Validator>>,
}

/// Checks the arguments of a call against the limits and the tool's schema, as every call's are before it is sent.
///
/// # Errors
///
/// [`ToolError::InvalidArguments`] with what is wrong, for a model to correct.
pub fn check_arguments(tool: &ToolSpec, arguments: &JsonObject) -> Result<(), ToolError> {
    Validators::default().check(tool, &Value::Object(arguments.clone()))
}

impl Validators {
    /// Checks the arguments of a call.
    fn check(&self, tool: &ToolSpec, arguments: &Value) -> Result<(), ToolError> {
        let Value::Object(fields) = arguments else { return Ok(()) };
        let invalid = |problems| {
            let tool = ExposedName::for_tool(&tool.server, &tool.name).into();
            Err(ToolError::InvalidArguments { tool, problems })
        };
        // Limits first: neither the validator nor the writer is asked to walk something endless.
        if depth(fields.values(), ARGUMENT_DEPTH).is_none() {
            return invalid(vec![format!(
                "they are nested deeper than {ARGUMENT_DEPTH} levels; flatten them"
            )]);
        }
        if !fits(arguments, ARGUMENT_BYTES) {
            return invalid(vec![format!("they are larger than {} MiB; send less", ARGUMENT_BYTES >> 20)]);
        }
        if let Err(refusal) = args::bounds(fields) {
            return invalid(vec![format!("{}; {}", refusal.reason, refusal.hint)]);
        }
        let known = self.known(tool, Side::Input, &tool.input_schema);
        if known.surely_fits(arguments) {
            return Ok(());
        }
        let Some(validator) = known.validator(tool) else { return Ok(()) };
        let problems: Vec<String> = validator
            .iter_errors(arguments)
            // A pattern that takes too long says nothing about the value.
            .filter(|error| {
                !matches!(error.kind(), jsonschema::error::ValidationErrorKind::BacktrackLimitExceeded { .. })
            })
            .take(PROBLEMS)
            .map(|error| {
                // Masked: the value itself may be a secret, and whoever wrote it knows it.
                let place = error.instance_path().as_str();
                let message = error.masked().to_string();
                match place {
                    "" => cut(message),
                    place => cut(format!("at {place}: {message}")),
                }
            })
            .collect();
        if problems.is_empty() { Ok(()) } else { invalid(problems) }
    }

    /// Takes out of a result what does not fit the schema that the tool promised: the call has happened, so it does not
    /// fail, but nobody may rely on such a structure. What the tool says in words stays.
    fn hold_to_its_word(&self, tool: &ToolSpec, output: &mut ToolOutput) {
        let (Some(schema), Some(structured), false) =
            (&tool.output_schema, &output.structured, output.is_error)
        else {
            return;
        };
        let fits = depth([structured], ARGUMENT_DEPTH).is_some() && {
            let known = self.known(tool, Side::Output, schema);
            known.surely_fits(structured)
                || known.validator(tool).is_none_or(|validator| validator.is_valid(structured))
        };
        if !fits {
            tracing::warn!(
                server = %tool.server,
                tool = %tool.name,
                "the structure of its result is not the one it promised, and is left out"
            );
            output.structured = None;
        }
    }

    fn known(&self, tool: &ToolSpec, side: Side, schema: &Schema) -> Arc<Known> {
        let key = (tool.name.clone(), side);
        let known = {
            let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(&key).filter(|known| known.schema.is_same(schema)).cloned()
        };
        if let Some(known) = known {
            return known;
        }
        let tree = read(schema).inspect_err(|reason| useless(tool, reason)).ok();
        let known = Arc::new(Known { schema: schema.clone(), tree, validator: OnceLock::new() });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known.clone());
        known
    }
}

impl Known {
    fn surely_fits(&self, value: &Value) -> bool {
        self.tree.as_ref().is_none_or(|tree| plain::surely_fits(tree, value))
    }

    fn validator(&self, tool: &ToolSpec) -> Option<&Validator> {
        let compiled = || {
            let tree = self.tree.as_ref()?;
            compile(tree).inspect_err(|reason| useless(tool, reason)).ok()
        };
        self.validator.get_or_init(compiled).as_ref()
    }
}

fn useless(tool: &ToolSpec, reason: &str) {
    tracing::warn!(
        server = %tool.server,
        tool = %tool.name,
        reason = %cut(reason.escape_debug().to_string()),
        "the tool's schema is no use; nothing is checked against it"
    );
}

fn read(schema: &Schema) -> Result<Value, String> {
    if schema.as_str().len() > SCHEMA_BYTES {
        return Err(format!("it is larger than {} KiB", SCHEMA_BYTES >> 10));
    }
    let schema = schema.to_value().map_err(|error| error.to_string())?;
    if depth([&schema], SCHEMA_DEPTH).is_none() {
        return Err(format!("it is nested deeper than {SCHEMA_DEPTH} levels"));
    }
    Ok(schema)
}

fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options()
        .offline()
        .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(BACKTRACKING).size_limit(1 << 20))
        .build(schema)
        .map_err(|error| error.to_string())
}

/// How many levels of objects and arrays there are, the one that holds `values` included; `None`: more than `limit`.
fn depth<'a>(values: impl IntoIterator<Item = &'a Value>, limit: usize) -> Option<usize> {
    // A stack of our own: the depth of a value from outside must not be ours.
    let mut open: Vec<(&Value, usize)> = values.into_iter().map(|value| (value, 1)).collect();
    let mut deepest = 1;
    while let Some((value, level)) = open.pop() {
        let inner = level + 1;
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, inner))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, inner))),
            _ => continue,
        }
        if inner > limit {
            return None;
        }
        deepest = deepest.max(inner);
    }
    Some(deepest)
}

/// The most bytes that a value may have as JSON: each byte of a text may become six.
fn at_most(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 32,
        Value::String(text) => text.len().saturating_mul(6).saturating_add(2),
        Value::Array(items) => {
            items.iter().map(|item| at_most(item).saturating_add(1)).fold(2, usize::saturating_add)
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| key.len().saturating_mul(6).saturating_add(4).saturating_add(at_most(value)))
            .fold(2, usize::saturating_add),
    }
}

/// Whether a value is at most `limit` bytes long as JSON, without writing it anywhere. Its depth was looked at before.
fn fits(value: &Value, limit: usize) -> bool {
    // Most are far from it, and need not be counted to the byte.
    if at_most(value) <= limit {
        return true;
    }
    struct Counter {
        left: usize,
    }
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.left = self.left.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Counter { left: limit }, value).is_ok()
}

fn cut(text: String) -> String {
    match text.char_indices().nth(PROBLEM_CHARS) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Takes out optional arguments that are null where their schema permits no null: models write null for "not given".
fn without_nulls(tool: &ToolSpec, arguments: &mut JsonObject) {
    if !arguments.values().any(Value::is_null) {
        return;
    }
    let Ok(schema) = tool.input_schema.to_value() else { return };
    let is_required = |name: &str| {
        schema["required"].as_array().is_some_and(|names| names.iter().any(|required| required == name))
    };
    let forbids_null = |name: &str| match &schema["properties"][name]["type"] {
        Value::String(kind) => kind != "null",
        Value::Array(kinds) => !kinds.iter().any(|kind| kind == "null"),
        _ => false,
    };
    arguments.retain(|name, value| !value.is_null() || is_required(name) || !forbids_null(name));
}

/// Puts [`Validate`] around a service.
#[derive(Clone)]
pub(crate) struct ValidateLayer {
    validators: Validators,
}

impl ValidateLayer {
    pub(crate) fn new(validators: Validators) -> Self {
        Self { validators }
    }
}

impl<S> Layer<S> for ValidateLayer {
    type Service = Validate<S>;

    fn layer(&self, inner: S) -> Validate<S> {
        Validate { inner, validators: self.validators.clone() }
    }
}

/// Lets only calls with valid arguments through.
#[derive(Clone)]
pub(crate) struct Validate<S> {
    inner: S,
    validators: Validators,
}

impl<S> Service<Request> for Validate<S>
where
    S: Service<Request, Response = ToolOutput, Error = ToolError>,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ValidateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        without_nulls(&request.spec, &mut Arc::make_mut(&mut request.call).arguments);
        let arguments = Value::Object(std::mem::take(&mut request.call_mut().arguments));
        let checked = self.validators.check(&request.spec, &arguments);
        if let Value::Object(arguments) = arguments {
            request.call_mut().arguments = arguments;
        }
        match checked {
            Ok(()) => {
                let promised = request.spec.output_schema.is_some();
                let promise = promised.then(|| (self.validators.clone(), request.spec.clone()));
                ValidateFuture::Inner { inner: self.inner.call(request), promise }
            }
            Err(error) => ValidateFuture::Refused { error: Some(error) },
        }
    }
}

pin_project_lite::pin_project! {
    #[project = ValidateProjection]
    pub(crate) enum ValidateFuture<F> {
        Inner { #[pin] inner: F, promise: Option<(Validators, Arc<ToolSpec>)> },
        Refused { error: Option<ToolError> },
    }
}

impl<F: Future<Output = Result<ToolOutput, ToolError>>> Future for ValidateFuture<F> {
    type Output = F::Output;

    fn poll(self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ValidateProjection::Inner { inner, promise } => {
                let mut result = std::task::ready!(inner.poll(cx));
                if let (Ok(output), Some((validators, tool))) = (&mut result, promise) {
                    validators.hold_to_its_word(tool, output);
                }
                Poll::Ready(result)
            }
            ValidateProjection::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                // Polled after its end; no answer will come.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_core::ServerName;
    use serde_json::json;

    use super::*;

    fn tool(schema: Value) -> ToolSpec {
        ToolSpec::new(ServerName::new("srv").unwrap(), ToolName::new("do").unwrap()).with_input_schema(schema)
    }

    fn problems(schema: Value, arguments: Value) -> Vec<String> {
        match Validators::default().check(&tool(schema), &arguments) {
            Ok(()) => Vec::new(),
            Err(ToolError::InvalidArguments { tool, problems }) => {
                assert_eq!(tool, "mcp__srv__do");
                problems
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn null_for_not_given_is_taken_out() {
        let schema = json!({
            "properties": {
                "must": {"type": "string"}, "may": {"type": "string"}, "can": {"type": ["string", "null"]}, "any": {},
            },
            "required": ["must"],
        });
        let Value::Object(mut arguments) = json!({"must": null, "may": null, "can": null, "any": null})
        else {
            panic!("an object")
        };
        without_nulls(&tool(schema), &mut arguments);
        assert_eq!(arguments.keys().collect::<Vec<_>>(), ["must", "can", "any"]);
    }

    #[test]
    fn a_structure_that_was_not_promised_is_left_out_and_the_words_stay() {
        let mut spec = tool(json!({}));
        spec.output_schema = Some(json!({"type": "object", "required": ["sum"]}).into());
        let validators = Validators::default();
        for (structured, is_error, stays) in [
            (json!({"sum": 3}), false, true),
            (json!({"total": 3}), false, false),
            (json!([3]), false, false),
            (json!({"total": 3}), true, true),
        ] {
            let mut output =
                ToolOutput::new(vec![mcp_core::Content::text("3")], Some(structured.clone()), is_error);
            validators.hold_to_its_word(&spec, &mut output);
            assert_eq!(output.structured.is_some(), stays, "{structured}");
            assert_eq!(output.to_text(), "3");
        }
        // A schema that is none checks nothing.
        spec.output_schema = Some(json!({"type": 7}).into());
        let mut output = ToolOutput::new(Vec::new(), Some(json!(1)), false);
        validators.hold_to_its_word(&spec, &mut output);
        assert!(output.structured.is_some());
    }

    #[test]
    fn problems_name_the_place_and_hide_the_value() {
        let schema = json!({
            "type": "object",
            "properties": {
                "query": {"type": "string"},
                "filter": {"type": "object", "properties": {"years": {"type": "array", "items": {"type": "integer"}}}},
            },
            "required": ["query"],
        });
        let found = problems(schema.clone(), json!({"filter": {"years": [2020, "s3cret"]}}));
        assert_eq!(found.len(), 2, "{found:?}");
        let all = found.join("\n");
        assert!(
            all.contains("at /filter/years/1:") && all.contains("\"query\" is a required property"),
            "{all}"
        );
        assert!(!all.contains("s3cret"), "{all}");
        assert!(problems(schema, json!({"query": "mcp", "filter": {"years": [2020]}})).is_empty());
    }

    #[test]
    fn drafts_are_taken_at_their_word_and_the_newest_is_the_default() {
        // "prefixItems" came with 2020-12; a draft-07 schema does not know it.
        let with = |draft: Option<&str>| {
            let mut schema =
                json!({"type": "object", "properties": {"a": {"prefixItems": [{"type": "string"}]}}});
            if let Some(draft) = draft {
                schema["$schema"] = json!(draft);
            }
            problems(schema, json!({"a": [1]})).len()
        };
        assert_eq!(with(None), 1);
        assert_eq!(with(Some("https://json-schema.org/draft/2020-12/schema")), 1);
        assert_eq!(with(Some("http://json-schema.org/draft-07/schema#")), 0);
    }

    #[test]
    fn a_schema_that_is_no_use_costs_the_check_and_not_the_call() {
        let mut deep = json!({"type": "object"});
        for _ in 0..200 {
            deep = json!({"properties": {"a": deep}});
        }
        for schema in [
            json!({"type": 5}),
            json!({"$ref": "#/nowhere"}),
            json!({"$ref": "https://schemas.example/tool.json"}),
            json!({"$ref": "file:///etc/passwd"}),
            json!({"$schema": "https://schemas.example/own", "type": 5}),
            json!({"properties": {"a": {"pattern": "("}}}),
            json!({"description": "x".repeat(SCHEMA_BYTES)}),
            json!(5),
            deep,
        ] {
            let shown: String = schema.to_string().chars().take(60).collect();
            assert!(problems(schema, json!({"a": 1})).is_empty(), "{shown}");
        }
    }

    #[test]
    fn a_pattern_that_never_ends_is_given_up() {
        let schema = json!({"properties": {"a": {"type": "string", "pattern": "^(?=(a+)+$)(a|aa)+b$"}}});
        // Given up or found wrong, but soon.
        let _ = problems(schema, json!({"a": "a".repeat(5000)}));
    }

    #[test]
    fn limits_hold_to_the_level_and_the_byte() {
        let nested = |levels: usize| {
            let inner = (2..levels).fold(json!([]), |inner, _| json!([inner]));
            problems(json!({}), json!({"a": inner}))
        };
        assert!(nested(ARGUMENT_DEPTH).is_empty());
        assert_eq!(nested(ARGUMENT_DEPTH + 1).len(), 1);
        let sized = |bytes: usize| problems(json!({}), json!({"a": "x".repeat(bytes - r#"{"a":""}"#.len())}));
        assert!(sized(ARGUMENT_BYTES).is_empty());
        assert_eq!(sized(ARGUMENT_BYTES + 1).len(), 1);
    }

    #[test]
    fn many_and_long_problems_are_cut() {
        let schema = json!({"additionalProperties": {"enum": ["x".repeat(10_000)]}});
        let arguments: JsonObject = (0..100).map(|n| (format!("k{n}"), json!(1))).collect();
        let found = problems(schema, Value::Object(arguments));
        assert_eq!(found.len(), PROBLEMS);
        assert!(found.iter().all(|problem| problem.chars().count() <= PROBLEM_CHARS + 1), "{found:?}");
    }

    #[test]
    fn a_schema_is_read_once_until_it_changes_and_compiled_where_a_value_is_in_doubt() {
        let validators = Validators::default();
        let spec = tool(json!({"type": "object"}));
        let known = |tool: &ToolSpec| validators.known(tool, Side::Input, &tool.input_schema);
        let first = known(&spec);
        assert!(validators.check(&spec, &json!({"a": 1})).is_ok() && first.validator.get().is_none());
        assert!(first.validator(&spec).is_some());
        assert!(Arc::ptr_eq(&first, &known(&spec.clone())));
        assert!(!Arc::ptr_eq(&first, &known(&tool(json!({"type": "object"})))));
    }
}
