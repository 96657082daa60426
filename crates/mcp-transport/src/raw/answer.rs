//! Answers from bytes to our types in one pass.
//!
//! The pass is strict: whatever is not exactly as the protocol wants it, down to one item of five hundred, makes it
//! give up, and the result is handed on as it came, to be read item by item and leniently.

use std::borrow::Cow;
use std::fmt;

use mcp_core::{Annotations, Content, JsonObject, Schema, ToolOutput};
use serde::de::{DeserializeOwned, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::text::{self, Lifted};

/// What a line says.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    /// The result, decoded.
    Result(T),
    /// A result that is not exactly as it should be.
    Odd(Value),
    /// The server's error.
    Error { code: i32, message: String, data: Option<Value> },
    /// No answer at all, for this reason.
    Malformed(String),
}

/// The result of a request.
pub(crate) trait Outcome: DeserializeOwned {
    /// Reads it from a line that is nothing but a result, exactly as it should be.
    fn read(line: &str) -> Option<Self> {
        result(line)
    }
}

/// One pass, with the id and the kind still to be looked at: a member that is there twice is an error.
fn result<T: DeserializeOwned>(line: &str) -> Option<T> {
    match serde_json::from_str::<Message<'_, T>>(line) {
        Ok(Message { method: None, result, error: None, .. }) => result,
        _ => None,
    }
}

/// Reads the line that answers a request.
pub(crate) fn read<T: Outcome>(line: &[u8]) -> Answer<T> {
    // What is passed over is looked at as well: a text that two readers read as two is none.
    let line = match std::str::from_utf8(line) {
        Ok(line) => line,
        Err(error) => return Answer::Malformed(format!("an answer that is not UTF-8: {error}")),
    };
    if let Some(result) = T::read(line) {
        return Answer::Result(result);
    }
    let message = match serde_json::from_str::<Message<'_, &RawValue>>(line) {
        Ok(message) => message,
        Err(error) => return Answer::Malformed(format!("an answer that is not JSON-RPC: {error}")),
    };
    match message {
        Message { method: Some(_), .. } => Answer::Malformed("a request under the id of ours".to_owned()),
        Message { result: Some(_), error: Some(_), .. } => {
            Answer::Malformed("an answer that is both result and error".to_owned())
        }
        Message { result: Some(result), .. } => match serde_json::from_str(result.get()) {
            Ok(result) => Answer::Odd(result),
            Err(error) => Answer::Malformed(format!("a result that cannot be read: {error}")),
        },
        Message { error: Some(error), .. } => match serde_json::from_str::<ErrorBody>(error.get()) {
            Ok(ErrorBody { code, message, data }) => Answer::Error { code, message, data },
            Err(error) => Answer::Malformed(format!("an answer that is not JSON-RPC: {error}")),
        },
        Message { .. } => {
            Answer::Malformed("an answer that is not JSON-RPC: it has neither result nor error".to_owned())
        }
    }
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Message<'a, T> {
    /// Another one is another protocol.
    #[serde(rename = "jsonrpc")]
    _version: Version,
    /// Looked at by whoever found the line; named here so that a second one is an error.
    #[serde(default, rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(default)]
    method: Option<IgnoredAny>,
    #[serde(default = "none")]
    result: Option<T>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// The version of JSON-RPC, the one there is.
#[derive(Deserialize)]
enum Version {
    #[serde(rename = "2.0")]
    Two,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct ErrorBody {
    code: i32,
    message: String,
    #[serde(default)]
    data: Option<Value>,
}

/// The result of `tools/call`.
#[derive(Debug)]
pub(crate) struct CallOutput(pub(crate) ToolOutput);

impl<'de> Deserialize<'de> for CallOutput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Fields<'a> {
            #[serde(default, borrow)]
            result_type: Option<Cow<'a, str>>,
            #[serde(default)]
            content: Vec<Block>,
            #[serde(default, deserialize_with = "some")]
            structured_content: Option<Value>,
            #[serde(default)]
            is_error: bool,
        }
        let Fields { result_type, content, structured_content, is_error } =
            Fields::deserialize(deserializer)?;
        if result_type.is_some_and(|kind| kind != "complete") {
            return Err(D::Error::custom("not complete"));
        }
        let content = content.into_iter().map(|block| block.0).collect();
        Ok(Self(ToolOutput::new(content, structured_content, is_error)))
    }
}

impl Outcome for CallOutput {
    fn read(line: &str) -> Option<Self> {
        let lifted = text::lift(line).and_then(|Lifted { text, rest }| {
            let Self(mut output) = result(&rest)?;
            match output.content.first_mut()? {
                Content::Text(place) if place.is_empty() => *place = text,
                _ => return None,
            }
            Some(Self(output))
        });
        lifted.or_else(|| result(line))
    }
}

/// `null` is a value, too.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A content block. The text of one is decoded to where it stays.
struct Block(Content);

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BlockVisitor)
    }
}

struct BlockVisitor;

impl<'de> Visitor<'de> for BlockVisitor {
    type Value = Block;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content block")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Block, A::Error> {
        let mut fields = JsonObject::new();
        let mut text = None;
        let mut is_text = false;
        while let Some(key) = map.next_key::<&str>()? {
            match key {
                "type" => {
                    let kind: &str = map.next_value()?;
                    is_text = kind == "text";
                    if !is_text {
                        fields.insert("type".to_owned(), kind.into());
                    }
                }
                "text" if is_text && text.is_none() => text = Some(map.next_value::<String>()?),
                // A flag in the wrong place, which some servers mean.
                "isError" => return Err(A::Error::custom("a block with isError")),
                _ if is_text => {
                    map.next_value::<IgnoredAny>()?;
                }
                key => {
                    let key = key.to_owned();
                    fields.insert(key, map.next_value()?);
                }
            }
        }
        match (is_text, text) {
            (true, Some(text)) if fields.is_empty() => Ok(Block(Content::Text(text))),
            (false, _) => Ok(Block(Content::from_value(Value::Object(fields)))),
            _ => Err(A::Error::custom("a text block of another shape")),
        }
    }
}

/// A page of `tools/list`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListPage {
    pub(crate) tools: Vec<ListedTool>,
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
    /// The length of the line that it came in.
    #[serde(skip)]
    pub(crate) bytes: usize,
}

impl Outcome for ListPage {
    fn read(line: &str) -> Option<Self> {
        let page: Self = result(line)?;
        Some(Self { bytes: line.len(), ..page })
    }
}

/// Whatever the server said.
impl Outcome for Value {}

/// A tool as it is listed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListedTool {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) title: Option<String>,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(deserialize_with = "object")]
    pub(crate) input_schema: Schema,
    #[serde(default, deserialize_with = "object_or_none")]
    pub(crate) output_schema: Option<Schema>,
    #[serde(default)]
    pub(crate) annotations: Option<Annotations>,
}

fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Schema, D::Error> {
    let schema = Schema::deserialize(deserializer)?;
    if schema.is_object() { Ok(schema) } else { Err(D::Error::custom("a schema that is not an object")) }
}

fn object_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Schema>, D::Error> {
    match Option::<Schema>::deserialize(deserializer)? {
        Some(schema) if !schema.is_object() => Err(D::Error::custom("a schema that is not an object")),
        schema => Ok(schema),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(line: &str) -> Answer<CallOutput> {
        read(line.as_bytes())
    }

    #[test]
    fn a_good_result_is_decoded_at_once() {
        let line = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a \"b\"\n","annotations":{}},
            {"type":"image","data":"aGk=","mimeType":"image/png"},{"type":"hologram","x":1}],
            "structuredContent":null,"isError":true,"resultType":"complete","_meta":{}}}"#;
        let Answer::Result(CallOutput(output)) = call(line) else { panic!("not decoded") };
        assert!(output.is_error && output.structured == Some(Value::Null));
        assert_eq!(output.content[0], Content::text("a \"b\"\n"));
        assert!(matches!(&output.content[1], Content::Image { data, .. } if data == "aGk="));
        assert_eq!(output.content[2], Content::Unknown(json!({"type": "hologram", "x": 1})));
    }

    #[test]
    fn an_odd_result_is_handed_on_whole() {
        for result in [
            json!({"content": null}),
            json!({"content": [{"type": "text", "text": "t", "isError": true}]}),
            json!({"content": [{"type": "text"}]}),
            json!({"content": [{"text": "t", "type": "text"}]}),
            json!({"content": [7]}),
            json!({"content": [], "isError": "yes"}),
            json!({"resultType": "input_required", "inputRequests": {}}),
            json!(7),
        ] {
            let line = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
            match call(&line) {
                Answer::Odd(odd) => assert_eq!(odd, result),
                other => panic!("{result}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_answers_nothing_says_why() {
        for (line, reason) in [
            (r#"{"jsonrpc":"2.0","id":1}"#, "neither result nor error"),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, "neither result nor error"),
            (r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#, "not JSON-RPC"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"m"}}"#, "both"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","result":{}}"#, "a request"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]},"result":{}}"#, "duplicate field `result`"),
            (r#"{"jsonrpc":"2.0","id":1,"id":2,"result":{"content":[]}}"#, "duplicate field `id`"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}} {}"#, "trailing"),
            (r#"{"jsonrpc":"1.0","id":1,"result":{"content":[]}}"#, "unknown variant `1.0`, expected `2.0`"),
            (r#"{"jsonrpc":2.0,"id":1,"result":{"content":[]}}"#, "not JSON-RPC"),
        ] {
            match call(line) {
                Answer::Malformed(why) => assert!(why.contains(reason), "{line}: {why}"),
                other => panic!("{line}: {other:?}"),
            }
        }
        let line = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[],\"note\":\"\xff\"}}";
        assert!(matches!(read::<CallOutput>(line), Answer::Malformed(why) if why.contains("UTF-8")));
        let error = call(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no","data":{}}}"#);
        assert!(matches!(error, Answer::Error { code: -32602, message, .. } if message == "no"));
    }

    #[test]
    fn nesting_without_end_is_malformed_and_overflows_nothing() {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let inner = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            for line in [
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"structuredContent":{inner}}}}}"#),
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{inner}]}}}}"#),
                inner.clone(),
            ] {
                assert!(matches!(call(&line), Answer::Malformed(_)), "{}", &line[..40]);
            }
            // What nobody reads may be as deep as it likes.
            let line = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],"_meta":{inner}}}}}"#);
            assert!(matches!(call(&line), Answer::Result(_)));
        }
    }

    #[test]
    fn a_list_is_decoded_at_once_or_left_as_it_is() {
        let good = json!({"name": "a", "title": "A", "description": "d", "inputSchema": {"type": "object"},
            "annotations": {"readOnlyHint": true}, "icons": []});
        let line =
            json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [good], "nextCursor": "", "ttlMs": 1.5}})
                .to_string();
        let Answer::Result(ListPage { tools, next_cursor, bytes }) = read::<ListPage>(line.as_bytes()) else {
            panic!("not decoded")
        };
        assert_eq!((tools.len(), next_cursor.as_deref(), bytes), (1, Some(""), line.len()));
        for bad in [
            json!({"name": "a"}),
            json!({"name": 7, "inputSchema": {}}),
            json!({"name": "a", "inputSchema": []}),
            json!({"name": "a", "inputSchema": {}, "outputSchema": true}),
            json!(7),
        ] {
            let line = json!({"jsonrpc": "2.0", "id": 1, "result": {"tools": [good, bad]}}).to_string();
            assert!(matches!(read::<ListPage>(line.as_bytes()), Answer::Odd(_)), "{bad}");
        }
    }

    proptest::proptest! {
        /// However an answer goes on after its long first text: what is taken out by hand changes nothing.
        #[test]
        fn a_lifted_text_makes_no_difference(
            head in proptest::sample::select(vec![
                r#"{"jsonrpc":"2.0","id":7,"result":{"#, r#"{"result":{"#,
                r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete","#,
            ]),
            text in proptest::collection::vec(
                proptest::sample::select(vec!["word ", r"\n", r#"\""#, r"\ud83d", r"\ude00", "é", "\t", "\"", r"\u0041"]), 0..6,
            ),
            tail in proptest::collection::vec(
                proptest::sample::select(vec![
                    "\"", "}", "]", ",", r#""text":"b""#, r#""isError":true"#, r#"{"type":"text","text":"b"}"#, r#""content":[]"#,
                    r#""structuredContent":{"a":1}"#, r#""result":{}"#, r#""jsonrpc":"2.0""#, r#""id":7"#, r#""annotations":{}"#, " ",
                ]), 0..8,
            ),
            whole in proptest::bool::ANY,
        ) {
            let end = if whole { r#""}]}}"#.to_owned() } else { tail.concat() };
            let filler = "filler ".repeat(160);
            let line = format!(r#"{head}"content":[{{"type":"text","text":"{filler}{}{end}"#, text.concat());
            let output = |read: Option<CallOutput>| read.map(|CallOutput(output)| output);
            proptest::prop_assert_eq!(output(CallOutput::read(&line)), output(result(&line)));
        }

        #[test]
        fn no_answer_is_fatal(text in r#"[{}\[\]":,a-z0-9\\ ]{0,80}"#) {
            let _ = call(&text);
            let _ = call(&format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{text}]}}}}"#));
        }
    }
}
