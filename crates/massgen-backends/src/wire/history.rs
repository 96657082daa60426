//! Making a conversation one that every provider accepts.

use std::borrow::Cow;

use crate::{Message, ToolReply, Turn, Wire};

/// The conversation with every call answered exactly once, replies without a call and empty turns left out: each
/// provider refuses a conversation that breaks one of these.
pub(super) fn settled<'a>(
    messages: &'a [Message],
    is_empty: impl Fn(&Turn) -> bool,
) -> Vec<Cow<'a, Message>> {
    let mut settled: Vec<Cow<'a, Message>> = Vec::with_capacity(messages.len());
    let mut open: Option<&Turn> = None;
    for message in messages {
        match message {
            Message::ToolReplies(replies) => {
                if let Some(turn) = open.take() {
                    settled.push(answers(turn, replies, message));
                }
            }
            Message::User(_) => {
                close(&mut settled, &mut open);
                settled.push(Cow::Borrowed(message));
            }
            Message::Assistant(turn) => {
                close(&mut settled, &mut open);
                if turn.calls.is_empty() && is_empty(turn) {
                    continue;
                }
                settled.push(Cow::Borrowed(message));
                if !turn.calls.is_empty() {
                    open = Some(turn);
                }
            }
        }
    }
    close(&mut settled, &mut open);
    settled
}

fn close(settled: &mut Vec<Cow<'_, Message>>, open: &mut Option<&Turn>) {
    if let Some(turn) = open.take() {
        settled.push(Cow::Owned(Message::ToolReplies(complete(turn, &[]))));
    }
}

fn answers<'a>(turn: &Turn, replies: &[ToolReply], message: &'a Message) -> Cow<'a, Message> {
    let matches =
        replies.len() == turn.calls.len() && replies.iter().zip(&turn.calls).all(|(r, c)| r.id == c.id);
    if matches { Cow::Borrowed(message) } else { Cow::Owned(Message::ToolReplies(complete(turn, replies))) }
}

fn complete(turn: &Turn, replies: &[ToolReply]) -> Vec<ToolReply> {
    let reply = |call: &crate::ToolInvocation| {
        replies.iter().find(|reply| reply.id == call.id).cloned().unwrap_or_else(|| ToolReply {
            id: call.id.clone(),
            name: call.name.clone(),
            text: "This call was not run.".to_owned(),
            is_error: true,
        })
    };
    turn.calls.iter().map(reply).collect()
}

/// Whether a turn's own items may be sent to this wire as they are.
pub(super) fn is_verbatim(turn: &Turn, wire: &Wire) -> bool {
    turn.origin.as_ref() == Some(wire) && !turn.items.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ToolInvocation;

    fn turn(ids: &[&str]) -> Message {
        let call = |id: &&str| ToolInvocation {
            id: (*id).into(),
            name: "t".into(),
            arguments: Ok(mcp_core::JsonObject::new()),
        };
        Message::Assistant(Turn { calls: ids.iter().map(call).collect(), ..Turn::default() })
    }

    fn replies(ids: &[&str]) -> Message {
        let reply =
            |id: &&str| ToolReply { id: (*id).into(), name: "t".into(), text: "ok".into(), is_error: false };
        Message::ToolReplies(ids.iter().map(reply).collect())
    }

    fn shape(messages: &[Message]) -> String {
        let settled = settled(messages, |turn| turn.text.is_empty());
        let one = |message: &Cow<'_, Message>| match &**message {
            Message::User(_) => "U".to_owned(),
            Message::Assistant(turn) => {
                format!("A{}", turn.calls.iter().map(|c| c.id.as_str()).collect::<String>())
            }
            Message::ToolReplies(replies) => {
                let one = |r: &ToolReply| format!("{}{}", r.id, if r.is_error { "!" } else { "" });
                format!("R{}", replies.iter().map(one).collect::<String>())
            }
        };
        settled.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_call_is_answered_once_and_in_order() {
        let user = Message::User("u".into());
        for (messages, want) in [
            (vec![user.clone(), turn(&["a", "b"]), replies(&["a", "b"])], "U Aab Rab"),
            (vec![user.clone(), turn(&["a", "b"]), replies(&["b", "a"])], "U Aab Rab"),
            (vec![user.clone(), turn(&["a", "b"]), replies(&["b"])], "U Aab Ra!b"),
            (vec![turn(&["a"]), user.clone()], "Aa Ra! U"),
            (vec![turn(&["a"])], "Aa Ra!"),
            (vec![user.clone(), replies(&["x"]), user.clone()], "U U"),
            (vec![user.clone(), turn(&[]), user], "U U"),
        ] {
            assert_eq!(shape(&messages), want);
        }
    }
}
