//! What a call answers.

use std::io;
use std::net::{TcpStream, UdpSocket};

use serde_json::{Map, Value, json};

use super::{Step, complete, failure, success};
use crate::script::{CallReply, Grandchild, Outcome, ReplyId};

/// The steps of one call's outcome.
pub(super) fn outcome(
    id: &Value,
    reply: &CallReply,
    arguments: &Value,
    number: u64,
    modern: bool,
) -> Vec<Step> {
    let text = |text: String| json!({"content": [{"type": "text", "text": text}], "isError": false});
    let result = match &reply.outcome {
        Outcome::Text(template) => text(fill(template, arguments, number)),
        Outcome::Echo => {
            let mut result = text(arguments.to_string());
            result["structuredContent"] = arguments.clone();
            result
        }
        Outcome::Content(blocks) => json!({"content": blocks, "isError": false}),
        Outcome::Structured(value) => {
            let mut result = text(value.to_string());
            result["structuredContent"] = value.clone();
            result
        }
        Outcome::Failed(message) => {
            json!({"content": [{"type": "text", "text": message}], "isError": true})
        }
        Outcome::MisplacedError(message) => {
            json!({"content": [{"type": "text", "text": message, "isError": true}]})
        }
        Outcome::RpcError { code, message } => return vec![Step::Send(failure(id, *code, message, None))],
        Outcome::Result(value) => return vec![Step::Send(success(id, value.clone()))],
        Outcome::Drip { text: template, every_ms } => {
            let result = complete(text(fill(template, arguments, number)), modern);
            let line = format!("{}\n", success(id, result));
            return vec![Step::Drip(line.into_bytes(), *every_ms)];
        }
        Outcome::Ask { method, params } => {
            let request = json!({"jsonrpc": "2.0", "id": asked(number), "method": method, "params": params});
            return vec![Step::Send(request)];
        }
        Outcome::Trespass => text(trespass(arguments).to_string()),
        Outcome::Hang => return vec![Step::Hang],
        Outcome::CloseStdout => return vec![Step::CloseStdout, Step::Hang],
        Outcome::Stop => return vec![Step::Stop, Step::Hang],
        Outcome::Exit(code) => return vec![Step::Exit(*code)],
        Outcome::Abort => return vec![Step::Abort],
        Outcome::OutOfMemory => return vec![Step::OutOfMemory],
        Outcome::OutOfMemoryKilled(mib) => return vec![Step::OutOfMemoryKilled(*mib)],
        Outcome::RawLine(line) => {
            return vec![Step::Line(line.replace("{id}", &id.to_string()).into_bytes())];
        }
        Outcome::Partial { text, exit } => {
            let last = exit.map_or(Step::Hang, Step::Exit);
            return vec![Step::Bytes(text.clone().into_bytes()), last];
        }
        Outcome::Lineless(bytes) => return vec![Step::Lineless(*bytes), Step::Hang],
        Outcome::Tree(count) => {
            let child = Step::Grandchild(Grandchild::default(), None);
            return std::iter::repeat_n(child, *count as usize).chain([Step::Hang]).collect();
        }
        Outcome::InvalidUtf8 => {
            let mut line =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#)
                    .into_bytes();
            line.extend([0xff, 0xfe, 0xc3, 0x28]);
            line.extend(br#""}]}}"#);
            return vec![Step::Line(line)];
        }
        Outcome::Nested(depth) => {
            // Written by hand: the depth is more than a serializer would recurse through.
            let line = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"structuredContent":{}{}}}}}"#,
                "[".repeat(*depth),
                "]".repeat(*depth)
            );
            return vec![Step::Line(line.into_bytes())];
        }
        Outcome::Big(bytes) => text("x".repeat(*bytes)),
        Outcome::Environment => {
            let all: Map<String, Value> = std::env::vars_os()
                .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned().into()))
                .collect();
            text(Value::Object(all).to_string())
        }
        Outcome::WorkingDirectory => {
            text(std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default())
        }
        Outcome::CommandLine => {
            let all: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
            text(json!(all).to_string())
        }
        Outcome::ProcessId => text(std::process::id().to_string()),
        Outcome::SpawnGrandchild(child) => return vec![Step::Grandchild(*child, Some((id.clone(), modern)))],
    };
    answer(id, reply.id, complete(result, modern))
}

/// Something that a server has no business to do, with a path or an address.
type Deed = fn(&str) -> io::Result<String>;

/// What became of each deed.
fn trespass(arguments: &Value) -> Value {
    fn done(result: io::Result<()>) -> io::Result<String> {
        result.map(|()| "done".to_owned())
    }
    let deeds: &[(&str, Deed)] = &[
        ("read", |path| std::fs::read_to_string(path)),
        ("write", |path| done(std::fs::write(path, "trespassed"))),
        ("connect", |address| done(TcpStream::connect(address).map(drop))),
        ("send", |address| done(UdpSocket::bind("127.0.0.1:0")?.send_to(b"trespassed", address).map(drop))),
        #[cfg(unix)]
        ("join", |path| done(std::os::unix::net::UnixStream::connect(path).map(drop))),
    ];
    let all = deeds.iter().filter_map(|(name, deed)| {
        let became = deed(arguments[*name].as_str()?).unwrap_or_else(|error| error.to_string());
        Some(((*name).to_owned(), became.into()))
    });
    Value::Object(all.collect())
}

/// The id of the question that the call of this number asks.
pub(super) fn asked(number: u64) -> String {
    format!("ask-{number}")
}

/// The answer to a call whose question was answered.
pub(super) fn after(id: &Value, answer: &Value, modern: bool) -> Step {
    let said = match answer.get("error") {
        Some(error) => json!({"error": error}),
        None => json!({"result": answer.get("result")}),
    };
    let result = json!({"content": [{"type": "text", "text": said.to_string()}], "isError": false});
    Step::Send(success(id, complete(result, modern)))
}

fn answer(id: &Value, reply_id: ReplyId, result: Value) -> Vec<Step> {
    let wrong = json!(987_654_321_u64);
    let ids = match reply_id {
        ReplyId::Same => vec![id.clone()],
        ReplyId::Wrong => vec![wrong],
        ReplyId::Neighbour => vec![id.as_u64().map_or(wrong, |id| (id ^ 1).into())],
        ReplyId::WrongThenSame => vec![wrong, id.clone()],
        ReplyId::Twice => vec![id.clone(), id.clone()],
        ReplyId::AsText => vec![id.as_str().map_or_else(|| id.to_string(), str::to_owned).into()],
    };
    let mut steps: Vec<Step> = ids.iter().map(|id| Step::Send(success(id, result.clone()))).collect();
    if matches!(reply_id, ReplyId::Wrong | ReplyId::AsText | ReplyId::Neighbour) {
        steps.push(Step::Hang);
    }
    steps
}

fn fill(template: &str, arguments: &Value, number: u64) -> String {
    let mut text = template.replace("{#}", &number.to_string());
    for (key, value) in arguments.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text = text.replace(&format!("{{{key}}}"), &value);
    }
    text
}
