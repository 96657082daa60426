//! Requests as bytes.

use mcp_core::JsonObject;
use serde::Serialize;
use serde_json::{Value, json};

/// A request of this road.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) ask: Ask<'a>,
    /// Members of `_meta` that go with each request of the session, as JSON without the braces; may be empty.
    pub(crate) context: &'a str,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask<'a> {
    /// `tools/call`.
    Call { tool: &'a str, arguments: &'a JsonObject },
    /// `tools/list`.
    List { cursor: Option<&'a str> },
    /// Any other, with parameters that have no `_meta`.
    Any { method: &'static str, params: &'a JsonObject },
}

impl Ask<'_> {
    /// The tool that is called.
    pub(crate) fn tool(&self) -> Option<&str> {
        match self {
            Ask::Call { tool, .. } => Some(tool),
            Ask::Any { method: "tools/call", params } => params.get("name")?.as_str(),
            Ask::List { .. } | Ask::Any { .. } => None,
        }
    }

    /// The parameters as a tree.
    pub(crate) fn params(&self) -> Option<Value> {
        Some(match self {
            Ask::Call { tool, arguments } => json!({"name": tool, "arguments": arguments}),
            Ask::List { cursor } => json!({"cursor": (*cursor)?}),
            Ask::Any { params, .. } => Value::Object((!params.is_empty()).then_some(*params)?.clone()),
        })
    }

    /// The method's name.
    pub(crate) fn method(&self) -> &'static str {
        match self {
            Ask::Call { .. } => "tools/call",
            Ask::List { .. } => "tools/list",
            Ask::Any { method, .. } => method,
        }
    }
}

impl Request<'_> {
    /// The line, its end included. With `reports`, the server may report progress under the request's id.
    pub(crate) fn line(&self, id: u64, reports: bool) -> serde_json::Result<Vec<u8>> {
        let texts = match self.ask {
            // Some escapes, perhaps; large arguments are mostly one text.
            Ask::Call { arguments, .. } => {
                arguments.values().filter_map(Value::as_str).map(|text| text.len() * 9 / 8).sum()
            }
            _ => 0,
        };
        let mut line = Vec::with_capacity(256 + self.context.len() + texts);
        line.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        write(&mut line, &id)?;
        match self.ask {
            Ask::Call { tool, arguments } => {
                line.extend_from_slice(br#","method":"tools/call","params":{"name":"#);
                write(&mut line, tool)?;
                line.extend_from_slice(br#","arguments":"#);
                write(&mut line, arguments)?;
                self.meta(&mut line, id, reports, b",")?;
            }
            Ask::List { cursor } => {
                line.extend_from_slice(br#","method":"tools/list","params":{"#);
                let mut before: &[u8] = b"";
                if let Some(cursor) = cursor {
                    line.extend_from_slice(br#""cursor":"#);
                    write(&mut line, cursor)?;
                    before = b",";
                }
                self.meta(&mut line, id, reports, before)?;
            }
            Ask::Any { method, params } => {
                line.extend_from_slice(br#","method":"#);
                write(&mut line, method)?;
                line.extend_from_slice(br#","params":{"#);
                let mut before: &[u8] = b"";
                for (key, value) in params {
                    line.extend_from_slice(before);
                    write(&mut line, key)?;
                    line.push(b':');
                    write(&mut line, value)?;
                    before = b",";
                }
                self.meta(&mut line, id, reports, before)?;
            }
        }
        line.extend_from_slice(b"}}\n");
        Ok(line)
    }

    fn meta(&self, line: &mut Vec<u8>, id: u64, reports: bool, before: &[u8]) -> serde_json::Result<()> {
        if !reports && self.context.is_empty() {
            return Ok(());
        }
        line.extend_from_slice(before);
        line.extend_from_slice(br#""_meta":{"#);
        if reports {
            line.extend_from_slice(br#""progressToken":"#);
            write(line, &id)?;
            if !self.context.is_empty() {
                line.push(b',');
            }
        }
        line.extend_from_slice(self.context.as_bytes());
        line.push(b'}');
        Ok(())
    }
}

/// Tells the server that a request was taken back.
pub(crate) fn cancelled(id: u64) -> Vec<u8> {
    let mut line = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"the caller went away"}}}}"#
    );
    line.push('\n');
    line.into_bytes()
}

fn write(line: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> serde_json::Result<()> {
    serde_json::to_writer(line, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_is_json() {
        let arguments = json!({"q": "a \"b\"\n"});
        let arguments = arguments.as_object().unwrap();
        let call = Ask::Call { tool: "odd\"name", arguments };
        let nothing = JsonObject::new();
        for (ask, context, reports, params) in [
            (call, "", false, json!({"name": "odd\"name", "arguments": {"q": "a \"b\"\n"}})),
            (
                call,
                r#""v":1"#,
                true,
                json!({"name": "odd\"name", "arguments": {"q": "a \"b\"\n"}, "_meta": {"progressToken": 7, "v": 1}}),
            ),
            (
                call,
                "",
                true,
                json!({"name": "odd\"name", "arguments": {"q": "a \"b\"\n"}, "_meta": {"progressToken": 7}}),
            ),
            (Ask::List { cursor: None }, "", false, json!({})),
            (Ask::List { cursor: None }, r#""v":1"#, false, json!({"_meta": {"v": 1}})),
            (Ask::List { cursor: Some("") }, r#""v":1"#, false, json!({"cursor": "", "_meta": {"v": 1}})),
            (
                Ask::Any { method: "m/n", params: arguments },
                r#""v":1"#,
                false,
                json!({"q": "a \"b\"\n", "_meta": {"v": 1}}),
            ),
            (Ask::Any { method: "m/n", params: &nothing }, r#""v":1"#, false, json!({"_meta": {"v": 1}})),
            (Ask::Any { method: "m/n", params: &nothing }, "", false, json!({})),
        ] {
            let line = Request { ask, context }.line(7, reports).unwrap();
            assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            let value: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!((&value["id"], &value["params"]), (&json!(7), &params));
        }
        let value: Value = serde_json::from_slice(&cancelled(7)).unwrap();
        assert_eq!(value["params"]["requestId"], 7);
    }
}
