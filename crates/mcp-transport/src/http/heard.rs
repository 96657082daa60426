//! What the messages of a response are to whoever asked.

use bytes::Bytes;
use rmcp::model::ServerJsonRpcMessage;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::decoder::{leading_id, number};
use crate::options::Progress;
use crate::raw;

/// One message.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The answer. Whoever asked decodes it, and finds out whether it holds.
    Answer(Bytes),
    /// How far the request has come.
    Progress(Progress),
    /// A request of the server, or a notice.
    Other(Box<ServerJsonRpcMessage>),
    /// An answer under another id: this one, as JSON.
    Foreign(String),
    /// No message.
    Noise(serde_json::Error),
}

/// The members that say what a message is. One that is there twice is an error.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default, borrow)]
    method: Option<&'a RawValue>,
    #[serde(default, borrow)]
    params: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

/// Whether this is several messages in one array, which only revision 2025-03-26 allows.
pub(crate) fn is_array(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"[")
}

/// Reads a body, or the data of an event, for whoever asked under this id.
pub(crate) fn all(data: Bytes, id: u64) -> impl Iterator<Item = Heard> {
    let is_list = is_array(&data);
    let mut list = Vec::new();
    if is_list {
        match serde_json::from_slice::<Vec<&RawValue>>(&data) {
            Ok(messages) => {
                list.extend(messages.iter().map(|message| one(data.slice_ref(message.get().as_bytes()), id)))
            }
            Err(error) => list.push(Heard::Noise(error)),
        }
    }
    let single = (!is_list).then(|| one(data, id));
    single.into_iter().chain(list)
}

fn one(message: Bytes, id: u64) -> Heard {
    let is_ours = |answered: i64| u64::try_from(answered) == Ok(id);
    // The answer, as it mostly looks.
    if leading_id(&message).is_some_and(is_ours) {
        return Heard::Answer(message);
    }
    let head = match serde_json::from_slice::<Head<'_>>(&message) {
        Ok(head) => head,
        Err(error) => return Heard::Noise(error),
    };
    let Some(method) = head.method else {
        let answers = match &head.id {
            Some(answered) => number(answered).is_some_and(is_ours),
            // An error about a request that could not be read names none; here it can be no other.
            None => head.error.is_some(),
        };
        return if answers {
            Heard::Answer(message)
        } else {
            Heard::Foreign(head.id.map_or_else(|| "none".to_owned(), |id| id.to_string()))
        };
    };
    if method.get() == r#""notifications/progress""#
        && let Some((about, report)) = head.params.and_then(|params| raw::report(params.get()))
        && about == id
    {
        return Heard::Progress(report);
    }
    match serde_json::from_slice(&message) {
        Ok(other) => Heard::Other(Box::new(other)),
        Err(error) => Heard::Noise(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(data: &[u8]) -> Vec<&'static str> {
        let kind = |heard| match heard {
            Heard::Answer(_) => "answer",
            Heard::Progress(_) => "progress",
            Heard::Other(_) => "other",
            Heard::Foreign(_) => "foreign",
            Heard::Noise(_) => "noise",
        };
        all(Bytes::copy_from_slice(data), 7).map(kind).collect()
    }

    #[test]
    fn each_message_is_known_for_what_it_is() {
        for (data, expected) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, &["answer"] as &[_]),
            (r#"{ "result": {}, "id": "7" }"#, &["answer"]),
            (r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#, &["answer"]),
            (r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, &["foreign"]),
            (r#"{"jsonrpc":"2.0","result":{}}"#, &["foreign"]),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1}}"#,
                &["progress"],
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":8,"progress":1}}"#,
                &["other"],
            ),
            (r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#, &["answer"]),
            (r#"{"jsonrpc":"2.0","method":"ping","id":7}"#, &["other"]),
            (r#"{"id":7,"id":7}x"#, &["answer"]),
            ("", &["noise"]),
            ("[", &["noise"]),
            (
                r#" [{"jsonrpc":"2.0","id":9,"method":"ping"},{"result":{},"id":7},7]"#,
                &["other", "answer", "noise"],
            ),
        ] {
            assert_eq!(kinds(data.as_bytes()), expected, "{data}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_fatal(text in r#"[{}\[\]":,a-z0-9\\ ]{0,120}"#) {
            let _ = kinds(text.as_bytes());
            let _ = kinds(format!(r#"[{{"id":7,{text}}}]"#).as_bytes());
        }
    }
}
