use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use massgen_backends::{Message, Request, RequestPhase, ToolChoice};
use massgen_orchestrator::*;
use serde_json::json;

use crate::team::*;

fn has_answers(request: &Request) -> bool {
    !request.context.candidates.is_empty()
}

fn tool_names(request: &Request) -> Vec<&str> {
    request.tools.iter().map(|tool| tool.name.as_str()).collect()
}

fn last_user(request: &Request) -> &str {
    match request.messages.last() {
        Some(Message::User(text)) => text,
        other => panic!("not a user message: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_answer_stops_stale_rounds_and_votes_decide() {
    let played = Team::new()
        .with(|request, _| if has_answers(request) { vote("agent1") } else { answer("42") })
        .with(|request, _| match has_answers(request) {
            true => vote("agent1"),
            false => vec![Act::Say("thinking"), Act::Hang],
        })
        .with(|request, _| match has_answers(request) {
            true => vec![Act::Wait(5), calls(&[("vote", json!({"agent_id": "agent1", "reason": "yes"}))])],
            false => vec![Act::Hang],
        })
        .play()
        .await;
    assert_eq!(
        played.story(),
        [
            "alpha round 1 sees ",
            "beta round 1 sees ",
            "gamma round 1 sees ",
            "alpha answers #1: 42",
            "beta restarts for alpha",
            "gamma restarts for alpha",
            "alpha round 2 sees alpha",
            "beta round 2 sees alpha",
            "gamma round 2 sees alpha",
            "alpha votes alpha",
            "beta votes alpha",
            "gamma votes alpha",
            "winner alpha",
            "final: 42",
            "Answered",
        ]
    );
    let result = &played.result;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert_eq!((result.votes[0].1, result.ballots.len(), result.tie), (3, 3, false));
    assert_eq!(result.ballots[2].reason, "yes");
    // The stale model calls were stopped at once, not drained: the run takes as long as the work that counted.
    assert_eq!((played.stopped(1), played.stopped(2)), (1, 1));
    assert_eq!(result.duration, Duration::from_secs(6));
}

#[tokio::test(start_paused = true)]
async fn names_stay_the_same_and_every_voter_has_an_order_of_its_own() {
    let play = |own: &'static str, delay: u64| {
        move |request: &Request, _: usize| {
            let seen = request.context.candidates.len();
            if seen < 3 && !request.context.candidates.iter().any(|(_, answer)| answer == own) {
                vec![Act::Wait(delay), calls(&[("new_answer", json!({"content": own}))])]
            } else if seen < 3 {
                vec![Act::Hang]
            } else {
                vote("agent3")
            }
        }
    };
    let played = Team::new().with(play("A", 3)).with(play("B", 2)).with(play("C", 1)).play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("gamma"), Some("C")));
    let mut firsts = Vec::new();
    for model in 0..3 {
        let requests = played.requests(model);
        for request in &requests {
            for (name, answer) in &request.context.candidates {
                let expected = match name.as_str() {
                    "agent1" => "A",
                    "agent2" => "B",
                    "agent3" => "C",
                    other => panic!("{other}"),
                };
                assert_eq!(answer, expected);
                assert!(
                    last_user(request).contains(&format!("<answer from=\"{name}\">\n{answer}\n</answer>"))
                );
            }
            if let Some(tool) = request.tools.iter().find(|tool| tool.name == "vote") {
                let names: Vec<_> = request.context.candidates.iter().map(|(name, _)| json!(name)).collect();
                assert_eq!(tool.schema["properties"]["agent_id"]["enum"], json!(names));
            }
            // Real names never reach a model.
            let all = format!("{:?}{:?}{:?}", request.system, request.messages, request.tools);
            for name in ["alpha", "beta", "gamma"] {
                assert!(!all.contains(name), "{all}");
            }
        }
        let last = requests.last().unwrap();
        assert_eq!(last.context.phase, RequestPhase::Coordination);
        firsts.push(last.context.candidates[0].0.clone());
    }
    firsts.sort();
    assert_eq!(firsts, ["agent1", "agent2", "agent3"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_always_fails_is_given_up_while_the_others_finish() {
    let played = Team::new()
        .with(|request, _| match has_answers(request) {
            true => vec![Act::Wait(60), calls(&[("vote", json!({"agent_id": "agent1", "reason": "r"}))])],
            false => answer("42"),
        })
        .with(|_, _| vec![Act::Fail(server_error())])
        .with(|request, _| if has_answers(request) { vote("agent1") } else { vec![Act::Hang] })
        .with(|_, _| vec![Act::Fail(bad_key())])
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert_eq!((played.requests(1).len(), played.requests(3).len()), (3, 1));
    let failure = |at: usize| played.result.agents[at].failure.clone().unwrap_or_default();
    assert_eq!(failure(1), "Test answered with status 500: down");
    assert_eq!(failure(3), "Test refused the key: no");
    let hints: Vec<_> = played
        .events
        .iter()
        .filter_map(|event| match &event.kind {
            EventKind::AgentFailed { hint, retry_in_ms, .. } => Some((hint.clone(), retry_in_ms.is_some())),
            _ => None,
        })
        .collect();
    assert_eq!(hints.len(), 4);
    assert!(hints.contains(&(Some("set TEST_API_KEY".into()), false)));
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_there_is_no_answer() {
    let played = Team::new()
        .with(|_, _| vec![Act::Fail(server_error())])
        .with(|_, _| vec![Act::Fail(bad_key())])
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::NoAnswer, None, None));
    assert!(played.result.duration < Duration::from_secs(10), "{:?}", played.result.duration);
    let nobody = Team::new().play().await;
    assert_eq!(nobody.outcome(), (RunOutcome::NoAnswer, None, None));
}

#[tokio::test(start_paused = true)]
async fn a_retry_goes_on_with_the_conversation() {
    let played = Team::new()
        .with(|_, number| match number {
            0 => vec![Act::Say("let me look"), calls(&[("mcp__s__look", json!({"at": 1}))])],
            1 => vec![Act::Say("well"), Act::Fail(server_error())],
            _ => answer("42"),
        })
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    let requests = played.requests(0);
    // The tool is not called again: its result is in the conversation.
    assert_eq!(requests.len(), 3);
    assert_eq!(requests[2].messages, requests[1].messages);
    assert_eq!(requests[2].messages.len(), 3);
    assert_eq!(played.result.agents[0].tool_calls, 1);
    // A single agent wins with its answer; nobody votes, nobody presents again.
    assert_eq!(played.result.votes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn limits_end_the_run_with_the_best_answer_so_far() {
    let stuck = |request: &Request, _: usize| {
        if has_answers(request) {
            vec![Act::Spend(600), Act::Wait(10), Act::Spend(700), Act::Hang]
        } else {
            answer("42")
        }
    };
    let slow = |request: &Request, _: usize| match has_answers(request) {
        true => vote("agent1"),
        false => vec![Act::Hang],
    };
    type Change = fn(&mut Limits);
    let cases: [(Change, &str, u64); 4] = [
        (|limits| limits.total = Duration::from_secs(100), "limit time", 100),
        (|limits| limits.max_tokens = Some(650), "limit tokens", 11),
        (|limits| limits.max_tokens = Some(599), "limit tokens", 1),
        (|limits| limits.max_rounds = 1, "limit rounds", 1),
    ];
    for (change, limit, seconds) in cases {
        let mut team = Team::new().with(stuck).with(slow);
        team.options.synthesize_final = true;
        change(&mut team.options.limits);
        let played = team.play().await;
        assert_eq!(played.outcome(), (RunOutcome::TimedOut, Some("alpha"), Some("42")), "{limit}");
        assert!(played.story().contains(&limit.to_owned()), "{:?}", played.story());
        assert_eq!(played.result.duration, Duration::from_secs(seconds), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_being_written_is_kept_when_the_time_is_over() {
    let cases: [(Vec<Act>, RunOutcome, Option<&str>); 3] = [
        (
            vec![Act::Say("It is "), Act::Say("probably 42"), Act::Hang],
            RunOutcome::TimedOut,
            Some("It is probably 42"),
        ),
        (
            vec![
                Act::Say("I submit"),
                Act::Write("new_answer", ""),
                Act::Write("", "{\"content\": \"The answer "),
                Act::Write("", "is 4"),
                Act::Hang,
            ],
            RunOutcome::TimedOut,
            Some("The answer is 4"),
        ),
        (vec![Act::Hang], RunOutcome::NoAnswer, None),
    ];
    for (acts, outcome, expected) in cases {
        let mut team = Team::new().with(|_, _| vec![Act::Hang]).with(move |_, _| acts.clone());
        team.options.limits.total = Duration::from_secs(30);
        let played = team.play().await;
        assert_eq!(played.outcome(), (outcome, expected.map(|_| "beta"), expected));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_run_ends_at_once_and_keeps_its_answer() {
    let mut team = Team::new()
        .with(|request, _| if has_answers(request) { vec![Act::Hang] } else { answer("42") })
        .with(|_, _| vec![Act::Hang]);
    team.interrupt = Some(5);
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Interrupted, Some("alpha"), Some("42")));
    assert_eq!(played.result.duration, Duration::from_secs(5));

    let mut team = Team::new().with(|_, _| vec![Act::Hang]);
    team.interrupt = Some(5);
    assert_eq!(team.play().await.outcome(), (RunOutcome::Interrupted, None, None));

    // Before it began: no model is asked.
    let team = Team::new().with(|_, _| answer("42"));
    team.cancel.cancel();
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Interrupted, None, None));
    assert_eq!(played.requests(0).len(), 0);

    // While the winner presents.
    let mut team = Team::new()
        .with(|request, _| match request.context.phase {
            RequestPhase::Presentation => vec![Act::Say("So"), Act::Hang],
            _ if has_answers(request) => vote("agent1"),
            _ => answer("42"),
        })
        .with(|request, _| if has_answers(request) { vote("agent1") } else { vec![Act::Hang] });
    team.options.synthesize_final = true;
    team.interrupt = Some(5);
    assert_eq!(team.play().await.outcome(), (RunOutcome::Interrupted, Some("alpha"), Some("42")));
}

#[tokio::test(start_paused = true)]
async fn a_turn_against_the_protocol_is_corrected_in_the_right_form() {
    let played = Team::new()
        .with(|request, number| match number {
            _ if has_answers(request) => vote("agent1"),
            0 => vec![calls(&[
                ("mcp__s__look", json!({})),
                ("vote", json!({"agent_id": "agent2"})),
                ("new_answer", json!({"content": "42"})),
            ])],
            1 => text("The answer is 42."),
            _ => answer("42"),
        })
        .with(|request, number| match number {
            _ if !has_answers(request) => vec![Act::Hang],
            1 => vote("agent7"),
            2 => vec![calls(&[("vote", json!("{\"agent_id\": agent1}"))])],
            _ => vote("agent1"),
        })
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    let story = played.story();
    let problems: Vec<_> = story.iter().filter(|line| line.contains("attempt")).collect();
    assert_eq!(
        problems,
        [
            "alpha attempt 1: it submitted an answer and voted in the same turn",
            "alpha attempt 2: it ended its turn without submitting an answer or voting",
            "beta attempt 1: it voted for \"agent7\", which is not an agent with an answer (agent1)",
            "beta attempt 2: its arguments of vote are not a JSON object: expected value at line 1 column 14",
        ]
    );
    let requests = played.requests(0);
    // Every call is answered, in order, and none is left open.
    let Some(Message::ToolReplies(replies)) = requests[1].messages.last() else { panic!() };
    assert_eq!(replies.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["0-0", "0-1", "0-2"]);
    assert_eq!(replies.iter().map(|r| r.is_error).collect::<Vec<_>>(), [false, true, true]);
    assert!(last_user(&requests[2]).contains("call `new_answer`"), "{}", last_user(&requests[2]));
    // Nobody could be voted for in the first round.
    assert_eq!(tool_names(&requests[0]), ["new_answer", "mcp__s__look"]);
    assert_eq!(tool_names(&requests[3]), ["new_answer", "vote", "mcp__s__look"]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_only_writes_has_its_text_taken() {
    let played = Team::new().with_forced(|_, _| text("It is 42, I think.")).play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("It is 42, I think.")));
    assert!(played.story().contains(&"warning: alpha: what it wrote is taken as its answer".to_owned()));
    let choices: Vec<_> = played.requests(0).iter().map(|request| request.tool_choice).collect();
    assert_eq!(choices, [ToolChoice::Auto, ToolChoice::Required, ToolChoice::Required]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_says_nothing_fails_with_a_clear_reason() {
    let played = Team::new().with(|_, _| text("")).play().await;
    assert_eq!(played.outcome(), (RunOutcome::NoAnswer, None, None));
    assert_eq!(
        played.result.agents[0].failure.as_deref(),
        Some("the model answered nothing, 3 times in a row")
    );
    assert_eq!(played.requests(0).len(), 9);
}

#[tokio::test(start_paused = true)]
async fn votes_for_nobody_fail_and_do_not_count() {
    let played = Team::new()
        .with(|request, _| if has_answers(request) { vote("agent1") } else { answer("42") })
        .with(|request, _| if has_answers(request) { vote("nobody") } else { vec![Act::Hang] })
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert_eq!(played.result.ballots.len(), 1, "alpha's own");
    assert!(played.result.agents[1].failure.as_deref().unwrap().contains("it voted for \"nobody\""));
}

#[tokio::test(start_paused = true)]
async fn the_same_answer_again_is_a_vote_and_no_new_round() {
    let played = Team::new()
        .with(|request, _| if has_answers(request) { vote("agent1") } else { answer("42") })
        .with(|_, _| answer(" 42\n"))
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert_eq!(played.result.agents.iter().map(|agent| agent.answers).collect::<Vec<_>>(), [1, 0]);
    assert_eq!(played.result.votes[0].1, 2);
}

#[tokio::test(start_paused = true)]
async fn an_agent_with_all_its_answers_given_is_only_offered_the_vote() {
    let mut team = Team::new().with(|request, number| {
        if tool_names(request).contains(&"new_answer") {
            return match number {
                0 => answer("try 0"),
                _ => answer("try 1"),
            };
        }
        vote("agent1")
    });
    team = team.with(|request, _| if has_answers(request) { vote("agent1") } else { vec![Act::Hang] });
    team.options.limits.max_answers_per_agent = 2;
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("try 1")));
    assert!(played.story().contains(&"limit answers".to_owned()));
    assert_eq!(tool_names(played.requests(0).last().unwrap()), ["vote", "mcp__s__look"]);
}

#[tokio::test(start_paused = true)]
async fn the_winner_presents_without_tools_or_its_own_answer_stands() {
    let exact = "C:\\new\\table **not bold** $\\frac{1}{2}$\r\n\ttail ";
    for (acts, expected, warned) in [
        (text("The final word."), "The final word.", false),
        (text(""), exact, true),
        (vec![Act::Say("The fi"), Act::Fail(server_error())], exact, true),
        (vec![Act::Say("The fi"), Act::Hang], exact, true),
        (vec![calls(&[("mcp__s__look", json!({}))])], exact, true),
    ] {
        let mut team = Team::new()
            .with(move |request, _| match request.context.phase {
                RequestPhase::Presentation => acts.clone(),
                _ if has_answers(request) => vote("agent1"),
                _ => answer(exact),
            })
            .with(|request, _| if has_answers(request) { vote("agent1") } else { vec![Act::Hang] });
        team.options.synthesize_final = true;
        let played = team.play().await;
        assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some(expected)));
        assert_eq!(played.story().iter().any(|line| line.starts_with("warning: alpha could not")), warned);
        let requests = played.requests(0);
        let request = requests.iter().find(|r| r.context.phase == RequestPhase::Presentation).unwrap();
        assert_eq!((request.tool_choice, request.tools.len()), (ToolChoice::None, 0));
        assert!(last_user(request).contains("2 of 2 votes"), "{}", last_user(request));
        assert_eq!(request.context.candidates, [("agent1".to_owned(), exact.to_owned())]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_agent_can_answer_directly() {
    let mut team = Team::new().with(|_, number| match number {
        0 => vec![Act::Say("Looking."), calls(&[("mcp__s__look", json!({"at": 2}))])],
        _ => text("It is 42."),
    });
    team.options.single_agent_direct = true;
    team.options.synthesize_final = true;
    team.task.history = vec![Exchange { user: "Hello".into(), assistant: "Hi".into() }];
    let played = team.play().await;
    assert_eq!(
        played.story(),
        [
            "alpha round 1 sees ",
            "alpha tool: seen {\"at\":2}",
            "alpha answers #1: It is 42.",
            "winner alpha",
            "final: It is 42.",
            "Answered",
        ]
    );
    let requests = played.requests(0);
    assert_eq!(tool_names(&requests[0]), ["mcp__s__look"]);
    assert_eq!((requests[0].messages.len(), last_user(&requests[0])), (3, "What is 6 times 7?"));

    // One that never stops calling tools is asked once more without them.
    let mut team = Team::new().with(|request, _| match request.tool_choice {
        ToolChoice::None => text("Enough: 42."),
        _ => vec![calls(&[("mcp__s__look", json!({}))])],
    });
    team.options.single_agent_direct = true;
    team.options.tool_loop.max_turns = 3;
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("Enough: 42.")));
    assert_eq!(played.requests(0).len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_model_lost_in_its_tools_is_brought_back() {
    let mut team = Team::new().with(|request, number| {
        if tool_names(request).contains(&"mcp__s__look") {
            vec![calls(&[("mcp__s__look", json!({"again": number}))])]
        } else {
            answer("42")
        }
    });
    team.options.tool_loop.max_turns = 4;
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert_eq!(played.requests(0).len(), 5);
    assert!(last_user(&played.requests(0)[4]).starts_with("You have used your tools as often as you may."));
}

#[tokio::test(start_paused = true)]
async fn a_round_that_takes_too_long_is_a_failure() {
    let mut team = Team::new().with(|_, number| if number == 0 { vec![Act::Hang] } else { answer("42") });
    team.options.limits.round = Duration::from_secs(7);
    let played = team.play().await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert!(played.story()[1].contains("its round took longer than 7 s, again"), "{:?}", played.story());
}

#[tokio::test(start_paused = true)]
async fn a_run_dropped_midway_leaves_nothing_running() {
    let team = Team::new().with(|_, _| vec![Act::Hang]).with(|_, _| vec![Act::Hang]);
    let models = team.models();
    let waited = tokio::time::timeout(Duration::from_secs(3), team.play()).await;
    assert!(waited.is_err());
    for model in models {
        // The tasks are aborted; the runtime drops them when it next looks at them.
        while model.live.load(std::sync::atomic::Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_runs_on_several_threads() {
    let play = |request: &Request, _: usize| match has_answers(request) {
        true => vec![calls(&[("vote", json!({"agent_id": request.context.candidates[0].0, "reason": ""}))])],
        false => vec![calls(&[("new_answer", json!({"content": request.context.agent}))])],
    };
    let played = Team::new().with(play).with(play).with(play).play().await;
    assert_eq!(played.result.outcome, RunOutcome::Answered);
}

#[tokio::test(start_paused = true)]
async fn what_must_be_there_and_is_not_ends_the_run_before_anybody_is_asked() {
    let team = Team::new().with(|_, _| answer("42"));
    let told = Arc::new(Mutex::new(Vec::new()));
    let emitter = Emitter::new({
        let told = told.clone();
        move |event| told.lock().unwrap().push(event.kind.clone())
    });
    let ready = std::future::ready(Err("the required server papers is missing".to_owned()));
    let options = Options::default();
    let budget = Budget::new(team.agents().len(), &options.limits);
    let result = run_when(ready, team.agents(), &team.task, &options, budget, &emitter, &team.cancel).await;
    assert_eq!(result.outcome, RunOutcome::NoAnswer);
    let told = told.lock().unwrap();
    assert!(told.iter().any(|e| matches!(e, EventKind::Warning { message } if message.contains("papers"))));
    assert!(!told.iter().any(|event| matches!(event, EventKind::RoundStarted { .. })), "{told:?}");
    assert!(matches!(told.last(), Some(EventKind::RunFinished { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn agents_wait_for_what_must_be_ready_but_not_beyond_the_limits() {
    for (ready_after, interrupt_after, outcome, seconds, asked) in [
        (5, 1000, RunOutcome::Answered, 6, 1),
        (1000, 1000, RunOutcome::NoAnswer, 20, 0),
        (1000, 7, RunOutcome::Interrupted, 7, 0),
        (0, 0, RunOutcome::Interrupted, 0, 0),
    ] {
        let team = Team::new().with(|_, _| answer("42"));
        let limits = Limits { total: Duration::from_secs(20), ..Limits::default() };
        let options = Options { limits, ..Options::default() };
        let begun = Arc::new(AtomicUsize::new(0));
        let counted = begun.clone();
        let emitter = Emitter::new(move |event| {
            let begins = matches!(event.kind, EventKind::RoundStarted { .. });
            counted.fetch_add(usize::from(begins), Ordering::SeqCst);
        });
        let ready = async {
            tokio::time::sleep(Duration::from_secs(ready_after)).await;
            Ok(())
        };
        if interrupt_after == 0 {
            team.cancel.cancel();
        }
        let budget = Budget::new(team.agents().len(), &options.limits);
        let running = run_when(ready, team.agents(), &team.task, &options, budget, &emitter, &team.cancel);
        let interrupting = async {
            tokio::time::sleep(Duration::from_secs(interrupt_after)).await;
            team.cancel.cancel();
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = running => result,
            () = interrupting => unreachable!(),
        };
        assert_eq!((result.outcome, result.duration), (outcome, Duration::from_secs(seconds)));
        assert_eq!(begun.load(Ordering::SeqCst), asked, "rounds begun after {seconds} s");
        assert_eq!(team.models()[0].requests.lock().unwrap().len(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_one_round_costs_that_agent_only() {
    let played = Team::new()
        .with(|request, _| if has_answers(request) { vote("agent1") } else { answer("42") })
        .with(|request, _| if has_answers(request) { panic!("on purpose") } else { vec![Act::Hang] })
        .play()
        .await;
    assert_eq!(played.outcome(), (RunOutcome::Answered, Some("alpha"), Some("42")));
    assert!(played.result.agents[1].failure.as_deref().unwrap().contains("please report it"));
}

#[tokio::test(start_paused = true)]
async fn text_of_agents_that_all_failed_is_still_shown() {
    let played = Team::new().with(|_, _| vec![Act::Say("Half an answ"), Act::Fail(bad_key())]).play().await;
    assert_eq!(played.outcome(), (RunOutcome::NoAnswer, Some("alpha"), Some("Half an answ")));
}

/// Many runs of agents that do anything at any time; what must hold is checked by `Team::play`.
#[tokio::test(start_paused = true)]
async fn whatever_the_models_do_the_rules_hold() {
    for seed in 0..300_u64 {
        let mut team = Team::new();
        for agent in 0..1 + seed % 4 {
            team = team.with(move |request, number| {
                any_turn(request, seed * 7919 + agent * 104_729 + number as u64)
            });
        }
        team.options.seed = seed;
        team.options.synthesize_final = seed % 3 == 0;
        team.options.single_agent_direct = seed % 8 == 4;
        team.options.limits.max_answers_per_agent = 1 + (seed % 3) as u32;
        team.options.limits.round = Duration::from_secs(40);
        team.options.limits.total = Duration::from_secs(200);
        team.options.limits.max_tokens = (seed % 5 == 0).then_some(3000);
        team.interrupt = (seed % 11 == 0).then_some(seed % 30);
        let played = team.play().await;
        assert!(
            played.result.duration <= Duration::from_secs(501),
            "seed {seed}: {:?}",
            played.result.duration
        );
    }
}

fn any_turn(request: &Request, seed: u64) -> Vec<Act> {
    let mut state = seed;
    let mut next = move |below: u64| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    };
    let mut acts = vec![Act::Wait(next(4)), Act::Spend(next(200))];
    if next(3) == 0 {
        acts.push(Act::Say("thinking"));
    }
    let candidates: Vec<_> = request.context.candidates.iter().map(|(name, _)| name.clone()).collect();
    let chosen = candidates.get(next(4) as usize).cloned().unwrap_or_else(|| "agent1".into());
    let vote = ("vote", json!({"agent_id": chosen, "reason": "r"}));
    let new = ("new_answer", json!({"content": format!("answer {}", next(12))}));
    acts.push(match next(24) {
        0 => Act::Fail(server_error()),
        1 => Act::Fail(bad_key()),
        2 => Act::Hang,
        3 => calls(&[]),
        4 => calls(&[vote, new]),
        5 => calls(&[("mcp__s__look", json!({})), vote]),
        6 => calls(&[("mcp__s__look", json!("{")), ("nonsense", json!({}))]),
        7 => calls(&[("new_answer", json!("{\"content\": \"cut"))]),
        8 => calls(&[("vote", json!({"agent_id": "agent9"}))]),
        9..14 => calls(&[new]),
        _ if candidates.is_empty() => calls(&[new]),
        _ => calls(&[vote]),
    });
    acts
}
