#![allow(clippy::type_complexity, reason = "tables of cases")]

use std::sync::Arc;

use massgen_backends::{Backend, EventStream, Message, ModelInfo, Request, ToolLoopOptions, Turn, Usage};
use mcp_core::AgentId;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::team::{Agent, Task};

struct Nobody(ModelInfo);

impl Backend for Nobody {
    fn model(&self) -> &ModelInfo {
        &self.0
    }

    fn stream(&self, _request: Request, _cancel: CancellationToken) -> EventStream {
        Box::pin(futures_util::stream::empty())
    }
}

fn round(answers: &[&str], may_answer: bool) -> Round {
    let model = ModelInfo { provider: String::new(), model: String::new() };
    Round {
        agent: Agent::new(AgentId::new("me").unwrap(), Arc::new(Nobody(model))),
        number: 1,
        candidates: answers
            .iter()
            .enumerate()
            .map(|(seat, answer)| Candidate {
                seat,
                name: crate::vote::anonymous(seat),
                id: AgentId::new(["alpha", "beta", "gamma"][seat]).unwrap(),
                answer: (*answer).into(),
            })
            .collect(),
        may_answer,
        task: Arc::new(Task::new("?")),
        tool_loop: ToolLoopOptions::default(),
        limit: std::time::Duration::MAX,
        now: "now".into(),
        resumed: None,
    }
}

fn end(text: &str, calls: &[(&str, Value)]) -> LoopEnd {
    let pending: Vec<_> = calls
        .iter()
        .enumerate()
        .map(|(at, (name, arguments))| ToolInvocation {
            id: at.to_string(),
            name: (*name).into(),
            arguments: match arguments {
                Value::Object(object) => Ok(object.clone()),
                Value::String(raw) => Err(raw.clone()),
                other => Err(other.to_string()),
            },
        })
        .collect();
    let turn = Turn { text: text.into(), calls: pending.clone(), ..Turn::default() };
    LoopEnd {
        messages: vec![Message::Assistant(turn)],
        text: text.into(),
        all_text: text.into(),
        stop: if calls.is_empty() { LoopStop::Finished(FinishReason::Stop) } else { LoopStop::Intercepted },
        pending,
        answered: Vec::new(),
        usage: Usage::default(),
        turns: 1,
    }
}

/// What the turn means, and what the third such turn in a row comes to.
fn outcome(answers: &[&str], may_answer: bool, text: &str, calls: &[(&str, Value)]) -> (String, String) {
    let round = round(answers, may_answer);
    let end = end(text, calls);
    let show = |verdict: Verdict| match verdict {
        Verdict::Answer(text) => format!("answer {text}"),
        Verdict::Vote { candidate, reason } => format!("vote {candidate} ({reason})"),
    };
    match judge(&end, &round) {
        Ok(verdict) => (show(verdict), String::new()),
        Err(problem) => {
            let rest = last_resort(&end, &round, &problem, text);
            (problem.to_string(), rest.map_or_else(String::new, |(verdict, _)| show(verdict)))
        }
    }
}

#[test]
fn turns_that_keep_the_protocol() {
    let vote = |id: &str| json!({"agent_id": id, "reason": "good"});
    let cases: Vec<(&[&str], &str, Vec<(&str, Value)>, &str)> = vec![
        (&[], "", vec![("new_answer", json!({"content": "C:\\n **x**"}))], "answer C:\\n **x**"),
        (&[], "as text", vec![("new_answer", json!({}))], "answer as text"),
        (&[], "", vec![("new_answer", json!({"content": {"a": 1}}))], r#"answer {"a":1}"#),
        (&[], "", vec![("new_answer", json!(r#"{"content":"x"}"#))], "answer x"),
        (
            &["1"],
            "",
            vec![("new_answer", json!({"content": "1"})), ("new_answer", json!({"content": "2"}))],
            "answer 2",
        ),
        (&["1", "2"], "", vec![("vote", vote("agent2"))], "vote 1 (good)"),
        (&["1", "2"], "", vec![("vote", vote(" Agent 2 "))], "vote 1 (good)"),
        (&["1", "2"], "", vec![("vote", vote("beta"))], "vote 1 (good)"),
        (&["1", "2"], "", vec![("vote", json!({"agent_id": "agent1"}))], "vote 0 ()"),
        (&["1", "2"], "", vec![("vote", vote("agent1")), ("vote", vote("AGENT1"))], "vote 0 (good)"),
    ];
    for (answers, text, calls, expected) in cases {
        assert_eq!(outcome(answers, true, text, &calls), (expected.into(), String::new()), "{calls:?}");
    }
}

#[test]
fn turns_that_break_it_and_what_is_saved_of_them_in_the_end() {
    let vote = |id: &str| json!({"agent_id": id, "reason": "good"});
    let new = |content: &str| ("new_answer", json!({"content": content}));
    let same = "vote 0 (It gave the same answer.)";
    #[rustfmt::skip]
    let cases: Vec<(&[&str], bool, &str, Vec<(&str, Value)>, &str, &str)> = vec![
        (&["1"], true, "", vec![], "the model answered nothing", ""),
        (&[], true, "It is 42.", vec![], "it ended its turn without submitting an answer or voting", "answer It is 42."),
        (&["42"], true, " 42 ", vec![], "it ended its turn without submitting an answer or voting", same),
        (&["1", "2"], true, "I vote for agent2!", vec![], "it ended its turn without submitting an answer or voting", "vote 1 (I vote for agent2!)"),
        (&["1", "2"], false, "I vote for agent2, not agent1", vec![], "it ended its turn without submitting an answer or voting", ""),
        (&["1"], true, "", vec![("vote", vote("agent1")), new("x")], "it submitted an answer and voted in the same turn", "answer x"),
        (&["1"], true, "", vec![("vote", vote("agent1")), new("1")], "it submitted an answer and voted in the same turn", "vote 0 (good)"),
        (&["1", "2"], true, "", vec![("vote", vote("agent1")), ("vote", vote("agent2"))], "it voted for 2 agents at once", ""),
        (&["1", "2"], true, "", vec![("vote", vote("agent9"))], "it voted for \"agent9\", which is not an agent with an answer (agent1, agent2)", ""),
        (&["1"], true, "", vec![("vote", json!({}))], "it voted for \"\", which is not an agent with an answer (agent1)", ""),
        (&[], true, "so be it", vec![("vote", vote("agent1"))], "it voted although nobody has an answer yet", "answer so be it"),
        (&["1"], true, "", vec![new(" 1\n")], "it submitted the answer that agent1 has given already", same),
        (&["1"], false, "", vec![new("2")], "it submitted an answer after its last one", ""),
        (&[], true, "", vec![new(" ")], "it submitted an empty answer", ""),
        (&[], true, "", vec![("new_answer", json!(r#"{"content": "half an ans"#))], "its arguments of new_answer are not a JSON object: EOF while parsing a string at line 1 column 24", "answer half an ans"),
        (&["1"], true, "", vec![("vote", json!("[]"))], "its arguments of vote are not a JSON object: it is valid JSON, but not an object", ""),
    ];
    for (answers, may_answer, text, calls, problem, saved) in cases {
        let (really, rest) = outcome(answers, may_answer, text, &calls);
        assert_eq!((really.as_str(), rest.as_str()), (problem, saved), "{text:?} {calls:?}");
    }
}

#[test]
fn broken_arguments_are_read_as_far_as_they_go() {
    let cases = [
        (r#"{"content": "a\nb\"c\" \\ d"}"#, Some("a\nb\"c\" \\ d")),
        (r#"{"content":"cut in an escape \"#, Some("cut in an escape ")),
        (r#"{"content":"cut \u00"#, Some("cut ")),
        (r#"{"content":"pair \ud83d\ude0"#, Some("pair ")),
        ("{\"content\":\"raw\nline\"}", Some("raw\nline")),
        (r#"{"content":"  "#, None),
        (r#"{"content": 5}"#, None),
        (r#"{"answer":"x"}"#, None),
        ("", None),
        (r#"{"content":"ä€😀"#, Some("ä€😀")),
    ];
    for (raw, expected) in cases {
        assert_eq!(partial_content(raw).as_deref(), expected, "{raw}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None,
        ..proptest::prelude::ProptestConfig::default()
    })]

    #[test]
    fn nothing_a_model_writes_panics(raw in "(\\{?\"content\" ?: ?\")?.{0,40}", at in 0..40_usize) {
        let _ = partial_content(&raw);
        let cut: String = raw.chars().take(at).collect();
        let _ = outcome(&["1"], true, &raw, &[("new_answer", json!(cut))]);
    }
}
