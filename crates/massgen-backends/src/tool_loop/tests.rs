use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use mcp_core::*;
use serde_json::{Value, json};

use super::*;
use crate::{EventStream, ModelInfo};

/// Plays one prepared stream per request and keeps the requests.
struct Script {
    info: ModelInfo,
    turns: Mutex<VecDeque<Vec<Result<Event, BackendError>>>>,
    requests: Mutex<Vec<Request>>,
    live: Arc<AtomicUsize>,
    ends: bool,
}

struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Backend for Script {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn stream(&self, request: Request, _cancel: CancellationToken) -> EventStream {
        self.requests.lock().unwrap().push(request);
        let events = self.turns.lock().unwrap().pop_front().unwrap_or_default();
        self.live.fetch_add(1, Ordering::SeqCst);
        let live = Live(self.live.clone());
        let listed = futures_util::stream::iter(events);
        if self.ends {
            Box::pin(listed.map(move |event| (&live, event).1))
        } else {
            Box::pin(listed.map(move |event| (&live, event).1).chain(futures_util::stream::pending()))
        }
    }
}

/// Tools that do what their name says.
struct Tools {
    catalogue: Mutex<Arc<Catalogue>>,
    started: AtomicUsize,
    together: tokio::sync::Barrier,
}

impl Tools {
    fn new(names: &[&str]) -> Arc<Self> {
        Arc::new(Self {
            catalogue: Mutex::new(catalogue(names)),
            started: AtomicUsize::new(0),
            together: tokio::sync::Barrier::new(2),
        })
    }
}

fn catalogue(names: &[&str]) -> Arc<Catalogue> {
    let server = ServerName::new("s").unwrap();
    let tools =
        names.iter().map(|name| ToolSpec::new(server.clone(), ToolName::new(name).unwrap())).collect();
    Arc::new(Catalogue::build([(server, tools, ToolFilter::default())]).catalogue)
}

impl ToolService for Tools {
    fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.lock().unwrap().clone()
    }

    fn call(&self, call: ToolCall) -> BoxFuture<'_, Result<ToolOutput, ToolError>> {
        if self.catalogue().find(&call.tool).is_none() {
            let error = match call.tool.as_str() {
                "mcp__s__held" => ToolError::Refused {
                    server: ServerName::new("s").unwrap(),
                    refusal: Refusal {
                        rule: "tool-changed",
                        reason: "it changed".into(),
                        hint: "ask".into(),
                    },
                },
                _ => ToolError::unknown_tool(call.tool, &self.catalogue()),
            };
            return Box::pin(async { Err(error) });
        }
        self.started.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            assert_eq!(call.caller.as_ref().map(AgentId::as_str), Some("alpha"));
            assert!(call.deadline.is_some());
            match call.tool.as_str() {
                "mcp__s__echo" => Ok(ToolOutput::text(Value::Object(call.arguments).to_string())),
                // Both must be running before either may end.
                "mcp__s__meet" => {
                    self.together.wait().await;
                    if call.arguments.contains_key("slow") {
                        tokio::time::sleep(Duration::from_secs(5)).await;
                    }
                    Ok(ToolOutput::text("met"))
                }
                "mcp__s__fail" => Ok(ToolOutput::error("no such file")),
                "mcp__s__gone" => Err(ToolError::Unavailable {
                    server: ServerName::new("s").unwrap(),
                    reason: "its circuit is open".into(),
                    retry_at: None,
                }),
                "mcp__s__hang" => std::future::pending().await,
                "mcp__s__empty" => Ok(ToolOutput::text("")),
                "mcp__s__long" => Ok(ToolOutput::text("x".repeat(1000))),
                "mcp__s__leave" => {
                    *self.catalogue.lock().unwrap() = catalogue(&["echo"]);
                    Ok(ToolOutput::text("bye"))
                }
                other => Err(ToolError::Internal(format!("not in the test: {other}"))),
            }
        })
    }
}

fn call(id: &str, name: &str, arguments: Value) -> ToolInvocation {
    ToolInvocation {
        id: id.into(),
        name: name.into(),
        arguments: match arguments {
            Value::Object(object) => Ok(object),
            Value::String(broken) => Err(broken),
            other => Err(other.to_string()),
        },
    }
}

fn usage(output_tokens: u64) -> Usage {
    Usage { input_tokens: 100, output_tokens, ..Usage::default() }
}

fn says(text: &str, calls: Vec<ToolInvocation>) -> Vec<Result<Event, BackendError>> {
    let reason = if calls.is_empty() { FinishReason::Stop } else { FinishReason::ToolCalls };
    ends(text, calls, reason)
}

fn ends(text: &str, calls: Vec<ToolInvocation>, reason: FinishReason) -> Vec<Result<Event, BackendError>> {
    vec![
        Ok(Event::Text(text.into())),
        Ok(Event::Usage(usage(10))),
        Ok(Event::Done { reason, turn: Turn { text: text.into(), calls, ..Turn::default() } }),
    ]
}

struct Run {
    end: Result<LoopEnd, Box<LoopError>>,
    events: Vec<LoopEvent>,
    requests: Vec<Request>,
    started: usize,
}

impl Run {
    /// The answers to the calls of a turn (from 0) as the model reads them.
    fn replies(&self, turn: usize) -> Vec<(String, bool)> {
        let Some(Message::ToolReplies(replies)) = self.requests[turn + 1].messages.last() else {
            panic!("no replies: {:?}", self.requests[turn + 1].messages)
        };
        replies.iter().map(|reply| (reply.text.clone(), reply.is_error)).collect()
    }
}

async fn play(turns: Vec<Vec<Result<Event, BackendError>>>, options: ToolLoopOptions) -> Run {
    play_with(turns, options, ToolChoice::Auto).await
}

async fn play_with(
    turns: Vec<Vec<Result<Event, BackendError>>>,
    options: ToolLoopOptions,
    tool_choice: ToolChoice,
) -> Run {
    let tools = Tools::new(&["echo", "meet", "fail", "gone", "hang", "empty", "long", "leave"]);
    let backend = Arc::new(script(turns, true));
    let agent = ToolLoop {
        backend: backend.clone(),
        tools: tools.clone(),
        options,
        caller: AgentId::new("alpha").unwrap(),
    };
    let request = Request {
        messages: vec![Message::User("go".into())],
        tools: vec![ToolDefinition {
            name: "vote".into(),
            description: String::new(),
            schema: Arc::new(json!({"type": "object"})),
        }],
        tool_choice,
        ..Request::default()
    };
    let mut events = Vec::new();
    let end = agent.run(request, &["vote"], &mut |event| events.push(event), &CancellationToken::new()).await;
    assert_eq!(backend.live.load(Ordering::SeqCst), 0, "a stream was left open");
    let requests = std::mem::take(&mut *backend.requests.lock().unwrap());
    Run { end, events, requests, started: tools.started.load(Ordering::SeqCst) }
}

fn script(turns: Vec<Vec<Result<Event, BackendError>>>, ends: bool) -> Script {
    Script {
        info: ModelInfo { provider: "Test".into(), model: "m".into() },
        turns: Mutex::new(turns.into()),
        requests: Mutex::default(),
        live: Arc::default(),
        ends,
    }
}

#[tokio::test(start_paused = true)]
async fn calls_run_at_once_and_their_results_go_back_in_order() {
    let run = play(
        vec![
            says(
                "looking",
                vec![call("1", "mcp__s__meet", json!({"slow": true})), call("2", "mcp__s__meet", json!({}))],
            ),
            says("done", vec![]),
        ],
        ToolLoopOptions::default(),
    )
    .await;
    let end = run.end.as_ref().unwrap();
    assert_eq!(end.stop, LoopStop::Finished(FinishReason::Stop));
    assert_eq!((end.text.as_str(), end.all_text.as_str()), ("done", "looking\n\ndone"));
    assert_eq!(
        (end.turns, end.usage),
        (2, Usage { input_tokens: 200, output_tokens: 20, ..Usage::default() })
    );
    // user, assistant, replies, assistant
    assert_eq!(end.messages.len(), 4);
    let Message::ToolReplies(replies) = &end.messages[2] else { panic!() };
    assert_eq!(replies.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    // They finish in the order of time, though.
    let finished: Vec<_> = run
        .events
        .iter()
        .filter_map(|event| match event {
            LoopEvent::ToolFinished { id, duration, .. } => Some((id.as_str(), *duration)),
            _ => None,
        })
        .collect();
    assert_eq!(finished, [("2", Duration::ZERO), ("1", Duration::from_secs(5))]);
    // The caller's own tools first, then the service's.
    assert_eq!(run.requests[0].tools.len(), 9);
    assert_eq!(run.requests[0].tools[0].name, "vote");
}

#[tokio::test(start_paused = true)]
async fn every_call_gets_an_answer() {
    let cases: Vec<(&str, Value, bool, &str)> = vec![
        ("mcp__s__echo", json!({"a": 1}), false, r#"{"a":1}"#),
        ("mcp__s__echo", json!("  "), false, "{}"),
        ("mcp__s__echo", json!(r#"{"b":2}"#), false, r#"{"b":2}"#),
        ("mcp__s__echo", json!(r#"{"a": "#), true, "its arguments are not a JSON object (EOF while parsing"),
        ("mcp__s__echo", json!("[1]"), true, "it is valid JSON, but not an object"),
        ("mcp__s__ecko", json!({}), true, r#"There is no tool "mcp__s__ecko"; did you mean "mcp__s__echo"?"#),
        ("long", json!({}), true, r#"did you mean "mcp__s__long"?"#),
        ("rm -rf", json!({}), true, "Among those there are: vote, mcp__s__echo"),
        ("mcp__s__held", json!("{broken"), true, "it changed"),
        ("mcp__s__fail", json!({}), true, "no such file"),
        ("mcp__s__gone", json!({}), true, "server s is not available: its circuit is open"),
        ("mcp__s__hang", json!({}), true, "did not answer within 600 s"),
        ("mcp__s__empty", json!({}), false, "(the tool returned nothing)"),
        ("mcp__s__long", json!({}), false, "[... 936 bytes left out ...]"),
    ];
    let calls = cases.iter().map(|(name, arguments, ..)| call(name, name, arguments.clone())).collect();
    let options = ToolLoopOptions { max_result_bytes: 64, ..ToolLoopOptions::default() };
    let run = play(vec![says("", calls), says("ok", vec![])], options).await;
    let replies = run.replies(0);
    assert_eq!(replies.len(), cases.len());
    for ((name, _, is_error, expected), (text, really)) in cases.iter().zip(replies) {
        assert!(text.contains(expected), "{name}: {text}");
        assert_eq!(really, *is_error, "{name}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn intercepted_calls_are_left_to_the_caller_and_the_others_answered() {
    let calls = vec![
        call("1", "mcp__s__echo", json!({"n": 1})),
        call("2", "vote", json!({"agent_id": "agent1"})),
        call("3", "mcp__s__echo", json!({"n": 3})),
        call("4", "vote", json!("{broken")),
    ];
    let run = play(vec![says("hm", calls)], ToolLoopOptions::default()).await;
    let end = run.end.unwrap();
    assert_eq!(end.stop, LoopStop::Intercepted);
    assert_eq!(end.pending.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["2", "4"]);
    assert_eq!(end.answered.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    let messages = end.answered_by(|call| (format!("no {}", call.id), true));
    let Some(Message::ToolReplies(replies)) = messages.last() else { panic!() };
    let replies: Vec<_> = replies.iter().map(|r| (r.id.as_str(), r.text.as_str())).collect();
    assert_eq!(replies, [("1", r#"{"n":1}"#), ("2", "no 2"), ("3", r#"{"n":3}"#), ("4", "no 4")]);
}

#[tokio::test(start_paused = true)]
async fn the_same_failing_call_is_told_to_stop() {
    let turns = (0..4)
        .map(|n| {
            let order = if n % 2 == 0 { r#"{"a":1,"b":2}"# } else { r#"{"b":2,"a":1}"# };
            let arguments: Value = serde_json::from_str(order).unwrap();
            says("", vec![call("x", "mcp__s__fail", arguments), call("y", "mcp__s__fail", json!({"n": n}))])
        })
        .chain([says("gives up", vec![])])
        .collect();
    let run = play(turns, ToolLoopOptions::default()).await;
    for (turn, told) in [(0, false), (1, false), (2, true), (3, true)] {
        let replies = run.replies(turn);
        assert_eq!(replies[0].0.contains("Do not repeat it"), told, "turn {turn}: {replies:?}");
        assert!(!replies[1].0.contains("Do not repeat it"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_number_of_turns_is_bounded_and_the_conversation_stays_whole() {
    let turns = (0..9).map(|n| says("", vec![call("1", "mcp__s__echo", json!({"n": n}))])).collect();
    let run = play(turns, ToolLoopOptions { max_turns: 3, ..ToolLoopOptions::default() }).await;
    let end = run.end.unwrap();
    assert_eq!((end.stop, end.turns), (LoopStop::TurnLimit, 3));
    assert_eq!(end.messages.len(), 7);
    assert!(matches!(end.messages.last(), Some(Message::ToolReplies(_))));
}

#[tokio::test(start_paused = true)]
async fn a_pause_sends_the_conversation_again() {
    let run = play(
        vec![ends("searching", vec![], FinishReason::Pause), says("found", vec![])],
        ToolLoopOptions::default(),
    )
    .await;
    assert_eq!(run.requests.len(), 2);
    assert_eq!(run.requests[1].messages.len(), 2);
    assert_eq!(run.end.unwrap().text, "found");
}

#[tokio::test(start_paused = true)]
async fn an_error_keeps_what_there_was() {
    let overloaded = BackendError::InStream {
        provider: "Test".into(),
        code: None,
        message: "overloaded".into(),
        retryable: true,
    };
    let run = play(
        vec![
            says("first", vec![call("1", "mcp__s__echo", json!({}))]),
            vec![Ok(Event::Text("sec".into())), Ok(Event::Usage(usage(1))), Err(overloaded)],
        ],
        ToolLoopOptions::default(),
    )
    .await;
    let error = run.end.unwrap_err();
    assert!(error.error.is_retryable());
    assert_eq!(error.to_string(), "Test broke off: overloaded");
    // What can be sent again: user, assistant, replies.
    assert_eq!(error.partial.messages.len(), 3);
    assert_eq!((error.partial.text.as_str(), error.partial.all_text.as_str()), ("sec", "first\n\nsec"));
    assert_eq!(error.partial.usage.output_tokens, 11);
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_an_end_is_an_error() {
    let run = play(vec![vec![Ok(Event::Text("half".into()))]], ToolLoopOptions::default()).await;
    let error = run.end.unwrap_err();
    assert!(matches!(error.error, BackendError::Truncated { .. }));
    assert_eq!(error.partial.text, "half");
}

#[tokio::test(start_paused = true)]
async fn without_tools_none_are_offered_nor_run() {
    let run = play_with(
        vec![says("", vec![call("1", "mcp__s__echo", json!({}))]), says("text", vec![])],
        ToolLoopOptions::default(),
        ToolChoice::None,
    )
    .await;
    assert_eq!(run.requests[0].tools.len(), 1);
    assert_eq!(run.replies(0), [("No tool can be used now. Answer in text.".to_owned(), true)]);
    assert_eq!(run.started, 0);
}

#[tokio::test(start_paused = true)]
async fn tools_come_and_go_between_turns() {
    let run = play(
        vec![
            says("", vec![call("1", "mcp__s__leave", json!({}))]),
            says("", vec![call("2", "mcp__s__fail", json!({}))]),
            says("ok", vec![]),
        ],
        ToolLoopOptions::default(),
    )
    .await;
    assert_eq!(
        run.requests[1].tools.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(),
        ["vote", "mcp__s__echo"]
    );
    let Some(Message::User(news)) = run.requests[1].messages.last() else { panic!("nothing was said") };
    assert!(news.starts_with("These tools are not available any more: mcp__s__"), "{news}");
    assert!(run.replies(1)[0].1);
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_hanging_model_and_a_hanging_tool() {
    for hangs_in_tool in [false, true] {
        let turn = match hangs_in_tool {
            true => says("", vec![call("1", "mcp__s__hang", json!({}))]),
            false => vec![Ok(Event::Text("…".into()))],
        };
        let backend = Arc::new(script(vec![turn], false));
        let agent = ToolLoop {
            backend: backend.clone(),
            tools: Tools::new(&["hang"]),
            options: ToolLoopOptions::default(),
            caller: AgentId::new("alpha").unwrap(),
        };
        let cancel = CancellationToken::new();
        let request = Request { messages: vec![Message::User("go".into())], ..Request::default() };
        let mut ignore = |_| {};
        let mut running = Box::pin(agent.run(request, &[], &mut ignore, &cancel));
        assert!((&mut running).now_or_never().is_none());
        cancel.cancel();
        let error = running.now_or_never().expect("it ends at once").unwrap_err();
        assert!(matches!(error.error, BackendError::Cancelled));
        assert_eq!(error.partial.messages.len(), 1, "what is left can be sent again");
        assert_eq!(backend.live.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_asks_the_same_for_ever_is_left_with_the_callers_tools() {
    let again = || says("", vec![call("1", "mcp__s__echo", json!({"n": 1}))]);
    let other = says("", vec![call("2", "mcp__s__echo", json!({"n": 2}))]);
    let vote = says("", vec![call("3", "vote", json!({}))]);
    let run =
        play(vec![again(), again(), other, again(), again(), again(), vote], ToolLoopOptions::default())
            .await;
    assert_eq!(run.end.unwrap().stop, LoopStop::Intercepted);
    let offered: Vec<_> = run.requests.iter().map(|request| request.tools.len() > 1).collect();
    assert_eq!(
        offered,
        [true, true, true, true, true, true, false],
        "another question starts the count anew"
    );
}
